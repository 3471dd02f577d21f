//! Which identities of one source partition were accepted inside the window. Pure.
//!
//! ```text
//! buckets   [ 7: until 10:00 | 8: until 11:00 | 9: now ... ]     identity -> number of its bucket
//!             ^ forgotten whole, when its newest identity is older than the newest record by more than the window
//! ```
//!
//! The window counts back from the newest record of the partition, never from the clock on the wall: a worker that was down
//! for two days still knows what came the day before it stopped. One number per identity and one pass per forgotten bucket
//! cost 20 bytes an identity; the order inside a bucket is not kept.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use schemas::seen::Hash;

use crate::config::{BUDGET_PARTS, WINDOW_PARTS};

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    window_ms: i64,
    bucket_ms: i64,
    /// Identities of a whole worker.
    pub(crate) ids: usize,
    bucket_ids: usize,
}

/// The identities of one source partition.
#[derive(Debug)]
pub(crate) struct Seen {
    limits: Limits,
    ids: HashMap<Hash, u32>,
    /// Oldest first; numbers ascend by one.
    buckets: VecDeque<Bucket>,
    newest_ms: i64,
}

#[derive(Debug)]
struct Bucket {
    number: u32,
    oldest_ms: i64,
    newest_ms: i64,
    ids: usize,
}

// === impl Limits ===

impl Limits {
    /// A window and a budget.
    pub(crate) fn new(window: Duration, ids: usize) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(1);
        Self {
            window_ms: ms(window),
            bucket_ms: ms(window / WINDOW_PARTS),
            ids: ids.max(1),
            bucket_ids: (ids / BUDGET_PARTS).max(1),
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Nothing was accepted yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, ids: HashMap::new(), buckets: VecDeque::new(), newest_ms: i64::MIN }
    }

    /// Moves the window on to a record of this time, and forgets what is before it.
    pub(crate) fn advance(&mut self, at_ms: i64) {
        self.newest_ms = self.newest_ms.max(at_ms);
        self.forget_expired();
    }

    /// Whether the identity was accepted inside the window.
    pub(crate) fn contains(&self, id: &Hash) -> bool {
        self.ids.contains_key(id)
    }

    /// How many identities are remembered.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// When the oldest bucket was filled, if there is one that is not being filled now.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.buckets.front().map(|bucket| bucket.newest_ms)
    }

    /// The identity of a record of this time was accepted.
    pub(crate) fn insert(&mut self, id: Hash, at_ms: i64) {
        self.newest_ms = self.newest_ms.max(at_ms);
        let number = self.open_bucket();
        if let Some(former) = self.ids.insert(id, number) {
            self.uncount(former);
        }
        self.forget_expired();
    }

    /// The identity was not accepted after all.
    pub(crate) fn remove(&mut self, id: &Hash) {
        if let Some(number) = self.ids.remove(id) {
            self.uncount(number);
        }
    }

    /// Forgets the oldest bucket before its time; how many identities that were.
    pub(crate) fn forget_oldest(&mut self) -> usize {
        let before = self.ids.len();
        if self.buckets.pop_front().is_some() {
            self.drop_unbucketed();
        }
        before - self.ids.len()
    }

    /// The bucket for an identity of the newest time, with that identity counted.
    fn open_bucket(&mut self) -> u32 {
        let newest_ms = self.newest_ms;
        let limits = self.limits;
        let number = self.buckets.back().map_or(0, |bucket| bucket.number.wrapping_add(1));
        if let Some(bucket) = self.buckets.back_mut()
            && newest_ms.saturating_sub(bucket.oldest_ms) < limits.bucket_ms
            && bucket.ids < limits.bucket_ids
        {
            bucket.newest_ms = newest_ms;
            bucket.ids += 1;
            return bucket.number;
        }
        self.buckets.push_back(Bucket { number, oldest_ms: newest_ms, newest_ms, ids: 1 });
        number
    }

    fn uncount(&mut self, number: u32) {
        let Some(first) = self.buckets.front().map(|bucket| bucket.number) else { return };
        let index = number.wrapping_sub(first) as usize;
        if let Some(bucket) = self.buckets.get_mut(index) {
            bucket.ids = bucket.ids.saturating_sub(1);
        }
    }

    fn forget_expired(&mut self) {
        let horizon = self.newest_ms.saturating_sub(self.limits.window_ms);
        let mut expired = false;
        while self.buckets.front().is_some_and(|bucket| bucket.newest_ms < horizon) {
            self.buckets.pop_front();
            expired = true;
        }
        if expired {
            self.drop_unbucketed();
        }
    }

    /// Drops the identities whose bucket is gone.
    fn drop_unbucketed(&mut self) {
        let Some(first) = self.buckets.front().map(|bucket| bucket.number) else {
            self.ids.clear();
            return;
        };
        let buckets = self.buckets.len();
        self.ids.retain(|_, number| (number.wrapping_sub(first) as usize) < buckets);
    }
}

