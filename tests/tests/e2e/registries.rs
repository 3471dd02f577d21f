//! Topics whose values name a schema of a registry: what needs a registry that is down waits, what needs none goes on, and what no
//! registry has is rejected. The registry is a stub that fails as it is told; its frames are Confluent's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use kafka::topics;
use schemas::record::{Headers, OutRecord};
use schemas::topics::TopicSpec;
use serde_json::{Value, json};
use testkit::endpoint::seen::Signature;
use testkit::pipeline::{Application, Pipeline, Setup, Subscription};
use testkit::registry::RegistryFault;
use testkit::wait::eventually;
use testkit::{Expect, StubRegistry};

const SOON: Duration = Duration::from_secs(60);
const ORDER: &str = r#"{"type":"record","name":"shop.Order","fields":[
    {"name":"id","type":"string"},{"name":"cents","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}"#;
const PAID: &str =
    r#"syntax = "proto3"; package shop; import "by.proto"; message A {} message Paid { string id = 1; By by = 2; }"#;
const BY: &str = r#"syntax = "proto3"; package shop; message By { string name = 1; }"#;

/// A pipeline with one application, one subscription to everything, and a registry.
struct Registered {
    pipeline: Pipeline,
    application: Application,
    subscription: Subscription,
    registry: StubRegistry,
    prefix: String,
}

impl Registered {
    async fn start(name: &str) -> Self {
        let registry = StubRegistry::start().unwrap();
        registry.schema(1, "AVRO", ORDER);
        registry.schema_with(2, "PROTOBUF", PAID, &[("by.proto", "by", 1)]);
        registry.version("by", 1, "PROTOBUF", BY, &[]);
        let setup = Setup::new(name).set("sources.refresh_ms", 1_000).set("sources.schema_not_found_grace_ms", 500);
        let mut pipeline = setup.start().await.unwrap();
        let application = pipeline.application(&[]).await.unwrap();
        let subscription = pipeline.subscribe(&application, &["**"], json!({})).await.unwrap();
        let prefix = format!("theirs-{}", pipeline.topics().events.trim_end_matches("events"));
        let made = json!({ "name": "main", "uid": "main", "urls": [registry.url()] });
        pipeline.managed(Method::POST, "/schema_registries", Some(&made), 201).await.unwrap();
        Self { pipeline, application, subscription, registry, prefix }
    }

    fn topic(&self, short: &str) -> Arc<str> {
        Arc::from(format!("{}{short}", self.prefix))
    }

    /// A source of one topic of one partition.
    async fn source(&self, short: &str, more: Value) -> String {
        let (name, config) = (self.topic(short), BTreeMap::new());
        let spec = TopicSpec { name, partitions: 1, replication_factor: None, config };
        topics::ensure(self.pipeline.connection(), &[spec]).await.unwrap();
        let mut source = json!({
            "name": short, "topics": [self.topic(short)], "application": self.application.id.to_string(),
            "id": "{value:/id}", "type": format!("{short}.made"),
        });
        for (name, value) in more.as_object().unwrap() {
            source[name] = value.clone();
        }
        let made = self.pipeline.managed(Method::POST, "/sources", Some(&source), 201).await.unwrap();
        made["source_id"].as_str().unwrap().to_owned()
    }

    async fn write(&self, short: &str, value: &[u8]) {
        let record = OutRecord {
            topic: self.topic(short),
            partition: None,
            key: None,
            value: Some(Bytes::copy_from_slice(value)),
            headers: Headers::default(),
        };
        self.pipeline.produce(&record).await.unwrap();
    }

    /// Waits until this many requests have arrived, signed, and returns the sorted bodies.
    async fn arrived(&self, count: u64) -> Vec<String> {
        let seen = self.pipeline.endpoint().wait_for(&self.subscription.path, count, SOON).await.unwrap();
        for request in &seen {
            assert!(matches!(request.signature, Signature::Valid { .. }), "{:?}", request.signature);
        }
        let mut bodies: Vec<String> = seen.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned()).collect();
        bodies.sort_unstable();
        bodies
    }

    /// Waits until `GET /sources/{id}` says so.
    async fn says(&self, source: &str, what: &str, holds: impl Fn(&Value) -> bool + Send + Sync) -> Value {
        let path = format!("/sources/{source}");
        let shown = || async {
            let shown = self.pipeline.managed(Method::GET, &path, None, 200).await.unwrap();
            holds(&shown["status"]).then_some(shown)
        };
        eventually(what, SOON, shown).await.unwrap()
    }
}

fn framed(schema: u32, rest: &[u8]) -> Vec<u8> {
    [[0].as_slice(), &schema.to_be_bytes(), rest].concat()
}

/// An order by Avro: its id, and 12.30.
fn order(id: &str) -> Vec<u8> {
    let length = u8::try_from(id.len() * 2).unwrap();
    framed(1, &[[length].as_slice(), id.as_bytes(), &[4, 0x04, 0xce]].concat())
}

