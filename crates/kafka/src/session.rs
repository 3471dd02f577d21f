//! One transactional producer and one transaction at a time on it. Blocking: lives on a writer's own thread.
//!
//! ```text
//! open -> init -> [ begin -> offsets first -> records -> own delivery reports -> commit ]*
//!                      |                                                           |
//!                      +-- abortable: abort, the session stays usable <------------+
//!                      +-- unknown (timeout, fenced, fatal): the session is over <-+
//! ```

mod failure;
mod init;
mod partitions;
mod reports;
mod served;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::error::KafkaError as Native;
use rdkafka::producer::Producer;
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::{OutRecord, TopicPartition};

use crate::clock::{coarse_ms, instant};
use crate::connection::Connection;
use crate::error::{ErrorCode, KafkaError};
use crate::ffi::{self, GroupMetadata};

use self::failure::fatal;
pub(crate) use self::failure::{Aborted, Failure, Refused};
use self::partitions::Topics;
pub(crate) use self::reports::AckPace;
pub(crate) use self::reports::TouchedPartition;
use self::reports::{Failed, Reports};
use self::served::ServedProducer;

/// How long a full queue may take to drain before the try is given up.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The least time that offsets have.
const HURRIED_AT_LEAST: Duration = Duration::from_secs(1);

/// Records and bytes of a batch that stays in the client until it is flushed: well below what [`Connection::transactional`]
/// lets a batch of one partition have.
const SMALL: (usize, usize) = (5_000, 128 * 1024);

/// A transactional producer that was initialised.
pub(crate) struct Session {
    /// Before the producer: what they hold of it is let go first.
    topics: Topics,
    producer: ServedProducer,
    timeout: Duration,
    /// How long the offsets of a transaction may take.
    offsets_timeout: Duration,
    attempt: u32,
}

/// What a committed transaction touched.
pub(crate) struct Touched {
    /// Distinct output partitions.
    pub(crate) partitions: Vec<TouchedPartition>,
}

/// What is written in one transaction.
pub(crate) struct Content<'a> {
    /// Offsets of which group, if any.
    pub(crate) offsets: Option<(&'a TopicPartitionList, &'a GroupMetadata)>,
    /// The records.
    pub(crate) records: &'a [&'a OutRecord],
    /// Picks the sticky partitions of keyless records.
    pub(crate) random: u64,
    /// Which records are sent, in this order, each group acknowledged before the next is sent.
    pub(crate) groups: &'a [Range<usize>],
}

// === impl Content ===

