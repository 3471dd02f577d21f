//! One partition, its endpoints, the worker, the scheduler and Kafka's part of it, in virtual time: what is written comes back as
//! Kafka and the scheduler would bring it back, and what a batch does not get through comes back as the stage would.
//!
//! Everything that is committed is checked at once against a ledger of its own (`world/ledger.rs`).

mod kafka;
mod ledger;
mod scheduler;
mod shell;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::kafka::{Epoch, Lease, Window};
use catalog::Subscription;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use retry::{Schedule, Tiers};
use schemas::delivery::Delivery;
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::record::{Record, TopicPartition};
use schemas::topics::{TopicSettings, Topics};
use stage::{BatchLimits, Entry, Order, Outbox};

use self::kafka::Kafka;
use self::ledger::Ledger;
use self::scheduler::Scheduler;
use self::shell::{Committing, Shell};
use super::super::{
    Arrival, Dispatch, Engine, Landed, LaneChange, ListedRecord, LookAhead, Lookup, ReadBackDemand, Rules,
};
use crate::book::checkpoint::CheckpointBounds;
use crate::classify::{NoAnswer, Verdict, answered, unanswered};
use crate::flaws::{self, Flaw};
use crate::lanes::streak::Failed;
use crate::report::Reporter;
use crate::settle::{End, RetryRules};
use crate::slots::Ticket;
use crate::testing;
use crate::work::LaneNote;

