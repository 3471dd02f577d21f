//! What can be set, and what is fixed with its reason.

use std::time::Duration;

pub use chassis::config::{FanoutConfig, SourcesConfig};
use retry::{RetryError, Schedule};

/// Which of its two intakes a fan-out worker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intakes {
    /// Both, each with a group of its own.
    #[default]
    Both,
    /// `events` and `retried`.
    Events,
    /// Topics of sources.
    Sources,
}

/// A record whose outputs alone do not get through in one transaction's time, twice, is rejected if they are so many bytes.
/// Below it the cluster is nearly away, and what is small waits for it.
pub(crate) const GIVE_UP_BYTES: usize = 1024 * 1024;
/// A partial batch waits as long as the last transaction took at most: half the time is spent waiting for company. After a
/// small batch it waits less (`Pace::finished_filled`), at least [`PACE_FLOOR`].
pub(crate) const PACE_FACTOR: f64 = 1.0;
/// So short that it costs no latency anybody sees, so long that records sent together go together.
pub(crate) const PACE_FLOOR: Duration = Duration::from_millis(1);
/// One slow transaction must not slow the next ones.
pub(crate) const PACE_CAP: Duration = Duration::from_millis(200);
/// After a failed question for the end of `control`.
pub(crate) const INDEX_RETRY: Duration = Duration::from_millis(200);
/// After a failed reading of `seen`.
pub(crate) const RESTORE_RETRY: Duration = Duration::from_millis(500);
/// A subscription whose filter fails says so this often: the operator sees that it does, the log is not full of it.
pub(crate) const FAILURE_PERIOD: Duration = Duration::from_secs(60);
/// Failing filters one event says so of, about 300 KB of lifecycle records; the others are told by the next events.
pub(crate) const FAILURES_AT_ONCE: usize = 100;
/// A type to be declared is told this often, until it is: the first telling may have been lost with its transaction.
pub(crate) const UNDECLARED_PERIOD: Duration = Duration::from_secs(30);
/// Filters and schemas may take their time: planning gives way to commits and rebalances after that.
pub(crate) const PLAN_STEP: Duration = Duration::from_millis(10);
/// An event that meets more filters that were never compiled, as after a restart, is put aside until they are, in steps. At
/// 0.1 to 0.3 ms a filter these take a part of a step.
pub(crate) const COMPILED_AT_ONCE: usize = 16;
/// While an event was put aside its filters may have changed again. So often it is put aside; then they are compiled in place.
pub(crate) const ASIDE_AT_MOST: u32 = 3;
/// Filters of a wide event that are evaluated together: what they may cost is bounded for so many of them.
pub(crate) const FILTERED_AT_ONCE: usize = 1_000;
/// Candidates of wide events that are kept for all partitions of an intake together, 8 bytes each: beyond that an event that has not
/// begun waits for one to end, unless it is alone.
pub(crate) const KEPT_CANDIDATES: usize = 2_000_000;
/// What the candidates of a wide event take at least before they give way, in units of the filters' meter: half a million of about
/// 20 ns are 10 ms. A step begins with reading its record and parsing the payload again, which may take its whole time: without this, a
/// step would ask one filter.
pub(crate) const STEP_UNITS: u64 = 500_000;
/// What compiling a filter takes of these: 0.1 to 0.3 ms.
pub(crate) const COMPILE_UNITS: u64 = 10_000;
/// What looking at a candidate takes of these, with or without a filter.
pub(crate) const LOOK_UNITS: u64 = 3;
/// Candidates of a wide event without a filter between two looks at the time; a filter may take milliseconds.
pub(crate) const LOOK_EVERY: usize = 32;
/// Candidates of a wide event that are sorted between two looks at the time: 2 to 4 ms.
pub(crate) const SORTED_AT_ONCE: usize = 16_384;
/// A partition of a source that cannot be planned for now is tried again after that, and at once when the source is changed.
pub(crate) const HELD_FOR: Duration = Duration::from_secs(30);
/// So often that doubles, to four minutes: who puts right what the source names does not wait long, and what never is costs little.
pub(crate) const HELD_DOUBLINGS: u32 = 3;
/// Parts the dedup window is forgotten in: it is exact to a 24th.
pub(crate) const WINDOW_PARTS: u32 = 24;
/// Parts the id budget is forgotten in.
pub(crate) const BUDGET_PARTS: usize = 64;

// === impl Intakes ===

impl Intakes {
    /// Whether `events` is read.
    #[must_use]
    pub fn has_events(self) -> bool {
        self != Self::Sources
    }

    /// Whether topics of sources are.
    #[must_use]
    pub fn has_sources(self) -> bool {
        self != Self::Events
    }
}

/// Deadline of a delivery whose subscription names neither one nor a schedule: as configured, or what the default schedule needs.
///
/// # Errors
/// A schedule that has another name than those there are; the configuration has checked it already.
pub(crate) fn max_age(config: &FanoutConfig) -> Result<Duration, RetryError> {
    let of_schedule = Schedule::preset(config.schedule.parse()?).max_age();
    Ok(config.max_age.unwrap_or(of_schedule))
}
