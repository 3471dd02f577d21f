//! Exactly once: what is committed is committed with its outputs, whatever happens in between.

use kafka::{KafkaError, Output, Window};

use crate::foreign::foreign_producer;
use crate::support::{World, names, progress, record, soon, text, transaction};

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

/// A key in the partition that its owner chose, whatever the key's hash, first with a value and then removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_is_written_to_the_partition_it_names() {
    let world = World::new(8).await;
    let mut worker = world.worker("tombstone").await;
    let lease = worker.assigned().await.remove(0).lease;
    let window = Window::restore(0, 0, Vec::new());
    let partition = 3;
    for value in [Some("there"), None] {
        let mut given = transaction(&world, &lease, &window, vec![String::new()]);
        let record = &mut given.outputs[0].record;
        (record.partition, record.key, record.value) = (Some(partition), Some("21".into()), value.map(Into::into));
        worker.writer.commit(given).await.unwrap();
    }
    worker.close().await;
    let options = kafka::TailOptions {
        topic: world.output.to_string(),
        partitions: Some(vec![partition]),
        from: kafka::From::Beginning,
        committed: true,
        eof: false,
        fetch_wait_ms: 10,
    };
    let mut tail = kafka::Tail::start(&world.connection, options).unwrap();
    let mut values = Vec::new();
    while values.len() < 2 {
        match soon("the records", tail.next()).await.unwrap() {
            kafka::TailEvent::Record { record, .. } => values.push((record.key.unwrap(), record.value)),
            other @ kafka::TailEvent::Eof { .. } => panic!("{other:?}"),
        }
    }
    assert_eq!(values, [("21".into(), Some("there".into())), ("21".into(), None)]);
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
