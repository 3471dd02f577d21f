//! A delivery takes off when it is its lane's turn, and its landing tells the lane and its origin about the endpoint.

use std::sync::Arc;

use schemas::delivery::Delivery;
use schemas::ids::SubscriptionId;
use schemas::invariants::Invariant;

use super::endpoint::is_ping;
use super::origins::Takeoff;
use super::{Dispatch, Engine, Live, Lookup, QueueHead, State};
use crate::classify::{AttemptVerdict, Reach};
use crate::lanes::RequestEnd;
use crate::lanes::breaker::Admission;
use crate::lanes::sign::{Sign, asked_ms};
use crate::lanes::streak::{Failed, Limit};
use crate::slots::Ticket;

impl<L: Lookup> Engine<L> {
    /// The next request of a lane whose turn it is. Whether or not it takes it, the next lane of its origin may try.
    pub(super) fn dispatch_lane(&mut self, id: SubscriptionId, now_ms: i64) -> Option<Dispatch> {
        let ticket = self.take_turn(id, now_ms);
        if let Some(key) = self.lanes.get(&id).and_then(|lane| lane.identity.origin.clone()) {
            self.unblock(&key, now_ms);
        }
        let (ticket, subscription) = ticket?;
        let live = self.live.get(ticket)?;
        if live.arrival.delivery.hop.due_ms > self.shown_ms(&live.arrival, now_ms) {
            Invariant::NeverEarly.violated();
        }
        Some(Dispatch { ticket, delivery: Arc::clone(&live.arrival.delivery), subscription })
    }

    fn take_turn(&mut self, id: SubscriptionId, now_ms: i64) -> Option<(Ticket, Arc<catalog::Subscription>)> {
        let is_nearly_full = self.is_nearly_full();
        let lane = self.lanes.get_mut(&id)?;
        lane.is_ready = false;
        if !lane.cap.has_room() || self.is_held_for_commit(id) {
            return None;
        }
        let lane = self.lanes.get_mut(&id)?;
        let QueueHead::Ready(ticket) = lane.queue.head() else {
            self.feed(id, now_ms);
            return None;
        };
        let is_probe = lane.is_probe_due || is_ping(&self.live.get(ticket)?.arrival.delivery);
        if is_nearly_full && !lane.may_use_reserve(now_ms) {
            lane.is_ready = true;
            lane.held_back.by_worker = true;
            if !std::mem::replace(&mut lane.held_back.in_held, true) {
                self.held.push(id);
            }
            return None;
        }
        if !is_probe && !self.is_admitted(id, now_ms) {
            return None;
        }
        let Some(subscription) = self.screen(ticket, now_ms) else {
            self.feed(id, now_ms);
            self.wake(id);
            return None;
        };
        self.limit(id, &subscription, now_ms);
        let rank = self.live.get(ticket)?.rank();
        let is_once = self.live.get(ticket)?.arrival.delivery.is_once();
        let lane = self.lanes.get_mut(&id)?;
        // One attempt that was asked for is made whatever the subscription's state.
        if lane.is_paused && !is_once {
            return None;
        }
        if let Err(next_ms) = lane.rate.try_take(now_ms) {
            self.set_lane_timer(id, next_ms);
            return None;
        }
        lane.queue.send(rank);
        self.take_off(id, ticket, now_ms);
        self.feed(id, now_ms);
        self.wake(id);
        Some((ticket, subscription))
    }

    /// Whether the lane's circuit and its origin let the next one through; if not, something will wake it.
    fn is_admitted(&mut self, id: SubscriptionId, now_ms: i64) -> bool {
        let Some(lane) = self.lanes.get(&id) else { return false };
        match lane.admission(now_ms) {
            Admission::Send => {}
            Admission::Wait(until_ms) => {
                self.set_lane_timer(id, until_ms);
                return false;
            }
            // Its next end wakes it.
            Admission::Probing => return false,
        }
        let standing = lane.standing(now_ms);
        let Some(key) = lane.identity.origin.clone() else { return true };
        self.passes_origin(id, &key, standing, now_ms)
    }

    fn take_off(&mut self, id: SubscriptionId, ticket: Ticket, now_ms: i64) {
        let Some(live) = self.live.get_mut(ticket) else { return };
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let standing = lane.standing(now_ms);
        let sent = lane.on_send(now_ms);
        let key = lane.identity.origin.as_ref();
        let origin = key.and_then(|key| Some((key.clone(), self.origins.get_mut(key)?.on_send(standing, now_ms))));
        live.state = State::InFlight { since_ms: now_ms };
        live.takeoff = Some(Takeoff { sent, origin });
        self.in_flight += 1;
        self.in_flight_bytes += live.arrival.size;
        self.egress.on_send(now_ms);
    }

    /// Tells the lane's streak what an attempt says about its endpoint. What this worker could not send, and what nobody could
    /// while the network is down, says nothing; nor does an endpoint that refuses one message on purpose.
    pub(super) fn streak(&mut self, delivery: &Delivery, verdict: &AttemptVerdict, wall_ms: i64) -> Option<Failed> {
        let id = delivery.subscription;
        let fails = match verdict {
            // Its lane is told below, where it is at hand.
            AttemptVerdict::Delivered => return None,
            AttemptVerdict::Failed(failure) => match failure.reach {
                Reach::Reached | Reach::Unknown => true,
                Reach::Unreachable => !self.egress.is_held(),
                Reach::Unsigned | Reach::Local => false,
            },
            AttemptVerdict::Refused(_) => true,
            AttemptVerdict::Gone(_) | AttemptVerdict::Aborted | AttemptVerdict::Unwritable(_) => false,
        };
        if !fails {
            return None;
        }
        let subscription = self.lookup.subscription(id)?;
        let after_ms = match subscription.disable_after_ms() {
            None => self.rules.disable_after_ms,
            Some(0) => None,
            Some(after_ms) => Some(i64::try_from(after_ms).unwrap_or(i64::MAX)),
        };
        let limit = Limit { after_ms, changed_ms: subscription.updated_ms() };
        let failed = self.lanes.get_mut(&id)?.streak.on_failure(delivery.hop.failing_since_ms, limit, wall_ms);
        self.failing.insert(id);
        Some(failed)
    }

