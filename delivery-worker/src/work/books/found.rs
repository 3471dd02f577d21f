//! What a takeover finds of the lists of a partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka::{Restored, RestoredLists};
use schemas::record::{Headers, Record};
use uuid::Uuid;

use crate::book::Book;
use crate::book::restore::{FoundLists, Shelved};
use crate::error::Error;

/// What a takeover found.
#[derive(Debug)]
pub(crate) struct FoundBook {
    pub(super) book: Book,
    /// Of the topic its lists stand in.
    pub(super) topic_id: Uuid,
    /// Offsets of the window that are read again.
    pub(super) awaited: BTreeSet<i64>,
}

// === impl FoundBook ===

impl FoundBook {
    /// A book and the offsets that its window reads again.
    #[cfg(test)]
    pub(crate) fn of(book: Book, awaited: BTreeSet<i64>) -> Self {
        Self { book, topic_id: Uuid::nil(), awaited }
    }
}

/// The book of what was read of one partition.
pub(super) fn book(
    topic: &Arc<str>,
    lists: RestoredLists,
    restored: &Restored,
    start: i64,
) -> Result<FoundBook, Error> {
    let partition = lists.lease.partition.clone();
    let torn = |source| Error::Book { partition: partition.clone(), source };
    let mut shelved = Shelved::default();
    // One record per key: their order says nothing.
    let mut kept: Vec<_> = lists.records.into_iter().collect();
    kept.sort_unstable_by_key(|(_, kept)| kept.offset);
    for (key, kept) in kept {
        let (key, value, headers) = (Some(key), Some(kept.value), Headers::default());
        let record = Record { offset: kept.offset, timestamp_ms: 0, key, value, headers };
        shelved.read(&record).map_err(|error| torn(error.into()))?;
    }
    let found = FoundLists::of(restored, start);
    let mut book = shelved.book(Arc::clone(topic), partition.partition, found).map_err(torn)?;
    book.set_read(lists.from, lists.bytes);
    let is_awaited = |offset: &i64| *offset >= start && !restored.recreated;
    let awaited = restored.not_done.iter().copied().filter(is_awaited).collect();
    Ok(FoundBook { book, topic_id: lists.topic_id, awaited })
}
