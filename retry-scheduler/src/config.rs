//! What can be set, and what is fixed with its reason.

pub use chassis::config::RetryConfig;

/// A partition of a long tier whose head waits longer is not fetched meanwhile: it would take the room of those that move.
pub(crate) const PAUSE_OVER_MS: i64 = 10_000;
/// A paused partition is fetched again this long before its head is ready; a refetch takes up to 600 ms.
pub(crate) const RESUME_BEFORE_MS: i64 = 1_000;
/// Records read and not moved, per partition; the bytes are configured.
pub(crate) const LIVE_RECORDS: usize = 1_000;
