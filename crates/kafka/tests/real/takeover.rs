//! What a new owner finds, and whom it may fence for it.

use std::time::Duration;

use kafka::{Lease, Progress, Transaction, Window};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::foreign::pending;
use crate::support::{World, brokers, names, progress, soon, transaction};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_owners_open_transaction_is_fenced_by_the_id_in_its_metadata() {
    let world = World::new(1).await;
    let mut first = world.worker("dead").await;
    let lease = first.assigned().await.remove(0).lease;
    let window = Window::restore(0, 0, Vec::new());
    first.writer.commit(transaction(&world, &lease, &window, Vec::new())).await.unwrap();
    first.close().await;
    // It comes back as a process that dies in the middle of a transaction with pending offsets.
    let dead = pending(&world, world.slot("dead"), 1).await;

    let mut second = world.worker("alive").await;
    let restored = second.assigned().await.remove(0);
    assert_eq!(restored.committed, Some(0), "the pending offset was aborted");
    let refused = tokio::task::spawn_blocking(move || dead.commit_transaction(Duration::from_secs(10))).await.unwrap();
    assert!(refused.is_err(), "the dead owner is fenced");
    // Our id stands in the metadata now, before anything was processed.
    let lag = world.lag().await;
    assert!(lag[0].metadata.contains(&world.slot("alive")), "{lag:?}");
    second.close().await;
}

/// One question for all that one owner left: asked one by one, they would be pending for longer than the transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_owner_of_many_partitions_is_found_with_one_question() {
    const PARTITIONS: usize = 64;
    let world = World::with_partitions(i32::try_from(PARTITIONS).unwrap(), 1).await;
    let mut first = world.worker("dead").await;
    let restored = first.assigned().await;
    let window = Window::restore(0, 0, Vec::new());
    let progress = restored.iter().map(|restored| progress(&restored.lease, &window)).collect();
    first.writer.commit(Transaction { outputs: Vec::new(), progress }).await.unwrap();
    first.close().await;
    let dead = pending(&world, world.slot("dead"), i32::try_from(PARTITIONS).unwrap()).await;

    let mut second = world.worker("alive").await;
    let leases = second.leases().await;
    let restored = soon("the takeover", second.writer.take_over(leases)).await.unwrap();
    assert_eq!(restored.iter().filter(|restored| restored.committed == Some(0)).count(), PARTITIONS);
    assert_eq!(second.writer.stats().probes, 1, "of 64 partitions of one owner");
    drop(dead);
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
    let stranger = pending(&world, world.slot("stranger"), 1).await;

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

/// Rule W5. A transaction of somebody who lives ends by itself; fencing would end its process's other transactions too.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_owner_is_waited_for_and_not_fenced() {
    let world = World::new(2).await;
    let mut first = world.worker("alive").await;
    let restored = first.assigned().await;
    let window = Window::restore(0, 0, Vec::new());
    let progress = restored.iter().map(|restored| progress(&restored.lease, &window)).collect();
    first.writer.commit(Transaction { outputs: Vec::new(), progress }).await.unwrap();
    // From here on a producer of ours plays the part of its writer: its transaction takes long, its member stays.
    first.writer.close().await;
    let open = pending(&world, world.slot("alive"), 2).await;

    let mut second = world.worker("next").await;
    // What the first does not hand over comes to the second all the same.
    let handed = match soon("a revoke", first.events.next()).await.unwrap() {
        kafka::PollerEvent::Revoked { leases, done, .. } => {
            done.done();
            leases
        }
        other => panic!("{other:?}"),
    };
    let leases = second.leases().await;
    assert_eq!(leases[0].partition, handed[0].partition);
    let writer = second.writer.clone();
    let taking_over = writer.take_over(leases);
    tokio::pin!(taking_over);
    // Several times what finding out who is in the way takes.
    let early = tokio::time::timeout(Duration::from_secs(6), &mut taking_over).await;
    assert!(early.is_err(), "taken over while its owner's transaction was open: {early:?}");
    let ended = tokio::task::spawn_blocking(move || open.commit_transaction(Duration::from_secs(60))).await.unwrap();
    ended.expect("the live owner is not fenced");
    let restored = soon("the takeover", taking_over).await.unwrap();
    assert_eq!(restored[0].committed, Some(7), "what the live owner committed");
    first.close().await;
    second.close().await;
}

/// Metadata of this length for each partition is far more than the offsets' topic takes in one batch.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_partitions_with_full_windows_are_committed_and_taken_over() {
    const PARTITIONS: usize = 600;
    let world = World::with_partitions(i32::try_from(PARTITIONS).unwrap(), 1).await;
    // Three bytes of delta each, before base64.
    let not_done: Vec<i64> = (0..975).map(|index| index * 20_000).collect();
    let empty = |lease: &Lease| progress(lease, &Window::restore(0, 0, Vec::new()));
    let full = |lease: &Lease| Progress { read_up_to: 20_000_000, not_done: not_done.clone(), ..empty(lease) };
    for slot in ["first", "second"] {
        let mut worker = world.worker(slot).await;
        let leases = worker.leases().await;
        let restored = soon("taking over", worker.writer.take_over(leases)).await.unwrap();
        assert_eq!(restored.len(), PARTITIONS);
        assert!(restored.iter().all(|restored| restored.committed == Some(0)), "who made the topic committed 0");
        let write = |progress| worker.writer.commit(Transaction { outputs: Vec::new(), progress });
        if slot == "first" {
            let progress = restored.iter().map(|restored| empty(&restored.lease)).collect();
            soon("the commit", write(progress)).await.unwrap();
        } else {
            // The takeover has put its id everywhere.
            let lag = world.lag().await;
            let ours = lag.iter().filter(|lag| lag.metadata.contains(&world.slot(slot)));
            assert_eq!(ours.count(), PARTITIONS);
            let progress = restored.iter().map(|restored| full(&restored.lease)).collect();
            let committed = soon("the commit", write(progress)).await.unwrap();
            assert!(committed.dropped.is_empty());
        }
        worker.close().await;
    }
    let mut third = world.worker("third").await;
    let leases = third.leases().await;
    let restored = soon("taking over", third.writer.take_over(leases)).await.unwrap();
    assert_eq!(restored.len(), PARTITIONS);
    assert!(restored.iter().all(|restored| restored.not_done == not_done && restored.read_up_to == 20_000_000));
    third.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_commits_where_the_log_begins_when_retention_has_passed_the_offset() {
    let world = World::new(1).await;
    world.write(0, names(0..10)).await;
    let mut first = world.worker("first").await;
    let lease = first.assigned().await.remove(0).lease;
    // 3, 5 and 7 are not done, 4 and 6 are.
    let window = Window::restore(3, 8, vec![3, 5, 7]);
    first.writer.commit(transaction(&world, &lease, &window, Vec::new())).await.unwrap();
    first.close().await;
    delete_before(&world, 6).await;

    for (slot, start, lost) in [("second", 6, 2), ("third", 7, 0)] {
        let mut next = world.worker(slot).await;
        let restored = next.assigned().await.remove(0);
        assert_eq!((restored.start().unwrap(), restored.lost()), (start, lost), "counted once, and not what was done");
        next.close().await;
        let lag = world.lag().await;
        assert_eq!(lag[0].committed, Some(7));
    }
}

/// As retention does it.
async fn delete_before(world: &World, offset: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&world.input, 0, Offset::Offset(offset)).unwrap();
    admin.delete_records(&offsets, &AdminOptions::new()).await.unwrap();
}