/// Forgets the oldest bucket of all partitions until they fit the budget together; how many identities that cost.
pub(crate) fn fit_budget<'a>(limits: Limits, partitions: impl Iterator<Item = &'a mut Seen>) -> usize {
    let mut partitions: Vec<&mut Seen> = partitions.collect();
    let mut evicted = 0;
    loop {
        let total: usize = partitions.iter().map(|seen| seen.len()).sum();
        if total <= limits.ids {
            return evicted;
        }
        let oldest = partitions.iter_mut().filter(|seen| seen.len() > 0).min_by_key(|seen| seen.oldest_ms());
        let Some(oldest) = oldest else { return evicted };
        evicted += oldest.forget_oldest();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u32) -> Hash {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn limits(window_s: u64, ids: usize) -> Limits {
        Limits::new(Duration::from_secs(window_s), ids)
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten_and_nothing_younger() {
        let mut seen = Seen::new(limits(24, 1_000_000));
        for second in 0..100 {
            seen.insert(id(second), i64::from(second) * 1_000);
        }
        assert!((75..100).all(|second| seen.contains(&id(second))));
        assert!((0..73).all(|second| !seen.contains(&id(second))));
    }

    #[test]
    fn time_that_stands_still_forgets_nothing() {
        let mut seen = Seen::new(limits(24, 1_000_000));
        seen.insert(id(1), 50_000);
        // Times of producers may jump back; the window follows the newest.
        seen.insert(id(2), 0);
        assert!(seen.contains(&id(1)) && seen.contains(&id(2)));
        assert_eq!(seen.oldest_ms(), Some(50_000));
    }

    #[test]
    fn an_identity_taken_back_counts_no_more() {
        let mut seen = Seen::new(limits(24, 1_000_000));
        seen.insert(id(1), 0);
        seen.remove(&id(1));
        assert_eq!((seen.contains(&id(1)), seen.len()), (false, 0));
    }

    #[test]
    fn the_budget_takes_the_oldest_of_all_partitions() {
        let limits = limits(24, 128);
        let (mut old, mut new) = (Seen::new(limits), Seen::new(limits));
        for number in 0..100 {
            old.insert(id(number), 1_000);
            new.insert(id(number), 9_000);
        }
        let evicted = fit_budget(limits, [&mut old, &mut new].into_iter());
        assert_eq!((evicted, old.len(), new.len()), (72, 28, 100));
        assert!(old.contains(&id(99)) && !old.contains(&id(0)));
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_times(steps in proptest::collection::vec((0_u32..60, 0_i64..4_000), 1..300)) {
            let limits = limits(48, 1_000_000);
            let (mut seen, mut model, mut now) = (Seen::new(limits), std::collections::HashMap::new(), 0_i64);
            for (number, forward) in steps {
                now += forward;
                let at = model.get(&number).copied();
                seen.advance(now);
                let known = seen.contains(&id(number));
                // A bucket is 2 s wide: inside the window it is known, two seconds beyond it is not.
                if at.is_some_and(|at: i64| now - at <= 48_000) { prop_assert!(known) }
                if at.is_none_or(|at| now - at > 50_000) { prop_assert!(!known) }
                if !known {
                    seen.insert(id(number), now);
                    model.insert(number, now);
                }
                let counted: usize = seen.buckets.iter().map(|bucket| bucket.ids).sum();
                prop_assert_eq!(counted, seen.len());
                prop_assert!(seen.buckets.iter().all(|bucket| now - bucket.newest_ms <= 48_000));
            }
        }
    }
}
