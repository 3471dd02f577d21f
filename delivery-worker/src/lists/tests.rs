//! A list against a plain ordered set, with everything that stands on the topic beside it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn age(offset: i64) -> Age {
    Age { oldest_ms: 1_000 + offset, dead_ms: 9_000_000 - offset }
}

/// A list, the set it has to be, and the chunks that stand on the topic.
struct Twin {
    list: List,
    set: BTreeSet<i64>,
    topic: BTreeMap<i64, ChunkRecord>,
}

impl Twin {
    fn new() -> Self {
        Self { list: List::new(ListRole::FirstTries, 1), set: BTreeSet::new(), topic: BTreeMap::new() }
    }

    fn insert(&mut self, offset: i64) {
        let mut steps = Vec::new();
        assert_eq!(self.list.insert(offset, age(offset), &mut steps), self.set.insert(offset));
        self.write(steps);
    }

    fn remove(&mut self, offset: i64) {
        let mut steps = Vec::new();
        assert_eq!(self.list.remove(offset, age(offset).oldest_ms, &mut steps), self.set.remove(&offset));
        self.write(steps);
    }

    fn write(&mut self, steps: Vec<ChunkStep>) {
        for step in steps {
            match step.written() {
                (number, Some(chunk)) => drop(self.topic.insert(number, chunk.record())),
                (number, None) => assert!(self.topic.remove(&number).is_some(), "only what is there is removed"),
            }
        }
    }

    fn chunks(&self) -> Vec<(i64, ChunkRecord)> {
        self.topic.iter().map(|(number, chunk)| (*number, chunk.clone())).collect()
    }

    /// What its next owner finds is what it is (invariants 4 and 5).
    fn check(&self) {
        assert!(self.list.offsets().eq(self.set.iter().copied()));
        assert_eq!((self.list.first(), self.list.last()), (self.set.first().copied(), self.set.last().copied()));
        let record = self.list.record();
        let ends = self.topic.keys().next().zip(self.topic.keys().next_back());
        let named = (record.chunks.0 < record.chunks.1).then_some((record.chunks.0, record.chunks.1 - 1));
        assert_eq!(ends.map(|(first, last)| (*first, *last)), named, "those that are there reach as far as is named");
        assert!(self.list.chunk_numbers().eq(self.topic.keys().copied()), "and each is known");
        assert!(record.back.len() < CHUNK && record.front.len() <= FRONT_AT_MOST);
        let restored = List::restore(&record, self.chunks()).unwrap();
        assert_eq!(restored.record(), record);
        assert!(restored.offsets().eq(self.set.iter().copied()));
        if let Some(oldest) = self.set.first() {
            assert!(self.list.oldest_ms().unwrap() <= age(*oldest).oldest_ms);
        }
    }
}

#[test]
fn a_short_list_stands_wholly_in_its_front_and_a_long_one_in_chunks() {
    let mut twin = Twin::new();
    (0..256).for_each(|offset| twin.insert(offset));
    assert_eq!((twin.list.record().front.len(), twin.topic.len()), (256, 0));
    (256..100_000).for_each(|offset| twin.insert(offset));
    let record = twin.list.record();
    assert_eq!((record.front.len(), record.chunks, record.back.len(), record.n), (256, (0, 779), 32, 100_000));
    twin.check();
    (0..100_000).for_each(|offset| twin.remove(offset));
    twin.check();
    assert!(twin.list.is_empty() && twin.topic.is_empty());
}

#[test]
fn what_is_older_than_all_of_it_is_put_before_it() {
    let mut twin = Twin::new();
    (10_000..11_000).for_each(|offset| twin.insert(offset));
    (0..10_000).rev().for_each(|offset| twin.insert(offset));
    twin.check();
    assert!(twin.list.record().front.len() <= FRONT_AT_MOST && twin.list.record().chunks.0 < 0);
}

#[test]
fn an_outcome_far_behind_the_front_costs_its_own_chunk_and_a_chunk_may_become_empty() {
    let mut twin = Twin::new();
    (0..2_000).for_each(|offset| twin.insert(offset));
    let chunks = twin.topic.len();
    (700..1_400).for_each(|offset| twin.remove(offset));
    twin.check();
    assert_eq!((twin.list.record().front.len(), chunks - twin.topic.len()), (256, 4));
    twin.remove(1_999);
    (0..700).for_each(|offset| twin.remove(offset));
    twin.check();
    (2_000..3_000).for_each(|offset| twin.insert(offset));
    twin.check();
}

#[test]
fn an_offset_between_two_of_it_that_is_another_lists_changes_nothing() {
    let mut twin = Twin::new();
    (0..2_000).for_each(|number| twin.insert(2 * number));
    let record = twin.list.record();
    for offset in [1, 1_001, 3_001, 3_999] {
        twin.remove(offset);
    }
    assert_eq!(twin.list.record(), record);
    twin.check();
}

#[test]
fn a_list_that_was_tampered_with_is_none() {
    let mut twin = Twin::new();
    (0..600).for_each(|offset| twin.insert(offset));
    let (record, chunks) = (twin.list.record(), twin.chunks());
    assert!(chunks.len() > 1 && List::restore(&record, chunks.clone()).is_some());
    assert!(List::restore(&record, chunks[1..].to_vec()).is_none(), "a chunk is missing");
    let reversed = chunks.iter().rev().cloned().collect();
    assert!(List::restore(&record, reversed).is_none(), "the order is not ascending");
    let fewer = ListRecord { n: record.n - 1, ..record };
    assert!(List::restore(&fewer, chunks).is_none(), "the count is another");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever comes in whatever order, the list is the set, and the topic holds the list.
    #[test]
    fn a_list_is_an_ordered_set(
        steps in proptest::collection::vec((0..8_u8, 1..200_i64, any::<prop::sample::Index>()), 1..40),
    ) {
        let mut twin = Twin::new();
        let (mut low, mut high) = (0_i64, 0_i64);
        for (what, count, index) in steps {
            for _ in 0..count {
                match what {
                    0..=2 => { high += 1 + count % 3; twin.insert(high) }
                    3 => { low -= 1 + count % 3; twin.insert(low) }
                    4 => { let at = low + i64::try_from(index.index(usize::try_from(high - low + 1).unwrap())).unwrap(); twin.insert(at); break }
                    5 | 6 => { if let Some(first) = twin.set.first().copied() { twin.remove(first) } }
                    _any => {
                        let at = if twin.set.is_empty() { 0 } else { *twin.set.iter().nth(index.index(twin.set.len())).unwrap() };
                        twin.remove(at);
                        break;
                    }
                }
            }
            twin.check();
        }
    }

    /// What lies outside of what is kept goes, and nothing else.
    #[test]
    fn keeping_a_range_keeps_that_range(count in 0..2_000_i64, from in -10..2_100_i64, length in 0..2_100_i64) {
        let mut twin = Twin::new();
        (0..count).for_each(|offset| twin.insert(offset * 2));
        let (kept, mut steps) = (from..from + length, Vec::new());
        let gone = twin.list.keep(&kept, usize::MAX, &mut steps);
        let expected: Vec<i64> = twin.set.iter().copied().filter(|offset| !kept.contains(offset)).collect();
        twin.set.retain(|offset| kept.contains(offset));
        twin.write(steps);
        prop_assert_eq!(gone, expected);
        twin.check();
    }
}