    /// Whether a request could not leave this host, as no other one can.
    pub(super) fn is_cut_off(&self, verdict: &AttemptVerdict) -> bool {
        let is_unreachable = matches!(verdict, AttemptVerdict::Failed(failure) if failure.reach == Reach::Unreachable);
        is_unreachable && self.egress.is_held()
    }

    /// Tells the lane, its origin and the egress watch what an attempt says. Returns since when all others had failed, if it
    /// ends that, Unix ms.
    pub(super) fn note(&mut self, live: &Live, verdict: &AttemptVerdict, elapsed_ms: i64, now_ms: i64) -> Option<i64> {
        let id = live.arrival.delivery.subscription;
        let takeoff = live.takeoff.as_ref()?;
        if !verdict.is_unsent() {
            let is_repeated = live.arrival.delivery.hop.attempt > 1;
            self.recent.on_end(id, (*verdict == AttemptVerdict::Delivered, is_repeated), now_ms);
        }
        let sign = Sign::of(verdict, self.egress.is_held());
        self.watch_egress(id, takeoff, verdict, now_ms);
        let news = self.origins.on_end(id, takeoff, sign.of_origin(), now_ms);
        if let Some((key, _)) = &takeoff.origin {
            self.unblock(key, now_ms);
        }
        let wall_ms = self.wall.ms(now_ms);
        let lane = self.lanes.get_mut(&id)?;
        // What it tells of an origin that it was at before is not of its own.
        if takeoff.origin.as_ref().map(|(key, _)| key) == lane.identity.origin.as_ref() {
            lane.note_origin(news);
        }
        let asked_ms = asked_ms(verdict, self.rules.longest_hold_ms);
        let opened = lane.on_end(&RequestEnd { sign, sent: takeoff.sent, elapsed_ms, asked_ms }, now_ms);
        let recovered_ms = if sign == Sign::Taken { lane.streak.on_success(wall_ms) } else { None };
        if lane.held_back.by_worker && lane.may_use_reserve(now_ms) {
            lane.held_back.by_worker = false;
            self.ready.push_back(id);
        }
        let is_over = lane.is_orphan && lane.is_idle();
        self.count_circuit(id);
        if sign == Sign::Taken {
            self.wake_blocked(id);
        }
        if is_over {
            self.drop_lane(id);
            return recovered_ms;
        }
        self.tell(id, now_ms);
        if opened || asked_ms.is_some() || sign == Sign::Unsent {
            self.unload(id, now_ms);
        }
        self.wake(id);
        recovered_ms
    }

    fn watch_egress(&mut self, id: SubscriptionId, takeoff: &Takeoff, verdict: &AttemptVerdict, now_ms: i64) {
        let has_answered = match verdict {
            AttemptVerdict::Delivered | AttemptVerdict::Gone(_) | AttemptVerdict::Aborted => true,
            AttemptVerdict::Failed(failure) => match failure.reach {
                Reach::Reached => true,
                Reach::Unknown | Reach::Unsigned => false,
                Reach::Unreachable | Reach::Local => {
                    let since_ms = self.egress.failing_since_ms().unwrap_or(now_ms);
                    let is_evidence = self.lanes.get(&id).is_some_and(|lane| lane.is_evidence(since_ms, now_ms));
                    let was_held = self.egress.is_held();
                    if let Some((key, _)) = takeoff.origin.as_ref().filter(|_| is_evidence) {
                        self.egress.on_unreachable(key, now_ms);
                    }
                    if self.egress.is_held() && !was_held {
                        self.end_lacks(since_ms, now_ms);
                    }
                    false
                }
            },
            AttemptVerdict::Refused(_) | AttemptVerdict::Unwritable(_) => false,
        };
        if has_answered && let Some(since_ms) = self.egress.on_answer() {
            self.end_outage(since_ms, now_ms);
        }
    }

    /// The whole worker is held instead of each lane: any of them may be its probe.
    fn end_lacks(&mut self, since_ms: i64, now_ms: i64) {
        let freed = self.lanes.iter_mut().filter_map(|(id, lane)| lane.end_lack(since_ms).then_some(*id));
        for id in freed.collect::<Vec<SubscriptionId>>() {
            self.go_on(id, now_ms);
        }
    }

    /// The network is back that was gone since then: whom it made look dead, and only those, get another chance at once.
    fn end_outage(&mut self, since_ms: i64, now_ms: i64) {
        let since = (since_ms, self.wall.ms(since_ms));
        let freed = self.lanes.iter_mut().filter_map(|(id, lane)| lane.end_outage(since).then_some((*id, lane)));
        let ids: Vec<SubscriptionId> = freed.filter(|(_, lane)| !lane.queue.is_empty()).map(|(id, _)| id).collect();
        for key in self.origins.end_outage(since_ms) {
            self.unblock(&key, now_ms);
        }
        for id in ids {
            self.wake_blocked(id);
            self.feed(id, now_ms);
            self.wake(id);
        }
    }
}
