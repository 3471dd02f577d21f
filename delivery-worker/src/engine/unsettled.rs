//! Outcomes that are not committed yet. While a partition has as many of them as its window may hold, none of its requests begins:
//! whoever takes it over sends all of them again.
//!
//! A window bounds its own, for it keeps its records until they are committed. What is read back from lists is in no window. What
//! is in flight does not count: lanes that hang hold no other one up.
//!
//! What left without a request is never sent again, and holds nobody. But reading back would go on faster than it is committed, with
//! a payload for each dead letter: while so much of it waits that it fills a transaction, nothing more is read back.

use std::collections::HashMap;

use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::{Engine, Lookup};

/// What left its list without a request and is not committed: so many, or so many bytes of what is written about them, fill a
/// transaction.
const LEFT: usize = 1_000;
const LEFT_BYTES: usize = 1024 * 1024;

/// By lease.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    leases: HashMap<Epoch, Outcomes>,
}

#[derive(Debug, Default)]
struct Outcomes {
    /// Of requests: they wait for their transaction.
    sent: usize,
    /// Of what was read back and left without a request, and the bytes that are written about it.
    left: usize,
    left_bytes: usize,
    /// Lanes whose turn came meanwhile, in that order: whoever was not served comes before whoever was.
    held: Vec<SubscriptionId>,
}

/// What a transaction has committed of a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Outcomes of requests.
    pub(crate) sent: usize,
    /// Outcomes of what was read back and left without a request.
    pub(crate) left: usize,
    /// Bytes that were written about those.
    pub(crate) left_bytes: usize,
}

impl<L: Lookup> Engine<L> {
    /// Whether a lane has to wait for a commit.
    pub(super) fn is_held_for_commit(&mut self, id: SubscriptionId) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let most = self.rules.look_ahead.records;
        let outcomes = self.unsettled.leases.get_mut(&lane.lease);
        let Some(outcomes) = outcomes.filter(|outcomes| outcomes.sent >= most) else { return false };
        if !std::mem::replace(&mut lane.held_back.by_commit, true) {
            outcomes.held.push(id);
        }
        true
    }

    /// The outcome of a request waits for its transaction.
    pub(crate) fn resolved(&mut self, lease: Epoch) {
        self.unsettled.leases.entry(lease).or_default().sent += 1;
    }

    /// One that was read back has left without a request, and so many bytes about it wait for their transaction.
    pub(crate) fn left_list(&mut self, lease: Epoch, bytes: usize) {
        let outcomes = self.unsettled.leases.entry(lease).or_default();
        outcomes.left += 1;
        outcomes.left_bytes += bytes;
    }

    /// Whether so much of that waits that nothing more is to be read back.
    pub(crate) fn is_full_of_left(&self) -> bool {
        let of = |outcomes: &Outcomes| (outcomes.left, outcomes.left_bytes);
        let add = |all: (usize, usize), of: (usize, usize)| (all.0 + of.0, all.1 + of.1);
        let (left, bytes) = self.unsettled.leases.values().map(of).fold((0, 0), add);
        left >= LEFT || bytes >= LEFT_BYTES
    }

    /// This is committed of a lease.
    pub(crate) fn settled(&mut self, lease: Epoch, settled: Settled) {
        let Some(outcomes) = self.unsettled.leases.get_mut(&lease) else { return };
        outcomes.left = outcomes.left.saturating_sub(settled.left);
        // What was too large has been replaced, and fewer bytes were written than were counted.
        outcomes.left_bytes =
            if outcomes.left == 0 { 0 } else { outcomes.left_bytes.saturating_sub(settled.left_bytes) };
        outcomes.sent = outcomes.sent.saturating_sub(settled.sent);
        if outcomes.sent < self.rules.look_ahead.records {
            let held = std::mem::take(&mut outcomes.held);
            self.release_for_commit(held);
        }
    }

    /// Outcomes of a lease that wait for their transaction: of requests, and of what left without one.
    #[cfg(test)]
    pub(crate) fn unsettled(&self, lease: Epoch) -> (usize, usize) {
        self.unsettled.leases.get(&lease).map_or((0, 0), |outcomes| (outcomes.sent, outcomes.left))
    }

    /// These leases are over: what they owed holds nobody.
    pub(super) fn forget_unsettled(&mut self, leases: &[Epoch]) {
        for lease in leases {
            if let Some(outcomes) = self.unsettled.leases.remove(lease) {
                self.release_for_commit(outcomes.held);
            }
        }
    }

    fn release_for_commit(&mut self, held: Vec<SubscriptionId>) {
        for id in held {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.held_back.by_commit = false;
            }
            self.wake(id);
        }
    }
}
