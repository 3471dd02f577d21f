//! What one transaction will hold, event by event. Pure.
//!
//! An event is never split over two batches. The batch remembers which outputs came from which record, so that an event
//! whose output Kafka can never take is replaced by its rejection and the rest goes on; and which lease they belong to, so
//! that what was revoked is taken out.

use kafka::{Lease, Output, Progress, Transaction};
use schemas::record::{OutRecord, Record};
use schemas::rejected::RejectReason;
use schemas::seen::{self, Hash};

use crate::error::Error;
use crate::expand::{Expander, Place};
use crate::sources::Rejection;

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Outputs.
    pub(crate) records: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An event for this many subscriptions.
    Matched(usize),
    /// An identity that was seen before.
    Repeat,
    /// No event.
    Rejected(RejectReason),
}

/// One partition's part of a batch.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Whose.
    pub(crate) lease: Lease,
    /// The offset to commit.
    pub(crate) next_offset: i64,
    /// Records in it, for the poller's credit.
    pub(crate) records: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// Identities accepted in it.
    ids: Vec<Hash>,
    /// Time of the newest of them, Unix ms.
    newest_ms: i64,
}

/// One record of a batch.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Index of its slot.
    pub(crate) slot: usize,
    /// What became of it.
    pub(crate) verdict: Verdict,
    record: Record,
    outputs: usize,
    id: Option<Hash>,
    refusals: u8,
}

/// A batch that is being filled or committed.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    slots: Vec<Slot>,
    entries: Vec<Entry>,
    outputs: Vec<Output>,
    bytes: usize,
}

// === impl Slot ===

impl Slot {
    fn accept(&mut self, id: Hash, at_ms: i64) {
        self.ids.push(id);
        self.newest_ms = self.newest_ms.max(at_ms);
    }
}

// === impl Batch ===

impl Batch {
    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it closes before the next event.
    pub(crate) fn is_full(&self, limits: BatchLimits) -> bool {
        self.outputs.len() >= limits.records || self.bytes >= limits.bytes
    }

