//! Topics of others that are read as they are: an ordinary producer writes JSON, a source says what it means, and an endpoint gets
//! signed requests with the payload byte for byte. What goes wrong with one topic or one record costs nobody else anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::clock::now_ms;
use http::Method;
use kafka::topics;
use schemas::record::{Headers, OutRecord, Record};
use schemas::topics::TopicSpec;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::endpoint::seen::{Signature, body_hash};
use testkit::ledger::collect;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription, console};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// A pipeline with one application, one subscription to everything, and a source of JSON.
struct Sourced {
    pipeline: Pipeline,
    application: Application,
    subscription: Subscription,
    /// What the topics of this test begin with; it is not the prefix of the pipeline's own.
    prefix: String,
    source: String,
    /// Events that were written, by id, with the hash of their payload.
    written: BTreeMap<String, u64>,
}

/// So many deliveries were written, each once.
pub(crate) async fn written_once(pipeline: &Pipeline, count: usize) {
    let id = |_, record: Record| record.headers.text("hookbus-delivery").map(str::to_owned);
    let written = collect::each_of(pipeline.connection(), &pipeline.topics().deliveries, id).await.unwrap();
    let distinct: BTreeSet<_> = written.iter().collect();
    assert_eq!((written.len(), distinct.len()), (count, count), "repeats");
}

impl Sourced {
    async fn start(name: &str, more: Value) -> Self {
        Self::of(Setup::new(name), more).await
    }

    async fn of(setup: Setup, more: Value) -> Self {
        let mut pipeline = setup.set("sources.refresh_ms", 1_000).start().await.unwrap();
        let application = pipeline.application(&[]).await.unwrap();
        let subscription = pipeline.subscribe(&application, &["**"], json!({})).await.unwrap();
        let prefix = format!("their-{}", pipeline.topics().events.trim_end_matches("events"));
        let mut new =
            Self { pipeline, application, subscription, prefix, source: String::new(), written: BTreeMap::new() };
        new.create("orders", 2).await;
        let mut source = json!({
            "name": "orders", "topics": [format!("{}*", new.prefix)], "format": "json", "start": "end",
            "application": new.application.id.to_string(), "type": "{value:/type}", "id": "{value:/id}", "payload": "/data",
        });
        for (name, value) in more.as_object().unwrap() {
            source[name] = value.clone();
        }
        let made = new.pipeline.managed(Method::POST, "/sources", Some(&source), 201).await.unwrap();
        new.source = made["source_id"].as_str().unwrap().to_owned();
        new
    }

    fn topic(&self, short: &str) -> Arc<str> {
        Arc::from(format!("{}{short}", self.prefix))
    }

    async fn create(&self, short: &str, partitions: i32) {
        let (name, config) = (self.topic(short), BTreeMap::new());
        let spec = TopicSpec { name, partitions, replication_factor: None, config };
        topics::ensure(self.pipeline.connection(), &[spec]).await.unwrap();
    }

    async fn write_value(&self, short: &str, value: &str) {
        let record = OutRecord {
            topic: self.topic(short),
            partition: None,
            key: Some(Bytes::from(value.len().to_string())),
            value: Some(Bytes::from(value.to_owned())),
            headers: Headers::default(),
        };
        self.pipeline.produce(&record).await.unwrap();
    }

    /// Writes events; their payload has what only bytes that were not touched keep.
    async fn write(&mut self, short: &str, ids: impl Iterator<Item = String>) {
        for id in ids {
            let data = format!("{{\"b\" : 1.0,  \"a\":\"\\u00e9\", \"id\":\"{id}\" }}");
            let value = format!("{{\"type\":\"order.placed\",\"id\":\"{id}\",\"data\": {data} }}");
            self.write_value(short, &value).await;
            self.written.insert(id, body_hash(data.as_bytes()));
        }
    }

    async fn call(&self, action: &str) -> Value {
        let path = format!("/sources/{}{action}", self.source);
        self.pipeline.managed(Method::POST, &path, None, 200).await.unwrap()
    }

