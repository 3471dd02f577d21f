//! The scheduler, as it is: a record waits for its tier or until it is due, hops on where a tier still fits, and is never early.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use schemas::delivery::Hop;
use schemas::record::{OutRecord, Record};
use schemas::topics::{TopicSettings, Topics};

use crate::flaws::{self, Flaw};

pub(in super::super) struct Scheduler {
    tiers: Vec<(i64, Arc<str>)>,
    deliveries: Arc<str>,
    /// By when it is looked at next.
    waiting: BTreeMap<(i64, u64), Record>,
    count: u64,
    /// Payloads it has written.
    pub(in super::super) writes: u64,
}

impl Scheduler {
    pub(super) fn new(settings: &TopicSettings, topics: &Topics) -> Self {
        let ms = |delay: Duration| i64::try_from(delay.as_millis()).unwrap();
        let mut tiers: Vec<(i64, Arc<str>)> =
            settings.tiers.iter().map(|(name, delay)| (ms(*delay), topics.retry(name))).collect();
        tiers.sort_by_key(|(delay, _)| std::cmp::Reverse(*delay));
        let deliveries = Arc::clone(&topics.deliveries);
        Self { tiers, deliveries, waiting: BTreeMap::new(), count: 0, writes: 0 }
    }

    /// A record of a delay topic, or of `deliveries`, where it is at once.
    pub(super) fn write(&mut self, record: OutRecord, now: i64) {
        let tier = self.tiers.iter().find(|(_, name)| *name == record.topic).map(|(delay, _)| *delay);
        let OutRecord { topic, key, value, headers, .. } = record;
        let record = Record { offset: 0, timestamp_ms: now, key, value, headers };
        match tier {
            Some(delay) => self.wait(record, delay),
            None if topic == self.deliveries => self.wait(record, 0),
            None => {}
        }
    }

    /// What is due now: it goes to `deliveries`.
    pub(super) fn take(&mut self, now: i64, rng: &mut StdRng) -> Vec<Record> {
        let mut due = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let record = entry.remove();
            let early = if flaws::has(Flaw::EarlyPromotion) { 120_000 } else { 0 };
            let left = Hop::decode(&record.headers).unwrap().due_ms - now;
            if left <= early {
                self.writes += 1;
                due.push(record);
            } else if let Some((delay, _)) = self.tiers.iter().find(|(delay, _)| *delay <= left) {
                self.writes += 1;
                let (delay, late) = (*delay, rng.random_range(0..200));
                self.wait(Record { timestamp_ms: now + late, ..record }, delay);
            } else {
                // Below every tier it is waited out.
                self.count += 1;
                self.waiting.insert((now + left, self.count), record);
            }
        }
        due
    }

    pub(in super::super) fn next_ms(&self) -> i64 {
        self.waiting.first_key_value().map_or(i64::MAX, |((at, _), _)| *at)
    }

    fn wait(&mut self, record: Record, delay: i64) {
        let due = Hop::decode(&record.headers).unwrap().due_ms;
        let ready = due.min(record.timestamp_ms + delay).max(record.timestamp_ms);
        self.count += 1;
        self.waiting.insert((ready, self.count), record);
    }
}
