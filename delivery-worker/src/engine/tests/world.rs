//! One partition, its endpoints, the worker, the scheduler and Kafka's part of it, in virtual time: what is written comes back as
//! Kafka and the scheduler would bring it back, and what a batch does not get through comes back as the stage would.
//!
//! Everything that is committed is checked at once against a ledger of its own (`world/ledger.rs`).

mod catalog;
mod commits;
mod kafka;
mod ledger;
mod lists;
mod owners;
mod requests;
mod scheduler;
mod shell;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use ::kafka::{Epoch, Lease};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use retry::{Schedule, Tiers};
use schemas::delivery::Delivery;
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::ordering::OrderingKey;
use schemas::record::{Record, TopicPartition};
use schemas::topics::{TopicSettings, Topics};
use stage::{BatchLimits, Entry, Order, Outbox};

use self::catalog::OperatorState;
pub(super) use self::catalog::Subscriptions;
use self::kafka::Kafka;
use self::ledger::Ledger;
pub(super) use self::requests::{Endpoint, Flight};
use self::scheduler::Scheduler;
use self::shell::{Committing, Shell};
use super::super::{Arrival, Engine, LookAhead, Rules};
use crate::book::checkpoint::CheckpointBounds;
use crate::report::Reporter;
use crate::settle::{End, RetryRules};
use crate::testing;
use crate::work::{LaneNote, SupersededPlace};

pub(super) const LOOK_AHEAD: usize = 60;
pub(super) const CAP: u32 = 8;
pub(super) const MINUTE: i64 = 60_000;
/// So many steps in which nothing is settled: nothing more will happen.
const STANDSTILL: u32 = 100_000;

/// One partition, its endpoints, and the worker.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: StdRng,
    pub(super) now: i64,
    pub(super) topics: Topics,
    reporter: Reporter,
    rules: RetryRules,
    engine_rules: Rules,
    pub(super) subscriptions: Subscriptions,
    pub(super) endpoints: BTreeMap<SubscriptionId, Endpoint>,
    pub(super) log: Vec<Record>,
    pub(super) read: usize,
    pub(super) kafka: Kafka,
    pub(super) engine: Engine<Subscriptions>,
    pub(super) outbox: Outbox<LaneNote>,
    pub(super) shell: Shell,
    pub(super) epoch: Epoch,
    flights: BinaryHeap<Reverse<(i64, u64)>>,
    pub(super) flying: BTreeMap<u64, Flight>,
    pub(super) flown: u64,
    pub(super) scheduler: Scheduler,
    reading: BinaryHeap<Reverse<(i64, i64, u64)>>,
    committing: Option<Committing>,
    next_commit: i64,
    pub(super) ledger: Ledger,
    /// Start of the newest first attempt, per subscription.
    pub(super) started: BTreeMap<SubscriptionId, i64>,
    /// Latest any first attempt began after its record was written, ms.
    pub(super) latest: i64,
    /// Time does not jump beyond this.
    pub(super) alarm: i64,
    /// When an endpoint was reported to be failing.
    pub(super) reported: Vec<i64>,
    /// Batches that do not get through, of a hundred.
    pub(super) refused_percent: u32,
    is_origin_shared: bool,
    /// When `lanes` is written once more, where that is not as built in.
    pub(super) bounds: Option<CheckpointBounds>,
    /// Demands to read back: urgent ones, and others.
    pub(super) demands: (u64, u64),
    /// Ends of `lanes` that were asked for.
    ends: Vec<(Epoch, i64)>,
    /// Nothing is read before: the first fetch of a new owner may be slow.
    fetches_at: i64,
    /// Retention deletes what is older, ms.
    pub(super) deletes_after: Option<i64>,
    /// What endpoints answer with 500.
    refused_key: Option<OrderingKey>,
    /// What was changed of subscriptions.
    states: BTreeMap<usize, OperatorState>,
    /// Offset of the newest record of `control`: what is matched from now on names it.
    control_end: i64,
    /// When the worker looks at what was changed.
    review_at: Option<i64>,
}

pub(super) fn rules() -> Rules {
    Rules {
        concurrency: 64,
        in_flight_bytes: 1 << 20,
        lane_concurrency: CAP,
        lane_wait_ms: 1_000,
        look_ahead: LookAhead { records: LOOK_AHEAD, bytes: 1 << 20, budget: 1 << 20, span: 16_000 },
        keep_ms: None,
        queue_bytes: 1 << 20,
        queue_entries: 1_000_000,
        breaker_failures: 20,
        longest_hold_ms: 86_400_000,
        disable_after_ms: None,
    }
}

