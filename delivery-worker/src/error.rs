//! Why the worker stops by itself. What an endpoint does wrong is never among it.

use kafka::KafkaError;

pub use crate::client::TlsError;

/// A failure of the role; its process ends with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka failed in a way that waiting does not heal.
    #[error("the delivery worker cannot go on: {step}")]
    Kafka {
        /// What it was doing, with coordinates.
        step: String,
        /// What happened.
        #[source]
        source: KafkaError,
    },
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] chassis::metrics::MetricsError),
    /// The configured tiers or the schedule are none.
    #[error("the retry tiers or schedule cannot be used")]
    Retry(#[from] retry::RetryError),
    /// The TLS client could not be made.
    #[error("the TLS client cannot be made")]
    Tls(#[from] TlsError),
    /// A lifecycle record could not be encoded.
    #[error("a record for {topic} cannot be encoded")]
    Encode {
        /// Where it belongs.
        topic: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A task of this worker ended before its time.
    #[error("the task {0} ended before its time")]
    Task(&'static str),
}

impl Error {
    /// Wraps a failure of Kafka.
    pub(crate) fn kafka(step: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let step = step.into();
        move |source| Self::Kafka { step, source }
    }
}
