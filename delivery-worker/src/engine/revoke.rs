//! What of the engine goes with a lease, and what a worker that stood still forgets.

use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::{Engine, Lookup, State};
use crate::slots::Ticket;

impl<L: Lookup> Engine<L> {
    /// These leases go: what is queued is dropped. What is in flight stays if it can still be committed.
    pub(crate) fn revoke(&mut self, leases: &[Epoch], can_commit: bool) {
        let gone: Vec<(Ticket, State, SubscriptionId)> = self
            .live
            .iter()
            .filter(|(_, live)| leases.contains(&live.arrival.lease))
            .map(|(ticket, live)| (ticket, live.state, live.arrival.delivery.subscription))
            .collect();
        for (ticket, state, _) in &gone {
            if *state == State::Waiting {
                self.take(*ticket);
            } else if !can_commit && let Some(live) = self.live.get_mut(*ticket) {
                live.state = State::Abandoned;
            }
        }
        let live = &self.live;
        for (_, _, id) in &gone {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.queue.retain(|ticket| live.get(*ticket).is_some());
            }
        }
        let mut orphans = Vec::new();
        for (id, lane) in &mut self.lanes {
            if leases.contains(&lane.lease) {
                lane.is_orphan = true;
                lane.queue.drop_offsets();
            }
            if lane.is_orphan && lane.is_idle() {
                orphans.push(*id);
            }
        }
        orphans.into_iter().for_each(|id| self.drop_lane(id));
        self.close(leases, can_commit);
    }

    /// This process itself stood still until now: that no request ended meanwhile says nothing about any endpoint.
    pub(crate) fn forget_stalls(&mut self, now_ms: i64) {
        for lane in self.lanes.values_mut() {
            lane.cap.forget_stall(now_ms);
        }
    }
}
