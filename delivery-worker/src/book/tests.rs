//! A book against a plain model, with the topic beside it and crashes at every step.
//!
//! Invariants, by their numbers in ARCHITECTURE.md: each record is in exactly one place (1), the claim is what is read back (2),
//! lists ascend (4), the chunks that are there are those that are named (5), a stay costs at most two lane records (8).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use schemas::lanes::PendingRetry;
use schemas::record::{Headers, Record};
use uuid::Uuid;

use super::restore::{BookError, FoundLists, Shelved};
use super::*;

const PARTITION: i32 = 3;

fn topic() -> Arc<str> {
    Arc::from("hookbus.lanes")
}

fn lane(number: u128) -> SubscriptionId {
    SubscriptionId(Uuid::from_u128(0x5000 + number))
}

fn age(offset: i64) -> Age {
    Age { oldest_ms: offset, dead_ms: 1_000_000 + offset }
}

fn known(claimed: Option<Total>) -> FoundLists {
    FoundLists { claimed, start: 0, log_start: 0, is_recreated: false }
}

/// `lanes` and the metadata, as they are committed.
#[derive(Clone, Debug, Default)]
struct Kafka {
    values: BTreeMap<Bytes, Bytes>,
    claim: Total,
    /// Records of lanes, chunks apart, that were ever written.
    lane_records: u64,
}

impl Kafka {
    fn commit(&mut self, records: &[OutRecord], claim: Total) {
        for record in records {
            assert_eq!((&*record.topic, record.partition), ("hookbus.lanes", Some(PARTITION)));
            let key = record.key.clone().unwrap();
            self.lane_records += u64::from(!key.contains(&b'/'));
            match record.value.clone() {
                Some(value) => drop(self.values.insert(key, value)),
                None => drop(self.values.remove(&key)),
            }
        }
        self.claim = claim;
    }

    fn shelved(&self) -> Shelved {
        let mut shelved = Shelved::default();
        for (key, value) in &self.values {
            let (key, value) = (Some(key.clone()), Some(value.clone()));
            shelved.read(&Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() }).unwrap();
        }
        shelved
    }

    fn take_over(&self, known: FoundLists) -> Result<Book, BookError> {
        self.shelved().book(topic(), PARTITION, known)
    }
}

/// Where each delivery waits: in which lists of which lane.
type Model = BTreeMap<SubscriptionId, BTreeMap<i64, ListRole>>;

fn listed(book: &Book) -> Model {
    let mut model = Model::new();
    for (id, lists) in book.lists() {
        let lane = model.entry(id).or_default();
        for list in lists {
            assert!(!list.is_empty(), "an empty list is none");
            assert!(list.offsets().zip(list.offsets().skip(1)).all(|(one, next)| one < next), "ascends");
            for offset in list.offsets() {
                assert_eq!(lane.insert(offset, list.role()), None, "in one list");
            }
        }
    }
    model
}

/// What an entry of a batch does.
#[derive(Clone, Copy, Debug)]
enum Does {
    List(u128, ListRole, i64),
    Settle(u128, i64),
    SetAside(u128),
}

fn apply(book: &mut Book, model: &mut Model, does: Does) {
    match does {
        Does::List(number, role, offset) => {
            assert!(book.list(lane(number), role, offset, age(offset)));
            model.entry(lane(number)).or_default().insert(offset, role);
        }
        Does::Settle(number, offset) => {
            assert!(book.settle(lane(number), offset, offset));
            let own = model.get_mut(&lane(number)).unwrap();
            own.remove(&offset);
            if own.is_empty() {
                model.remove(&lane(number));
            }
        }
        Does::SetAside(number) => {
            book.set_aside(lane(number));
            model.entry(lane(number)).or_default().values_mut().for_each(|role| *role = ListRole::SetAside);
            model.retain(|_, own| !own.is_empty());
        }
    }
}

/// How a batch ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Committed,
    NotWritten,
    CrashedBefore,
    CrashedBehind,
}

