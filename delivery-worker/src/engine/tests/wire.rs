//! An engine and endpoints of any kind in virtual time, where only what is sent when matters: nothing is listed, what left comes
//! back, and each request ends as its endpoint says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use schemas::control;
use schemas::ids::SubscriptionId;

use super::super::{Arrival, Dispatch, Engine, LookAhead, Rules};
use super::world::{Subscriptions, rules};
use crate::classify::AttemptVerdict;
use crate::slots::Ticket;
use crate::testing;
use kafka::Epoch;

/// What an endpoint does with a request that comes now: its verdict, and how long that takes.
pub(super) type Answers<'a> = &'a mut dyn FnMut(SubscriptionId, i64) -> (AttemptVerdict, i64);

/// See the module.
pub(super) struct Wire {
    pub(super) engine: Engine<Subscriptions>,
    pub(super) subscriptions: Subscriptions,
    pub(super) now: i64,
    pub(super) vault: Arc<vault::Vault>,
    /// When each request was sent, by lane.
    pub(super) sent: BTreeMap<SubscriptionId, Vec<i64>>,
    /// When each ended well, by lane.
    pub(super) taken: BTreeMap<SubscriptionId, Vec<i64>>,
    /// When each ended in another way, by lane.
    pub(super) failed: BTreeMap<SubscriptionId, Vec<i64>>,
    flights: BinaryHeap<Reverse<(i64, u64)>>,
    flying: BTreeMap<u64, (Ticket, SubscriptionId, AttemptVerdict, i64)>,
    count: u64,
    events: i64,
    /// What left, and when it comes back.
    back: VecDeque<(i64, Arrival)>,
}

/// What left is away for so long.
const BACK_MS: i64 = 5;

impl Wire {
    pub(super) fn new(change: impl FnOnce(&mut Rules)) -> Self {
        // The window is never short of room here: nothing is listed.
        let look_ahead = LookAhead { records: 1_000_000, bytes: 1 << 30, budget: 1 << 30, span: 1_000_000 };
        let mut rules = Rules { concurrency: 1_024, lane_concurrency: 32, look_ahead, ..rules() };
        change(&mut rules);
        let subscriptions = Subscriptions::default();
        Self {
            engine: Engine::new(rules, subscriptions.clone()),
            subscriptions,
            now: 1_000_000,
            vault: testing::vault(),
            sent: BTreeMap::new(),
            taken: BTreeMap::new(),
            failed: BTreeMap::new(),
            flights: BinaryHeap::new(),
            flying: BTreeMap::new(),
            count: 0,
            events: 0,
            back: VecDeque::new(),
        }
    }

    /// A subscription to an URL, as of an offset of `control`.
    pub(super) fn subscribe(
        &self,
        number: u128,
        url: &str,
        offset: i64,
        change: impl FnOnce(&mut control::Subscription),
    ) {
        let mut object = testing::object(number, url, &self.vault);
        change(&mut object);
        self.subscriptions.put(testing::subscription(object, offset, &self.vault));
    }

    /// A delivery comes.
    pub(super) fn event(&mut self, number: u128) {
        self.events += 1;
        let delivery = testing::delivery(&format!("evt_{}", self.events), number);
        self.admit(Arrival {
            lease: Epoch(1),
            offset: self.events,
            size: 100,
            timestamp_ms: 0,
            delivery: Arc::new(delivery),
        });
    }

    pub(super) fn admit(&mut self, arrival: Arrival) {
        self.engine.admit(arrival, self.now);
    }

    /// Everything that is possible now; then time goes on by a millisecond. What failed or was passed over comes again.
    pub(super) fn step(&mut self, answers: Answers<'_>) {
        while self.back.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, arrival)) = self.back.pop_front() else { break };
            self.admit(arrival);
        }
        self.land();
        self.engine.tick(self.now);
        while let Some(Dispatch { ticket, subscription, .. }) = self.engine.dispatch(self.now) {
            let id = subscription.id();
            let (verdict, elapsed) = answers(id, self.now);
            self.sent.entry(id).or_default().push(self.now);
            self.count += 1;
            self.flights.push(Reverse((self.now + elapsed, self.count)));
            self.flying.insert(self.count, (ticket, id, verdict, elapsed));
        }
        let back = self.now + BACK_MS;
        self.back.extend(self.engine.take_left().into_iter().map(|left| (back, left.arrival)));
        self.now += 1;
    }

    /// Everything that happens within so many milliseconds.
    pub(super) fn run(&mut self, ms: i64, answers: Answers<'_>) {
        let until = self.now + ms;
        while self.now < until {
            self.step(answers);
            let landing = self.flights.peek().map_or(i64::MAX, |Reverse((at, _))| *at);
            let back = self.back.front().map_or(i64::MAX, |(at, _)| *at);
            let next = self.engine.next_wake_ms().unwrap_or(i64::MAX).min(landing).min(back);
            self.now = next.clamp(self.now, until);
        }
    }

    /// Requests in flight of a lane.
    pub(super) fn in_flight(&self, number: u128) -> usize {
        let id = testing::subscription_id(number);
        self.flying.values().filter(|(_, of, ..)| *of == id).count()
    }

    /// When requests of a lane were sent.
    pub(super) fn sent_to(&self, number: u128) -> Vec<i64> {
        self.sent.get(&testing::subscription_id(number)).cloned().unwrap_or_default()
    }

    /// How many of a lane ended well.
    pub(super) fn taken_of(&self, number: u128) -> usize {
        self.taken.get(&testing::subscription_id(number)).map_or(0, Vec::len)
    }

    fn land(&mut self) {
        while self.flights.peek().is_some_and(|Reverse((at, _))| *at <= self.now) {
            let Some(Reverse((_, number))) = self.flights.pop() else { return };
            let (ticket, id, verdict, elapsed) = self.flying.remove(&number).unwrap();
            let ends = if verdict == AttemptVerdict::Delivered { &mut self.taken } else { &mut self.failed };
            ends.entry(id).or_default().push(self.now);
            let landed = self.engine.outcome(ticket, &verdict, elapsed, self.now);
            if let Some(landed) = landed.filter(|_| verdict != AttemptVerdict::Delivered) {
                self.admit(landed.arrival);
            }
        }
    }
}
