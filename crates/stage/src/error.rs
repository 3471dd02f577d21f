//! What ends a stage before it was asked to.

use chassis::metrics::MetricsError;
use kafka::KafkaError;
use schemas::record::TopicPartition;

/// A failure of a role's own, from inside its [`crate::Work`].
pub type WorkError = Box<dyn std::error::Error + Send + Sync>;

/// Why a stage ended. The process should end with it: what was not committed is done again by others.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Kafka failed in a way that waiting does not heal.
    #[error("the {role} cannot go on: {doing}")]
    Kafka {
        /// The role's name.
        role: &'static str,
        /// What the stage was doing, with coordinates where there are any.
        doing: String,
        /// What happened.
        #[source]
        source: KafkaError,
    },
    /// A part of the stage ended by itself.
    #[error("HB-030: the {role} cannot go on: {part} ended: {reason}")]
    Ended {
        /// The role's name.
        role: &'static str,
        /// The part.
        part: &'static str,
        /// How it ended.
        reason: String,
    },
    /// Kafka refuses even the shortest record that could be written about a record.
    #[error("HB-026: record {offset} of {partition} can neither be handled nor rejected: {reason}")]
    Unwritable {
        /// Partition of the record.
        partition: TopicPartition,
        /// Offset of the record.
        offset: i64,
        /// What Kafka said.
        reason: String,
    },
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The role's own part failed.
    #[error("the {role} cannot go on")]
    Work {
        /// The role's name.
        role: &'static str,
        /// What it said.
        #[source]
        source: WorkError,
    },
}

impl StageError {
    /// Adds the role and what it was doing to an error of Kafka's.
    pub(crate) fn kafka(role: &'static str, doing: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let doing = doing.into();
        move |source| Self::Kafka { role, doing, source }
    }
}
