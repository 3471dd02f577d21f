//! The books of the partitions that are open: lists change when a batch is cut, and stand in it with the progress of their
//! partition.
//!
//! ```text
//! restore: lanes/p --> Book, compared with the claim --open--> corrections? --committed--> its records are taken, its lists served
//! seal: each entry's note changes its book --> each touched lane once --> outputs, and the claim of each part
//! ```

mod found;
mod note;
mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka::{Claimed, Epoch, Lease, ListsRestorer, Output, Ownership, ReadingWatch, Restored};
use schemas::ids::SubscriptionId;
use schemas::record::{Record, TopicPartition};
use schemas::topics::Topics;
use stage::{Batch, Restoring};
use uuid::Uuid;

pub(crate) use self::found::{AcceptedLists, FoundBook};
pub(crate) use self::note::{LaneNote, SupersededPlace};
use self::open::{BookState, OpenBook};
use crate::book::Book;
use crate::error::Error;
use crate::lists::Age;

/// See the module.
#[derive(Debug)]
pub(crate) struct Books {
    topics: Topics,
    /// None in tests without Kafka: nothing is found there.
    restorer: Option<ListsRestorer>,
    /// Partitions whose lists a person goes on with though something else was claimed.
    accepted: Arc<BTreeMap<i32, AcceptedLists>>,
    open: BTreeMap<Epoch, OpenBook>,
}

// === impl Books ===

impl Books {
    /// No partition is open.
    pub(crate) fn new(topics: Topics, restorer: Option<ListsRestorer>) -> Self {
        Self { topics, restorer, accepted: Arc::default(), open: BTreeMap::new() }
    }

    /// Lists of these partitions are gone on with, whatever was claimed.
    pub(crate) fn accepting(self, accepted: BTreeMap<i32, AcceptedLists>) -> Self {
        Self { accepted: Arc::new(accepted), ..self }
    }

    /// Names of the topics.
    pub(crate) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Reads the lists of partitions that were taken over, and compares them with what was claimed.
    pub(crate) fn restore(
        &self,
        found: Vec<(Restored, i64)>,
        ownership: Ownership,
        watch: ReadingWatch,
    ) -> Restoring<FoundBook> {
        let (topic, restorer) = (Arc::clone(&self.topics.lanes), self.restorer.clone());
        let accepted = Arc::clone(&self.accepted);
        Box::pin(async move {
            let Some(restorer) = restorer else {
                let empty = |lease: &Lease| FoundBook {
                    book: Book::new(Arc::clone(&topic), lease.partition.partition),
                    topic_id: Uuid::nil(),
                    awaited: BTreeSet::new(),
                    listed_again: Vec::new(),
                };
                return Ok(found.into_iter().map(|(found, _)| (found.lease.clone(), empty(&found.lease))).collect());
            };
            let all: Vec<Restored> = found.iter().map(|(found, _)| found.clone()).collect();
            let lists = restorer.restore(&all, &ownership, &watch).await.map_err(Error::Lists)?;
            let mut books = Vec::with_capacity(lists.len());
            for lists in lists {
                let Some((restored, start)) = found.iter().find(|(found, _)| found.lease == lists.lease) else {
                    continue;
                };
                let lease = lists.lease.clone();
                let accepted = accepted.get(&lease.partition.partition).copied();
                books.push((lease, found::book(&topic, &lists, (restored, *start), accepted)?));
            }
            Ok(books)
        })
    }

    /// A lease begins.
    pub(crate) fn open(&mut self, lease: &Lease, found: FoundBook) {
        self.open.insert(lease.epoch, OpenBook::new(lease.clone(), found));
    }

    /// A lease goes: what has not begun of its lists is its next owner's.
    pub(crate) fn end(&mut self, epoch: Epoch) {
        if let Some(open) = self.open.get_mut(&epoch) {
            open.is_ending = true;
        }
    }

    /// All that are open.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.open.values().map(|open| open.lease.clone()).collect()
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
        for (epoch, open) in self.going_on() {
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
        let topic = Arc::clone(&self.topics.lanes);
        for (epoch, open) in self.going_on() {
            let is_due = open.is_served() && open.book.is_checkpoint_due();
            if is_due && !std::mem::replace(&mut open.checkpoint.is_asked, true) {
                let number = open.lease.partition.partition;
                due.push((*epoch, TopicPartition::new(Arc::clone(&topic), number)));
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
        for (epoch, open) in self.going_on() {
            if open.book.is_rewriting() && !std::mem::replace(&mut open.checkpoint.is_under_way, true) {
                epochs.push(*epoch);
            }
        }
        epochs
    }

    /// Listed deliveries that may have died of age, to be told of, see [`Book::take_aged`].
    pub(crate) fn take_aged(&mut self, wall_ms: i64, keep_ms: Option<i64>) -> Vec<(Epoch, SubscriptionId, i64)> {
        let mut aged = Vec::new();
        for (epoch, open) in self.going_on().filter(|(_, open)| open.is_served()) {
            let of = open.book.take_aged(wall_ms, keep_ms);
            aged.extend(of.into_iter().map(|(subscription, offset)| (*epoch, subscription, offset)));
        }
        aged
    }

    /// One of them lives and is so old, or it leaves.
    pub(crate) fn age_told(&mut self, epoch: Epoch, offset: i64, living: Option<Age>) {
        if let Some(open) = self.open.get_mut(&epoch) {
            open.book.age_told(offset, living);
        }
    }

    /// When ages are looked at next though nothing happens, Unix ms.
    pub(crate) fn next_age_look_ms(&self) -> Option<i64> {
        let going_on = self.open.values().filter(|open| open.is_served());
        going_on.filter_map(|open| open.book.next_age_look_ms()).min()
    }

    /// Those that do not go to another owner.
    fn going_on(&mut self) -> impl Iterator<Item = (&Epoch, &mut OpenBook)> {
        self.open.iter_mut().filter(|(_, open)| !open.is_ending)
    }

    /// Partitions that begin now, with their lists and the records that waited.
    pub(crate) fn take_corrected(&mut self) -> Vec<(Lease, Vec<Record>)> {
        let mut begun = Vec::new();
        for (_, open) in self.going_on() {
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

    /// What is listed and read again all the same, and so leaves the lists; once.
    pub(crate) fn take_listed_again(&mut self, epoch: Epoch) -> Vec<(SubscriptionId, i64)> {
        self.open.get_mut(&epoch).map(|open| std::mem::take(&mut open.listed_again)).unwrap_or_default()
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
