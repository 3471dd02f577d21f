//! `?dry_run=true`, which the management API knows: here nothing is sent either, and it is said.

use super::*;

#[tokio::test]
async fn an_event_that_is_only_tried_is_refused_and_not_sent() {
    let fixture = Fixture::start().await;
    let (one, lines) = (event(""), format!("{}\n", event("")));
    let batch = format!(r#"{{"events":[{one}]}}"#);
    for (path, content_type, body) in [
        ("/api/v1/event", "application/json", &one),
        ("/api/v1/events:batch", "application/json", &batch),
        ("/api/v1/events:batch", "application/x-ndjson", &lines),
    ] {
        let ask = async |query: &str, token| {
            let path = format!("{path}?{query}");
            fixture.ask("POST", &path, token, content_type, body.as_bytes()).await
        };
        let sent = fixture.publisher.count();
        for query in ["dry_run=true", "dry_run=1", "x=1&dry_run"] {
            let reply = ask(query, Some(SECRET)).await;
            assert_eq!(
                (reply.status, reply.id(), reply.code()),
                (422, "Validation", "invalid_field"),
                "{path}?{query}"
            );
            assert!(reply.body["validation"]["dry_run"].is_array(), "{reply:?}");
        }
        assert_eq!(ask("dry_run=true", None).await.status, 401, "{path}: who asks comes first");
        assert_eq!(fixture.publisher.count(), sent, "{path}");
        for query in ["dry_run=false", "unknown=true"] {
            assert!([200, 201].contains(&ask(query, Some(SECRET)).await.status), "{path}?{query}");
        }
        assert_eq!(fixture.publisher.count(), sent + 2, "{path}");
    }
}
