//! A delivery takes off when it is its lane's turn, and its landing tells the lane about its endpoint.

use std::sync::Arc;

use schemas::delivery::Delivery;
use schemas::ids::SubscriptionId;
use schemas::invariants::Invariant;

use super::{Dispatch, Engine, Head, Lookup, State};
use crate::classify::{Reach, Verdict};
use crate::lanes::breaker::Admission;
use crate::lanes::streak::{Failed, Limit};

/// A lane with this many in flight may not use the worker's reserve.
const LIGHT: u32 = 4;

impl<L: Lookup> Engine<L> {
    /// The next request of a lane whose turn it is.
    pub(super) fn dispatch_lane(&mut self, id: SubscriptionId, now_ms: i64) -> Option<Dispatch> {
        let is_full = self.in_flight >= self.full();
        let lane = self.lanes.get_mut(&id)?;
        lane.is_ready = false;
        if lane.queue.is_empty() || !lane.cap.has_room() {
            return None;
        }
        if is_full && lane.cap.in_flight() >= LIGHT {
            lane.is_ready = true;
            self.held.push(id);
            return None;
        }
        if let Admission::Wait(until_ms) = lane.breaker.admission(now_ms) {
            self.set_lane_timer(id, until_ms);
            return None;
        }
        if lane.breaker.admission(now_ms) == Admission::Probing {
            return None;
        }
        let Head::Ready(ticket) = lane.queue.head() else {
            self.feed(id, now_ms);
            return None;
        };
        let Some(subscription) = self.screen(ticket, now_ms) else {
            self.wake(id);
            return None;
        };
        self.limit(id, &subscription, now_ms);
        let rank = self.live.get(ticket)?.rank();
        let lane = self.lanes.get_mut(&id)?;
        if lane.is_paused {
            return None;
        }
        if let Err(next_ms) = lane.rate.try_take(now_ms) {
            self.set_lane_timer(id, next_ms);
            return None;
        }
        lane.queue.remove(rank);
        lane.cap.take(now_ms);
        lane.breaker.on_send();
        self.egress.on_send(now_ms);
        self.in_flight += 1;
        self.feed(id, now_ms);
        self.wake(id);
        let live = self.live.get_mut(ticket)?;
        live.state = State::InFlight { since_ms: now_ms };
        if live.arrival.delivery.hop.due_ms > now_ms {
            Invariant::NeverEarly.violated();
        }
        Some(Dispatch { ticket, delivery: Arc::clone(&live.arrival.delivery), subscription })
    }

    /// Tells the lane's streak what an attempt says about its endpoint. What this worker could not send, and what nobody could
    /// while the network is down, says nothing; nor does an endpoint that refuses one message on purpose.
    pub(super) fn streak(&mut self, delivery: &Delivery, verdict: &Verdict, now_ms: i64) -> Option<Failed> {
        let id = delivery.subscription;
        let fails = match verdict {
            // Its lane is told below, where it is at hand.
            Verdict::Delivered => return None,
            Verdict::Failed(failure) => match failure.reach {
                Reach::Reached | Reach::Unknown => true,
                Reach::Unreachable => !self.egress.is_held(),
                Reach::Unsent => false,
            },
            Verdict::Refused(_) => true,
            Verdict::Gone(_) | Verdict::Aborted | Verdict::Unwritable(_) => false,
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
        Some(self.lanes.get_mut(&id)?.streak.on_failure(delivery.hop.failing_since_ms, limit, now_ms))
    }

    /// Tells the lane and the egress watch what an attempt says about its endpoint.
    pub(super) fn note(&mut self, id: SubscriptionId, verdict: &Verdict, elapsed_ms: i64, now_ms: i64) {
        let is_held = self.egress.is_held();
        match verdict {
            Verdict::Failed(failure) => match failure.reach {
                Reach::Reached => self.egress.on_answer(),
                Reach::Unknown | Reach::Unsent => {}
                Reach::Unreachable => self.egress.on_unreachable(id, now_ms),
            },
            Verdict::Delivered | Verdict::Gone(_) | Verdict::Aborted => self.egress.on_answer(),
            Verdict::Refused(_) | Verdict::Unwritable(_) => {}
        }
        if is_held && !self.egress.is_held() {
            self.lanes.values_mut().for_each(|lane| lane.streak.forget());
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.cap.give(now_ms);
        lane.used_ms = now_ms;
        let mut opened = false;
        match verdict {
            Verdict::Delivered => {
                lane.rate.observe(elapsed_ms);
                lane.rate.speed_up();
                lane.breaker.on_success();
                lane.streak.on_success(now_ms);
            }
            Verdict::Failed(failure) => {
                lane.rate.observe(elapsed_ms);
                if failure.slows {
                    lane.rate.slow_down(lane.cap.limit(), now_ms);
                }
                if failure.reach == Reach::Unreachable && is_held {
                    lane.breaker.on_nothing(now_ms);
                } else {
                    opened = lane.breaker.on_failure(now_ms);
                }
            }
            Verdict::Gone(_) | Verdict::Aborted => {
                lane.rate.observe(elapsed_ms);
                lane.breaker.on_success();
            }
            Verdict::Refused(_) | Verdict::Unwritable(_) => lane.breaker.on_nothing(now_ms),
        }
        if lane.is_orphan && lane.is_idle() {
            self.lanes.remove(&id);
            return;
        }
        if opened {
            self.unload(id);
        }
        self.wake(id);
    }
}
