//! A seeded simulation of the pure parts together: engine, lanes, settlement, reports and book, driven through virtual time
//! against endpoints that are fast, slow, dead or rate-limited; the worker is restarted and loses its leases at any step.
//!
//! First safety while things go wrong, then everything heals and every delivery has to settle, exactly once.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kafka::{Epoch, Lease, Window};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use retry::{Schedule, Tiers};
use schemas::attempt::Lifecycle;
use schemas::control;
use schemas::delivery::{Delivery, Wait};
use schemas::ids::DeliveryId;
use schemas::record::{OutRecord, Record, TopicPartition};
use schemas::topics::{TopicSettings, Topics};

use super::*;
use crate::book::{BatchLimits, Book, Entry};
use crate::classify::{NoAnswer, answered, unanswered};
use crate::report::Reporter;
use crate::settle::RetryRules;
use crate::testing;

const LOOK_AHEAD: usize = 200;
const CAP: u32 = 8;
const MINUTE: i64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Endpoint {
    Fast,
    Slow,
    Dead,
    Busy,
    Flaky,
}

/// What the engine looks subscriptions up in.
#[derive(Clone, Default)]
struct Subscriptions(Rc<RefCell<BTreeMap<SubscriptionId, Arc<Subscription>>>>);

impl Lookup for Subscriptions {
    fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.0.borrow().get(&id).cloned()
    }
}

struct Flight {
    ticket: Ticket,
    subscription: Arc<Subscription>,
    verdict: Verdict,
    elapsed: i64,
}

/// One partition, its endpoints, and the worker.
struct World {
    seed: u64,
    rng: StdRng,
    now: i64,
    topics: Topics,
    reporter: Reporter,
    rules: RetryRules,
    subscriptions: Subscriptions,
    endpoints: BTreeMap<SubscriptionId, Endpoint>,
    log: Vec<Record>,
    read: usize,
    committed: (i64, i64, Vec<i64>),
    engine: Engine<Subscriptions>,
    book: Book,
    key: LeaseKey,
    epoch: u64,
    flights: BinaryHeap<Reverse<(i64, u64)>>,
    flying: BTreeMap<u64, Flight>,
    flown: u64,
    /// Time of return and the record, from the delay topics.
    waiting: Vec<(i64, Record)>,
    next_commit: i64,
    settled: BTreeMap<DeliveryId, u32>,
    parked_lanes: Vec<(SubscriptionId, Wait)>,
    /// Latest start of a first attempt, per subscription.
    started: BTreeMap<SubscriptionId, i64>,
}

fn rules() -> Rules {
    Rules {
        concurrency: 64,
        lane_concurrency: CAP,
        lane_wait: LaneWait { ms: 1_000, share: LOOK_AHEAD / 2 },
        shortest_ms: 5_000,
        long_park_ms: 10 * MINUTE,
        breaker_failures: 20,
    }
}

fn lease(epoch: u64) -> Lease {
    Lease { partition: TopicPartition::new("hookbus.deliveries", 0), epoch: Epoch(epoch) }
}

