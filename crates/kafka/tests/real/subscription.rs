//! A list of topics that changes while it is read, positions of sources from one owner to the next, and topics that fail alone.

use std::sync::Arc;

use kafka::{
    Claimed, Handled, Lease, PollerEvent, PositionClaim, Progress, Transaction, Window, Writer, WriterOptions,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use uuid::Uuid;

use crate::support::{Worker, World, brokers, eventually, gone, names, progress, soon, spec, text, transaction};

impl World {
    /// Another topic beside the input, with one partition and this group's offset 0.
    async fn another(&self, name: &str) -> Arc<str> {
        let topic: Arc<str> = Arc::from(format!("{name}-{}", self.input));
        let plan = kafka::topics::ensure(&self.connection, &[spec(&topic, 1, &[])]).await.unwrap();
        assert!(plan.is_settled(), "{plan}");
        topic
    }
}

/// Deletes a topic and waits until the cluster says that it is gone.
async fn delete(world: &World, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let offsets = kafka::Offsets::start(&world.connection).unwrap();
    soon("the end of a topic", gone(&offsets, topic)).await;
}

impl Worker {
    /// Takes over and begins what is assigned, at its first record, until this topic is among it.
    async fn begins(&mut self, topic: &str) -> Lease {
        loop {
            match soon("an assignment", self.events.next()).await.unwrap() {
                PollerEvent::Assigned { leases } => {
                    for lease in &leases {
                        self.begin(lease, 0).await;
                    }
                    if let Some(lease) = leases.into_iter().find(|lease| *lease.partition.topic == *topic) {
                        return lease;
                    }
                }
                PollerEvent::Revoked { done, .. } => done.done(),
                PollerEvent::Records { .. } => {}
                other => panic!("expected an assignment, got {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_follows_its_list_of_topics_and_reads_on_what_stays() {
    let world = World::new(1).await;
    let other = world.another("other").await;
    let mut worker = world.worker_with("follows", |options| options.topics = Vec::new()).await;
    worker.poller.subscribe(vec![world.input.to_string()]);
    let stays = worker.begins(&world.input).await;
    world.write(0, names(0..3)).await;
    let first = worker.records(3).await;
    assert_eq!(text(&first[2]), "v0002");

    worker.poller.subscribe(vec![world.input.to_string(), other.to_string()]);
    let comes = worker.begins(&other).await;
    assert_ne!(comes.partition, stays.partition);
    assert!(worker.poller.ownership().is_live(&stays), "what stays is not given away");

    worker.poller.subscribe(vec![world.input.to_string()]);
    let gone = soon("a revoke", async {
        loop {
            match worker.events.next().await.unwrap() {
                PollerEvent::Revoked { leases, done, .. } => {
                    done.done();
                    break leases;
                }
                PollerEvent::Assigned { leases } => assert!(leases.is_empty()),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(gone, [comes]);
    world.write(0, names(3..5)).await;
    let more = worker.records(2).await;
    assert_eq!((text(&more[1]).as_str(), worker.poller.ownership().is_live(&stays)), ("v0004", true));

    // No topic at all, and one again.
    worker.poller.subscribe(Vec::new());
    soon("the last revoke", async {
        loop {
            if let PollerEvent::Revoked { done, .. } = worker.events.next().await.unwrap() {
                done.done();
                break;
            }
        }
    })
    .await;
    eventually("the last lease's end", || !worker.poller.ownership().is_live(&stays)).await;
    worker.poller.subscribe(vec![other.to_string()]);
    worker.begins(&other).await;
    worker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_found_by_every_owner_until_one_says_something_else() {
    let world = World::new(1).await;
    world.write(0, names(0..8)).await;
    let claim = PositionClaim {
        id: Uuid::from_u128(5),
        source: Uuid::from_u128(6),
        handled: Handled::default().with(0, 3).with(5, 7),
    };
    let owners = [
        (None, Some(Claimed::Position(claim.clone()))),
        (Some(claim.clone()), None),
        (Some(claim), Some(Claimed::Nothing)),
        (None, None),
    ];
    for (index, (found, says)) in owners.into_iter().enumerate() {
        let mut worker = world.worker(&format!("owner{index}")).await;
        let restored = worker.assigned().await.remove(0);
        assert_eq!(restored.position, found, "owner {index}");
        assert!(!restored.topic_id.is_nil());
        if let Some(claim) = says {
            let window = Window::restore(3, 3, Vec::new());
            let progress = Progress { claim, ..progress(&restored.lease, &window) };
            let given = Transaction { outputs: Vec::new(), progress: vec![progress] };
            assert!(worker.writer.commit(given).await.unwrap().dropped.is_empty());
        }
        worker.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_starts_over_is_another_one_and_its_predecessor_writes_nothing_more() {
    let world = World::new(1).await;
    world.write(0, names(0..4)).await;
    let mut worker = world.worker("again").await;
    let old = worker.assigned().await.remove(0).lease;
    worker.records(4).await;
    worker.poller.restart(vec![old.clone()]);
    let leases = soon("a new lease", async {
        loop {
            match worker.events.next().await.unwrap() {
                PollerEvent::Revoked { leases, lost, .. } => assert_eq!((leases, lost), (vec![old.clone()], true)),
                PollerEvent::Assigned { leases } => break leases,
                other => panic!("expected another lease, got {other:?}"),
            }
        }
    })
    .await;
    let window = Window::restore(4, 4, Vec::new());
    let late = transaction(&world, &old, &window, vec!["late".to_owned()]);
    assert_eq!(worker.writer.commit(late).await.unwrap().dropped, [old]);
    let restored = worker.writer.take_over(leases).await.unwrap().remove(0);
    assert_eq!(restored.committed, Some(0));
    worker.begin(&restored.lease, 2).await;
    assert_eq!(worker.records(2).await.iter().map(text).collect::<Vec<_>>(), names(2..4));
    worker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_without_a_topic_that_was_deleted() {
    let world = World::new(1).await;
    let gone = world.another("gone").await;
    let topics = vec![world.input.to_string(), gone.to_string()];
    let mut worker = world
        .worker_with("alone", |options| {
            options.topics = topics;
            options.fails_alone = true;
        })
        .await;
    let options = WriterOptions { fails_alone: true, ..WriterOptions::new(world.slot("alone2"), world.group.as_str()) };
    let writer = Writer::start(&world.connection, options, worker.poller.ownership()).await.unwrap();
    let mut leases = worker.leases().await;
    while leases.len() < 2 {
        leases.extend(worker.leases().await);
    }
    assert_eq!(writer.take_over(leases.clone()).await.unwrap().len(), 2);
    delete(&world, &gone).await;
    let at = |topic: &str| leases.iter().find(|lease| *lease.partition.topic == *topic).unwrap().clone();
    let window = Window::restore(1, 1, Vec::new());
    let mut given = transaction(&world, &at(&world.input), &window, vec!["stays".to_owned()]);
    given.progress.push(progress(&at(&gone), &window));
    given.outputs.push(kafka::Output { lease: 1, record: crate::support::record(&world.output, 0, "goes") });
    let committed = soon("a commit", writer.commit(given)).await.unwrap();
    assert_eq!(committed.dropped, [at(&gone)]);
    assert_eq!(world.outputs().await, ["stays"]);
    let found = writer.take_over(vec![at(&world.input), at(&gone)]).await.unwrap();
    assert_eq!(found.iter().map(|found| &found.lease).collect::<Vec<_>>(), [&at(&world.input)], "the others begin");
    assert_eq!(writer.left_out_topics().keys().collect::<Vec<_>>(), [&gone]);
    writer.close().await;
    worker.close().await;
}