pub(super) const LOOK_AHEAD: usize = 60;
pub(super) const CAP: u32 = 8;
pub(super) const MINUTE: i64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Endpoint {
    Fast,
    /// Answers after as many ms.
    Takes(i64),
    Slow,
    Dead,
    /// Fails at once.
    Down,
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
            reporter: Reporter::new(topics.clone(), &settings.tiers, 4_096),
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
        };
        world.reopen();
        world
    }

    /// All endpoints are at one host and port.
    pub(super) fn share_an_origin(&mut self) {
        self.is_origin_shared = true;
        let vault = testing::vault();
        for number in (0..).take(self.endpoints.len()) {
            let object = testing::object(number, &self.url(number), &vault);
            self.subscriptions.put(testing::subscription(object, 2, &vault));
        }
    }

    /// Where a subscription's endpoint is.
    pub(super) fn url(&self, number: u128) -> String {
        if self.is_origin_shared { format!("https://shared.example.com/{number}") } else { testing::url(number) }
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
        let subscription = u128::try_from(subscription).unwrap();
        self.append(testing::record(&format!("evt_{number}"), subscription, self.now + 30 * 86_400_000));
    }

    fn verdict(&mut self, id: SubscriptionId) -> (Verdict, i64) {
        let status = |code: u16| answered(http::StatusCode::from_u16(code).unwrap(), &http::HeaderMap::new(), 0);
        match self.endpoints[&id] {
            Endpoint::Fast => (Verdict::Delivered, self.rng.random_range(1..8)),
            Endpoint::Takes(ms) => (Verdict::Delivered, ms),
            Endpoint::Slow => (Verdict::Delivered, self.rng.random_range(1_500..4_000)),
            Endpoint::Dead => (unanswered(NoAnswer::Timeout), 15_000),
            Endpoint::Down => (status(503), 5),
            Endpoint::Busy if self.rng.random_bool(0.5) => (status(429), 20),
            Endpoint::Busy => (Verdict::Delivered, 20),
            Endpoint::Flaky if self.rng.random_bool(0.3) => (status(500), 30),
            Endpoint::Flaky => (Verdict::Delivered, 30),
        }
    }

    /// Everything that is possible now; then time goes on to the next thing that happens.
    pub(super) fn step(&mut self) {
        self.promote();
        self.end_commit();
        self.land();
        self.correct();
        self.checkpoint();
        self.answer();
        self.intake();
        self.engine.set_behind(i64::try_from(self.log.len() - self.read + self.outbox.live()).unwrap());
        self.engine.tick(self.now);
        while let Some(dispatch) = self.engine.dispatch(self.now) {
            self.fly(dispatch);
        }
        self.put_changes();
        for left in self.engine.take_left() {
            self.ledger.leaves(&left.arrival, &left.end);
            self.resolve(left.arrival, left.is_listed, &left.end);
        }
        self.demand();
        self.begin_commit();
        self.ledger.check_idle(self.now, &self.engine, &self.subscriptions, &self.endpoints, &self.flying);
        self.pass_time();
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
        let next = [wake, landing, commit, read, alarm, fetch, self.scheduler.next_ms()].into_iter().min().unwrap();
        self.now = if next == i64::MAX { self.now + 1 } else { next.max(self.now + 1) };
    }

    fn promote(&mut self) {
        for record in self.scheduler.take(self.now, &mut self.rng) {
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
            // The worker is short of CPU now and then; what it measures must be the endpoint's time alone.
            let lag = if flaws::has(Flaw::WorkersLagMeasured) { 20_000 } else { 0 };
            let landed = self.engine.outcome(flight.ticket, &flight.verdict, flight.elapsed + lag, self.now);
            let Some(Landed { arrival, failed, is_listed }) = landed else { continue };
            self.reported.extend(failed.filter(|failed| failed.is_due).map(|_| self.now));
            let since = failed.map(|failed: Failed| failed.since_ms).or(arrival.delivery.hop.failing_since_ms);
            let end = self.rules.after(&flight.verdict, &arrival.delivery, since, &flight.subscription, self.now);
            self.ledger.attempted(&arrival.delivery, &end);
            self.resolve(arrival, is_listed, &end);
        }
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

    fn fly(&mut self, dispatch: Dispatch) {
        let Dispatch { ticket, delivery, subscription } = dispatch;
        let id = delivery.subscription;
        let offset = self.engine.offset_of(ticket).unwrap();
        assert!(delivery.hop.due_ms <= self.now, "seed {}: early", self.seed);
        assert!(!subscription.is_paused(), "seed {}: sent while paused", self.seed);
        let in_lane = self.flying.values().filter(|flight| flight.subscription.id() == id).count();
        assert!(in_lane < CAP as usize, "seed {}: cap exceeded", self.seed);
        self.ledger.sent(&delivery, offset, self.now);
        if delivery.hop.attempt == 1 {
            self.started.insert(id, self.now);
            self.latest = self.latest.max(self.now - self.ledger.written_ms(offset));
        }
        let (verdict, elapsed) = self.verdict(id);
        self.flown += 1;
        self.flights.push(Reverse((self.now + elapsed, self.flown)));
        self.flying.insert(self.flown, Flight { ticket, subscription, verdict, elapsed });
    }

    fn resolve(&mut self, arrival: Arrival, is_listed: bool, end: &End) {
        let mut outputs = self.reporter.outputs(&arrival.delivery, end, None, self.now).unwrap();
        let Arrival { lease, offset, size, timestamp_ms, .. } = arrival;
        let entry = if is_listed {
            Entry::beside(lease, (offset, timestamp_ms), 0, LaneNote::Settled(arrival.delivery.subscription))
        } else {
            Entry::new(lease, (offset, timestamp_ms), size, 0, LaneNote::Done)
        };
        self.outbox.resolve(entry, &mut outputs);
    }

    fn put_changes(&mut self) {
        for change in self.engine.take_changes() {
            let entry = match change {
                LaneChange::Listed(listing) => {
                    let ListedRecord { lease, offset, timestamp_ms, size, .. } = listing;
                    self.ledger.listed += 1;
                    if flaws::has(Flaw::EntryWithoutCompleting) {
                        Entry::beside(lease, (offset, timestamp_ms), 0, LaneNote::Listed(listing))
                    } else {
                        Entry::new(lease, (offset, timestamp_ms), size, 0, LaneNote::Listed(listing))
                    }
                }
                LaneChange::SetAside { lease, subscription } => {
                    self.ledger.set_aside(subscription);
                    Entry::beside(lease, (-1, 0), 0, LaneNote::SetAside(subscription))
                }
                LaneChange::Condition { lease, subscription, condition } => {
                    self.ledger.told += 1;
                    Entry::beside(lease, (-1, 0), 0, LaneNote::Condition(subscription, condition))
                }
                LaneChange::Lost { lease, subscription, offset } => {
                    self.ledger.lost(offset);
                    Entry::beside(lease, (offset, 0), 0, LaneNote::Settled(subscription))
                }
            };
            self.outbox.resolve(entry, &mut Vec::new());
        }
    }

    /// Reads back what the engine asked for, a moment later.
    fn demand(&mut self) {
        for ReadBackDemand { lease, offset, is_urgent } in self.engine.take_demands() {
            *(if is_urgent { &mut self.demands.0 } else { &mut self.demands.1 }) += 1;
            let at = self.now + self.rng.random_range(1..40);
            self.reading.push(Reverse((at, offset, lease.0)));
        }
    }

    fn answer(&mut self) {
        while let Some(Reverse((at, offset, epoch))) = self.reading.peek().copied() {
            if at > self.now {
                return;
            }
            self.reading.pop();
            if Epoch(epoch) != self.epoch {
                continue;
            }
            let mut at = self.log.partition_point(|record| record.offset < offset);
            if flaws::has(Flaw::OthersRecord) && self.rng.random_bool(0.3) {
                at = (at + 1).min(self.log.len() - 1);
            }
            match self.log.get(at).filter(|record| record.offset == offset || flaws::has(Flaw::OthersRecord)) {
                Some(record) => {
                    let arrival = Arrival { offset, ..self.arrival(record) };
                    self.engine.read_back(arrival, self.now);
                }
                None => self.engine.not_there(self.epoch, offset, self.now),
            }
        }
    }

    fn correct(&mut self) {
        for epoch in self.shell.books.take_uncorrected() {
            self.outbox.resolve(Entry::beside(epoch, (-1, 0), 0, LaneNote::Correct), &mut Vec::new());
        }
    }

    /// The end of `lanes` is told a moment after it was asked for.
    fn checkpoint(&mut self) {
        for (epoch, end) in std::mem::take(&mut self.ends) {
            self.shell.books.rewrite_above(epoch, end);
        }
        for (epoch, _) in self.shell.books.take_checkpoints_due() {
            self.ends.push((epoch, self.kafka.lanes.end()));
        }
        for epoch in self.shell.books.take_rewrites() {
            self.outbox.resolve(Entry::beside(epoch, (-1, 0), 0, LaneNote::Checkpoint), &mut Vec::new());
        }
    }

    /// Partitions with nothing left to correct begin.
    fn begin_corrected(&mut self) {
        for (lease, _records) in self.shell.books.take_corrected() {
            let awaited = self.shell.books.take_awaited(lease.epoch);
            self.engine.begin(lease.epoch, awaited, self.now);
            let Some(book) = self.shell.books.of(lease.epoch) else { continue };
            for (id, lists) in book.lists() {
                self.engine.restore_condition(lease.epoch, id, &book.condition(id), self.now);
                self.engine.restore(lease.epoch, id, lists, self.now);
            }
        }
    }

    fn begin_commit(&mut self) {
        if self.committing.is_some() || self.now < self.next_commit {
            return;
        }
        let Some((batch, mut transaction)) = self.outbox.cut(0) else { return };
        let claims = self.shell.books.seal(&batch, &mut transaction.outputs);
        for (progress, claim) in transaction.progress.iter_mut().zip(claims) {
            progress.claim = claim;
        }
        let ends_at = self.now + self.rng.random_range(2..40);
        let is_refused = self.rng.random_range(0..100) < self.refused_percent;
        self.committing = Some(Committing { batch, transaction, ends_at, is_refused });
        self.next_commit = self.now + 50;
    }

    fn end_commit(&mut self) {
        let Some(committing) = self.committing.take_if(|committing| committing.ends_at <= self.now) else { return };
        let Committing { batch, transaction, is_refused, .. } = committing;
        if is_refused {
            if flaws::has(Flaw::LaneAheadOfBatch) {
                self.kafka.apply_lanes(&transaction, &self.topics.lanes);
            }
            self.shell.put_back(&mut self.outbox, batch, transaction);
            return;
        }
        self.committed(&batch, transaction);
        self.shell.books.committed();
        self.begin_corrected();
    }

    /// A transaction is committed: what it wrote is there.
    fn committed(&mut self, batch: &stage::Batch<LaneNote>, transaction: ::kafka::Transaction) {
        self.kafka.apply_lanes(&transaction, &self.topics.lanes);
        self.ledger.committed(batch);
        for output in transaction.outputs.into_iter().filter(|output| output.record.topic != self.topics.lanes) {
            self.ledger.output(&output.record, &self.topics);
            self.scheduler.write(output.record, self.now);
        }
        for progress in transaction.progress {
            self.kafka.commit(progress);
        }
        self.ledger.check_committed(&self.kafka);
        if let Some(bounds) = self.bounds {
            self.kafka.check_bound(bounds, self.seed);
        }
    }

    /// The process dies: what is in flight is forgotten, the next one starts from what was committed.
    pub(super) fn restart(&mut self) {
        let before = self.kafka.clone();
        self.abandon_commit();
        self.flying.clear();
        self.flights.clear();
        self.engine = Engine::new(self.engine_rules, self.subscriptions.clone());
        self.outbox = outbox();
        if flaws::has(Flaw::EndAskedTooEarly) {
            // The lists as they were before the predecessor's last transaction, the offsets as they are behind it.
            (self.kafka.values, self.kafka.lanes) = (before.values, before.lanes);
        }
        self.reopen();
    }

    /// What was under way gets through, or it does not: its successor fences it either way.
    fn abandon_commit(&mut self) {
        if let Some(Committing { batch, transaction, is_refused, .. }) = self.committing.take()
            && !is_refused
            && self.rng.random_bool(0.5)
        {
            self.committed(&batch, transaction);
        }
    }

    /// The partition goes and comes back; what is in flight may end in between.
    pub(super) fn revoke(&mut self, lost: bool) {
        self.engine.revoke(&[self.epoch], !lost);
        if lost {
            self.abandon_commit();
        } else {
            self.put_changes();
            while self.engine.in_flight_of(&[self.epoch]) > 0 {
                self.now = self.flights.peek().map_or(self.now, |Reverse((at, _))| *at).max(self.now);
                self.land();
            }
            self.refused_percent = 0;
            while self.committing.is_some() || !self.outbox.is_empty() {
                self.now += 50;
                self.end_commit();
                self.begin_commit();
            }
        }
        self.outbox.close(self.epoch);
        self.reopen();
    }

    fn reopen(&mut self) {
        self.shell.books.close(self.epoch);
        self.epoch.0 += 1;
        let Kafka { committed, read_up_to, not_done, .. } = self.kafka.clone();
        let awaited: BTreeSet<i64> = not_done.iter().copied().collect();
        let book = self.kafka.take_over(&self.topics.lanes);
        let mut book = book.unwrap_or_else(|error| panic!("seed {}: takeover: {error}", self.seed));
        if let Some(bounds) = self.bounds {
            book.set_bounds(bounds);
        }
        self.shell.open(&lease(self.epoch), book, awaited);
        self.outbox.open(&lease(self.epoch), Window::restore(committed, read_up_to, not_done), committed);
        self.read = self.log.partition_point(|record| record.offset < committed);
        self.fetches_at = self.now + if self.rng.random_bool(0.3) { self.rng.random_range(0..500) } else { 0 };
        self.ledger.taken_over(&self.kafka, self.shell.books.of(self.epoch).unwrap());
        self.begin_corrected();
    }

    pub(super) fn heal(&mut self) {
        for endpoint in self.endpoints.values_mut() {
            *endpoint = Endpoint::Fast;
        }
    }

    /// The catalog has moved.
    pub(super) fn review(&mut self) {
        self.engine.review(self.now);
    }

    pub(super) fn settled(&self) -> &BTreeMap<DeliveryId, u32> {
        &self.ledger.settled
    }

    /// Until at least so many are settled.
    /// Lets time go by until then, with something to look at this often (ms) though nothing happens.
    pub(super) fn wait_until(&mut self, until: i64, every: i64) {
        while self.now < until {
            self.alarm = self.now + every;
            self.step();
        }
    }

    pub(super) fn run_until(&mut self, count: usize) {
        while self.settled().len() < count {
            self.step();
        }
    }

    pub(super) fn run_until_settled(&mut self, count: usize) {
        for _ in 0..3_000_000 {
            if self.settled().len() == count {
                return;
            }
            self.step();
        }
        panic!(
            "seed {}: {} of {count} settled; {} of {} read, {} in memory, {} in flight, {:?}",
            self.seed,
            self.settled().len(),
            self.read,
            self.log.len(),
            self.engine.len(),
            self.engine.in_flight(),
            self.engine.queued()
        );
    }
}
