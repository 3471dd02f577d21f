//! Finding out how a transaction ended, on a real Kafka, which the testkit starts and names in `HOOKBUS_TEST_KAFKA`.

use std::collections::BTreeMap;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use schemas::topics::TopicSpec;

use super::aside::Aside;
use super::one_try::Try;
use super::*;
use crate::ffi;
use crate::lease::Epoch;

/// Far beyond anything a healthy cluster takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody waits for the end of such a transaction.
const ENDLESS: Duration = Duration::from_secs(500);

#[expect(clippy::disallowed_methods, reason = "the testkit names its cluster in the environment")]
fn brokers() -> String {
    std::env::var("HOOKBUS_TEST_KAFKA").expect(
        "HOOKBUS_TEST_KAFKA is not set: run the tests with `make test`, or name a Kafka to test against (host:port)",
    )
}

/// A committer that owns what its test says.
struct World {
    committer: Committer,
    ownership: Ownership,
    leases: Vec<Lease>,
    group: String,
}

impl World {
    /// With a topic of two partitions, both ours.
    async fn new() -> Self {
        let connection = Connection::new(&brokers(), &BTreeMap::new()).unwrap();
        let id = Uuid::new_v4().simple().to_string();
        let (topic, group): (Arc<str>, String) = (Arc::from(format!("outcome-{id}")), format!("group-{id}"));
        let config = BTreeMap::default();
        let spec = TopicSpec { name: Arc::clone(&topic), partitions: 2, replication_factor: None, config };
        crate::topics::ensure(&connection, &[spec]).await.unwrap();
        let ownership = Ownership::default();
        let lease = |number| Lease { partition: TopicPartition::new(Arc::clone(&topic), number), epoch: Epoch(1) };
        let leases: Vec<Lease> = [0, 1].map(lease).to_vec();
        let mut options =
            WriterOptions::new(format!("slot-{}", id.chars().take(16).collect::<String>()), group.as_str());
        options.transaction_timeout = ENDLESS;
        let (of, name) = (connection.clone(), group.clone());
        let metadata = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = of.committed(&name, true).create().unwrap();
            // On a fresh broker this makes the topic of all groups' offsets.
            consumer.committed_offsets(TopicPartitionList::new(), PATIENCE).unwrap();
            ffi::group_metadata_of_nobody(&consumer).unwrap()
        });
        ownership.add(&leases, Some(Arc::new(metadata.await.unwrap())));
        let shared = Arc::new(Shared::default());
        let identity = (options.transactional_id.as_str(), options.transaction_timeout);
        let closing = Arc::clone(&shared.closing);
        let restorer = Restorer::new(&connection, &group, identity, ownership.clone(), closing).unwrap();
        let committer = Committer {
            connection,
            options,
            ownership: ownership.clone(),
            shared,
            restorer: Arc::new(restorer),
            session: None,
            losses: 0,
            fencings: Fencings::default(),
            group_size: GroupSize::default(),
        };
        Self { committer, ownership, leases, group }
    }

    fn transaction(&self, committed: i64) -> Transaction {
        let progress = self.leases.iter().map(|lease| Progress {
            lease: lease.clone(),
            committed,
            read_up_to: committed,
            not_done: Vec::new(),
            claim: Claimed::Nothing,
        });
        Transaction { outputs: Vec::new(), progress: progress.collect() }
    }

    /// Partition 1 goes to somebody whose transaction on it is open for longer than anybody waits.
    fn lose_second(&self) -> BaseProducer {
        self.ownership.remove(&self.leases[1..], false);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers()).set("transactional.id", format!("busy-{}", self.group));
        config.set("transaction.timeout.ms", "600000");
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        let mut offsets = TopicPartitionList::new();
        let TopicPartition { topic, partition } = &self.leases[1].partition;
        offsets.add_partition_offset(topic, *partition, Offset::Offset(9)).unwrap();
        let group = self.ownership.snapshot(std::iter::empty()).group.unwrap();
        producer.send_offsets_to_transaction(&offsets, &group.native, PATIENCE).unwrap();
        producer
    }
}

/// Rule W4: a partition that went to a busy owner holds up nobody, and takes nothing from what is known of the others.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_known_from_the_leases_that_live() {
    let mut world = World::new().await;
    let looked_up = tokio::task::spawn_blocking(move || {
        world.committer.commit(world.transaction(3)).unwrap();
        let not_written = world.transaction(4);
        // What was committed last, under its nonce.
        let all: Vec<&Lease> = world.leases.iter().collect();
        let offsets = world.committer.restorer.stable_offsets(&all, PATIENCE).unwrap();
        let nonce = metadata::decode(3, &offsets[0].metadata).unwrap().nonce;
        let busy = world.lose_second();
        let outcome = |nonce| {
            let mut one_try = Try::new(&not_written, &[true, true]);
            one_try.nonce = nonce;
            world.committer.resolve_outcome(&one_try, &mut Aside::default()).unwrap()
        };
        let outcomes = [outcome(nonce), outcome(Uuid::new_v4())];
        // With no lease left there is nothing to be known, nor to be written again.
        world.ownership.remove(&world.leases, false);
        let nothing_left = outcome(nonce);
        busy.abort_transaction(PATIENCE).unwrap();
        (outcomes, nothing_left)
    });
    let looked_up = tokio::time::timeout(PATIENCE, looked_up).await.expect("it waits for somebody else's transaction");
    assert_eq!(looked_up.unwrap(), ([true, false], false));
}

/// Whoever lost its membership has lost its coordinator: a session that was idle meanwhile would wait for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_does_not_outlive_the_membership() {
    let mut world = World::new().await;
    let sessions = tokio::task::spawn_blocking(move || {
        let session = |world: &World| format!("{:?}", world.committer.session.as_ref().unwrap());
        world.committer.commit(world.transaction(3)).unwrap();
        world.committer.commit(world.transaction(4)).unwrap();
        let before = session(&world);
        let group = world.ownership.snapshot(std::iter::empty()).group;
        world.ownership.remove(&world.leases, true);
        world.ownership.add(&world.leases, group);
        world.committer.commit(world.transaction(5)).unwrap();
        let after = session(&world);
        world.committer.commit(world.transaction(6)).unwrap();
        [before, after, session(&world)]
    });
    // A session counts its transactions.
    let expected = ["2", "1", "2"].map(|count| format!("Session {{ attempt: {count}, .. }}"));
    assert_eq!(sessions.await.unwrap(), expected);
}

/// Kafka's own answer to metadata that are longer than it takes ends the role with the setting's name.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_take_shorter_metadata_are_named_and_not_tried_for_ever() {
    let mut world = World::new().await;
    let refused = tokio::task::spawn_blocking(move || {
        world.committer.open().unwrap();
        let group = world.ownership.snapshot(std::iter::empty()).group.unwrap();
        let mut offsets = TopicPartitionList::new();
        let mut element = offsets.add_partition(&world.leases[0].partition.topic, 0);
        element.set_offset(Offset::Offset(1)).unwrap();
        element.set_metadata("x".repeat(metadata::MAX_LENGTH + 1));
        let content =
            crate::session::Content { offsets: Some((&offsets, &group)), records: &[], random: 0, groups: &[] };
        let session = world.committer.session.as_mut().unwrap();
        match session.transact(&content) {
            Err(crate::session::Failure::Aborted(aborted)) => commit::refuse_short_metadata(&aborted.error),
            other => panic!("{:?}", other.map(|_| ())),
        }
    });
    let refused = refused.await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("offset.metadata.max.bytes"), "{refused}");
}
