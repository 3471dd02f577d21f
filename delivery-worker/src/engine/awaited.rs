//! After a takeover nothing of a partition is sent before its window was read again: what stands there is the oldest, and its lists
//! must not overtake it.

use std::collections::BTreeSet;

use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::{Engine, Lookup, Timer};
use crate::flaws::{self, Flaw};

/// A record that was not done and does not come again within this time is gone.
const AWAIT_MS: i64 = 10_000;

/// Offsets of a window that were not done and are read again.
#[derive(Debug)]
pub(super) struct Awaited {
    offsets: BTreeSet<i64>,
    until_ms: i64,
}

impl Awaited {
    fn is_over(&self, now_ms: i64) -> bool {
        self.until_ms <= now_ms
    }
}

impl<L: Lookup> Engine<L> {
    /// A lease begins; these offsets of its window are read again first. Nothing of it is sent before: they are the oldest.
    pub(crate) fn begin(&mut self, lease: Epoch, awaited: BTreeSet<i64>, now_ms: i64) {
        if !awaited.is_empty() && !flaws::has(Flaw::NewerFirst) {
            self.awaited.insert(lease, Awaited { offsets: awaited, until_ms: now_ms + AWAIT_MS });
            self.set_timer(now_ms + AWAIT_MS, Timer::Awaited(lease));
        }
    }

    /// A record of a window was read, whatever it is.
    pub(crate) fn seen(&mut self, lease: Epoch, offset: i64, now_ms: i64) {
        let Some(awaited) = self.awaited.get_mut(&lease) else { return };
        awaited.offsets = awaited.offsets.split_off(&(offset + 1));
        if awaited.offsets.is_empty() {
            self.stop_awaiting(lease, now_ms);
        }
    }

    /// What did not come by now is gone.
    pub(super) fn end_awaiting(&mut self, lease: Epoch, now_ms: i64) {
        if self.awaited.get(&lease).is_some_and(|awaited| awaited.is_over(now_ms)) {
            tracing::warn!(lease = lease.0, "records that were not done did not come again; their partition goes on");
            self.stop_awaiting(lease, now_ms);
        }
    }

    pub(super) fn stop_awaiting(&mut self, lease: Epoch, now_ms: i64) {
        if self.awaited.remove(&lease).is_none() {
            return;
        }
        let mut ids: Vec<SubscriptionId> =
            self.lanes.iter().filter(|(_, lane)| lane.lease == lease).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            self.feed(id, now_ms);
            self.wake(id);
        }
    }
}
