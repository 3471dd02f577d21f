//! Finding the records that Kafka never takes among those it refused together. Pure.
//!
//! A broker refuses a whole batch, and any of its records may be at fault, or only their number. So what was refused together
//! is sent again in smaller groups, each acknowledged before the next: of 64 records, then of 8, then each alone. Groups
//! that have passed are remembered. As long as no single record was refused, each try is the transaction itself; after that
//! nothing of it will be committed, and only what is not known yet is tried.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::error::ErrorCode;
use crate::session::{Aborted, Refused};

/// Most records of a group, from one try to the next.
const SIZES: [usize; 4] = [usize::MAX, 64, 8, 1];

/// So many transactions in a row must pass before a larger size is tried: at first, and at most. Each time that was too early
/// it takes twice as many.
const PATIENCE: (u32, u32) = (10, 1_280);

/// The size of groups with which the next transaction begins.
pub(super) struct GroupSize {
    size: usize,
    /// Transactions that passed with it.
    good: u32,
    patience: u32,
}

/// The state of one transaction's outputs.
pub(super) struct Sieve {
    /// Most records of a group that is made from now on.
    size: usize,
    /// Groups that were acknowledged.
    passed: Vec<Range<usize>>,
    /// Groups that are not known, ascending.
    todo: VecDeque<Range<usize>>,
    refused: BTreeMap<usize, ErrorCode>,
    /// The size of the last group that was refused as a whole.
    split: Option<usize>,
}

// === impl Sieve ===

impl Sieve {
    /// For so many outputs, in groups of at most this size.
    pub(super) fn new(outputs: usize, size: usize) -> Self {
        let (size, todo) = (size.max(1), pieces(0..outputs, size));
        Self { size, passed: Vec::new(), todo, refused: BTreeMap::new(), split: None }
    }

    /// The groups of the next try.
    pub(super) fn groups(&self) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = self.todo.iter().cloned().collect();
        if self.refused.is_empty() {
            groups.extend(self.passed.iter().cloned());
            groups.sort_unstable_by_key(|group| group.start);
        }
        groups
    }

    /// Whether the next try is aborted whatever comes of it.
    pub(super) fn is_probe(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Whether everything is known and something is refused.
    pub(super) fn is_hopeless(&self) -> bool {
        self.todo.is_empty() && !self.refused.is_empty()
    }

    /// The size of groups that works, for the next transaction.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// What is refused, ascending.
    pub(super) fn into_refused(self) -> Vec<(usize, ErrorCode)> {
        self.refused.into_iter().collect()
    }

    /// Other groups, as long as nothing is known about any.
    pub(super) fn regroup(&mut self, groups: Vec<Range<usize>>) {
        if self.passed.is_empty() && self.refused.is_empty() {
            self.todo = groups.into();
        }
    }

    /// Every group of the try was acknowledged.
    pub(super) fn all_passed(&mut self) {
        self.passed.extend(self.todo.drain(..));
    }

    /// The first groups of the try were acknowledged, then the time was over.
    pub(super) fn some_passed(&mut self, groups: &[Range<usize>], count: usize) {
        for group in &groups[..count.min(groups.len())] {
            if let Some(at) = self.todo.iter().position(|other| other == group) {
                self.todo.remove(at);
                self.passed.push(group.clone());
            }
        }
    }

    /// The time of a probe was over with so many of its groups acknowledged. False: not even one record alone was, so smaller groups
    /// do not help.
    pub(super) fn out_of_time(&mut self, groups: &[Range<usize>], passed: usize) -> bool {
        self.some_passed(groups, passed);
        let Some(first) = groups.first().filter(|_| passed == 0) else { return true };
        let Some(at) = self.todo.iter().position(|other| other == first).filter(|_| first.len() > 1) else {
            return false;
        };
        // Each later one is as large, and its turn comes.
        let smaller = SIZES.into_iter().find(|size| *size < first.len()).unwrap_or(1);
        self.todo.remove(at);
        for piece in pieces(first.clone(), smaller).into_iter().rev() {
            self.todo.insert(at, piece);
        }
        true
    }

    /// A group of the try was refused, in whole or in part. Indices are those of outputs.
    pub(super) fn refused(&mut self, groups: &[Range<usize>], aborted: &Aborted) {
        self.some_passed(groups, aborted.passed);
        let Some(group) = groups.get(aborted.passed) else { return };
        // It may have passed before: a topic's limit can be lowered at any time.
        self.passed.retain(|other| other != group);
        self.todo.retain(|other| other != group);
        let alone: Vec<&Refused> = aborted.refused.iter().filter(|refused| refused.alone).collect();
        if let (1, [first, ..]) = (group.len(), aborted.refused.as_slice()) {
            self.refused.insert(group.start, first.code);
            // The groups it was in were refused for its sake, not for their size.
            self.split = None;
        } else if alone.is_empty() {
            self.split(group.clone());
        } else {
            let mut start = group.start;
            for refused in &alone {
                self.refused.insert(refused.index, refused.code);
                self.rest(start..refused.index, aborted);
                start = refused.index + 1;
            }
            self.rest(start..group.end, aborted);
        }
        self.todo.make_contiguous().sort_unstable_by_key(|group| group.start);
    }

    /// What is left of a group without the records that were refused for themselves.
    fn rest(&mut self, group: Range<usize>, aborted: &Aborted) {
        if group.is_empty() {
            return;
        }
        let is_known = aborted.rest_passed && aborted.refused.iter().all(|refused| refused.alone);
        if is_known {
            self.passed.push(group);
        } else {
            self.todo.push_back(group);
        }
    }

    /// Makes smaller groups of one that was refused as a whole. The second of its size shows that it is the size.
    fn split(&mut self, group: Range<usize>) {
        let smaller = SIZES.into_iter().find(|size| *size < group.len()).unwrap_or(1);
        if self.split.is_some_and(|last| last <= group.len()) || self.size > SIZES[1] {
            self.size = self.size.min(smaller);
            let todo = std::mem::take(&mut self.todo);
            self.todo = todo.into_iter().flat_map(|group| pieces(group, smaller)).collect();
        }
        self.split = Some(group.len());
        self.todo.extend(pieces(group, smaller));
    }
}

