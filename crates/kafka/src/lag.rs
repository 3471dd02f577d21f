//! How far a group is behind, from the committed offsets: for operators. The poller's own [`crate::Poller::lag`] costs no
//! request.
//!
//! Offsets are no records: transaction markers, aborted records and holes count too, so an idle group would look behind for
//! ever. Where few offsets follow the committed one, what stands there is read and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;

use crate::clock::instant;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi::{self, CommittedOffset, Polled};
use crate::log::{self, Named};
use crate::offsets::{self, LogRange};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// So many offsets are counted by reading them; more are an answer of their own.
const COUNTED: i64 = 1_000;
/// How long reading them may take, for all partitions together.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);
/// One wait for an event.
const POLL: Duration = Duration::from_millis(100);
/// How long the broker may hold a fetch at the end of a log.
const FETCH_WAIT_MS: u32 = 20;

/// Lag of one partition of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// Which partition.
    pub partition: TopicPartition,
    /// Committed offset; `None`: never committed.
    pub committed: Option<i64>,
    /// Commit metadata, as text.
    pub metadata: String,
    /// First available offset.
    pub log_start: i64,
    /// High watermark.
    pub log_end: i64,
    /// Records behind the committed offset, if they were counted: few offsets follow it. Behind a transaction that was open just
    /// then, where nobody can read, offsets count.
    pub records: Option<i64>,
}

/// Of what Kafka does not tell just now, though it tells of others.
#[derive(Clone, Debug)]
pub struct UntoldLag {
    /// Its topic.
    pub topic: Arc<str>,
    /// Which partition of it; `None`: all of them, the topic may not be described.
    pub partition: Option<i32>,
    /// Why not.
    pub error: KafkaError,
}

/// What is told of a group.
#[derive(Debug)]
pub(crate) struct GroupLag {
    /// In the order of topics and partitions.
    pub(crate) told: Vec<FoundLag>,
    pub(crate) untold: Vec<UntoldLag>,
}

/// A partition's lag, and what tells whether its log was cut.
#[derive(Debug)]
pub(crate) struct FoundLag {
    pub(crate) lag: PartitionLag,
    /// Leader epoch of the last record that was read.
    pub(crate) read_epoch: Option<i32>,
    /// Epoch of the last leader that wrote to the log.
    pub(crate) last_epoch: Option<i32>,
}

// === impl FoundLag ===

impl FoundLag {
    fn new(partition: TopicPartition, committed: CommittedOffset, range: LogRange) -> Self {
        let CommittedOffset { offset, leader_epoch: read_epoch, metadata, .. } = committed;
        let LogRange { start, end, leader_epoch: last_epoch } = range;
        let (committed, log_start, log_end, records) = (offset, start, end, None);
        let lag = PartitionLag { partition, committed, metadata, log_start, log_end, records };
        Self { lag, read_epoch, last_epoch }
    }
}

// === impl PartitionLag ===

impl PartitionLag {
    /// Offsets between the committed one (or the log's start) and the end; transaction markers count.
    #[must_use]
    pub fn offsets(&self) -> i64 {
        (self.log_end - self.begin()).max(0)
    }

    /// Records that the group has not committed: exact if they were counted and no transaction was open, otherwise at most so many.
    #[must_use]
    pub fn records_behind(&self) -> i64 {
        self.records.unwrap_or_else(|| self.offsets())
    }

    /// The first offset that is not committed and not deleted.
    #[must_use]
    pub fn begin(&self) -> i64 {
        self.committed.unwrap_or(self.log_start).max(self.log_start)
    }
}

/// The lag of every partition of these topics, in the order of topics and partitions.
///
/// Topics that do not exist are left out. Open transactions do not hold it: the last offsets that are surely committed are shown.
///
/// # Errors
/// The cluster did not answer, or does not tell of one of them.
pub async fn of_group(connection: &Connection, group: &str, topics: &[&str]) -> Result<Vec<PartitionLag>, KafkaError> {
    let (connection, group) = (connection.clone(), group.to_owned());
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let read = move || read(&connection, &group, &topics);
    let GroupLag { told, untold } = tokio::task::spawn_blocking(read).await.map_err(|_gone| KafkaError::Closed)??;
    match untold.into_iter().next() {
        Some(UntoldLag { error, .. }) => Err(error),
        None => Ok(told.into_iter().map(|found| found.lag).collect()),
    }
}

/// Whether the committed offsets of a group may be asked for, as its members ask before they begin.
pub(crate) async fn committed_of(connection: &Connection, group: &str, topic: &str) -> Result<(), KafkaError> {
    let (connection, group, topic) = (connection.clone(), group.to_owned(), topic.to_owned());
    let ask = move || {
        let failed = |error| KafkaError::from_rdkafka(format!("committed offsets of {group}"), &error);
        let client = BaseConsumer::from_config_and_context(&connection.committed(&group, false), Named::new("lag"))
            .map_err(|error| KafkaError::Client { purpose: "lag", reason: error.to_string() })?;
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, 0).set_offset(Offset::Invalid).map_err(failed)?;
        client.committed_offsets(list, TIMEOUT).map(drop).map_err(failed)
    };
    tokio::task::spawn_blocking(ask).await.map_err(|_gone| KafkaError::Closed)?
}

