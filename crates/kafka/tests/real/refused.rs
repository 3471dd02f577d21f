//! Records that Kafka can never take, alone or as a batch.

use std::sync::Arc;

use kafka::{KafkaError, Output, Transaction, Window};

use crate::support::{Worker, World, record, soon, spec, transaction};

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
    let (refused, mut given) = handed_back(&worker, given).await;
    assert_eq!(refused, [1]);
    assert!(world.outputs().await.is_empty());
    given.outputs[1].record = record(&world.output, 0, "cut");
    worker.writer.commit(*given).await.unwrap();
    worker.close().await;
    assert_eq!(world.outputs().await, ["cut", "good"]);
}

/// A batch names the record that is at fault and blames the others for being with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_key_for_a_compacted_topic_is_found_among_its_neighbours() {
    let world = World::new(1).await;
    let compacted: Arc<str> = Arc::from(format!("{}-compacted", world.output));
    let specs = [spec(&compacted, 1, &[("cleanup.policy", "compact")])];
    kafka::topics::ensure(&world.connection, &specs).await.unwrap();
    let mut worker = world.worker("compacted").await;
    let lease = worker.assigned().await.remove(0).lease;
    let window = Window::restore(1, 1, Vec::new());
    let mut given = transaction(&world, &lease, &window, vec!["good".to_owned()]);
    for index in 0..5 {
        let mut keyed = record(&compacted, 0, "keyed");
        keyed.key = (index != 2).then(|| "key".into());
        given.outputs.push(Output { lease: 0, record: keyed });
    }
    let (refused, mut given) = handed_back(&worker, given).await;
    assert_eq!(refused, [3]);
    given.outputs[3].record.key = Some("key".into());
    worker.writer.commit(*given).await.unwrap();
    worker.close().await;
    assert_eq!(world.outputs().await, ["good"]);
}

/// Hundreds of good records and three that are too large, in one batch of one partition.
#[tokio::test(flavor = "multi_thread")]
async fn all_records_of_a_batch_that_kafka_never_takes_are_handed_back_at_once() {
    let world = World::new(1).await;
    let small: Arc<str> = Arc::from(format!("{}-small", world.output));
    let specs = [spec(&small, 1, &[("max.message.bytes", "2000")])];
    kafka::topics::ensure(&world.connection, &specs).await.unwrap();
    let mut worker = world.worker("several").await;
    let lease = worker.assigned().await.remove(0).lease;
    let window = Window::restore(1, 1, Vec::new());
    let mut given = transaction(&world, &lease, &window, vec!["good".to_owned()]);
    let too_large = [17, 18, 150];
    for index in 1..=200 {
        let bytes = if too_large.contains(&index) { 5_000 } else { 500 };
        given.outputs.push(Output { lease: 0, record: record(&small, 0, &"x".repeat(bytes)) });
    }
    let (refused, mut given) = handed_back(&worker, given).await;
    assert_eq!(refused, too_large);
    for index in refused {
        given.outputs[index].record = record(&world.output, 0, "cut");
    }
    let aborted = worker.writer.stats().aborted;
    let again = (*given).clone();
    soon("the commit", worker.writer.commit(*given)).await.unwrap();
    // Only three of them fit a batch, and that is remembered: neither this nor the next transaction tries more.
    soon("the next commit", worker.writer.commit(again)).await.unwrap();
    assert_eq!(worker.writer.stats().aborted, aborted);
    worker.close().await;
    assert_eq!(world.outputs().await.len(), 8);
}

/// No record is at fault: the topic's limit was lowered below what a batch of ours may have.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_only_as_a_batch_gets_through_in_smaller_ones() {
    let world = World::new(1).await;
    let small: Arc<str> = Arc::from(format!("{}-small", world.output));
    let specs = [spec(&small, 1, &[("max.message.bytes", "100000")])];
    kafka::topics::ensure(&world.connection, &specs).await.unwrap();
    let mut worker = world.worker("lowered").await;
    let lease = worker.assigned().await.remove(0).lease;
    let mut aborted = 0;
    for round in 1..=3 {
        let window = Window::restore(round, round, Vec::new());
        let mut given = transaction(&world, &lease, &window, vec![format!("round {round}")]);
        for _ in 0..900 {
            given.outputs.push(Output { lease: 0, record: record(&small, 0, &"x".repeat(450)) });
        }
        soon("the commit", worker.writer.commit(given)).await.unwrap();
        assert!(aborted == 0 || aborted == worker.writer.stats().aborted, "only the first was tried in one batch");
        aborted = worker.writer.stats().aborted;
        assert!(aborted > 0, "the batch is no larger than the topic takes");
    }
    worker.close().await;
    assert_eq!(world.outputs().await, ["round 1", "round 2", "round 3"]);
}

/// The outputs that are refused, and the transaction.
async fn handed_back(worker: &Worker, given: Transaction) -> (Vec<usize>, Box<Transaction>) {
    match soon("an answer", worker.writer.commit(given)).await {
        Err(KafkaError::Unwritable { refused, transaction }) => {
            (refused.iter().map(|refused| refused.index).collect(), transaction)
        }
        other => panic!("{other:?}"),
    }
}
