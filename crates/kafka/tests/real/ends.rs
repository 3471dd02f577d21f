//! Where logs end and begin while they are read: transaction markers, deleted records, and what nobody was given.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::{Lease, LeaseLag, Membership, Offsets, PollerEvent, Window};
use rdkafka::producer::{BaseRecord, Producer};
use schemas::record::TopicPartition;

use crate::foreign::{foreign_producer, write_in_transactions};
use crate::support::{Worker, World, delete_below, eventually, soon, text, transaction};

const TIMEOUT: Duration = Duration::from_secs(60);

fn lag(worker: &Worker) -> LeaseLag {
    worker.poller.lag().remove(0)
}

async fn at_end(worker: &Worker) {
    eventually("the end", || lag(worker).at_end).await;
}

/// The review's case: six transactions, all delivered, rest.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_group_is_not_behind_by_markers() {
    let world = World::new(1).await;
    write_in_transactions(&world, &[true, true, false, true, true, true, false], 1).await;
    let mut worker = world.worker("idle").await;
    let restored = worker.assigned().await.remove(0);
    let mut window = restored.window(0);
    for record in worker.records(5).await {
        assert!(window.admit(record.offset));
        window.complete(record.offset);
    }
    at_end(&worker).await;
    let found = lag(&worker);
    assert_eq!((found.position, found.high_watermark, found.records_behind()), (14, 14, 0), "{found:?}");
    // Idle, so the position may be committed: whoever looks sees nothing behind, with or without a transaction.
    worker.writer.commit(transaction(&world, &restored.lease, &window, Vec::new())).await.unwrap();
    let shown = world.lag().await.remove(0);
    assert_eq!((shown.committed, shown.log_end, shown.records_behind()), (Some(11), 14, 0), "{shown:?}");
    assert!(window.advance(found.position));
    worker.writer.commit(transaction(&world, &restored.lease, &window, Vec::new())).await.unwrap();
    let shown = world.lag().await.remove(0);
    assert_eq!((shown.committed, shown.records_behind()), (Some(14), 0), "{shown:?}");

    // One record more is one record behind until it is read.
    write_in_transactions(&world, &[true], 1).await;
    assert_eq!(world.lag().await[0].records_behind(), 1);
    assert_eq!(worker.records(1).await[0].offset, 14);
    at_end(&worker).await;
    assert_eq!(lag(&worker).position, 16);
    worker.close().await;
}

/// What librdkafka knows of no partition, or not of all, is an answer about each of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_not_told_of_hides_no_other() {
    let world = World::new(2).await;
    world.write(1, ["one".to_owned()]).await;
    let at = |number| TopicPartition::new(&*world.input, number);
    let gone = TopicPartition::new("no-such-topic", 0);
    let offsets = Offsets::start(&world.connection).unwrap();
    let told = offsets.ends_of(vec![at(0), at(1), at(7), gone.clone()]).await;
    assert_eq!((told[&at(0)].clone().unwrap(), told[&at(1)].clone().unwrap()), (0, 1));
    for missing in [at(7), gone.clone()] {
        let error = told[&missing].as_ref().unwrap_err().to_string();
        assert!(error.contains(&missing.to_string()), "{error}");
    }
    let ranges = offsets.ranges_of(vec![at(1), at(7)]).await.unwrap();
    assert_eq!(ranges, BTreeMap::from([(at(1), (0, 1))]));
    let none = offsets.ends_of(vec![at(7), at(8)]).await;
    for (missing, told) in none {
        let error = told.unwrap_err().to_string();
        assert!(error.contains(&missing.to_string()), "each has its own: {error}");
    }
}