/// What is told of each partition, blocking: one hides no other.
pub(crate) fn read(connection: &Connection, group: &str, topics: &[String]) -> Result<GroupLag, KafkaError> {
    let client = BaseConsumer::from_config_and_context(&connection.committed(group, false), Named::new("lag"))
        .map_err(|error| KafkaError::Client { purpose: "lag", reason: error.to_string() })?;
    let (mut partitions, mut untold) = (Vec::new(), Vec::new());
    for topic in topics {
        match offsets::partition_count(&client, topic, TIMEOUT) {
            Ok(count) => partitions
                .extend((0..count.unwrap_or(0)).map(|partition| TopicPartition::new(topic.as_str(), partition))),
            Err(error) if error.is_denied() => {
                untold.push(UntoldLag { topic: Arc::from(topic.as_str()), partition: None, error });
            }
            Err(error) => return Err(error),
        }
    }
    let mut told = Vec::with_capacity(partitions.len());
    if partitions.is_empty() {
        return Ok(GroupLag { told, untold });
    }
    let failed = |error| KafkaError::from_rdkafka(format!("committed offsets of {group}"), &error);
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in &partitions {
        list.add_partition(&partition.topic, partition.partition).set_offset(Offset::Invalid).map_err(failed)?;
    }
    let list = client.committed_offsets(list, TIMEOUT).map_err(failed)?;
    let mut ranges = offsets::ranges(&client, &partitions)?;
    for (partition, committed) in ffi::committed_each(&list) {
        let committed =
            committed.map_err(|code| KafkaError::call(format!("committed offset of {group} in {partition}"), code));
        let range = ranges.remove(&partition).unwrap_or(Err(KafkaError::Closed));
        match committed.and_then(|committed| Ok((committed, range?))) {
            Ok((committed, range)) => told.push(FoundLag::new(partition, committed, range)),
            Err(error) => {
                let TopicPartition { topic, partition } = partition;
                untold.push(UntoldLag { topic, partition: Some(partition), error });
            }
        }
    }
    count(connection, &mut told)?;
    Ok(GroupLag { told, untold })
}

/// Counts the records behind the committed offsets where few offsets follow. What cannot be counted in time stays unknown.
fn count(connection: &Connection, found: &mut [FoundLag]) -> Result<(), KafkaError> {
    let mut open = HashMap::new();
    let mut list = TopicPartitionList::new();
    for (index, FoundLag { lag, .. }) in found.iter_mut().enumerate() {
        match lag.offsets() {
            0 => lag.records = Some(0),
            1..=COUNTED => {
                let TopicPartition { topic, partition } = &lag.partition;
                list.add_partition_offset(topic, *partition, Offset::Offset(lag.begin()))
                    .map_err(|error| KafkaError::from_rdkafka(format!("reading {}", lag.partition), &error))?;
                open.insert(lag.partition.clone(), (index, 0));
            }
            _ => {}
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let client = BaseConsumer::from_config_and_context(&connection.tail(true, true, FETCH_WAIT_MS), Named::new("lag"))
        .map_err(|error| KafkaError::Client { purpose: "lag", reason: error.to_string() })?;
    let queue = ffi::MessageQueue::of(client.client().native_client()).ok_or(KafkaError::Closed)?;
    client.assign(&list).map_err(|error| KafkaError::from_rdkafka("reading what is not committed", &error))?;
    let deadline = instant() + COUNT_TIMEOUT;
    while !open.is_empty() && instant() < deadline {
        let Some(event) = queue.poll(POLL) else { continue };
        match event.read() {
            Polled::Message(message) => {
                if let Some((_, records)) = open.get_mut(&message.partition()) {
                    *records += 1;
                }
            }
            Polled::End(partition, end) => {
                if let Some((index, records)) = open.remove(&partition) {
                    // What an open transaction holds waits too.
                    let lag = &mut found[index].lag;
                    lag.records = Some(records + (lag.log_end - end).max(0));
                }
            }
            Polled::Failed { code, partition: Some((partition, _)), .. } => {
                // Deleted or denied meanwhile: the offsets are shown.
                log::call_failed(&KafkaError::call(format!("counting records of {partition}"), code));
                open.remove(&partition);
            }
            Polled::Failed { partition: None, .. } | Polled::Rebalance(..) | Polled::Log(..) | Polled::Other => {}
        }
    }
    drop(queue);
    Ok(())
}
