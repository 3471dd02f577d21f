//! Why the gateway could not start or had to stop. What is wrong with a request is a `Problem`, not an error.

use chassis::metrics::MetricsError;
use kafka::KafkaError;

/// Errors of [`crate::run`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The producer could not be made, or did not get rid of its records at the end.
    #[error("the producer for {topic} failed")]
    Producer {
        /// The events topic.
        topic: String,
        /// What happened.
        #[source]
        source: KafkaError,
    },
    /// What the control plane's certificate is checked with cannot be used.
    #[error("gateway.forward_ca_file: {reason}")]
    ForwardAuthorities {
        /// Why not.
        reason: String,
    },
    /// A metric's name is taken.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}
