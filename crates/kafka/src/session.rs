//! One transactional producer and one transaction at a time on it. Blocking: lives on a writer's own thread.
//!
//! ```text
//! open -> init -> [ begin -> offsets first -> records -> own delivery reports -> commit ]*
//!                      |                                                           |
//!                      +-- abortable: abort, the session stays usable <------------+
//!                      +-- unknown (timeout, fenced, fatal): the session is over <-+
//! ```

mod reports;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError as Native;
use rdkafka::producer::{Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::OutRecord;

use crate::clock::instant;
use crate::connection::Connection;
use crate::error::{ErrorCode, KafkaError};
use crate::ffi::{self, GroupMetadata};
use crate::log;

use self::reports::Reports;

/// How long a topic's partitions are remembered for keyless records.
const PARTITIONS_FRESH: Duration = Duration::from_secs(60);
/// How long the question for them may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a full queue may take to drain before the attempt is given up.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Records and bytes of a batch that stays in the client until it is flushed: well below what [`Connection::transactional`]
/// lets a batch of one partition have.
const SMALL: (usize, usize) = (5_000, 128 * 1024);

/// A transactional producer that was initialised.
pub(crate) struct Session {
    /// Before the producer: what they hold of it is let go first.
    topics: HashMap<Arc<str>, KnownTopic>,
    producer: ThreadedProducer<Reports>,
    timeout: Duration,
    attempt: u32,
}

/// Why a transaction did not commit.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was aborted, surely. The session is usable.
    Aborted {
        error: KafkaError,
        /// The record that Kafka can never take, as an index into the records given.
        unwritable: Option<usize>,
        /// Several records of one batch were refused together: which one is at fault shows when each is sent alone.
        ambiguous: bool,
    },
    /// Nobody knows; the session is over. The next session's `init` settles it.
    Unknown {
        error: KafkaError,
        fenced: bool,
        /// The commit had been asked for: it may have happened. Otherwise it surely has not.
        committing: bool,
    },
}

/// What a committed transaction touched.
pub(crate) struct Touched {
    /// Distinct output partitions.
    pub(crate) partitions: usize,
}

/// What is written in one transaction.
pub(crate) struct Content<'a> {
    /// Offsets of which group, if any.
    pub(crate) offsets: Option<(&'a TopicPartitionList, &'a GroupMetadata)>,
    /// The records.
    pub(crate) records: &'a [&'a OutRecord],
    /// Picks the sticky partitions of keyless records.
    pub(crate) random: u64,
    /// Waits for each record's report before the next is sent.
    pub(crate) one_by_one: bool,
}

/// A topic that is written to.
#[derive(Default)]
struct KnownTopic {
    /// Known from the first record on.
    native: Option<ffi::Topic>,
    /// Partitions that have a leader, and when that was asked.
    writable: Option<(Vec<i32>, Instant)>,
}

// === impl Content ===

impl Content<'_> {
    /// Whether all of it stays below what the client sends without being asked to.
    fn is_small(&self) -> bool {
        !self.one_by_one
            && self.records.len() <= SMALL.0
            && self.records.iter().map(|record| record.batch_size()).sum::<usize>() <= SMALL.1
    }
}

// === impl Session ===

impl Session {
    /// Makes the producer. Nothing is sent yet.
    pub(crate) fn open(
        connection: &Connection,
        transactional_id: &str,
        timeout: Duration,
        message_max_bytes: usize,
    ) -> Result<Self, KafkaError> {
        let config = connection.transactional(transactional_id, timeout, message_max_bytes);
        let producer = ThreadedProducer::from_config_and_context(&config, Reports::default())
            .map_err(|error| KafkaError::Client { purpose: "transactions", reason: error.to_string() })?;
        Ok(Self { producer, timeout, topics: HashMap::new(), attempt: 0 })
    }

    /// Fences every other producer of this transactional id and settles its transaction.
    pub(crate) fn init(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.producer.init_transactions(timeout).map_err(|error| KafkaError::from_rdkafka("init_transactions", &error))
    }

