//! What can go wrong between us and Kafka, with coordinates.

use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::TopicPartition;

use crate::writer::{Refusal, Transaction};

/// Everything this crate reports. Cloneable, so that one failure can be told to several waiters.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KafkaError {
    /// A property the user may not set.
    #[error("HB-005: kafka property {name} cannot be set: {reason}")]
    RefusedProperty {
        /// The property's name.
        name: String,
        /// Why correctness depends on it.
        reason: &'static str,
    },
    /// A value this crate was given is not usable.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A client could not be made: wrong properties, no memory, no threads.
    #[error("HB-005: cannot create a kafka client for {purpose}: {reason}")]
    Client {
        /// What the client is for.
        purpose: &'static str,
        /// librdkafka's reason.
        reason: String,
    },
    /// A call failed.
    #[error("{call} failed: {reason} ({code:?}{})", code.hint())]
    Call {
        /// Which call, with its coordinates.
        call: String,
        /// librdkafka's code.
        code: ErrorCode,
        /// librdkafka's text.
        reason: String,
    },
    /// The producer's queue is full: Kafka takes less than is sent. Nothing was enqueued.
    #[error("the producer's queue is full, record to {topic} not taken")]
    QueueFull {
        /// The record's topic.
        topic: Arc<str>,
    },
    /// Outputs that Kafka can never take. Nothing of the transaction was committed; it is handed back so that the caller can
    /// write something else in their place.
    #[error("kafka can never take {} of {} outputs, {}", refused.len(), transaction.outputs.len(), Refused(refused))]
    Unwritable {
        /// All of them, by ascending index.
        refused: Vec<Refusal>,
        /// The transaction as it was given.
        transaction: Box<Transaction>,
    },
    /// A transaction that is too much for the time a transaction has. Nothing of it was committed; it is handed back to be
    /// made smaller.
    ///
    /// Only a try that ended by time while Kafka went on acknowledging *steadily* ends so: from its first record to its end no two
    /// acknowledgements were further apart than a quarter of the transaction timeout, plus the time for which a broker
    /// said that it throttles us. An outage or a frozen broker is waited out with the same transaction instead.
    #[error(
        "a transaction of {} outputs does not get through within the transaction timeout: {reason}",
        transaction.outputs.len()
    )]
    TooSlow {
        /// The transaction as it was given.
        transaction: Box<Transaction>,
        /// Key and value bytes that the last try got acknowledged.
        written_bytes: usize,
        /// How they were.
        reason: String,
    },
    /// A partition that was consumed before has no committed offset any more (or a consumed topic was never read though
    /// its start is gone): starting at either end would repeat or lose records.
    #[error(
        "HB-020: {partition} has no committed offset, and records from {log_start} to {log_end}: choose where to begin with `hookbus offsets` \
         (deploy/runbooks/no-committed-offset.md){}",
        NeverRead(*log_start)
    )]
    NoCommittedOffset {
        /// Which partition.
        partition: TopicPartition,
        /// Its first available offset.
        log_start: i64,
        /// Its end.
        log_end: i64,
    },
    /// A position that the partition does not have.
    #[error("HB-021: offset {offset} of {partition} is out of range (starts at {log_start}, ends at {log_end})")]
    OffsetOutOfRange {
        /// Which partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// The first available offset, -1 if not known.
        log_start: i64,
        /// The end, -1 if not known.
        log_end: i64,
    },
    /// The log was cut below what was read, as by an unclean leader election: what stands there now does not follow the last
    /// record, and records may have been accepted that nobody reads.
    #[error(
        "HB-021: the log of {partition} was cut below offset {offset} and ends at {log_end} now: accepted records are lost; see \
         deploy/runbooks/log-truncated.md before starting again"
    )]
    Truncated {
        /// Which partition.
        partition: TopicPartition,
        /// Where reading was due.
        offset: i64,
        /// The end now; it may have grown beyond the offset again.
        log_end: i64,
    },
    /// The end of a log that was read is gone, and other records stand there.
    #[error(
        "HB-021: {partition} was read up to offset {read_up_to} in leader epoch {read_epoch}, but offset {at} was written in epoch {found_epoch}: \
         kafka dropped the end of the log (an unclean leader election); what is there now was never read. Choose where to begin \
         with `hookbus offsets`"
    )]
    LogCut {
        /// Which partition.
        partition: TopicPartition,
        /// Everything below it was read.
        read_up_to: i64,
        /// Leader epoch of the last record that was read.
        read_epoch: i32,
        /// An offset below it that was written later.
        at: i64,
        /// The leader epoch it was written in.
        found_epoch: i32,
    },
    /// What was committed before cannot be read to its end: a transaction on the partition does not end.
    #[error(
        "HB-022: {partition} cannot be read beyond offset {position}, and its records from there to {end} are needed: kafka has kept a transaction \
         open there for {waited_ms} ms, longer than any lives (see deploy/runbooks/open-transaction.md)"
    )]
    Held {
        /// The partition, of the topic of lists or of accepted identities.
        partition: TopicPartition,
        /// How far it was read.
        position: i64,
        /// Where it ended when it was taken over.
        end: i64,
        /// Since it was read so far, milliseconds.
        waited_ms: i64,
    },
    /// Somebody else writes under our transactional id.
    #[error(
        "HB-024: fenced {times} times within {within_s} s: a second process uses the slot {transactional_id}; give every process its own slot"
    )]
    SecondProcess {
        /// Our transactional id.
        transactional_id: String,
        /// How often.
        times: usize,
        /// Within which time, seconds.
        within_s: u64,
    },
    /// A topic does not exist.
    #[error("HB-015: topic {topic} does not exist (`hookbus topics ensure` creates those of Hookbus)")]
    NoTopic {
        /// Its name.
        topic: Arc<str>,
    },
    /// The epoch of this partition is over: it was revoked meanwhile.
    #[error("{partition} is not ours any more")]
    NotOwned {
        /// Which partition.
        partition: TopicPartition,
    },
    /// The client was closed while the call waited.
    #[error("the kafka client was closed")]
    Closed,
}

