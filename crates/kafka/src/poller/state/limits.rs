//! How much a poller may have in memory. Pure.
//!
//! What counts is what was handed out and not released, and what is buffered beyond it. One budget bounds both for all
//! leases together; each lease may use an equal share of it, below its own limits. A quarter of a share is for buffered
//! records: those that stand in librdkafka's one queue before a neighbour's.

use schemas::planted::{PlantedBug, is_planted};

/// Buffered records beyond the credit, as a multiple of it: how long neighbours can be served before this one is paused. A pause
/// costs what librdkafka has prefetched (up to 10,000 records) and half a second until a fetch brings something again.
const BUFFERED_RECORDS_FACTOR: usize = 16;
/// Buffered bytes of a lease at most, whatever its credit is.
const BUFFERED_BYTES: usize = 16 * 1024 * 1024;
/// Records that are taken before they are published.
const BATCH_RECORDS: usize = 512;
/// Bytes that are taken before they are published.
const BATCH_BYTES: usize = 1024 * 1024;

/// The limits of a poller, as they are configured.
#[derive(Clone, Copy, Debug)]
pub(in crate::poller) struct Limits {
    pub(in crate::poller) live_records: usize,
    pub(in crate::poller) live_bytes: usize,
    pub(in crate::poller) budget_bytes: usize,
}

/// What one lease may use right now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    live_records: usize,
    live_bytes: usize,
    buffered_records: usize,
    buffered_bytes: usize,
    /// All leases together use the budget up.
    pub(super) is_spent: bool,
}

/// What the poll thread may take in one go. The last record may exceed the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::poller) struct Intake {
    pub(in crate::poller) records: usize,
    pub(in crate::poller) bytes: usize,
}

// === impl Limits ===

impl Limits {
    /// The allowance of a lease while so many leases work and use so many bytes together.
    pub(super) fn allowance(&self, working: usize, used: usize) -> Allowance {
        let share = self.budget_bytes / working.max(1);
        let live_records = self.live_records.max(1);
        Allowance {
            live_records,
            live_bytes: self.live_bytes.min(share - share / 4),
            buffered_records: live_records.saturating_mul(BUFFERED_RECORDS_FACTOR),
            buffered_bytes: self.live_bytes.min(BUFFERED_BYTES).min(share / 4).max(1),
            is_spent: used >= self.budget_bytes,
        }
    }

    /// Whether enough of the budget is free again for everybody to be fetched.
    pub(super) fn has_recovered(&self, used: usize) -> bool {
        used <= self.budget_bytes - self.budget_bytes.div_ceil(8)
    }

    /// What may be taken while so many bytes are used. `sated`: no lease could hand out a record; then one at a time is
    /// taken, because rebalances come through the same queue.
    pub(super) fn intake(&self, used: usize, sated: bool) -> Intake {
        let room = self.budget_bytes.saturating_sub(used);
        Intake { records: if sated || room == 0 { 1 } else { BATCH_RECORDS }, bytes: room.min(BATCH_BYTES) }
    }
}

// === impl Allowance ===

impl Allowance {
    /// Whether a lease that has handed out so much may hand out one more record: the first one always.
    pub(super) fn has_credit(&self, records: usize, bytes: usize) -> bool {
        is_planted(PlantedBug::CreditIgnored)
            || (records == 0 || (records < self.live_records && bytes < self.live_bytes))
    }

    /// Whether a lease with so much buffered should not be fetched. One that is not fetched is fetched again at three quarters of
    /// it: what is left has to last until something comes.
    pub(super) fn throttles(&self, records: usize, bytes: usize, throttled: bool) -> bool {
        let reaches = |buffered: usize, limit: usize| buffered >= if throttled { limit - limit / 4 } else { limit };
        reaches(records, self.buffered_records) || reaches(bytes, self.buffered_bytes)
    }
}