impl World {
    fn new(seed: u64, endpoints: &[Endpoint]) -> Self {
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
        let mut book = Book::new(BatchLimits { records: 100, bytes: 1 << 20 });
        let key = book.open(lease(0), Window::restore(0, 0, Vec::new()));
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
            book,
            key,
            epoch: 0,
            flights: BinaryHeap::new(),
            flying: BTreeMap::new(),
            flown: 0,
            waiting: Vec::new(),
            next_commit: 0,
            settled: BTreeMap::new(),
            parked_lanes: Vec::new(),
            started: BTreeMap::new(),
        }
    }

    /// Transactions leave holes: offsets are not dense.
    fn append(&mut self, mut record: Record) {
        let last = self.log.last().map_or(-1, |last| last.offset);
        record.offset = last + 1 + self.rng.random_range(0..2);
        record.timestamp_ms = self.now;
        self.log.push(record);
    }

    fn event(&mut self, number: usize, subscription: usize) {
        let subscription = u128::try_from(subscription).unwrap();
        self.append(testing::record(&format!("evt_{number}"), subscription, self.now + 30 * 86_400_000));
    }

    fn verdict(&mut self, id: SubscriptionId) -> (Verdict, i64) {
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
    fn step(&mut self) {
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
        let commit = if self.book.is_clean() { i64::MAX } else { self.next_commit };
        let next = wake.min(landing).min(due).min(commit);
        self.now = if next == i64::MAX { self.now + 1 } else { next.max(self.now + 1) };
    }

    fn promote(&mut self) {
        let (due, waiting): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|(at, _)| *at <= self.now);
        self.waiting = waiting;
        for (_, record) in due {
            self.append(record);
        }
    }

    fn land(&mut self) {
        while let Some(Reverse((at, flight))) = self.flights.peek().copied() {
            if at > self.now {
                return;
            }
            self.flights.pop();
            let Some(flight) = self.flying.remove(&flight) else { continue };
            let outcome = self.engine.outcome(flight.ticket, &flight.verdict, flight.elapsed, self.now);
            if let Some(arrival) = outcome {
                let end = self.rules.after(&flight.verdict, &arrival.delivery, &flight.subscription, self.now);
                self.resolve(arrival, &end);
            }
        }
    }

    fn intake(&mut self) {
        while self.read < self.log.len() && self.engine.len() < LOOK_AHEAD {
            let record = self.log[self.read].clone();
            self.read += 1;
            if !self.book.admit(self.key, record.offset) {
                continue;
            }
            let delivery = Arc::new(Delivery::decode(&record).unwrap());
            let arrival =
                Arrival { lease: self.key, offset: record.offset, size: record.size(), timestamp_ms: 0, delivery };
            self.engine.admit(arrival, self.now);
        }
    }

    fn fly(&mut self, dispatch: Dispatch) {
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

    fn resolve(&mut self, arrival: Arrival, end: &End) {
        let outputs = self.reporter.outputs(&arrival.delivery, end, None, self.now).unwrap();
        let Arrival { lease, offset, size, .. } = arrival;
        self.book.resolve(Entry { lease, offset, size, outputs, boot_ms: 0 });
    }

    fn commit(&mut self) {
        while let Some(batch) = self.book.cut(0) {
            for output in batch.transaction.outputs {
                self.write(output.record);
            }
            for progress in batch.transaction.progress {
                self.committed = (progress.committed, progress.read_up_to, progress.not_done);
            }
        }
    }

    fn write(&mut self, record: OutRecord) {
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
    fn restart(&mut self) {
        self.flying.clear();
        self.flights.clear();
        self.engine = Engine::new(rules(), self.subscriptions.clone());
        self.book = Book::new(BatchLimits { records: 100, bytes: 1 << 20 });
        self.reopen();
    }

    /// The partition goes and comes back; what is in flight may end in between.
    fn revoke(&mut self, lost: bool) {
        self.engine.revoke(&[self.key], !lost);
        if !lost {
            while self.engine.in_flight_of(&[self.key]) > 0 {
                self.now = self.flights.peek().map_or(self.now, |Reverse((at, _))| *at);
                self.land();
            }
            self.commit();
        }
        self.book.close(self.key);
        self.reopen();
    }

    fn reopen(&mut self) {
        self.epoch += 1;
        let (committed, read_up_to, not_done) = self.committed.clone();
        self.key = self.book.open(lease(self.epoch), Window::restore(committed, read_up_to, not_done));
        self.read = self.log.partition_point(|record| record.offset < committed);
    }

    fn heal(&mut self) {
        for endpoint in self.endpoints.values_mut() {
            *endpoint = Endpoint::Fast;
        }
    }

    fn run_until_settled(&mut self, count: usize) {
        for _ in 0..3_000_000 {
            if self.settled.len() == count {
                return;
            }
            self.step();
        }
        panic!("seed {}: {} of {count} settled", self.seed, self.settled.len());
    }
}

#[test]
fn every_delivery_settles_once_whatever_endpoints_and_restarts_do() {
    for seed in 0..20 {
        let kinds = [Endpoint::Fast, Endpoint::Slow, Endpoint::Dead, Endpoint::Busy, Endpoint::Flaky];
        let mut world = World::new(seed, &kinds);
        let count = 400;
        for number in 0..count {
            let subscription = world.rng.random_range(0..kinds.len());
            world.event(number, subscription);
        }
        for _ in 0..2_000 {
            world.step();
            match world.rng.random_range(0..400) {
                0 => world.restart(),
                1 => world.revoke(true),
                2 => world.revoke(false),
                _ => {}
            }
        }
        world.heal();
        world.run_until_settled(count);
        assert!(world.settled.values().all(|times| *times == 1), "seed {seed}");
    }
}

#[test]
fn a_fast_lane_is_never_parked_and_no_neighbour_holds_it_up() {
    for seed in 0..6 {
        let kinds = [Endpoint::Fast, Endpoint::Slow, Endpoint::Dead, Endpoint::Busy];
        let mut world = World::new(seed, &kinds);
        let fast = testing::subscription_id(0);
        // The look-ahead is full of others before the first delivery of the fast lane comes.
        for number in 0..2_000 {
            world.event(number, 1 + number % 3);
        }
        for number in 2_000..2_500 {
            world.event(number, 0);
        }
        let begin = world.now;
        while world.read < world.log.len() && world.now < begin + 10 * MINUTE {
            world.step();
        }
        world.step();
        assert!(world.parked_lanes.iter().all(|(id, _)| *id != fast), "seed {seed}: the fast lane was parked");
        let last = world.started[&fast] - begin;
        assert!(last < 2 * MINUTE, "seed {seed}: the fast lane waited {last} ms for its neighbours");
    }
}

#[test]
fn a_dead_endpoint_opens_its_circuit_and_its_deliveries_wait_in_long_tiers() {
    let mut world = World::new(1, &[Endpoint::Dead]);
    for number in 0..300 {
        world.event(number, 0);
    }
    let until = world.now + 3 * MINUTE;
    while world.now < until {
        world.step();
    }
    assert_eq!(world.engine.open_circuits(), 1);
    assert!(world.parked_lanes.iter().any(|(_, wait)| *wait == Wait::Circuit));
    assert!(world.flying.len() <= 1, "one probe at a time");
}

#[test]
fn a_paused_subscription_parks_and_a_deleted_one_cancels() {
    let mut world = World::new(1, &[Endpoint::Fast, Endpoint::Fast]);
    let vault = testing::vault();
    let paused = control::Subscription { is_paused: true, ..testing::object(0, "https://example.com/", &vault) };
    let id = paused.subscription_id;
    world.subscriptions.0.borrow_mut().insert(id, testing::subscription(paused, 2, &vault));
    world.subscriptions.0.borrow_mut().remove(&testing::subscription_id(1));
    world.event(0, 0);
    world.event(1, 1);
    let begin = world.now;
    world.step();
    assert_eq!(world.parked_lanes, [(id, Wait::Paused)]);
    assert_eq!(world.settled.len(), 1, "the deleted subscription's delivery is cancelled");
    let wait = world.waiting.iter().map(|(at, _)| *at).min().unwrap() - begin;
    assert!(wait > 9 * MINUTE, "{wait}");
}

#[test]
fn a_subscriptions_cap_and_rate_hold() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    let vault = testing::vault();
    let limited = control::Subscription {
        concurrency: Some(2),
        rate_per_second: Some(20.0),
        ..testing::object(0, "https://example.com/", &vault)
    };
    world.subscriptions.0.borrow_mut().insert(limited.subscription_id, testing::subscription(limited, 2, &vault));
    for number in 0..200 {
        world.event(number, 0);
    }
    let mut sent = Vec::new();
    while world.settled.len() < 200 {
        let before = world.flown;
        world.step();
        assert!(world.flying.len() <= 2);
        sent.extend((before..world.flown).map(|_| world.now));
    }
    assert!(sent.windows(22).all(|window| window[21] - window[0] >= 1_000), "more than 20 in a second");
}

