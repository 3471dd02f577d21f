//! The topics a session writes to, and which partition keyless records of a transaction share.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::NativeClient;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

use super::Content;
use super::reports::Reports;
use crate::clock::instant;
use crate::error::{ErrorCode, KafkaError};
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
    pub(super) fn sticky(&mut self, producer: &BaseProducer<Reports>, topic: &Arc<str>, random: u64) -> Option<i32> {
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
pub(super) fn is_missing(producer: &BaseProducer<Reports>, topic: &str) -> bool {
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

/// Which topics of a transaction may not be read or written, in words; empty if the cluster does not tell.
pub(super) fn denied(producer: &BaseProducer<Reports>, content: &Content<'_>) -> String {
    let written: BTreeSet<&str> = content.records.iter().map(|record| &*record.topic).collect();
    let offsets = content.offsets.map(|(offsets, _)| offsets.elements()).unwrap_or_default();
    let read: BTreeSet<&str> =
        offsets.iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::topic).collect();
    let all: Vec<&str> = written.union(&read).copied().collect();
    let told = match ffi::permissions(producer.client().native_client(), &all, METADATA_TIMEOUT) {
        Ok(told) => told,
        Err(code) => {
            log::call_failed(&KafkaError::call("asking for the permissions of topics", code));
            return String::new();
        }
    };
    denied_in_words(&told, &written, &read)
}

/// What is denied of topics that are written to and read, by what was told of each.
fn denied_in_words(told: &ffi::Described<ffi::Permissions>, written: &BTreeSet<&str>, read: &BTreeSet<&str>) -> String {
    let is_denied = |topic: &str, of: fn(&ffi::Permissions) -> bool| match told.get(topic) {
        Some(Ok(permissions)) => !of(permissions),
        Some(Err(code)) => ErrorCode(*code).is_denied(),
        None => false,
    };
    let named = |topics: &BTreeSet<&str>, doing: &str, of: fn(&ffi::Permissions) -> bool| {
        let denied: Vec<&str> = topics.iter().copied().filter(|topic| is_denied(topic, of)).collect();
        (!denied.is_empty()).then(|| format!("may not {doing} {}", denied.join(", ")))
    };
    let sides = [named(written, "write to", |may| may.write), named(read, "read", |may| may.read)];
    sides.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// Adds to an error that names no topic which ones the transaction writes to: it is about one of them.
pub(super) fn writing_to(content: &Content<'_>, error: KafkaError) -> KafkaError {
    let KafkaError::Call { call, code, reason } = error else { return error };
    let mut topics: Vec<&str> = content.records.iter().map(|record| &*record.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    KafkaError::Call { call: format!("{call} of a transaction that writes to {}", topics.join(", ")), code, reason }
}

/// Adds to an error what is denied, in words; where nobody told, the topics it may be.
pub(super) fn with_denied(content: &Content<'_>, denied: &str, error: KafkaError) -> KafkaError {
    if denied.is_empty() {
        return writing_to(content, error);
    }
    let KafkaError::Call { call, code, reason } = error else { return error };
    KafkaError::Call { call: format!("{call} ({denied})"), code, reason }
}

fn writable(producer: &BaseProducer<Reports>, topic: &str) -> Result<Vec<i32>, KafkaError> {
    let metadata = producer
        .client()
        .fetch_metadata(Some(topic), METADATA_TIMEOUT)
        .map_err(|error| KafkaError::from_rdkafka(format!("metadata of {topic}"), &error))?;
    let partitions = metadata.topics().first().map(rdkafka::metadata::MetadataTopic::partitions).unwrap_or_default();
    Ok(partitions.iter().filter(|partition| partition.leader() >= 0).map(|partition| partition.id()).collect())
}

#[cfg(test)]
mod tests {
    use schemas::record::{Headers, OutRecord};

    use super::*;

    #[test]
    fn a_denied_transaction_names_what_is_denied_or_all_that_it_writes_to() {
        let record = |topic: &str| OutRecord {
            topic: Arc::from(topic),
            partition: None,
            key: None,
            value: None,
            headers: Headers::default(),
        };
        let (one, other) = (record("deliveries"), record("activity"));
        let content = Content { offsets: None, records: &[&one, &other, &one], random: 0, groups: &[] };
        let error = || KafkaError::call("delivery", Code::TopicAuthorizationFailed);
        let text = |denied: &str| with_denied(&content, denied, error()).to_string();
        assert!(text("may not write to activity").starts_with("delivery (may not write to activity)"), "{}", text("x"));
        assert!(text("").starts_with("delivery of a transaction that writes to activity, deliveries"), "{}", text(""));
        assert!(with_denied(&content, "", error()).is_denied());
    }

    #[test]
    fn what_is_denied_is_named_by_side_and_nothing_else() {
        let may = |read, write| Ok(ffi::Permissions { read, write });
        let told = ffi::Described::from([
            ("all".to_owned(), may(true, true)),
            ("read-only".to_owned(), may(true, false)),
            ("write-only".to_owned(), may(false, true)),
            ("hidden".to_owned(), Err(Code::TopicAuthorizationFailed)),
            ("unknown".to_owned(), Err(Code::LeaderNotAvailable)),
        ]);
        let words = |written: &[&str], read: &[&str]| {
            denied_in_words(&told, &written.iter().copied().collect(), &read.iter().copied().collect())
        };
        assert_eq!(words(&["all", "write-only", "unknown", "missing"], &["all", "read-only", "unknown"]), "");
        assert_eq!(words(&["all", "read-only", "hidden"], &["all"]), "may not write to hidden, read-only");
        assert_eq!(words(&["read-only"], &["write-only"]), "may not write to read-only and may not read write-only");
    }
}
