//! Exactly once: what is committed is committed with its outputs, whatever happens in between.

use std::sync::Arc;
use std::time::Duration;

use kafka::{KafkaError, Output, Window};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{World, brokers, progress, record, soon, spec, text, transaction};

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| format!("v{index:04}")).collect()
}

/// A transactional producer that is not ours.
fn foreign_producer(transactional_id: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("transactional.id", transactional_id);
    // Longer than any patience: only fencing ends its transaction.
    config.set("transaction.timeout.ms", "600000");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer
}

/// Leaves an open transaction of this id that holds the offset of the input's first partition.
async fn pending(world: &World, transactional_id: String) -> BaseProducer {
    let (group, topic) = (world.group.clone(), world.input.to_string());
    let open = tokio::task::spawn_blocking(move || {
        let producer = foreign_producer(&transactional_id);
        let group: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers()).set("group.id", group).create().unwrap();
        producer.begin_transaction().unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&topic, 0, Offset::Offset(7)).unwrap();
        let metadata = group.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&offsets, &metadata, Duration::from_secs(30)).unwrap();
        producer
    });
    open.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_reads_only_what_was_not_done() {
    let world = World::new(1).await;
    world.write(0, names(0..20)).await;
    let mut first = world.worker("first").await;
    let restored = first.assigned().await.remove(0);
    assert_eq!((restored.committed, restored.log_start, restored.log_end), (Some(0), 0, 20));
    let mut window = restored.window(0);
    let records = first.records(20).await;
    // Every third stays undone.
    let mut done = Vec::new();
    for record in &records {
        assert!(window.admit(record.offset));
        assert_eq!(record.headers.text("ce_id"), Some(text(record).as_str()));
    }
    for record in records.iter().filter(|record| record.offset % 3 != 0) {
        window.complete(record.offset);
        done.push(text(record));
    }
    let committed = first.writer.commit(transaction(&world, &restored.lease, &window, done.clone())).await.unwrap();
    assert!(committed.dropped.is_empty());
    first.close().await;

    let mut second = world.worker("second").await;
    let restored = second.assigned().await.remove(0);
    assert_eq!((restored.committed, restored.read_up_to), (Some(0), 20));
    assert_eq!(restored.not_done, [0, 3, 6, 9, 12, 15, 18]);
    let mut window = restored.window(0);
    let again: Vec<i64> =
        second.records(20).await.iter().map(|record| record.offset).filter(|offset| window.admit(*offset)).collect();
    assert_eq!(again, restored.not_done);
    second.close().await;
    assert_eq!(world.outputs().await, done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_writer_settles_the_outcome_and_writes_once() {
    let world = World::new(1).await;
    let mut worker = world.worker("fenced").await;
    let lease = worker.assigned().await.remove(0).lease;
    for round in 0..2 {
        // Somebody initialises with our id: our next transaction fails, and we come back.
        let id = world.slot("fenced");
        drop(tokio::task::spawn_blocking(move || foreign_producer(&id)).await.unwrap());
        let window = Window::restore(round + 1, round + 1, Vec::new());
        let value = vec![format!("round {round}")];
        soon("the commit", worker.writer.commit(transaction(&world, &lease, &window, value))).await.unwrap();
    }
    assert_eq!(worker.writer.stats().settled, 2);
    // The third time within a minute is no accident.
    let id = world.slot("fenced");
    drop(tokio::task::spawn_blocking(move || foreign_producer(&id)).await.unwrap());
    let window = Window::restore(3, 3, Vec::new());
    let refused = worker.writer.commit(transaction(&world, &lease, &window, vec!["round 2".to_owned()])).await;
    assert!(matches!(refused, Err(KafkaError::SecondProcess { times: 3, .. })), "{refused:?}");
    worker.close().await;
    assert_eq!(world.outputs().await, ["round 0", "round 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_owners_open_transaction_is_fenced_by_the_id_in_its_metadata() {
    let world = World::new(1).await;
    let mut first = world.worker("dead").await;
    let lease = first.assigned().await.remove(0).lease;
    let window = Window::restore(0, 0, Vec::new());
    first.writer.commit(transaction(&world, &lease, &window, Vec::new())).await.unwrap();
    first.close().await;
    // It comes back as a process that dies in the middle of a transaction with pending offsets.
    let dead = pending(&world, world.slot("dead")).await;

    let mut second = world.worker("alive").await;
    let restored = second.assigned().await.remove(0);
    assert_eq!(restored.committed, Some(0), "the pending offset was aborted");
    let refused = tokio::task::spawn_blocking(move || dead.commit_transaction(Duration::from_secs(10))).await.unwrap();
    assert!(refused.is_err(), "the dead owner is fenced");
    // Our id stands in the metadata now, before anything was processed.
    let lag = kafka::lag::of_group(&world.connection, &world.group, &[&world.input]).await.unwrap();
    assert!(lag[0].metadata.contains(&world.slot("alive")), "{lag:?}");
    second.close().await;
}

/// As after a single broker's clean stop: offsets are pending, and there is nobody to fence whose end would free them.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_stay_pending_beyond_any_transactions_life_hold_nobody_for_ever() {
    let world = World::new(1).await;
    world.write(0, names(0..8)).await;
    let mut first = world.worker("before").await;
    let lease = first.assigned().await.remove(0).lease;
    let window = Window::restore(3, 3, Vec::new());
    first.writer.commit(transaction(&world, &lease, &window, vec!["first".to_owned()])).await.unwrap();
    first.close().await;
    let stranger = pending(&world, world.slot("stranger")).await;

    let mut second = world.worker("after").await;
    let restored = second.assigned().await.remove(0);
    assert_eq!(restored.committed, Some(3), "the last offset that is settled");
    let window = Window::restore(4, 4, Vec::new());
    let second_value = vec!["second".to_owned()];
    second.writer.commit(transaction(&world, &restored.lease, &window, second_value)).await.unwrap();
    second.close().await;
    assert_eq!(world.outputs().await, ["first", "second"]);
    drop(stranger);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_kafka_can_never_take_is_handed_back_and_nothing_is_committed() {
    let world = World::new(1).await;
    let small: Arc<str> = Arc::from(format!("{}-small", world.output));
    let specs = [spec(&small, 1, &[("max.message.bytes", "2000")])];
    kafka::topics::ensure(&world.connection, &specs).await.unwrap();
    let mut worker = world.worker("unwritable").await;
    let lease = worker.assigned().await.remove(0).lease;
    let window = Window::restore(1, 1, Vec::new());
    let mut given = transaction(&world, &lease, &window, vec!["good".to_owned()]);
    given.outputs.push(Output { lease: 0, record: record(&small, 0, &"x".repeat(5_000)) });
    let (index, mut given) = match soon("an answer", worker.writer.commit(given)).await {
        Err(KafkaError::Unwritable { index, transaction, .. }) => (index, transaction),
        other => panic!("{other:?}"),
    };
    assert_eq!(index, 1);
    assert!(world.outputs().await.is_empty());
    given.outputs[index].record = record(&world.output, 0, "cut");
    worker.writer.commit(*given).await.unwrap();
    worker.close().await;
    assert_eq!(world.outputs().await, ["cut", "good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keyless_records_of_a_transaction_share_one_partition_and_keyed_ones_use_murmur2() {
    let world = World::new(8).await;
    let mut worker = world.worker("sticky").await;
    let lease = worker.assigned().await.remove(0).lease;
    let window = Window::restore(0, 0, Vec::new());
    let mut given = transaction(&world, &lease, &window, names(0..200));
    for output in &mut given.outputs {
        output.record.partition = None;
    }
    worker.writer.commit(given).await.unwrap();
    assert_eq!(worker.writer.stats().partitions, 1);
    let mut given = transaction(&world, &lease, &window, names(200..201));
    given.outputs[0].record.partition = None;
    given.outputs[0].record.key = Some("21".into());
    worker.writer.commit(given).await.unwrap();
    worker.close().await;
    // Kafka's own test vector: murmur2("21") = -973932308.
    let partition = (-973_932_308_i32 & 0x7fff_ffff) % 8;
    let mut tail = kafka::Tail::start(
        &world.connection,
        kafka::TailOptions {
            topic: world.output.to_string(),
            partitions: Some(vec![partition]),
            from: kafka::From::Beginning,
            committed: true,
            eof: false,
            fetch_wait_ms: 10,
        },
    )
    .unwrap();
    loop {
        let event = soon("the keyed record", tail.next()).await.unwrap();
        if matches!(event, kafka::TailEvent::Record { record, .. } if text(&record) == "v0200") {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_lease_that_is_over_is_not_written() {
    let world = World::new(2).await;
    let mut worker = world.worker("over").await;
    let restored = worker.assigned().await;
    let live = restored[0].lease.clone();
    let mut over = restored[1].lease.clone();
    over.epoch = kafka::Epoch(over.epoch.0 + 1_000);
    let window = Window::restore(5, 5, Vec::new());
    let mut given = transaction(&world, &live, &window, vec!["live".to_owned()]);
    given.progress.push(progress(&over, &window));
    given.outputs.push(Output { lease: 1, record: record(&world.output, 0, "over") });
    let committed = worker.writer.commit(given).await.unwrap();
    assert_eq!(committed.dropped, [over]);
    worker.close().await;
    assert_eq!(world.outputs().await, ["live"]);
}