#[test]
fn what_is_due_later_waits_and_what_is_due_much_later_goes_back() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    let base = testing::delivery("evt_1", 0);
    for (number, wait) in [(1, 3_000), (2, 600_000)] {
        let mut delivery = testing::delivery(&format!("evt_{number}"), 0);
        delivery.hop.due_ms = world.now + wait;
        let record = delivery.to_hop(Arc::clone(&world.topics.deliveries), None, delivery.hop);
        world.append(Record { offset: 0, timestamp_ms: 0, key: None, value: record.value, headers: record.headers });
    }
    let begin = world.now;
    while world.settled.is_empty() {
        world.step();
    }
    assert!(world.now >= begin + 3_000);
    assert!(world.settled.contains_key(&base.id));
    assert_eq!(world.waiting.len(), 1);
}

#[test]
fn everything_failing_at_once_holds_intake_and_parks_nothing() {
    let mut engine = Engine::new(rules(), {
        let (subscriptions, vault) = (Subscriptions::default(), testing::vault());
        for number in 0..4 {
            let object = testing::object(number, "https://example.com/", &vault);
            let subscription = testing::subscription(object, 1, &vault);
            subscriptions.0.borrow_mut().insert(subscription.id(), subscription);
        }
        subscriptions
    });
    let mut now = 0;
    let unreachable = unanswered(NoAnswer::Connect);
    for number in 0..400 {
        let delivery = Arc::new(testing::delivery(&format!("evt_{number}"), number % 4));
        let offset = i64::try_from(number).unwrap();
        engine.admit(Arrival { lease: LeaseKey(1), offset, size: 1, timestamp_ms: 0, delivery }, now);
        if let Some(dispatch) = engine.dispatch(now) {
            now += 20;
            assert!(engine.outcome(dispatch.ticket, &unreachable, 20, now).is_some());
        }
    }
    assert!(engine.is_held());
    assert!(engine.take_left().is_empty(), "nothing is parked while the network is down");
    assert!(engine.dispatch(now).is_none());
    now = engine.next_wake_ms().unwrap();
    let probe = engine.dispatch(now).unwrap();
    engine.outcome(probe.ticket, &Verdict::Delivered, 20, now);
    assert!(!engine.is_held());
    assert!(engine.dispatch(now).is_some());
}
