//! Made-up traffic: what fan-out and workers would write of some events, over some days and partitions, from one seed.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use schemas::delivery::Origin;
use schemas::identity::{delivery_id, event_uuid, gateway_source};
use schemas::ids::{ApplicationId, DeliveryId, Generation, SubscriptionId};
use uuid::Uuid;

use crate::coverage::Coverage;
use crate::day::Day;
use crate::fact::{Fact, FactKind, LogChunk, LogRow, LoggedEvent, LoggedExchange, RowContent};
use crate::position::{Coordinates, RowPosition};

/// Where made-up time begins: 2026-11-25, 08:00.
const START_MS: i64 = 1_795_593_600_000;
const TYPES: [&str; 3] = ["invoice.paid", "invoice.sent", "order.item.shipped"];

/// What was made, and what a store has to say of it.
pub(crate) struct Made {
    pub(crate) rng: SmallRng,
    pub(crate) applications: Vec<ApplicationId>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) events: Vec<LoggedEvent>,
    partitions: Vec<Vec<LogRow>>,
    next: Vec<i64>,
    cut: Vec<usize>,
    began: Vec<i64>,
    now_ms: i64,
    /// Most by which time goes on between two records, ms; often it does not.
    pace_ms: i64,
}

impl Made {
    pub(crate) fn new(seed: u64, applications: usize, pace_ms: i64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let partitions = rng.random_range(1..5);
        let next: Vec<i64> = (0..partitions).map(|_| rng.random_range(0..3) * 1_000).collect();
        Self {
            applications: (0..applications).map(|_| ApplicationId(uuid(&mut rng))).collect(),
            facts: Vec::new(),
            events: Vec::new(),
            partitions: (0..partitions).map(|_| Vec::new()).collect(),
            cut: vec![0; partitions],
            began: next.clone(),
            next,
            now_ms: START_MS,
            pace_ms,
            rng,
        }
    }

    /// One event, and nothing that becomes of it.
    pub(crate) fn one_event(mut self) -> LoggedEvent {
        self.event(self.applications[0], None, "evt_1".to_owned())
    }

    /// Some more events, each with everything that becomes of it, of random applications.
    pub(crate) fn go_on(&mut self, events: usize) {
        for number in 0..events {
            let application = self.applications[self.rng.random_range(0..self.applications.len())];
            let source = self.rng.random_bool(0.2).then(|| "/topics/orders".to_owned());
            let id = format!("evt_{number}_{}", self.rng.random_range(0..1_000_000));
            let event = self.event(application, source, id);
            for index in 0..event.matched {
                self.delivery(&event, SubscriptionId(Uuid::from_u128(application.0.as_u128() ^ u128::from(index + 1))));
            }
            if self.rng.random_bool(0.1) {
                let fact = self.about(&event, FactKind::Repeat);
                self.write_fact(fact);
            }
        }
    }

    /// Deliveries that jobs or pings have made, with these generations, of random subscriptions: some are open.
    pub(crate) fn send_again(&mut self, generations: &[(Uuid, &str)], count: usize) {
        for number in 0..count {
            let application = self.applications[self.rng.random_range(0..self.applications.len())];
            let event = self.event(application, None, format!("again_{number}"));
            let (generation, made_by) = generations[self.rng.random_range(0..generations.len())];
            let subscription = self.subscription(application);
            let own = gateway_source(application);
            let delivery = delivery_id(application, &own, &event.id, subscription, Generation(Some(generation)));
            let kinds = [FactKind::Attempted, FactKind::Delivered, FactKind::DeadLettered, FactKind::Cancelled];
            let last = kinds[self.rng.random_range(0..kinds.len())];
            for (attempt, kind) in [(1, FactKind::Attempted), (2, last)] {
                let fact = self.attempt(&event, (subscription, delivery, attempt), kind);
                let generation = Some(generation);
                self.write_fact(Fact { generation, made_by: Some(made_by.to_owned()), ..fact });
            }
        }
    }

