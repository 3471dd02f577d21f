//! Where a delivery goes when it arrives or becomes due: out, to a later time, to a delay topic, or into its lane.

use std::sync::Arc;

use catalog::Subscription;
use schemas::delivery::{Hop, Wait};
use schemas::ids::SubscriptionId;
use schemas::planted::{PlantedBug, is_planted};

use super::endpoint::is_ping;
use super::{Engine, Left, Lookup, State, Timer};
use crate::lanes::Limits;
use crate::lanes::breaker::Admission;
use crate::lanes::identity::EndpointIdentity;
use crate::lanes::pace::least_ms;
use crate::settle::End;
use crate::slots::Ticket;

/// What may lie between two hosts' clocks: a due time this much beyond the shortest tier is still waited out here.
const SKEW_MS: i64 = 1_000;

impl<L: Lookup> Engine<L> {
    /// See the module.
    pub(super) fn place(&mut self, ticket: Ticket, now_ms: i64) {
        let Some(subscription) = self.screen(ticket, now_ms) else { return };
        let Some(live) = self.live.get(ticket) else { return };
        debug_assert_eq!(live.state, State::Waiting, "only what waits is placed");
        let hop = live.arrival.delivery.hop;
        let lease = live.arrival.lease;
        let is_ping = is_ping(&live.arrival.delivery);
        let due_in_ms = hop.due_ms.saturating_sub(self.wall.ms(now_ms));
        if due_in_ms > 0 && !is_planted(PlantedBug::BeforeDue) {
            if due_in_ms > self.rules.shortest_ms + SKEW_MS {
                return self.leave(ticket, End::PassedOn);
            }
            return self.set_timer(now_ms + due_in_ms, Timer::Due(ticket));
        }
        let id = subscription.id();
        let lane = self.lane(id, lease, now_ms);
        if lane.lease != lease {
            // Between two leases another worker may have had the partition, and a success: what was seen here before is no
            // evidence any more. What still is, the retries carry.
            lane.streak.forget();
        }
        lane.lease = lease;
        lane.is_orphan = false;
        let is_resumed = std::mem::take(&mut lane.is_paused);
        if is_resumed {
            // Whoever did that may have mended the endpoint.
            lane.probe_now();
        }
        if hop.failing_since_ms.is_some() {
            lane.streak.on_stamp();
        }
        if is_resumed {
            self.paused.remove(&id);
        }
        self.limit(id, &subscription);
        if is_ping {
            return self.go_first(id, ticket);
        }
        match self.wait_for(id, hop, now_ms) {
            Some(wait) => self.park(ticket, wait, now_ms),
            None => {
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.queue.push(ticket);
                }
                self.wake(id);
                self.watch(id, now_ms);
            }
        }
    }

    /// The subscription of a delivery that may still be sent; else it leaves (or, where the subscription is paused, is parked).
    pub(super) fn screen(&mut self, ticket: Ticket, now_ms: i64) -> Option<Arc<Subscription>> {
        let delivery = &self.live.get(ticket)?.arrival.delivery;
        let end = match self.lookup.subscription(delivery.subscription) {
            None => End::Cancelled("deleted"),
            Some(subscription) if subscription.cancels(delivery.control_offset) => End::Cancelled("disabled"),
            Some(_) if delivery.deadline_ms <= self.wall.ms(now_ms) => End::too_old(),
            Some(subscription) if subscription.is_paused() && delivery.hop.due_ms <= self.wall.ms(now_ms) => {
                let lease = self.live.get(ticket)?.arrival.lease;
                self.lane(subscription.id(), lease, now_ms).is_paused = true;
                self.paused.insert(subscription.id());
                self.park(ticket, Wait::Paused, now_ms);
                return None;
            }
            Some(subscription) => return Some(subscription),
        };
        self.leave(ticket, end);
        None
    }

    /// Looks again at everything that waits in a lane.
    pub(super) fn review_lane(&mut self, id: SubscriptionId, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        for ticket in lane.queue.beyond(0) {
            let Some(subscription) = self.screen(ticket, now_ms) else { continue };
            self.limit(id, &subscription);
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.queue.push(ticket);
            }
        }
        self.wake(id);
    }

    /// What keeps one more delivery out of its lane, if anything does.
    fn wait_for(&self, id: SubscriptionId, hop: Hop, now_ms: i64) -> Option<Wait> {
        // Everything fails at once: nothing is parked, intake holds by its own limits.
        if self.egress.is_held() {
            return None;
        }
        let lane = self.lanes.get(&id)?;
        match lane.breaker.admission(now_ms) {
            Admission::Send => {}
            // One waits here for the next probe.
            Admission::Wait(_) if lane.queue.is_empty() => return None,
            Admission::Wait(_) => return Some(Wait::Circuit),
            // What is in flight decides soon, and if it goes well, more go.
            Admission::Probing => {}
        }
        if lane.queue.len() > lane.room(self.rules.lane_wait, now_ms) {
            return Some(Wait::Lane);
        }
        // What was parked comes back at the lane's own pace; a fresh one does not overtake it.
        let ahead_ms = lane.pace.ahead_ms(now_ms, self.rules.shortest_ms);
        (hop.wait != Wait::Lane && ahead_ms > self.rules.lane_wait.ms).then_some(Wait::Lane)
    }

    /// Parks what a lane that became slower cannot take within `lane_wait`.
    pub(super) fn trim(&mut self, id: SubscriptionId, now_ms: i64) {
        if self.egress.is_held() {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.queue.is_empty() {
            return;
        }
        let room = lane.room(self.rules.lane_wait, now_ms);
        for ticket in lane.queue.beyond(room.saturating_add(1)) {
            self.park(ticket, Wait::Lane, now_ms);
        }
        self.watch(id, now_ms);
    }

    /// A circuit opened: its queue is parked, but for the one that will be the probe.
    pub(super) fn park_beyond_probe(&mut self, id: SubscriptionId, now_ms: i64) {
        if self.egress.is_held() {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        for ticket in lane.queue.beyond(1) {
            self.park(ticket, Wait::Circuit, now_ms);
        }
    }

    /// A full lane with a queue is looked at again after `lane_wait`, whether or not anything ends until then.
    pub(super) fn watch(&mut self, id: SubscriptionId, now_ms: i64) {
        if self.lanes.get(&id).is_some_and(|lane| !lane.queue.is_empty() && !lane.cap.has_room()) {
            self.set_lane_timer(id, now_ms + self.rules.lane_wait.ms);
        }
    }

    /// Takes a subscription's limits into its lane where they are new.
    pub(super) fn limit(&mut self, id: SubscriptionId, subscription: &Subscription) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.limits_of == Some(subscription.offset()) {
            return;
        }
        let identity = EndpointIdentity::of(subscription);
        let limits = Limits {
            concurrency: subscription.concurrency().unwrap_or(self.rules.lane_concurrency),
            per_second: subscription.rate_per_second(),
        };
        if let Err(error) = lane.set_limits(limits, subscription.offset()) {
            tracing::warn!(subscription.id = %id, %error, "the subscription's rate cannot be kept, the former one stays");
        }
        self.identify(id, identity);
    }

    fn park(&mut self, ticket: Ticket, wait: Wait, now_ms: i64) {
        let Some(live) = self.live.get(ticket) else { return };
        let delivery = &live.arrival.delivery;
        let hop = delivery.hop;
        let is_lane = wait == Wait::Lane;
        let base_ms =
            if is_lane { self.rules.shortest_ms } else { self.rules.long_park_ms.max(self.rules.shortest_ms) };
        let least_ms = least_ms(base_ms, hop.parks, is_lane, now_ms);
        let Some(lane) = self.lanes.get_mut(&delivery.subscription) else { return };
        let per_second = lane.per_second(self.rules.lane_wait, now_ms);
        let due_ms = match wait {
            Wait::Lane => lane.pace.slot(now_ms, base_ms, per_second).max(now_ms + least_ms),
            // A pause says nothing about the endpoint: what it holds back is not spread, so that a resume brings it all back
            // within one park. What is too much at once then, the lane parks at its own pace.
            Wait::Paused => now_ms + least_ms,
            Wait::Circuit | Wait::None | Wait::Retry => {
                // A lane that does nothing says nothing about its rate; its cap does.
                let per_second = per_second.max(f64::from(lane.cap.limit()));
                lane.long_pace.slot(now_ms, least_ms, per_second)
            }
        };
        // Not beyond its life, so that it dies when its time has come; not below the shortest tier either.
        let due_ms = due_ms.min(delivery.deadline_ms.max(now_ms + self.rules.shortest_ms));
        let first = hop.parks.count == 0;
        let hop = Hop { due_ms, wait, parks: hop.parks.parked(now_ms), ..hop };
        self.leave(ticket, End::Parked { hop, first });
    }

    fn leave(&mut self, ticket: Ticket, mut end: End) {
        if let End::Parked { hop, .. } = &mut end {
            // Slots are in the engine's time, due times are the wall's.
            hop.due_ms = self.wall.ms(hop.due_ms);
        }
        if let Some(live) = self.live.remove(ticket) {
            self.left.push(Left { arrival: live.arrival, end });
        }
    }
}