/// A payment by Protobuf, the second message of its file.
fn paid(id: &str) -> Vec<u8> {
    let length = u8::try_from(id.len()).unwrap();
    let by = [0x12, 5, 0x0a, 3, b'A', b'n', b'n'];
    framed(2, &[[2, 2, 0x0a, length].as_slice(), id.as_bytes(), &by].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_with_a_schema_arrive_as_signed_json_and_what_no_registry_has_is_rejected() {
    let world = Registered::start("registry-formats").await;
    world.source("orders", json!({ "format": "avro", "registry": "main" })).await;
    world.source("paid", json!({ "format": "protobuf", "registry": "main" })).await;
    world.write("orders", &order("a")).await;
    world.write("paid", &paid("b")).await;
    world.write("orders", &framed(99, b"x")).await;
    world.write("orders", &order("c")).await;
    let bodies = world.arrived(3).await;
    let expected =
        [r#"{"id":"a","cents":"12.30"}"#, r#"{"id":"b","by":{"name":"Ann"}}"#, r#"{"id":"c","cents":"12.30"}"#];
    assert_eq!(bodies, expected);
    assert_eq!(world.registry.asked("/schemas/ids/1"), 1);
    let outcome = world.pipeline.verdict(Expect::default(), SOON).await.unwrap();
    let rejected: Vec<&str> = outcome.books.rejected.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(rejected, ["schema_not_found"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_registry_is_down_only_what_needs_it_waits_and_it_goes_on_by_itself() {
    let world = Registered::start("registry-down").await;
    world.registry.fails(Some(RegistryFault::Status(503)));
    let orders = world.source("orders", json!({ "format": "avro", "registry": "main" })).await;
    world.source("plain", json!({ "format": "json" })).await;
    world.write("orders", &order("a")).await;
    world.write("plain", br#"{"id":"b"}"#).await;
    assert_eq!(world.arrived(1).await, [r#"{"id":"b"}"#]);
    let told = world
        .says(&orders, "a source that waits", |status| {
            status["state"] == "waiting" && status["error"]["code"] == "registry_unavailable"
        })
        .await;
    let detail = told["status"]["error"]["detail"].as_str().unwrap();
    assert!(
        detail.contains(&world.registry.url()) && detail.contains("503") && detail.contains("schema 1"),
        "{detail}"
    );
    world.write("plain", br#"{"id":"c"}"#).await;
    world.arrived(2).await;
    world.registry.fails(None);
    assert_eq!(world.arrived(3).await[0], r#"{"id":"a","cents":"12.30"}"#);
    world
        .says(&orders, "a source that runs", |status| status["state"] == "running" && status["lag_records"] == 0)
        .await;
    let outcome = world.pipeline.verdict(Expect::default(), SOON).await.unwrap();
    assert!(outcome.books.rejected.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_asks_a_registry_and_tries_a_record_through_it() {
    let world = Registered::start("registry-check").await;
    let managed = async |method, path: &str, body: Option<Value>, status| {
        world.pipeline.managed(method, path, body.as_ref(), status).await.unwrap()
    };
    let check = async || managed(Method::POST, "/schema_registries/main/check", None, 200).await;
    let said = check().await;
    assert_eq!((&said["reachable"], &said["subjects"]), (&json!(true), &json!(1)), "{said}");
    world.registry.expects("Basic aG9va2J1czpnZWhlaW0=");
    let refused = check().await;
    assert_eq!(refused["reachable"], false, "{refused}");
    let why = refused["error"].as_str().unwrap();
    assert!(why.contains(&world.registry.url()) && why.contains("401"), "{why}");
    let source = world.source("orders", json!({ "format": "avro", "registry": "main" })).await;
    let tried = async |value: &[u8], status| {
        let body = json!({ "source": source, "record": { "value_base64": STANDARD.encode(value) } });
        managed(Method::POST, "/sources:test", Some(body), status).await
    };
    tried(&order("a"), 503).await;

    let auth = json!({ "auth": { "type": "basic", "username": "hookbus", "password": "geheim" } });
    let shown = managed(Method::PATCH, "/schema_registries/main", Some(auth), 200).await;
    assert!(!shown.to_string().contains("geheim"), "{shown}");
    assert_eq!(check().await["reachable"], true);
    let event = tried(&order("a"), 200).await["event"].clone();
    assert_eq!((&event["id"], &event["matches"]), (&json!("a"), &json!(1)), "{event}");
    assert_eq!(event["payload_base64"], STANDARD.encode(r#"{"id":"a","cents":"12.30"}"#));
    assert_eq!(tried(&framed(99, b"x"), 200).await["rejection"]["reason"], "schema_not_found");
    managed(Method::DELETE, "/schema_registries/main", None, 409).await;
    let outcome = world.pipeline.verdict(Expect::default(), SOON).await.unwrap();
    assert!(outcome.books.rejected.is_empty());
}
