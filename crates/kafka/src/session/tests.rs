//! The order inside one transaction, on a real Kafka, which the testkit starts and names in `HOOKBUS_TEST_KAFKA`.

use std::collections::BTreeMap;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemas::record::{Headers, TopicPartition};
use schemas::topics::TopicSpec;
use uuid::Uuid;

use super::*;
use crate::offsets::Offsets;

/// Far beyond anything a healthy cluster takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "the testkit names its cluster in the environment")]
fn connection() -> Connection {
    let brokers = std::env::var("HOOKBUS_TEST_KAFKA").expect(
        "HOOKBUS_TEST_KAFKA is not set: run the tests with `make test`, or name a Kafka to test against (host:port)",
    );
    Connection::new(&brokers, &BTreeMap::new()).unwrap()
}

/// A process that dies in the middle leaves an open transaction, and by its offsets the next owner finds whom to fence
/// (rule W5). So what is queued before the offsets are sent must stay in the client until the flush.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_batch_that_is_queued_stays_in_the_client_until_the_flush() {
    let (connection, id) = (connection(), Uuid::new_v4().simple().to_string());
    let topic: Arc<str> = Arc::from(format!("session-{id}"));
    let spec =
        TopicSpec { name: Arc::clone(&topic), partitions: 2, replication_factor: None, config: BTreeMap::default() };
    crate::topics::ensure(&connection, &[spec]).await.unwrap();
    let ends = Offsets::start(&connection).unwrap();
    let partitions = [0, 1].map(|number| TopicPartition::new(Arc::clone(&topic), number));
    let end = |number: usize| ends.end(&partitions[number]);

    let (of, timeout) = (connection.clone(), Duration::from_secs(60));
    let opened = tokio::task::spawn_blocking(move || {
        let session = Session::open(&of, &id, timeout, 1_000_000).unwrap();
        session.init(PATIENCE).unwrap();
        let consumer: BaseConsumer = of.committed(&id, true).create().unwrap();
        // On a fresh broker this makes the topic of all groups' offsets: librdkafka waits minutes for its coordinator else.
        consumer.committed_offsets(TopicPartitionList::new(), PATIENCE).unwrap();
        (session, ffi::group_metadata_of_nobody(&consumer).unwrap())
    });
    let (mut session, group) = opened.await.unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(7)).unwrap();
    let record = |partition, bytes| OutRecord {
        topic: Arc::clone(&topic),
        partition: Some(partition),
        key: None,
        value: Some(vec![b'x'; bytes].into()),
        headers: Headers::default(),
    };
    let (small, large) = (record(0, 100), record(1, 600_000));
    let records = [&small, &large, &large];
    let all = 0..records.len();
    let content =
        Content { offsets: Some((&offsets, &group)), records: &records, random: 0, groups: std::slice::from_ref(&all) };
    assert!(!content.is_small());

    session.producer.begin_transaction().unwrap();
    session.queue(&content, content.groups.first()).unwrap();
    // What fills a batch is sent at once. When it is there, both partitions have joined and the client has looked at both.
    let filled = async { while end(1).await.unwrap() == 0 {} };
    tokio::time::timeout(PATIENCE, filled).await.unwrap();
    assert_eq!(end(0).await.unwrap(), 0, "it waits for the flush");
    session.send_offsets(&content).unwrap();
    session.wait_reports(&content, 0).unwrap();
    assert_eq!(end(0).await.unwrap(), 1);
    session.producer.commit_transaction(PATIENCE).unwrap();

    let is_small = |count: usize| {
        let records = vec![&small; count];
        let all = 0..count;
        Content { offsets: None, records: &records, random: 0, groups: std::slice::from_ref(&all) }.is_small()
    };
    assert!(is_small(1) && !is_small(SMALL.1 / 100) && !is_small(SMALL.0 + 1), "it never fills a batch");
}
