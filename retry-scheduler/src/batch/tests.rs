//! The whole scheduler in virtual time: topics are lists, a commit takes as long as the test says.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::Epoch;
use proptest::prelude::*;
use schemas::header;
use schemas::record::TopicPartition;
use schemas::topics::TopicSettings;
use uuid::Uuid;

use super::*;
use crate::tiers::Tiers;

const TIERS: [(&str, i64); 4] = [("1s", 1_000), ("5s", 5_000), ("20s", 20_000), ("2m", 120_000)];
const LIMITS: BatchLimits = BatchLimits { records: 50, bytes: 1 << 20 };

/// A promotion: which delivery, when it was decided, when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Promoted {
    delivery: u64,
    at_ms: i64,
    due_ms: i64,
}

/// One partition per tier, one scheduler, one clock.
struct World {
    topics: Topics,
    lines: Lines,
    promoter: Promoter,
    ends: BTreeMap<String, i64>,
    committed: BTreeMap<String, i64>,
    now_ms: i64,
    promoted: Vec<Promoted>,
    rejected: usize,
}

impl World {
    fn new(per_second: u32) -> Self {
        let tiers = TIERS.map(|(name, ms)| (name.to_owned(), Duration::from_millis(ms.unsigned_abs())));
        let topics = TopicSettings::default().topics();
        let tiers = Tiers::new(&tiers, topics.clone()).unwrap();
        let promoter = Promoter::new(tiers.clone(), topics.clone(), per_second).unwrap();
        let mut lines = Lines::default();
        for (name, _) in TIERS {
            let topic = topics.retry(name);
            let delay_ms = tiers.delay_ms(&topic);
            lines.open(&lease(&topic), delay_ms, false, 0);
        }
        Self {
            topics,
            lines,
            promoter,
            ends: BTreeMap::new(),
            committed: BTreeMap::new(),
            now_ms: 1_000_000,
            promoted: Vec::new(),
            rejected: 0,
        }
    }

    /// Writes to a delay topic now.
    fn write(&mut self, topic: &str, headers: Headers, value: Option<bytes::Bytes>) {
        let end = self.ends.entry(topic.to_owned()).or_default();
        // Transaction markers occupy offsets too.
        let record = Record { offset: *end, timestamp_ms: self.now_ms, key: None, value, headers };
        *end += 2;
        assert!(self.lines.push(&lease(topic), vec![record]));
    }

    /// A retry as the delivery worker writes it: through the largest tier that fits.
    fn retry(&mut self, delivery: u64, subscription: u128, wait_ms: i64) {
        let due_ms = self.now_ms + wait_ms;
        let fits = TIERS.iter().rev().find(|(_, delay_ms)| *delay_ms <= wait_ms).map_or("1s", |(name, _)| name);
        let topic = self.topics.retry(fits);
        let mut headers = Headers::builder(2, 100);
        headers.push_display(header::SUBSCRIPTION, Uuid::from_u128(subscription)).push_i64(header::DUE, due_ms);
        self.write(&topic, headers.build(), Some(delivery.to_be_bytes().to_vec().into()));
    }

    /// One transaction that takes this long.
    fn transact(&mut self, duration_ms: i64) {
        let decided_ms = self.now_ms;
        let mut batch = Batch::fill(&mut self.lines, &mut self.promoter, LIMITS, decided_ms);
        let transaction = batch.transaction();
        assert_eq!(batch.entries().len(), batch.slots().iter().map(|slot| slot.records).sum::<usize>());
        self.now_ms += duration_ms;
        for progress in &transaction.progress {
            let topic = progress.lease.partition.topic.to_string();
            let former = self.committed.insert(topic, progress.committed);
            assert!(former.is_none_or(|former| former < progress.committed), "offsets only rise");
        }
        for Output { record, .. } in transaction.outputs {
            self.deliver(record, decided_ms);
        }
    }

    fn deliver(&mut self, record: OutRecord, decided_ms: i64) {
        if record.topic == self.topics.deliveries {
            let due_ms: i64 = record.headers.text(header::DUE).unwrap().parse().unwrap();
            assert_eq!(record.key.as_deref(), record.headers.get(header::SUBSCRIPTION), "keyed by subscription");
            let delivery = u64::from_be_bytes(record.value.unwrap()[..].try_into().unwrap());
            self.promoted.push(Promoted { delivery, at_ms: decided_ms, due_ms });
        } else if record.topic == self.topics.rejected {
            self.rejected += 1;
        } else if record.topic != self.topics.attempts {
            let topic = record.topic.to_string();
            self.write(&topic, record.headers, record.value);
        }
    }

