//! A log that loses its end while its reader is away, on a broker of the test's own.

use std::path::Path;

use kafka::group::{self, Standing};
use kafka::{KafkaError, LogCut, Window};
use kafka_dev::Broker;
use schemas::record::TopicPartition;

use crate::foreign::write_in_transactions;
use crate::support::{World, names, soon, transaction};

/// A new leader epoch alone is nothing; records of a newer one where older ones were read are a cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_and_has_grown_again_is_named_and_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let broker = testkit::broker::start(folder.path(), 0).await.unwrap();
    let world = World::at(&broker.bootstrap(), 1, 1).await;
    world.write(0, names(0..5)).await;
    read_on(&world, "first", 0, 5).await;

    let broker = restart(broker, || {}).await;
    world.write(0, names(5..8)).await;
    let broker = read_on_past_what_was_aborted(&world, broker).await;

    let broker = restart(broker, || lose_log(folder.path(), &format!("{}-0", world.input))).await;
    world.write(0, names(0..20)).await;
    let mut third = world.worker("third").await;
    let leases = third.leases().await;
    let restored = soon("taking over", third.writer.take_over(leases)).await.unwrap().remove(0);
    let Some(LogCut { at, read_epoch, found_epoch }) = restored.cut else { panic!("{restored:?}") };
    assert!(at < 10 && found_epoch > read_epoch, "{restored:?}");
    assert_eq!(restored.lost(), 10 - at);
    let refused = restored.start().unwrap_err();
    assert!(matches!(refused, KafkaError::LogCut { read_up_to: 10, .. }), "{refused}");
    // An operator is told the same.
    let shown = group::state(&world.connection, &world.group, &[&*world.input]).await.unwrap().partitions.remove(0);
    assert_eq!((shown.standing, shown.standing.stops()), (Standing::Cut(at), true), "{shown:?}");
    // It was left as it is, so that whoever starts again is told again; an operator's word ends it.
    third.close().await;
    let place = TopicPartition::new(&*world.input, 0);
    let timeout = std::time::Duration::from_secs(10);
    group::set_offsets(&world.connection, &world.group, &[(place, 4)], timeout).await.unwrap();
    read_on(&world, "fourth", 4, 16).await;
    broker.kill().await.unwrap();
}

/// Reads three records and, after a change of leaders, past one that was aborted: what nobody could read is no sign of a cut.
async fn read_on_past_what_was_aborted(world: &World, broker: Broker) -> Broker {
    read_on(world, "second", 5, 3).await;
    let broker = restart(broker, || {}).await;
    write_in_transactions(world, &[false], 1).await;
    let mut worker = world.worker("idle").await;
    let restored = worker.assigned().await.remove(0);
    assert_eq!((restored.start().unwrap(), restored.cut), (8, None));
    let mut window: Window = restored.window(8);
    assert!(window.advance(10), "the record and its marker");
    let given = transaction(world, &restored.lease, &window, Vec::new());
    soon("the commit", worker.writer.commit(given)).await.unwrap();
    worker.close().await;
    read_on(world, "after", 10, 0).await;
    broker
}

/// Takes over at this offset, reads so many records and commits them.
async fn read_on(world: &World, slot: &str, from: i64, count: usize) {
    let mut worker = world.worker(slot).await;
    let restored = worker.assigned().await.remove(0);
    assert_eq!((restored.start().unwrap(), restored.cut), (from, None));
    let mut window: Window = restored.window(from);
    for record in worker.records(count).await {
        assert!(window.admit(record.offset));
        window.complete(record.offset);
    }
    let given = transaction(world, &restored.lease, &window, Vec::new());
    soon("the commit", worker.writer.commit(given)).await.unwrap();
    worker.close().await;
}

async fn restart(broker: Broker, meanwhile: impl FnOnce()) -> Broker {
    let options = broker.options().clone();
    broker.stop().await.unwrap();
    meanwhile();
    Broker::start(options).await.unwrap()
}

/// Takes a partition's records away, as an unclean election does with what only the former leader had.
fn lose_log(folder: &Path, partition: &str) {
    let mut folders = vec![folder.to_owned()];
    let mut lost = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if folder.ends_with(partition) && name != "partition.metadata" {
                std::fs::remove_file(&path).unwrap();
                lost += 1;
            }
        }
    }
    assert!(lost > 0, "the log of {partition} was not found");
}
