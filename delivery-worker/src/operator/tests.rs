//! An operator's work over a book, without Kafka, and killed around each of its transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chassis::shutdown::Shutdown;
use kafka::{Claimed, Epoch, FetchOutcome, Fetched, KeptRecord, Lease, ListsClaim, RestoredLists, Window};
use schemas::delivery::{Delivery, Wait};
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::lanes::{HeldKey, LaneKey, ListRole, PendingRetry};
use schemas::ordering::OrderingKey;
use schemas::record::{Headers, OutRecord, Record, TopicPartition};
use schemas::topics::{TopicSettings, Topics};
use stage::{BatchLimits, Now, Order, Outbox, Turn, Work as _};
use tokio::sync::watch;
use uuid::Uuid;

use super::portion::{Portion, copied};
use super::work::{OperatorTask, OperatorWork};
use super::*;
use crate::book::Book;
use crate::book::restore::{FoundLists, Shelved};
use crate::lanes::condition::LaneCondition;
use crate::lists::Age;
use crate::testing::{record, retry, subscription_id};
use crate::work::{FoundBook, LaneNote};

const LIMITS: BatchLimits = BatchLimits { records: 100, bytes: 1 << 20 };

/// What is committed: the log of `deliveries/0`, the records of `lanes/0`, and the claim in the metadata.
#[derive(Clone)]
struct Committed {
    topics: Topics,
    log: Vec<Record>,
    lanes: BTreeMap<Bytes, Bytes>,
    claim: Option<Total>,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    KilledBefore,
    KilledBehind,
}

impl Committed {
    /// These deliveries wait in lists: which subscription's, and whether it is a retry.
    fn new(waiting: impl IntoIterator<Item = (u128, bool)>) -> Self {
        let topics = TopicSettings::default().topics();
        let mut this = Self { topics, log: Vec::new(), lanes: BTreeMap::new(), claim: None };
        let mut book = Book::new(Arc::clone(&this.topics.lanes), 0);
        book.begin();
        for (offset, (number, is_retry)) in (0_i64..).zip(waiting) {
            let event = format!("evt_{offset}");
            let (made, role) = if is_retry {
                (retry(&event, number, i64::MAX, 5), ListRole::Retries)
            } else {
                (record(&event, number, i64::MAX), ListRole::FirstTries)
            };
            this.log.push(Record { offset, timestamp_ms: 1_000 + offset, ..made });
            let age = Age { oldest_ms: 1_000 + offset, dead_ms: i64::MAX };
            assert!(book.list(subscription_id(number), role, offset, age));
        }
        let records = book.encode();
        this.write(&records);
        this.claim = Some(book.total());
        this
    }

    fn write(&mut self, records: &[OutRecord]) {
        for record in records {
            assert_eq!(record.partition, Some(0));
            if record.topic == self.topics.deliveries {
                let (offset, timestamp_ms) = (i64::try_from(self.log.len()).unwrap(), 9_000);
                let (key, value, headers) = (record.key.clone(), record.value.clone(), record.headers.clone());
                self.log.push(Record { offset, timestamp_ms, key, value, headers });
                continue;
            }
            assert_eq!(record.topic, self.topics.lanes);
            let key = record.key.clone().unwrap();
            match record.value.clone() {
                Some(value) => drop(self.lanes.insert(key, value)),
                None => drop(self.lanes.remove(&key)),
            }
        }
    }

