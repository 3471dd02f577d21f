//! Kafka itself pauses, stops and comes back. Each test has a broker of its own.

use std::time::Duration;

use kafka_dev::Broker;
use testkit::pipeline::{Setup, report};
use testkit::{Expect, broker};

use crate::scenes::{arrived, lasts, more_arrived, shop};

/// A broker that stands still expires every open transaction when it goes on; a long standstill, every session too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_broker_pause_of_15_s_loses_nothing() {
    paused(Setup::new("paused-15-s"), Duration::from_secs(15), 50).await;
}

/// The same in small: transactions that expire after 1 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_pause_that_expires_open_transactions_loses_nothing() {
    let setup = Setup::new("paused").set("kafka.transaction_timeout_ms", 1_000);
    paused(setup, Duration::from_secs(3), 50).await;
}

async fn paused(setup: Setup, pause: Duration, per_second: u32) {
    let folder = tempfile::tempdir().unwrap();
    let mut kafka = broker::start(folder.path(), 0).await.unwrap();
    let (pipeline, application, _) = shop(setup.on(kafka.bootstrap()).doubled(), 4).await;
    let load = pipeline.load(&application, "a.b", per_second);
    arrived(&pipeline, 400).await;
    kafka.pause().unwrap();
    lasts(pause).await;
    kafka.resume().unwrap();
    more_arrived(&pipeline, u64::from(per_second) * 20).await;
    let loaded = load.stop().await.unwrap();
    let expect = Expect { repeats: 600, dropped: None, unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, Duration::from_secs(120)).await.unwrap();
    report(&format!(
        "paused {pause:?}: {} accepted, {} answers 503, {} delivered, {} repeats",
        loaded.accepted, loaded.unavailable, outcome.audit.counts.delivered, outcome.audit.counts.repeats
    ));
}

/// How Kafka goes away.
#[derive(Clone, Copy, Debug)]
enum End {
    /// SIGKILL.
    Killed,
    /// SIGTERM, as an operator stops it.
    Stopped,
}

/// Kafka dies and starts again: the gateway says 503 meanwhile, nothing accepted is lost, everybody recovers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_killed_and_started_again_loses_nothing() {
    gone(End::Killed, Duration::ZERO).await;
}

/// The same with a clean stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn kafka_stopped_and_started_again_loses_nothing() {
    gone(End::Stopped, Duration::ZERO).await;
}

/// The same for 30 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn kafka_gone_for_30_s_loses_nothing() {
    gone(End::Killed, Duration::from_secs(30)).await;
}

async fn gone(end: End, outage: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let kafka = broker::start(folder.path(), 0).await.unwrap();
    let options = kafka.options().clone();
    let (mut pipeline, application, _) = shop(Setup::new("stopped").on(kafka.bootstrap()), 3).await;
    let load = pipeline.load(&application, "a.b", 30);
    arrived(&pipeline, 200).await;
    match end {
        End::Killed => kafka.kill().await.unwrap(),
        End::Stopped => kafka.stop().await.unwrap(),
    };
    // The gateway says so before Kafka comes back.
    let client = pipeline.client();
    let event = testkit::pipeline::Event::new("meanwhile", "a.b");
    let answer = client.send(1, &application, &event).await.unwrap();
    assert_eq!(answer.status, 503, "{:?}", answer.body);
    assert!(answer.header("retry-after").is_some());
    lasts(outage).await;
    let _kafka = Broker::start(options).await.unwrap();
    more_arrived(&pipeline, 300).await;
    let loaded = load.stop().await.unwrap();
    for role in testkit::pipeline::Role::ALL {
        assert_eq!(
            pipeline.roles().process(role, 1).unwrap().exit().unwrap(),
            None,
            "{role:?} has recovered by itself"
        );
    }
    let expect = Expect { repeats: 200, dropped: None, unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, Duration::from_secs(120)).await.unwrap();
    report(&format!(
        "Kafka {end:?} for {outage:?}: {} accepted, {} answers 503, {} delivered, {} repeats",
        loaded.accepted, loaded.unavailable, outcome.audit.counts.delivered, outcome.audit.counts.repeats
    ));
}
