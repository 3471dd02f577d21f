//! Where a delivery goes when it arrives, is read back or becomes due: out, to a later time, or into its lane.

use std::sync::Arc;

use catalog::Subscription;
use schemas::dead_letter::DeathReason;
use schemas::delivery::Delivery;
use schemas::ids::{JobId, SubscriptionId};
use schemas::planted::{PlantedBug, is_planted};

use super::endpoint::is_ping;
use super::{Arrival, Engine, LaneChange, Left, Lookup, State, Timer};
use crate::flaws::{self, Flaw};
use crate::lanes::identity::EndpointIdentity;
use crate::lanes::{Lane, Limits};
use crate::settle::End;
use crate::slots::Ticket;

/// What may lie between two hosts' clocks: the scheduler is never early by its own, and what is early by this one's is waited out
/// here. So much of it whatever the window holds; a minute where that has room.
const SKEW_MS: i64 = 1_000;
const LONGEST_SKEW_MS: i64 = 60_000;

impl<L: Lookup> Engine<L> {
    /// See the module.
    pub(super) fn place(&mut self, ticket: Ticket, now_ms: i64) {
        let Some(live) = self.live.get(ticket) else { return };
        let (id, lease) = (live.arrival.delivery.subscription, live.arrival.lease);
        let Some(subscription) = self.screen(ticket, now_ms) else {
            if flaws::has(Flaw::DiedUnwoken) {
                return self.feed(id, now_ms);
            }
            return self.go_on(id, now_ms);
        };
        let Some(live) = self.live.get(ticket) else { return };
        debug_assert_eq!(live.state, State::Waiting, "only what waits is placed");
        let hop = live.arrival.delivery.hop;
        let due_in_ms = hop.due_ms.saturating_sub(self.shown_ms(&live.arrival, now_ms));
        if due_in_ms > 0 && !is_planted(PlantedBug::BeforeDue) {
            let most_ms = if self.has_room(lease) { LONGEST_SKEW_MS } else { SKEW_MS };
            if due_in_ms > most_ms {
                return self.leave(ticket, End::PassedOn);
            }
            // Looked at again within a second: the wall may jump meanwhile.
            return self.set_timer(now_ms + due_in_ms.min(SKEW_MS), Timer::Due(ticket));
        }
        let (rank, is_listed, is_ping) = (live.rank(), live.is_listed, is_ping(&live.arrival.delivery));
        let keyed = live.keyed();
        let lane = self.lane(id, lease, now_ms);
        if lane.lease != lease {
            // Between two leases another worker may have had the partition, and a success: what was seen here before is no
            // evidence any more. What still is, the retries carry.
            lane.streak.forget();
        }
        lane.lease = lease;
        lane.is_orphan = false;
        if hop.failing_since_ms.is_some() {
            lane.streak.on_stamp();
        }
        if lane.queue.is_empty() {
            // Changes that found nothing here have nothing to cancel of what comes now.
            lane.reviewed_of = lane.reviewed_of.max(Some(subscription.offset()));
        }
        lane.queue.push(rank, ticket, is_listed, keyed);
        if is_ping {
            lane.queue.put_first(rank);
        }
        self.limit(id, &subscription, now_ms);
        if is_listed && self.lanes.get(&id).is_some_and(|lane| lane.is_paused) {
            // It was asked for before the pause.
            self.unload(id, now_ms);
        }
        self.drop_behind(id, rank, ticket);
        if is_ping {
            self.wake_blocked(id);
        }
        // It may have been what told its lane of a resume: then what is listed before it goes first.
        if !flaws::has(Flaw::ToldUnreviewed) {
            self.feed(id, now_ms);
        }
        self.wake(id);
    }

    /// The wall's time, or Kafka's when it took the record, if that is later: what has passed by either clock has passed. Else a worker
    /// whose clock is behind would pass each retry on to a scheduler that brings it at once.
    pub(super) fn shown_ms(&self, arrival: &Arrival, now_ms: i64) -> i64 {
        self.wall.ms(now_ms).max(arrival.timestamp_ms)
    }

