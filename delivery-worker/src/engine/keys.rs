//! Deliveries of one ordering key go one after the other, and one that failed holds its key until it has ended.
//!
//! ```text
//! sent --outcome--> ended for good: the next of its key may go
//!             |
//!             +--> a retry: its key is held. That comes to stand in the lane's record WITH the retry, and is taken out of it BEFORE
//!                  the end of the retry is written: whoever takes over in between sends one again that comes first anyway.
//! ```

use kafka::Epoch;
use schemas::delivery::Delivery;
use schemas::ids::SubscriptionId;
use schemas::lanes::{HeldKey, PendingRetry};
use schemas::ordering::OrderingKey;

use super::{Arrival, Engine, LaneChange, Lookup};
use crate::flaws::{self, Flaw};
use crate::lanes::keys::Keyed;
use crate::lanes::queue::Rank;
use crate::slots::Ticket;

/// What is on its way back comes at its deadline at the latest, and may be late.
const LATE_MS: i64 = 3_600_000;

/// What the end of a request does to the ordering key of its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyEnd {
    /// Nothing that has to be written.
    Untold,
    /// It waits for nothing any more: that is among [`Engine::take_changes`], which are written before the end.
    Freed,
    /// It waits for the retry: that is written with the end.
    Held(HeldKey),
}

// === impl KeyEnd ===

impl KeyEnd {
    /// What the key waits for from now on.
    pub(crate) fn held(self) -> Option<HeldKey> {
        if let Self::Held(held) = self { Some(held) } else { None }
    }
}

impl<L: Lookup> Engine<L> {
    /// A request has ended, for good or until its retry. To be told before its end is written.
    pub(crate) fn end_of_key(&mut self, arrival: &Arrival, retry: Option<PendingRetry>, now_ms: i64) -> KeyEnd {
        let delivery = &arrival.delivery;
        let Some(key) = delivery.ordering_key else { return KeyEnd::Untold };
        let (id, lease) = (delivery.subscription, arrival.lease);
        // Nobody waits for one that was given up while its request was in flight: it is cancelled when it is back.
        let is_skipped = self.lookup.subscription(id).is_some_and(|it| it.skips(delivery.id));
        let held = retry.filter(|_| !is_skipped && !flaws::has(Flaw::KeyNotHeld)).map(|retry| HeldKey {
            key,
            delivery: delivery.id,
            matched_at: delivery.control_offset,
            until_ms: delivery.deadline_ms.saturating_add(LATE_MS),
            retry: Some(retry),
            listed_at: None,
        });
        // What was never on its way back has no key to free.
        let was_back = delivery.hop.attempt > 1 || delivery.hop.due_ms > 0;
        let end = match &held {
            Some(held) => KeyEnd::Held(held.clone()),
            None if was_back => KeyEnd::Freed,
            None => KeyEnd::Untold,
        };
        match end {
            KeyEnd::Held(_) => {
                self.holding.insert(id);
            }
            KeyEnd::Freed => self.free(lease, id, key),
            KeyEnd::Untold => {}
        }
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.lease == lease && !lane.is_orphan) {
            lane.queue.ended(key, held);
            self.go_on(id, now_ms);
        }
        end
    }

    /// What the owner before held of a lane.
    pub(crate) fn restore_keys(&mut self, lease: Epoch, id: SubscriptionId, held: &[HeldKey], now_ms: i64) {
        if held.is_empty() || flaws::has(Flaw::HeldKeyForgotten) {
            return;
        }
        let lane = self.lane(id, lease, now_ms);
        (lane.lease, lane.is_orphan) = (lease, false);
        held.iter().for_each(|held| lane.queue.hold(held.clone()));
        self.holding.insert(id);
        self.free_cancelled(id);
        self.ask_hurried(id, now_ms);
    }

    /// A delivery ends without being sent: what waited for it goes on.
    pub(super) fn left_key(&mut self, arrival: &Arrival) {
        let Some(key) = arrival.delivery.ordering_key else { return };
        let (id, delivery) = (arrival.delivery.subscription, arrival.delivery.id);
        let waited = self.lanes.get_mut(&id).is_some_and(|lane| lane.queue.release(Keyed { key, delivery }));
        if waited {
            self.free(arrival.lease, id, key);
        }
    }

    /// The retry that a key was to wait for can never be written: the others need not wait. Nothing of it was told before its end.
    pub(crate) fn unhold(&mut self, lease: Epoch, id: SubscriptionId, held: &HeldKey, now_ms: i64) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.lease == lease) {
            lane.queue.release_where(|it| it == held);
            self.go_on(id, now_ms);
        }
    }

    /// A delivery that was to go back to a delay topic has ended instead: what waited for it goes on.
    pub(crate) fn ended_on_its_way(&mut self, lease: Epoch, delivery: &Delivery, now_ms: i64) {
        let (Some(key), id) = (delivery.ordering_key, delivery.subscription) else { return };
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.lease == lease) else { return };
        if lane.queue.release(Keyed { key, delivery: delivery.id }) {
            self.free(lease, id, key);
            self.go_on(id, now_ms);
        }
    }

    /// What stood in a lane's list at this offset is lost, and with it what a key may have waited for.
    pub(super) fn free_lost(&mut self, id: SubscriptionId, offset: i64) {
        self.free_where(id, |held| held.listed_at == Some(offset));
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
            self.free(lease, id, *key);
        }
        !free.is_empty()
    }

    fn free(&mut self, lease: Epoch, subscription: SubscriptionId, key: OrderingKey) {
        self.changes.push(LaneChange::Freed { lease, subscription, key });
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
