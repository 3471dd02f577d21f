//! Which offsets of `attempts` were read into a store: intervals for each partition, sorted and apart from each other.

use std::collections::BTreeMap;
use std::ops::Range;

/// Offsets by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<i32, Vec<Range<i64>>>);

// === impl Coverage ===

impl Coverage {
    /// Adds an interval; what touches is one.
    pub fn add(&mut self, partition: i32, offsets: Range<i64>) {
        if offsets.is_empty() {
            return;
        }
        let intervals = self.0.entry(partition).or_default();
        let first = intervals.partition_point(|it| it.end < offsets.start);
        let end = intervals.partition_point(|it| it.start <= offsets.end);
        let touched = &intervals[first..end];
        let start = touched.first().map_or(offsets.start, |it| it.start.min(offsets.start));
        let stop = touched.last().map_or(offsets.end, |it| it.end.max(offsets.end));
        intervals.splice(first..end, std::iter::once(start..stop));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (partition, intervals) in &other.0 {
            intervals.iter().for_each(|interval| self.add(*partition, interval.clone()));
        }
    }

    /// The intervals of a partition, in order.
    #[must_use]
    pub fn of(&self, partition: i32) -> &[Range<i64>] {
        self.0.get(&partition).map_or(&[], Vec::as_slice)
    }

    /// What is missing of an interval, in order.
    #[must_use]
    pub fn missing(&self, partition: i32, within: Range<i64>) -> Vec<Range<i64>> {
        let mut missing = Vec::new();
        let mut next = within.start;
        for covered in self.of(partition) {
            if covered.start >= within.end {
                break;
            }
            if covered.start > next {
                missing.push(next..covered.start);
            }
            next = next.max(covered.end);
        }
        if next < within.end {
            missing.push(next..within.end);
        }
        missing
    }

    /// Whether offsets are covered of a partition from its end on, as it is given here.
    #[must_use]
    pub fn reaches_beyond(&self, ends: &BTreeMap<i32, i64>) -> bool {
        self.ends().iter().any(|(partition, covered)| ends.get(partition).is_some_and(|end| covered > end))
    }

    /// All intervals.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Range<i64>)> {
        self.0.iter().flat_map(|(partition, intervals)| intervals.iter().map(move |interval| (*partition, interval)))
    }

    /// Behind the last offset of each partition.
    #[must_use]
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        let last = |(partition, intervals): (&i32, &Vec<Range<i64>>)| Some((*partition, intervals.last()?.end));
        self.0.iter().filter_map(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn intervals_are_what_a_set_of_offsets_would_be() {
        for seed in 0..2_000 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let (mut coverage, mut naive) = (Coverage::default(), [false; 40]);
            for _ in 0..rng.random_range(0..12) {
                let start = rng.random_range(0..40_usize);
                let end = rng.random_range(start..=40);
                coverage.add(3, as_offset(start)..as_offset(end));
                naive[start..end].fill(true);
            }
            let mut found = [false; 40];
            for (partition, interval) in coverage.iter() {
                assert_eq!(partition, 3);
                (interval.start..interval.end).for_each(|offset| found[usize::try_from(offset).unwrap()] = true);
            }
            assert_eq!(found, naive, "seed {seed}");
            let apart = coverage.of(3).windows(2).all(|pair| pair[0].end < pair[1].start);
            assert!(apart, "seed {seed}: {coverage:?}");
            let missing = coverage.missing(3, 5..31);
            let missing: Vec<i64> = missing.into_iter().flatten().collect();
            let expected: Vec<i64> = (5..31).filter(|offset| !naive[usize::try_from(*offset).unwrap()]).collect();
            assert_eq!(missing, expected, "seed {seed}");
        }
    }

    #[test]
    fn what_is_covered_beyond_an_end_is_seen() {
        let mut coverage = Coverage::default();
        coverage.add(0, 2..9);
        assert!(coverage.reaches_beyond(&BTreeMap::from([(0, 8), (1, 0)])));
        assert!(!coverage.reaches_beyond(&BTreeMap::from([(0, 9), (1, 0)])));
        assert!(!coverage.reaches_beyond(&BTreeMap::from([(1, 0)])), "of the others nothing is known");
    }

    #[test]
    fn coverages_merge_and_end_behind_their_last_offset() {
        let (mut one, mut other) = (Coverage::default(), Coverage::default());
        one.add(0, 0..5);
        other.add(0, 5..9);
        other.add(1, 3..4);
        other.add(2, 7..7);
        one.merge(&other);
        assert_eq!(one.of(0), std::slice::from_ref(&(0..9)));
        assert_eq!(one.ends(), BTreeMap::from([(0, 9), (1, 4)]));
        assert_eq!(one.missing(4, 1..3), std::slice::from_ref(&(1..3)));
    }

    fn as_offset(index: usize) -> i64 {
        i64::try_from(index).unwrap()
    }
}