    /// One transaction.
    pub(crate) fn transact(&mut self, content: &Content<'_>) -> Result<Touched, Failure> {
        self.attempt = self.attempt.wrapping_add(1);
        self.reports().begin(self.attempt);
        self.producer.begin_transaction().map_err(|error| self.classify("begin_transaction", &error))?;
        match self.fill(content) {
            Ok(()) => {}
            Err(Failure::Aborted { error, unwritable, ambiguous }) => {
                self.abort()?;
                return Err(Failure::Aborted { error, unwritable, ambiguous });
            }
            Err(unknown @ Failure::Unknown { .. }) => return Err(unknown),
        }
        let Err(error) = self.producer.commit_transaction(self.timeout) else {
            return Ok(Touched { partitions: self.reports().partitions() });
        };
        match self.classify("commit_transaction", &error) {
            failure @ Failure::Aborted { .. } => {
                self.abort()?;
                Err(failure)
            }
            Failure::Unknown { error, fenced, .. } => Err(Failure::Unknown { error, fenced, committing: true }),
        }
    }

    /// Everything between begin and commit. No record reaches the broker before the offsets have: an open transaction of a
    /// process that died can always be found by them (rule 5).
    ///
    /// A small batch is queued first all the same: its partitions join the transaction while the offsets travel, and the
    /// records wait in the client until the flush. What fills a batch would be sent at once, so a large one comes after.
    fn fill(&mut self, content: &Content<'_>) -> Result<(), Failure> {
        if content.is_small() {
            self.queue(content)?;
            self.send_offsets(content)?;
        } else {
            self.send_offsets(content)?;
            self.queue(content)?;
        }
        self.wait_reports()
    }

    fn send_offsets(&self, content: &Content<'_>) -> Result<(), Failure> {
        let Some((offsets, group)) = content.offsets else { return Ok(()) };
        self.producer
            .send_offsets_to_transaction(offsets, &group.native, self.timeout)
            .map_err(|error| self.classify("send_offsets_to_transaction", &error))
    }

    fn queue(&mut self, content: &Content<'_>) -> Result<(), Failure> {
        let mut sticky: HashMap<&str, Option<i32>> = HashMap::new();
        for (index, record) in content.records.iter().copied().enumerate() {
            let partition = match (record.partition, &record.key) {
                (Some(partition), _) => Some(partition),
                (None, Some(_)) => None,
                (None, None) => {
                    if let Some(partition) = sticky.get(&*record.topic) {
                        *partition
                    } else {
                        let partition = self.sticky(&record.topic, content.random);
                        sticky.insert(&record.topic, partition);
                        partition
                    }
                }
            };
            self.send(index, record, partition)?;
            if content.one_by_one {
                self.wait_reports()?;
            }
        }
        Ok(())
    }

    fn send(&mut self, index: usize, record: &OutRecord, partition: Option<i32>) -> Result<(), Failure> {
        let opaque = opaque(self.attempt, index);
        let deadline = instant() + QUEUE_TIMEOUT;
        let known = match self.topics.get_mut(&record.topic) {
            Some(topic) => topic,
            None => self.topics.entry(Arc::clone(&record.topic)).or_default(),
        };
        let client = self.producer.client().native_client();
        let topic = match &mut known.native {
            Some(topic) => topic,
            unknown => {
                // A name with a NUL in it cannot exist; it is cut and then refused by the broker as unknown.
                let name = record.topic.split('\0').next().unwrap_or_default();
                let name = CString::new(name).expect("the part before the first NUL has none");
                match ffi::Topic::of(client, &name) {
                    Ok(topic) => unknown.insert(topic),
                    Err(code) => return Err(self.refused(index, &record.topic, code)),
                }
            }
        };
        loop {
            match ffi::produce(client, topic, partition, record, opaque) {
                Ok(()) => return Ok(()),
                Err(Code::QueueFull) if instant() < deadline => {
                    // The poll thread serves the reports that make room.
                    ffi::flush(client, Duration::from_millis(10));
                }
                Err(code) => return Err(self.refused(index, &record.topic, code)),
            }
        }
    }