    /// The subscription of a delivery that may still be sent, now or later; else it leaves.
    pub(super) fn screen(&mut self, ticket: Ticket, now_ms: i64) -> Option<Arc<Subscription>> {
        match self.judge(&self.live.get(ticket)?.arrival, now_ms) {
            Ok(subscription) => Some(subscription),
            Err(end) => {
                self.leave(ticket, end);
                None
            }
        }
    }

    /// The subscription of a delivery that may still be sent, or how it leaves.
    pub(super) fn judge(&self, arrival: &Arrival, now_ms: i64) -> Result<Arc<Subscription>, End> {
        let Arrival { timestamp_ms, ref delivery, .. } = *arrival;
        if let Some(retry) = self.hurries.superseded(arrival) {
            return Err(End::Superseded(retry));
        }
        let wall_ms = self.wall.ms(now_ms);
        let is_kept = self.rules.keep_ms.is_none_or(|keep_ms| wall_ms - timestamp_ms < keep_ms);
        match self.lookup.subscription(delivery.subscription) {
            None => Err(End::Cancelled("deleted")),
            Some(_) if self.is_cancelled(delivery) => Err(End::Cancelled("job_cancelled")),
            Some(subscription) if !delivery.is_once() && subscription.cancels(delivery.control_offset) => {
                Err(End::Cancelled("disabled"))
            }
            Some(subscription) if delivery.ordering_key.is_some() && subscription.skips(delivery.id) => {
                Err(End::Cancelled("skipped"))
            }
            Some(_) if delivery.deadline_ms <= wall_ms => Err(End::too_old()),
            Some(_) if !is_kept => Err(End::died(DeathReason::MaxAge, "kept no longer than `deliveries` keeps it")),
            Some(subscription) => Ok(subscription),
        }
    }

    /// Whether a job has made a delivery that was cancelled since.
    fn is_cancelled(&self, delivery: &Delivery) -> bool {
        delivery.generation.0.is_some_and(|id| self.lookup.is_cancelled(delivery.application, JobId(id)))
    }

    /// Jobs were cancelled: what waits of them in memory leaves. What is listed of them leaves when it is read back for its turn, and a
    /// retry when it comes back.
    fn review_cancelled(&mut self, now_ms: i64) {
        let came = self.lookup.cancelled_came();
        if std::mem::replace(&mut self.cancelled_seen, came) == came {
            return;
        }
        let waits = self.live.iter().filter(|(_, live)| live.state == State::Waiting);
        let gone = waits.filter(|(_, live)| self.is_cancelled(&live.arrival.delivery));
        let mut lanes: Vec<SubscriptionId> = gone.map(|(_, live)| live.arrival.delivery.subscription).collect();
        lanes.sort_unstable();
        lanes.dedup();
        for id in lanes {
            self.screen_ready(id, now_ms);
            self.feed(id, now_ms);
            self.wake(id);
        }
    }

    /// The catalog has moved: what waits in a lane whose subscription was changed is looked at again, so that what was disabled
    /// or deleted leaves now and not when its turn comes, and what was resumed goes at once. What waits for its time is looked
    /// at then.
    pub(crate) fn review(&mut self, now_ms: i64) {
        self.review_cancelled(now_ms);
        let lanes = &self.lanes;
        self.queues.retain(|id| lanes.get(id).is_some_and(|lane| lane.queue.listed() > 0));
        self.holding.retain(|id| lanes.get(id).is_some_and(|lane| lane.queue.has_held()));
        // Not over the lanes: there may be a hundred times as many, and most of them idle.
        let waits = self.live.iter().filter(|(_, live)| live.state == State::Waiting);
        let waits = waits.map(|(_, live)| live.arrival.delivery.subscription);
        // Nothing may wait behind a key that is held.
        let kept = self.queues.iter().chain(&self.paused).chain(&self.holding).copied();
        let mut changed: Vec<SubscriptionId> = waits.chain(kept).collect();
        changed.sort_unstable();
        changed.dedup();
        changed.retain(|id| {
            let offset = self.lookup.subscription(*id).map(|it| it.offset());
            let seen = |lane: &Lane| if flaws::has(Flaw::ToldUnreviewed) { lane.limits_of } else { lane.reviewed_of };
            self.lanes.get(id).is_some_and(|lane| offset != seen(lane))
        });
        for id in changed {
            self.review_lane(id, now_ms);
        }
    }

