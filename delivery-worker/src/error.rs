//! Why the worker stops by itself. What an endpoint does wrong is never among it.

use stage::StageError;

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