    /// Waits until everything that was written has arrived, once each, signed, and byte for byte.
    async fn arrived(&self) {
        let count = self.written.len() as u64;
        let seen = self.pipeline.endpoint().wait_for(&self.subscription.path, count, SOON).await.unwrap();
        for request in &seen {
            assert!(matches!(request.signature, Signature::Valid { .. }), "{:?}", request.signature);
        }
        let arrived: BTreeSet<u64> = seen.iter().map(|request| request.body_hash).collect();
        let written: BTreeSet<u64> = self.written.values().copied().collect();
        assert_eq!((seen.len(), arrived == written), (self.written.len(), true));
    }

    /// Waits until `GET /sources/{id}` says so.
    async fn says(&self, what: &str, holds: impl Fn(&Value) -> bool + Send + Sync) -> Value {
        let path = format!("/sources/{}", self.source);
        let shown = || async {
            let shown = self.pipeline.managed(Method::GET, &path, None, 200).await.unwrap();
            holds(&shown["status"]).then_some(shown)
        };
        eventually(what, SOON, shown).await.unwrap()
    }

    /// Waits until each of its partitions is paused, as their workers say.
    async fn is_paused(&self) {
        let path = format!("/sources/{}/partitions", self.source);
        let all = || async {
            let shown = self.pipeline.managed(Method::GET, &path, None, 200).await.unwrap();
            let partitions = shown.as_array().unwrap();
            let is_paused = |it: &Value| it["state"] == "paused";
            (!partitions.is_empty() && partitions.iter().all(is_paused)).then_some(())
        };
        eventually("a pause", SOON, all).await.unwrap();
    }

    /// Ends it. Each delivery was written once, whatever was killed.
    async fn end(self, rejected: &[&str]) {
        written_once(&self.pipeline, self.written.len()).await;
        let outcome = self.pipeline.verdict(Expect::default(), SOON).await.unwrap();
        let mut found: Vec<&str> = outcome.books.rejected.iter().map(|it| it.reason.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, rejected);
    }
}