    /// What was made since the last time, as chunks that cover it, in a random order.
    pub(crate) fn chunks(&mut self) -> Vec<LogChunk> {
        let mut chunks = Vec::new();
        for partition in 0..self.partitions.len() {
            let rows = self.partitions[partition][self.cut[partition]..].to_vec();
            self.cut[partition] = self.partitions[partition].len();
            let end = self.next[partition];
            let mut start = std::mem::replace(&mut self.began[partition], end);
            let mut rest = rows.as_slice();
            while !rest.is_empty() {
                let (some, others) = rest.split_at(self.rng.random_range(1..=rest.len()));
                let stop = others.first().map_or(end, |row| row.offset);
                let partition = i32::try_from(partition).unwrap();
                chunks.push(LogChunk { partition, offsets: start..stop, rows: some.to_vec() });
                (start, rest) = (stop, others);
            }
        }
        self.shuffle(&mut chunks);
        chunks
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.rng.random_range(0..=last));
        }
    }

    /// A subscription of an application.
    pub(crate) fn subscription(&mut self, application: ApplicationId) -> SubscriptionId {
        SubscriptionId(Uuid::from_u128(application.0.as_u128() ^ self.rng.random_range(1..4)))
    }

    fn event(&mut self, application: ApplicationId, source: Option<String>, id: String) -> LoggedEvent {
        let accepted_ms = self.now_ms - self.rng.random_range(0..3) * 500;
        let (coordinates, stored_ms) = self.place();
        let own = gateway_source(application);
        let color = ["red", "green"][self.rng.random_range(0..2)];
        let event = LoggedEvent {
            coordinates,
            stored_ms,
            at_ms: stored_ms - 1,
            application,
            uuid: event_uuid(application, source.as_deref().unwrap_or(&own), &id),
            id,
            source,
            event_type: TYPES[self.rng.random_range(0..TYPES.len())].to_owned(),
            accepted_ms,
            origin: Some(Origin { topic: "hookbus.events".to_owned(), partition: 1, offset: accepted_ms / 7 }),
            matched: self.rng.random_range(0..4),
            payload_bytes: self.rng.random_range(0..9_000),
            content_type: self.rng.random_bool(0.8).then(|| "application/json".to_owned()),
            occurred_at: None,
            labels: self.rng.random_bool(0.7).then(|| format!(r#"{{"color":"{color}"}}"#)),
            metadata: None,
            ip: self.rng.random_bool(0.5).then(|| "192.0.2.7".to_owned()),
            detail: None,
            subscriptions: self.rng.random_bool(0.5).then(|| vec![7; 32]),
            control_offset: self.rng.random_bool(0.5).then_some(9),
        };
        self.push(coordinates, stored_ms, RowContent::Event(Box::new(event.clone())));
        self.events.push(event.clone());
        event
    }

    fn delivery(&mut self, event: &LoggedEvent, subscription: SubscriptionId) {
        let own = gateway_source(event.application);
        let source = event.source.as_deref().unwrap_or(&own);
        let delivery = delivery_id(event.application, source, &event.id, subscription, Generation::default());
        for attempt in 1..=self.rng.random_range(1..4) {
            let is_last = self.rng.random_bool(0.5);
            let kind = match self.rng.random_range(0..11) {
                _ if !is_last => FactKind::Attempted,
                0..7 => FactKind::Delivered,
                7..9 => FactKind::DeadLettered,
                9 => FactKind::TriedOnce,
                _ => FactKind::Cancelled,
            };
            let fact = self.attempt(event, (subscription, delivery, attempt), kind);
            self.write_fact(fact.clone());
            if is_last {
                self.settle(fact);
                return;
            }
        }
    }

    /// Some of what died is sent again, or never.
    fn settle(&mut self, dead: Fact) {
        if dead.kind == FactKind::DeadLettered && self.rng.random_bool(0.3) {
            let kind = if self.rng.random_bool(0.5) { FactKind::Redriven } else { FactKind::Discarded };
            self.write_fact(Fact { kind, exchange: None, reason: None, at_ms: self.now_ms, ..dead });
        }
    }

    fn attempt(
        &mut self,
        event: &LoggedEvent,
        (subscription, delivery, attempt): (SubscriptionId, DeliveryId, u32),
        kind: FactKind,
    ) -> Fact {
        let is_bad = kind != FactKind::Delivered;
        let status = if is_bad { [404, 500, 503][self.rng.random_range(0..3)] } else { 204 };
        let exchange = LoggedExchange {
            started_ms: self.now_ms - 30,
            elapsed_ms: self.rng.random_range(1..2_000),
            first_byte_ms: self.rng.random_bool(0.5).then_some(12),
            status: self.rng.random_bool(0.9).then_some(status),
            error: (is_bad && self.rng.random_bool(0.3)).then(|| "timeout".to_owned()),
            to: Some("192.0.2.1:443".to_owned()),
        };
        Fact {
            subscription: Some(subscription),
            delivery: Some(delivery),
            attempt: Some(attempt),
            due_ms: (kind == FactKind::Attempted).then_some(self.now_ms + 5_000),
            reason: (kind == FactKind::DeadLettered).then(|| "schedule".to_owned()),
            exchange: (kind != FactKind::Cancelled).then_some(exchange),
            record: Some(Coordinates { partition: 3, offset: self.now_ms / 11 }),
            ..self.about(event, kind)
        }
    }

    fn about(&mut self, event: &LoggedEvent, kind: FactKind) -> Fact {
        Fact {
            coordinates: event.coordinates,
            stored_ms: 0,
            kind,
            at_ms: self.now_ms - 2,
            application: Some(event.application),
            event: Some(event.uuid),
            event_type: Some(event.event_type.clone()),
            accepted_ms: Some(event.accepted_ms),
            subscription: None,
            delivery: None,
            generation: None,
            made_by: None,
            attempt: None,
            due_ms: None,
            reason: None,
            detail: self.rng.random_bool(0.2).then(|| "a sentence".to_owned()),
            exchange: None,
            record: None,
        }
    }

    /// Time goes on.
    pub(crate) fn wait(&mut self, ms: i64) {
        self.now_ms += ms;
    }

    /// One more thing that happened to an event.
    pub(crate) fn say(&mut self, event: &LoggedEvent, kind: FactKind, detail: Option<&str>) {
        let fact = Fact { detail: detail.map(str::to_owned), ..self.about(event, kind) };
        self.write_fact(fact);
    }

    /// Some events are erased; something more is said of each.
    pub(crate) fn erase_some(&mut self) -> BTreeSet<Uuid> {
        let mut erased = BTreeSet::new();
        for event in self.events.clone() {
            if self.rng.random_bool(0.2) {
                self.say(&event, FactKind::Erased, None);
                self.say(&event, FactKind::Repeat, Some("it says what the event says"));
                erased.insert(event.uuid);
            }
        }
        erased
    }

    fn write_fact(&mut self, mut fact: Fact) {
        (fact.coordinates, fact.stored_ms) = self.place();
        self.push(fact.coordinates, fact.stored_ms, RowContent::Fact(Box::new(fact.clone())));
        self.facts.push(fact);
    }

    /// Where and when the next record stands.
    fn place(&mut self) -> (Coordinates, i64) {
        if self.rng.random_bool(0.6) {
            self.now_ms += self.rng.random_range(0..=self.pace_ms);
        }
        let partition = self.rng.random_range(0..self.next.len());
        // A transaction's marker now and then.
        let offset = self.next[partition] + i64::from(self.rng.random_bool(0.2));
        self.next[partition] = offset + 1 + i64::from(self.rng.random_bool(0.1));
        (Coordinates { partition: i32::try_from(partition).unwrap(), offset }, self.now_ms)
    }

    fn push(&mut self, coordinates: Coordinates, stored_ms: i64, content: RowContent) {
        let row = LogRow { offset: coordinates.offset, stored_ms, content };
        self.partitions[usize::try_from(coordinates.partition).unwrap()].push(row);
    }

    /// Everything that was made is covered.
    pub(crate) fn is_covered_by(&self, coverage: &Coverage) -> bool {
        let mut all = self.facts.iter().map(|it| it.coordinates).chain(self.events.iter().map(|it| it.coordinates));
        all.all(|it| coverage.missing(it.partition, it.offset..it.offset + 1).is_empty())
    }

    /// The days in which something was made.
    pub(crate) fn days(&self) -> Vec<Day> {
        let stored = self.facts.iter().map(|it| it.stored_ms).chain(self.events.iter().map(|it| it.stored_ms));
        let days: BTreeSet<Day> = stored.map(Day::of).collect();
        days.into_iter().collect()
    }
}

/// Where a fact stands in a list.
pub(crate) fn position_of_fact(fact: &Fact) -> RowPosition {
    RowPosition { day: Day::of(fact.stored_ms), ms: fact.stored_ms, coordinates: fact.coordinates }
}

/// Where an event stands in a list.
pub(crate) fn position_of_event(event: &LoggedEvent) -> RowPosition {
    RowPosition { day: Day::of(event.stored_ms), ms: event.accepted_ms, coordinates: event.coordinates }
}

fn uuid(rng: &mut SmallRng) -> Uuid {
    Uuid::from_u128(rng.random::<u128>() & !0xff)
}
