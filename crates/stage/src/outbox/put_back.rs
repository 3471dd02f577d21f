//! A batch that did not get through comes back: what was refused is replaced, what was too much goes in smaller batches.

use std::collections::VecDeque;

use kafka::Transaction;
use schemas::record::OutRecord;

use super::{Batch, Entry, Outbox, Part, unassigned};
use crate::error::StageError;
use crate::work::{Now, Refusal, Refused, Work};

/// A batch is never made smaller than this by slowness, bytes: below it the cluster is away, not slow.
const MIN_BYTES: usize = 64 * 1024;
/// Something of an entry may be refused this often: once as it is, once in the rejection that replaces it. Then there is
/// nothing shorter to write.
const MAX_REFUSALS: u8 = 2;
/// An entry is given up after it was too slow this often in a transaction of its own.
const MAX_TOO_SLOW: u8 = 2;

/// An entry on its way back, with its outputs.
struct Returned<N> {
    entry: Entry<N>,
    outputs: Vec<OutRecord>,
}

// === impl Outbox ===

impl<N> Outbox<N> {
    /// Kafka can never take these outputs of the batch's transaction (indices ascend, with what it said): the role replaces
    /// the outputs of their entries, and everything comes back to the front of what is pending.
    ///
    /// # Errors
    /// [`StageError::Unwritable`] where nothing shorter can be written; what the role cannot replace.
    pub fn put_back_refused(
        &mut self,
        batch: Batch<N>,
        transaction: Transaction,
        refused: &[(usize, String)],
        work: &mut impl Work<Note = N>,
        now: Now,
    ) -> Result<(), StageError> {
        work.unsealed(&batch);
        if let Some((index, reason)) = refused.iter().find(|(index, _)| *index >= batch.outputs()) {
            return Err(sealed(&batch, &transaction, *index, reason));
        }
        self.mark_dirty(&batch.parts);
        let mut refused = refused.iter().peekable();
        let mut first = 0;
        let mut returned = returned(batch, transaction);
        for item in &mut returned {
            let end = first + item.outputs.len();
            let mut refusals = Vec::new();
            while let Some((index, reason)) = refused.next_if(|(index, _)| *index < end) {
                refusals.push(Refusal::Unwritable { index: index - first, reason: reason.clone() });
            }
            first = end;
            if !refusals.is_empty() {
                self.replace(item, &refusals, work, now)?;
            }
        }
        self.put_back(returned);
        Ok(())
    }

    /// The cluster took only [`Slow::written`] bytes of the batch in its time: what comes next is smaller. An entry that is too slow
    /// by itself, twice, and writes at least [`Slow::give_up_bytes`] is replaced by the role. One beside the window is not given up, because
    /// others of the same record may be written already: the role makes it smaller, each time that it is too slow from then on, down to
    /// what a batch has at least.
    ///
    /// # Errors
    /// As [`Outbox::put_back_refused`].
    pub fn put_back_slow(
        &mut self,
        batch: Batch<N>,
        transaction: Transaction,
        slow: Slow<'_>,
        work: &mut impl Work<Note = N>,
        now: Now,
    ) -> Result<(), StageError> {
        work.unsealed(&batch);
        self.bytes_now = (slow.written / 2).clamp(MIN_BYTES.min(self.limits.bytes), self.bytes_now);
        self.mark_dirty(&batch.parts);
        let mut returned = returned(batch, transaction);
        if let [item] = &mut returned[..] {
            item.entry.too_slow = item.entry.too_slow.saturating_add(1);
            let least = |give_up: usize| if item.entry.is_beside { give_up.min(MIN_BYTES) } else { give_up };
            let is_large = slow.give_up_bytes.is_some_and(|give_up| item.entry.output_bytes >= least(give_up));
            if is_large && item.entry.too_slow >= MAX_TOO_SLOW {
                let refusals = [Refusal::TooSlow { reason: slow.reason.to_owned() }];
                self.replace(item, &refusals, work, now)?;
            }
        }
        self.put_back(returned);
        Ok(())
    }

