//! One partition, its endpoints and the worker, in virtual time: what is written comes back as Kafka and the scheduler would
//! bring it back.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use catalog::Subscription;
use kafka::{Epoch, Lease, Window};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use retry::{Schedule, Tiers};
use schemas::attempt::Lifecycle;
use schemas::delivery::{Delivery, Wait};
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::record::{OutRecord, Record, TopicPartition};
use schemas::topics::{TopicSettings, Topics};
use stage::{BatchLimits, Entry, Order, Outbox};

use super::super::{Arrival, Dispatch, Engine, Landed, Lookup, Rules};
use crate::classify::{NoAnswer, Verdict, answered, unanswered};
use crate::lanes::LaneWait;
use crate::lanes::streak::Failed;
use crate::report::Reporter;
use crate::settle::{End, RetryRules};
use crate::slots::Ticket;
use crate::testing;

pub(super) const LOOK_AHEAD: usize = 200;
pub(super) const CAP: u32 = 8;
pub(super) const MINUTE: i64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Endpoint {
    Fast,
    Slow,
    Dead,
    Busy,
    Flaky,
}

/// What the engine looks subscriptions up in.
#[derive(Clone, Default)]
pub(super) struct Subscriptions(pub(super) Rc<RefCell<BTreeMap<SubscriptionId, Arc<Subscription>>>>);

impl Subscriptions {
    pub(super) fn put(&self, subscription: Arc<Subscription>) {
        self.0.borrow_mut().insert(subscription.id(), subscription);
    }

    pub(super) fn remove(&self, number: u128) {
        self.0.borrow_mut().remove(&testing::subscription_id(number));
    }
}

impl Lookup for Subscriptions {
    fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.0.borrow().get(&id).cloned()
    }
}

pub(super) struct Flight {
    pub(super) ticket: Ticket,
    pub(super) subscription: Arc<Subscription>,
    pub(super) verdict: Verdict,
    pub(super) elapsed: i64,
}

/// One partition, its endpoints, and the worker.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: StdRng,
    pub(super) now: i64,
    pub(super) topics: Topics,
    pub(super) reporter: Reporter,
    pub(super) rules: RetryRules,
    pub(super) subscriptions: Subscriptions,
    pub(super) endpoints: BTreeMap<SubscriptionId, Endpoint>,
    pub(super) log: Vec<Record>,
    pub(super) read: usize,
    pub(super) committed: (i64, i64, Vec<i64>),
    pub(super) engine: Engine<Subscriptions>,
    pub(super) outbox: Outbox<()>,
    pub(super) epoch: Epoch,
    pub(super) flights: BinaryHeap<Reverse<(i64, u64)>>,
    pub(super) flying: BTreeMap<u64, Flight>,
    pub(super) flown: u64,
    /// Time of return and the record, from the delay topics.
    pub(super) waiting: Vec<(i64, Record)>,
    pub(super) next_commit: i64,
    pub(super) settled: BTreeMap<DeliveryId, u32>,
    pub(super) parked_lanes: Vec<(SubscriptionId, Wait)>,
    /// Latest start of a first attempt, per subscription.
    pub(super) started: BTreeMap<SubscriptionId, i64>,
    /// Time does not jump beyond this.
    pub(super) alarm: i64,
    /// When an endpoint was reported to be failing.
    pub(super) reported: Vec<i64>,
}

pub(super) fn rules() -> Rules {
    Rules {
        concurrency: 64,
        in_flight_bytes: 1 << 20,
        lane_concurrency: CAP,
        lane_wait: LaneWait { ms: 1_000, share: LOOK_AHEAD / 2 },
        shortest_ms: 5_000,
        long_park_ms: 10 * MINUTE,
        breaker_failures: 20,
        longest_hold_ms: 86_400_000,
        disable_after_ms: None,
    }
}

pub(super) fn lease(epoch: Epoch) -> Lease {
    Lease { partition: TopicPartition::new("hookbus.deliveries", 0), epoch }
}

fn outbox() -> Outbox<()> {
    Outbox::new(BatchLimits { records: 100, bytes: 1 << 20 }, Order::AnyOrder)
}

