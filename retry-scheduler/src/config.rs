//! What can be set, and what is fixed with its reason.

use std::time::Duration;

pub use chassis::config::RetryConfig;

/// Moves wait for company four times as long as the last transaction took: nobody counts milliseconds here, and fewer,
/// fuller transactions cost the brokers less.
pub(crate) const PACE_FACTOR: f64 = 4.0;
/// Records that become ready together go together.
pub(crate) const PACE_FLOOR: Duration = Duration::from_millis(2);
/// Far below the second that a promotion may be late.
pub(crate) const PACE_CAP: Duration = Duration::from_millis(200);
/// A partition of a long tier whose head waits longer is not fetched meanwhile: it would take the room of those that move.
pub(crate) const PAUSE_OVER_MS: i64 = 10_000;
/// A paused partition is fetched again this long before its head is ready; a refetch takes up to 600 ms.
pub(crate) const RESUME_BEFORE_MS: i64 = 1_000;
/// Records read and not moved, per partition; the bytes are configured.
pub(crate) const LIVE_RECORDS: usize = 1_000;
/// Subscriptions whose promotion budget is remembered at once; more pass unbudgeted and are counted.
pub(crate) const MAX_BUDGETS: usize = 100_000;
/// A worker that was given no partition by then is a spare one, and ready as such.
pub(crate) const SPARE_AFTER: Duration = Duration::from_secs(15);
/// The poll thread stands still for a hand-over at most; far above that it hangs.
pub(crate) const POLL_AGE_LIMIT_MS: i64 = 30_000;
/// How often lag is measured, and how long a jump of the wall clock goes unnoticed.
pub(crate) const TICK: Duration = Duration::from_secs(1);