/// One owner after the other.
struct World {
    kafka: Kafka,
    book: Book,
    model: Model,
    next: i64,
    stays: u64,
    batches: u64,
}

impl World {
    fn new() -> Self {
        Self {
            kafka: Kafka::default(),
            book: Book::new(topic(), PARTITION),
            model: Model::new(),
            next: 0,
            stays: 0,
            batches: 0,
        }
    }

    fn batch(&mut self, all: &[Does], ends: Fate) {
        let (before, total) = (self.model.clone(), self.book.total());
        self.book.begin();
        for does in all {
            apply(&mut self.book, &mut self.model, *does);
            self.stays += u64::from(matches!(does, Does::List(..)));
        }
        let records = self.book.encode();
        let keys: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
        assert_eq!(keys.len(), records.len(), "each key once");
        if matches!(ends, Fate::Committed | Fate::CrashedBehind) {
            self.kafka.commit(&records, self.book.total());
        } else {
            self.model = before;
        }
        match ends {
            Fate::Committed => self.book.keep(),
            Fate::NotWritten => {
                self.book.undo();
                assert_eq!(self.book.total(), total);
            }
            Fate::CrashedBefore | Fate::CrashedBehind => {
                self.book = self.kafka.take_over(known(Some(self.kafka.claim))).unwrap();
                assert!(!self.book.needs_correction());
            }
        }
        self.batches += 1;
        // Reading everything back is most of the time: a long list is looked at now and then.
        let waiting: usize = self.model.values().map(BTreeMap::len).sum();
        if waiting < 2_000 || self.batches.is_multiple_of(32) {
            self.check();
        }
    }

    fn check(&self) {
        assert_eq!(listed(&self.book), self.model);
        let restored = self.kafka.take_over(known(Some(self.kafka.claim))).expect("what is committed is a book");
        assert_eq!(listed(&restored), self.model);
        assert_eq!(restored.total(), self.book.total());
        assert_eq!(
            self.kafka.claim.queued,
            u64::try_from(self.model.values().map(BTreeMap::len).sum::<usize>()).unwrap()
        );
    }

    /// A stretch of newer offsets for one lane.
    fn fresh(&mut self, number: u128, role: ListRole, count: i64) -> Vec<Does> {
        let from = self.next;
        self.next += count;
        (from..self.next).map(|offset| Does::List(number, role, offset)).collect()
    }

    fn heads(&self, number: u128, count: usize) -> Vec<Does> {
        let own = self.model.get(&lane(number));
        own.into_iter().flat_map(BTreeMap::keys).take(count).map(|offset| Does::Settle(number, *offset)).collect()
    }
}

#[test]
fn what_is_listed_and_settled_in_one_batch_writes_nothing() {
    let mut world = World::new();
    let mut all = world.fresh(1, ListRole::FirstTries, 300);
    all.extend((0..300).map(|offset| Does::Settle(1, offset)));
    world.batch(&all, Fate::Committed);
    let written: Vec<_> = world.kafka.values.keys().collect();
    assert!(written.is_empty(), "{written:?}");
    assert_eq!(world.kafka.lane_records, 0);
}

#[test]
fn a_long_stay_costs_little_and_a_pause_nothing() {
    let mut world = World::new();
    let count = 40_000;
    for _ in 0..count / 400 {
        let all = world.fresh(1, ListRole::FirstTries, 400);
        world.batch(&all, Fate::Committed);
    }
    let bytes: usize = world.kafka.values.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes < 4 * 40_000, "{bytes} bytes for {count} that wait");
    assert_eq!(world.kafka.lane_records, 100, "one per batch");
    // Nothing happens, nothing is written. Then all of it goes.
    while !world.model.is_empty() {
        let all = world.heads(1, 900);
        world.batch(&all, Fate::Committed);
    }
    assert!(world.kafka.values.is_empty());
}