impl Content<'_> {
    /// Whether all of it stays below what the client sends without being asked to.
    fn is_small(&self) -> bool {
        self.groups.len() <= 1
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
        let producer = ServedProducer::start(&config)?;
        Ok(Self { producer, timeout, offsets_timeout: timeout, topics: Topics::default(), attempt: 0 })
    }

    /// The same, for offsets of topics that their owners may delete: librdkafka asks for one that is gone as long as it may.
    pub(crate) fn hurried(self) -> Self {
        Self { offsets_timeout: (self.timeout / 4).max(HURRIED_AT_LEAST), ..self }
    }

    /// One transaction.
    pub(crate) fn transact(&mut self, content: &Content<'_>) -> Result<Touched, Failure> {
        self.write(content)?;
        let Err(error) = self.producer.commit_transaction(self.timeout) else {
            return Ok(Touched { partitions: self.reports().partitions() });
        };
        match self.classify("commit_transaction", &error) {
            failure @ Failure::Aborted(_) => Err(failure.after_abort(self.abort(), true)),
            Failure::Unknown { error, fenced, timed_out, .. } => {
                Err(Failure::Unknown { error, fenced, committing: true, timed_out })
            }
        }
    }

    /// Writes what a transaction would and aborts it: which records Kafka refuses is all that is wanted.
    pub(crate) fn probe(&mut self, content: &Content<'_>) -> Result<(), Failure> {
        self.write(content)?;
        self.abort().map_err(|(error, fenced)| Failure::unknown(error, fenced))
    }

    /// How the last try's records were acknowledged, if it ends now.
    pub(crate) fn ack_pace(&self) -> AckPace {
        self.reports().pace(coarse_ms())
    }

    /// Forgets the topics, and with them which partitions have a leader: something could not be written.
    pub(crate) fn forget_partitions(&mut self) {
        self.topics.forget();
    }

    /// Everything before the commit; what fails is aborted.
    fn write(&mut self, content: &Content<'_>) -> Result<(), Failure> {
        self.attempt = self.attempt.wrapping_add(1);
        self.reports().begin(self.attempt);
        self.producer.begin_transaction().map_err(|error| self.classify("begin_transaction", &error))?;
        let Err(failure) = self.fill(content, instant()) else { return Ok(()) };
        let Failure::Aborted(mut aborted) = failure else { return Err(failure) };
        let ended = self.abort();
        aborted.error = self.name_denied(content, aborted.error);
        Err(Failure::Aborted(aborted).after_abort(ended, false))
    }

    /// Adds to a missing permission which topics it is missing for. Kafka refuses a transaction with a topic in it and librdkafka
    /// names none.
    fn name_denied(&self, content: &Content<'_>, error: KafkaError) -> KafkaError {
        if matches!(&error, KafkaError::Call { code: ErrorCode(Code::TopicAuthorizationFailed), .. }) {
            partitions::with_denied(content, &partitions::denied(&self.producer, content), error)
        } else {
            error
        }
    }

    /// Everything between begin and commit. No record reaches the broker before the offsets have: an open transaction of a
    /// process that died can always be found by them (rule W5).
    ///
    /// A small batch is queued first all the same: its partitions join the transaction while the offsets travel, and the
    /// records wait in the client until the flush. What fills a batch would be sent at once, so a large one comes after.
    fn fill(&mut self, content: &Content<'_>, began: Instant) -> Result<(), Failure> {
        if content.is_small() {
            self.queue(content, content.groups.first())?;
            self.send_offsets(content)?;
            self.reports().start_sending();
            return self.wait_reports(content, 0);
        }
        self.send_offsets(content)?;
        self.reports().start_sending();
        for (number, group) in content.groups.iter().enumerate() {
            // What is left then would be cut off by the broker, with everything before it.
            if number > 0 && instant() - began > self.timeout / 4 * 3 {
                return Err(self.out_of_time(number));
            }
            self.queue(content, Some(group))?;
            self.wait_reports(content, number)?;
        }
        Ok(())
    }

    fn send_offsets(&self, content: &Content<'_>) -> Result<(), Failure> {
        let Some((offsets, group)) = content.offsets else { return Ok(()) };
        self.producer
            .send_offsets_to_transaction(offsets, &group.native, self.offsets_timeout)
            .map_err(|error| self.classify("send_offsets_to_transaction", &error))
    }

    fn queue(&mut self, content: &Content<'_>, group: Option<&Range<usize>>) -> Result<(), Failure> {
        let Some(group) = group else { return Ok(()) };
        let mut sticky: HashMap<&str, Option<i32>> = HashMap::new();
        for index in group.clone() {
            let record = content.records[index];
            let partition = match (record.partition, &record.key) {
                (Some(partition), _) => Some(partition),
                (None, Some(_)) => None,
                (None, None) => {
                    if let Some(partition) = sticky.get(&*record.topic) {
                        *partition
                    } else {
                        let partition = self.topics.sticky(&self.producer, &record.topic, content.random);
                        sticky.insert(&record.topic, partition);
                        partition
                    }
                }
            };
            self.send(index, record, partition)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, record: &OutRecord, partition: Option<i32>) -> Result<(), Failure> {
        let opaque = opaque(self.attempt, index);
        // The clock is asked only of a queue that is full: this is done for each record.
        let mut deadline = None;
        let client = self.producer.client().native_client();
        loop {
            let sent = self
                .topics
                .native(client, &record.topic)
                .and_then(|topic| ffi::produce(client, topic, partition, record, opaque));
            match sent {
                Ok(()) => return Ok(()),
                Err(Code::QueueFull) if instant() < *deadline.get_or_insert_with(|| instant() + QUEUE_TIMEOUT) => {
                    // The producer's thread serves the reports that make room.
                    ffi::flush(client, Duration::from_millis(10));
                }
                Err(code) if ErrorCode(code).is_unwritable() => {
                    // The others are sent all the same: all that are refused are named at once.
                    self.reports().refused(index, code);
                    return Ok(());
                }
                Err(code) => {
                    if let Some((code, reason)) = self.producer.client().fatal_error() {
                        return Err(fatal("produce", code, reason));
                    }
                    // A transaction that a report has failed already takes no more records; the report names the cause.
                    if code == Code::State {
                        self.reports().skipped(index);
                        return Ok(());
                    }
                    return Err(Failure::aborted(self.not_taken(&record.topic, partition.unwrap_or(-1), code)));
                }
            }
        }
    }

    /// Waits for the report of every record sent so far, in which group `number` is the last.
    fn wait_reports(&self, content: &Content<'_>, number: usize) -> Result<(), Failure> {
        let flushed = ffi::flush(self.producer.client().native_client(), self.timeout + Duration::from_secs(2));
        let failed = self.reports().take_failed();
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return Err(match fatal("delivery", code, reason) {
                // An expired transaction is fenced: then it was the time that ended it, if records were still waiting.
                Failure::Unknown { error, fenced, committing, .. } => {
                    Failure::Unknown { error, fenced, committing, timed_out: !failed.is_empty() || !flushed }
                }
                aborted @ Failure::Aborted(_) => aborted,
            });
        }
        if let Some(cause) = cause(&failed) {
            // Nothing but consequences: what failed the transaction, as a denied topic does, the next call on it tells.
            if is_consequence(cause.code)
                && let Err(Failure::Aborted(mut named)) = self.send_offsets(content)
            {
                if !named.error.is_denied() {
                    named.error = partitions::writing_to(content, named.error);
                }
                return Err(Failure::Aborted(named));
            }
            let record = content.records[cause.index];
            let error = self.not_taken(&record.topic, cause.partition, cause.code);
            let timed_out = cause.code == Code::MessageTimedOut && !matches!(error, KafkaError::NoTopic { .. });
            let refused = refused(&failed);
            let rest_passed = refused.len() == failed.len();
            return Err(Failure::Aborted(Aborted { error, refused, passed: number, rest_passed, timed_out }));
        }
        if flushed {
            return Ok(());
        }
        let error = KafkaError::call("delivery", Code::OperationTimedOut);
        Err(Failure::Unknown { error, fenced: false, committing: false, timed_out: true })
    }

    /// The groups take too long one after the other.
    fn out_of_time(&self, passed: usize) -> Failure {
        let error = KafkaError::call("delivery in groups", Code::OperationTimedOut);
        Failure::Aborted(Aborted { error, refused: Vec::new(), passed, rest_passed: false, timed_out: true })
    }

    /// Why a record of this topic was not taken: a topic that is missing is named as that.
    fn not_taken(&self, topic: &Arc<str>, partition: i32, code: Code) -> KafkaError {
        let may_be_missing = matches!(
            code,
            Code::MessageTimedOut | Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition
        );
        if may_be_missing && partitions::is_missing(&self.producer, topic) {
            return KafkaError::NoTopic { topic: Arc::clone(topic) };
        }
        let place = if partition < 0 {
            topic.to_string()
        } else {
            TopicPartition::new(Arc::clone(topic), partition).to_string()
        };
        KafkaError::call(format!("writing to {place}"), code)
    }

    /// Why it failed, if it did, and whether as a fenced producer's.
    fn abort(&self) -> Result<(), (KafkaError, bool)> {
        self.producer.abort_transaction(self.timeout).map_err(|error| {
            let fenced = matches!(self.classify("abort_transaction", &error), Failure::Unknown { fenced: true, .. });
            (KafkaError::from_rdkafka("abort_transaction", &error), fenced)
        })
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
            return Failure::aborted(ours);
        }
        Failure::unknown(ours, fenced)
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

