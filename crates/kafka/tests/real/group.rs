//! A group as an operator sees it, and offsets set by hand as the next owner takes them over.

use std::time::Duration;

use kafka::group::{self, Standing};
use kafka::{KafkaError, Window};
use schemas::record::TopicPartition;

use super::support::{World, transaction};

/// Of the workers' transactions.
const TIMEOUT: Duration = Duration::from_secs(10);

fn names(range: std::ops::Range<i32>) -> impl Iterator<Item = String> {
    range.map(|number| format!("record {number}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_set_by_hand_is_where_the_next_owner_begins() {
    let mut world = World::new(2).await;
    // A group that nobody began.
    world.group.push_str("-lost");
    world.write(0, names(0..8)).await;
    let partition = |number| TopicPartition::new(&*world.input, number);
    let standings = |states: &[group::PartitionState]| {
        states.iter().map(|state| (state.lag.committed, state.standing)).collect::<Vec<_>>()
    };
    let topics = [&*world.input, "no-such-topic"];
    let before = group::state(&world.connection, &world.group, &topics).await.unwrap().partitions;
    assert_eq!(standings(&before), [(None, Standing::Missing), (None, Standing::New)]);
    assert_eq!(group::members(&world.connection, &world.group).await.unwrap(), []);

    group::set_offsets(&world.connection, &world.group, &[(partition(0), 3)], TIMEOUT).await.unwrap();
    let set = group::state(&world.connection, &world.group, &topics).await.unwrap().partitions;
    assert_eq!(standings(&set), [(Some(3), Standing::Committed), (None, Standing::New)]);

    let mut worker = world.worker("next").await;
    let mut restored = worker.assigned().await;
    restored.sort_by_key(|restored| restored.lease.partition.partition);
    assert_eq!(restored.iter().map(|restored| restored.committed).collect::<Vec<_>>(), [Some(3), None]);
    assert!(restored[0].not_done.is_empty() && !restored[0].recreated, "{restored:?}");
    let first = worker.records(5).await;
    assert_eq!(first.first().map(|record| record.offset), Some(3));
    let window = Window::restore(8, 8, Vec::new());
    worker.writer.commit(transaction(&world, &restored[0].lease, &window, Vec::new())).await.unwrap();

    // While it lives nobody sets anything: it is shown, and Kafka refuses whoever did not look.
    let members = group::members(&world.connection, &world.group).await.unwrap();
    let ids = members.iter().map(|member| member.client_id.as_str()).collect::<Vec<_>>();
    assert_eq!(ids, [world.slot("next")]);
    let refused = group::set_offsets(&world.connection, &world.group, &[(partition(0), 0)], TIMEOUT).await;
    assert!(matches!(refused, Err(KafkaError::Call { .. })), "{refused:?}");
    worker.close().await;
    world.offsets_settled().await;

    let after = group::state(&world.connection, &world.group, &topics).await.unwrap().partitions;
    assert_eq!(after[0].lag.committed, Some(8), "what was refused changed nothing");
    group::set_offsets(&world.connection, &world.group, &[(partition(0), 0), (partition(1), 0)], TIMEOUT)
        .await
        .unwrap();
    let mut worker = world.worker("again").await;
    let mut restored = worker.assigned().await;
    restored.sort_by_key(|restored| restored.lease.partition.partition);
    assert_eq!(restored.iter().map(|restored| restored.committed).collect::<Vec<_>>(), [Some(0), Some(0)]);
    assert_eq!(worker.records(8).await.first().map(|record| record.offset), Some(0));
    worker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_beyond_the_end_is_shown_as_what_stops_a_role() {
    let world = World::new(1).await;
    world.write(0, names(0..2)).await;
    let partition = TopicPartition::new(&*world.input, 0);
    group::set_offsets(&world.connection, &world.group, &[(partition, 5)], TIMEOUT).await.unwrap();
    let states = group::state(&world.connection, &world.group, &[&world.input]).await.unwrap().partitions;
    assert_eq!(states[0].standing, Standing::Beyond);
    let missing = TopicPartition::new("no-such-topic", 0);
    let refused = group::set_offsets(&world.connection, &world.group, &[(missing, 0)], TIMEOUT).await;
    assert!(matches!(refused, Err(KafkaError::NoTopic { .. } | KafkaError::Call { .. })), "{refused:?}");
}
