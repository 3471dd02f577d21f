//! Outcome 2: records that somebody else's client wrote straight to the events topic.

use serde_json::json;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Pipeline, console};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_records_of_kafkas_own_console_producer_are_delivered_once_each() {
    let mut pipeline = Pipeline::start("console").await.unwrap();
    deliver_from_the_console(&mut pipeline, 2_000).await;
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    let counts = outcome.audit.counts;
    // All; the half with a label; every fifth by its type.
    assert_eq!((counts.accepted, counts.delivered), (2_000, 2_000 + 1_000 + 400));
    assert_eq!(counts.requests, counts.delivered);
}

async fn deliver_from_the_console(pipeline: &mut Pipeline, count: usize) {
    let application = pipeline.application(&["order.created", "order.shipped"]).await.unwrap();
    pipeline.subscribe(&application, &["order.*"], json!({})).await.unwrap();
    pipeline.subscribe(&application, &["**"], json!({ "labels": { "region": "eu" } })).await.unwrap();
    pipeline.subscribe(&application, &["order.shipped"], json!({})).await.unwrap();
    let mut lines = console::Lines::default();
    for number in 0..count {
        let event_type = if number % 5 == 0 { "order.shipped" } else { "order.created" };
        let labels = if number % 2 == 0 { r#"{"region":"eu"}"# } else { r#"{"region":"us"}"# };
        let payload = format!(r#"{{"number": {number},"text":"é"}}"#);
        lines.push(&application, &format!("order-{number}"), event_type, labels, &payload);
    }
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    console::produce(&brokers, &pipeline.topics().events, &lines).await.unwrap();
}