fn ids(name: &str, count: usize) -> impl Iterator<Item = String> + use<> {
    let name = name.to_owned();
    (0..count).map(move |number| format!("{name}-{number}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_a_plain_topic_arrive_signed_and_one_that_is_no_event_costs_no_other_anything() {
    let mut sourced = Sourced::start("source-plain", json!({})).await;
    sourced.write("orders", ids("a", 50)).await;
    for poison in ["{\"type\":\"order.placed\",\"id\":\"x\"", "{\"id\":\"untyped\",\"data\":{}}", "[]"] {
        sourced.write_value("orders", poison).await;
    }
    sourced.write("orders", ids("b", 50)).await;
    sourced.arrived().await;

    // A topic that the pattern names, made while it runs: from its first record.
    sourced.create("returns", 2).await;
    sourced.write("returns", ids("c", 20)).await;
    sourced.arrived().await;
    let is_through = |status: &Value| {
        status["state"] == "running" && status["lag_records"] == 0 && status["topics"] == 2 && status["records"] == 123
    };
    let shown = sourced.says("no lag of two topics", is_through).await;
    assert_eq!(shown["status"]["rejected"], 3, "{shown}");
    sourced.end(&["invalid_attribute", "undecodable", "unmapped"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_a_restart_repeats_nothing_and_a_move_back_neither() {
    let mut sourced = Sourced::start("source-pause", json!({})).await;
    sourced.write("orders", ids("a", 30)).await;
    sourced.arrived().await;
    sourced.call("/pause").await;
    sourced.is_paused().await;
    let before = sourced.pipeline.endpoint().count(&sourced.subscription.path);
    sourced.write("orders", ids("b", 30)).await;
    let is_behind = |status: &Value| status["state"] == "paused" && status["lag_records"] == 30;
    sourced.says("a lag that grows while it is paused", is_behind).await;
    // Killed while it is paused: whoever takes over holds too.
    sourced.pipeline.roles().kill(Role::Fanout, 1).await.unwrap();
    sourced.pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    sourced.is_paused().await;
    sourced.says("the lag of what was killed while it was paused", is_behind).await;
    assert_eq!(sourced.pipeline.endpoint().count(&sourced.subscription.path), before);
    sourced.call("/resume").await;
    sourced.arrived().await;

    sourced.pipeline.roles().kill(Role::Fanout, 1).await.unwrap();
    sourced.pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    sourced.write("orders", ids("c", 10)).await;
    sourced.arrived().await;

    let path = format!("/sources/{}/move", sourced.source);
    sourced.pipeline.managed(Method::POST, &path, Some(&json!({ "to": "beginning" })), 200).await.unwrap();
    sourced.write("orders", ids("d", 10)).await;
    sourced.arrived().await;
    let is_through = |status: &Value| status["lag_records"] == 0 && status["state"] == "running";
    sourced.says("no lag", is_through).await;
    sourced.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_stops_no_other_and_is_read_again_when_it_is_back() {
    let mut sourced = Sourced::start("source-gone", json!({})).await;
    sourced.create("returns", 2).await;
    sourced.write("orders", ids("a", 20)).await;
    sourced.write("returns", ids("b", 20)).await;
    sourced.arrived().await;
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    console::delete_topic(&brokers, &sourced.topic("returns")).await.unwrap();
    let begin_ms = now_ms();
    sourced.write("orders", ids("c", 50)).await;
    sourced.arrived().await;
    let took_ms = now_ms() - begin_ms;
    println!("with a topic deleted, 50 records of its neighbour took {took_ms} ms");
    sourced.create("returns", 1).await;
    sourced.write("returns", ids("d", 20)).await;
    sourced.write("orders", ids("e", 20)).await;
    sourced.arrived().await;
    let exit = sourced.pipeline.roles().process(Role::Fanout, 1).unwrap().exit().unwrap();
    assert!(exit.is_none(), "the role has ended");
    sourced.end(&[]).await;
}

impl Sourced {
    /// Sends an event of the topic again, and waits for it: `count` requests came then. It is what came first, but for what it says of
    /// being sent again.
    async fn again(&mut self, id: &str, count: u64) {
        let application = self.application.id.to_string();
        let path = format!("/events/{id}?payload=false&application_id={application}");
        let is_logged = || async {
            let answer = self.pipeline.manage(1, Method::GET, &path, None).await.unwrap();
            (answer.status == 200).then_some(())
        };
        eventually("it is in the delivery log", SOON, is_logged).await.unwrap();
        self.pipeline.replay(id, &json!({ "application_id": application })).await.unwrap();
        let seen = self.pipeline.endpoint().wait_for(&self.subscription.path, count, SOON).await.unwrap();
        let again = seen.iter().max_by_key(|request| request.number).unwrap();
        let first = seen.iter().find(|request| request.body_hash == self.written[id]).unwrap();
        assert_eq!(again.header("x-hookbus-replay"), Some("replay"));
        assert!(matches!(again.signature, Signature::Valid { .. }), "{:?}", again.signature);
        for name in ["webhook-id", "content-type", "x-event-type", "x-event-id"] {
            assert_eq!(again.header(name), first.header(name), "{id}: {name}");
        }
        assert_eq!(again.body_hash, self.written[id], "{id}: byte for byte");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_topic_is_sent_again_as_it_was_also_when_its_topic_is_read_otherwise_or_gone() {
    let mut sourced = Sourced::start("source-again", json!({})).await;
    sourced.write("orders", ids("a", 3)).await;
    sourced.arrived().await;
    sourced.again("a-0", 4).await;

    // As it is read now, it would be an event of another type: what was delivered is the copy.
    let path = format!("/sources/{}", sourced.source);
    let otherwise = json!({ "type": "order.other" });
    sourced.pipeline.managed(Method::PATCH, &path, Some(&otherwise), 200).await.unwrap();
    sourced.again("a-1", 5).await;

    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    console::delete_topic(&brokers, &sourced.topic("orders")).await.unwrap();
    sourced.again("a-2", 6).await;

    let event = format!("/events/a-2?application_id={}", sourced.application.id);
    sourced.pipeline.managed(Method::DELETE, &event, None, 204).await.unwrap();
    let body = json!({ "application_id": sourced.application.id });
    let answer = sourced.pipeline.manage(1, Method::POST, "/events/a-2/replay", Some(&body)).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json().unwrap()["code"]), (404, &json!("erased")));
    sourced.pipeline.verdict(Expect::default(), SOON).await.unwrap();
}

/// `hookbus fanout --only events` beside `--only sources`: what one reads goes on without the other, and each says how it is doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_run_one_intake_each_share_the_work_and_go_on_without_each_other() {
    let setup = Setup::new("source-only").roles(Role::Fanout, 2);
    let setup = setup.arguments(Role::Fanout, 1, &["--only", "events"]);
    let mut sourced = Sourced::of(setup.arguments(Role::Fanout, 2, &["--only", "sources"]), json!({})).await;
    sourced.write("orders", ids("a", 20)).await;
    sourced.arrived().await;
    let told = || async {
        let told = sourced.pipeline.managed(Method::GET, "/instances", None, 200).await.unwrap();
        let of = |role: &str| told.as_array()?.iter().find(|it| it["role"] == role)?["partitions"].as_u64();
        (of("fanout") == Some(3) && of("sources") == Some(2)).then_some(())
    };
    eventually("two of `events`, one of `retried`; two of the source", SOON, told).await.unwrap();

    // Without those that read `events`, sources go on.
    sourced.pipeline.roles().kill(Role::Fanout, 1).await.unwrap();
    sourced.write("orders", ids("b", 20)).await;
    sourced.arrived().await;
    // Without those that read sources, events do.
    sourced.pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    sourced.pipeline.roles().kill(Role::Fanout, 2).await.unwrap();
    sourced.write("orders", ids("c", 20)).await;
    let event = Event::new("http", "order.placed").payload("{\"by\":\"http\"}");
    sourced.pipeline.publish(&sourced.application, std::slice::from_ref(&event)).await.unwrap();
    let seen = sourced.pipeline.endpoint().wait_for(&sourced.subscription.path, 41, SOON).await.unwrap();
    let body = body_hash(b"{\"by\":\"http\"}");
    assert!(seen.iter().any(|request| request.body_hash == body) && seen.len() == 41, "{}", seen.len());
    sourced.written.insert("http".to_owned(), body);
    sourced.pipeline.roles().start(Role::Fanout, 2).await.unwrap();
    sourced.arrived().await;
    sourced.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_comes_late_gets_the_records_of_before_too() {
    let mut sourced = Sourced::start("source-backfill", json!({})).await;
    sourced.write("orders", ids("a", 40)).await;
    sourced.arrived().await;
    let application = sourced.application.clone();
    let late = sourced.pipeline.subscribe(&application, &["order.*"], json!({})).await.unwrap();
    let path = format!("/subscriptions/{}/backfill", late.id);
    let body = json!({ "from": "earliest" });
    let job = sourced.pipeline.managed(Method::POST, &path, Some(&body), 202).await.unwrap();
    sourced.write("orders", ids("b", 10)).await;
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    let is_done = || async {
        let job = sourced.pipeline.managed(Method::GET, &path, None, 200).await.unwrap();
        (job["state"] == "done").then_some(job)
    };
    let job = eventually("the backfill is done", SOON, is_done).await.unwrap();
    let seen = sourced.pipeline.endpoint().wait_for(&late.path, 50, SOON).await.unwrap();
    let arrived: BTreeSet<u64> = seen.iter().map(|request| request.body_hash).collect();
    assert_eq!((seen.len(), arrived), (50, sourced.written.values().copied().collect()), "byte for byte: {job}");
    assert!(seen.iter().all(|request| matches!(request.signature, Signature::Valid { .. })));
    sourced.arrived().await;
    written_once(&sourced.pipeline, 100).await;
    sourced.pipeline.verdict(Expect::default(), SOON).await.unwrap();
}
