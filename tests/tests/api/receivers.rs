//! What receivers ask for: credentials, body forms, and to be left alone.

use std::time::Duration;

use kafka::clock::now_ms;
use schemas::attempt::Kind;
use serde_json::{Value, json};
use testkit::endpoint::{EndpointOptions, Signature};
use testkit::pipeline::{Application, Event, Pipeline, Subscription};
use testkit::wait::eventually;
use testkit::{Endpoint, Expect};

const SOON: Duration = Duration::from_secs(60);
/// Odd spaces and an order that sorting would change.
const PAYLOAD: &str = "{ \"b\" :1, \"a\":\t[ ] }";

/// Each subscription gets the event its own way; the ledger compares the payload in every form with what was accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_receiver_gets_its_form_and_its_credentials() {
    let mut pipeline = Pipeline::start("receivers").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let tokens = Endpoint::start_with(EndpointOptions { threads: 1, ..EndpointOptions::default() }).unwrap();
    tokens.script("/", r#"200+text={"access_token":"t0ken","expires_in":3600}"#).unwrap();
    let token_url = tokens.url("/token");
    let oauth2 = json!({ "type": "oauth2", "token_url": token_url, "client_id": "us", "client_secret": "pw" });
    let fields = [
        json!({ "body": "cloudevents", "auth": { "type": "bearer", "token": "b3arer" } }),
        json!({ "body": "envelope", "auth": { "type": "basic", "username": "us", "password": "pw" } }),
        json!({ "auth": oauth2 }),
        json!({ "signing": ["standard", "hook0_body", "ed25519"] }),
    ];
    let mut made: Vec<Subscription> = Vec::new();
    for fields in fields {
        made.push(pipeline.subscribe(&application, &["a.b"], fields).await.unwrap());
    }
    for number in 0..3 {
        let event = Event::new(format!("evt_{number}"), "a.b").payload(PAYLOAD);
        assert_eq!(pipeline.client().send(1, &application, &event).await.unwrap().status, 201);
    }
    for subscription in &made {
        pipeline.endpoint().wait_for(&subscription.path, 3, SOON).await.unwrap();
    }
    let first = |number: usize| pipeline.endpoint().requests(&made[number].path).swap_remove(0);
    assert_eq!(first(0).header("authorization"), Some("Bearer b3arer"));
    assert_eq!(first(0).header("content-type"), Some("application/cloudevents+json"));
    let cloudevent: Value = serde_json::from_slice(&first(0).body).unwrap();
    assert_eq!((&cloudevent["specversion"], &cloudevent["type"]), (&json!("1.0"), &json!("a.b")));
    assert_eq!(first(1).header("authorization"), Some("Basic dXM6cHc="));
    let envelope: Value = serde_json::from_slice(&first(1).body).unwrap();
    assert_eq!(envelope["event_type"], "a.b");
    assert_eq!(first(2).header("authorization"), Some("Bearer t0ken"));
    let fetched = tokens.requests("/");
    assert_eq!(fetched.len(), 1, "one token for all three");
    assert_eq!(fetched[0].header("authorization"), Some("Basic dXM6cHc="));
    assert!(first(3).header("x-hook0-signature").is_some_and(|value| value.starts_with("sha256=")));
    assert!(first(3).header("webhook-signature").is_some_and(|value| value.contains(" v1a,")));
    assert_eq!(first(3).signature, Signature::Valid { standard: true, hook0: true });
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 12);
}

/// While two secrets are live, both verify; Hook0's header holds one signature, the old one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_a_rotation_old_and_new_secret_verify() {
    let mut pipeline = Pipeline::start("rotation").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let path = format!("/subscriptions/{}/rotate_secret?application_id={}", subscription.id, application.id);
    let rotated = pipeline.managed(http::Method::POST, &path, Some(&json!({})), 200).await.unwrap();
    assert!(rotated["secret"].is_string());
    assert_eq!(pipeline.client().send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    // The endpoint knows the old secret only: both headers verify with it.
    let seen = pipeline.endpoint().wait_for(&subscription.path, 1, SOON).await.unwrap();
    assert_eq!(seen[0].signature, Signature::Valid { standard: true, hook0: true });
    let signatures = seen[0].header("webhook-signature").unwrap();
    assert_eq!(signatures.split(' ').filter(|entry| entry.starts_with("v1,")).count(), 2);
    pipeline.finish(Expect::default()).await.unwrap();
}

async fn disabled(pipeline: &Pipeline, application: &Application, subscription: &Subscription) -> Value {
    let path = format!("/subscriptions/{}?application_id={}", subscription.id, application.id);
    eventually("the control plane disables it", SOON, || async {
        let shown = pipeline.managed(http::Method::GET, &path, None, 200).await.ok()?;
        (shown["is_enabled"] == false).then_some(shown)
    })
    .await
    .unwrap()
}

/// An endpoint that fails for longer than `disable_after` is disabled, and the operator sees why; so is one that asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_keeps_failing_or_asks_for_it_is_disabled() {
    let mut pipeline = Pipeline::start("failing").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let every_second = |disable_after_ms: u64| json!({ "retry": vec!["1s"; 40], "disable_after_ms": disable_after_ms });
    let fails = pipeline.subscribe(&application, &["a.b"], every_second(3_000)).await.unwrap();
    // However long its two failures take here, it is well again in its time.
    let recovers = pipeline.subscribe(&application, &["a.b"], every_second(600_000)).await.unwrap();
    let asks = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    pipeline.endpoint().script(&fails.path, "500").unwrap();
    pipeline.endpoint().script(&recovers.path, "500x2 204").unwrap();
    pipeline.endpoint().script(&asks.path, "400+webhook-delivery=disable").unwrap();
    let began = now_ms();
    assert_eq!(pipeline.client().send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    let failing = disabled(&pipeline, &application, &fails).await;
    assert_eq!(failing["disabled_reason"], "failing", "{failing}");
    let gone = disabled(&pipeline, &application, &asks).await;
    assert_eq!(gone["disabled_reason"], "gone", "{gone}");
    let ended = (began, now_ms());
    pipeline.ended(&fails, ended).unwrap();
    pipeline.ended(&asks, ended).unwrap();
    let expect = Expect { dead: 1, cancelled: Some(1), ..Expect::default() };
    let outcome = pipeline.finish(expect).await.unwrap();
    let of = |kind: Kind| outcome.books.facts.iter().filter(|fact| fact.kind == kind).collect::<Vec<_>>();
    assert_eq!(of(Kind::Failing).len(), 1, "told once");
    assert!(of(Kind::Failing)[0].at_ms - began >= 3_000, "not before its time");
    assert_eq!(of(Kind::EndpointGone).len(), 1);
}
