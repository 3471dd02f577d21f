//! What retention takes: records nobody has read yet, while a role runs, and everything of a log that was read long ago.

use std::time::Duration;

use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::ledger::collect;
use testkit::pipeline::{Event, Pipeline, Role, Setup, console};
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, lasts, send, shop};

/// The fetch that was under way when a process was frozen ends with nothing after half a second. Until then it takes what comes into the
/// socket of the frozen process, where no retention reaches it.
const FETCH_ENDS: Duration = Duration::from_secs(2);

fn names(from: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

/// Deletes everything of a partition below an offset; -1 is everything.
async fn expire(topic: &str, partition: i32, before: i64) {
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    console::delete_records(&brokers, topic, partition, before).await.unwrap();
}

/// The role goes on with what is left, and says how many it could not read.
async fn lost_while_it_is_frozen(role: Role, metric: &str) {
    let setup = Setup::new(&format!("retention-{}", role.command()))
        .set("topics.partitions.events", 1)
        .set("topics.partitions.deliveries", 1)
        // Longer than the Java program that deletes.
        .set("kafka.session_timeout_ms", 45_000);
    let (mut pipeline, application, _) = shop(setup, 1).await;
    send(&pipeline, &application, names("before", 3)).await;
    arrived(&pipeline, 3).await;
    pipeline.settled(SOON).await.unwrap();
    pipeline.roles().process(role, 1).unwrap().pause().unwrap();
    lasts(FETCH_ENDS).await;
    let topics = pipeline.topics().clone();
    let topic = if role == Role::Fanout { topics.events.to_string() } else { topics.deliveries.to_string() };
    let events: Vec<Event> = names("unread", 5).map(|name| Event::new(name, "a.b")).collect();
    pipeline.publish(&application, &events).await.unwrap();
    // Deliveries that are written after the deletion would be read. (A lag of 0 may be of before they were published.)
    let written = || async {
        let records = collect::read_topic(pipeline.connection(), &topic).await.ok()?;
        (records.len() == 3 + events.len()).then_some(())
    };
    eventually("everything that is to be lost", SOON, written).await.unwrap();
    expire(&topic, 0, -1).await;
    pipeline.roles().process(role, 1).unwrap().resume().unwrap();
    send(&pipeline, &application, names("after", 3)).await;
    let came = |pipeline: &Pipeline, from: &str| {
        let seen = pipeline.endpoint().requests("/");
        seen.iter().filter(|seen| seen.event().is_some_and(|id| id.starts_with(from))).count()
    };
    let all = || async { (came(&pipeline, "after") == 3).then_some(()) };
    eventually("the events after the loss", SOON, all).await.unwrap();
    assert_eq!(came(&pipeline, "unread"), 0, "retention took them before they were read");
    let process = pipeline.roles().process(role, 1).unwrap();
    assert_eq!(process.exit().unwrap(), None, "it has recovered by itself");
    assert!(process.metric(metric).await.unwrap() >= 5.0, "{metric}");
    // The ledger of such a run cannot balance: what was lost is lost, and said.
    drop(pipeline.verdict(Expect { waiting: 1, ..Expect::default() }, SOON).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_retention_takes_from_a_running_fanout_are_counted_and_the_rest_is_matched() {
    lost_while_it_is_frozen(Role::Fanout, "hookbus_fanout_lost_records_total").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_retention_takes_from_a_running_worker_are_counted_and_the_rest_is_sent() {
    lost_while_it_is_frozen(Role::Delivery, "hookbus_delivery_lost_records_total").await;
}

/// Everything was read long ago, and the log is empty: its start lies behind the marker of the last transaction, above the
/// committed offset. Nothing is lost by that, neither for who starts nor for who runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_retention_emptied_after_it_was_read_is_no_loss() {
    let setup = Setup::new("emptied").roles(Role::Delivery, 2).set("topics.partitions.deliveries", 2);
    let mut pipeline = setup.topics_only().await.unwrap();
    for role in Role::ALL {
        pipeline.roles().start(role, 1).await.unwrap();
    }
    let application = pipeline.application(&["a.b"]).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], serde_json::json!({})).await.unwrap();
    send(&pipeline, &application, names("x", 1)).await;
    pipeline.settled(SOON).await.unwrap();
    let books = pipeline.audit(&Expect::default()).await.unwrap();
    assert!(books.audit.balances(), "{}", books.audit);
    let deliveries = pipeline.topics().deliveries.to_string();
    for partition in 0..2 {
        expire(&deliveries, partition, -1).await;
    }
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    // The rebalance sets every fetch position anew.
    pipeline.roles().start(Role::Delivery, 2).await.unwrap();
    send(&pipeline, &application, names("y", 4)).await;
    arrived(&pipeline, 5).await;
    for number in [1, 2] {
        let process = pipeline.roles().process(Role::Delivery, number).unwrap();
        assert_eq!(process.exit().unwrap(), None, "delivery-{number} runs");
        let lost = process.metric("hookbus_delivery_lost_records_total").await.unwrap();
        assert!(lost.total_cmp(&0.0).is_eq(), "delivery-{number} took {lost} markers for lost records");
    }
    // The first delivery is gone from its topic with everything else that was read.
    drop(pipeline.verdict(Expect::default(), SOON).await.unwrap());
}
