//! The whole gateway over real sockets, with a scripted publisher and directory instead of Kafka.

mod browsers;
mod dry_run;
mod encodings;
mod fakes;
mod forwarded;
mod limits;
mod made_ids;
mod rates;
mod tenants;

use std::sync::Arc;

use chassis::health::Health;
use chassis::tasks;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kafka::KafkaError;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::fakes::{ADMIN, APPLICATION, Fixture, OTHER_SECRET, OTHER_SERVICE, Reply, SECRET, SERVICE, event, request};
use crate::Fallback;

#[tokio::test]
async fn an_event_is_acknowledged_before_it_is_answered_and_its_bytes_are_kept() {
    let fixture = Fixture::start().await;
    let permit = fixture.publisher.hold();
    let payload = r#"{ "b":1,  "a" : "\u00e9\/", "b":2 }"#;
    let body = format!(
        r#"{{"event_id":"evt_1","event_type":"invoice.paid","payload": {payload} ,"labels":{{"env":"test"}},"occurred_at":"2026-11-22T10:30:00+01:00"}}"#
    );
    let mut socket = fixture.connect().await;
    socket.write_all(&request("POST", "/api/v1/event", SECRET, &body)).await.unwrap();
    let record = fixture.publisher.taken(1).await.remove(0);
    let mut byte = [0];
    assert!(socket.try_read(&mut byte).is_err(), "nothing is answered before the acknowledgement");
    drop(permit);
    let reply = Reply::read(&mut socket).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let expected =
        json!({"application_id": APPLICATION, "event_id": "evt_1", "received_at": "2026-11-22T10:30:00.123Z"});
    assert_eq!(reply.body, expected);
    assert_eq!(record.value.as_deref(), Some(payload.as_bytes()));
    assert_eq!(record.key.as_deref(), Some(&b"evt_1"[..]));
    let header = |name: &str| record.headers.text(name).unwrap_or_default().to_owned();
    assert_eq!(header("ce_id"), "evt_1");
    assert_eq!(header("ce_type"), "invoice.paid");
    assert_eq!(header("ce_source"), format!("/applications/{APPLICATION}"));
    assert_eq!(header("ce_time"), "2026-11-22T10:30:00+01:00");
    assert_eq!(header("hookbus-application"), APPLICATION);
    assert_eq!(header("hookbus-labels"), r#"{"env":"test"}"#);
    assert_eq!(header("hookbus-ip"), "127.0.0.1");
    assert_eq!(record.headers.get("hookbus-metadata"), None);
}

#[tokio::test]
async fn an_ordering_key_is_the_key_and_a_missing_id_is_made() {
    let fixture = Fixture::start().await;
    let reply = fixture.send(&event(r#","ordering_key":"customer 7""#)).await;
    let id = reply.body["event_id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    let record = fixture.publisher.taken(1).await.remove(0);
    assert_eq!(record.key.as_deref(), Some(&b"customer 7"[..]));
    assert_eq!(record.headers.text("ce_id"), Some(id));
}

#[tokio::test]
async fn a_repeat_is_a_409_once_the_first_is_acknowledged() {
    let fixture = Fixture::start().await;
    let body = event(r#","event_id":"a""#);
    assert_eq!(fixture.send(&body).await.status, 201);
    let repeat = fixture.send(&body).await;
    assert_eq!((repeat.status, repeat.id()), (409, "EventAlreadyIngested"));
    assert_eq!(fixture.publisher.count(), 1);
}

#[tokio::test]
async fn a_concurrent_repeat_waits_for_the_first_ones_outcome() {
    let fixture = Fixture::start().await;
    let body = event(r#","event_id":"a""#);
    for (failing, statuses, records) in [(true, [503, 201], 2), (false, [409, 409], 2)] {
        let permit = fixture.publisher.hold();
        fixture.publisher.fail_next(failing);
        let (first, second) = (fixture.send(&body), fixture.send(&body));
        let release = async {
            if failing {
                fixture.publisher.taken(1).await;
            }
            drop(permit);
        };
        let (first, second, ()) = tokio::join!(first, second, release);
        let mut seen = [first.status, second.status];
        seen.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(seen, statuses);
        assert_eq!(fixture.publisher.count(), records);
    }
}

#[tokio::test]
async fn an_id_whose_client_went_away_is_forgotten() {
    let fixture = Fixture::start().await;
    let body = event(r#","event_id":"a""#);
    let permit = fixture.publisher.hold();
    let mut gone = fixture.connect().await;
    gone.write_all(&request("POST", "/api/v1/event", SECRET, &body)).await.unwrap();
    fixture.publisher.taken(1).await;
    let repeat = async {
        let repeat = fixture.send(&body);
        let release = async {
            drop(gone);
            fixture.publisher.taken(2).await;
            drop(permit);
        };
        tokio::join!(repeat, release).0
    };
    assert_eq!(repeat.await.status, 201);
}

#[tokio::test]
async fn tokens_open_their_own_application_and_nothing_else() {
    let fixture = Fixture::start().await;
    let own = event(&format!(r#","application_id":"{APPLICATION}""#));
    let none = event("");
    let absent = event(r#","application_id":"00000000-0000-0000-0000-00000000dead""#);
    for (token, body, status, id) in [
        (Some(SECRET), &own, 201, ""),
        (Some(ADMIN), &own, 201, ""),
        (Some(ADMIN), &none, 422, "Validation"),
        (Some(ADMIN), &absent, 404, "NotFound"),
        (Some(SERVICE), &own, 201, ""),
        (Some(SERVICE), &none, 422, "Validation"),
        (Some(SERVICE), &absent, 404, "NotFound"),
        (Some(OTHER_SERVICE), &own, 404, "NotFound"),
        (Some(SECRET), &absent, 403, "Forbidden"),
        (Some(OTHER_SECRET), &own, 403, "Forbidden"),
        (Some("viewer"), &own, 403, "Forbidden"),
        (Some("00000000-0000-0000-0000-000000000bad"), &own, 403, "AuthInvalidApplicationSecret"),
        (Some("nobody"), &own, 403, "AuthInvalidBiscuit"),
        (Some(""), &own, 400, "AuthInvalidAuthorizationHeader"),
        (None, &own, 401, "AuthNoAuthorizationHeader"),
    ] {
        let reply = fixture.ask("POST", "/api/v1/event", token, "application/json", body.as_bytes()).await;
        assert_eq!((reply.status, reply.id()), (status, id), "{token:?} {body}");
        assert_eq!(reply.header("www-authenticate"), (status == 401).then_some("Bearer"));
    }
}

#[tokio::test]
async fn what_was_just_created_is_seen_and_what_is_unknown_is_refused_only_after_a_look() {
    let fixture = Fixture::start().await;
    fixture.directory.on_refresh("fresh-token", "order.new");
    let body = r#"{"event_type":"order.new","payload":1}"#;
    let reply = fixture.ask("POST", "/api/v1/event", Some("fresh-token"), "application/json", body.as_bytes()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(fixture.directory.refreshes(), 1, "one look per request");
    let unknown = fixture.send(r#"{"event_type":"no.such","payload":1}"#).await;
    assert_eq!((unknown.status, unknown.id()), (400, "EventTypeDoesNotExist"));
    assert_eq!(fixture.directory.refreshes(), 2);
    fixture.directory.fail_refresh();
    let behind = fixture.send(r#"{"event_type":"no.such","payload":1}"#).await;
    assert_eq!((behind.status, behind.code(), behind.header("retry-after")), (503, "catalog_behind", Some("1")));
}

#[tokio::test]
async fn routes_take_any_slashes_and_only_post() {
    let fixture = Fixture::start().await;
    let body = event("");
    for path in ["/api/v1/event/", "//api/v1//event"] {
        let reply = fixture.ask("POST", path, Some(SECRET), "application/json; charset=utf-8", body.as_bytes()).await;
        assert_eq!(reply.status, 201, "{path}");
    }
    let wrong = fixture.ask("PUT", "/api/v1/event", Some(SECRET), "application/json", body.as_bytes()).await;
    assert_eq!((wrong.status, wrong.code(), wrong.header("allow")), (405, "method_not_allowed", Some("POST")));
    let lost = fixture.ask("GET", "/api/v1/events", Some(SECRET), "application/json", b"").await;
    assert_eq!((lost.status, lost.id()), (404, "NotFound"));
    assert_eq!(lost.header("content-type"), Some("application/problem+json"));
    assert!(lost.header("x-request-id").is_some());
    let media = fixture.ask("POST", "/api/v1/event", Some(SECRET), "text/xml", b"<a/>").await;
    assert_eq!((media.status, media.code()), (415, "unsupported_media_type"));
}

#[tokio::test]
async fn kafka_that_takes_nothing_is_a_503_that_says_when_to_try_again() {
    let fixture = Fixture::start().await;
    fixture.publisher.fail_next(true);
    let timed_out = fixture.send(&event("")).await;
    assert_eq!((timed_out.status, timed_out.code()), (503, "kafka_unavailable"));
    assert_eq!(timed_out.header("retry-after"), Some("1"));
    fixture.publisher.refuse(Some(KafkaError::QueueFull { topic: "events".into() }));
    let full = fixture.send(&event("")).await;
    assert_eq!((full.status, full.id()), (503, "ServiceUnavailable"));
    fixture.publisher.refuse(None);
    assert_eq!(fixture.send(&event("")).await.status, 201);
}

#[tokio::test]
async fn batches_answer_each_event_in_order() {
    let fixture = Fixture::start().await;
    let good = |id: &str| event(&format!(r#","event_id":"{id}""#));
    let bodies = [good("a"), r#"{"event_type":"x"}"#.to_owned(), good("b"), good("a"), "7".to_owned()];
    let json = format!(r#"{{"events":[{}]}}"#, bodies.join(","));
    let lines = bodies.join("\r\n\n").replace("\"a\"", "\"c\"").replace("\"b\"", "\"d\"");
    for (content_type, body, ids) in
        [("application/json", json, ["a", "b"]), ("application/x-ndjson", lines, ["c", "d"])]
    {
        let reply = fixture.ask("POST", "/api/v1/events:batch", Some(SECRET), content_type, body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let results = reply.body["results"].as_array().unwrap();
        let summary: Vec<Value> = results
            .iter()
            .map(|result| result.get("event_id").unwrap_or_else(|| &result["problem"]["id"]).clone())
            .collect();
        assert_eq!(summary, [ids[0], "Validation", ids[1], "EventAlreadyIngested", "JsonPayload"]);
    }
    assert_eq!(fixture.publisher.count(), 4);
    let broken = fixture.ask("POST", "/api/v1/events:batch", Some(SECRET), "application/json", b"{\"events\":[").await;
    assert_eq!((broken.status, broken.id()), (400, "JsonPayload"));
}

#[tokio::test]
async fn cloud_events_keep_their_source() {
    let fixture = Fixture::start().await;
    let head = format!(
        "POST /api/v1/event HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\nce-specversion: 1.0\r\n\
         ce-id: 1\r\nce-source: /shop\r\nce-type: invoice.paid\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
    );
    let reply = fixture.raw(head.as_bytes()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let structured = br#"{"specversion":"1.0","id":"1","source":"/other","type":"invoice.paid","data": {"a" :1} }"#;
    let reply = fixture.ask("POST", "/api/v1/event", Some(SECRET), "application/cloudevents+json", structured).await;
    assert_eq!(reply.status, 201, "another source is another event: {reply:?}");
    let records = fixture.publisher.taken(2).await;
    assert_eq!(records[0].headers.text("ce_source"), Some("/shop"));
    assert_eq!(records[0].headers.text("content-type"), Some("text/plain"));
    assert_eq!(records[1].value.as_deref(), Some(&br#"{"a" :1}"#[..]));
}

#[tokio::test]
async fn cloud_events_come_in_batches_too() {
    let fixture = Fixture::start().await;
    let one = |id: &str, more: &str| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"invoice.paid"{more}}}"#)
    };
    let body = format!(
        "[{}, {} ,{}]",
        one("1", r#","data": [1 ,2]"#),
        one("2", r#","data":1,"data_base64":"""#),
        one("3", r#","data":{}"#)
    );
    let media = "application/cloudevents-batch+json";
    let reply = fixture.ask("POST", "/api/v1/events:batch", Some(SECRET), media, body.as_bytes()).await;
    let results = reply.body["results"].as_array().unwrap();
    assert_eq!((&results[0]["event_id"], &results[2]["event_id"]), (&json!("1"), &json!("3")));
    assert_eq!(results[1]["problem"]["id"], "Validation");
    let records = fixture.publisher.taken(2).await;
    assert_eq!(records[0].value.as_deref(), Some(&b"[1 ,2]"[..]));
    for broken in ["{}", "[", "[]", ""] {
        let reply = fixture.ask("POST", "/api/v1/events:batch", Some(SECRET), media, broken.as_bytes()).await;
        assert_eq!((reply.status, reply.id()), (400, "JsonPayload"), "{broken}");
    }
}

#[tokio::test]
async fn a_payload_that_does_not_fit_its_schema_is_refused_with_the_path() {
    let fixture = Fixture::start().await;
    fixture.directory.demand(json!({"properties": {"items": {"items": {"required": ["id"]}}}}));
    let event = |payload: &str| format!(r#"{{"event_type":"invoice.paid","payload":{payload}}}"#);
    assert_eq!(fixture.send(&event(r#"{"items":[{"id":1}]}"#)).await.status, 201);
    let reply = fixture.send(&event(r#"{"items":[{"id":1},{"no":2}]}"#)).await;
    assert_eq!((reply.status, reply.id()), (422, "Validation"));
    let tree = reply.body["validation"].as_object().unwrap();
    assert_eq!(tree.keys().next().unwrap(), "payload/items/1");
    assert!(reply.body["detail"].as_str().unwrap().contains("invoice.paid"), "{reply:?}");
    let bytes =
        r#"{"event_type":"invoice.paid","payload":"AP8=","payload_content_type":"application/octet-stream+base64"}"#;
    assert_eq!(fixture.send(bytes).await.status, 422, "what is no JSON fits no schema");
    assert_eq!(fixture.publisher.count(), 1);
}

#[tokio::test]
async fn a_deprecated_type_is_accepted_and_said_to_be_one() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.send(&event("")).await.header("x-hookbus-event-type"), None);
    fixture.directory.deprecate();
    let reply = fixture.send(&event("")).await;
    assert_eq!((reply.status, reply.header("x-hookbus-event-type")), (201, Some("deprecated")));
}

#[tokio::test]
async fn clients_of_hook0_see_uuids() {
    let fixture = Fixture::start().await;
    let body = event(r#","event_id":"evt_1""#);
    let head = format!(
        "POST /api/v1/event HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\nhook0-client-options: {{}}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = fixture.raw(head.as_bytes()).await;
    let shown = uuid::Uuid::parse_str(reply.body["event_id"].as_str().unwrap()).unwrap();
    assert_eq!(shown.get_version_num(), 5);
    assert_eq!(fixture.publisher.taken(1).await[0].headers.text("ce_id"), Some("evt_1"));
}

#[tokio::test]
async fn other_routes_go_to_the_fallback_with_the_peer() {
    let fallback = Fallback::new(|request| async move {
        let peer = request.extensions().get::<Arc<chassis::server::ConnectionState>>().unwrap().peer().0;
        let text = format!(r#"{{"path":"{}","ip":"{}"}}"#, request.uri().path(), peer.ip());
        http::Response::new(Full::new(bytes::Bytes::from(text)))
    });
    let fixture = Fixture::with(|_config| {}, Some(fallback)).await;
    let reply = fixture.ask("GET", "/api/v1/instance", None, "application/json", b"").await;
    assert_eq!(reply.body, json!({"path": "/api/v1/instance", "ip": "127.0.0.1"}));
    assert_eq!(fixture.send(&event("")).await.status, 201);
}

#[tokio::test]
async fn http2_is_served_on_the_same_port() {
    let fixture = Fixture::start().await;
    let socket = fixture.connect().await;
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    let driver = tasks::spawn("client", connection);
    let request = http::Request::post("http://gateway/api/v1/event")
        .header("authorization", format!("Bearer {SECRET}"))
        .header("content-type", "application/json")
        .body(Full::new(bytes::Bytes::from(event(""))))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 201);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<Value>(&body).unwrap()["event_id"].is_string());
    driver.abort();
}

#[tokio::test]
async fn a_shutdown_answers_what_is_in_flight_and_takes_nothing_new() {
    let mut fixture = Fixture::start().await;
    let permit = fixture.publisher.hold();
    let mut socket = fixture.connect().await;
    let mut idle = fixture.connect().await;
    socket.write_all(&request("POST", "/api/v1/event", SECRET, &event(""))).await.unwrap();
    fixture.publisher.taken(1).await;
    fixture.shutdown.request();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "idle connections are closed");
    drop(permit);
    let reply = Reply::read(&mut socket).await;
    assert_eq!(reply.status, 201);
    fixture.ended().await;
    assert!(TcpStream::connect(fixture.address).await.is_err());
    assert!(socket.read(&mut [0]).await.unwrap_or(0) == 0, "the connection is closed");
}

#[tokio::test]
async fn events_are_taken_from_the_first_catch_up_on() {
    let fixture = Fixture::start_behind().await;
    let early = fixture.send(&event("")).await;
    assert_eq!((early.status, early.code()), (503, "catalog_behind"));
    let health: &Health = &fixture.health;
    assert!(!health.is_ready());
    fixture.directory.catch_up();
    fixture.ready().await;
    assert_eq!(fixture.send(&event("")).await.status, 201);
}

#[tokio::test]
async fn concurrent_refusals_share_their_looks() {
    let fixture = Arc::new(Fixture::start().await);
    let flood = (0..50).map(|_| {
        let fixture = Arc::clone(&fixture);
        tasks::spawn("flood", async move {
            let reply = fixture.ask("POST", "/api/v1/event", Some("nobody"), "application/json", b"{}").await;
            assert_eq!(reply.status, 403);
        })
    });
    for task in flood.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(fixture.directory.refreshes() < 50, "{}", fixture.directory.refreshes());
}