#[test]
fn a_batch_that_is_not_written_leaves_no_trace_however_much_it_changed() {
    let mut world = World::new();
    for _ in 0..5 {
        let all = world.fresh(1, ListRole::FirstTries, 400);
        world.batch(&all, Fate::Committed);
    }
    for ends in [Fate::NotWritten, Fate::CrashedBefore, Fate::NotWritten] {
        let mut all = world.heads(1, 900);
        all.extend(world.fresh(1, ListRole::FirstTries, 300));
        all.push(Does::SetAside(1));
        all.extend(world.fresh(1, ListRole::FirstTries, 300));
        world.batch(&all, ends);
    }
}

#[test]
fn which_version_looked_at_a_lane_stands_with_what_waits_in_order_and_goes_with_it() {
    let (mut kafka, mut book) = (Kafka::default(), Book::new(topic(), PARTITION));
    let found = |kafka: &Kafka| kafka.take_over(known(Some(kafka.claim))).unwrap().reviewed_of(lane(1));
    book.begin();
    book.set_reviewed(lane(1), Some(5));
    assert!(book.encode().is_empty(), "nothing waits there");
    book.keep();
    book.begin();
    assert!(book.list(lane(1), ListRole::FirstTries, 3, age(3)));
    book.set_reviewed(lane(1), Some(7));
    kafka.commit(&book.encode(), book.total());
    book.keep();
    assert_eq!((book.reviewed_of(lane(1)), found(&kafka)), (Some(7), Some(7)));
    book.begin();
    book.set_reviewed(lane(1), Some(9));
    book.undo();
    book.begin();
    book.set_reviewed(lane(1), None);
    assert_eq!(book.reviewed_of(lane(1)), Some(7), "neither what was not written nor what nobody knows counts");
    book.set_aside(lane(1));
    book.set_reviewed(lane(1), Some(11));
    kafka.commit(&book.encode(), book.total());
    book.keep();
    assert_eq!(found(&kafka), None, "nothing waits in order");
}

#[test]
fn a_book_whose_topic_was_tampered_with_stops() {
    let mut world = World::new();
    let mut all = world.fresh(1, ListRole::FirstTries, 1_000);
    all.extend(world.fresh(2, ListRole::Retries, 3));
    world.batch(&all, Fate::Committed);
    let claim = world.kafka.claim;
    for key in world.kafka.values.keys().cloned().collect::<Vec<_>>() {
        let mut cut = world.kafka.clone();
        cut.values.remove(&key);
        assert!(cut.take_over(known(Some(claim))).is_err(), "without {key:?}");
    }
    let empty = Kafka::default().take_over(known(Some(claim))).unwrap_err();
    assert!(empty.to_string().contains("holds 0 entries"), "{empty}");
    let more = Total { queued: claim.queued, sum: claim.sum + 1 };
    assert!(matches!(world.kafka.take_over(known(Some(more))), Err(BookError::Claim { .. })));
}

#[test]
fn a_claim_that_comes_before_the_correction_is_found() {
    let mut world = World::new();
    let all: Vec<Does> = (0..500).flat_map(|number| world.fresh(number, ListRole::FirstTries, 3)).collect();
    world.batch(&all, Fate::Committed);
    let by_hand = FoundLists { claimed: None, start: 600, log_start: 0, is_recreated: false };
    let left = |kafka: &mut Kafka| corrected(kafka, by_hand).0.total().queued;
    assert_eq!(left(&mut world.kafka.clone()), 600);
    flaws::plant(Some(Flaw::ClaimBeforeCorrection));
    assert_ne!(left(&mut world.kafka.clone()), 600, "what is left is sent, and read again");
    flaws::plant(None);
}

