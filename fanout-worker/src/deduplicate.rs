//! Which identities were accepted inside the window, of all partitions of a worker, within one budget. Pure.
//!
//! ```text
//! events/0   buckets   [ 7: until 10:00 | 12: until 11:00 | 15: now ... ]
//! events/1             [ 9: until 10:30 | 14: now ... ]                      one table: identity -> number of its bucket
//!                        ^ forgotten whole: when its newest identity is older than the partition's newest record by more
//!                          than the window, or when it is the oldest of all and the budget is spent
//! ```
//!
//! The window counts back from the newest record of the partition, never from the clock on the wall: a worker that was down
//! for two days still knows what came the day before it stopped. The budget is the worker's: what is being restored counts
//! from its first identity on, beside what is owned already, so that no moment takes more memory than another
//! ([`table`] says how much: about 33 bytes an identity of the budget). The order inside a bucket is not kept, but each identity
//! knows its time to the millisecond: an application may ask for a shorter window than the worker's. That time is the one of the
//! partition's newest record when it was accepted, as the window's edge is.

mod table;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use schemas::seen::Hash;

use self::table::{Stand, Table};
use crate::config::{BUDGET_PARTS, WINDOW_PARTS};

/// Identities that are taken over under one lock while a partition is restored; the worker asks in between.
const RESTORED_AT_ONCE: usize = 256;

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    window_ms: i64,
    bucket_ms: i64,
    /// Identities of a whole worker.
    ids: usize,
    bucket_ids: usize,
}

/// The identities of one worker. Cheap to clone; restores fill it while the worker asks.
#[derive(Clone, Debug)]
pub(crate) struct Identities {
    limits: Limits,
    inner: Arc<Mutex<Inner>>,
}

/// The identities of one source partition under one lease. Dropping it forgets them.
#[derive(Debug)]
pub(crate) struct Seen {
    number: u32,
    identities: Identities,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    table: Table,
    partitions: BTreeMap<u32, Partition>,
    alive: Alive,
    /// Identities that left before the window's end since somebody asked.
    evicted: u64,
    next_partition: u32,
    next_bucket: u32,
}

/// The buckets of all partitions.
#[derive(Debug, Default)]
struct Alive {
    /// Their numbers, and when each began, Unix ms: an identity in another bucket is forgotten.
    buckets: HashMap<u32, i64>,
    /// Identities in all of them.
    ids: usize,
}

#[derive(Debug)]
struct Partition {
    /// Oldest first; numbers ascend.
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

// === impl Identities ===

impl Identities {
    /// Nothing was accepted yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, inner: Arc::new(Mutex::new(Inner::new(limits))) }
    }

    /// A partition of which nothing is known yet.
    pub(crate) fn partition(&self) -> Seen {
        Seen { number: self.inner.lock().add_partition(), identities: self.clone() }
    }

    /// How long an identity is remembered, ms.
    pub(crate) fn window_ms(&self) -> i64 {
        self.limits.window_ms
    }

    /// How many identities are remembered, those of partitions that are being restored among them.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().alive.ids
    }

    /// How many identities left before the window's end since the last call.
    pub(crate) fn take_evicted(&self) -> u64 {
        std::mem::take(&mut self.inner.lock().evicted)
    }
}

// === impl Seen ===

impl Seen {
    /// Whether a record of this time repeats an identity that was accepted inside the window before it: the worker's, or a shorter
    /// one, ms. The window moves on to that time.
    pub(crate) fn is_repeat(&mut self, id: &Hash, at_ms: i64, shorter_ms: Option<i64>) -> bool {
        let mut inner = self.identities.inner.lock();
        inner.advance(self.number, at_ms);
        let Some(accepted_ms) = inner.accepted_ms(&self.key(id)) else { return false };
        let is_inside = |window_ms| inner.newest_ms(self.number).saturating_sub(accepted_ms) <= window_ms;
        shorter_ms.is_none_or(is_inside)
    }

    /// Whether a record of this time is older than the window, the worker's or a shorter one: identities of its time may have been
    /// accepted and forgotten.
    pub(crate) fn is_beyond(&self, at_ms: i64, shorter_ms: Option<i64>) -> bool {
        let inner = self.identities.inner.lock();
        let window_ms = shorter_ms.map_or(inner.limits.window_ms, |shorter_ms| shorter_ms.min(inner.limits.window_ms));
        at_ms < inner.newest_ms(self.number).saturating_sub(window_ms)
    }

    /// Whether the identity is remembered.
    #[cfg(test)]
    pub(crate) fn contains(&self, id: &Hash) -> bool {
        self.identities.inner.lock().accepted_ms(&self.key(id)).is_some()
    }

    /// The identity of a record of this time was accepted.
    pub(crate) fn insert(&mut self, id: Hash, at_ms: i64) {
        self.insert_all(std::iter::once((id, at_ms)));
    }

    /// The identities of records of these times were accepted, one after the other.
    pub(crate) fn insert_all(&mut self, ids: impl IntoIterator<Item = (Hash, i64)>) {
        let mut ids = ids.into_iter().peekable();
        while ids.peek().is_some() {
            let keys = ids.by_ref().take(RESTORED_AT_ONCE).map(|(id, at_ms)| (self.key(&id), at_ms));
            self.identities.inner.lock().insert_all(self.number, keys);
        }
    }

    /// The identity was not accepted after all.
    pub(crate) fn remove(&mut self, id: &Hash) {
        self.identities.inner.lock().remove(self.number, &self.key(id));
    }