    /// What a takeover finds: it fails where the lists are not what is claimed.
    fn book(&self) -> Book {
        let mut shelved = Shelved::default();
        for (key, value) in &self.lanes {
            let (key, value) = (Some(key.clone()), Some(value.clone()));
            shelved.read(&Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() }).unwrap();
        }
        let found = FoundLists { claimed: self.claim, start: 0, log_start: 0, is_recreated: false };
        shelved.book(Arc::clone(&self.topics.lanes), 0, found).expect("what is committed agrees")
    }

    /// These lanes have failed for days, whether or not anything waits for them.
    fn failing(mut self, numbers: std::ops::Range<u128>) -> Self {
        let mut book = self.book();
        book.begin();
        for number in numbers {
            let condition =
                LaneCondition { failing_since_ms: Some(1_000), window: Some(1), ..LaneCondition::default() };
            book.set_condition(subscription_id(number), condition);
        }
        // A key of some waits for a retry, and one is superseded of others: nothing else is known of those.
        for number in 500..510 {
            let (id, delivery) = (subscription_id(number), DeliveryId(Uuid::from_u128(number)));
            let retry = Some(PendingRetry::new(3, 2, 60_000));
            let held =
                HeldKey { key: OrderingKey(7), delivery, matched_at: 1, until_ms: 90_000, retry, listed_at: None };
            let (held, superseded) = held.hurried(50_000).unwrap();
            if number % 2 == 0 { book.hold(id, held) } else { book.supersede(id, superseded) }
        }
        let records = book.encode();
        self.write(&records);
        self
    }

    /// One run of the release, of which each transaction ends as said; after the last one said they are committed.
    fn release(&mut self, fates: &mut impl Iterator<Item = Fate>) -> OperatorProgress {
        let told = watch::Sender::new(OperatorProgress::default());
        let shutdown = Shutdown::new();
        let read_back = (Books::new(self.topics.clone(), None), ReadBack::default());
        let mut work = OperatorWork::new(OperatorTask::Release, read_back, 1, shutdown.clone(), told.clone());
        let lease = Lease { partition: TopicPartition::new(&*self.topics.deliveries, 0), epoch: Epoch(1) };
        let mut outbox: Outbox<LaneNote> = Outbox::new(LIMITS, Order::AnyOrder);
        outbox.open(&lease, Window::restore(0, 0, Vec::new()), 0);
        let now = Now { wall_ms: 50_000, boot_ms: 5_000, instant: chassis::clock::instant() };
        work.opened(&lease, FoundBook::of(self.book(), BTreeSet::new()), now);
        while !shutdown.is_requested() {
            work.turn(&mut Turn::new(&mut outbox, now)).unwrap();
            self.answer(&mut work, &lease);
            let Some((batch, mut transaction)) = outbox.cut(now.boot_ms) else { continue };
            let claims = work.seal(&batch, &mut transaction.outputs);
            let fate = fates.next().unwrap_or(Fate::Committed);
            if fate != Fate::KilledBefore {
                let records: Vec<OutRecord> = transaction.outputs.into_iter().map(|output| output.record).collect();
                assert!(
                    records.iter().filter(|record| record.topic == self.topics.deliveries).count() <= LIMITS.records
                );
                self.write(&records);
                self.claim = match claims[..] {
                    [Claimed::Lists(ListsClaim { queued, sum, .. })] => Some(Total { queued, sum }),
                    [Claimed::Nothing] => None,
                    [Claimed::AsFound] => self.claim,
                    _ => unreachable!("one part"),
                };
            }
            if fate != Fate::Committed {
                break;
            }
            work.committed(batch.entries().iter(), now);
        }
        told.borrow().clone()
    }

    /// Accepts the lists though something else is claimed and these offsets are read again; claims of each transaction.
    fn accept(&mut self, again: &[(SubscriptionId, i64)]) -> (OperatorProgress, Vec<Claimed>) {
        let told = watch::Sender::new(OperatorProgress::default());
        let shutdown = Shutdown::new();
        let seen = AcceptedLists { held: self.claim.unwrap(), claimed: Total { queued: 7, sum: 7 } };
        let task = OperatorTask::Accept(BTreeMap::from([(0, seen)]));
        let mut work = OperatorWork::new(
            task,
            (Books::new(self.topics.clone(), None), ReadBack::default()),
            1,
            shutdown.clone(),
            told.clone(),
        );
        let lease = Lease { partition: TopicPartition::new(&*self.topics.deliveries, 0), epoch: Epoch(1) };
        let mut outbox: Outbox<LaneNote> = Outbox::new(LIMITS, Order::AnyOrder);
        outbox.open(&lease, Window::restore(0, 0, Vec::new()), 0);
        let now = Now { wall_ms: 50_000, boot_ms: 5_000, instant: chassis::clock::instant() };
        work.opened(&lease, FoundBook::of(self.book(), BTreeSet::new()).listing_again(again.to_vec()), now);
        let mut all = Vec::new();
        while !shutdown.is_requested() {
            work.turn(&mut Turn::new(&mut outbox, now)).unwrap();
            let Some((batch, mut transaction)) = outbox.cut(now.boot_ms) else { continue };
            all.extend(work.seal(&batch, &mut transaction.outputs));
            self.write(&transaction.outputs.into_iter().map(|output| output.record).collect::<Vec<_>>());
            work.committed(batch.entries().iter(), now);
        }
        (told.borrow().clone(), all)
    }

    /// Everything that was asked for is read back.
    fn answer(&self, work: &mut OperatorWork, lease: &Lease) {
        let read_back = work.read_back();
        for (offset, _) in read_back.asking(lease.epoch) {
            let record = self.log.get(usize::try_from(offset).unwrap()).filter(|record| record.value.is_some());
            let outcome = record.cloned().map_or(FetchOutcome::Gone, FetchOutcome::Found);
            read_back.put(Fetched { lease: lease.clone(), offset, outcome });
        }
        read_back.forget(lease.epoch);
    }

    /// Event and hop of everything from an offset on, by subscription.
    fn copies(&self, from: usize) -> BTreeMap<SubscriptionId, Vec<String>> {
        let mut copies: BTreeMap<SubscriptionId, Vec<String>> = BTreeMap::new();
        for record in &self.log[from..] {
            let delivery = Delivery::decode(record).unwrap();
            assert!(delivery.hop.parks.count == 1 && delivery.hop.wait != Wait::Retry, "{:?}", delivery.hop);
            copies.entry(delivery.subscription).or_default().push(delivery.event_id().to_owned());
        }
        copies
    }
}