/// Corrects portion by portion, with a crash or a failure now and then.
fn corrected(kafka: &mut Kafka, of: FoundLists) -> (Book, Vec<i64>) {
    let (mut lost, mut of) = (Vec::new(), of);
    for round in 0.. {
        let mut book = kafka.take_over(of).unwrap();
        if !book.needs_correction() {
            return (book, lost);
        }
        book.begin();
        let gone = book.correct();
        let records = book.encode();
        assert!(records.len() <= 1_000, "{} records in one transaction", records.len());
        if round % 3 == 1 {
            book.undo();
            assert!(book.needs_correction());
            continue;
        }
        kafka.commit(&records, book.total());
        lost.extend(gone);
        of.claimed = book.claim().or(of.claimed);
        if !book.needs_correction() {
            of = FoundLists { is_recreated: false, ..of };
        }
    }
    unreachable!("a correction ends")
}

#[test]
fn a_takeover_drops_what_is_read_again_and_what_is_gone() {
    let filled = || {
        let mut world = World::new();
        let mut all: Vec<Does> = (0..500).flat_map(|number| world.fresh(number, ListRole::FirstTries, 3)).collect();
        all.extend(world.fresh(7, ListRole::FirstTries, 1_500));
        world.batch(&all, Fate::Committed);
        world
    };
    // By hand to 1,000, and retention has passed 200.
    let mut world = filled();
    let by_hand = FoundLists { claimed: None, start: 1_000, log_start: 200, is_recreated: false };
    let (book, mut lost) = corrected(&mut world.kafka, by_hand);
    let left: BTreeSet<i64> = listed(&book).values().flat_map(BTreeMap::keys).copied().collect();
    assert!(left.into_iter().eq(200..1_000));
    lost.sort_unstable();
    assert!(lost.into_iter().eq(0..200));
    // The topic is another one.
    let mut world = filled();
    let anew = FoundLists { claimed: Some(world.kafka.claim), start: 0, log_start: 0, is_recreated: true };
    let (book, lost) = corrected(&mut world.kafka, anew);
    assert_eq!((book.lanes(), book.total(), lost), (0, Total::default(), Vec::new()));
    assert!(world.kafka.values.is_empty());
    // Everything is as it was claimed.
    let world = filled();
    assert!(!world.kafka.take_over(known(Some(world.kafka.claim))).unwrap().needs_correction());
}

/// Three keys wait, each for what is back and listed; what failed lies 1,000 before it.
#[test]
fn keys_wait_on_for_what_is_read_again_and_not_for_what_is_gone() {
    let filled = || {
        let (mut kafka, mut book) = (Kafka::default(), Book::new(topic(), PARTITION));
        book.begin();
        for (number, offset) in [(1, 1_100), (2, 1_500), (3, 1_900)] {
            let id = lane(7);
            book.list(id, ListRole::Retries, offset, age(offset));
            let (key, delivery) = (OrderingKey(number), schemas::ids::DeliveryId(Uuid::from_u128(number.into())));
            let retry = Some(PendingRetry::new(offset - 1_000, 2, 5));
            book.hold(id, HeldKey { key, delivery, matched_at: 1, until_ms: 9, retry, listed_at: None });
            book.list_awaited(id, key, offset);
        }
        kafka.commit(&book.encode(), book.total());
        kafka
    };
    let held = |keys: &[HeldKey]| -> Vec<(u64, Option<i64>, bool)> {
        keys.iter().map(|held| (held.key.0, held.listed_at, held.retry.is_some())).collect()
    };
    // By hand to 1,600, and retention has passed 1,200: what failed cannot be read back.
    let by_hand = FoundLists { claimed: None, start: 1_600, log_start: 1_200, is_recreated: false };
    let (book, lost) = corrected(&mut filled(), by_hand);
    assert_eq!((lost, held(&book.held_keys(lane(7)))), (vec![1_100], vec![(2, Some(1_500), true), (3, None, true)]));
    assert_eq!(held(&book.found_keys(lane(7))), [(2, Some(1_500), false), (3, None, false)]);
    // Nothing is to be corrected; what the second failed with is there.
    let mut kafka = filled();
    let found = FoundLists { log_start: 300, ..known(Some(kafka.claim)) };
    let (book, _) = corrected(&mut kafka, found);
    let all = [(1, Some(1_100), false), (2, Some(1_500), true), (3, Some(1_900), true)];
    assert_eq!(held(&book.found_keys(lane(7))), all);
    // The topic is another one.
    let mut kafka = filled();
    let anew = FoundLists { claimed: Some(kafka.claim), start: 0, log_start: 0, is_recreated: true };
    assert_eq!(corrected(&mut kafka, anew).0.held_keys(lane(7)), []);
}

