//! Ids that the gateway makes: the fan-out is told of them, and no repeat is seen in them.

use super::fakes::{Fixture, SECRET, event};

/// The fan-out remembers no id that nobody can repeat: it is told which those are, event by event.
#[tokio::test]
async fn only_an_id_that_the_gateway_made_is_marked_so() {
    let fixture = Fixture::start().await;
    let (without, with) = (event(""), event(r#","event_id":"own""#));
    let cloud =
        |id: &str| format!(r#"{{"specversion":"1.0","source":"/billing","type":"invoice.paid"{id},"data":{{"a":1}}}}"#);
    let cloud_with = cloud(r#","id":"cloud""#);
    let batch = format!(r#"{{"events":[{without},{}]}}"#, event(r#","event_id":"second""#));
    let requests = [
        ("/api/v1/event", "application/json", without),
        ("/api/v1/event", "application/json", with),
        ("/api/v1/events:batch", "application/json", batch),
        ("/api/v1/event", "application/cloudevents+json", cloud_with),
    ];
    for (path, content_type, body) in requests {
        let reply = fixture.ask("POST", path, Some(SECRET), content_type, body.as_bytes()).await;
        assert!(reply.status < 300, "{reply:?}");
    }
    let nameless = cloud("");
    let refused =
        fixture.ask("POST", "/api/v1/event", Some(SECRET), "application/cloudevents+json", nameless.as_bytes());
    assert_eq!(refused.await.status, 422, "a CloudEvent always brings its id");
    let records = fixture.publisher.taken(5).await;
    let marks: Vec<_> = records.iter().map(|record| record.headers.text("hookbus-id-made")).collect();
    assert_eq!(marks, [Some("1"), None, Some("1"), None, None]);
    let ids: Vec<_> = records.iter().map(|record| record.headers.text("ce_id").unwrap()).collect();
    assert_eq!([ids[1], ids[3], ids[4]], ["own", "second", "cloud"]);
}

/// A client that was told 503 repeats its request; without an id of its own that is another event, and never a 409.
#[tokio::test]
async fn an_event_without_id_is_never_a_repeat() {
    let fixture = Fixture::start().await;
    fixture.publisher.fail_next(true);
    assert_eq!(fixture.send(&event("")).await.status, 503);
    let (first, second) = (fixture.send(&event("")).await, fixture.send(&event("")).await);
    assert_eq!((first.status, second.status), (201, 201));
    assert_ne!(first.body["event_id"], second.body["event_id"]);
}