    /// Runs until nothing waits.
    fn drain(&mut self, durations_ms: &[i64]) {
        let mut durations_ms = durations_ms.iter().copied().cycle();
        for _ in 0..20_000 {
            let Some(ready_ms) = self.lines.next_ready_ms() else { return };
            self.now_ms = self.now_ms.max(ready_ms);
            self.transact(durations_ms.next().unwrap_or(10));
        }
        panic!("the scheduler does not come to an end");
    }
}

fn lease(topic: &str) -> Lease {
    Lease { partition: TopicPartition::new(topic, 0), epoch: Epoch(1) }
}

proptest! {
    #[test]
    fn every_retry_is_promoted_once_never_early_and_on_time(
        waits_ms in proptest::collection::vec(0_i64..600_000, 1..80),
        durations_ms in proptest::collection::vec(0_i64..400, 1..5),
    ) {
        let mut world = World::new(1_000_000);
        for (delivery, wait_ms) in (0..).zip(&waits_ms) {
            world.retry(delivery, 2, *wait_ms);
            world.now_ms += 1;
        }
        world.drain(&durations_ms);
        let mut ids: Vec<u64> = world.promoted.iter().map(|it| it.delivery).collect();
        ids.sort_unstable();
        prop_assert_eq!(ids, (0..waits_ms.len() as u64).collect::<Vec<_>>());
        for it in &world.promoted {
            prop_assert!(it.due_ms - it.at_ms < TIERS[0].1, "what remains is below the smallest tier: {:?}", it);
            // Two full batches ahead of it and the transaction that was under way; one delay if it was overdue when written.
            let wait_ms = waits_ms[usize::try_from(it.delivery).unwrap()];
            let overdue_ms = if wait_ms == 0 { TIERS[0].1 } else { 0 };
            prop_assert!(it.at_ms - it.due_ms <= overdue_ms + 3 * 400 + 100, "late: {:?}", it);
        }
        for (topic, end) in &world.ends {
            prop_assert_eq!(world.committed[topic], end - 1, "everything of {} is committed", topic);
        }
    }

    #[test]
    fn a_budget_spreads_promotions_and_loses_none(count in 1_u64..120, other in 0_u64..10) {
        let mut world = World::new(10);
        for delivery in 0..count {
            world.retry(delivery, 2, 5_000);
        }
        for delivery in 0..other {
            world.retry(count + delivery, 3, 5_000);
        }
        world.drain(&[10]);
        let mut ids: Vec<u64> = world.promoted.iter().map(|it| it.delivery).collect();
        ids.sort_unstable();
        prop_assert_eq!(ids, (0..count + other).collect::<Vec<_>>());
        for first in &world.promoted {
            let second = world.promoted.iter().filter(|it| {
                it.delivery < count && (first.at_ms..first.at_ms + 1_000).contains(&it.at_ms)
            });
            prop_assert!(second.count() <= 20, "a burst of ten and ten per second");
        }
        // Within its own budget another subscription is not held up.
        for it in world.promoted.iter().filter(|it| it.delivery >= count) {
            prop_assert!(it.at_ms - it.due_ms <= 200, "{:?}", it);
        }
    }
}

#[test]
fn what_is_no_delivery_is_rejected_and_the_rest_moves_on() {
    let mut world = World::new(1_000);
    let topic = world.topics.retry("5s");
    world.write(&topic, Headers::default(), Some(bytes::Bytes::from_static(b"?")));
    world.write(&topic, Headers::default(), None);
    world.retry(7, 2, 5_000);
    world.drain(&[10]);
    assert_eq!((world.rejected, world.promoted.len()), (2, 1));
}

#[test]
fn what_kafka_can_never_take_is_rejected_then_rejected_bare_and_then_ends_the_role() {
    let mut world = World::new(1_000);
    for delivery in 0..3 {
        world.retry(delivery, 2, 5_000);
    }
    world.now_ms += 10_000;
    let mut batch = Batch::fill(&mut world.lines, &mut world.promoter, LIMITS, world.now_ms);
    let first = batch.transaction();
    assert_eq!(first.outputs.len(), 3);
    batch.refuse(first, 1, "too large", &world.topics, world.now_ms).unwrap();
    let second = batch.transaction();
    let topics: Vec<&str> = second.outputs.iter().map(|output| &*output.record.topic).collect();
    assert_eq!(topics, ["hookbus.deliveries", "hookbus.rejected", "hookbus.attempts", "hookbus.deliveries"]);
    assert_eq!(second.progress[0].committed, 5);
    assert_eq!(batch.entries()[1].moved, Move::Rejected);
    batch.refuse(second, 1, "too large", &world.topics, world.now_ms).unwrap();
    let third = batch.transaction();
    assert_eq!((third.outputs.len(), third.outputs[1].record.value.as_ref()), (4, None));
    assert!(batch.refuse(third, 2, "too large", &world.topics, world.now_ms).is_err());
}