fn events(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("evt_{number}")).collect()
}

/// Two lanes of one partition, one of them with a retry among its newest.
fn two_lanes(count: usize) -> Committed {
    Committed::new((0..count).map(|at| (u128::from(at % 3 == 0), at == count - 2)))
}

#[test]
fn a_release_writes_everything_once_more_in_each_lanes_order_and_leaves_no_claim() {
    let count = 1_500;
    let mut committed = two_lanes(count);
    let progress = committed.release(&mut std::iter::empty());
    assert_eq!((progress.copied, progress.lost, progress.left, progress.is_done), (1_500, 0, 0, true));
    assert_eq!((committed.claim, committed.lanes.len()), (None, 0));
    let copies = committed.copies(count);
    let of = |wanted: bool| (0..count).filter(move |at| (at % 3 == 0) == wanted);
    // The retry is older than all first tries, wherever it stands.
    let retry = count - 2;
    let with_retry = retry % 3 == 0;
    for is_third in [true, false] {
        let first = (with_retry == is_third).then_some(retry);
        let expected: Vec<usize> = first.into_iter().chain(of(is_third).filter(|at| *at != retry)).collect();
        assert_eq!(copies[&subscription_id(u128::from(is_third))], events(expected), "{is_third}");
    }
    // Once more: there is nothing to do.
    let written = committed.log.len();
    let again = committed.release(&mut std::iter::empty());
    assert_eq!((again.copied, again.is_done, committed.log.len()), (0, true, written));
}

#[test]
fn a_release_that_is_killed_around_any_transaction_goes_on_and_writes_nothing_twice() {
    for fate in [Fate::KilledBefore, Fate::KilledBehind] {
        for killed_at in 0..8 {
            let count = 700;
            let mut committed = two_lanes(count);
            let mut fates = std::iter::repeat_n(Fate::Committed, killed_at).chain([fate]);
            committed.release(&mut fates);
            let progress = committed.release(&mut std::iter::empty());
            assert!(progress.is_done && progress.left == 0, "{fate:?} {killed_at}");
            let mut all: Vec<String> = committed.copies(count).into_values().flatten().collect();
            all.sort();
            let mut expected = events(0..count);
            expected.sort();
            assert_eq!(all, expected, "{fate:?} {killed_at}");
            assert!(committed.lanes.is_empty() && committed.claim.is_none());
        }
    }
}

#[test]
fn a_release_leaves_nothing_that_a_later_owner_would_hold_against_an_endpoint() {
    let count = 60;
    let mut committed = two_lanes(count).failing(0..150);
    assert_eq!(committed.book().known().len(), 160);
    let progress = committed.release(&mut std::iter::empty());
    assert_eq!((progress.copied, progress.left, progress.is_done), (60, 0, true));
    assert!(committed.lanes.is_empty(), "{} lanes stand there", committed.lanes.len());
    for fate in [Fate::KilledBefore, Fate::KilledBehind] {
        let mut committed = two_lanes(count).failing(0..150);
        committed.release(&mut std::iter::repeat_n(Fate::Committed, 1).chain([fate]));
        assert!(committed.release(&mut std::iter::empty()).is_done && committed.lanes.is_empty(), "{fate:?}");
        assert_eq!(committed.log.len(), 2 * count, "{fate:?}");
    }
    // Lists that were accepted go on, and what is known with them.
    let mut committed = two_lanes(count).failing(0..3);
    committed.accept(&[]);
    assert_eq!(committed.lanes.len(), 13);
}

#[test]
fn accepted_lists_lose_what_is_read_again_and_are_claimed_with_the_last_transaction() {
    let mut committed = two_lanes(400);
    let again: Vec<_> = (150..400).map(|at| (subscription_id(u128::from(at % 3 == 0)), at)).collect();
    let (progress, claims) = committed.accept(&again);
    assert_eq!((progress.read_again, progress.copied, progress.left, progress.is_done), (250, 0, 150, true));
    assert_eq!(committed.log.len(), 400, "no payload is written");
    let [before @ .., Claimed::Lists(last)] = &claims[..] else { panic!("{claims:?}") };
    assert!(before.len() >= 2 && before.iter().all(|claim| *claim == Claimed::AsFound), "{claims:?}");
    committed.claim = Some(Total { queued: last.queued, sum: last.sum });
    assert_eq!(committed.book().total().queued, 150);
}

