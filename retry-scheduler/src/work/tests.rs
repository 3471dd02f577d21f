//! The whole scheduler in virtual time: topics are lists, a commit takes as long as the test says.

use std::collections::BTreeMap;

use kafka::{Epoch, Output, Window};
use prometheus::Registry;
use proptest::prelude::*;
use schemas::header;
use schemas::record::{Headers, TopicPartition};
use schemas::topics::TopicSettings;
use stage::{BatchLimits, Order, Outbox};
use uuid::Uuid;

use super::*;

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
    work: RetryWork,
    outbox: Outbox<Moving>,
    ends: BTreeMap<String, i64>,
    committed: BTreeMap<String, i64>,
    now_ms: i64,
    promoted: Vec<Promoted>,
    /// How often each delivery was written to a delay topic.
    hops: BTreeMap<u64, u64>,
    rejected: usize,
}

impl World {
    fn new() -> Self {
        let tiers = TIERS.map(|(name, ms)| (name.to_owned(), Duration::from_millis(ms.unsigned_abs())));
        let topics = TopicSettings::default().topics();
        let tiers = Tiers::new(&tiers, topics.clone()).unwrap();
        let mut work = RetryWork {
            promoter: Promoter::new(tiers.clone(), topics.clone()),
            metrics: RetryMetrics::new(&Registry::new()).unwrap(),
            lines: Lines::default(),
            look_ahead_ms: i64::MAX,
            moved_boot_ms: 0,
            outputs: Vec::new(),
            topics: topics.clone(),
            tiers,
        };
        let mut outbox = Outbox::new(LIMITS, Order::AnyOrder);
        for (name, _) in TIERS {
            let lease = lease(&topics.retry(name));
            outbox.open(&lease, Window::restore(0, 0, Vec::new()), 0);
            work.opened(&lease, (), at(0));
        }
        Self {
            topics,
            work,
            outbox,
            ends: BTreeMap::new(),
            committed: BTreeMap::new(),
            now_ms: 1_000_000,
            promoted: Vec::new(),
            hops: BTreeMap::new(),
            rejected: 0,
        }
    }

    /// Writes to a delay topic now.
    fn write(&mut self, topic: &str, headers: Headers, value: Option<bytes::Bytes>) {
        let end = self.ends.entry(topic.to_owned()).or_default();
        // Transaction markers occupy offsets too.
        let record = Record { offset: *end, timestamp_ms: self.now_ms, key: None, value, headers };
        *end += 2;
        let lease = lease(topic);
        assert!(self.outbox.admit(lease.epoch, record.offset));
        self.work.records(&lease, vec![record], at(self.now_ms)).unwrap();
    }

    /// A retry as the delivery worker writes it: through the largest tier that fits.
    fn retry(&mut self, delivery: u64, subscription: u128, wait_ms: i64) {
        let due_ms = self.now_ms + wait_ms;
        let fits = TIERS.iter().rev().find(|(_, delay_ms)| *delay_ms <= wait_ms).map_or("1s", |(name, _)| name);
        let topic = self.topics.retry(fits);
        *self.hops.entry(delivery).or_default() += 1;
        let mut headers = Headers::builder(2, 100);
        headers.push_display(header::SUBSCRIPTION, Uuid::from_u128(subscription)).push_i64(header::DUE, due_ms);
        self.write(&topic, headers.build(), Some(delivery.to_be_bytes().to_vec().into()));
    }

    /// One transaction that takes this long.
    fn transact(&mut self, duration_ms: i64) {
        let decided_ms = self.now_ms;
        self.turn();
        let Some((batch, transaction)) = self.outbox.cut(decided_ms) else { return };
        assert_eq!(batch.entries().len(), batch.parts().iter().map(|part| part.records).sum::<usize>());
        self.now_ms += duration_ms;
        for progress in &transaction.progress {
            let topic = progress.lease.partition.topic.to_string();
            let former = self.committed.insert(topic, progress.committed);
            assert!(former.is_none_or(|former| former <= progress.committed), "offsets never fall");
        }
        for Output { record, .. } in transaction.outputs {
            self.deliver(record, decided_ms);
        }
    }

    /// One turn of the role.
    fn turn(&mut self) -> NextTurn {
        self.work.turn(&mut Turn::new(&mut self.outbox, at(self.now_ms))).unwrap()
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
            let delivery = u64::from_be_bytes(record.value.as_deref().unwrap().try_into().unwrap());
            *self.hops.entry(delivery).or_default() += 1;
            self.write(&topic, record.headers, record.value);
        }
    }

    /// Runs until nothing waits.
    fn drain(&mut self, durations_ms: &[i64]) {
        let mut durations_ms = durations_ms.iter().copied().cycle();
        for _ in 0..20_000 {
            let Some(ready_ms) = self.work.lines.first_ready().map(|(_, head)| head.ready_ms) else { return };
            self.now_ms = self.now_ms.max(ready_ms);
            self.transact(durations_ms.next().unwrap_or(10));
        }
        panic!("the scheduler does not come to an end");
    }
}

fn lease(topic: &str) -> Lease {
    let epoch = TIERS.iter().position(|(name, _)| topic.ends_with(&format!(".{name}"))).unwrap();
    Lease { partition: TopicPartition::new(topic, 0), epoch: Epoch(epoch as u64) }
}

fn at(wall_ms: i64) -> Now {
    Now { wall_ms, boot_ms: wall_ms, ..Now::read() }
}

