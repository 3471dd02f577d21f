//! Partitions move between members without losing or repeating what was committed.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::{KafkaError, Lease, PollerEvent, Window};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use crate::support::{Worker, World, brokers, gone, soon, spec, text, transaction};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_partition_is_committed_before_it_goes() {
    let world = World::new(2).await;
    let mut first = world.worker("first").await;
    assert_eq!(first.assigned().await.len(), 2);
    let mut second = world.worker("second").await;
    let gone = match soon("a revoke", first.events.next()).await.unwrap() {
        PollerEvent::Revoked { leases, lost, done } => {
            assert!(!lost);
            let lease = leases[0].clone();
            let window = Window::restore(42, 42, Vec::new());
            let committed = soon(
                "the last commit",
                first.writer.commit(transaction(&world, &lease, &window, vec!["last".to_owned()])),
            );
            assert!(committed.await.unwrap().dropped.is_empty(), "inside a revoke the partition is still ours");
            done.done();
            leases
        }
        other => panic!("{other:?}"),
    };
    let leases = match soon("an assignment", second.events.next()).await.unwrap() {
        PollerEvent::Assigned { leases } => leases,
        other => panic!("{other:?}"),
    };
    assert_eq!(leases[0].partition, gone[0].partition);
    let restored = second.writer.take_over(leases).await.unwrap();
    assert_eq!(restored[0].committed, Some(42));
    // What comes late for the old epoch is dropped.
    let window = Window::restore(43, 43, Vec::new());
    let late = first.writer.commit(transaction(&world, &gone[0], &window, vec!["late".to_owned()])).await.unwrap();
    assert_eq!(late.dropped, gone);
    first.close().await;
    second.close().await;
    assert_eq!(world.outputs().await, ["last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_ends_the_epochs_and_starts_at_its_beginning() {
    let world = World::new(1).await;
    world.write(0, (0..5).map(|index| format!("old {index}"))).await;
    let mut worker = world.worker("recreated").await;
    let lease = worker.assigned().await.remove(0).lease;
    assert_eq!(worker.records(5).await.len(), 5);
    let window = Window::restore(5, 5, Vec::new());
    worker.writer.commit(transaction(&world, &lease, &window, Vec::new())).await.unwrap();

    create_anew(&world).await;
    // Longer than the old one: nothing is out of range.
    world.write(0, (0..10).map(|index| format!("new {index}"))).await;
    assert_eq!(
        read_anew(&mut worker, &lease, 10).await,
        (0..10).map(|index| format!("new {index}")).collect::<Vec<_>>()
    );
    worker.close().await;
}

/// The offset that a takeover found is the former topic's.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_recreated_between_takeover_and_beginning_is_read_from_its_beginning() {
    let world = World::new(1).await;
    world.write(0, (0..5).map(|index| format!("old {index}"))).await;
    let mut first = world.worker("first").await;
    let lease = first.assigned().await.remove(0).lease;
    assert_eq!(first.records(5).await.len(), 5);
    let window = Window::restore(5, 5, Vec::new());
    first.writer.commit(transaction(&world, &lease, &window, Vec::new())).await.unwrap();
    first.close().await;

    let mut second = world.worker("second").await;
    let leases = second.leases().await;
    let restored = soon("taking over", second.writer.take_over(leases)).await.unwrap().remove(0);
    assert_eq!(restored.start().unwrap(), 5);
    create_anew(&world).await;
    world.write(0, (0..20).map(|index| format!("new {index}"))).await;
    let (poller, lease) = (second.poller.clone(), restored.lease.clone());
    let begun = tokio::task::spawn_blocking(move || poller.begin(&lease, 5)).await.unwrap();
    assert!(matches!(begun, Err(KafkaError::NotOwned { .. })), "{begun:?}");
    let read = read_anew(&mut second, &restored.lease, 20).await;
    assert_eq!(read, (0..20).map(|index| format!("new {index}")).collect::<Vec<_>>());
    second.close().await;
}

