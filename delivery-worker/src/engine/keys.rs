//! Deliveries of one ordering key go one after the other, and one that failed holds its key until it has ended.
//!
//! ```text
//! sent --outcome--> ended for good: the next of its key may go
//!             |
//!             +--> a retry: its key is held. That stands in the lane's record BEFORE the retry is written, and is taken out of it
//!                  BEFORE the end of the retry is: whoever takes over in between holds a key whose delivery it has itself, or sends
//!                  one again that comes first anyway.
//! ```

use kafka::Epoch;
use schemas::ids::SubscriptionId;
use schemas::lanes::HeldKey;
use schemas::ordering::OrderingKey;

use super::{Arrival, Engine, LaneChange, Lookup};
use crate::flaws::{self, Flaw};
use crate::lanes::keys::Keyed;
use crate::lanes::queue::Rank;
use crate::slots::Ticket;

/// What is on its way back comes at its deadline at the latest, and may be late.
const LATE_MS: i64 = 3_600_000;

impl<L: Lookup> Engine<L> {
    /// A request has ended, for good or until its retry. To be told before its end is written; what follows from it is among
    /// [`Engine::take_changes`], which is written first. True: there is something of that.
    pub(crate) fn end_of_key(&mut self, arrival: &Arrival, is_retried: bool, now_ms: i64) -> bool {
        let delivery = &arrival.delivery;
        let Some(key) = delivery.ordering_key else { return false };
        let (id, lease) = (delivery.subscription, arrival.lease);
        let held = HeldKey {
            key,
            delivery: delivery.id,
            matched_at: delivery.control_offset,
            until_ms: delivery.deadline_ms.saturating_add(LATE_MS),
        };
        // Nobody waits for one that was given up while its request was in flight: it is cancelled when it is back.
        let is_skipped = self.lookup.subscription(id).is_some_and(|it| it.skips(delivery.id));
        let held = Some(held).filter(|_| is_retried && !is_skipped && !flaws::has(Flaw::KeyNotHeld));
        // What was never on its way back has no key to free.
        let was_back = delivery.hop.attempt > 1 || delivery.hop.due_ms > 0;
        let is_told = held.is_some() || was_back;
        if is_told {
            self.hold(lease, id, key, held);
        }
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.lease == lease && !lane.is_orphan) {
            lane.queue.ended(key, held);
            self.go_on(id, now_ms);
        }
        is_told
    }

    /// What the owner before held of a lane.
    pub(crate) fn restore_keys(&mut self, lease: Epoch, id: SubscriptionId, held: &[HeldKey], now_ms: i64) {
        if held.is_empty() || flaws::has(Flaw::HeldKeyForgotten) {
            return;
        }
        let lane = self.lane(id, lease, now_ms);
        (lane.lease, lane.is_orphan) = (lease, false);
        held.iter().for_each(|held| lane.queue.restore(*held));
        self.free_cancelled(id);
    }

    /// A delivery ends without being sent: what waited for it goes on.
    pub(super) fn left_key(&mut self, arrival: &Arrival) {
        let Some(key) = arrival.delivery.ordering_key else { return };
        let (id, delivery) = (arrival.delivery.subscription, arrival.delivery.id);
        let waited = self.lanes.get_mut(&id).is_some_and(|lane| lane.queue.release(Keyed { key, delivery }));
        if waited {
            self.hold(arrival.lease, id, key, None);
        }
    }

    /// What keys wait for will be cancelled when it is back, or was given up: the others need not wait.
    pub(super) fn free_cancelled(&mut self, id: SubscriptionId) {
        if !self.lanes.get(&id).is_some_and(|lane| lane.queue.has_held()) {
            return;
        }
        let subscription = self.lookup.subscription(id);
        let is_over = |held: &HeldKey| {
            subscription.as_ref().is_none_or(|it| it.cancels(held.matched_at) || it.skips(held.delivery))
        };
        self.free_where(id, is_over);
    }

    /// What keys wait for has not come back in all its life.
    pub(super) fn free_overdue(&mut self, id: SubscriptionId, now_ms: i64) {
        let wall_ms = self.wall.ms(now_ms);
        if self.free_where(id, |held| held.until_ms <= wall_ms) {
            tracing::warn!(subscription.id = %id, "a delivery that its ordering key waited for never came back: the others go on");
        }
    }

    fn free_where(&mut self, id: SubscriptionId, is_over: impl Fn(&HeldKey) -> bool) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let (lease, free) = (lane.lease, lane.queue.release_where(is_over));
        for key in &free {
            self.hold(lease, id, *key, None);
        }
        !free.is_empty()
    }

    fn hold(&mut self, lease: Epoch, subscription: SubscriptionId, key: OrderingKey, held: Option<HeldKey>) {
        self.changes.push(LaneChange::Key { lease, subscription, key, held });
    }

    /// One that is listed and waits behind others of its key need not be in memory.
    pub(super) fn drop_behind(&mut self, id: SubscriptionId, rank: Rank, ticket: Ticket) {
        let is_behind = self.live.get(ticket).is_some_and(|live| live.is_listed)
            && self.lanes.get(&id).is_some_and(|lane| lane.queue.is_behind(rank));
        if is_behind {
            self.drop_payload(id, rank, ticket);
        }
    }

    /// One that is listed waits as an offset from now on.
    pub(super) fn drop_payload(&mut self, id: SubscriptionId, rank: Rank, ticket: Ticket) {
        self.take(ticket);
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.queue.drop_payload(rank);
        }
    }
}
