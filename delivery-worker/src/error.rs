//! Why the worker stops by itself. What an endpoint does wrong is never among it.

use stage::StageError;

pub use crate::book::restore::BookError;
pub use crate::client::TlsError;

/// A failure of the role; its process ends with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The loop ended.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] chassis::metrics::MetricsError),
    /// The configured tiers or the schedule are none.
    #[error("the retry tiers or schedule cannot be used")]
    Retry(#[from] retry::RetryError),
    /// The TLS client could not be made.
    #[error("the TLS client cannot be made")]
    Tls(#[from] TlsError),
    /// The lists of what waits could not be read.
    #[error("the lists of what waits cannot be read")]
    Lists(#[source] kafka::KafkaError),
    /// The lists of a partition are not what was left there.
    #[error(
        "HB-023: the lists of what waits of {partition} cannot be gone on with (see deploy/runbooks/lists-differ.md)"
    )]
    Book {
        /// Of `deliveries`.
        partition: schemas::record::TopicPartition,
        /// Why.
        #[source]
        source: BookError,
    },
    /// A listed delivery cannot be written once more.
    #[error(
        "HB-026: what is listed at offset {offset} of {partition} cannot be written to its end once more and stays listed: {reason}"
    )]
    Uncopied {
        /// Of `deliveries`.
        partition: schemas::record::TopicPartition,
        /// Where it stands.
        offset: i64,
        /// What Kafka said.
        reason: String,
    },
    /// What was listed cannot be read back.
    #[error("reading back what was listed cannot begin")]
    ReadBack(#[source] kafka::KafkaError),
    /// A lifecycle record could not be encoded.
    #[error("a record for {topic} cannot be encoded")]
    Encode {
        /// Where it belongs.
        topic: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}
