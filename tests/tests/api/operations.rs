//! The operator is told what happens to his tenants' subscriptions and event types, once, and nothing about his own.

use std::time::Duration;

use http::Method;
use kafka::clock::now_ms;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::ledger::collect::read_topic;
use testkit::pipeline::{Event, Setup};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);
const OPERATORS: &str = "01a20186-21cb-7749-81d0-b27446f73399";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_is_told_of_what_is_disabled_and_given_up_and_not_of_his_own() {
    let mut pipeline =
        Setup::new("operations").set("control.operational_application", OPERATORS).start().await.unwrap();
    let operators = pipeline.application_with(json!({ "application_id": OPERATORS }), &[]).await.unwrap();
    let told = pipeline.subscribe(&operators, &["hookbus.**"], json!({})).await.unwrap();
    // What goes wrong with the operator's own subscriptions makes no event.
    let own = pipeline.subscribe(&operators, &["hookbus.**"], json!({ "retry": [] })).await.unwrap();
    pipeline.endpoint().script(&own.path, "500").unwrap();
    let tenants = pipeline.application(&["a.b"]).await.unwrap();
    let dies = pipeline.subscribe(&tenants, &["a.b"], json!({ "retry": [], "uid": "dies" })).await.unwrap();
    pipeline.endpoint().script(&dies.path, "500").unwrap();
    let asks = pipeline.subscribe(&tenants, &["a.b"], json!({})).await.unwrap();
    pipeline.endpoint().script(&asks.path, "410").unwrap();
    let deprecated = json!({ "deprecated_at": "2027-01-31T00:00:00Z" });
    let path = format!("/event_types/a.b?application_id={}", tenants.id);
    let deprecated = pipeline.manage(1, Method::PATCH, &path, Some(&deprecated)).await.unwrap();
    assert_eq!(deprecated.status, 200, "{:?}", deprecated.body);
    let began = now_ms();
    assert_eq!(pipeline.client().send(1, &tenants, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    let requests = pipeline.endpoint().wait_for(&told.path, 3, SOON).await.unwrap();
    pipeline.ended(&asks, (began, now_ms())).unwrap();
    let mut events: Vec<Value> = requests.iter().map(|it| serde_json::from_slice(&it.body).unwrap()).collect();
    events.sort_by_key(|event| event["type"].to_string());
    assert_eq!(
        (&events[0]["type"], &events[0]["event_type"]),
        (&json!("hookbus.event_type.deprecated"), &json!("a.b"))
    );
    assert_eq!(events[0]["sunset_at"], "2027-07-31T00:00:00Z", "six months later");
    let delivered = pipeline.endpoint().requests(&dies.path).swap_remove(0);
    assert_eq!(delivered.header("deprecation"), Some("@1801353600"), "RFC 9745");
    assert_eq!(delivered.header("sunset"), Some("Sat, 31 Jul 2027 00:00:00 GMT"), "RFC 8594");
    let exhausted = &events[1];
    assert_eq!(exhausted["type"], "hookbus.subscription.attempts_exhausted", "{events:?}");
    assert_eq!(
        (&exhausted["subscription_uid"], &exhausted["event_id"]),
        (&json!("dies"), &json!("evt_1")),
        "{events:?}"
    );
    assert_eq!((&exhausted["attempts"], &exhausted["reason"]), (&json!(1), &json!("schedule")), "{events:?}");
    let disabled = &events[2];
    assert_eq!((&disabled["type"], &disabled["reason"]), (&json!("hookbus.subscription.disabled"), &json!("gone")));
    assert_eq!(disabled["subscription_id"], json!(asks.id), "{events:?}");
    // The operator's own dead letters are there before it is counted.
    pipeline.endpoint().wait_for(&own.path, 3, SOON).await.unwrap();
    let dead = eventually("all dead letters", SOON, || async {
        let dead = read_topic(pipeline.connection(), &pipeline.topics().dead_letters).await.ok()?.len();
        (dead == 5).then_some(dead)
    });
    dead.await.unwrap();
    for (_, record) in read_topic(pipeline.connection(), &pipeline.topics().events).await.unwrap() {
        let text = |name| record.headers.text(name).unwrap_or_default();
        if text(schemas::header::CE_TYPE).starts_with("hookbus.") {
            let payload = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
            let event = Event::new(text(schemas::header::CE_ID), text(schemas::header::CE_TYPE)).payload(payload);
            pipeline.client().remember(&operators, &event);
        }
    }
    let told_path = told.path.clone();
    let outcome = pipeline.finish(Expect { dead: 5, ..Expect::default() }).await.unwrap();
    let arrived = outcome.books.requests.iter().filter(|it| it.path == told_path).count();
    assert_eq!(arrived, 3, "each once, and none about the operator's own");
}
