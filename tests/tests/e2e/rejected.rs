//! What a source cannot use: exactly that stands in quarantine, with why and where, and once its mapping is mended what can be mended is
//! delivered once, whoever is killed meanwhile, and whichever way it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use kafka::topics;
use schemas::record::{Headers, OutRecord};
use schemas::topics::TopicSpec;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::pipeline::{ADMIN_KEY, Pipeline, Role, Setup, Subscription};
use testkit::wait::eventually;

use crate::sources::written_once;

const SOON: Duration = Duration::from_secs(60);

/// A source whose records need a type, and a subscription to everything.
struct Quarantine {
    pipeline: Pipeline,
    subscription: Subscription,
    topic: Arc<str>,
    source: String,
    url: String,
}

impl Quarantine {
    async fn start(name: &str, more: Value) -> Self {
        let setup = Setup::new(name).set("sources.refresh_ms", 1_000).set("topics.partitions.rejected", 3);
        let mut pipeline = setup.start().await.unwrap();
        let application = pipeline.application(&[]).await.unwrap();
        let subscription = pipeline.subscribe(&application, &["**"], json!({})).await.unwrap();
        let topic: Arc<str> = Arc::from(format!("their-{}", pipeline.topics().events));
        let spec =
            TopicSpec { name: Arc::clone(&topic), partitions: 2, replication_factor: None, config: BTreeMap::new() };
        topics::ensure(pipeline.connection(), &[spec]).await.unwrap();
        let mut source = json!({
            "name": "orders", "uid": "orders", "topics": [topic], "format": "json", "start": "end",
            "application": application.id.to_string(), "type": "{value:/type}", "payload": "/data",
        });
        for (name, value) in more.as_object().unwrap() {
            source[name] = value.clone();
        }
        let made = pipeline.managed(Method::POST, "/sources", Some(&source), 201).await.unwrap();
        let source = made["source_id"].as_str().unwrap().to_owned();
        let url = pipeline.roles().urls(Role::Control).remove(0);
        Self { pipeline, subscription, topic, source, url }
    }

    /// Writes a record to a partition; returns where it stands.
    async fn write(&self, partition: i32, value: impl Into<Vec<u8>>) -> String {
        let record = OutRecord {
            topic: Arc::clone(&self.topic),
            partition: Some(partition),
            key: None,
            value: Some(Bytes::from(value.into())),
            headers: Headers::default(),
        };
        let written = self.pipeline.produce(&record).await.unwrap();
        format!("{}/{partition}/{}", self.topic, written.offset)
    }

