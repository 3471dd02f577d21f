//! What the fan-out makes of records on the events topic, and of a subscription that is a moment old.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemas::record::{Headers, OutRecord};
use schemas::seen;
use serde_json::json;
use testkit::Expect;
use testkit::ledger::collect;
use testkit::pipeline::wide::{EVENT_TYPE, WideWritten};
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// Read-index: whoever was told that a subscription exists gets the next event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_sent_right_after_its_subscription_was_created_reaches_it_100_times() {
    let mut pipeline = Pipeline::start("read-index").await.unwrap();
    let application = pipeline.application(&["race.go"]).await.unwrap();
    let client = pipeline.client();
    for number in 0..100 {
        let label = number.to_string();
        let fields = json!({ "labels": { "n": label } });
        pipeline.subscribe(&application, &["race.go"], fields).await.unwrap();
        let event = Event::new(format!("evt_{number}"), "race.go").label("n", &label);
        assert_eq!(client.send(1, &application, &event).await.unwrap().status, 201);
    }
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 100);
}

fn record(pipeline: &Pipeline, headers: &[(&str, &str)], value: Option<Bytes>) -> OutRecord {
    let topic = Arc::clone(&pipeline.topics().events);
    let headers: Headers = headers.iter().copied().collect();
    OutRecord { topic, partition: None, key: Some(Bytes::from_static(b"k")), value, headers }
}

/// Odd records, and what becomes of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_no_events_are_rejected_with_a_reason_and_block_nothing() {
    let mut pipeline = Pipeline::start("odd-records").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["**"], json!({})).await.unwrap();
    let id = application.id.to_string();
    let small = || Some(Bytes::from_static(b"{\"n\": 1}"));
    let binary = |event: &'static str, event_type: &'static str| {
        [("ce_specversion", "1.0"), ("ce_id", event), ("ce_type", event_type), ("ce_source", "/x")]
    };
    let with = |headers: &[(&'static str, &'static str)]| {
        let mut headers: Vec<(&str, &str)> = headers.to_vec();
        headers.push(("hookbus-application", &id));
        headers
    };
    let near_limit = Some(Bytes::from(vec![b'7'; 1_048_588 - 350]));
    let structured = Some(Bytes::from_static(
        br#"{"specversion":"1.0","id":"s1","type":"a.b","source":"/s","data": {"b" : 1,  "a":"\u00e9"} }"#,
    ));
    let structured_headers: Vec<(&str, &str)> =
        with(&[("content-type", "application/cloudevents+json; charset=UTF-8")]);
    let records = [
        // Delivered: control characters in the id, no id at all, structured mode.
        (with(&binary("one\u{1}\n\ttwo", "a.b")), small(), None),
        (with(&[("ce_type", "a.b")]), small(), None),
        (structured_headers.clone(), structured, None),
        // Rejected.
        (with(&binary("large", "a.b")), near_limit, Some("too_large")),
        (with(&binary("type", "a.\u{1}b")), small(), Some("invalid_attribute")),
        (with(&binary("untyped", "")), small(), Some("invalid_attribute")),
        (with(&binary("null", "a.b")), None, Some("null_value")),
        (binary("nobody", "a.b").to_vec(), small(), Some("invalid_attribute")),
        (
            [&binary("stranger", "a.b")[..], &[("hookbus-application", "nobody")]].concat(),
            small(),
            Some("unknown_application"),
        ),
        (structured_headers, Some(Bytes::from_static(b"{\"id\":")), Some("undecodable")),
    ];
    let mut reasons = Vec::new();
    for (headers, value, reason) in &records {
        pipeline.produce(&record(&pipeline, headers, value.clone())).await.unwrap();
        reasons.extend(*reason);
    }
    pipeline.publish(&application, &[Event::new("last", "a.b")]).await.unwrap();
    pipeline.endpoint().wait_for(&subscription.path, 4, SOON).await.unwrap();
    let outcome = pipeline.finish(Expect { rejected: reasons.len(), ..Expect::default() }).await.unwrap();

    let mut found: Vec<&str> = outcome.books.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    found.sort_unstable();
    reasons.sort_unstable();
    assert_eq!(found, reasons);
    let large = outcome.books.rejected.iter().find(|rejected| rejected.reason == "too_large").unwrap();
    assert!(large.value.as_ref().is_some_and(|value| value.len() > 1_000_000), "kept as far as it fits");
    let bodies: Vec<u64> = outcome.books.requests.iter().map(|request| request.body).collect();
    let data = testkit::endpoint::seen::body_hash("{\"b\" : 1,  \"a\":\"\\u00e9\"}".as_bytes());
    assert!(bodies.contains(&data), "structured mode keeps the bytes of its data");
}

