//! Rates and quotas as a sender meets them.

use serde_json::Value;

use super::fakes::{Fixture, NEIGHBOUR, SECRET, event};
use crate::limits::Allowance;

const UNLIMITED: Allowance = Allowance { per_second: None, per_day: None };

#[tokio::test]
async fn beyond_the_days_quota_is_a_429_that_is_not_to_be_repeated() {
    let fixture = Fixture::start().await;
    fixture.directory.limit(UNLIMITED, Allowance { per_second: None, per_day: Some(1) });
    let first = event(r#","event_id":"a""#);
    assert_eq!(fixture.send(&first).await.status, 201);
    let over = fixture.send(&event(r#","event_id":"b""#)).await;
    assert_eq!((over.status, over.id(), over.code()), (429, "TooManyEventsToday", "limit_reached"));
    assert_eq!(over.header("retry-after"), None);
    let repeat = fixture.send(&first).await;
    assert_eq!((repeat.status, repeat.id()), (409, "EventAlreadyIngested"), "a repeat is told that it is one");
    assert_eq!(fixture.publisher.count(), 1);
}

#[tokio::test]
async fn where_the_application_says_how_long_an_id_is_a_repeat_the_fan_out_tells_it() {
    let fixture = Fixture::start().await;
    fixture.directory.give_window();
    let event = event(r#","event_id":"a""#);
    for _ in 0..2 {
        assert_eq!(fixture.send(&event).await.status, 201);
    }
    assert_eq!(fixture.publisher.count(), 2);
}

#[tokio::test]
async fn beyond_the_rate_is_a_429_that_says_when_to_try_again() {
    let fixture = Fixture::with(|config| config.replicas = Some(100), None).await;
    // The share of this replica is one in 50 s: no second of the test's own makes a difference.
    fixture.directory.limit(Allowance { per_second: Some(2), per_day: None }, UNLIMITED);
    assert_eq!(fixture.send(&event("")).await.status, 201);
    let over = fixture.send(&event("")).await;
    assert_eq!((over.status, over.id()), (429, "RateLimited"));
    let seconds: u32 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=50).contains(&seconds), "{seconds}");
    let unread = fixture.send("no JSON at all").await;
    assert_eq!((unread.status, unread.id()), (429, "RateLimited"), "what is in the body is not even looked at");
}

#[tokio::test]
async fn each_event_of_a_batch_counts_by_itself() {
    let fixture = Fixture::start().await;
    fixture.directory.limit(Allowance { per_second: None, per_day: Some(2) }, UNLIMITED);
    let bodies = ["a", "a", "b", "c"].map(|id| event(&format!(r#","event_id":"{id}""#)));
    let json = format!(r#"{{"events":[{}]}}"#, bodies.join(","));
    let reply = fixture.ask("POST", "/api/v1/events:batch", Some(SECRET), "application/json", json.as_bytes()).await;
    let id = |result: &Value| result.get("event_id").unwrap_or_else(|| &result["problem"]["id"]).clone();
    let ids: Vec<Value> = reply.body["results"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids, ["a", "EventAlreadyIngested", "b", "TooManyEventsToday"]);
}

#[tokio::test]
async fn what_kafka_does_not_take_does_not_count() {
    let fixture = Fixture::start().await;
    fixture.directory.limit(Allowance { per_second: None, per_day: Some(1) }, UNLIMITED);
    fixture.publisher.fail_next(true);
    assert_eq!(fixture.send(&event("")).await.status, 503);
    assert_eq!(fixture.send(&event("")).await.status, 201);
    assert_eq!(fixture.send(&event("")).await.status, 429);
}

/// What is refused after its body was read has its price: who sends nothing but that is not read for ever.
#[tokio::test]
async fn what_is_refused_counts_against_whose_token_it_came_with() {
    let mistyped = event("").replace("invoice.paid", "no.such.type");
    let bodies = [
        ("event", "no JSON at all"),
        ("event", mistyped.as_str()),
        ("events:batch", "{"),
        ("events:batch", r#"{"events":[{}]}"#),
    ];
    for (path, body) in bodies {
        let fixture = Fixture::with(|config| config.replicas = Some(100), None).await;
        // The share of this replica is one in 50 s.
        fixture.directory.limit(Allowance { per_second: Some(2), per_day: None }, UNLIMITED);
        let path = format!("/api/v1/{path}");
        let refused = fixture.ask("POST", &path, Some(SECRET), "application/json", body.as_bytes()).await;
        assert!(refused.status < 429, "{body}: {:?}", refused.body);
        let over = fixture.send(body).await;
        assert_eq!((over.status, over.id()), (429, "RateLimited"), "{body}");
        let seconds: u32 = over.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=50).contains(&seconds), "{seconds}");
        let other = fixture.ask("POST", "/api/v1/event", Some(NEIGHBOUR), "application/json", b"no JSON").await;
        assert_eq!(other.status, 400, "it is of no other organization");
    }
}

/// Two at once and 1.5 a second are the share of this replica, and each event stands for a hundred of the day.
const SHARED: Allowance = Allowance { per_second: Some(150), per_day: Some(200) };

#[tokio::test]
async fn who_sends_again_what_was_not_answered_is_told_that_it_was_accepted_however_often() {
    let fixture = Fixture::with(|config| config.replicas = Some(100), None).await;
    fixture.directory.limit(SHARED, UNLIMITED);
    let first = event(r#","event_id":"a""#);
    assert_eq!(fixture.send(&first).await.status, 201);
    for _ in 0..20 {
        assert_eq!(fixture.send(&first).await.id(), "EventAlreadyIngested");
    }
}

/// A 429 with `Retry-After` would have clients come again all day.
#[tokio::test]
async fn a_spent_quota_is_told_as_that_also_where_too_much_was_refused() {
    let fixture = Fixture::with(|config| config.replicas = Some(100), None).await;
    fixture.directory.limit(Allowance { per_day: Some(100), ..SHARED }, UNLIMITED);
    assert_eq!(fixture.send(&event("")).await.status, 201);
    let nonsense = format!(r#"{{"events":[{}]}}"#, ["{}"; 100].join(","));
    let batch = fixture.ask("POST", "/api/v1/events:batch", Some(SECRET), "application/json", nonsense.as_bytes());
    assert_eq!(batch.await.status, 200);
    let unread = fixture.send("no JSON at all").await;
    assert_eq!((unread.status, unread.id(), unread.header("retry-after")), (429, "TooManyEventsToday", None));
}

#[tokio::test]
async fn what_a_batch_had_over_the_rate_counts_as_one() {
    let fixture = Fixture::with(|config| config.replicas = Some(100), None).await;
    fixture.directory.limit(Allowance { per_day: None, ..SHARED }, UNLIMITED);
    let batch = format!(r#"{{"events":[{}]}}"#, vec![event(""); 100].join(","));
    let reply = fixture.ask("POST", "/api/v1/events:batch", Some(SECRET), "application/json", batch.as_bytes()).await;
    let results = reply.body["results"].as_array().unwrap();
    let over = results.iter().filter(|result| result["problem"]["id"] == "RateLimited").count();
    assert!(over > 90, "{over}");
    // A higher rate lets the next event pass: nobody waits for each of those that are sent again.
    fixture.directory.limit(Allowance { per_second: Some(1_000_000), per_day: None }, UNLIMITED);
    let refused = fixture.send("no JSON at all").await;
    assert_eq!((refused.status, refused.id()), (400, "JsonPayload"));
}
