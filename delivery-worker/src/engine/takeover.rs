//! What of a lane goes from one owner to the next.

use schemas::ids::SubscriptionId;

use super::{Engine, Lookup};
use crate::lanes::condition::LaneCondition;
use kafka::Epoch;

impl<L: Lookup> Engine<L> {
    /// What of a lane is to be kept, where it differs from a new one's.
    #[cfg_attr(not(test), expect(dead_code, reason = "written with the lanes' records, which are being built"))]
    pub(crate) fn condition(&self, id: SubscriptionId, now_ms: i64) -> LaneCondition {
        self.lanes.get(&id).map(|lane| lane.condition(self.wall.ahead_ms, now_ms)).unwrap_or_default()
    }

    /// Makes a lane that goes on from what the owner before kept of it.
    #[cfg_attr(not(test), expect(dead_code, reason = "read with the lanes' records, which are being built"))]
    pub(crate) fn restore_condition(&mut self, id: SubscriptionId, was: &LaneCondition, lease: Epoch, now_ms: i64) {
        let clock = (self.wall.ahead_ms, self.rules.longest_hold_ms);
        self.lane(id, lease, now_ms).restore(was, clock, now_ms);
        self.count_circuit(id);
    }
}