/// librdkafka's error code, opaque so that rdkafka stays inside this crate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub(crate) Code);

/// What is most likely right where a log begins at 0: a topic that was created, and written to, while its reader's group had
/// members that did not read it yet.
struct NeverRead(i64);

/// The first refusal, for a message.
struct Refused<'a>(&'a [Refusal]);

/// How an exclusive write ended when it did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExclusiveError {
    /// Another writer acquired the topic: nothing was written.
    #[error("another writer holds the topic now")]
    Fenced,
    /// Nobody knows: acquire, catch up, and look for the write id.
    #[error("the outcome of the write is unknown")]
    Unknown(#[source] KafkaError),
    /// Surely not written.
    #[error("the write was refused")]
    Refused(#[source] KafkaError),
}

// === impl KafkaError ===

impl KafkaError {
    /// Whether the same call can succeed later without anybody changing anything but the cluster's health.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::QueueFull { .. } => true,
            Self::Call { code, .. } => code.is_retriable(),
            Self::RefusedProperty { .. }
            | Self::Invalid { .. }
            | Self::Client { .. }
            | Self::Unwritable { .. }
            | Self::TooSlow { .. }
            | Self::NoCommittedOffset { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::Truncated { .. }
            | Self::LogCut { .. }
            | Self::Held { .. }
            | Self::SecondProcess { .. }
            | Self::NoTopic { .. }
            | Self::NotOwned { .. }
            | Self::Closed => false,
        }
    }

    /// Whether Kafka can never take this record, whatever time passes.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        match self {
            Self::Unwritable { .. } => true,
            Self::Call { code, .. } => code.is_unwritable(),
            Self::QueueFull { .. }
            | Self::RefusedProperty { .. }
            | Self::Invalid { .. }
            | Self::Client { .. }
            | Self::TooSlow { .. }
            | Self::NoCommittedOffset { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::Truncated { .. }
            | Self::LogCut { .. }
            | Self::Held { .. }
            | Self::SecondProcess { .. }
            | Self::NoTopic { .. }
            | Self::NotOwned { .. }
            | Self::Closed => false,
        }
    }

    /// Whether the cluster's operator has to act: waiting does not cure a missing authorization.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Call { code, .. } if code.is_denied())
    }

    /// Whether it is said of one partition that it has no leader: Kafka answers, and not for this one.
    pub(crate) fn is_without_leader(&self) -> bool {
        matches!(self, Self::Call { code: ErrorCode(Code::LeaderNotAvailable), .. })
    }

    /// A missing permission to write to a topic, for tests of what follows from it.
    #[must_use]
    pub fn may_not_write(topic: &str) -> Self {
        Self::call(format!("writing to {topic}"), Code::TopicAuthorizationFailed)
    }

    /// A partition that has no leader for now.
    #[must_use]
    pub fn without_leader(call: &str) -> Self {
        Self::call(call, Code::LeaderNotAvailable)
    }

    pub(crate) fn call(call: impl Into<String>, code: Code) -> Self {
        Self::Call { call: call.into(), code: ErrorCode(code), reason: code.to_string() }
    }

    /// From an error of rdkafka, which does not carry coordinates.
    pub(crate) fn from_rdkafka(call: impl Into<String>, error: &rdkafka::error::KafkaError) -> Self {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        Self::Call { call: call.into(), code: ErrorCode(code), reason: error.to_string() }
    }
}

