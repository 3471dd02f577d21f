//! Fetchers that are not where they should be, on a real Kafka, which the testkit starts and names in `HOOKBUS_TEST_KAFKA`.

use std::collections::BTreeMap;

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use schemas::record::{Headers, OutRecord, TopicPartition};
use schemas::topics::TopicSpec;
use uuid::Uuid;

use super::*;
use crate::producer::{Producer, ProducerOptions};

/// Far beyond anything a healthy cluster takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A poller that has begun the only partition of its topics, at 0.
struct World {
    poller: Poller,
    events: PollerEvents,
    producer: Producer,
    topics: Vec<Arc<str>>,
    leases: Vec<Lease>,
}

#[expect(clippy::disallowed_methods, reason = "the testkit names its cluster in the environment")]
fn connection() -> Connection {
    let brokers = std::env::var("HOOKBUS_TEST_KAFKA").expect(
        "HOOKBUS_TEST_KAFKA is not set: run the tests with `make test`, or name a Kafka to test against (host:port)",
    );
    Connection::new(&brokers, &BTreeMap::new()).unwrap()
}

// === impl World ===

impl World {
    async fn new(topics: usize) -> Self {
        let (connection, id) = (connection(), Uuid::new_v4().simple().to_string());
        let topics: Vec<Arc<str>> = (0..topics).map(|number| Arc::from(format!("poller-{id}-{number}"))).collect();
        let spec = |name: &Arc<str>| TopicSpec {
            name: Arc::clone(name),
            partitions: 1,
            replication_factor: None,
            config: BTreeMap::default(),
        };
        crate::topics::ensure(&connection, &topics.iter().map(spec).collect::<Vec<_>>()).await.unwrap();
        let names = topics.iter().map(ToString::to_string).collect();
        let (poller, events) =
            Poller::start(&connection, PollerOptions::new(format!("group-{id}"), names, "test")).unwrap();
        let producer = Producer::start(&connection, ProducerOptions::new("test")).unwrap();
        let mut world = Self { poller, events, producer, topics, leases: Vec::new() };
        while world.leases.len() < world.topics.len() {
            let PollerEvent::Assigned { leases } = world.next().await else { panic!("an assignment comes first") };
            for lease in leases {
                let (poller, lease_) = (world.poller.clone(), lease.clone());
                tokio::task::spawn_blocking(move || poller.begin(&lease_, 0)).await.unwrap().unwrap();
                world.leases.push(lease);
            }
        }
        world.leases.sort_by(|a, b| a.partition.topic.cmp(&b.partition.topic));
        world
    }

    async fn next(&mut self) -> PollerEvent {
        tokio::time::timeout(PATIENCE, self.events.next()).await.expect("an event comes").expect("the poller lives")
    }

    async fn write(&self, topic: usize, count: usize) {
        for _ in 0..count {
            let record = OutRecord {
                topic: Arc::clone(&self.topics[topic]),
                partition: Some(0),
                key: None,
                value: Some("x".into()),
                headers: Headers::default(),
            };
            self.producer.send(&record).unwrap().await.unwrap();
        }
    }

    /// The offsets of this many records, all of this topic.
    async fn offsets(&mut self, topic: usize, count: usize) -> Vec<i64> {
        let mut offsets = Vec::new();
        while offsets.len() < count {
            let event = self.next().await;
            let PollerEvent::Records { lease, records } = event else { panic!("only records are expected: {event:?}") };
            assert_eq!(lease, self.leases[topic]);
            offsets.extend(records.iter().map(|record| record.offset));
        }
        offsets
    }

    fn consumer(&self) -> Arc<BaseConsumer<Callbacks>> {
        self.poller.consumer().unwrap()
    }

    /// Moves a fetcher behind the state's back.
    fn seek(&self, topic: usize, offset: i64) {
        let TopicPartition { topic, partition } = &self.leases[topic].partition;
        self.consumer().seek(topic, *partition, Offset::Offset(offset), PATIENCE).unwrap();
    }

    async fn close(mut self) {
        self.poller.close();
        while self.events.next().await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_that_gave_up_elsewhere_comes_back_where_reading_is_due() {
    let mut world = World::new(2).await;
    world.write(0, 5).await;
    assert_eq!(world.offsets(0, 5).await, [0, 1, 2, 3, 4]);
    world.seek(0, 10_000);
    world.write(0, 5).await;
    assert_eq!(world.offsets(0, 5).await, [5, 6, 7, 8, 9]);
    // Twice, and its neighbour is read on.
    world.seek(0, 20_000);
    world.write(1, 2).await;
    assert_eq!(world.offsets(1, 2).await, [0, 1]);
    world.write(0, 1).await;
    assert_eq!(world.offsets(0, 1).await, [10]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_that_reads_again_repeats_nothing() {
    let mut world = World::new(1).await;
    world.write(0, 5).await;
    assert_eq!(world.offsets(0, 5).await, [0, 1, 2, 3, 4]);
    world.seek(0, 1);
    world.write(0, 1).await;
    assert_eq!(world.offsets(0, 1).await, [5]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_fetcher_goes_on_where_the_old_one_stood_and_tells_the_end_again() {
    let mut world = World::new(1).await;
    world.write(0, 3).await;
    assert_eq!(world.offsets(0, 3).await, [0, 1, 2]);
    let lease = world.leases[0].clone();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..2 {
        world.poller.0.ask(Repair::Revive { lease: lease.clone(), offset: 0, unassigned: false });
        let until_end = async {
            while !world.poller.lag().iter().any(|lag| lag.at_end && lag.position == 3) {
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, until_end).await.expect("the end is told again");
    }
    world.write(0, 1).await;
    assert_eq!(world.offsets(0, 1).await, [3]);
    assert!(world.poller.ownership().is_live(&lease));
    world.close().await;
}
