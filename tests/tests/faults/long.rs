//! The long versions of what `tests/e2e` shows in small.

use serde_json::json;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Event, Pipeline, Setup, console};

use crate::scenes::shop;

/// Outcome 2: 50,000 records of a client that is not ours, 3 subscriptions that match different parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn fifty_thousand_records_of_the_console_producer_are_delivered_once_each() {
    let mut pipeline = Pipeline::start("50000").await.unwrap();
    let application = pipeline.application(&["order.created", "order.shipped"]).await.unwrap();
    pipeline.subscribe(&application, &["order.*"], json!({})).await.unwrap();
    pipeline.subscribe(&application, &["**"], json!({ "labels": { "region": "eu" } })).await.unwrap();
    pipeline.subscribe(&application, &["order.shipped"], json!({})).await.unwrap();
    let mut lines = console::Lines::default();
    for number in 0..50_000 {
        let event_type = if number % 5 == 0 { "order.shipped" } else { "order.created" };
        let labels = if number % 2 == 0 { r#"{"region":"eu"}"# } else { r#"{"region":"us"}"# };
        lines.push(&application, &format!("order-{number}"), event_type, labels, &format!(r#"{{"number": {number}}}"#));
    }
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    console::produce(&brokers, &pipeline.topics().events, &lines).await.unwrap();
    let outcome = pipeline.finish_within(Expect::default(), std::time::Duration::from_secs(300)).await.unwrap();
    let counts = outcome.audit.counts;
    assert_eq!((counts.accepted, counts.delivered, counts.requests), (50_000, 85_000, 85_000));
}

/// Create-subscription-then-send, 1,000 times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn an_event_sent_right_after_its_subscription_was_created_reaches_it_1000_times() {
    let (mut pipeline, application, _) = shop(Setup::new("read-index-1000").doubled(), 0).await;
    let client = pipeline.client();
    for number in 0..1_000_usize {
        let label = number.to_string();
        let fields = json!({ "labels": { "n": label } });
        pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
        let event = Event::new(format!("evt_{number}"), "a.b").label("n", &label);
        assert_eq!(client.send(number % 2 + 1, &application, &event).await.unwrap().status, 201);
    }
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 1_000);
}