    fn refused(&self, index: usize, topic: &str, code: Code) -> Failure {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return fatal("produce", code, reason);
        }
        let unwritable = ErrorCode(code).is_unwritable().then_some(index);
        Failure::Aborted { error: KafkaError::call(format!("produce to {topic}"), code), unwritable, ambiguous: false }
    }

    /// Waits for the report of every record sent so far.
    fn wait_reports(&self) -> Result<(), Failure> {
        let flushed = ffi::flush(self.producer.client().native_client(), self.timeout + Duration::from_secs(2));
        let failed = self.reports().take_failed();
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return Err(fatal("delivery", code, reason));
        }
        // A purge is a consequence of another failure: name the cause.
        let cause = failed.iter().find(|(_, code)| !matches!(code, Code::PurgeQueue | Code::PurgeInflight));
        if let Some(&(index, code)) = cause.or_else(|| failed.first()) {
            let bad = ErrorCode(code).is_unwritable();
            // A broker refuses a whole batch: of several with the same answer any may be at fault.
            let alone = failed.iter().filter(|(_, other)| *other == code).count() == 1;
            return Err(Failure::Aborted {
                error: KafkaError::call(format!("delivery of record {index}"), code),
                unwritable: (bad && alone).then_some(index),
                ambiguous: bad && !alone,
            });
        }
        if flushed {
            return Ok(());
        }
        let error = KafkaError::call("delivery", Code::OperationTimedOut);
        Err(Failure::Unknown { error, fenced: false, committing: false })
    }

    fn abort(&self) -> Result<(), Failure> {
        match self.producer.abort_transaction(self.timeout) {
            Ok(()) => Ok(()),
            Err(error) => {
                // Whatever it was: a session that cannot abort is over.
                let fenced =
                    matches!(self.classify("abort_transaction", &error), Failure::Unknown { fenced: true, .. });
                let error = KafkaError::from_rdkafka("abort_transaction", &error);
                Err(Failure::Unknown { error, fenced, committing: false })
            }
        }
    }

    /// Abortable, or unknown: everything that is not clearly abortable ends the session.
    fn classify(&self, call: &str, error: &Native) -> Failure {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return fatal(call, code, reason);
        }
        let fenced = error.rdkafka_error_code().is_some_and(|code| ErrorCode(code).is_fencing());
        let ours = KafkaError::from_rdkafka(call, error);
        if let Native::Transaction(native) = error
            && native.txn_requires_abort()
            && !native.is_fatal()
        {
            return Failure::Aborted { error: ours, unwritable: None, ambiguous: false };
        }
        Failure::Unknown { error: ours, fenced, committing: false }
    }

    /// One partition per transaction and topic, so that keyless records touch as few as possible. `None`: not known, let
    /// the partitioner decide.
    fn sticky(&mut self, topic: &Arc<str>, random: u64) -> Option<i32> {
        let now = instant();
        let entry = self.topics.entry(Arc::clone(topic)).or_default();
        let fresh = entry.writable.as_ref().is_some_and(|(_, asked)| now - *asked < PARTITIONS_FRESH);
        if !fresh {
            match writable_partitions(&self.producer, topic) {
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

    /// Forgets the topics, and with them which partitions have a leader: something could not be written.
    pub(crate) fn forget_partitions(&mut self) {
        self.topics.clear();
    }

    fn reports(&self) -> &Arc<Reports> {
        self.producer.client().context()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

fn fatal(call: &str, code: Code, reason: String) -> Failure {
    let fenced = ErrorCode(code).is_fencing();
    let error = KafkaError::Call { call: call.to_owned(), code: ErrorCode(code), reason };
    Failure::Unknown { error, fenced, committing: false }
}

fn writable_partitions(producer: &ThreadedProducer<Reports>, topic: &str) -> Result<Vec<i32>, KafkaError> {
    let metadata = producer
        .client()
        .fetch_metadata(Some(topic), METADATA_TIMEOUT)
        .map_err(|error| KafkaError::from_rdkafka(format!("metadata of {topic}"), &error))?;
    let partitions = metadata.topics().first().map(rdkafka::metadata::MetadataTopic::partitions).unwrap_or_default();
    Ok(partitions.iter().filter(|partition| partition.leader() >= 0).map(|partition| partition.id()).collect())
}

/// Attempt and index in one word, so that a late report of an older attempt is told apart.
fn opaque(attempt: u32, index: usize) -> usize {
    (attempt as usize) << 32 | (index & 0xffff_ffff)
}