    async fn good(&self, count: usize) {
        for number in 0..count {
            let value = format!(r#"{{"type":"order.placed","id":"o-{number}","data":{{}}}}"#);
            self.write(i32::from(number % 2 == 1), value).await;
        }
    }

    /// Waits until so many requests have come, and no more than that.
    async fn arrived(&self, count: usize) {
        let wanted = u64::try_from(count).unwrap();
        let seen = self.pipeline.endpoint().wait_for(&self.subscription.path, wanted, SOON).await.unwrap();
        assert_eq!(seen.len(), count);
    }

    /// Waits until what `GET` says of a path holds.
    async fn says(&self, path: &str, holds: impl Fn(&Value) -> bool + Send + Sync) -> Value {
        let shown = || async {
            let answer = self.pipeline.manage(1, Method::GET, path, None).await.ok()?;
            (answer.status == 200).then(|| answer.json().ok()).flatten().filter(|shown| holds(shown))
        };
        eventually(path, SOON, shown).await.unwrap()
    }

    async fn is_through(&self, rejected: u64) {
        let path = format!("/sources/{}", self.source);
        let is_so = |it: &Value| it["status"]["rejected"] == rejected && it["status"]["lag_records"] == 0;
        self.says(&path, is_so).await;
    }

    /// The mapping is mended: what has no type has this one.
    async fn mend(&self) {
        let path = format!("/sources/{}", self.source);
        let default = json!({ "default_type": "order.placed" });
        self.pipeline.managed(Method::PATCH, &path, Some(&default), 200).await.unwrap();
    }

    /// Runs `hookbus rejected`; returns what it prints.
    async fn hookbus(&self, arguments: &[&str]) -> Value {
        let environment = [("HOOKBUS_URL", self.url.as_str()), ("HOOKBUS_TOKEN", ADMIN_KEY)];
        let all = [&["rejected", "--output", "json"], arguments].concat();
        let output = self.pipeline.command_with(&environment, &all).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// All pages of a list, so many rows each.
    async fn pages(&self, path: &str, limit: usize) -> Value {
        let (mut rows, mut next) = (Vec::new(), Some(format!("{path}&limit={limit}")));
        while let Some(path) = next {
            let answer = self.pipeline.manage(1, Method::GET, &path, None).await.unwrap();
            let page = answer.json().unwrap();
            assert_eq!(answer.status, 200, "{page}");
            assert!(page.as_array().unwrap().len() <= limit);
            rows.extend(page.as_array().unwrap().iter().cloned());
            let link = answer.header("link").and_then(|link| link.strip_prefix("</api/v1")?.split('>').next());
            next = link.map(str::to_owned);
        }
        Value::Array(rows)
    }

    /// Waits until a job is over.
    async fn done(&self, job: &Value) -> Value {
        let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
        let job = self.says(&path, |job| !job["ended_at"].is_null()).await;
        assert_eq!(job["state"], "done", "{job}");
        job
    }

    /// Ends it: so many deliveries were written, each once.
    async fn end(self, deliveries: usize) {
        written_once(&self.pipeline, deliveries).await;
        self.pipeline.verdict(Expect::default(), SOON).await.unwrap();
    }
}

/// What a rejected record says: where it stood, why, and where in it that was seen.
fn told(rows: &Value) -> BTreeMap<String, (String, String)> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| (text(row, "origin"), (text(row, "reason"), text(row, "position")))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_in_quarantine_with_why_and_where_and_what_can_be_mended_arrives_once() {
    const GOOD: usize = 40;
    const MENDABLE: usize = 40;
    let mut scene = Quarantine::start("rejected-poison", json!({ "id": "{value:/id}" })).await;
    let mut poison = BTreeMap::new();
    scene.good(GOOD / 2).await;
    let kinds: [(&[u8], &str, &str); 5] = [
        (br#"{"type":"order.placed","id":"x""#, "undecodable", "byte 31"),
        (b"\xff\xfe", "undecodable", "byte 0"),
        (b"[]", "unmapped", "/data"),
        (br#"{"type":"order.placed","id":{"a":1},"data":{}}"#, "invalid_attribute", "/id"),
        (br#"{"type":{"a":1},"id":"x","data":{}}"#, "invalid_attribute", "/type"),
    ];
    for (value, reason, position) in kinds {
        poison.insert(scene.write(1, value).await, (reason.to_owned(), position.to_owned()));
    }
    for number in 0..MENDABLE {
        let value = format!(r#"{{"id":"m-{number}","data":{{"total" : 1.0 }}}}"#);
        let origin = scene.write(i32::from(number % 2 == 0), value).await;
        // That there is none is seen nowhere.
        poison.insert(origin, ("invalid_attribute".to_owned(), String::new()));
    }
    scene.good(GOOD / 2).await;
    // The second half has the ids of the first: repeats.
    scene.arrived(GOOD / 2).await;
    let count = u64::try_from(poison.len()).unwrap();
    scene.is_through(count).await;
    let rows = scene.hookbus(&["list", "--source", "orders", "--limit", "1000"]).await;
    assert_eq!(told(&rows), poison);
    let times: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    let path = format!("/rejected?source_id={}", scene.source);
    assert_eq!(scene.pages(&path, 7).await, rows, "page by page");
    let id = rows[0]["rejected_id"].as_str().unwrap();
    let shown = scene.hookbus(&["show", id]).await;
    assert_eq!(shown["value_base64"].as_str().map(str::len).unwrap_or_default() % 4, 0, "{shown}");

    // Without a mended mapping a retry changes nothing but the count.
    let job = scene.hookbus(&["retry", id]).await;
    let job = scene.done(&job).await;
    assert_eq!((&job["counts"]["found"], &job["counts"]["written"]), (&json!(1), &json!(1)), "{job}");
    let path = format!("/rejected?source_id={}&limit=1000", scene.source);
    let is_again = |rows: &Value| rows[0]["retries"] == 1 && rows[0]["rejected_id"] != id;
    let again = scene.says(&path, is_again).await;
    assert_eq!((&again[0]["origin"], &again[0]["timestamp"]), (&rows[0]["origin"], &rows[0]["timestamp"]));

    scene.mend().await;
    let job = scene.hookbus(&["retry", "--source", "orders", "--rate", "20"]).await;
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    // The one that runs it is killed, and so is who plans them.
    for (role, written) in [(Role::Control, 5), (Role::Fanout, 20)] {
        scene.says(&path, |job| job["counts"]["written"].as_u64().unwrap() >= written).await;
        scene.pipeline.roles().kill(role, 1).await.unwrap();
        scene.pipeline.roles().start(role, 1).await.unwrap();
    }
    let job = scene.done(&job).await;
    assert_eq!((&job["counts"]["written"], &job["counts"]["skipped"]), (&json!(count + 1), &json!({})), "{job}");
    scene.arrived(GOOD / 2 + MENDABLE).await;

    // Once more: repeats, and those that cannot be mended are rejected once more.
    let job = scene.hookbus(&["retry", "--source", "orders", "--reason", "invalid_attribute", "--rate", "10000"]).await;
    scene.done(&job).await;
    let unmendable = |rows: &Value| {
        let rows = rows.as_array().unwrap();
        rows.iter().filter(|row| row["reason"] == "invalid_attribute" && row["retries"] == 2).count() == 2
    };
    scene.says(&format!("/rejected?source_id={}&limit=1000", scene.source), unmendable).await;
    scene.write(0, r#"{"id":"last","data":{}}"#).await;
    scene.arrived(GOOD / 2 + MENDABLE + 1).await;
    scene.end(GOOD / 2 + MENDABLE + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_source_without_ids_rejected_comes_with_a_move_back_and_what_was_retried_does_not_come_again() {
    let scene = Quarantine::start("rejected-moved", json!({})).await;
    scene.good(20).await;
    let retried = scene.write(0, r#"{"data":1}"#).await;
    scene.write(0, r#"{"data":2}"#).await;
    scene.write(1, r#"{"data":3}"#).await;
    scene.good(4).await;
    scene.arrived(24).await;
    scene.is_through(3).await;
    scene.mend().await;
    let rows = scene.hookbus(&["list", "--source", "orders"]).await;
    let row = rows.as_array().unwrap().iter().find(|row| row["origin"] == retried.as_str()).unwrap();
    // Places where nothing was written hold up nothing that is named with them.
    let job = scene.hookbus(&["retry", row["rejected_id"].as_str().unwrap(), "0-999999999", "999-0"]).await;
    let job = scene.done(&job).await;
    assert_eq!((&job["counts"]["written"], &job["counts"]["skipped"]), (&json!(1), &json!({"expired": 2})), "{job}");
    scene.arrived(25).await;

    let path = format!("/sources/{}/move", scene.source);
    for expected in [27, 27] {
        scene.pipeline.managed(Method::POST, &path, Some(&json!({ "to": "beginning" })), 200).await.unwrap();
        scene.arrived(expected).await;
        let path = format!("/sources/{}", scene.source);
        scene.says(&path, |it| it["status"]["lag_records"] == 0 && it["status"]["state"] == "running").await;
    }
    scene.write(0, r#"{"data":4}"#).await;
    scene.arrived(28).await;
    scene.end(28).await;
}
