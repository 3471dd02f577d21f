//! The book of what is owned: which leases, what is done in each, and which outcomes wait for their transaction.
//!
//! ```text
//! admit --> window (live) ... outcome --> pending --cut--> batch: outputs + progress --committed--> credits
//! ```
//!
//! A record is marked done in its window when the batch with its outputs is cut, never before: progress and outputs always
//! stand in the same transaction. Credits go back to the poller after the commit, so memory stays bounded while Kafka is slow.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};

use kafka::{Lease, Output, Progress, Transaction, Window};
use schemas::record::OutRecord;

/// A lease by number: cheap to copy, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LeaseKey(pub(crate) u64);

/// One resolved record and what it writes.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Whose.
    pub(crate) lease: LeaseKey,
    /// Its offset.
    pub(crate) offset: i64,
    /// Its size, for the credit.
    pub(crate) size: usize,
    /// Records to write.
    pub(crate) outputs: Vec<OutRecord>,
    /// When it was resolved, on the clock that counts suspension.
    pub(crate) boot_ms: i64,
}

/// Where a batch closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Outputs.
    pub(crate) records: usize,
    /// Bytes of outputs.
    pub(crate) bytes: usize,
}

/// One transaction and what it means here.
#[derive(Debug)]
pub(crate) struct Batch {
    /// For the writer.
    pub(crate) transaction: Transaction,
    /// Per lease: records and bytes to release once it is committed.
    pub(crate) credits: Vec<(LeaseKey, usize, usize)>,
    /// Per output: the record it came from.
    pub(crate) sources: Vec<(LeaseKey, i64)>,
    /// When its oldest outcome was known.
    pub(crate) oldest_boot_ms: i64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Book {
    limits: BatchLimits,
    next: u64,
    leases: BTreeMap<LeaseKey, Owned>,
    keys: HashMap<Lease, LeaseKey>,
    pending: VecDeque<Entry>,
    pending_outputs: usize,
    pending_bytes: usize,
}

#[derive(Debug)]
struct Owned {
    lease: Lease,
    window: Window,
    /// Its progress goes into the next batch whether or not anything was resolved.
    is_dirty: bool,
}

impl Book {
    /// An empty book.
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            next: 0,
            leases: BTreeMap::new(),
            keys: HashMap::new(),
            pending: VecDeque::new(),
            pending_outputs: 0,
            pending_bytes: 0,
        }
    }

    /// A lease begins.
    pub(crate) fn open(&mut self, lease: Lease, window: Window) -> LeaseKey {
        self.next += 1;
        let key = LeaseKey(self.next);
        self.keys.insert(lease.clone(), key);
        self.leases.insert(key, Owned { lease, window, is_dirty: false });
        key
    }

    /// A lease is over: what it had pending is forgotten.
    pub(crate) fn close(&mut self, key: LeaseKey) {
        if let Some(owned) = self.leases.remove(&key) {
            self.keys.remove(&owned.lease);
        }
        let (outputs, bytes) = (&mut self.pending_outputs, &mut self.pending_bytes);
        self.pending.retain(|entry| {
            let stays = entry.lease != key;
            if !stays {
                *outputs -= entry.outputs.len();
                *bytes -= entry.bytes();
            }
            stays
        });
    }

    /// The number of a lease that is open.
    pub(crate) fn key(&self, lease: &Lease) -> Option<LeaseKey> {
        self.keys.get(lease).copied()
    }

    /// The lease of a number.
    pub(crate) fn lease(&self, key: LeaseKey) -> Option<&Lease> {
        self.leases.get(&key).map(|owned| &owned.lease)
    }

    /// A record came. False: it was done before (or its lease is over); release it.
    pub(crate) fn admit(&mut self, key: LeaseKey, offset: i64) -> bool {
        self.leases.get_mut(&key).is_some_and(|owned| owned.window.admit(offset))
    }

    /// A record is resolved. Nothing happens if its lease is over.
    pub(crate) fn resolve(&mut self, entry: Entry) {
        if !self.leases.contains_key(&entry.lease) {
            return;
        }
        self.pending_outputs += entry.outputs.len();
        self.pending_bytes += entry.bytes();
        self.pending.push_back(entry);
    }

    /// Everything unresolved of a lease counts as done. The planted bug `DropOnRevoke`, and nothing else.
    pub(crate) fn forget_unresolved(&mut self, key: LeaseKey) {
        let Some(owned) = self.leases.get_mut(&key) else { return };
        for offset in owned.window.progress().2 {
            owned.window.complete(offset);
        }
        owned.is_dirty = true;
    }

    /// The next batch proves that every lease is still ours, outcomes or not.
    pub(crate) fn touch_all(&mut self) {
        for owned in self.leases.values_mut() {
            owned.is_dirty = true;
        }
    }

    /// Whether the pending outcomes fill a batch.
    pub(crate) fn is_full(&self) -> bool {
        self.pending_outputs >= self.limits.records
            || self.pending_bytes >= self.limits.bytes
            || self.pending.len() >= self.limits.records
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_clean(&self) -> bool {
        self.pending.is_empty() && self.leases.values().all(|owned| !owned.is_dirty)
    }

    /// Whether these leases have outcomes that are in no batch yet.
    pub(crate) fn has_pending(&self, keys: &[LeaseKey]) -> bool {
        let is_dirty = |key| self.leases.get(key).is_some_and(|owned| owned.is_dirty);
        keys.iter().any(is_dirty) || self.pending.iter().any(|entry| keys.contains(&entry.lease))
    }

    /// When the oldest pending outcome was known.
    pub(crate) fn oldest_boot_ms(&self) -> Option<i64> {
        self.pending.front().map(|entry| entry.boot_ms)
    }

    /// Leases that are open.
    pub(crate) fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Records that are live in all windows.
    pub(crate) fn live(&self) -> usize {
        self.leases.values().map(|owned| owned.window.live()).sum()
    }

    /// What would be committed for a lease now.
    #[cfg(test)]
    pub(crate) fn progress(&self, key: LeaseKey) -> Option<(i64, i64, Vec<i64>)> {
        self.leases.get(&key).map(|owned| owned.window.progress())
    }

    /// The next transaction, if there is anything to commit.
    pub(crate) fn cut(&mut self, boot_ms: i64) -> Option<Batch> {
        if self.is_clean() {
            return None;
        }
        let mut batch = Batch {
            transaction: Transaction::default(),
            credits: Vec::new(),
            sources: Vec::new(),
            oldest_boot_ms: self.oldest_boot_ms().unwrap_or(boot_ms),
        };
        let mut bytes = 0;
        let mut resolved = 0;
        while let Some(entry) = self.pending.front() {
            let size = entry.bytes();
            let outputs = batch.transaction.outputs.len() + entry.outputs.len();
            let fits = outputs <= self.limits.records && bytes + size <= self.limits.bytes;
            if resolved > 0 && (!fits || resolved >= self.limits.records) {
                break;
            }
            let Some(entry) = self.pending.pop_front() else { break };
            self.pending_outputs -= entry.outputs.len();
            self.pending_bytes -= size;
            bytes += size;
            resolved += 1;
            self.include(entry, &mut batch);
        }
        self.add_progress(&mut batch);
        Some(batch)
    }

    fn include(&mut self, entry: Entry, batch: &mut Batch) {
        let Some(owned) = self.leases.get_mut(&entry.lease) else { return };
        owned.window.complete(entry.offset);
        let known = batch.credits.iter().position(|(key, ..)| *key == entry.lease);
        let lease = known.unwrap_or_else(|| {
            batch.credits.push((entry.lease, 0, 0));
            batch.credits.len() - 1
        });
        batch.credits[lease].1 += 1;
        batch.credits[lease].2 += entry.size;
        for record in entry.outputs {
            batch.sources.push((entry.lease, entry.offset));
            batch.transaction.outputs.push(Output { lease, record });
        }
    }

    /// Credits and progress have the same order: an output's lease is an index into both.
    fn add_progress(&mut self, batch: &mut Batch) {
        for (key, owned) in &self.leases {
            if owned.is_dirty && !batch.credits.iter().any(|(known, ..)| known == key) {
                batch.credits.push((*key, 0, 0));
            }
        }
        for (key, ..) in &batch.credits {
            let owned = self.leases.get_mut(key).expect("only open leases were included");
            owned.is_dirty = false;
            let (committed, read_up_to, not_done) = owned.window.progress();
            batch.transaction.progress.push(Progress { lease: owned.lease.clone(), committed, read_up_to, not_done });
        }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        self.outputs.iter().map(OutRecord::size).sum()
    }
}
