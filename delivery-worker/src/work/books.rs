//! The books of the partitions that are open: lists change when a batch is cut, and stand in it with the progress of their
//! partition.
//!
//! ```text
//! restore: lanes/p --> Book, compared with the claim --open--> corrections? --committed--> its records are taken, its lists served
//! seal: each entry's note changes its book --> each touched lane once --> outputs, and the claim of each part
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka::{Claimed, Epoch, Lease, ListsClaim, ListsRestorer, Output, Ownership, Restored, RestoredLists};
use schemas::ids::SubscriptionId;
use schemas::invariants::Invariant;
use schemas::record::{Headers, Record, TopicPartition};
use schemas::topics::Topics;
use stage::{Batch, Restoring};
use uuid::Uuid;

use crate::book::Book;
use crate::book::restore::{FoundLists, Shelved};
use crate::engine::ListedRecord;
use crate::error::Error;
use crate::flaws::{self, Flaw};
use crate::lanes::condition::LaneCondition;
use crate::lists::Age;

/// What an entry of the outbox does to the lists of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneNote {
    /// Nothing: a record of the window has an outcome.
    Done,
    /// A record of the window waits in a list from now on.
    Listed(ListedRecord),
    /// A listed delivery of this subscription has an outcome.
    Settled(SubscriptionId),
    /// What waits in this subscription's lists is to be swept.
    SetAside(SubscriptionId),
    /// This is to be known of this subscription's lane beside its lists.
    Condition(SubscriptionId, LaneCondition),
    /// The next portion of what a takeover has to correct.
    Correct,
    /// The next portion of what is written once more.
    Checkpoint,
}

/// What a takeover found.
#[derive(Debug)]
pub(crate) struct FoundBook {
    book: Book,
    /// Of the topic its lists stand in.
    topic_id: Uuid,
    /// Offsets of the window that are read again.
    awaited: BTreeSet<i64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Books {
    topics: Topics,
    /// None in tests without Kafka: nothing is found there.
    restorer: Option<ListsRestorer>,
    open: BTreeMap<Epoch, OpenBook>,
}

#[derive(Debug)]
struct OpenBook {
    lease: Lease,
    book: Book,
    topic_id: Uuid,
    awaited: BTreeSet<i64>,
    state: BookState,
    checkpoint: CheckpointState,
}

/// What is under way so that less has to be read of a partition.
#[derive(Clone, Copy, Debug, Default)]
struct CheckpointState {
    /// The end of its lists is asked for.
    is_asked: bool,
    /// A portion is in the outbox.
    is_under_way: bool,
}

/// How far a partition is.
#[derive(Debug)]
enum BookState {
    /// What was found has to be corrected first; records wait.
    Correcting {
        is_under_way: bool,
        held: Vec<Record>,
    },
    /// Nothing is left to correct; its records are taken with the next moment.
    Corrected {
        held: Vec<Record>,
    },
    Begun,
}

// === impl FoundBook ===

impl FoundBook {
    /// A book and the offsets that its window reads again.
    #[cfg(test)]
    pub(crate) fn of(book: Book, awaited: BTreeSet<i64>) -> Self {
        Self { book, topic_id: Uuid::nil(), awaited }
    }
}

// === impl Books ===

impl Books {
    /// No partition is open.
    pub(crate) fn new(topics: Topics, restorer: Option<ListsRestorer>) -> Self {
        Self { topics, restorer, open: BTreeMap::new() }
    }

    /// Names of the topics.
    pub(crate) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Reads the lists of partitions that were taken over, and compares them with what was claimed.
    pub(crate) fn restore(&self, found: Vec<(Restored, i64)>, ownership: Ownership) -> Restoring<FoundBook> {
        let (topic, restorer) = (Arc::clone(&self.topics.lanes), self.restorer.clone());
        Box::pin(async move {
            let Some(restorer) = restorer else {
                let empty = |lease: &Lease| FoundBook {
                    book: Book::new(Arc::clone(&topic), lease.partition.partition),
                    topic_id: Uuid::nil(),
                    awaited: BTreeSet::new(),
                };
                return Ok(found.into_iter().map(|(found, _)| (found.lease.clone(), empty(&found.lease))).collect());
            };
            let all: Vec<Restored> = found.iter().map(|(found, _)| found.clone()).collect();
            let lists = restorer.restore(&all, &ownership).await.map_err(Error::Lists)?;
            let mut books = Vec::with_capacity(lists.len());
            for lists in lists {
                let Some((restored, start)) = found.iter().find(|(found, _)| found.lease == lists.lease) else {
                    continue;
                };
                let lease = lists.lease.clone();
                books.push((lease, book(&topic, lists, restored, *start)?));
            }
            Ok(books)
        })
    }

