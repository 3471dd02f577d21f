//! Subscriptions with real deliveries: pings, and secrets that are imported and rotated while events flow.

use std::time::Duration;

use http::Method;
use schemas::ids::DeliveryId;
use serde_json::{Value, json};
use signing::{Ed25519PublicKey, Secret, StandardHeaders, Verifier};
use testkit::Expect;
use testkit::endpoint::{Seen, Signature};
use testkit::pipeline::{Application, Event, Pipeline, Subscription};

const SOON: Duration = Duration::from_secs(60);
/// A secret of another system.
const IMPORTED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn path(application: &Application, subscription: &Subscription, action: &str) -> String {
    format!("/subscriptions/{}{action}?application_id={}", subscription.id, application.id)
}

/// A ping arrives signed, also at a subscription that listens to something else; at a paused one when it is resumed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_arrives_like_an_event_and_a_paused_one_waits() {
    let mut pipeline = Pipeline::start("pings").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let fields = json!({ "labels": { "nobody": "has it" }, "filter": "type == 'c.d'" });
    let awake = pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
    let paused = pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
    pipeline.endpoint().script(&paused.path, "500 204").unwrap();
    pipeline.managed(Method::POST, &path(&application, &paused, "/pause"), None, 200).await.unwrap();

    let waits = pipeline.ping(&application, &paused).await.unwrap();
    let comes = pipeline.ping(&application, &awake).await.unwrap();
    let seen = pipeline.endpoint().wait_for(&awake.path, 1, SOON).await.unwrap();
    is_ping(&seen[0], comes, &awake);
    assert_eq!(pipeline.endpoint().count(&paused.path), 0, "it is paused");
    pipeline.managed(Method::POST, &path(&application, &paused, "/resume"), None, 200).await.unwrap();
    // One that fails is repeated like any delivery.
    let seen = pipeline.endpoint().wait_for(&paused.path, 2, SOON).await.unwrap();
    is_ping(&seen[1], waits, &paused);

    let disable = json!({ "is_enabled": false });
    pipeline.managed(Method::PATCH, &path(&application, &awake, ""), Some(&disable), 200).await.unwrap();
    let refused = pipeline.managed(Method::POST, &path(&application, &awake, "/ping"), None, 409).await.unwrap();
    assert_eq!(refused["code"], "subscription_disabled");
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.matched), (2, 0));
}

fn is_ping(seen: &Seen, delivery: DeliveryId, subscription: &Subscription) {
    assert_eq!(seen.signature, Signature::Valid { standard: true, hook0: true });
    assert_eq!(seen.header("x-event-type"), Some("hookbus.ping"));
    assert_eq!(seen.delivery(), Some(delivery.to_string().as_str()));
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["subscription_id"], subscription.id.to_string());
    assert_eq!(seen.header("webhook-id"), body["ping_id"].as_str());
}

/// A receiver that knows one of the secrets verifies every request from when it learned of it until the overlap ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_secrets_rotate_under_traffic_and_both_verify() {
    let mut pipeline = Pipeline::start("rotation").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let fields = json!({ "secret": IMPORTED, "signing": ["standard", "hook0", "ed25519"] });
    let subscription = pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
    pipeline.endpoint().expect_secret(&subscription.path, IMPORTED).unwrap();
    let shown = pipeline.managed(Method::GET, &path(&application, &subscription, ""), None, 200).await.unwrap();
    assert_eq!(shown["signing_secret"], IMPORTED, "as it was given");
    let first_key = key(&shown);

    let mut sender = Sender { pipeline: &mut pipeline, application, subscription, sent: 0 };
    let before = sender.send_10().await;
    let rotated = sender.rotate(json!({})).await;
    let (second, second_key) = (rotated["signing_secret"].as_str().unwrap().to_owned(), key(&rotated));
    sender.expect(rotated["secret"].as_str().unwrap());
    let during = sender.send_10_until(|seen| verifies(seen, &second)).await;
    sender.expect("the third");
    sender.rotate(json!({ "secret": "the third", "overlap_ms": 0 })).await;
    let after = sender.send_10_until(|seen| !verifies(seen, IMPORTED)).await;

    assert!(before.iter().all(|seen| verifies(seen, IMPORTED) && !verifies(seen, &second)));
    assert!(before.iter().all(|seen| verifies_key(seen, &first_key)));
    for seen in &during {
        assert!(verifies(seen, IMPORTED) && verifies(seen, &second), "both sign");
        assert!(verifies_key(seen, &first_key) && verifies_key(seen, &second_key), "so do both key pairs");
        assert!(hook0_verifies(seen, IMPORTED), "one place, which is the old one's until the overlap ends");
    }
    for seen in &after {
        assert!(verifies(seen, "the third") && !verifies(seen, IMPORTED) && !verifies(seen, &second));
        assert!(hook0_verifies(seen, "the third"));
    }
    pipeline.finish(Expect::default()).await.unwrap();
}