impl World {
    pub(super) fn new(seed: u64, endpoints: &[Endpoint]) -> Self {
        let settings = TopicSettings::default();
        let topics = settings.topics();
        let vault = testing::vault();
        let subscriptions = Subscriptions::default();
        let mut by_id = BTreeMap::new();
        for (number, endpoint) in (0_u128..).zip(endpoints) {
            let object = testing::object(number, "https://example.com/", &vault);
            by_id.insert(object.subscription_id, *endpoint);
            let subscription = testing::subscription(object, 1, &vault);
            subscriptions.0.borrow_mut().insert(subscription.id(), subscription);
        }
        let mut outbox = outbox();
        outbox.open(&lease(Epoch(0)), Window::restore(0, 0, Vec::new()), 0);
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            now: 1_000_000,
            reporter: Reporter::new(topics.clone(), &settings.tiers, 4_096),
            topics,
            rules: RetryRules {
                schedule: Schedule::default(),
                tiers: Tiers::default(),
                retry_after_cap: Duration::from_secs(86_400),
            },
            engine: Engine::new(rules(), subscriptions.clone()),
            subscriptions,
            endpoints: by_id,
            log: Vec::new(),
            read: 0,
            committed: (0, 0, Vec::new()),
            outbox,
            epoch: Epoch(0),
            flights: BinaryHeap::new(),
            flying: BTreeMap::new(),
            flown: 0,
            waiting: Vec::new(),
            next_commit: 0,
            settled: BTreeMap::new(),
            parked_lanes: Vec::new(),
            started: BTreeMap::new(),
            alarm: 0,
            reported: Vec::new(),
        }
    }

    /// Transactions leave holes: offsets are not dense.
    pub(super) fn append(&mut self, mut record: Record) {
        let last = self.log.last().map_or(-1, |last| last.offset);
        record.offset = last + 1 + self.rng.random_range(0..2);
        record.timestamp_ms = self.now;
        self.log.push(record);
    }

    pub(super) fn event(&mut self, number: usize, subscription: usize) {
        let subscription = u128::try_from(subscription).unwrap();
        self.append(testing::record(&format!("evt_{number}"), subscription, self.now + 30 * 86_400_000));
    }

    pub(super) fn verdict(&mut self, id: SubscriptionId) -> (Verdict, i64) {
        let status = |code: u16| answered(http::StatusCode::from_u16(code).unwrap(), &http::HeaderMap::new(), 0);
        match self.endpoints[&id] {
            Endpoint::Fast => (Verdict::Delivered, self.rng.random_range(1..8)),
            Endpoint::Slow => (Verdict::Delivered, self.rng.random_range(1_500..4_000)),
            Endpoint::Dead => (unanswered(NoAnswer::Timeout), 15_000),
            Endpoint::Busy if self.rng.random_bool(0.5) => (status(429), 20),
            Endpoint::Busy => (Verdict::Delivered, 20),
            Endpoint::Flaky if self.rng.random_bool(0.3) => (status(500), 30),
            Endpoint::Flaky => (Verdict::Delivered, 30),
        }
    }

    /// Everything that is possible now; then time goes on to the next thing that happens.
    pub(super) fn step(&mut self) {
        self.promote();
        self.land();
        self.engine.tick(self.now);
        self.intake();
        while let Some(dispatch) = self.engine.dispatch(self.now) {
            self.fly(dispatch);
        }
        for left in self.engine.take_left() {
            let delivery = Arc::clone(&left.arrival.delivery);
            if let End::Parked { hop, .. } = &left.end {
                self.parked_lanes.push((delivery.subscription, hop.wait));
            }
            self.resolve(left.arrival, &left.end);
        }
        if self.now >= self.next_commit {
            self.commit();
            self.next_commit = self.now + 50;
        }
        let wake = self.engine.next_wake_ms().unwrap_or(i64::MAX);
        let landing = self.flights.peek().map_or(i64::MAX, |Reverse((at, _))| *at);
        let due = self.waiting.iter().map(|(at, _)| *at).min().unwrap_or(i64::MAX);
        let commit = if self.outbox.is_empty() { i64::MAX } else { self.next_commit };
        let alarm = if self.alarm > self.now { self.alarm } else { i64::MAX };
        let next = wake.min(landing).min(due).min(commit).min(alarm);
        self.now = if next == i64::MAX { self.now + 1 } else { next.max(self.now + 1) };
    }

    pub(super) fn promote(&mut self) {
        let (due, waiting): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|(at, _)| *at <= self.now);
        self.waiting = waiting;
        for (_, record) in due {
            self.append(record);
        }
    }

    pub(super) fn land(&mut self) {
        while let Some(Reverse((at, flight))) = self.flights.peek().copied() {
            if at > self.now {
                return;
            }
            self.flights.pop();
            let Some(flight) = self.flying.remove(&flight) else { continue };
            let landed = self.engine.outcome(flight.ticket, &flight.verdict, flight.elapsed, self.now);
            let Some(Landed { arrival, failed }) = landed else { continue };
            self.reported.extend(failed.filter(|failed| failed.is_due).map(|_| self.now));
            let since = failed.map(|failed: Failed| failed.since_ms).or(arrival.delivery.hop.failing_since_ms);
            let end = self.rules.after(&flight.verdict, &arrival.delivery, since, &flight.subscription, self.now);
            self.resolve(arrival, &end);
        }
    }

    pub(super) fn intake(&mut self) {
        while self.read < self.log.len() && self.engine.len() < LOOK_AHEAD {
            let record = self.log[self.read].clone();
            self.read += 1;
            if !self.outbox.admit(self.epoch, record.offset) {
                continue;
            }
            let delivery = Arc::new(Delivery::decode(&record).unwrap());
            let arrival =
                Arrival { lease: self.epoch, offset: record.offset, size: record.size(), timestamp_ms: 0, delivery };
            self.engine.admit(arrival, self.now);
        }
    }

    pub(super) fn fly(&mut self, dispatch: Dispatch) {
        let id = dispatch.delivery.subscription;
        assert!(dispatch.delivery.hop.due_ms <= self.now, "seed {}: early", self.seed);
        let in_lane = self.flying.values().filter(|flight| flight.subscription.id() == id).count();
        assert!(in_lane < CAP as usize, "seed {}: cap exceeded", self.seed);
        if dispatch.delivery.hop.attempt == 1 {
            self.started.insert(id, self.now);
        }
        let (verdict, elapsed) = self.verdict(id);
        self.flown += 1;
        self.flights.push(Reverse((self.now + elapsed, self.flown)));
        let flight = Flight { ticket: dispatch.ticket, subscription: dispatch.subscription, verdict, elapsed };
        self.flying.insert(self.flown, flight);
    }

    pub(super) fn resolve(&mut self, arrival: Arrival, end: &End) {
        let mut outputs = self.reporter.outputs(&arrival.delivery, end, None, self.now).unwrap();
        let Arrival { lease, offset, size, timestamp_ms, .. } = arrival;
        self.outbox.resolve(Entry::new(lease, (offset, timestamp_ms), size, 0, ()), &mut outputs);
    }

    pub(super) fn commit(&mut self) {
        while let Some((_, transaction)) = self.outbox.cut(0) {
            for output in transaction.outputs {
                self.write(output.record);
            }
            for progress in transaction.progress {
                self.committed = (progress.committed, progress.read_up_to, progress.not_done);
            }
        }
    }

    pub(super) fn write(&mut self, record: OutRecord) {
        let OutRecord { topic, key, value, headers, .. } = record;
        if topic == self.topics.attempts {
            let value = value.unwrap();
            let lifecycle = Lifecycle::decode(&value).unwrap();
            if lifecycle.kind.is_terminal() {
                let count = self.settled.entry(lifecycle.delivery_id.unwrap()).or_default();
                *count += 1;
                assert_eq!(*count, 1, "seed {}: settled twice", self.seed);
            }
        } else if topic == self.topics.deliveries || self.topics.tier_of(&topic).is_some() {
            let record = Record { offset: 0, timestamp_ms: 0, key, value, headers };
            let due = Delivery::decode(&record).unwrap().hop.due_ms;
            // The scheduler is never early and at most a second late; what it promotes below a tier is waited out here.
            let early = if self.topics.tier_of(&topic).is_none() { self.now } else { due };
            let late = self.rng.random_range(0..1_000);
            self.waiting.push((early.max(self.now) + late, record));
        }
    }

    /// The process dies: what is in flight is forgotten, the next one starts from what was committed.
    pub(super) fn restart(&mut self) {
        self.flying.clear();
        self.flights.clear();
        self.engine = Engine::new(rules(), self.subscriptions.clone());
        self.outbox = outbox();
        self.reopen();
    }

    /// The partition goes and comes back; what is in flight may end in between.
    pub(super) fn revoke(&mut self, lost: bool) {
        self.engine.revoke(&[self.epoch], !lost);
        if !lost {
            while self.engine.in_flight_of(&[self.epoch]) > 0 {
                self.now = self.flights.peek().map_or(self.now, |Reverse((at, _))| *at);
                self.land();
            }
            self.commit();
        }
        self.outbox.close(self.epoch);
        self.reopen();
    }

    pub(super) fn reopen(&mut self) {
        self.epoch.0 += 1;
        let (committed, read_up_to, not_done) = self.committed.clone();
        self.outbox.open(&lease(self.epoch), Window::restore(committed, read_up_to, not_done), committed);
        self.read = self.log.partition_point(|record| record.offset < committed);
    }

    pub(super) fn heal(&mut self) {
        for endpoint in self.endpoints.values_mut() {
            *endpoint = Endpoint::Fast;
        }
    }

    pub(super) fn run_until_settled(&mut self, count: usize) {
        for _ in 0..3_000_000 {
            if self.settled.len() == count {
                return;
            }
            self.step();
        }
        panic!("seed {}: {} of {count} settled", self.seed, self.settled.len());
    }
}
