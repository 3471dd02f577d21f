//! The identities of all partitions in one table, whose size follows from the budget. Pure.
//!
//! A hash table doubles when it is full, and while it does, both halves of the truth are in memory: three times what is
//! needed. So the table is many small ones, and there are as many of them as are full when the budget is spent: each doubles
//! alone, and at the budget all have the same size. What is forgotten is not looked for: a full shard throws it out before
//! it takes the next identity. Forgetting a bucket of a million identities costs nothing, and an insert sweeps about seven.

use std::hash::BuildHasher as _;

use hashbrown::hash_table::Entry as Found;
use hashbrown::{DefaultHashBuilder, HashTable};
use schemas::seen::Hash;

/// Entries of a full shard: 7/8 of 65,536 places. Of smaller ones each look-up would meet another page of memory, in a table
/// that is nearly empty too; a larger one would be swept for longer than everybody can wait.
const SHARD_FULL: usize = 57_344;
/// Identities of the budget per shard: an eighth below what it takes, so that chance fills none and a sweep frees enough.
const SHARD_IDS: usize = 50_000;

/// Identities, each with where it stands.
#[derive(Debug)]
pub(super) struct Table {
    hasher: DefaultHashBuilder,
    shards: Box<[HashTable<Entry>]>,
    /// An empty table of a full shard's size, once there was one.
    spare: HashTable<Entry>,
}

/// Where an identity stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    /// The number of its bucket.
    pub(super) bucket: u32,
    /// How long after its bucket began it was accepted, ms.
    pub(super) after_ms: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Hash,
    stand: Stand,
}

// === impl Table ===

impl Table {
    /// An empty table for so many identities. It takes memory as it is filled.
    pub(super) fn new(budget: usize) -> Self {
        let shards = (0..budget.div_ceil(SHARD_IDS).max(1)).map(|_| HashTable::new());
        Self { hasher: DefaultHashBuilder::default(), shards: shards.collect(), spare: HashTable::new() }
    }

    /// Where an identity stands, forgotten or not.
    pub(super) fn stand_of(&self, key: &Hash) -> Option<Stand> {
        let hash = self.hasher.hash_one(key);
        self.shards[self.shard(hash)].find(hash, |entry| entry.key == *key).map(|entry| entry.stand)
    }

    /// Puts an identity where it stands from now on; the bucket it stood in before, forgotten or not.
    pub(super) fn insert(&mut self, key: Hash, stand: Stand, is_alive: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let at = self.shard(hash);
        if self.shards[at].len() == self.shards[at].capacity() {
            self.sweep(at, is_alive);
        }
        match self.shards[at].entry(hash, |entry| entry.key == key, |entry| self.hasher.hash_one(entry.key)) {
            Found::Occupied(mut known) => Some(std::mem::replace(&mut known.get_mut().stand, stand).bucket),
            Found::Vacant(place) => {
                place.insert(Entry { key, stand });
                None
            }
        }
    }

    /// Takes an identity out; the bucket it stood in.
    pub(super) fn remove(&mut self, key: &Hash) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let at = self.shard(hash);
        let found = self.shards[at].find_entry(hash, |entry| entry.key == *key);
        found.ok().map(|entry| entry.remove().0.stand.bucket)
    }

    /// Bytes of all shards.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().chain([&self.spare]).map(HashTable::allocation_size).sum()
    }

    /// Throws out of a shard what is forgotten, and lets it grow if that is not enough.
    ///
    /// What stays moves to another table: in place, the gaps would count as taken until the shard has grown.
    fn sweep(&mut self, at: usize, is_alive: impl Fn(u32) -> bool) {
        let shard = &mut self.shards[at];
        let full = shard.capacity();
        shard.retain(|entry| is_alive(entry.stand.bucket));
        let alive = shard.len();
        // At its full size it stays as long as sweeping frees anything worth it, else as long as it frees a quarter.
        let is_full_size = full > SHARD_FULL / 16 * 15;
        let is_crowded = if is_full_size { alive * 64 > full * 63 } else { alive * 4 >= full * 3 };
        let wanted = if is_crowded { full + 1 } else { full };
        let mut next = if self.spare.capacity() >= wanted && is_full_size {
            std::mem::take(&mut self.spare)
        } else {
            HashTable::with_capacity(wanted)
        };
        for entry in shard.drain() {
            let hash = self.hasher.hash_one(entry.key);
            next.insert_unique(hash, entry, |entry| self.hasher.hash_one(entry.key));
        }
        let former = std::mem::replace(shard, next);
        if is_full_size && !is_crowded {
            self.spare = former;
        }
    }

    /// A shard is chosen by other bits than the place in it.
    fn shard(&self, hash: u64) -> usize {
        let part = (hash >> 16) & u64::from(u32::MAX);
        usize::try_from((part * self.shards.len() as u64) >> 32).expect("less than the number of shards")
    }
}
