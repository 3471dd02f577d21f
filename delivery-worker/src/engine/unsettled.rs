//! Outcomes that are not committed yet. While a partition has as many of them as its window may hold, none of its requests begins:
//! whoever takes it over sends all of them again.
//!
//! A window bounds its own, for it keeps its records until they are committed. What is read back from lists is in no window. What
//! is in flight does not count: lanes that hang hold no other one up.

use std::collections::HashMap;

use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::{Engine, Lookup};

/// By lease.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    leases: HashMap<Epoch, Outcomes>,
}

#[derive(Debug, Default)]
struct Outcomes {
    /// Wait for their transaction, also those of what left without a request.
    count: usize,
    /// Lanes whose turn came meanwhile, in that order: whoever was not served comes before whoever was.
    held: Vec<SubscriptionId>,
}

impl<L: Lookup> Engine<L> {
    /// Whether a lane has to wait for a commit.
    pub(super) fn is_held_for_commit(&mut self, id: SubscriptionId) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let most = self.rules.look_ahead.records;
        let outcomes = self.unsettled.leases.get_mut(&lane.lease);
        let Some(outcomes) = outcomes.filter(|outcomes| outcomes.count >= most) else { return false };
        if !std::mem::replace(&mut lane.held_back.by_commit, true) {
            outcomes.held.push(id);
        }
        true
    }

    /// An outcome waits for its transaction.
    pub(crate) fn resolved(&mut self, lease: Epoch) {
        self.unsettled.leases.entry(lease).or_default().count += 1;
    }

    /// So many of a lease are committed.
    pub(crate) fn settled(&mut self, lease: Epoch, count: usize) {
        let Some(outcomes) = self.unsettled.leases.get_mut(&lease) else { return };
        outcomes.count = outcomes.count.saturating_sub(count);
        if outcomes.count < self.rules.look_ahead.records {
            let held = std::mem::take(&mut outcomes.held);
            self.release_for_commit(held);
        }
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
