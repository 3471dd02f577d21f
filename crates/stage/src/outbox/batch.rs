//! One transaction's worth of entries: cut from what is pending, and what its outcome changes.

use kafka::{Lease, Output, Transaction};

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
            entries: std::mem::take(&mut self.spare),
            oldest_boot_ms: self.oldest_boot_ms().unwrap_or(boot_ms),
            fill_ratio: 0.0,
            output_bytes: 0,
            proof: self.proof,
        };
        let mut transaction = Transaction::default();
        transaction.outputs.reserve(self.outputs.len().min(self.limits.records) + MAX_PARTS);
        while self.has_room(&batch, transaction.outputs.len())
            && let Some(entry) = self.pending.pop_front()
        {
            self.include(entry, &mut batch, &mut transaction);
        }
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

    fn has_room(&self, batch: &Batch<N>, outputs: usize) -> bool {
        let Some(next) = self.pending.front() else { return false };
        let fits = outputs + next.outputs <= self.limits.records
            && batch.entries.len() < self.limits.records
            && batch.output_bytes + next.output_bytes <= self.bytes_now;
        let has_part = batch.parts.len() < MAX_PARTS || self.leases.get(&next.epoch).is_none_or(|it| it.part.is_some());
        // The first entry always fits: else one that is larger than the limits would never be written.
        batch.entries.is_empty() || (fits && has_part)
    }

    fn include(&mut self, entry: Entry<N>, batch: &mut Batch<N>, transaction: &mut Transaction) {
        self.output_bytes -= entry.output_bytes;
        let own = self.outputs.drain(..entry.outputs);
        let Some(owned) = self.leases.get_mut(&entry.epoch) else { return };
        let part = *owned.part.get_or_insert_with(|| {
            batch.parts.push(Part { lease: owned.lease.clone(), records: 0, bytes: 0, committed: 0 });
            batch.parts.len() - 1
        });
        owned.pending -= 1;
        if !entry.is_beside {
            owned.window.complete(entry.offset);
            batch.parts[part].records += 1;
            batch.parts[part].bytes += entry.size;
        }
        batch.output_bytes += entry.output_bytes;
        transaction.outputs.extend(own.map(|record| Output { lease: part, record }));
        batch.entries.push(entry);
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