#[test]
fn a_correction_of_one_long_list_is_split_over_transactions() {
    let filled = || {
        let mut world = World::new();
        for _ in 0..20 {
            let all = world.fresh(7, ListRole::FirstTries, 10_000);
            world.batch(&all, Fate::Committed);
        }
        world
    };
    let mut world = filled();
    let anew = FoundLists { claimed: Some(world.kafka.claim), start: 0, log_start: 0, is_recreated: true };
    let (book, lost) = corrected(&mut world.kafka, anew);
    assert_eq!((book.total(), lost, world.kafka.values.len()), (Total::default(), Vec::new(), 0));
    let mut world = filled();
    let passed = FoundLists { log_start: 190_001, ..known(Some(world.kafka.claim)) };
    let (book, mut lost) = corrected(&mut world.kafka, passed);
    lost.sort_unstable();
    assert!(lost.into_iter().eq(0..190_001) && book.total().queued == 9_999);
}

fn ends() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Committed),
        2 => Just(Fate::NotWritten),
        1 => Just(Fate::CrashedBefore),
        1 => Just(Fate::CrashedBehind),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_book_is_what_is_committed_whatever_happens(
        batches in proptest::collection::vec(
            (proptest::collection::vec((0..10_u8, 0..3_u128, 1..300_i64), 0..6), ends()),
            1..12,
        ),
    ) {
        let mut world = World::new();
        // Left in the window so far: listed later, older than what is.
        let mut held: Vec<(u128, i64)> = Vec::new();
        for (steps, ends) in batches {
            let (mut all, mut model, held_before) = (Vec::new(), world.model.clone(), held.clone());
            for (what, number, count) in steps {
                let more = match what {
                    0..=3 => world.fresh(number, ListRole::FirstTries, count),
                    4 => world.fresh(number, ListRole::Retries, count.min(5)),
                    5 => {
                        held.extend((world.next..world.next + count).map(|offset| (number, offset)));
                        world.next += count;
                        Vec::new()
                    }
                    6 => held.split_off(held.len() / 2).into_iter().rev()
                        .map(|(number, offset)| Does::List(number, ListRole::FirstTries, offset)).collect(),
                    7 => vec![Does::SetAside(number)],
                    _settle => {
                        let own = model.get(&lane(number)).map(|own| own.keys().copied().collect::<Vec<_>>()).unwrap_or_default();
                        let skip = if what == 8 { 0 } else { own.len() / 2 };
                        let count = usize::try_from(count).unwrap();
                        own.into_iter().skip(skip).take(count).map(|offset| Does::Settle(number, offset)).collect()
                    }
                };
                let mut scratch = Book::new(topic(), PARTITION);
                // The model alone decides what can be settled later in the same batch.
                for does in &more {
                    match does {
                        Does::List(..) => apply(&mut scratch, &mut model, *does),
                        Does::Settle(number, offset) => { model.get_mut(&lane(*number)).unwrap().remove(offset); }
                        Does::SetAside(_) => {}
                    }
                }
                all.extend(more);
            }
            world.batch(&all, ends);
            if matches!(ends, Fate::NotWritten | Fate::CrashedBefore) {
                held = held_before;
            }
        }
        prop_assert!(world.kafka.lane_records <= 2 * world.stays + 100, "two per stay, and one per set-aside");
    }
}