    /// A lease begins.
    pub(crate) fn open(&mut self, lease: &Lease, found: FoundBook) {
        let FoundBook { book, topic_id, awaited } = found;
        let checkpoint = CheckpointState::default();
        let held = Vec::new();
        let state = if book.needs_correction() {
            BookState::Correcting { is_under_way: false, held }
        } else {
            BookState::Corrected { held }
        };
        self.open.insert(lease.epoch, OpenBook { lease: lease.clone(), book, topic_id, awaited, state, checkpoint });
    }

    /// A lease is over.
    pub(crate) fn close(&mut self, epoch: Epoch) {
        self.open.remove(&epoch);
    }

    /// Keeps records of a partition that has to be corrected first; returns those of any other.
    pub(crate) fn hold(&mut self, lease: &Lease, records: Vec<Record>) -> Option<Vec<Record>> {
        match self.open.get_mut(&lease.epoch).map(|open| &mut open.state) {
            Some(BookState::Correcting { held, .. } | BookState::Corrected { held }) => {
                held.extend(records);
                None
            }
            Some(BookState::Begun) | None => Some(records),
        }
    }

    /// Partitions of which the next portion is to be corrected.
    pub(crate) fn take_uncorrected(&mut self) -> Vec<Epoch> {
        let mut epochs = Vec::new();
        for (epoch, open) in &mut self.open {
            if let BookState::Correcting { is_under_way, .. } = &mut open.state
                && !std::mem::replace(is_under_way, true)
            {
                epochs.push(*epoch);
            }
        }
        epochs
    }

    /// Partitions of `lanes` whose ends are to be asked for.
    pub(crate) fn take_checkpoints_due(&mut self) -> Vec<(Epoch, TopicPartition)> {
        let mut due = Vec::new();
        for (epoch, open) in &mut self.open {
            let is_due = matches!(open.state, BookState::Begun) && open.book.is_checkpoint_due();
            if is_due && !std::mem::replace(&mut open.checkpoint.is_asked, true) {
                let number = open.lease.partition.partition;
                due.push((*epoch, TopicPartition::new(Arc::clone(&self.topics.lanes), number)));
            }
        }
        due
    }

    /// The end that was asked for: everything that counts is written above it.
    pub(crate) fn rewrite_above(&mut self, epoch: Epoch, end: i64) {
        let Some(open) = self.open.get_mut(&epoch) else { return };
        open.checkpoint.is_asked = false;
        open.book.rewrite_above(end);
    }

    /// Partitions of which the next portion is to be written once more.
    pub(crate) fn take_rewrites(&mut self) -> Vec<Epoch> {
        let mut epochs = Vec::new();
        for (epoch, open) in &mut self.open {
            if open.book.is_rewriting() && !std::mem::replace(&mut open.checkpoint.is_under_way, true) {
                epochs.push(*epoch);
            }
        }
        epochs
    }

    /// Partitions that begin now, with their lists and the records that waited.
    pub(crate) fn take_corrected(&mut self) -> Vec<(Lease, Vec<Record>)> {
        let mut begun = Vec::new();
        for open in self.open.values_mut() {
            if let BookState::Corrected { held } = &mut open.state {
                begun.push((open.lease.clone(), std::mem::take(held)));
                open.state = BookState::Begun;
            }
        }
        begun
    }

    /// Offsets of a lease's window that are read again; once.
    pub(crate) fn take_awaited(&mut self, epoch: Epoch) -> BTreeSet<i64> {
        self.open.get_mut(&epoch).map(|open| std::mem::take(&mut open.awaited)).unwrap_or_default()
    }

    /// The book of a lease.
    pub(crate) fn of(&self, epoch: Epoch) -> Option<&Book> {
        self.open.get(&epoch).map(|open| &open.book)
    }

    /// The lease of an epoch, while it is open.
    pub(crate) fn lease(&self, epoch: Epoch) -> Option<&Lease> {
        self.open.get(&epoch).map(|open| &open.lease)
    }

