//! One transaction's worth of entries: cut from what is pending, and what its outcome changes.

use std::collections::VecDeque;

use kafka::{Lease, Transaction};

use super::{Entry, MAX_PARTS, Outbox};

/// Entries that are committed together.
#[derive(Debug)]
pub struct Batch<N> {
    pub(crate) parts: Vec<Part>,
    pub(crate) entries: Vec<Entry<N>>,
    /// When its oldest entry was resolved, on the clock that counts suspension, ms.
    pub(crate) oldest_boot_ms: i64,
    /// How full it is: the larger of its shares of the two limits; 1 is full.
    pub(crate) fill_ratio: f64,
    pub(super) output_bytes: usize,
    pub(super) proof: u64,
}

/// What a batch holds of one lease. Parts stand in the order of the transaction's progress.
#[derive(Clone, Debug)]
pub struct Part {
    /// The lease.
    pub lease: Lease,
    /// Records resolved, for the poller's credit; entries beside the window are none.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The offset that is committed.
    pub committed: i64,
}

// === impl Batch ===

impl<N> Batch<N> {
    /// Its parts, one per lease.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its entries, in order of resolution.
    #[must_use]
    pub fn entries(&self) -> &[Entry<N>] {
        &self.entries
    }

    /// Whether it writes anything for one of these leases.
    pub(crate) fn touches(&self, leases: &[Lease]) -> bool {
        self.parts.iter().any(|part| leases.contains(&part.lease))
    }

    /// Kafka's time of its oldest record, Unix ms.
    pub(crate) fn oldest_timestamp_ms(&self) -> Option<i64> {
        self.entries.iter().filter(|entry| !entry.is_beside).map(|entry| entry.timestamp_ms).min()
    }

    /// Records that it resolves, over all parts.
    pub(crate) fn records(&self) -> usize {
        self.parts.iter().map(|part| part.records).sum()
    }

    /// Outputs of its entries.
    pub(crate) fn outputs(&self) -> usize {
        self.entries.iter().map(|entry| entry.outputs).sum()
    }
}

// === impl Outbox: batches ===

impl<N> Outbox<N> {
    /// Cuts the next batch, if there is anything to commit. `boot_ms`: now, on the clock that counts suspension.
    pub fn cut(&mut self, boot_ms: i64) -> Option<(Batch<N>, Transaction)> {
        if self.is_empty() {
            return None;
        }
        let mut batch = Batch {
            parts: Vec::new(),
            entries: Vec::new(),
            oldest_boot_ms: self.oldest_boot_ms().unwrap_or(boot_ms),
            fill_ratio: 0.0,
            output_bytes: 0,
            proof: self.proof,
        };
        let (mut entries, mut outputs) = (0, 0);
        while self.has_room(&batch, entries, outputs) {
            outputs += self.include(entries, outputs, &mut batch);
            entries += 1;
        }
        self.output_bytes -= batch.output_bytes;
        let spare = std::mem::take(&mut self.spare);
        batch.entries = take_front(&mut self.pending, entries, spare);
        // The next batch will need as much room, and so will what is sealed into this one.
        let room = Vec::with_capacity(outputs + MAX_PARTS);
        let outputs = take_front(&mut self.outputs, outputs, room);
        let mut transaction = Transaction { outputs, progress: Vec::new() };
        self.is_urgent = self.is_urgent && !self.pending.is_empty();
        batch.fill_ratio = self.fill_ratio(&batch, transaction.outputs.len());
        self.add_progress(&mut batch, &mut transaction);
        Some((batch, transaction))
    }

    /// Notes that a batch is committed. Of parts for which `dropped` returns true nothing was written.
    pub(crate) fn committed(&mut self, batch: &Batch<N>, dropped: impl Fn(&Lease) -> bool) {
        let limit = self.limits.bytes;
        if self.bytes_now < limit && batch.output_bytes >= self.bytes_now / 2 {
            self.bytes_now = (self.bytes_now * 2).min(limit);
        }
        for part in batch.parts.iter().filter(|part| !dropped(&part.lease)) {
            let Some(owned) = self.leases.get_mut(&part.lease.epoch) else { continue };
            owned.committed = part.committed;
            owned.is_unproved &= batch.proof != self.proof;
        }
    }

    /// Takes a finished batch's room back.
    pub(crate) fn recycle(&mut self, batch: Batch<N>) {
        let mut entries = batch.entries;
        entries.clear();
        self.spare = entries;
    }

    /// Whether the entry at this index of what is pending goes into the batch, which has those before it and their outputs.
    fn has_room(&self, batch: &Batch<N>, entries: usize, outputs: usize) -> bool {
        let Some(next) = self.pending.get(entries) else { return false };
        let fits = outputs + next.outputs <= self.limits.records
            && entries < self.limits.records
            && batch.output_bytes + next.output_bytes <= self.bytes_now;
        let has_part = batch.parts.len() < MAX_PARTS || self.leases.get(&next.epoch).is_none_or(|it| it.part.is_some());
        // The first entry always fits: else one that is larger than the limits would never be written.
        entries == 0 || (fits && has_part)
    }

    /// Counts the entry at this index, whose outputs begin at `first`, into its part of the batch. Returns how many outputs it has.
    fn include(&mut self, index: usize, first: usize, batch: &mut Batch<N>) -> usize {
        let entry = &self.pending[index];
        let owned = self.leases.get_mut(&entry.epoch).expect("a lease that is closed takes its entries with it");
        let part = *owned.part.get_or_insert_with(|| {
            batch.parts.push(Part { lease: owned.lease.clone(), records: 0, bytes: 0, committed: 0 });
            batch.parts.len() - 1
        });
        owned.pending -= 1;
        owned.waiting.take(entry);
        if !entry.is_beside {
            owned.window.complete(entry.offset);
            batch.parts[part].records += 1;
            batch.parts[part].bytes += entry.size;
        }
        batch.output_bytes += entry.output_bytes;
        for output in self.outputs.range_mut(first..first + entry.outputs) {
            output.lease = part;
        }
        entry.outputs
    }

    /// Adds leases whose progress alone is owed, then the progress of every part, in the order of the parts.
    fn add_progress(&mut self, batch: &mut Batch<N>, transaction: &mut Transaction) {
        // A transaction without outputs is cut into chunks by the writer. The role may still add some where there are entries.
        let room = if batch.entries.is_empty() { usize::MAX } else { MAX_PARTS };
        for owned in self.leases.values_mut() {
            if owned.part.is_none() && owned.is_dirty && batch.parts.len() < room {
                owned.part = Some(batch.parts.len());
                batch.parts.push(Part { lease: owned.lease.clone(), records: 0, bytes: 0, committed: 0 });
            }
        }
        for part in &mut batch.parts {
            let owned = self.leases.get_mut(&part.lease.epoch).expect("only open leases have parts");
            (owned.is_dirty, owned.part) = (false, None);
            let progress = owned.progress(self.order);
            part.committed = progress.committed;
            transaction.progress.push(progress);
        }
    }

    fn fill_ratio(&self, batch: &Batch<N>, outputs: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rough share; both are far below 2^53")]
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        share(outputs, self.limits.records).max(share(batch.output_bytes, self.limits.bytes))
    }
}

/// Takes the first `count` items. `room` is an empty list: it takes the place of what is taken, so that only what is left moves, which as
/// a rule is next to nothing.
fn take_front<T>(from: &mut VecDeque<T>, count: usize, mut room: Vec<T>) -> Vec<T> {
    if count > from.len() / 2 {
        room.extend(from.drain(count..));
        return std::mem::replace(from, room.into()).into();
    }
    room.extend(from.drain(..count));
    room
}