/// Whoever may change a subscription does not get to see its secrets by naming a receiver of his own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_secrets_do_not_follow_a_changed_target() {
    let mut pipeline = Pipeline::start("moved").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let auth = json!({ "type": "basic", "username": "shop", "password": "of-the-shop" });
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({ "auth": auth })).await.unwrap();
    let at = path(&application, &subscription, "");
    let key = json!({ "target": { "headers": { "x-api-key": "of-the-receiver", "x-tenant": "a" } } });
    let shown = pipeline.managed(Method::PATCH, &at, Some(&key), 200).await.unwrap();

    let elsewhere = "http://127.0.0.1:1/collect";
    let mut masked = shown.clone();
    masked["target"]["url"] = json!(elsewhere);
    let absent = json!({ "target": { "url": elsewhere } });
    for (method, body) in [(Method::PUT, &masked), (Method::PUT, &absent), (Method::PATCH, &absent)] {
        let refused = pipeline.managed(method, &at, Some(body), 422).await.unwrap();
        let fields: Vec<&String> = refused["validation"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["auth.password", "target.headers.x-api-key"], "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("now http://127.0.0.1:1: give it again"), "{refused}");
    }
    assert_eq!(pipeline.managed(Method::GET, &at, None, 200).await.unwrap(), shown);
    let without = json!({ "target": { "url": elsewhere, "headers": { "x-api-key": null } }, "auth": null });
    let moved = pipeline.managed(Method::PATCH, &format!("{at}&dry_run=true"), Some(&without), 200).await.unwrap();
    assert_eq!(moved["target"]["headers"], json!({ "x-tenant": "a" }));

    // Another path of the same receiver keeps them all.
    let query = json!({ "target": { "url": format!("{}?a=1", pipeline.endpoint().url(&subscription.path)) } });
    pipeline.managed(Method::PATCH, &at, Some(&query), 200).await.unwrap();
    let sent = pipeline.client().send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap();
    assert_eq!(sent.status, 201);
    let seen = pipeline.endpoint().wait_for(&subscription.path, 1, SOON).await.unwrap();
    assert_eq!(seen[0].header("x-api-key"), Some("of-the-receiver"));
    assert_eq!(seen[0].header("authorization"), Some("Basic c2hvcDpvZi10aGUtc2hvcA=="));
    pipeline.finish(Expect::default()).await.unwrap();
}

struct Sender<'a> {
    pipeline: &'a mut Pipeline,
    application: Application,
    subscription: Subscription,
    sent: u64,
}

impl Sender<'_> {
    fn expect(&self, secret: &str) {
        self.pipeline.endpoint().expect_secret(&self.subscription.path, secret).unwrap();
    }

    async fn rotate(&self, request: Value) -> Value {
        let path = path(&self.application, &self.subscription, "/rotate_secret");
        self.pipeline.managed(Method::POST, &path, Some(&request), 200).await.unwrap()
    }

    async fn send_10(&mut self) -> Vec<std::sync::Arc<Seen>> {
        let client = self.pipeline.client();
        let from = self.sent;
        for _ in 0..10 {
            self.sent += 1;
            let event = Event::new(format!("evt_{}", self.sent), "a.b");
            assert_eq!(client.send(1, &self.application, &event).await.unwrap().status, 201);
        }
        let seen = self.pipeline.endpoint().wait_for(&self.subscription.path, self.sent, SOON).await.unwrap();
        seen.into_iter().skip(usize::try_from(from).unwrap()).collect()
    }

    /// Sends until the delivery worker has heard of the change, and then ten more. That takes a moment, never many rounds.
    async fn send_10_until(&mut self, heard: impl Fn(&Seen) -> bool) -> Vec<std::sync::Arc<Seen>> {
        for _ in 0..100 {
            if self.send_10().await.iter().all(|seen| heard(seen)) {
                return self.send_10().await;
            }
        }
        panic!("the delivery worker does not hear of the change");
    }
}

fn headers(seen: &Seen) -> StandardHeaders<'_> {
    StandardHeaders {
        id: seen.header("webhook-id").unwrap(),
        timestamp: seen.header("webhook-timestamp").unwrap(),
        signature: seen.header("webhook-signature").unwrap(),
    }
}

fn verifier(secret: &str) -> Verifier {
    Verifier::new(&Secret::parse(secret).unwrap()).with_tolerance_s(600)
}

fn verifies(seen: &Seen, secret: &str) -> bool {
    verifier(secret).standard(&headers(seen), &[&seen.body], seen.arrived_ms / 1_000).is_ok()
}

fn hook0_verifies(seen: &Seen, secret: &str) -> bool {
    let signature = seen.header("x-hook0-signature").unwrap();
    verifier(secret).hook0_v1(signature, |name| seen.header(name), &[&seen.body], seen.arrived_ms / 1_000).is_ok()
}

fn key(shown: &Value) -> Ed25519PublicKey {
    Ed25519PublicKey::parse(shown["signing_public_key"].as_str().unwrap()).unwrap()
}

fn verifies_key(seen: &Seen, key: &Ed25519PublicKey) -> bool {
    key.verify(&headers(seen), &[&seen.body], seen.arrived_ms / 1_000, 600).is_ok()
}