    /// See [`stage::Work::seal`].
    pub(crate) fn seal(&mut self, batch: &Batch<LaneNote>, outputs: &mut Vec<Output>) -> Vec<Claimed> {
        for part in batch.parts() {
            if let Some(open) = self.open.get_mut(&part.lease.epoch) {
                open.book.begin();
            }
        }
        for entry in batch.entries() {
            let Some(open) = self.open.get_mut(&entry.epoch) else { continue };
            open.apply(&entry.note, (entry.offset, entry.timestamp_ms));
        }
        let mut claims = Vec::with_capacity(batch.parts().len());
        for (index, part) in batch.parts().iter().enumerate() {
            let Some(open) = self.open.get_mut(&part.lease.epoch) else {
                claims.push(Claimed::AsFound);
                continue;
            };
            outputs.extend(open.book.encode().into_iter().map(|record| Output { lease: index, record }));
            claims.push(open.claim());
        }
        claims
    }

    /// See [`stage::Work::unsealed`].
    pub(crate) fn unsealed(&mut self, batch: &Batch<LaneNote>) {
        for part in batch.parts() {
            if let Some(open) = self.open.get_mut(&part.lease.epoch) {
                open.book.undo();
            }
        }
    }

    /// The batch that was sealed last is committed.
    pub(crate) fn committed(&mut self) {
        for open in self.open.values_mut() {
            open.checkpoint.is_under_way &= !open.book.has_portion();
            open.book.keep();
            if let BookState::Correcting { is_under_way, held } = &mut open.state {
                if open.book.needs_correction() {
                    *is_under_way = false;
                } else {
                    open.state = BookState::Corrected { held: std::mem::take(held) };
                }
            }
        }
    }

    /// Partitions of `deliveries` that are open, ascending.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        let mut partitions: Vec<i32> = self.open.values().map(|open| open.lease.partition.partition).collect();
        partitions.sort_unstable();
        partitions
    }

    /// Deliveries that wait in lists.
    pub(crate) fn queued(&self) -> usize {
        let queued: u64 = self.open.values().map(|open| open.book.total().queued).sum();
        usize::try_from(queued).unwrap_or(usize::MAX)
    }

    /// Kafka's time of nothing that waits is older, Unix ms.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.open.values().filter_map(|open| open.book.oldest_ms()).min()
    }
}

// === impl OpenBook ===

impl OpenBook {
    fn apply(&mut self, note: &LaneNote, (offset, timestamp_ms): (i64, i64)) {
        match *note {
            LaneNote::Done => {}
            LaneNote::Listed(_) if flaws::has(Flaw::CompletedWithoutEntry) => {}
            LaneNote::Listed(ListedRecord { subscription, role, deadline_ms, .. }) => {
                let age = Age { oldest_ms: timestamp_ms, dead_ms: deadline_ms };
                if !self.book.list(subscription, role, offset, age) {
                    tracing::error!(lease = %self.lease, offset, "a delivery was listed twice");
                }
            }
            LaneNote::Settled(subscription) => {
                if !self.book.settle(subscription, offset, timestamp_ms) {
                    Invariant::OneTerminalState.violated();
                    tracing::error!(lease = %self.lease, offset, "an outcome of a delivery that was not listed");
                }
            }
            LaneNote::SetAside(subscription) => self.book.set_aside(subscription),
            LaneNote::Condition(subscription, condition) => self.book.set_condition(subscription, condition),
            LaneNote::Correct => self.correct(),
            LaneNote::Checkpoint => self.book.rewrite(),
        }
    }

    fn correct(&mut self) {
        let lost = self.book.correct();
        if !lost.is_empty() {
            Invariant::NeverLost.violated();
            tracing::error!(
                lease = %self.lease,
                lost = lost.len(),
                first = lost[0],
                "retention deleted deliveries that waited in lists"
            );
        }
    }

    fn claim(&self) -> Claimed {
        let (topic_id, from) = (self.topic_id, self.book.read_from());
        match self.book.claim() {
            None => Claimed::AsFound,
            Some(total) => Claimed::Lists(ListsClaim { queued: total.queued, sum: total.sum, topic_id, from }),
        }
    }
}

/// The book of what was read of one partition.
fn book(topic: &Arc<str>, lists: RestoredLists, restored: &Restored, start: i64) -> Result<FoundBook, Error> {
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
