//! When a delivery is listed: where the look-ahead is short of room, what its lane will not send soon leaves it.
//!
//! | rule | when | what is listed |
//! |---|---|---|
//! | a, room | the look-ahead is 90 % full, and more is known to lie behind it | surplus, of the lane with most of it first and wholly, until half is free; if that is not enough, requests that have been in flight for longer than `lane_wait`, and the window of their lanes |
//! | b, span | the oldest record of the window lies more than 16,000 offsets back | the lanes of the older half, wholly |
//! | c, neighbours | the look-ahead was full without surplus for longer than `lane_wait`, one lane holds most of it, and another is there | what that lane has beyond a half |
//!
//! A lane's *useful* records are those it sends within `lane_wait`; what waits beyond them is *surplus*, and so is everything newer
//! than what is listed already. What waits for its ordering key is surplus, too. Where no lane has surplus nothing is listed: intake holds, and that is as it should be. While
//! everything fails at once nothing is listed either.
//!
//! A ping goes before all others and passes what closes its lane, so it leaves soon: only rule b lists it, unless its lane is paused.
//!
//! It is no guess that could be wrong for long: listing costs a few bytes, and what is listed goes as soon as its lane has room.

use std::collections::BTreeMap;

use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::endpoint::is_ping;
use super::{Arrival, Engine, Live, Lookup, Rules, State};
use crate::flaws::{self, Flaw};
use crate::lanes::Lane;
use crate::lanes::queue::Rank;
use crate::slots::Ticket;

/// Everything a lane has is useful for so long after it began, unless its requests fail: its connections are still being made, its
/// window grows, and what its first requests took says nothing of its speed.
const NEW_MS: i64 = 1_000;
/// A lane that stood still for so many times `lane_wait` is as slow as that.
const STALL: i64 = 3;
/// Between two looks at a window in which nothing was found; where it has many lanes, a millisecond for each of so many.
const LOOK_AGAIN_MS: i64 = 10;
const LANES_PER_MS: i64 = 10;
/// So much later it is looked at again in any case: requests hang longer, and what was not known is known.
const WAKE_MS: i64 = 50;
/// Between two looks at everything that is live.
const SURVEY_EVERY_MS: i64 = 100;

/// A lane's part of one window.
#[derive(Debug, Default)]
struct Holding {
    waiting: Vec<(Rank, Ticket)>,
    flying: Vec<(i64, Rank, Ticket)>,
    /// Neither surplus nor stuck, whatever their lane does.
    pings: Vec<(Rank, Ticket)>,
}

// === impl Lane ===

impl Lane {
    /// How many of its records it will send soon, while it is open: the rest need not be in the window.
    fn useful(&self, rules: &Rules, now_ms: i64) -> usize {
        let window = self.cap.places() as usize;
        if self.is_new(now_ms) {
            return usize::MAX;
        }
        if self.rate.outcomes() == 0 {
            return 2 * window;
        }
        let wait_ms = rules.lane_wait_ms.max(1_000);
        #[expect(clippy::cast_precision_loss, reason = "waits are far below 2^52 ms")]
        let records = self.per_second(rules.lane_wait_ms * STALL, now_ms) * wait_ms as f64 / 1_000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturating is meant"
        )]
        let records = records as usize;
        records.max(2 * window)
    }

    /// Whether too little is known of its speed.
    fn is_new(&self, now_ms: i64) -> bool {
        let is_known = flaws::has(Flaw::FirstIsSpeed) && self.rate.outcomes() > 0;
        now_ms < self.begun_ms + NEW_MS && !self.has_failed() && !is_known
    }
}

// === impl Engine: room ===

impl<L: Lookup> Engine<L> {
    /// Whether a lane sends nothing now, or a probe at most: it is paused or held, its circuit is open, or it waits for an origin
    /// whose circuit is.
    pub(super) fn is_shut(&self, lane: &Lane, now_ms: i64) -> bool {
        let by_origin =
            || lane.held_back.by_origin && lane.identity.origin.as_ref().is_some_and(|key| self.origins.is_open(key));
        lane.is_closed(now_ms) || by_origin()
    }

    /// How many of a lane's records it will send soon.
    pub(super) fn useful(&self, lane: &Lane, now_ms: i64) -> usize {
        if self.is_shut(lane, now_ms) { 1 } else { lane.useful(&self.rules, now_ms) }
    }

    /// So many records of all partitions are there and not committed as done.
    pub(crate) fn set_behind(&mut self, records: i64) {
        self.windows.set_behind(records);
    }

