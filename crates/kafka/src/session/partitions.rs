//! The topics a session writes to, and which partition keyless records of a transaction share.

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::NativeClient;
use rdkafka::producer::{Producer, ThreadedProducer};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

use super::reports::Reports;
use crate::clock::instant;
use crate::error::KafkaError;
use crate::{ffi, log};

/// How long a topic's partitions are remembered for keyless records.
const PARTITIONS_FRESH: Duration = Duration::from_secs(60);
/// How long the question for them may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// The topics that were written to: a few, looked up for each record.
#[derive(Default)]
pub(super) struct Topics(Vec<KnownTopic>);

/// A topic that is written to.
struct KnownTopic {
    name: Arc<str>,
    /// Known from the first record on.
    native: Option<ffi::Topic>,
    /// Partitions that have a leader, and when that was asked.
    writable: Option<(Vec<i32>, Instant)>,
}

// === impl Topics ===

impl Topics {
    /// librdkafka's handle of a topic.
    pub(super) fn native(&mut self, client: &NativeClient, name: &Arc<str>) -> Result<&ffi::Topic, Code> {
        match &mut self.known(name).native {
            Some(topic) => Ok(topic),
            unknown => {
                // A name with a NUL in it cannot exist; it is cut and then refused by the broker as unknown.
                let name = name.split('\0').next().unwrap_or_default();
                let name = CString::new(name).expect("the part before the first NUL has none");
                Ok(unknown.insert(ffi::Topic::of(client, &name)?))
            }
        }
    }

    /// One partition per transaction and topic, so that keyless records touch as few as possible. `None`: not known, let
    /// the partitioner decide.
    pub(super) fn sticky(
        &mut self,
        producer: &ThreadedProducer<Reports>,
        topic: &Arc<str>,
        random: u64,
    ) -> Option<i32> {
        let now = instant();
        let entry = self.known(topic);
        let fresh = entry.writable.as_ref().is_some_and(|(_, asked)| now - *asked < PARTITIONS_FRESH);
        if !fresh {
            match writable(producer, topic) {
                Ok(partitions) => entry.writable = Some((partitions, now)),
                Err(error) => log::call_failed(&error),
            }
        }
        let (partitions, _) = entry.writable.as_ref()?;
        let count = u64::try_from(partitions.len()).ok().filter(|count| *count > 0)?;
        // Mixed with the topic's name, so that topics do not move in step.
        let seed = topic.bytes().fold(random, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        partitions.get(usize::try_from(seed % count).ok()?).copied()
    }

    fn known(&mut self, name: &Arc<str>) -> &mut KnownTopic {
        let is_it = |known: &KnownTopic| Arc::ptr_eq(&known.name, name) || known.name == *name;
        let at = self.0.iter().position(is_it).unwrap_or_else(|| {
            self.0.push(KnownTopic { name: Arc::clone(name), native: None, writable: None });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// Forgets the topics, and with them which partitions have a leader: something could not be written.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// Whether the cluster says that there is no such topic. No answer is no such word.
pub(super) fn is_missing(producer: &ThreadedProducer<Reports>, topic: &str) -> bool {
    let Ok(metadata) = producer.client().fetch_metadata(Some(topic), METADATA_TIMEOUT) else { return false };
    matches!(
        metadata.topics().first().and_then(rdkafka::metadata::MetadataTopic::error),
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID
        )
    )
}

fn writable(producer: &ThreadedProducer<Reports>, topic: &str) -> Result<Vec<i32>, KafkaError> {
    let metadata = producer
        .client()
        .fetch_metadata(Some(topic), METADATA_TIMEOUT)
        .map_err(|error| KafkaError::from_rdkafka(format!("metadata of {topic}"), &error))?;
    let partitions = metadata.topics().first().map(rdkafka::metadata::MetadataTopic::partitions).unwrap_or_default();
    Ok(partitions.iter().filter(|partition| partition.leader() >= 0).map(|partition| partition.id()).collect())
}
