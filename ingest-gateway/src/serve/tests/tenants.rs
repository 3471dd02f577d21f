//! What one tenant sends in one request, or in many, leaves a thread, memory and places for the others.

use super::fakes::NEIGHBOUR;
use super::*;

/// Subschemas that meet at every item of a list.
const VISITS: usize = 150;
/// Items of a payload: with [`VISITS`] a check of somewhat less than 2 ms, as priced.
const ITEMS: usize = 300;

fn costly_schema() -> Value {
    json!({ "allOf": vec![json!({"items": {"type": "number"}}); VISITS] })
}

fn costly_event(id: usize) -> String {
    let payload = vec!["1"; ITEMS].join(",");
    format!(r#"{{"event_type":"invoice.paid","event_id":"{id}","payload":[{payload}]}}"#)
}

fn batch_of(count: usize) -> String {
    let events: Vec<String> = (0..count).map(costly_event).collect();
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

/// The runtime of a test has one thread: who keeps it keeps everybody.
#[tokio::test]
async fn a_batch_of_costly_checks_lets_others_in_before_it_is_done() {
    let fixture = Fixture::start().await;
    fixture.directory.demand(costly_schema());
    let (mut batch, mut plain) = (fixture.connect().await, fixture.connect().await);
    batch.write_all(&request("POST", "/api/v1/events:batch", SECRET, &batch_of(50))).await.unwrap();
    fixture.publisher.taken(1).await;
    plain.write_all(&request("POST", "/api/v1/event", NEIGHBOUR, &event(""))).await.unwrap();
    assert_eq!(Reply::read(&mut plain).await.status, 201);
    assert!(batch.try_read(&mut [0]).is_err(), "the batch was answered first");
    let reply = Reply::read(&mut batch).await;
    assert_eq!((reply.status, fixture.publisher.count()), (200, 51));
}

#[tokio::test]
async fn checks_beyond_what_one_request_may_cost_are_for_another_request() {
    let fixture = Fixture::start().await;
    fixture.directory.demand(costly_schema());
    let body = batch_of(200);
    let reply = fixture.ask("POST", "/api/v1/events:batch", Some(SECRET), "application/json", body.as_bytes()).await;
    let results = reply.body["results"].as_array().unwrap();
    let accepted = results.iter().take_while(|result| result["event_id"].is_string()).count();
    assert!((20..150).contains(&accepted), "{accepted} are accepted");
    for result in &results[accepted..] {
        let problem = &result["problem"];
        let told = (problem["status"].as_u64(), problem["id"].as_str(), problem["code"].as_str());
        assert_eq!(told, (Some(429), Some("RateLimited"), Some("schema_too_costly")));
    }
    assert_eq!(fixture.send(&costly_event(199)).await.status, 201, "it is not the event that is too costly");
}

#[tokio::test]
async fn bodies_of_one_organization_leave_room_for_those_of_another() {
    let fixture = Fixture::with(
        |config| {
            config.request_limit = 1_000;
            config.max_in_flight_bytes = 10_000;
        },
        None,
    )
    .await;
    let permit = fixture.publisher.hold();
    let long = event(&format!(r#","metadata":{{"a":"{}"}}"#, "x".repeat(900)));
    assert!((950..1_000).contains(&long.len()));
    let mut held = Vec::new();
    let refused = loop {
        let mut socket = fixture.connect().await;
        socket.write_all(&request("POST", "/api/v1/event", SECRET, &long)).await.unwrap();
        let taken = held.len() + 1;
        let refused = tokio::select! {
            reply = Reply::read(&mut socket) => Some(reply),
            _records = fixture.publisher.taken(taken) => None,
        };
        if let Some(refused) = refused {
            break refused;
        }
        held.push(socket);
    };
    assert_eq!((refused.status, refused.code(), refused.header("retry-after")), (503, "overloaded", Some("1")));
    assert_eq!(held.len(), 5, "half of all");
    let mut other = fixture.connect().await;
    other.write_all(&request("POST", "/api/v1/event", NEIGHBOUR, &long)).await.unwrap();
    fixture.publisher.taken(6).await;
    drop(permit);
    assert_eq!(Reply::read(&mut other).await.status, 201);
    for mut socket in held {
        assert_eq!(Reply::read(&mut socket).await.status, 201);
    }
    assert_eq!(fixture.send(&long).await.status, 201, "what was held came back");
}
