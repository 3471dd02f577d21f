//! Transactions of others: of a producer that wrote what is read here, of one that died, of one that takes long.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::support::{World, brokers};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A transactional producer that is not ours.
pub(crate) fn foreign_producer(transactional_id: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("transactional.id", transactional_id);
    // Longer than any patience: only fencing ends its transaction.
    config.set("transaction.timeout.ms", "600000");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer
}

/// Leaves an open transaction of this id that holds the offsets of all partitions of the input.
pub(crate) async fn pending(world: &World, transactional_id: String, partitions: i32) -> BaseProducer {
    let (group, topic) = (world.group.clone(), world.input.to_string());
    let open = tokio::task::spawn_blocking(move || {
        let producer = foreign_producer(&transactional_id);
        let group: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers()).set("group.id", group).create().unwrap();
        producer.begin_transaction().unwrap();
        let mut offsets = TopicPartitionList::new();
        for partition in 0..partitions {
            offsets.add_partition_offset(&topic, partition, Offset::Offset(7)).unwrap();
        }
        let metadata = group.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&offsets, &metadata, TIMEOUT).unwrap();
        producer
    });
    open.await.unwrap()
}

/// Writes transactions of so many records each to the first partition of the input; each commits or aborts as told, and is
/// followed by a marker, which is there on return. The value of a record is its offset, counted from the first.
pub(crate) async fn write_in_transactions(world: &World, commits: &[bool], records: usize) {
    let (id, topic, commits) = (world.slot("writer"), world.input.to_string(), commits.to_vec());
    let written = tokio::task::spawn_blocking(move || {
        let producer = foreign_producer(&id);
        for (number, commits) in commits.into_iter().enumerate() {
            producer.begin_transaction().unwrap();
            for record in 0..records {
                let value = (number * (records + 1) + record).to_string();
                let record = BaseRecord::<(), str>::to(&topic).partition(0).payload(&value);
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            producer.flush(TIMEOUT).unwrap();
            if commits {
                producer.commit_transaction(TIMEOUT).unwrap();
            } else {
                producer.abort_transaction(TIMEOUT).unwrap();
            }
        }
    });
    written.await.unwrap();
    world.nothing_open(&world.input).await;
}