impl std::fmt::Display for NeverRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 > 0 {
            return Ok(());
        }
        f.write_str(
            "; if the topic is new, as that of a new retry tier, nothing of it was read yet: `--to start` is right",
        )
    }
}

impl std::fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(Refusal { index, topic, code, reason }) = self.0.first() else { return f.write_str("none") };
        write!(f, "the first is output {index} to {topic}: {reason} ({code:?})")
    }
}

// === impl ErrorCode ===

impl std::fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.0, f)
    }
}

impl ErrorCode {
    /// The code of the runbook that says what to do, for messages; nothing where waiting helps.
    fn hint(self) -> &'static str {
        if self.0 == Code::Resolve {
            ", HB-010"
        } else if self.0 == Code::SSL {
            ", HB-012"
        } else if self.is_login() {
            ", HB-013"
        } else if self.is_denied() {
            ", HB-014"
        } else if self.is_unreachable() {
            ", HB-011"
        } else {
            ""
        }
    }

    /// A broker does not accept who we are.
    pub(crate) fn is_login(self) -> bool {
        matches!(self.0, Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism)
    }

    fn is_retriable(self) -> bool {
        !self.is_denied()
            && !self.is_unwritable()
            && !matches!(self.0, Code::InvalidArgument | Code::InvalidConfig | Code::NotImplemented)
    }

    /// The record itself is at fault.
    pub(crate) fn is_unwritable(self) -> bool {
        matches!(
            self.0,
            Code::MessageSizeTooLarge
                | Code::InvalidMessageSize
                | Code::InvalidRecord
                | Code::InvalidTimestamp
                | Code::MessageBatchTooLarge
        )
    }

    /// The cluster's operator has to act.
    pub(crate) fn is_denied(self) -> bool {
        matches!(
            self.0,
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism
        )
    }

    /// The group has no coordinator yet, or it still reads what was committed: a cluster that starts, or moves it.
    pub(crate) fn is_without_coordinator(self) -> bool {
        matches!(self.0, Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress)
    }

    /// No broker can be reached, or one of them: a fact of the process, whichever client meets it.
    pub(crate) fn is_unreachable(self) -> bool {
        matches!(self.0, Code::AllBrokersDown | Code::BrokerTransportFailure)
    }

    /// The group moved on: the next assignment brings a newer generation.
    pub(crate) fn is_old_generation(self) -> bool {
        matches!(self.0, Code::IllegalGeneration | Code::UnknownMemberId | Code::RebalanceInProgress)
    }

    /// Another producer with our transactional id, or an expired transaction: both look the same.
    pub(crate) fn is_fencing(self) -> bool {
        matches!(self.0, Code::Fenced | Code::InvalidProducerEpoch | Code::ProducerFenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition::new(Arc::from("deliveries"), 3)
    }

    #[test]
    fn a_log_that_begins_at_0_may_never_have_been_read_and_one_that_begins_later_was() {
        let text =
            |log_start| KafkaError::NoCommittedOffset { partition: partition(), log_start, log_end: 90 }.to_string();
        assert!(text(0).ends_with("nothing of it was read yet: `--to start` is right"), "{}", text(0));
        assert!(text(1).ends_with("(deploy/runbooks/no-committed-offset.md)"), "{}", text(1));
    }

    #[test]
    fn what_stands_in_several_lines_here_is_one_line_for_people() {
        let partition = partition();
        let errors = [
            KafkaError::NoCommittedOffset { partition: partition.clone(), log_start: 0, log_end: 9 },
            KafkaError::Truncated { partition: partition.clone(), offset: 5, log_end: 4 },
            KafkaError::LogCut { partition: partition.clone(), read_up_to: 7, read_epoch: 1, at: 6, found_epoch: 2 },
            KafkaError::Held { partition, position: 5, end: 9, waited_ms: 60_000 },
        ];
        for text in errors.map(|error| error.to_string()) {
            assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
        }
    }
}