#[test]
fn what_is_not_there_any_more_leaves_the_lists_and_is_counted() {
    let mut committed = two_lanes(30);
    committed.log[4].value = None;
    // Another's record stands there: its payload is nobody's to send.
    committed.log[5].key = committed.log[6].key.clone();
    let progress = committed.release(&mut std::iter::empty());
    assert_eq!((progress.copied, progress.lost, progress.is_done), (28, 2, true));
    assert!(committed.lanes.is_empty());
}

#[test]
fn a_copy_keeps_everything_but_that_it_was_parked() {
    let to = TopicPartition::new("hookbus.deliveries", 3);
    let own = subscription_id(1);
    for (original, wait) in [(record("e", 1, 77), Wait::Lane), (retry("e", 1, 77, 5), Wait::Lane)] {
        let copy = copied(&original, &to, own, 4_000).unwrap();
        assert_eq!((copy.partition, &copy.key, &copy.value), (Some(3), &original.key, &original.value));
        let was = Delivery::decode(&original).unwrap();
        let is = Delivery::decode(&Record { headers: copy.headers, ..original.clone() }).unwrap();
        assert_eq!((is.hop.wait, is.hop.parks.count, is.hop.parks.since_ms), (wait, 1, 4_000));
        assert_eq!((is.id, is.deadline_ms, is.control_offset), (was.id, was.deadline_ms, was.control_offset));
        assert_eq!((is.hop.attempt, is.hop.due_ms), (was.hop.attempt, was.hop.due_ms));
        assert_eq!(copied(&original, &to, subscription_id(2), 0).map(|copy| copy.key), None);
    }
}

#[test]
fn lists_are_judged_by_what_was_claimed() {
    let committed = two_lanes(40);
    let records =
        committed.lanes.iter().map(|(key, value)| (key.clone(), KeptRecord { offset: 1, value: value.clone() }));
    let lease = Lease { partition: TopicPartition::new(&*committed.topics.lanes, 0), epoch: Epoch(0) };
    let lists =
        RestoredLists { lease, topic_id: Uuid::from_u128(1), from: 0, end: 9, bytes: 9, records: records.collect() };
    let claim = |queued, sum| Some(ListsClaim { queued, sum, topic_id: Uuid::nil(), from: 0 });
    let Total { queued, sum } = committed.claim.unwrap();
    let agreeing = judge(&lists, claim(queued, sum));
    assert!(agreeing.agrees() && judge(&lists, None).agrees());
    assert_eq!((agreeing.held, agreeing.oldest_ms), (Ok(ListsTotal { queued: 40, sum }), Some(1_000)));
    for (queued, sum) in [(41, sum), (40, sum + 1)] {
        assert!(!judge(&lists, claim(queued, sum)).agrees());
    }
    // A chunk of a list that nobody names.
    let mut torn = lists;
    let (key, _) = committed.lanes.iter().next().unwrap();
    let id: SubscriptionId = SubscriptionId(std::str::from_utf8(key).unwrap().parse().unwrap());
    let chunk = schemas::lanes::ChunkKey { subscription: id, list: 9, number: 0 };
    let value = KeptRecord { offset: 2, value: schemas::lanes::ChunkRecord::new(vec![99], 0, 0).encode() };
    torn.records.insert(Bytes::from(LaneKey::Chunk(chunk).to_string()), value);
    assert!(judge(&torn, claim(queued, sum)).held.is_err());
}

#[test]
fn a_portion_fills_a_transaction_looks_at_no_more_lists_than_it_takes_and_bounds_what_is_read() {
    let committed = Committed::new((0..3_000).map(|number| (number, false)));
    let (book, mut looked) = (committed.book(), 0);
    let mut portion = Portion::first_of(book.lists().inspect(|_| looked += 1), Epoch(1)).unwrap();
    assert_eq!(looked, 1_000);
    let asked = portion.ask();
    assert_eq!((asked.len(), portion.ask().len()), (64, 0), "so many at a time");
    // Large ones are read no faster than they are written.
    let large = Record { value: Some(Bytes::from(vec![0; 1 << 20])), ..record("evt_1", 1, i64::MAX) };
    asked[..8].iter().for_each(|offset| portion.answer(*offset, Some(large.clone())));
    assert_eq!(portion.ask().len(), 0);
    assert_eq!(std::iter::from_fn(|| portion.next()).count(), 8);
    let mut asked: Vec<i64> = asked.into_iter().skip(8).chain(portion.ask()).collect();
    let mut count = 8;
    while !asked.is_empty() {
        asked.drain(..).for_each(|offset| portion.answer(offset, None));
        asked = portion.ask();
        count += std::iter::from_fn(|| portion.next()).count();
        asked.extend(portion.ask());
    }
    assert_eq!(count, 1_000);
    (0..count).for_each(|_| portion.committed());
    assert!(portion.is_over());
}