    /// To which part of its limits it is filled, about; above 1 where one event has more.
    pub(crate) fn filled(&self, limits: BatchLimits) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rough share; both are far below 2^53")]
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        share(self.outputs.len(), limits.records).max(share(self.bytes, limits.bytes))
    }

    /// Outputs of its events, `seen` records not counted.
    pub(crate) fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Its slots, one per lease.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Its records, in order of planning.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Kafka's time of the oldest record in it, if any.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.entries.iter().map(|entry| entry.record.timestamp_ms).min()
    }

    /// The slot of a lease, opened if it is the first record of it.
    pub(crate) fn slot(&mut self, lease: &Lease) -> usize {
        if let Some(index) = self.slots.iter().position(|slot| slot.lease == *lease) {
            return index;
        }
        self.slots.push(Slot {
            lease: lease.clone(),
            next_offset: 0,
            records: 0,
            bytes: 0,
            ids: Vec::new(),
            newest_ms: i64::MIN,
        });
        self.slots.len() - 1
    }

    /// Adds a record with everything that became of it. `id`: the identity it adds to `seen`, with its time.
    pub(crate) fn add(
        &mut self,
        slot: usize,
        record: Record,
        verdict: Verdict,
        id: Option<(Hash, i64)>,
        outputs: &mut Vec<OutRecord>,
    ) {
        let part = &mut self.slots[slot];
        debug_assert!(part.records == 0 || part.next_offset <= record.offset, "offsets of a partition ascend");
        part.next_offset = record.offset + 1;
        part.records += 1;
        part.bytes += record.size();
        if let Some((id, at_ms)) = id {
            part.accept(id, at_ms);
        }
        let id = id.map(|(id, _)| id);
        self.entries.push(Entry { slot, verdict, record, outputs: outputs.len(), id, refusals: 0 });
        self.bytes += outputs.iter().map(OutRecord::size).sum::<usize>();
        self.outputs.extend(outputs.drain(..).map(|record| Output { lease: slot, record }));
    }

    /// Takes out everything of a lease that is over.
    pub(crate) fn forget(&mut self, lease: &Lease) {
        let Some(gone) = self.slots.iter().position(|slot| slot.lease == *lease) else { return };
        self.slots.remove(gone);
        let stays = |slot: &mut usize| {
            let is_gone = *slot == gone;
            *slot -= usize::from(*slot > gone);
            !is_gone
        };
        self.entries.retain_mut(|entry| stays(&mut entry.slot));
        self.outputs.retain_mut(|output| stays(&mut output.lease));
    }

    /// The transaction: outputs, one `seen` record per lease that accepted something, and the offsets.
    /// The outputs are moved; [`Batch::refuse`] takes them back.
    pub(crate) fn transaction(&mut self, expander: &Expander, seen_partitions: i32) -> Transaction {
        let mut outputs = std::mem::take(&mut self.outputs);
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| !slot.ids.is_empty()) {
            let from = &slot.lease.partition;
            let partition = seen::partition(from, seen_partitions);
            let record = expander.seen(from, partition, &slot.ids, slot.newest_ms);
            outputs.push(Output { lease: index, record });
        }
        let progress = |slot: &Slot| Progress {
            lease: slot.lease.clone(),
            committed: slot.next_offset,
            read_up_to: slot.next_offset,
            not_done: Vec::new(),
        };
        Transaction { outputs, progress: self.slots.iter().map(progress).collect() }
    }

    /// The first output of the event that output `index` of the transaction belongs to.
    pub(crate) fn first_output(&self, index: usize) -> usize {
        let mut first = 0;
        for entry in &self.entries {
            if index < first + entry.outputs {
                break;
            }
            first += entry.outputs;
        }
        first
    }

    /// Kafka can never take output `index` of the transaction: its event goes to `rejected` instead. Returns the identity
    /// that was not accepted after all, with its lease.
    pub(crate) fn refuse(
        &mut self,
        transaction: Transaction,
        index: usize,
        reason: &str,
        expander: &Expander,
        now_ms: i64,
    ) -> Result<Option<(Lease, Hash)>, Error> {
        self.outputs = transaction.outputs;
        self.outputs.truncate(self.entries.iter().map(|entry| entry.outputs).sum());
        let mut first = 0;
        let hit = self.entries.iter_mut().find(|entry| {
            first += entry.outputs;
            index < first
        });
        let Some(entry) = hit else { return Err(self.unwritable(None, reason)) };
        first -= entry.outputs;
        let slot = &mut self.slots[entry.slot];
        let place = Place { record: &entry.record, partition: &slot.lease.partition, now_ms };
        let mut records = Vec::with_capacity(2);
        match entry.refusals {
            0 => {
                let rejection = Rejection::new(RejectReason::Unwritable, reason.to_owned());
                expander.rejection(place, &rejection, &mut records);
            }
            1 => expander.bare_rejection(place, reason, &mut records),
            _ => {
                let offset = entry.record.offset;
                return Err(self.unwritable(Some((index, offset)), reason));
            }
        }
        entry.refusals += 1;
        entry.verdict = Verdict::Rejected(RejectReason::Unwritable);
        let lease = entry.slot;
        let range = first..first + entry.outputs;
        entry.outputs = records.len();
        let id = entry.id.take();
        if let Some(id) = &id {
            slot.ids.retain(|own| own != id);
        }
        let id = id.map(|id| (slot.lease.clone(), id));
        self.outputs.splice(range, records.into_iter().map(|record| Output { lease, record }));
        Ok(id)
    }

    /// Empties it and keeps its room.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.entries.clear();
        self.outputs.clear();
        self.bytes = 0;
    }

    fn unwritable(&self, at: Option<(usize, i64)>, reason: &str) -> Error {
        let slot = at.and_then(|(index, _)| self.outputs.get(index)).map_or(0, |output| output.lease);
        Error::Unwritable {
            partition: self.slots[slot].lease.partition.clone(),
            offset: at.map_or(self.slots[slot].next_offset - 1, |(_, offset)| offset),
            reason: reason.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