    /// Looks again at everything that waits in a lane: what is in memory leaves where it must, what is not is read back for that,
    /// beside whatever comes now.
    pub(super) fn review_lane(&mut self, id: SubscriptionId, now_ms: i64) {
        let subscription = self.lookup.subscription(id);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        // What was cancelled before the last look, of whichever owner, is set aside already. This snapshot may be behind an owner's before.
        let reviewed_of = lane.reviewed_of;
        lane.reviewed_of = subscription.as_ref().and_then(|it| reviewed_of.max(Some(it.offset())));
        let may_cancel = match &subscription {
            None => true,
            Some(it) if flaws::has(Flaw::SetAsideAgain) => it.cancels(0),
            Some(it) => !it.is_enabled() || reviewed_of.is_some_and(|seen| it.cancels(seen)),
        };
        if may_cancel && lane.queue.has_listed_in_order() {
            lane.queue.set_aside();
            let (lease, reviewed_of) = (lane.lease, lane.reviewed_of);
            self.changes.push(LaneChange::SetAside { lease, subscription: id, reviewed_of });
        }
        if may_cancel {
            self.free_cancelled(id);
        }
        self.ask_hurried(id, now_ms);
        self.screen_ready(id, now_ms);
        match &subscription {
            Some(subscription) => self.limit(id, subscription, now_ms),
            None => {
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.limits_of = None;
                }
            }
        }
        self.feed(id, now_ms);
        self.wake(id);
    }

    /// What waits in memory leaves where it must.
    pub(super) fn screen_ready(&mut self, id: SubscriptionId, now_ms: i64) {
        let Some(lane) = self.lanes.get(&id) else { return };
        for ticket in lane.queue.ready().map(|(_, ticket, _)| ticket).collect::<Vec<_>>() {
            self.screen(ticket, now_ms);
        }
    }

    /// Takes a subscription's limits, its endpoint and its pause into its lane where they are new.
    pub(super) fn limit(&mut self, id: SubscriptionId, subscription: &Subscription, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.reviewed_of.get_or_insert_with(|| subscription.offset());
        if lane.limits_of == Some(subscription.offset()) {
            return;
        }
        let limits = Limits {
            concurrency: subscription.concurrency().unwrap_or(self.rules.lane_concurrency),
            per_second: subscription.rate_per_second(),
        };
        if let Err(error) = lane.set_limits(limits, subscription.offset()) {
            tracing::warn!(subscription.id = %id, %error, "the subscription's rate cannot be kept, the former one stays");
        }
        self.identify(id, EndpointIdentity::of(subscription), now_ms);
        self.free_cancelled(id);
        self.ask_hurried(id, now_ms);
        self.set_paused(id, subscription.is_paused(), now_ms);
    }

    fn set_paused(&mut self, id: SubscriptionId, is_paused: bool, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let is_unseen = lane.is_paused && flaws::has(Flaw::ResumeUnseen);
        if is_paused == lane.is_paused || is_unseen {
            return;
        }
        lane.is_paused = is_paused;
        if is_paused {
            self.paused.insert(id);
            return self.unload(id, now_ms);
        }
        self.paused.remove(&id);
        // Whoever resumed it may have mended the endpoint.
        lane.probe_now();
        self.count_circuit(id);
        self.tell(id, now_ms);
        self.wake_blocked(id);
    }

    pub(super) fn leave(&mut self, ticket: Ticket, end: End) {
        let Some(live) = self.take(ticket) else { return };
        if let Some(lane) = self.lanes.get_mut(&live.arrival.delivery.subscription) {
            lane.queue.remove(live.rank());
        }
        self.ends(live.arrival, live.is_listed, end);
    }

    /// A delivery leaves that is in no line any more.
    pub(super) fn ends(&mut self, arrival: Arrival, is_listed: bool, end: End) {
        match &end {
            End::PassedOn => {}
            End::Superseded(retry) => self.hurries.dropped(arrival.delivery.subscription, *retry),
            End::Delivered | End::Retry(_) | End::Died { .. } | End::Cancelled(_) => self.left_key(&arrival),
        }
        self.left.push(Left { arrival, is_listed, end });
    }
}