/// Deletes the topic that is read and creates it again.
async fn create_anew(world: &World) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    admin.delete_topics(&[&world.input], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    // As long as a broker knows the old one, nothing is missing that would be made.
    soon("the end of the old topic", gone(&kafka::Offsets::start(&world.connection).unwrap(), &world.input)).await;
    let specs = [spec(&world.input, 1, &[])];
    loop {
        let plan = kafka::topics::ensure(&world.connection, &specs).await;
        if plan.is_ok_and(|plan| plan.is_settled()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The values of so many records that are read under a newer lease than this one.
async fn read_anew(worker: &mut Worker, former: &Lease, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        match soon("the new records", worker.events.next()).await.unwrap() {
            PollerEvent::Revoked { .. } => values.clear(),
            PollerEvent::Assigned { leases } => {
                assert!(!leases.contains(former));
                for restored in worker.writer.take_over(leases).await.unwrap() {
                    worker.begin(&restored.lease, restored.start().unwrap()).await;
                }
            }
            PollerEvent::Records { records, .. } => values.extend(records.iter().map(text)),
            PollerEvent::Failed { error } => panic!("{error}"),
            skipped @ PollerEvent::Skipped { .. } => panic!("{skipped:?}"),
        }
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_never_holds_more_than_its_credit_and_neighbours_are_served() {
    let world = World::new(2).await;
    for partition in 0..2 {
        world.write(partition, (0..3_000).map(|index| index.to_string())).await;
    }
    let mut options = kafka::PollerOptions::new(world.group.as_str(), vec![world.input.to_string()], "credit");
    options.live_records = 10;
    let (poller, events) = kafka::Poller::start(&world.connection, options).unwrap();
    let options = kafka::WriterOptions::new(world.slot("credit"), world.group.as_str());
    let writer = kafka::Writer::start(&world.connection, options, poller.ownership()).await.unwrap();
    let mut worker = Worker { poller, events, writer };
    let restored = worker.assigned().await;
    let blocked = restored[0].lease.clone();
    let mut seen: BTreeMap<i32, i64> = BTreeMap::new();
    let mut unreleased = 0;
    // The first partition never gives credit back; the second is read to its end all the same.
    while seen.get(&restored[1].lease.partition.partition) != Some(&3_000) {
        match soon("records of the neighbour", worker.events.next()).await.unwrap() {
            PollerEvent::Records { lease, records } => {
                let next = seen.entry(lease.partition.partition).or_default();
                for record in &records {
                    assert_eq!(record.offset, *next);
                    *next += 1;
                }
                if lease == blocked {
                    unreleased += records.len();
                    assert!(unreleased <= 10);
                } else {
                    worker.poller.release(
                        &lease,
                        records.len(),
                        records.iter().map(schemas::record::Record::size).sum(),
                    );
                }
            }
            other => panic!("{other:?}"),
        }
    }
    // Now the first one is released, and goes on where it stood.
    worker.poller.release(&blocked, unreleased, usize::MAX);
    while seen.get(&blocked.partition.partition) != Some(&3_000) {
        match soon("records of the blocked partition", worker.events.next()).await.unwrap() {
            PollerEvent::Records { lease, records } => {
                let next = seen.entry(lease.partition.partition).or_default();
                assert_eq!(records[0].offset, *next);
                *next += i64::try_from(records.len()).unwrap();
                worker.poller.release(&lease, records.len(), records.iter().map(schemas::record::Record::size).sum());
            }
            other => panic!("{other:?}"),
        }
    }
    // A pause keeps the place; a stopped intake hands out nothing but still serves the group.
    worker.poller.pause(&blocked);
    world.write(blocked.partition.partition, ["after the pause".to_owned()]).await;
    worker.poller.resume(&blocked);
    assert_eq!(text(&worker.records(1).await[0]), "after the pause");
    worker.poller.stop_intake();
    worker.close().await;
}