// === impl GroupSize ===

impl GroupSize {
    /// The size with which a transaction begins.
    pub(super) fn now(&self) -> usize {
        self.size
    }

    /// A transaction was committed in groups of this size.
    pub(super) fn committed(&mut self, size: usize) {
        if size < self.size {
            self.size = size;
            self.good = 0;
            self.patience = (self.patience * 2).min(PATIENCE.1);
        } else if size < usize::MAX {
            self.good += 1;
            if self.good >= self.patience {
                self.good = 0;
                self.size = larger(size);
            }
        }
    }

    /// A transaction is handed back; what is left of it passed in groups of this size.
    pub(super) fn refused(&mut self, size: usize) {
        self.size = self.size.min(size);
        self.good = 0;
    }
}

impl Default for GroupSize {
    fn default() -> Self {
        Self { size: usize::MAX, good: 0, patience: PATIENCE.0 }
    }
}

fn larger(size: usize) -> usize {
    SIZES.into_iter().rev().find(|larger| *larger > size).unwrap_or(usize::MAX)
}

fn pieces(range: Range<usize>, size: usize) -> VecDeque<Range<usize>> {
    let end = range.end;
    range.step_by(size.clamp(1, usize::MAX / 2)).map(|start| start..start.saturating_add(size).min(end)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::KafkaError;

    /// Kafka as far as it matters here: it refuses these records at once, and groups of more records than a limit; of the others it
    /// takes so many in the time of one try.
    struct Broker {
        bad: Vec<usize>,
        limit: usize,
        in_time: usize,
    }

    impl Broker {
        /// What a try ends with: `None` if all groups are taken.
        fn answer(&self, groups: &[Range<usize>]) -> Option<Aborted> {
            let code = ErrorCode(rdkafka::types::RDKafkaErrorCode::MessageSizeTooLarge);
            let is_refused =
                |group: &Range<usize>| group.len() > self.limit || self.bad.iter().any(|bad| group.contains(bad));
            let mut taken = 0;
            for (passed, group) in groups.iter().enumerate() {
                let error = KafkaError::Closed;
                if is_refused(group) {
                    let alone = group.len() == 1;
                    let refused = group.clone().map(|index| Refused { index, code, alone }).collect();
                    return Some(Aborted { error, refused, passed, rest_passed: true, timed_out: false });
                }
                taken += group.len();
                if taken > self.in_time {
                    return Some(Aborted { error, refused: Vec::new(), passed, rest_passed: true, timed_out: true });
                }
            }
            None
        }
    }

    /// Tries until all is known, or until the transaction itself is too slow: what is refused, and how many tries it took.
    fn sift(outputs: usize, broker: &Broker) -> (Sieve, usize) {
        let mut sieve = Sieve::new(outputs, usize::MAX);
        for tries in 1..10_000 {
            let groups = sieve.groups();
            match broker.answer(&groups) {
                Some(aborted) if aborted.timed_out && sieve.is_probe() => {
                    assert!(sieve.out_of_time(&groups, aborted.passed), "one record always is in time");
                }
                Some(aborted) if aborted.timed_out => return (sieve, tries),
                Some(aborted) => sieve.refused(&groups, &aborted),
                None if sieve.is_probe() => sieve.all_passed(),
                None => return (sieve, tries),
            }
            if sieve.is_hopeless() {
                return (sieve, tries);
            }
        }
        panic!("never");
    }

    proptest! {
        #[test]
        fn exactly_what_is_refused_alone_is_found(
            outputs in 1_usize..600,
            bad in prop::collection::btree_set(0_usize..600, 0..6),
            limit in 1_usize..700,
        ) {
            let bad: Vec<usize> = bad.into_iter().filter(|bad| *bad < outputs).collect();
            let (sieve, tries) = sift(outputs, &Broker { bad: bad.clone(), limit, in_time: usize::MAX });
            let mut covered: Vec<usize> = sieve.passed.iter().chain(&sieve.todo).cloned().flatten().collect();
            prop_assert_eq!(sieve.refused.keys().copied().collect::<Vec<_>>(), bad.clone());
            covered.extend(&bad);
            covered.sort_unstable();
            prop_assert_eq!(covered, (0..outputs).collect::<Vec<_>>(), "each output is known once");
            // Three splits for the size, and for each bad record its three splits and itself.
            prop_assert!(tries <= 8 + 5 * bad.len(), "{} tries", tries);
        }
    }

    proptest! {
        #[test]
        fn a_cluster_that_takes_few_in_time_is_asked_until_all_is_known(
            outputs in 1_usize..600,
            bad in 0_usize..600,
            in_time in 1_usize..200,
        ) {
            let bad: Vec<usize> = Some(bad).filter(|bad| *bad < outputs).into_iter().collect();
            let (sieve, _) = sift(outputs, &Broker { bad: bad.clone(), limit: usize::MAX, in_time });
            // Without a refusal, or as long as none is known to be one's own, the transaction itself is what is too slow.
            if sieve.is_probe() {
                prop_assert!(sieve.is_hopeless());
                prop_assert_eq!(sieve.into_refused().into_iter().map(|(index, _)| index).collect::<Vec<_>>(), bad);
            }
        }
    }

    #[test]
    fn a_record_that_is_too_slow_alone_is_told() {
        let mut sieve = Sieve::new(2, 1);
        let code = ErrorCode(rdkafka::types::RDKafkaErrorCode::MessageSizeTooLarge);
        let refused = vec![Refused { index: 0, code, alone: true }];
        let aborted = Aborted { error: KafkaError::Closed, refused, passed: 0, rest_passed: false, timed_out: false };
        sieve.refused(&sieve.groups(), &aborted);
        assert_eq!(sieve.groups().into_iter().flatten().collect::<Vec<_>>(), [1]);
        assert!(!sieve.out_of_time(&sieve.groups(), 0));
    }

    #[test]
    fn a_size_that_works_is_where_the_next_transaction_begins() {
        let (sieve, tries) = sift(4_000, &Broker { bad: Vec::new(), limit: 250, in_time: usize::MAX });
        assert_eq!((sieve.size(), sieve.is_probe(), tries), (64, false, 2));
        let (sieve, _) = sift(200, &Broker { bad: Vec::new(), limit: 3, in_time: usize::MAX });
        assert_eq!(sieve.size(), 1);
        assert_eq!(Sieve::new(200, sieve.size()).groups().len(), 200, "it is not tried jointly again");
    }

    #[test]
    fn a_larger_size_is_tried_after_a_while_and_later_each_time_it_fails() {
        let mut size = GroupSize::default();
        size.committed(usize::MAX);
        assert_eq!(size.now(), usize::MAX);
        // 64 works and more does not.
        let mut tried_after = Vec::new();
        size.committed(64);
        while tried_after.len() < 3 {
            let mut commits = 0;
            while size.now() == 64 {
                size.committed(64);
                commits += 1;
            }
            tried_after.push(commits);
            size.committed(64);
        }
        assert_eq!(tried_after, [20, 40, 80]);
        size.refused(8);
        assert_eq!(size.now(), 8);
        assert_eq!([1, 8, 64, usize::MAX].map(larger), [8, 64, usize::MAX, usize::MAX]);
    }

    #[test]
    fn a_record_that_is_refused_for_itself_is_known_at_once() {
        let mut sieve = Sieve::new(10, usize::MAX);
        let code = ErrorCode(rdkafka::types::RDKafkaErrorCode::MessageSizeTooLarge);
        let refused = [2, 7].map(|index| Refused { index, code, alone: true }).to_vec();
        let aborted = Aborted { error: KafkaError::Closed, refused, passed: 0, rest_passed: true, timed_out: false };
        sieve.refused(&sieve.groups(), &aborted);
        assert!(sieve.is_hopeless(), "the others were acknowledged beside them");
        assert_eq!(sieve.into_refused().into_iter().map(|(index, _)| index).collect::<Vec<_>>(), [2, 7]);
    }
}