    /// See the module.
    pub(super) fn make_room(&mut self, now_ms: i64) {
        self.windows.wake_ms = None;
        if self.egress.is_held() || self.is_full_of_lists() {
            return;
        }
        self.survey(now_ms);
        for epoch in self.windows.short(self.windows.most(self.rules.look_ahead), now_ms) {
            let found = self.may_have_surplus(epoch, now_ms) && self.list_surplus(epoch, now_ms);
            let is_stuck = self.windows.stuck.contains(&epoch) && !flaws::has(Flaw::StuckKeptInWindow);
            if is_stuck && !self.has_room(epoch) {
                self.list_stuck(epoch, now_ms);
            }
            if !found && !self.has_room(epoch) {
                self.list_for_neighbours(epoch, now_ms);
            }
            let has_room = self.has_room(epoch);
            let Some(held) = self.windows.held.get_mut(&epoch) else { continue };
            // A look costs as much as there are lanes: where it found nothing, no more than a hundredth of the time goes into them.
            let lanes = i64::try_from(held.by_lane.len()).unwrap_or(i64::MAX);
            held.look_ms = now_ms + if found { LOOK_AGAIN_MS } else { LOOK_AGAIN_MS.max(lanes / LANES_PER_MS) };
            if has_room || found {
                held.full_ms = None;
            }
            if !has_room {
                // What is awaited cannot be read any more before something leaves, and nothing leaves while it is awaited.
                self.stop_awaiting(epoch, now_ms);
            }
        }
        let most = self.windows.most(self.rules.look_ahead);
        let is_short = self.windows.held.values().any(|held| held.is_nearly_full(most));
        self.windows.wake_ms = is_short.then_some(now_ms + WAKE_MS);
    }

    /// Whether a lane of this window may have surplus. A window that is full of what will be sent soon is looked at again and again,
    /// so this looks at no record.
    fn may_have_surplus(&self, epoch: Epoch, now_ms: i64) -> bool {
        let Some(held) = self.windows.held.get(&epoch) else { return false };
        held.by_lane.keys().filter_map(|id| self.lanes.get(id)).any(|lane| {
            let waiting = lane.queue.unlisted();
            let is_beyond = || lane.queue.has_held() || waiting > self.useful(lane, now_ms);
            waiting > 0 && (lane.queue.listed() > 0 || is_beyond())
        })
    }

    /// Rule a: surplus, the lane with most of it first and wholly, until half is free.
    fn list_surplus(&mut self, epoch: Epoch, now_ms: i64) -> bool {
        let mut surplus: Vec<(SubscriptionId, Vec<(Rank, Ticket)>)> = Vec::new();
        for (id, mut part) in self.parts(epoch) {
            part.waiting.sort_unstable();
            let Some(lane) = self.lanes.get(&id) else { continue };
            let useful = self.useful(lane, now_ms);
            // What waits for its ordering key is not sent soon.
            let held = part.waiting.iter().map(|(rank, _)| *rank).find(|rank| lane.queue.is_held_back(*rank));
            let first = lane.queue.first_listed().into_iter().chain(held).min();
            let stays = |at: usize, rank: Rank| at < useful && first.is_none_or(|first| rank < first);
            let beyond = part.waiting.iter().enumerate().filter(|(at, (rank, _))| !stays(*at, *rank));
            let beyond: Vec<(Rank, Ticket)> = beyond.map(|(_, it)| *it).collect();
            if !beyond.is_empty() {
                surplus.push((id, beyond));
            }
        }
        surplus.sort_unstable_by_key(|(id, beyond)| (std::cmp::Reverse(beyond.len()), *id));
        let found = !surplus.is_empty();
        let most = self.windows.most(self.rules.look_ahead);
        for (id, beyond) in surplus {
            if self.windows.held.get(&epoch).is_none_or(|held| held.is_half_free(most)) {
                break;
            }
            self.list_of(id, beyond, now_ms);
        }
        found
    }

    /// Rule a, where that was not enough: what hangs.
    fn list_stuck(&mut self, epoch: Epoch, now_ms: i64) {
        let wait_ms = self.rules.lane_wait_ms;
        for (id, part) in self.parts(epoch) {
            if part.flying.iter().any(|(since_ms, ..)| now_ms - since_ms > wait_ms) {
                let flying = part.flying.iter().map(|(_, rank, ticket)| (*rank, *ticket));
                self.list_of(id, part.waiting.iter().copied().chain(flying).collect(), now_ms);
            }
        }
    }

