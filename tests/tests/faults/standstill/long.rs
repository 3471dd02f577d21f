//! What was seen to stand still for ever: 60,000 events in backlog, three standstills of 13 s, default timeouts. With payloads
//! of one size each, with one worker of each role and with two, with a Kafka that is frozen and with sessions that are lost.

use std::time::Duration;

use testkit::pipeline::Setup;

use super::{KIB, Payload, Standstill};

/// Three standstills of 13 s; 60,000 events, and a tenth of them where each has 100 KiB.
fn long(name: &'static str, payload: Payload, workers: usize) -> (Standstill, Setup) {
    let events = if matches!(payload, Payload::Each(super::LARGE)) { 6_000 } else { 60_000 };
    let setup = Setup::new(name);
    let setup = match workers {
        // All partitions that a topic has by default are one worker's.
        1 => setup.set("topics.partitions.events", 8).set("topics.partitions.deliveries", 16),
        _ => setup.doubled(),
    };
    let (lasts, within) = (Duration::from_secs(13), Duration::from_secs(420));
    (Standstill { name, events, payload, workers, times: 3, lasts, within }, setup)
}

async fn frozen(name: &'static str, payload: Payload, workers: usize) {
    let (standstill, setup) = long(name, payload, workers);
    Box::pin(standstill.frozen(setup)).await;
}

async fn lost(name: &'static str, payload: Payload, workers: usize) {
    let (standstill, setup) = long(name, payload, workers);
    Box::pin(standstill.cut_off(setup)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_1_kib_and_one_worker_go_on_after_a_kafka_frozen_three_times() {
    frozen("frozen-1-kib-1", Payload::Each(KIB), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_1_kib_and_two_workers_go_on_after_a_kafka_frozen_three_times() {
    frozen("frozen-1-kib-2", Payload::Each(KIB), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_4_kib_and_one_worker_go_on_after_a_kafka_frozen_three_times() {
    frozen("frozen-4-kib-1", Payload::Each(4 * KIB), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_4_kib_and_two_workers_go_on_after_a_kafka_frozen_three_times() {
    frozen("frozen-4-kib-2", Payload::Each(4 * KIB), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_100_kib_and_one_worker_go_on_after_a_kafka_frozen_three_times() {
    frozen("frozen-100-kib-1", Payload::Each(100 * KIB), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_100_kib_and_two_workers_go_on_after_a_kafka_frozen_three_times() {
    frozen("frozen-100-kib-2", Payload::Each(100 * KIB), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_every_size_and_two_workers_go_on_after_a_kafka_frozen_three_times() {
    frozen("frozen-mixed-2", Payload::Mixed, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_1_kib_and_one_worker_go_on_after_three_lost_sessions() {
    lost("lost-1-kib-1", Payload::Each(KIB), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_1_kib_and_two_workers_go_on_after_three_lost_sessions() {
    lost("lost-1-kib-2", Payload::Each(KIB), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_4_kib_and_one_worker_go_on_after_three_lost_sessions() {
    lost("lost-4-kib-1", Payload::Each(4 * KIB), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_4_kib_and_two_workers_go_on_after_three_lost_sessions() {
    lost("lost-4-kib-2", Payload::Each(4 * KIB), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_100_kib_and_one_worker_go_on_after_three_lost_sessions() {
    lost("lost-100-kib-1", Payload::Each(100 * KIB), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_100_kib_and_two_workers_go_on_after_three_lost_sessions() {
    lost("lost-100-kib-2", Payload::Each(100 * KIB), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_backlog_of_every_size_and_two_workers_go_on_after_three_lost_sessions() {
    lost("lost-mixed-2", Payload::Mixed, 2).await;
}