/// The largest event there may be, for many, and records at the topic's limit: all arrive, nothing blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_events_with_many_matches_pass() {
    let mut pipeline = Pipeline::start("largest").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    for _ in 0..20 {
        pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    }
    let client = pipeline.client();
    let largest = Event::new("largest", "a.b").payload(format!("\"{}\"", "x".repeat(699_048)));
    let answer = send_as_object(&client, &application, &largest).await;
    assert_eq!(answer, 201);
    let batch: Vec<Event> =
        (0..60).map(|n| Event::new(format!("b{n}"), "a.b").payload(format!("[\"{}\"]", "y".repeat(16_000)))).collect();
    pipeline.publish(&application, &batch).await.unwrap();
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 61 * 20);
}

/// A string payload needs its content type; as an array it is a JSON value.
async fn send_as_object(client: &testkit::pipeline::Client, application: &Application, event: &Event) -> u16 {
    let inner = event.payload.len() - 4;
    let event = Event { payload: format!("[\"{}\"]", "x".repeat(inner)), ..event.clone() };
    client.send(1, application, &event).await.unwrap().status.as_u16()
}

/// A restart reads `seen` back: only ids that somebody could repeat may stand on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_the_gateway_made_leave_nothing_in_seen() {
    let mut pipeline = Pipeline::start("made-ids").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let client = pipeline.client();
    let nameless = format!(r#"{{"application_id":"{}","event_type":"a.b","payload":{{"n":1}}}}"#, application.id);
    let batch = format!(r#"{{"events":[{}]}}"#, vec![nameless; 100].join(","));
    let answer = client.post(1, "/api/v1/events:batch", &application.token, batch.into()).await.unwrap();
    let results = answer.json().unwrap()["results"].as_array().unwrap().clone();
    for result in &results {
        let id = result["event_id"].as_str().unwrap();
        client.remember(&application, &Event::new(id, "a.b").payload(r#"{"n":1}"#));
    }
    assert_eq!(results.len(), 100);
    pipeline.settled(SOON).await.unwrap();
    assert_eq!(remembered(&pipeline).await, 0, "nobody can repeat them");

    let own: Vec<Event> = (0..100).map(|number| Event::new(format!("own_{number}"), "a.b")).collect();
    client.send_batch(1, &application, &own).await.unwrap();
    pipeline.settled(SOON).await.unwrap();
    assert_eq!(remembered(&pipeline).await, 100);
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 200);
}

/// How many identities stand in `seen`.
async fn remembered(pipeline: &Pipeline) -> usize {
    let records = collect::read_topic(pipeline.connection(), &pipeline.topics().seen).await.unwrap();
    records.iter().map(|(_, record)| seen::decode(record.value.as_ref().unwrap()).unwrap().count()).sum()
}

/// More than one transaction writes: in slices, one event after the other in its partition, and others of other partitions beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_for_5000_subscriptions_reaches_each_of_them_once() {
    let setup = Setup::new("wide").set("topics.partitions.events", 2);
    let mut pipeline = setup.topics_only().await.unwrap();
    let wide = pipeline.wide(5_000).await.unwrap();
    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    let names = ["all-0", "all-1", "all-2"];
    let events = names.map(|name| Event::new(name, EVENT_TYPE));
    pipeline.publish(&wide.application, &events).await.unwrap();
    // The same again: a repeat, once the first is done.
    pipeline.publish(&wide.application, &events[..1]).await.unwrap();
    for name in names {
        let ended = || async {
            let written = wide.written(&pipeline, name).await.ok()?;
            // Kafka may show the end a moment before what was committed before it.
            (!written.matched.is_empty() && written.missing == 0).then_some(written)
        };
        let written = eventually("the end of an event", SOON, ended).await.unwrap();
        assert_eq!(written, WideWritten::once(5_000), "{name}");
    }
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let repeated = || async { (fanout.metric("hookbus_fanout_repeats_total").await.ok()? >= 1.0).then_some(()) };
    eventually("the repeat", SOON, repeated).await.unwrap();
    let matched = fanout.metric("hookbus_fanout_matched_total").await.unwrap();
    assert!((matched - 15_000.0).abs() < 0.5, "{matched}");
    // Nobody delivers them, and the ledger knows nothing of these subscriptions.
    drop(pipeline.verdict(Expect { waiting: 1, ..Expect::default() }, SOON).await);
}