proptest! {
    #[test]
    fn every_retry_is_promoted_once_never_early_and_on_time(
        waits_ms in proptest::collection::vec(0_i64..600_000, 1..80),
        durations_ms in proptest::collection::vec(0_i64..400, 1..5),
    ) {
        let mut world = World::new();
        for (delivery, wait_ms) in (0..).zip(&waits_ms) {
            world.retry(delivery, 2, *wait_ms);
            world.now_ms += 1;
        }
        world.drain(&durations_ms);
        let mut ids: Vec<u64> = world.promoted.iter().map(|it| it.delivery).collect();
        ids.sort_unstable();
        prop_assert_eq!(ids, (0..waits_ms.len() as u64).collect::<Vec<_>>());
        for it in &world.promoted {
            prop_assert!(it.due_ms <= it.at_ms, "early: {:?}", it);
            // Two full batches ahead of it and the transaction that was under way.
            prop_assert!(it.at_ms - it.due_ms <= 3 * 400 + 100, "late: {:?}", it);
        }
        for (topic, end) in &world.ends {
            prop_assert_eq!(world.committed[topic], end - 1, "everything of {} is committed", topic);
        }
    }
}

proptest! {
    /// `n + 1` writes to tiers at most: twice for a wait that is a tier, also while every transaction takes long.
    #[test]
    fn a_retry_is_written_twice_at_most_for_a_wait_that_is_a_tier(
        draws in proptest::collection::vec((0..TIERS.len(), 0.0_f64..1.0), 1..80),
        durations_ms in proptest::collection::vec(0_i64..400, 1..5),
    ) {
        let tiers: retry::Tiers = TIERS.map(|(name, _)| name).join(" ").parse().unwrap();
        let mut world = World::new();
        for (delivery, (tier, unit)) in (0..).zip(draws) {
            let wait = retry::jittered(Duration::from_millis(TIERS[tier].1.unsigned_abs()), unit, &tiers);
            world.retry(delivery, 2, i64::try_from(wait.as_millis()).unwrap());
        }
        world.drain(&durations_ms);
        prop_assert!(world.hops.values().all(|hops| *hops <= 2), "{:?}", world.hops);
    }
}

#[test]
fn a_move_that_comes_a_little_late_goes_where_it_would_have_gone_in_time() {
    let mut world = World::new();
    world.retry(0, 2, 140_300);
    world.now_ms += 120_900;
    // 19.4 s are left, 0.9 s too late: 20 s, not 5 s three times. A second later it would be too late for that.
    world.drain(&[10]);
    assert_eq!(world.hops[&0], 2);
    assert_eq!(world.promoted[0].at_ms, 1_140_300);
    let mut world = World::new();
    world.retry(0, 2, 140_300);
    world.now_ms += 123_000;
    world.drain(&[10]);
    assert_eq!((world.hops[&0], world.promoted[0].at_ms), (4, 1_140_300));
}

#[test]
fn what_is_no_delivery_is_rejected_and_the_rest_moves_on() {
    let mut world = World::new();
    let topic = world.topics.retry("5s");
    world.write(&topic, Headers::default(), Some(bytes::Bytes::from_static(b"?")));
    world.write(&topic, Headers::default(), None);
    world.retry(7, 2, 5_000);
    world.drain(&[10]);
    assert_eq!((world.rejected, world.promoted.len()), (2, 1));
}

#[test]
fn what_kafka_can_never_take_is_rejected_then_rejected_bare_and_then_ends_the_role() {
    let mut world = World::new();
    for delivery in 0..3 {
        world.retry(delivery, 2, 5_000);
    }
    world.now_ms += 10_000;
    world.turn();
    let World { work, outbox, now_ms, .. } = &mut world;
    let now = at(*now_ms);
    let refused = |index| [(index, "too large".to_owned())];
    let (batch, first) = outbox.cut(*now_ms).unwrap();
    assert_eq!(first.outputs.len(), 3);
    outbox.put_back_refused(batch, first, &refused(1), work, now).unwrap();
    let (batch, second) = outbox.cut(*now_ms).unwrap();
    let topics: Vec<&str> = second.outputs.iter().map(|output| &*output.record.topic).collect();
    assert_eq!(topics, ["hookbus.deliveries", "hookbus.rejected", "hookbus.attempts", "hookbus.deliveries"]);
    assert_eq!(second.progress[0].committed, 5);
    assert_eq!(batch.entries()[1].note.moved, Move::Rejected);
    outbox.put_back_refused(batch, second, &refused(1), work, now).unwrap();
    let (batch, third) = outbox.cut(*now_ms).unwrap();
    assert_eq!((third.outputs.len(), third.outputs[1].record.value.as_ref()), (4, None));
    assert!(outbox.put_back_refused(batch, third, &refused(2), work, now).is_err());
}

#[test]
fn a_head_that_is_ready_and_does_not_move_is_what_the_role_waits_for() {
    let mut world = World::new();
    world.retry(0, 2, 5_000);
    assert_eq!(world.work.waiting(at(world.now_ms)), None);
    let later = at(world.now_ms + 65_000);
    let waiting = world.work.waiting(later).unwrap();
    assert_eq!((waiting.offset, later.boot_ms - waiting.since_boot_ms), (0, 60_000));
}

#[test]
fn nothing_new_moves_while_the_role_stops() {
    let mut world = World::new();
    world.retry(0, 2, 5_000);
    world.now_ms += 10_000;
    let mut turn = Turn::new(&mut world.outbox, at(world.now_ms));
    turn.is_stopping = true;
    assert_eq!(world.work.turn(&mut turn).unwrap(), NextTurn::OnInput);
    assert!(world.outbox.is_empty());
}