    /// Progress that was in the batch is owed again, also of leases without entries.
    fn mark_dirty(&mut self, parts: &[Part]) {
        for part in parts {
            if let Some(owned) = self.leases.get_mut(&part.lease.epoch) {
                owned.is_dirty = true;
            }
        }
    }

    fn replace<W: Work<Note = N>>(
        &self,
        item: &mut Returned<N>,
        refusals: &[Refusal],
        work: &mut W,
        now: Now,
    ) -> Result<(), StageError> {
        // A lease that is over needs no replacement: its entry is dropped when the batch is put back.
        let Some(owned) = self.leases.get(&item.entry.epoch) else { return Ok(()) };
        let before = item.entry.refused;
        // What becomes smaller each time ends by itself.
        let is_counted = !item.entry.is_beside || !matches!(refusals[0], Refusal::TooSlow { .. });
        if is_counted && before >= MAX_REFUSALS {
            let reason = match &refusals[0] {
                Refusal::Unwritable { reason, .. } | Refusal::TooSlow { reason } => reason.clone(),
            };
            let (partition, offset) = (owned.lease.partition.clone(), item.entry.offset);
            return Err(StageError::Unwritable { partition, offset, reason });
        }
        item.entry.refused += u8::from(is_counted);
        let outputs = std::mem::take(&mut item.outputs);
        let (lease, offset) = (&owned.lease, item.entry.offset);
        let refused = Refused { lease, offset, note: &mut item.entry.note, outputs, refusals, before };
        let replaced = work.replace(refused, now).map_err(|source| StageError::Work { role: W::ROLE, source })?;
        item.entry.outputs = replaced.len();
        item.entry.output_bytes = replaced.iter().map(OutRecord::size).sum();
        item.outputs = replaced;
        Ok(())
    }

    /// Puts entries back to the front of what is pending, in their order. Their records are not done any more.
    fn put_back(&mut self, returned: Vec<Returned<N>>) {
        let mut entries = VecDeque::with_capacity(returned.len() + self.pending.len());
        let mut outputs = VecDeque::with_capacity(self.outputs.len());
        for Returned { entry, outputs: own } in returned {
            let Some(owned) = self.leases.get_mut(&entry.epoch) else { continue };
            if !entry.is_beside {
                owned.window.reopen(entry.offset);
            }
            owned.pending += 1;
            owned.waiting.add(&entry);
            self.output_bytes += entry.output_bytes;
            outputs.extend(own.into_iter().map(unassigned));
            entries.push_back(entry);
        }
        entries.append(&mut self.pending);
        outputs.append(&mut self.outputs);
        (self.pending, self.outputs) = (entries, outputs);
        self.is_urgent = true;
    }
}

/// What the writer said of a batch that was too slow.
#[derive(Clone, Copy, Debug)]
pub struct Slow<'a> {
    /// Bytes that were acknowledged in time.
    pub written: usize,
    /// What was measured.
    pub reason: &'a str,
    /// An entry is given up from this many bytes of outputs on; never, where a role has no other way to end it.
    pub give_up_bytes: Option<usize>,
}

/// Splits a batch into its entries with their outputs. What was sealed into it is made again with the next batch.
fn returned<N>(batch: Batch<N>, transaction: Transaction) -> Vec<Returned<N>> {
    let mut outputs = transaction.outputs.into_iter().map(|output| output.record);
    let with_outputs = |entry: Entry<N>| {
        let own = outputs.by_ref().take(entry.outputs).collect();
        Returned { entry, outputs: own }
    };
    batch.entries.into_iter().map(with_outputs).collect()
}

/// A record that belongs to a whole part can never be written: nothing shorter can be said.
fn sealed<N>(batch: &Batch<N>, transaction: &Transaction, index: usize, reason: &str) -> StageError {
    let part = transaction.outputs.get(index).map_or(0, |output| output.lease);
    let part = &batch.parts[part.min(batch.parts.len().saturating_sub(1))];
    let (partition, offset) = (part.lease.partition.clone(), part.committed - 1);
    StageError::Unwritable { partition, offset, reason: reason.to_owned() }
}
