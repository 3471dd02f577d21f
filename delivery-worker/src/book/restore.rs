//! What a takeover finds on `lanes` becomes a book, and is compared with what the previous owner claimed.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka::{Restored, RestoredLists};
use schemas::ids::SubscriptionId;
use schemas::lanes::{ChunkKey, ChunkRecord, LaneError, LaneKey, LaneRecord};
use schemas::record::{Headers, Record};
use thiserror::Error;

use super::correct::Correction;
use super::{Book, Shelf, Total};
use crate::lanes::condition::LaneCondition;
use crate::lists::List;

/// What stands on a partition of `lanes`: the last value of each key.
#[derive(Debug, Default)]
pub(crate) struct Shelved {
    lanes: BTreeMap<SubscriptionId, LaneRecord>,
    chunks: BTreeMap<ChunkKey, ChunkRecord>,
}

/// What a takeover knows beside the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoundLists {
    /// What the previous owner claimed, if it did.
    pub(crate) claimed: Option<Total>,
    /// Where reading of `deliveries` begins.
    pub(crate) start: i64,
    /// The first offset of `deliveries` that is there.
    pub(crate) log_start: i64,
    /// `deliveries` was deleted and created anew.
    pub(crate) is_recreated: bool,
}

/// Why the lists of a partition cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BookError {
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] LaneError),
    /// The records do not make one list.
    #[error(
        "list {list} of {subscription} does not agree with its chunks: `lanes` was cut, emptied or written by another"
    )]
    Torn {
        /// Whose.
        subscription: SubscriptionId,
        /// Which.
        list: u32,
    },
    /// They are not what was claimed.
    #[error(
        "`lanes` holds {found} entries (sum {found_sum:016x}) where the commit metadata of `deliveries` claim {claimed} \
         (sum {claimed_sum:016x}): it was cut, recreated or mirrored; `hookbus lanes accept` goes on with what it holds"
    )]
    Claim {
        /// Entries read.
        found: u64,
        /// Their sum.
        found_sum: u64,
        /// Entries claimed.
        claimed: u64,
        /// Their sum.
        claimed_sum: u64,
    },
}

// === impl FoundLists ===

impl FoundLists {
    /// From what the stage's takeover has found.
    pub(crate) fn of(found: &Restored, start: i64) -> Self {
        let claimed = found.lists.map(|claim| Total { queued: claim.queued, sum: claim.sum });
        Self { claimed, start, log_start: found.log_start, is_recreated: found.recreated }
    }
}

// === impl Shelved ===

impl Shelved {
    /// What was read of a partition.
    ///
    /// # Errors
    /// A key or a value that this release does not read.
    pub(crate) fn of(lists: &RestoredLists) -> Result<Self, LaneError> {
        // One record per key: their order says nothing but which error is told.
        let mut kept: Vec<_> = lists.records.iter().collect();
        kept.sort_unstable_by_key(|(_, kept)| kept.offset);
        let mut shelved = Self::default();
        for (key, kept) in kept {
            let (key, value, headers) = (Some(key.clone()), Some(kept.value.clone()), Headers::default());
            shelved.read(&Record { offset: kept.offset, timestamp_ms: 0, key, value, headers })?;
        }
        Ok(shelved)
    }

    /// One more record, in the order of the topic.
    ///
    /// # Errors
    /// A key or a value that this release does not read.
    pub(crate) fn read(&mut self, record: &Record) -> Result<(), LaneError> {
        let key = LaneKey::decode(record.key.as_deref())?;
        match (key, record.value.as_deref()) {
            (LaneKey::Lane(id), Some(value)) => drop(self.lanes.insert(id, LaneRecord::decode(key, value)?)),
            (LaneKey::Lane(id), None) => drop(self.lanes.remove(&id)),
            (LaneKey::Chunk(id), Some(value)) => drop(self.chunks.insert(id, ChunkRecord::decode(key, value)?)),
            (LaneKey::Chunk(id), None) => drop(self.chunks.remove(&id)),
        }
        Ok(())
    }

    /// The book that these records are.
    ///
    /// # Errors
    /// Records that do not agree with each other or with what was claimed.
    pub(crate) fn book(mut self, topic: Arc<str>, partition: i32, known: FoundLists) -> Result<Book, BookError> {
        let mut book = Book::new(topic, partition);
        for (subscription, record) in std::mem::take(&mut self.lanes) {
            let (lists, condition) = (Vec::with_capacity(record.lists.len()), LaneCondition::of(&record));
            let written = LaneKey::Lane(subscription).record(&book.topic, partition, Some(record.encode())).size();
            let held_keys = record.held_keys.iter().map(|held| (held.key, held.clone())).collect();
            let (reviewed_of, superseded) = (record.reviewed_of, record.superseded);
            let mut lane = Shelf { lists, reviewed_of, condition, held_keys, superseded, written };
            book.checkpoint.replaced(0, written);
            for of in &record.lists {
                let torn = BookError::Torn { subscription, list: of.id };
                let key = |number| ChunkKey { subscription, list: of.id, number };
                let named: Vec<ChunkKey> = if of.chunks.0 < of.chunks.1 {
                    self.chunks.range(key(of.chunks.0)..key(of.chunks.1)).map(|(key, _)| *key).collect()
                } else {
                    Vec::new()
                };
                let chunks = named.into_iter().filter_map(|key| Some((key.number, self.chunks.remove(&key)?)));
                let list = List::restore(of, chunks.collect());
                lane.lists.push(list.ok_or(torn)?);
            }
            lane.lists.iter().flat_map(List::offsets).for_each(|offset| book.total.add(offset));
            book.checkpoint.replaced(0, lane.lists.iter().map(List::chunk_bytes).sum());
            book.lanes.insert(subscription, lane);
        }
        if let Some(ChunkKey { subscription, list, .. }) = self.chunks.keys().next().copied() {
            return Err(BookError::Torn { subscription, list });
        }
        if let Some(claimed) = known.claimed.filter(|claimed| *claimed != book.total && !known.is_recreated) {
            let Total { queued: found, sum: found_sum } = book.total;
            let Total { queued: claimed, sum: claimed_sum } = claimed;
            return Err(BookError::Claim { found, found_sum, claimed, claimed_sum });
        }
        book.correction = Correction::of(&book, known);
        Ok(book)
    }
}
