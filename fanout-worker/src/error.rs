//! What ends the role.

use catalog::CatalogError;
use chassis::metrics::MetricsError;
use kafka::KafkaError;
use schemas::record::TopicPartition;
use std::sync::Arc;

/// Why the role ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka failed in a way that waiting does not heal.
    #[error("fan-out cannot go on: {doing}")]
    Kafka {
        /// What was being done.
        doing: &'static str,
        /// What happened.
        #[source]
        source: KafkaError,
    },
    /// The catalog has ended.
    #[error("fan-out cannot go on without the catalog")]
    Catalog(#[from] CatalogError),
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The configured retry schedule is none.
    #[error(transparent)]
    Schedule(#[from] retry::RetryError),
    /// A topic of ours does not exist.
    #[error("topic {topic} does not exist: run `hookbus topics ensure`")]
    NoTopic {
        /// Its name.
        topic: Arc<str>,
    },
    /// Kafka refuses even the shortest `rejected` record of an event.
    #[error("record {offset} of {partition} can neither be used nor rejected: {reason}")]
    Unwritable {
        /// Where it stands.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// What Kafka said.
        reason: String,
    },
    /// A part of the role panicked.
    #[error("fan-out cannot go on: {part} ended: {reason}")]
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