pub(super) fn lease(epoch: Epoch) -> Lease {
    Lease { partition: TopicPartition::new("hookbus.deliveries", 0), epoch }
}

fn outbox() -> Outbox<LaneNote> {
    Outbox::new(BatchLimits { records: 100, bytes: 1 << 20 }, Order::AnyOrder)
}

impl World {
    pub(super) fn new(seed: u64, endpoints: &[Endpoint]) -> Self {
        Self::with(seed, endpoints, rules())
    }

    pub(super) fn with(seed: u64, endpoints: &[Endpoint], engine_rules: Rules) -> Self {
        let settings = TopicSettings::default();
        let topics = settings.topics();
        let subscriptions = Subscriptions::default();
        let mut by_id = BTreeMap::new();
        for (number, endpoint) in (0_u128..).zip(endpoints) {
            let subscription = testing::shared_subscription(number);
            by_id.insert(subscription.id(), *endpoint);
            subscriptions.put(subscription);
        }
        let mut world = Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            now: 1_000_000,
            reporter: Reporter::new(topics.clone(), &settings.tiers, 4_096, Duration::from_secs(15)),
            scheduler: Scheduler::new(&settings, &topics),
            shell: Shell::new(topics.clone()),
            topics,
            rules: RetryRules {
                schedule: Schedule::default(),
                tiers: Tiers::default(),
                retry_after_cap: Duration::from_secs(86_400),
            },
            engine: Engine::new(engine_rules, subscriptions.clone()),
            engine_rules,
            subscriptions,
            endpoints: by_id,
            log: Vec::new(),
            read: 0,
            kafka: Kafka::default(),
            outbox: outbox(),
            epoch: Epoch(0),
            flights: BinaryHeap::new(),
            flying: BTreeMap::new(),
            flown: 0,
            reading: BinaryHeap::new(),
            committing: None,
            next_commit: 0,
            ledger: Ledger::new(seed),
            started: BTreeMap::new(),
            latest: 0,
            alarm: 0,
            reported: Vec::new(),
            refused_percent: 0,
            is_origin_shared: false,
            bounds: None,
            demands: (0, 0),
            ends: Vec::new(),
            fetches_at: 0,
            deletes_after: None,
            refused_key: None,
            states: BTreeMap::new(),
            control_end: 5,
            review_at: None,
        };
        world.reopen();
        world
    }

    /// Everything that is possible now; then time goes on to the next thing that happens.
    pub(super) fn step(&mut self) {
        self.promote();
        self.end_commit();
        self.land();
        self.correct();
        self.checkpoint();
        self.answer();
        self.hurry();
        self.check_ages();
        self.intake();
        self.review_changes();
        self.engine.set_behind(i64::try_from(self.log.len() - self.read + self.outbox.live()).unwrap());
        self.engine.tick(self.now);
        while let Some(dispatch) = self.engine.dispatch(self.now) {
            // What was before it may have left when its turn came.
            self.put_left();
            self.fly(dispatch);
        }
        self.put_left();
        self.demand();
        self.begin_commit();
        self.ledger.check_idle(self.now, &self.engine, &self.subscriptions, &self.endpoints, &self.flying);
        self.pass_time();
    }

    fn put_left(&mut self) {
        self.put_changes();
        for left in self.engine.take_left() {
            self.ledger.leaves(&left.arrival, &left.end);
            let id = left.arrival.delivery.subscription;
            self.resolve(&left.arrival, LaneNote::unsent(id, left.is_listed, left.end.superseded()), &left.end);
        }
    }

    fn pass_time(&mut self) {
        let wake = self.engine.next_wake_ms().unwrap_or(i64::MAX);
        let landing = self.flights.peek().map_or(i64::MAX, |Reverse((at, _))| *at);
        let commit = match &self.committing {
            Some(committing) => committing.ends_at,
            None if self.outbox.is_empty() => i64::MAX,
            None => self.next_commit,
        };
        let read = self.reading.peek().map_or(i64::MAX, |Reverse((at, ..))| *at);
        let alarm = if self.alarm > self.now { self.alarm } else { i64::MAX };
        let fetch = if self.fetches_at > self.now { self.fetches_at } else { i64::MAX };
        let ages = self.shell.books.next_age_look_ms().unwrap_or(i64::MAX);
        let review = self.review_at.unwrap_or(i64::MAX);
        let own = [wake, landing, commit, read, ages, review];
        let next = own.into_iter().chain([alarm, fetch, self.scheduler.next_ms()]).min().unwrap();
        self.now = if next == i64::MAX { self.now + 1 } else { next.max(self.now + 1) };
    }

    fn promote(&mut self) {
        for record in self.scheduler.take(self.now, &mut self.rng) {
            self.append(record);
        }
    }

    /// Transactions leave holes: offsets are not dense.
    pub(super) fn append(&mut self, mut record: Record) {
        let last = self.log.last().map_or(-1, |last| last.offset);
        record.offset = last + 1 + self.rng.random_range(0..2);
        record.timestamp_ms = self.now;
        self.ledger.written(&record);
        self.log.push(record);
    }

    pub(super) fn event(&mut self, number: usize, subscription: usize) {
        self.event_until(number, subscription, self.now + 30 * 86_400_000);
    }

    /// One with an ordering key.
    pub(super) fn ordered(&mut self, number: usize, subscription: usize, key: u64) {
        let subscription = u128::try_from(subscription).unwrap();
        self.append(testing::ordered(&format!("evt_{number}"), subscription, key, self.control_end));
    }

    /// One that dies then.
    pub(super) fn event_until(&mut self, number: usize, subscription: usize, deadline_ms: i64) {
        let subscription = u128::try_from(subscription).unwrap();
        self.append(testing::matched(&format!("evt_{number}"), subscription, deadline_ms, self.control_end));
    }

    /// A delivery that was tried once and is due again.
    pub(super) fn retry(&mut self, number: usize, subscription: usize, deadline_ms: i64) {
        let subscription = u128::try_from(subscription).unwrap();
        self.append(testing::retry(&format!("evt_{number}"), subscription, deadline_ms, self.control_end));
    }

    fn intake(&mut self) {
        if self.now < self.fetches_at {
            return;
        }
        while self.read < self.log.len() && self.outbox.live() < LOOK_AHEAD {
            let record = self.log[self.read].clone();
            self.read += 1;
            if !self.outbox.admit(self.epoch, record.offset) {
                continue;
            }
            let arrival = self.arrival(&record);
            self.ledger.admitted(&arrival);
            self.engine.admit(arrival, self.now);
        }
    }

    pub(super) fn arrival(&self, record: &Record) -> Arrival {
        let delivery = Arc::new(Delivery::decode(record).unwrap());
        let (offset, size, timestamp_ms) = (record.offset, record.size(), record.timestamp_ms);
        Arrival { lease: self.epoch, offset, size, timestamp_ms, delivery }
    }

    fn resolve(&mut self, arrival: &Arrival, note: LaneNote, end: &End) {
        let mut outputs = self.reporter.outputs(&arrival.delivery, end, None, self.now).unwrap();
        let Arrival { lease, offset, size, timestamp_ms, .. } = *arrival;
        let is_listed = matches!(
            note,
            LaneNote::Settled(_)
                | LaneNote::LeftList(_)
                | LaneNote::Held(_, true, _)
                | LaneNote::Superseded(_, SupersededPlace::List, _)
        );
        let entry = if is_listed {
            Entry::beside(lease, (offset, timestamp_ms), 0, note)
        } else {
            Entry::new(lease, (offset, timestamp_ms), size, 0, note)
        };
        self.outbox.resolve(entry, &mut outputs);
    }

    pub(super) fn settled(&self) -> &BTreeMap<DeliveryId, u32> {
        &self.ledger.settled
    }

    /// Lets time go by until then, with something to look at this often (ms) though nothing happens.
    pub(super) fn wait_until(&mut self, until: i64, every: i64) {
        while self.now < until {
            self.alarm = self.now + every;
            self.step();
        }
    }

    /// Until at least so many are settled.
    pub(super) fn run_until(&mut self, count: usize) {
        let (mut settled, mut steps) = (self.settled().len(), 0);
        while self.settled().len() < count {
            self.step();
            steps = if self.settled().len() > settled { 0 } else { steps + 1 };
            settled = self.settled().len();
            assert!(
                steps < STANDSTILL,
                "seed {}: {settled} of {count} settled; {} of {} read, {} in memory, {} in flight, {:?}",
                self.seed,
                self.read,
                self.log.len(),
                self.engine.len(),
                self.engine.in_flight(),
                self.engine.queued()
            );
        }
    }

    /// Until all are settled, and no more than there are.
    pub(super) fn run_until_settled(&mut self, count: usize) {
        self.run_until(count);
        assert_eq!(self.settled().len(), count, "seed {}", self.seed);
    }
}
