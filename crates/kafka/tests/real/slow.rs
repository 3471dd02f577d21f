//! Transactions that are too much for the time they have, and clusters that are away for some of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use kafka::{Connection, KafkaError, Lease, Offsets, Transaction, Window};
use schemas::record::TopicPartition;
use testkit::broker::SharedKafka;
use testkit::proxy::{Action, Api, Proxy};

use crate::support::{PATIENCE, Worker, World, brokers, soon, transaction};

/// So many outputs of 200 KB, each with a header of that length too.
fn heavy(world: &World, lease: &Lease, outputs: usize) -> Transaction {
    let window = Window::restore(1, 1, Vec::new());
    transaction(world, lease, &window, (0..outputs).map(|index| format!("{index:02}{}", "x".repeat(200_000))))
}

async fn assert_written_once(world: &World, outputs: usize) {
    let values = world.outputs().await;
    let names: Vec<String> = values.iter().map(|value| value.chars().take(2).collect()).collect();
    assert_eq!(names, (0..outputs).map(|index| format!("{index:02}")).collect::<Vec<_>>());
}

/// A worker whose writer goes through a proxy: what happens to it does not cost the partitions.
async fn through_proxy(world: &World) -> (Worker, Proxy) {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let connection = Connection::new(&proxy.bootstrap(), &BTreeMap::new()).unwrap();
    (world.worker_that_writes_to(&connection, "proxied").await, proxy)
}

async fn too_slow(worker: &Worker, given: Transaction) -> (Box<Transaction>, usize) {
    match soon("an answer", worker.writer.commit(given)).await {
        Err(KafkaError::TooSlow { transaction, written_bytes, .. }) => (transaction, written_bytes),
        other => panic!("{other:?}"),
    }
}

/// Where a transaction has come to, without looking at its end.
async fn tries_that_ended(worker: &Worker) -> u64 {
    loop {
        let stats = worker.writer.stats();
        if stats.aborted + stats.settled > 0 {
            return stats.aborted + stats.settled;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slow_line_does_not_take_in_time_is_handed_back() {
    let world = World::new(1).await;
    let (mut worker, proxy) = through_proxy(&world).await;
    let lease = worker.assigned().await.remove(0).lease;
    proxy.delay(Duration::from_millis(400));
    let (given, written) = too_slow(&worker, heavy(&world, &lease, 80)).await;
    assert!(written > 0);
    proxy.delay(Duration::ZERO);
    soon("the commit", worker.writer.commit(*given)).await.unwrap();
    worker.close().await;
    assert_written_once(&world, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_quota_does_not_take_in_time_is_handed_back() {
    let world = World::new(1).await;
    let mut worker = world.worker("quota").await;
    let lease = worker.assigned().await.remove(0).lease;
    set_quota(&world.slot("quota"), Some(100_000.0));
    let (given, written) = too_slow(&worker, heavy(&world, &lease, 40)).await;
    assert!(written > 0);
    worker.writer.close().await;
    set_quota(&world.slot("quota"), None);
    // A client of another name: what the quota still holds against the first is not waited for.
    let other = world.worker_of(&worker, "free").await;
    soon("the commit", other.commit(*given)).await.unwrap();
    worker.close().await;
    assert_written_once(&world, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_in_the_middle_is_waited_for() {
    let world = World::new(1).await;
    let (mut worker, proxy) = through_proxy(&world).await;
    let lease = worker.assigned().await.remove(0).lease;
    // Slow enough to be met in the middle: the first batch is there and others are still to come.
    proxy.delay(Duration::from_millis(200));
    let (writer, given) = (worker.writer.clone(), heavy(&world, &lease, 40));
    let committing = async move { writer.commit(given).await };
    let ends = Offsets::start(&world.connection).unwrap();
    let output = TopicPartition::new(Arc::clone(&world.output), 0);
    let standing_still = async {
        let begun = async { while ends.end(&output).await.unwrap() == 0 {} };
        soon("the first batch", begun).await;
        let mut still = proxy.on_next(Api::Produce, Action::HoldAnswer);
        still.met(PATIENCE).await.unwrap();
        let tries = soon("the end of the try", tries_that_ended(&worker)).await;
        still.release();
        proxy.delay(Duration::ZERO);
        tries
    };
    let (committed, tries) = soon("the commit", async { tokio::join!(committing, standing_still) }).await;
    assert!(tries > 0);
    committed.expect("it is not too slow");
    worker.close().await;
    assert_written_once(&world, 40).await;
}

/// Sets or removes what a client may produce per second: `AlterClientQuotas`, which librdkafka does not have.
fn set_quota(client_id: &str, bytes_per_second: Option<f64>) {
    let compact = |text: &str| {
        let length = u8::try_from(text.len() + 1).unwrap();
        assert!(length < 0x80);
        [&[length], text.as_bytes()].concat()
    };
    // Version 1, without a client id; one entry with one component and one operation; no tags anywhere.
    let mut request =
        [&49_i16.to_be_bytes()[..], &1_i16.to_be_bytes(), &1_i32.to_be_bytes(), &[0xff, 0xff, 0]].concat();
    request.extend([&[2, 2][..], &compact("client-id"), &compact(client_id), &[0]].concat());
    request.extend([&[2][..], &compact("producer_byte_rate")].concat());
    request.extend(bytes_per_second.unwrap_or_default().to_be_bytes());
    request.extend([u8::from(bytes_per_second.is_none()), 0, 0, 0, 0]);
    let mut broker = TcpStream::connect(brokers()).unwrap();
    broker.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    broker.write_all(&request).unwrap();
    let mut length = [0; 4];
    broker.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
    broker.read_exact(&mut answer).unwrap();
    // Correlation id, tags, throttle time, number of entries; then the error code.
    assert_eq!(answer[10..12], [0, 0], "{answer:?}");
}