/// Whether a record was not taken because another one, or the transaction, had failed.
fn is_consequence(code: Code) -> bool {
    matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::State | Code::InvalidDifferentRecord)
}

/// The failure that explains the others: a purge is a consequence, a record that a failed transaction
/// does not take any more, and the blame for a neighbour in the same batch.
fn cause(failed: &[Failed]) -> Option<&Failed> {
    let refused = failed.iter().find(|failed| ErrorCode(failed.code).is_unwritable());
    refused.or_else(|| failed.iter().find(|failed| !is_consequence(failed.code))).or_else(|| failed.first())
}

/// The records that Kafka refused. A broker refuses a whole batch: of several with the same answer any may be at fault.
fn refused(failed: &[Failed]) -> Vec<Refused> {
    let unwritable: Vec<&Failed> = failed.iter().filter(|failed| ErrorCode(failed.code).is_unwritable()).collect();
    let in_batches = |code| unwritable.iter().filter(|failed| !failed.alone && failed.code == code).count();
    let refused = unwritable.iter().map(|failed| Refused {
        index: failed.index,
        code: ErrorCode(failed.code),
        alone: failed.alone || in_batches(failed.code) == 1,
    });
    refused.collect()
}

/// Try and index in one word, so that a late report of an older try is told apart.
fn opaque(attempt: u32, index: usize) -> usize {
    (attempt as usize) << 32 | (index & 0xffff_ffff)
}
