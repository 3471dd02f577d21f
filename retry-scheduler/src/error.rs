//! What ends the role.

use chassis::metrics::MetricsError;
use kafka::KafkaError;
use retry::RetryError;
use schemas::record::TopicPartition;

/// Why the role ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka failed in a way that waiting does not heal.
    #[error("retry scheduler cannot go on: {doing}")]
    Kafka {
        /// What was being done.
        doing: &'static str,
        /// What happened.
        #[source]
        source: KafkaError,
    },
    /// The configured tiers or budget cannot be used.
    #[error("retry scheduler cannot use its configuration")]
    Config(#[from] RetryError),
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Kafka refuses even the shortest `rejected` record of a delivery.
    #[error("record {offset} of {partition} can neither be moved nor rejected: {reason}")]
    Unwritable {
        /// Where it stands.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// What Kafka said.
        reason: String,
    },
    /// A part of the role ended.
    #[error("retry scheduler cannot go on: {part} ended: {reason}")]
    Ended {
        /// Which part.
        part: &'static str,
        /// How.
        reason: String,
    },
}

/// Adds what was being done to an error of Kafka's.
pub(crate) fn doing(doing: &'static str) -> impl FnOnce(KafkaError) -> Error {
    move |source| Error::Kafka { doing, source }
}
