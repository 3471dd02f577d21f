//! What ends the role.

use std::sync::Arc;

use catalog::CatalogError;
use chassis::metrics::MetricsError;
use kafka::KafkaError;
use stage::StageError;

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
    #[error("HB-015: topic {topic} does not exist: run `hookbus topics ensure`")]
    NoTopic {
        /// Its name.
        topic: Arc<str>,
    },
    /// The intake of sources ended in a way of its own.
    #[error("fan-out cannot go on: its intake of sources ended: {reason}")]
    Intake {
        /// How.
        reason: String,
    },
    /// The loop ended.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Adds what was being done to an error of Kafka's.
pub(crate) fn doing(doing: &'static str) -> impl FnOnce(KafkaError) -> Error {
    move |source| Error::Kafka { doing, source }
}
