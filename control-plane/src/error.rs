//! Why the control plane cannot start or go on. Failures of a request are problems (`schemas::problem`).

use kafka::KafkaError;

/// Fatal for the role.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka refuses what the role needs.
    #[error("kafka failed for {purpose}")]
    Kafka {
        /// What it was needed for.
        purpose: &'static str,
        /// What happened.
        #[source]
        source: KafkaError,
    },
    /// The loop that reads worker reports ended.
    #[error(transparent)]
    Stage(#[from] stage::StageError),
    /// The listener does not work.
    #[error("cannot listen")]
    Listen {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] chassis::metrics::MetricsError),
    /// A rate of the configuration cannot be counted.
    #[error(transparent)]
    Rate(#[from] retry::RetryError),
    /// The first organization cannot be written.
    #[error("cannot write the first organization: {detail}")]
    Seed {
        /// What the store said.
        detail: String,
    },
}
