//! One transaction's worth of moves. Pure.
//!
//! It remembers which outputs came from which record, so that a record Kafka can never take elsewhere goes to `rejected`
//! and the rest moves on.

use kafka::{Lease, Output, Progress, Transaction};
use schemas::record::{Headers, OutRecord, Record};
use schemas::rejected::RejectReason;
use schemas::topics::Topics;

use crate::due::Waiting;
use crate::error::Error;
use crate::promote::{self, Move, Place, Promoter};
use crate::wait::Lines;

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Records.
    pub(crate) records: usize,
    /// Bytes.
    pub(crate) bytes: usize,
}

/// One partition's part.
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
}

/// One moved record.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Index of its slot.
    pub(crate) slot: usize,
    /// Where it went.
    pub(crate) moved: Move,
    /// When it could have moved, Unix ms; none for what is no delivery.
    pub(crate) ready_ms: Option<i64>,
    record: Record,
    outputs: usize,
    refusals: u8,
}

/// What moves together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    slots: Vec<Slot>,
    entries: Vec<Entry>,
    outputs: Vec<Output>,
    bytes: usize,
}

// === impl Batch ===

impl Batch {
    /// Takes what is ready, the longest ready first, until it is full.
    pub(crate) fn fill(lines: &mut Lines, promoter: &mut Promoter, limits: BatchLimits, now_ms: i64) -> Self {
        let mut batch = Self::default();
        let mut outputs = Vec::new();
        while batch.entries.len() < limits.records
            && batch.bytes < limits.bytes
            && let Some((lease, waiting)) = lines.take(now_ms)
        {
            let moved = promoter.promote(&waiting, &lease.partition, now_ms, &mut outputs);
            batch.add(lease, waiting, moved, &mut outputs);
        }
        batch
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Its slots, one per lease.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Its records, in order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The transaction. The outputs are moved; [`Batch::refuse`] takes them back.
    pub(crate) fn transaction(&mut self) -> Transaction {
        let progress = |slot: &Slot| Progress {
            lease: slot.lease.clone(),
            committed: slot.next_offset,
            read_up_to: slot.next_offset,
            not_done: Vec::new(),
        };
        let progress = self.slots.iter().map(progress).collect();
        Transaction { outputs: std::mem::take(&mut self.outputs), progress }
    }

    /// The first output of the record that output `index` belongs to.
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

    /// Kafka can never take output `index`: its record goes to `rejected` instead.
    pub(crate) fn refuse(
        &mut self,
        transaction: Transaction,
        index: usize,
        reason: &str,
        topics: &Topics,
        now_ms: i64,
    ) -> Result<(), Error> {
        self.outputs = transaction.outputs;
        let mut first = 0;
        let at = self.entries.iter().position(|entry| {
            first += entry.outputs;
            index < first
        });
        let entry = &mut self.entries[at.expect("every output belongs to a record")];
        first -= entry.outputs;
        let slot = entry.slot;
        let partition = &self.slots[slot].lease.partition;
        let bare = Record { key: None, value: None, headers: Headers::default(), ..entry.record.clone() };
        let record = match entry.refusals {
            0 => &entry.record,
            1 => &bare,
            _ => {
                let (partition, offset) = (partition.clone(), bare.offset);
                return Err(Error::Unwritable { partition, offset, reason: reason.to_owned() });
            }
        };
        let mut records = Vec::with_capacity(2);
        let place = Place { record, partition, now_ms };
        promote::reject(topics, place, RejectReason::Unwritable, reason, &mut records);
        let range = first..first + entry.outputs;
        entry.refusals += 1;
        entry.moved = Move::Rejected;
        entry.outputs = records.len();
        self.outputs.splice(range, records.into_iter().map(|record| Output { lease: slot, record }));
        Ok(())
    }

    fn add(&mut self, lease: Lease, waiting: Waiting, moved: Move, outputs: &mut Vec<OutRecord>) {
        let Waiting { record, ready_ms, what } = waiting;
        let slot = self.slot(lease);
        let part = &mut self.slots[slot];
        let size = record.size();
        part.next_offset = record.offset + 1;
        part.records += 1;
        part.bytes += size;
        self.bytes += size;
        let ready_ms = what.is_ok().then_some(ready_ms);
        self.entries.push(Entry { slot, moved, ready_ms, record, outputs: outputs.len(), refusals: 0 });
        self.outputs.extend(outputs.drain(..).map(|record| Output { lease: slot, record }));
    }

    fn slot(&mut self, lease: Lease) -> usize {
        if let Some(index) = self.slots.iter().position(|slot| slot.lease == lease) {
            return index;
        }
        self.slots.push(Slot { lease, next_offset: 0, records: 0, bytes: 0 });
        self.slots.len() - 1
    }
}

#[cfg(test)]
mod tests;
