//! What the windows of a worker's leases hold, and which of them are short of room.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::Arrival;

/// What a partition may hold in its window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookAhead {
    /// Records.
    pub(crate) records: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// Bytes of all partitions together; each has its share.
    pub(crate) budget: usize,
    /// Offsets from its oldest record to its newest: what a takeover reads again, and what the metadata have to hold.
    pub(crate) span: i64,
}

/// The windows of all leases.
#[derive(Debug, Default)]
pub(super) struct Windows {
    pub(super) held: HashMap<Epoch, Held>,
    /// Records of all partitions that are known to be there and were not committed as done.
    behind: i64,
    pub(super) surveyed_ms: i64,
    /// Leases in whose window a request had been in flight for longer than `lane_wait` then.
    pub(super) stuck: Vec<Epoch>,
    /// When a window that is short of room is looked at again.
    pub(super) wake_ms: Option<i64>,
}

/// What one window holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) records: usize,
    bytes: usize,
    /// Of each lane: a look at a window costs as much as there are lanes in it, and not as there are records.
    pub(super) by_lane: HashMap<SubscriptionId, usize>,
    pub(super) read_up_to: i64,
    /// Since when it has been full without surplus, ms.
    pub(super) full_ms: Option<i64>,
    pub(super) look_ms: i64,
}

// === impl Windows ===

impl Windows {
    pub(super) fn admit(&mut self, arrival: &Arrival) {
        let held = self.held.entry(arrival.lease).or_default();
        held.records += 1;
        held.bytes += arrival.size;
        held.read_up_to = held.read_up_to.max(arrival.offset + 1);
        *held.by_lane.entry(arrival.delivery.subscription).or_default() += 1;
    }

    pub(super) fn take(&mut self, arrival: &Arrival) {
        let Some(held) = self.held.get_mut(&arrival.lease) else { return };
        held.records = held.records.saturating_sub(1);
        held.bytes = held.bytes.saturating_sub(arrival.size);
        if let Entry::Occupied(mut of_lane) = held.by_lane.entry(arrival.delivery.subscription) {
            *of_lane.get_mut() -= 1;
            if *of_lane.get() == 0 {
                of_lane.remove();
            }
        }
    }

    pub(super) fn close(&mut self, leases: &[Epoch]) {
        self.held.retain(|epoch, _| !leases.contains(epoch));
    }

    pub(super) fn set_behind(&mut self, records: i64) {
        self.behind = records;
    }

    /// When one is looked at again at the earliest.
    #[cfg(test)]
    pub(super) fn look_ms(&self, epoch: Epoch) -> Option<i64> {
        self.held.get(&epoch).map(|held| held.look_ms)
    }

    /// What each of them may hold now.
    pub(super) fn most(&self, most: LookAhead) -> LookAhead {
        LookAhead { bytes: most.bytes.min(most.budget / self.held.len().max(1)), ..most }
    }

    pub(super) fn wake_ms(&self) -> Option<i64> {
        self.wake_ms
    }

    fn records(&self) -> usize {
        self.held.values().map(|held| held.records).sum()
    }

    /// Leases whose window is short of room now, in their order.
    pub(super) fn short(&self, most: LookAhead, now_ms: i64) -> Vec<Epoch> {
        let lies_behind = self.behind > i64::try_from(self.records()).unwrap_or(i64::MAX);
        let is_short = |held: &Held| {
            let is_full = held.records >= most.records || held.bytes >= most.bytes;
            held.look_ms <= now_ms && (is_full || (lies_behind && held.is_nearly_full(most)))
        };
        let mut short: Vec<Epoch> =
            self.held.iter().filter(|(_, held)| is_short(held)).map(|(epoch, _)| *epoch).collect();
        short.sort_unstable();
        short
    }
}

impl Held {
    pub(super) fn is_nearly_full(&self, most: LookAhead) -> bool {
        self.records * 10 >= most.records * 9 || self.bytes >= most.bytes / 10 * 9
    }

    pub(super) fn is_half_free(&self, most: LookAhead) -> bool {
        self.records <= most.records / 2 && self.bytes <= most.bytes / 2
    }
}
