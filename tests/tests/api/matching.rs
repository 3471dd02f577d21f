//! Who gets an event beyond its type and labels: filters, schemas, and types that nobody declared.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use schemas::attempt::Kind;
use schemas::header;
use schemas::record::OutRecord;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::pipeline::{Application, Event, Pipeline};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// An event as a producer that is not ours writes it.
fn from_topic(pipeline: &Pipeline, application: &Application, id: &str, event_type: &str, payload: &str) -> OutRecord {
    let application = application.id.to_string();
    let headers = [
        (header::CE_ID, id),
        (header::CE_TYPE, event_type),
        (header::CE_SOURCE, "/shop"),
        (header::APPLICATION, application.as_str()),
    ];
    OutRecord {
        topic: Arc::clone(&pipeline.topics().events),
        partition: None,
        key: Some(Bytes::from(id.to_owned())),
        value: Some(Bytes::from(payload.to_owned())),
        headers: headers.iter().copied().collect(),
    }
}

/// A filter sees the payload of events of either way in; one that fails at run time is no match and says so once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_decides_and_one_that_fails_leaves_a_record() {
    let mut pipeline = Pipeline::start("filters").await.unwrap();
    let application = pipeline.application(&["order.placed"]).await.unwrap();
    let all = pipeline.subscribe(&application, &["order.*"], json!({})).await.unwrap();
    let filter = "data.total >= 100 && data.lines.exists(l, l.sku.startsWith('A-')) && labels.region == 'eu'";
    let large = pipeline.subscribe(&application, &["order.*"], json!({ "filter": filter })).await.unwrap();
    pipeline.lets_through(&large, &["large", "again"]).unwrap();
    // Half of the orders have no customer.
    let fails = json!({ "filter": "data.customer.vip" });
    let fails = pipeline.subscribe(&application, &["order.placed"], fails).await.unwrap();
    pipeline.lets_through(&fails, &["vip"]).unwrap();
    let client = pipeline.client();
    for (id, region, payload) in [
        ("large", "eu", r#"{"total": 150, "lines": [{"sku": "B-1"}, {"sku": "A-2"}]}"#),
        ("small", "eu", r#"{"total": 50, "lines": [{"sku": "A-2"}]}"#),
        ("other", "eu", r#"{"total": 150, "lines": []}"#),
        ("far", "us", r#"{"total": 150, "lines": [{"sku": "A-2"}]}"#),
        ("vip", "eu", r#"{"total": 1, "lines": [], "customer": {"vip": true}}"#),
        ("again", "eu", r#"{"total": 100.0, "lines": [{"sku": "A-"}]}"#),
    ] {
        let event = Event::new(id, "order.placed").label("region", region).payload(payload);
        assert_eq!(client.send(1, &application, &event).await.unwrap().status, 201);
    }
    // Not JSON, and through a topic: no data, so no match for whoever asks for it.
    pipeline.produce(&from_topic(&pipeline, &application, "text", "order.placed", "a text")).await.unwrap();
    pipeline.endpoint().wait_for(&all.path, 7, SOON).await.unwrap();
    pipeline.endpoint().wait_for(&large.path, 2, SOON).await.unwrap();
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 7 + 2 + 1);
    // Two subscriptions failed, one of them six times, in far less than the minute between two records.
    let failed = outcome.books.facts.iter().filter(|fact| fact.kind == Kind::FilterFailed);
    let reasons: Vec<_> = failed.map(|fact| fact.reason.as_deref().unwrap_or_default()).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.iter().all(|reason| ["failed", "no_data"].contains(reason)), "{reasons:?}");
}

/// A filter is refused when it is written, with the place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_filter_and_a_wrong_schema_are_refused_when_they_are_written() {
    let mut pipeline = Pipeline::start("wrong-filters").await.unwrap();
    let application = pipeline.application(&["order.placed"]).await.unwrap();
    let url = pipeline.endpoint().url("/never");
    for filter in ["data.total >", "dat.total > 1", "data.total + 1", "data.name.matches('(')"] {
        let body = json!({
            "application_id": application.id, "is_enabled": true, "event_types": ["order.placed"], "labels": {},
            "target": { "type": "http", "method": "POST", "url": url, "headers": {} }, "filter": filter,
        });
        let answer = pipeline.manage(1, Method::POST, "/subscriptions", Some(&body)).await.unwrap();
        assert_eq!(answer.status, 422, "{filter}");
        let told = answer.json().unwrap().to_string();
        assert!(told.contains("filter") && told.contains("column"), "{told}");
    }
    let recursive = json!({ "properties": { "child": { "$ref": "#" } } });
    for schema in [json!({ "type": "strin" }), json!({ "$ref": "https://example.test/x" }), recursive, json!(7)] {
        let body = json!({ "application_id": application.id, "name": "order.paid", "schema": schema });
        let answer = pipeline.manage(1, Method::POST, "/event_types", Some(&body)).await.unwrap();
        assert_eq!(answer.status, 422, "{body}");
        assert!(answer.json().unwrap().to_string().contains("schema"));
    }
    pipeline.finish(Expect::default()).await.unwrap();
}

/// A payload that does not fit its type's schema: refused over HTTP, rejected through a topic, with the path that fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_does_not_fit_its_schema_goes_to_the_rejected_ones() {
    let mut pipeline = Pipeline::start("schemas").await.unwrap();
    let application = pipeline.application(&["order.paid"]).await.unwrap();
    let lines = json!({ "type": "array", "items": { "required": ["sku"] } });
    let schema = json!({ "type": "object", "required": ["lines"], "properties": { "lines": lines } });
    let body = json!({ "application_id": application.id, "name": "order.placed", "schema": schema });
    pipeline.managed(Method::POST, "/event_types", Some(&body), 201).await.unwrap();
    let all = pipeline.subscribe(&application, &["order.*"], json!({})).await.unwrap();
    let (good, bad) = (r#"{"lines": [{"sku": "a"}]}"#, r#"{"lines": [{"sku": "a"}, {"count": 1}]}"#);
    let client = pipeline.client();
    let refused = client.send(1, &application, &Event::new("bad", "order.placed").payload(bad)).await.unwrap();
    assert!(refused.status.is_client_error(), "{}", refused.status);
    assert!(refused.json().unwrap().to_string().contains("/lines/1"), "{:?}", refused.body);
    let sent = client.send(1, &application, &Event::new("good", "order.placed").payload(good)).await.unwrap();
    assert_eq!(sent.status, 201);
    for (id, event_type, payload) in [
        ("t1", "order.placed", good),
        ("t2", "order.placed", bad),
        ("t3", "order.placed", "no json"),
        ("t4", "order.paid", bad),
    ] {
        pipeline.produce(&from_topic(&pipeline, &application, id, event_type, payload)).await.unwrap();
    }
    pipeline.endpoint().wait_for(&all.path, 3, SOON).await.unwrap();
    let outcome = pipeline.finish(Expect { rejected: 2, ..Expect::default() }).await.unwrap();
    assert!(outcome.books.rejected.iter().all(|rejected| rejected.reason == "schema_mismatch"));
    assert_eq!(outcome.audit.counts.delivered, 3);
}

/// What an application says about types that nobody declared: accepted, rejected, or declared on sight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_types_are_accepted_rejected_or_declared_as_the_application_says() {
    let mut pipeline = Pipeline::start("unknown-types").await.unwrap();
    let rule = |rule: &str| json!({ "unknown_event_types": rule });
    let accepts = pipeline.application_with(rule("accept"), &[]).await.unwrap();
    let rejects = pipeline.application_with(rule("reject"), &["known.type"]).await.unwrap();
    let declares = pipeline.application_with(rule("declare"), &[]).await.unwrap();
    for application in [&accepts, &rejects, &declares] {
        let all = pipeline.subscribe(application, &["**"], json!({})).await.unwrap();
        for (id, event_type) in [("1", "known.type"), ("2", "new.type"), ("3", "new.type")] {
            pipeline.produce(&from_topic(&pipeline, application, id, event_type, "{}")).await.unwrap();
        }
        let arrive = if application.id == rejects.id { 1 } else { 3 };
        pipeline.endpoint().wait_for(&all.path, arrive, SOON).await.unwrap();
    }
    let both = eventually("both types are declared", SOON, || async {
        let names = declared(&pipeline, &declares).await;
        (names.len() == 2).then_some(names)
    });
    assert_eq!(both.await.unwrap(), ["known.type", "new.type"]);
    assert!(declared(&pipeline, &accepts).await.is_empty());
    assert_eq!(declared(&pipeline, &rejects).await, ["known.type"]);
    let outcome = pipeline.finish(Expect { rejected: 2, ..Expect::default() }).await.unwrap();
    let told = outcome.books.facts.iter().filter(|fact| fact.kind == Kind::Undeclared).count();
    assert_eq!(told, 2, "each type is told once");
}

/// The names of an application's event types.
async fn declared(pipeline: &Pipeline, application: &Application) -> Vec<String> {
    let path = format!("/event_types?application_id={}", application.id);
    let listed = pipeline.managed(Method::GET, &path, None, 200).await.unwrap();
    let name = |it: &Value| it["event_type_name"].as_str().unwrap_or_default().to_owned();
    listed.as_array().unwrap().iter().map(name).collect()
}
