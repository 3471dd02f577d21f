//! How far a group is behind, from the committed offsets: for operators. The poller's own [`crate::Poller::lag`] costs no
//! request.

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;

use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi;
use crate::log::Named;
use crate::offsets;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

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
}

// === impl PartitionLag ===

impl PartitionLag {
    /// Offsets between the committed one (or the log's start) and the end; transaction markers count.
    #[must_use]
    pub fn offsets(&self) -> i64 {
        (self.log_end - self.committed.unwrap_or(self.log_start).max(self.log_start)).max(0)
    }
}

/// The lag of every partition of these topics, in the order of topics and partitions.
///
/// Topics that do not exist are left out. Open transactions do not hold it: the last offsets that are surely committed are shown.
///
/// # Errors
/// The cluster did not answer.
pub async fn of_group(connection: &Connection, group: &str, topics: &[&str]) -> Result<Vec<PartitionLag>, KafkaError> {
    let (connection, group) = (connection.clone(), group.to_owned());
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let read = move || read(&connection, &group, &topics);
    tokio::task::spawn_blocking(read).await.map_err(|_gone| KafkaError::Closed)?
}

fn read(connection: &Connection, group: &str, topics: &[String]) -> Result<Vec<PartitionLag>, KafkaError> {
    let client = BaseConsumer::from_config_and_context(&connection.committed(group, false), Named::new("lag"))
        .map_err(|error| KafkaError::Client { purpose: "lag", reason: error.to_string() })?;
    let mut partitions = Vec::new();
    for topic in topics {
        let count = offsets::partition_count(&client, topic, TIMEOUT)?.unwrap_or(0);
        partitions.extend((0..count).map(|partition| TopicPartition::new(topic.as_str(), partition)));
    }
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error| KafkaError::from_rdkafka(format!("committed offsets of {group}"), &error);
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in &partitions {
        list.add_partition(&partition.topic, partition.partition).set_offset(Offset::Invalid).map_err(failed)?;
    }
    let list = client.committed_offsets(list, TIMEOUT).map_err(failed)?;
    let committed =
        ffi::committed(&list).map_err(|code| KafkaError::call(format!("committed offsets of {group}"), code))?;
    let ends = offsets::ends(&client, &partitions)?;
    let lags = partitions.into_iter().filter_map(|partition| {
        let (log_start, log_end) = *ends.get(&partition)?;
        let found = crate::takeover::find(&committed, &partition);
        let metadata = found.map(|found| found.metadata.clone()).unwrap_or_default();
        Some(PartitionLag { committed: found.and_then(|found| found.offset), metadata, partition, log_start, log_end })
    });
    Ok(lags.collect())
}