    /// How many identities of this partition are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let inner = self.identities.inner.lock();
        inner.partitions[&self.number].buckets.iter().map(|bucket| bucket.ids).sum()
    }

    /// The identity in the table of all partitions: the same event on another partition, or under another lease, is another.
    fn key(&self, id: &Hash) -> Hash {
        let mut key = *id;
        for (byte, salt) in key.iter_mut().zip(self.number.to_be_bytes().iter().cycle()) {
            *byte ^= salt;
        }
        key
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.identities.inner.lock().remove_partition(self.number);
    }
}

// === impl Inner ===

impl Inner {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            table: Table::new(limits.ids),
            partitions: BTreeMap::new(),
            alive: Alive::default(),
            evicted: 0,
            next_partition: 0,
            next_bucket: 0,
        }
    }

    fn add_partition(&mut self) -> u32 {
        let number = self.next_partition;
        self.next_partition = number.wrapping_add(1);
        self.partitions.insert(number, Partition { buckets: VecDeque::new(), newest_ms: i64::MIN });
        number
    }

    fn remove_partition(&mut self, number: u32) {
        let gone = self.partitions.remove(&number);
        for bucket in gone.into_iter().flat_map(|partition| partition.buckets) {
            self.alive.forget(&bucket);
        }
    }

    fn advance(&mut self, number: u32, at_ms: i64) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        partition.newest_ms = partition.newest_ms.max(at_ms);
        let horizon = partition.newest_ms.saturating_sub(self.limits.window_ms);
        while let Some(expired) = partition.buckets.pop_front_if(|bucket| bucket.newest_ms < horizon) {
            self.alive.forget(&expired);
        }
    }

    /// When an identity was accepted, by the time of its partition; none: it is not remembered.
    fn accepted_ms(&self, key: &Hash) -> Option<i64> {
        let stand = self.table.stand_of(key)?;
        let began_ms = self.alive.buckets.get(&stand.bucket)?;
        Some(began_ms.saturating_add(i64::from(stand.after_ms)))
    }

    /// The time of a partition's newest record.
    fn newest_ms(&self, number: u32) -> i64 {
        self.partitions.get(&number).map_or(i64::MIN, |partition| partition.newest_ms)
    }

    fn insert_all(&mut self, number: u32, keys: impl Iterator<Item = (Hash, i64)>) {
        let mut reached_ms = i64::MIN;
        for (key, at_ms) in keys {
            if at_ms > reached_ms {
                self.advance(number, at_ms);
                reached_ms = at_ms;
            }
            let Some(partition) = self.partitions.get_mut(&number) else { return };
            let stand = partition.open_bucket(self.limits, &mut self.next_bucket, &mut self.alive);
            let alive = &self.alive.buckets;
            if let Some(former) = self.table.insert(key, stand, |bucket| alive.contains_key(&bucket)) {
                partition.uncount(former, &mut self.alive);
            }
            while self.alive.ids > self.limits.ids && self.evict_oldest() {}
        }
    }

    fn remove(&mut self, number: u32, key: &Hash) {
        if let Some(bucket) = self.table.remove(key)
            && let Some(partition) = self.partitions.get_mut(&number)
        {
            partition.uncount(bucket, &mut self.alive);
        }
    }

    /// Forgets the oldest bucket of all partitions before its time. False: there is none.
    fn evict_oldest(&mut self) -> bool {
        let oldest = self.partitions.values_mut().filter(|partition| !partition.buckets.is_empty());
        let oldest = oldest.min_by_key(|partition| partition.buckets[0].newest_ms);
        let Some(bucket) = oldest.and_then(|partition| partition.buckets.pop_front()) else { return false };
        self.evicted += bucket.ids as u64;
        self.alive.forget(&bucket);
        true
    }
}

// === impl Alive ===

impl Alive {
    /// A bucket is gone: so are its identities, wherever they stand in the table.
    fn forget(&mut self, bucket: &Bucket) {
        self.buckets.remove(&bucket.number);
        self.ids -= bucket.ids;
    }
}

// === impl Partition ===

impl Partition {
    /// Where an identity of the partition's newest time stands, counted in its bucket. `next`: the number of the next bucket.
    fn open_bucket(&mut self, limits: Limits, next: &mut u32, alive: &mut Alive) -> Stand {
        alive.ids += 1;
        let newest_ms = self.newest_ms;
        if let Some(bucket) = self.buckets.back_mut()
            && newest_ms.saturating_sub(bucket.oldest_ms) < limits.bucket_ms
            && bucket.ids < limits.bucket_ids
        {
            bucket.newest_ms = newest_ms;
            bucket.ids += 1;
            // A part of the longest window there is, 720 hours, is 108 million ms.
            let after_ms = u32::try_from(newest_ms.saturating_sub(bucket.oldest_ms)).unwrap_or(u32::MAX);
            return Stand { bucket: bucket.number, after_ms };
        }
        let number = *next;
        *next = number.wrapping_add(1);
        alive.buckets.insert(number, newest_ms);
        self.buckets.push_back(Bucket { number, oldest_ms: newest_ms, newest_ms, ids: 1 });
        Stand { bucket: number, after_ms: 0 }
    }

    /// An identity has left this bucket, if that is still there.
    fn uncount(&mut self, bucket: u32, alive: &mut Alive) {
        if let Ok(index) = self.buckets.binary_search_by_key(&bucket, |bucket| bucket.number) {
            self.buckets[index].ids -= 1;
            alive.ids -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
