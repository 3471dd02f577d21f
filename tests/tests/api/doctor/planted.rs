//! The faults that stand in Kafka: each is planted beside those before it, from what is looked at last to what is looked at first.

use std::sync::Arc;

use bytes::Bytes;
use chassis::clock;
use kafka_dev::Broker;
use schemas::record::{Headers, OutRecord, TopicPartition};
use schemas::status::Status;
use serde_json::{Value, json};
use testkit::broker::SharedKafka;
use testkit::pipeline::{Pipeline, console};
use testkit::wait::eventually;

use super::{first, is_well};

/// What comes first, as it is planted.
pub(super) const CODES: [&str; 6] = ["HB-034", "HB-035", "HB-025", "HB-021", "HB-020", "HB-016"];

async fn write(pipeline: &Pipeline, topic: &Arc<str>, key: Option<String>, value: String) {
    let (key, value) = (key.map(Bytes::from), Some(Bytes::from(value)));
    let record = OutRecord { topic: Arc::clone(topic), partition: Some(0), key, value, headers: Headers::default() };
    pipeline.produce(&record).await.unwrap();
}

async fn says(pipeline: &Pipeline, instance: &str, at_ms: i64, version: &str) {
    let status = Status { version: Some(version.to_owned()), ..Status::new("fanout", instance, at_ms) };
    let value = String::from_utf8(status.encode().unwrap()).unwrap();
    write(pipeline, &pipeline.topics().status, Some(Status::key("fanout", instance)), value).await;
}

/// Plants them. Returns how many.
pub(super) async fn one_after_the_other(pipeline: &Pipeline, broker: &Broker) -> usize {
    let (topics, now_ms) = (pipeline.topics().clone(), clock::now_ms());
    let mut codes = CODES.into_iter();
    let mut is_first = async |what: &str| {
        let (found, wanted) = (first(pipeline, &[], &[]).await, codes.next().unwrap());
        assert_eq!(found, wanted, "{what}");
        testkit::pipeline::report(&format!("doctor: {found} first: {what}"));
    };
    says(pipeline, "1", now_ms, "0.1.0").await;
    is_well(pipeline, &[], &[]).await;
    says(pipeline, "2", now_ms, "0.2.0").await;
    is_first("two versions").await;
    says(pipeline, "2", now_ms - 600_000, "0.2.0").await;
    is_first("one that has fallen silent").await;

    let sealed = json!({ "kid": "gone", "nonce": "AAAAAAAAAAAAAAAA", "ct": "AAAA" });
    let subscription = json!({ "secrets": [{ "sealed": sealed }] }).to_string();
    write(pipeline, &topics.control, Some("subscription/a/b".to_owned()), subscription).await;
    is_first("a key that is gone").await;

    write(pipeline, &topics.events, None, "no event".to_owned()).await;
    let shown = pipeline.command(&["offsets", "show", "fanout", "--output", "json"]).await.unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    let group = rows[0]["group"].as_str().unwrap();
    let beyond = [(TopicPartition::new(Arc::clone(&topics.events), 0), 1_000)];
    let patience = std::time::Duration::from_secs(30);
    kafka::group::set_offsets(pipeline.connection(), group, &beyond, patience).await.unwrap();
    is_first("a log that ends below what was read").await;
    console::delete_group(&broker.bootstrap(), group).await.unwrap();
    is_first("a group that is gone").await;

    SharedKafka::of(broker).configure(&topics.rejected, "retention.ms", "3600000").await.unwrap();
    // The broker goes by it a moment later.
    let differs = || async { (!plan(pipeline).await).then_some(()) };
    eventually("a setting that has been taken", patience, differs).await.unwrap();
    is_first("a topic that somebody altered").await;
    CODES.len()
}

/// Whether the topics are as they are configured.
async fn plan(pipeline: &Pipeline) -> bool {
    pipeline.command(&["topics", "plan"]).await.unwrap().status.success()
}
