//! What ends the role.

use chassis::metrics::MetricsError;
use retry::RetryError;
use stage::StageError;

/// Why the role ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The loop ended.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The configured tiers or budget cannot be used.
    #[error("retry scheduler cannot use its configuration")]
    Config(#[from] RetryError),
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}