/// A transaction may take its time; one that is open for longer than any lives holds what follows, and that is seen.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_before_an_open_transaction_is_no_lag_until_no_transaction_lives_so_long() {
    let world = World::new(1).await;
    world.write(0, (0..3).map(|index| index.to_string())).await;
    let (id, topic) = (world.slot("open"), world.input.to_string());
    let open = tokio::task::spawn_blocking(move || {
        let producer = foreign_producer(&id);
        producer.begin_transaction().unwrap();
        let record = BaseRecord::<(), str>::to(&topic).partition(0).payload("open");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(TIMEOUT).unwrap();
        producer
    });
    let open = open.await.unwrap();
    // Whoever writes there is believed to be dead after 20 s.
    let mut worker = world.worker_with("reader", |options| options.transaction_timeout = Duration::ZERO).await;
    worker.assigned().await;
    assert_eq!(worker.records(3).await.len(), 3);
    at_end(&worker).await;
    let found = lag(&worker);
    assert_eq!((found.position, found.high_watermark, found.records_behind()), (3, 4, 0), "{found:?}");
    eventually("what is held", || lag(&worker).held_since_ms.is_some()).await;
    let found = lag(&worker);
    assert_eq!((found.position, found.at_end, found.records_behind()), (3, true, 1), "{found:?}");
    // For people at once: nobody knows for how long it has been open.
    let shown = kafka::lag::of_group(&world.connection, &world.group, &[&*world.input]).await.unwrap().remove(0);
    assert_eq!((shown.committed, shown.records_behind()), (Some(0), 4), "{shown:?}");
    tokio::task::spawn_blocking(move || open.commit_transaction(TIMEOUT)).await.unwrap().unwrap();
    assert_eq!(text(&worker.records(1).await[0]), "open");
    at_end(&worker).await;
    let found = lag(&worker);
    assert_eq!((found.position, found.held_since_ms, found.records_behind()), (5, None, 0), "{found:?}");
    worker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_log_ends_nobody_and_loses_nothing() {
    let world = World::new(1).await;
    write_in_transactions(&world, &[true, true, true], 1).await;
    let mut worker = world.worker("emptied").await;
    let restored = worker.assigned().await.remove(0);
    assert_eq!(worker.records(3).await.len(), 3);
    at_end(&worker).await;
    delete_below(&world, 6).await;
    // Each of these sets librdkafka back to what it remembers.
    worker.poller.pause(&restored.lease);
    worker.poller.resume(&restored.lease);
    let mut second = world.worker("second").await;
    let mut both = [worker.poller.membership(), second.poller.membership()];
    eventually("the second member", || {
        both = [worker.poller.membership(), second.poller.membership()];
        both.iter().all(|membership| membership.joined)
    })
    .await;
    assert_eq!(both[0].partitions + both[1].partitions, 1);
    write_in_transactions(&world, &[true], 1).await;
    // Wherever the partition is now, the next event of its owner is the new record or a hand-over, never a loss.
    let owner = if both[0].partitions == 1 { &mut worker } else { &mut second };
    let record = match soon("the new record", owner.events.next()).await.unwrap() {
        PollerEvent::Records { records, .. } => records[0].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(record.offset, 6);
    second.close().await;
    worker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_unread_is_told_and_reading_goes_on_at_the_logs_start() {
    let world = World::new(1).await;
    world.write(0, (0..5).map(|index| index.to_string())).await;
    let mut worker = world.worker("behind").await;
    let restored = worker.assigned().await.remove(0);
    assert_eq!(worker.records(5).await.len(), 5);
    worker.poller.pause(&restored.lease);
    world.write(0, (5..12).map(|index| index.to_string())).await;
    delete_below(&world, 9).await;
    worker.poller.resume(&restored.lease);
    match soon("the loss", worker.events.next()).await.unwrap() {
        PollerEvent::Skipped { lease, from, to, lost } => {
            assert_eq!((lease, from, to, lost), (restored.lease.clone(), 5, 9, 4));
        }
        other => panic!("{other:?}"),
    }
    let offsets: Vec<i64> = worker.records(3).await.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [9, 10, 11]);
    assert!(worker.poller.ownership().is_live(&restored.lease));
    worker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_beyond_the_log_ends_the_role_with_its_name() {
    let world = World::new(1).await;
    world.write(0, (0..5).map(|index| index.to_string())).await;
    let mut worker = world.worker("cut").await;
    let lease = assigned(&mut worker).await;
    worker.begin(&lease, 8).await;
    match soon("the error", worker.events.next()).await.unwrap() {
        PollerEvent::Failed { error: kafka::KafkaError::Truncated { partition, offset, log_end } } => {
            assert_eq!((partition, offset, log_end), (lease.partition, 8, 5));
        }
        other => panic!("{other:?}"),
    }
    worker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_given_nothing_knows_it() {
    let world = World::new(1).await;
    let mut first = world.worker("first").await;
    assigned(&mut first).await;
    let second = world.worker("second").await;
    let (first_is, second_is) = (|| first.poller.membership(), || second.poller.membership());
    eventually("an empty assignment", || first_is().joined && second_is().joined).await;
    let partitions = [first_is().partitions, second_is().partitions];
    assert_eq!(partitions.iter().sum::<usize>(), 1, "{partitions:?}");
    assert!(partitions.contains(&0));
    assert_eq!(first_is(), Membership { joined: true, partitions: partitions[0] });
    second.close().await;
    first.close().await;
}

async fn assigned(worker: &mut Worker) -> Lease {
    match soon("an assignment", worker.events.next()).await.unwrap() {
        PollerEvent::Assigned { mut leases } => leases.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Unused positions of a window are what a role commits when it is idle.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_of_an_idle_partition_begins_behind_the_markers() {
    let world = World::new(1).await;
    write_in_transactions(&world, &[true, false], 1).await;
    let mut worker = world.worker("before").await;
    let restored = worker.assigned().await.remove(0);
    let mut window: Window = restored.window(0);
    let record = worker.records(1).await.remove(0);
    assert!(window.admit(record.offset));
    window.complete(record.offset);
    at_end(&worker).await;
    assert!(window.advance(lag(&worker).position));
    worker.writer.commit(transaction(&world, &restored.lease, &window, Vec::new())).await.unwrap();
    worker.close().await;
    delete_below(&world, 4).await;
    let mut next = world.worker("after").await;
    let restored = next.assigned().await.remove(0);
    assert_eq!((restored.committed, restored.log_start, restored.lost()), (Some(4), 4, 0));
    next.close().await;
}
