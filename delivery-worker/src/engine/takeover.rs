//! What of a lane goes from one owner to the next, beside its lists.

use schemas::ids::SubscriptionId;

use super::{Engine, LaneChange, Lookup};
use crate::lanes::condition::{CircuitCondition, EndpointChange, LaneCondition};
use crate::lanes::identity;
use kafka::Epoch;

impl<L: Lookup> Engine<L> {
    /// Tells what is to be kept of a lane, where that has changed.
    pub(super) fn tell(&mut self, id: SubscriptionId, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| !lane.is_orphan) else { return };
        let Some(condition) = lane.take_news(self.wall.ahead_ms, now_ms) else { return };
        self.changes.push(LaneChange::Condition { lease: lane.lease, subscription: id, condition });
    }

    /// A lane is forgotten: nothing has to be kept of it.
    pub(super) fn tell_blank(&mut self, id: SubscriptionId) {
        let Some(lane) = self.lanes.get(&id).filter(|lane| !lane.is_orphan && lane.has_told()) else { return };
        let (lease, condition) = (lane.lease, LaneCondition::default());
        self.changes.push(LaneChange::Condition { lease, subscription: id, condition });
    }

    /// What of a lane is to be kept, where it differs from a new one's.
    #[cfg(test)]
    pub(crate) fn condition(&self, id: SubscriptionId, now_ms: i64) -> LaneCondition {
        self.lanes.get(&id).map(|lane| lane.condition(self.wall.ahead_ms, now_ms)).unwrap_or_default()
    }

    /// Makes a lane that goes on from what the owner before kept of it. What was learned of another endpoint is not this one's, and one
    /// whose subscription was changed in between probes at once, as if this owner had seen the change.
    pub(crate) fn restore_condition(&mut self, lease: Epoch, id: SubscriptionId, was: &LaneCondition, now_ms: i64) {
        if *was == LaneCondition::default() {
            return;
        }
        let clock = (self.wall.ahead_ms, self.rules.longest_hold_ms);
        let change = was.change_to(self.lookup.subscription(id).and_then(|it| identity::written(&it)));
        let lane = self.lane(id, lease, now_ms);
        (lane.lease, lane.is_orphan) = (lease, false);
        lane.restore(was, clock, now_ms);
        match change {
            EndpointChange::Same => {}
            EndpointChange::Perhaps => lane.probe_now(),
            EndpointChange::Elsewhere => lane.start_anew(),
        }
        self.count_circuit(id);
        if change != EndpointChange::Elsewhere {
            self.restore_origin(id, was, now_ms);
        }
        if change != EndpointChange::Same {
            self.tell(id, now_ms);
        }
    }

    /// What a lane kept of its origin counts for all lanes that are there, before any of them sends: else whoever takes over finds a
    /// dead host anew with a request of each.
    fn restore_origin(&mut self, id: SubscriptionId, was: &LaneCondition, now_ms: i64) {
        let Some(CircuitCondition { until_ms, wait_ms, .. }) = was.origin else { return };
        let Some(subscription) = self.lookup.subscription(id) else { return };
        self.limit(id, &subscription, now_ms);
        let key = self.lanes.get(&id).and_then(|lane| lane.identity.origin.clone());
        let until_ms = until_ms.saturating_sub(self.wall.ahead_ms);
        let circuit = key.and_then(|key| self.origins.restore(&key, (until_ms, wait_ms), now_ms));
        if let Some((lane, circuit)) = self.lanes.get_mut(&id).zip(circuit) {
            lane.restored_origin(circuit);
        }
    }
}
