//! Requests that began and whose outcome is not committed yet. While a partition has as many of them as its window may hold, none
//! begins: whoever takes it over sends all of them again.
//!
//! A window bounds its own, for it keeps its records until they are committed. What is read back from lists is in no window.

use std::collections::{BTreeSet, HashMap};

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
    in_flight: usize,
    /// Outcomes that wait for their transaction, also of what left without a request.
    ended: usize,
    /// Lanes whose turn came meanwhile.
    held: BTreeSet<SubscriptionId>,
}

// === impl Unsettled ===

impl Unsettled {
    /// Whether a lane has to wait for a commit.
    pub(super) fn holds(&mut self, lease: Epoch, id: SubscriptionId, most: usize) -> bool {
        let Some(outcomes) = self.leases.get_mut(&lease).filter(|it| it.in_flight + it.ended >= most) else {
            return false;
        };
        outcomes.held.insert(id);
        true
    }

    pub(super) fn began(&mut self, lease: Epoch) {
        self.leases.entry(lease).or_default().in_flight += 1;
    }

    pub(super) fn forget(&mut self, leases: &[Epoch]) {
        self.leases.retain(|epoch, _| !leases.contains(epoch));
    }
}

// === impl Engine: outcomes ===

impl<L: Lookup> Engine<L> {
    /// A request ended; if its outcome is to be committed, [`Engine::resolved`] follows.
    pub(super) fn ended(&mut self, lease: Epoch) {
        self.give(lease, |outcomes| &mut outcomes.in_flight, 1);
    }

    /// An outcome waits for its transaction.
    pub(crate) fn resolved(&mut self, lease: Epoch) {
        self.unsettled.leases.entry(lease).or_default().ended += 1;
    }

    /// So many of a lease are committed.
    pub(crate) fn settled(&mut self, lease: Epoch, count: usize) {
        self.give(lease, |outcomes| &mut outcomes.ended, count);
    }

    fn give(&mut self, lease: Epoch, of: fn(&mut Outcomes) -> &mut usize, count: usize) {
        let Some(outcomes) = self.unsettled.leases.get_mut(&lease) else { return };
        let left = of(outcomes);
        *left = left.saturating_sub(count);
        if !outcomes.held.is_empty() && outcomes.in_flight + outcomes.ended < self.rules.look_ahead.records {
            std::mem::take(&mut outcomes.held).into_iter().for_each(|id| self.wake(id));
        }
    }
}