    /// Rule c: one fast lane does not keep its neighbours from being read.
    fn list_for_neighbours(&mut self, epoch: Epoch, now_ms: i64) {
        let lane_wait_ms = self.rules.lane_wait_ms;
        let Some(held) = self.windows.held.get_mut(&epoch) else { return };
        let full_ms = *held.full_ms.get_or_insert(now_ms);
        if now_ms - full_ms <= lane_wait_ms {
            return;
        }
        let all = held.records;
        let Some((id, own)) = held.by_lane.iter().map(|(id, own)| (*id, *own)).max_by_key(|(id, own)| (*own, *id))
        else {
            return;
        };
        let is_served = |lane: &Lane| lane.lease == epoch && now_ms - lane.used_ms < 60_000;
        let has_neighbour = || self.lanes.iter().any(|(other, lane)| *other != id && is_served(lane));
        if own * 4 <= all * 3 || !has_neighbour() {
            return;
        }
        let Some(mut part) = self.parts(epoch).remove(&id) else { return };
        part.waiting.sort_unstable();
        let keep = (self.rules.look_ahead.records / 2).saturating_sub(part.flying.len());
        self.list_of(id, part.waiting.into_iter().skip(keep).collect(), now_ms);
    }

    /// Looks at everything that is live, ten times a second: what hangs is found by that, and windows that reach back too far.
    fn survey(&mut self, now_ms: i64) {
        if now_ms - self.windows.surveyed_ms < SURVEY_EVERY_MS {
            return;
        }
        self.windows.surveyed_ms = now_ms;
        let (mut oldest, mut stuck): (BTreeMap<Epoch, i64>, Vec<Epoch>) = (BTreeMap::new(), Vec::new());
        for (_, live) in self.live.iter().filter(|(_, live)| !live.is_listed) {
            let (Arrival { lease, offset, .. }, wait_ms) = (&live.arrival, self.rules.lane_wait_ms);
            match live.state {
                State::Abandoned => continue,
                State::InFlight { since_ms } if now_ms - since_ms > wait_ms && !stuck.contains(lease) => {
                    stuck.push(*lease);
                }
                State::InFlight { .. } | State::Waiting => {}
            }
            let least = oldest.entry(*lease).or_insert(i64::MAX);
            *least = (*least).min(*offset);
        }
        self.windows.stuck = stuck;
        self.check_spans(oldest, now_ms);
    }

    /// Rule b: no window reaches back too far.
    fn check_spans(&mut self, oldest: BTreeMap<Epoch, i64>, now_ms: i64) {
        for (epoch, oldest) in oldest {
            let Some(read_up_to) = self.windows.held.get(&epoch).map(|held| held.read_up_to) else { continue };
            if read_up_to - oldest <= self.rules.look_ahead.span {
                continue;
            }
            let middle = oldest + (read_up_to - oldest) / 2;
            for (id, part) in self.parts(epoch) {
                let flying = part.flying.iter().map(|(_, rank, ticket)| (*rank, *ticket));
                let waiting = part.waiting.iter().chain(&part.pings).copied();
                let all: Vec<(Rank, Ticket)> = waiting.chain(flying).collect();
                if all.iter().any(|(rank, _)| rank.offset < middle) {
                    self.list_of(id, all, now_ms);
                }
            }
        }
    }

    /// What each lane has in a window.
    fn parts(&self, epoch: Epoch) -> BTreeMap<SubscriptionId, Holding> {
        let mut parts: BTreeMap<SubscriptionId, Holding> = BTreeMap::new();
        for (ticket, live) in self.live.iter().filter(|(_, live)| live.arrival.lease == epoch && !live.is_listed) {
            let id = live.arrival.delivery.subscription;
            let part = parts.entry(id).or_default();
            if self.goes_first(id, live) {
                part.pings.push((live.rank(), ticket));
                continue;
            }
            match live.state {
                State::Waiting => part.waiting.push((live.rank(), ticket)),
                State::InFlight { since_ms } => part.flying.push((since_ms, live.rank(), ticket)),
                State::Abandoned => {}
            }
        }
        parts
    }

    /// Whether it is a ping that its lane sends before everything else.
    fn goes_first(&self, id: SubscriptionId, live: &Live) -> bool {
        live.state != State::Abandoned
            && is_ping(&live.arrival.delivery)
            && self.lanes.get(&id).is_some_and(|lane| !lane.is_paused)
    }

    pub(super) fn has_room(&self, epoch: Epoch) -> bool {
        let most = self.windows.most(self.rules.look_ahead);
        self.windows.held.get(&epoch).is_none_or(|held| !held.is_nearly_full(most))
    }
}
