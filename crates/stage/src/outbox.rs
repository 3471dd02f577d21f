//! What is resolved and not committed: per lease what is done, and the outputs that wait for their transaction. Pure.
//!
//! ```text
//! admit --> window (live) ... resolve --> pending --cut--> Batch: outputs + progress --committed--> credit
//!                                           ^                 |
//!                                           +----put back-----+   refused or too slow: replaced or in smaller batches
//! ```
//!
//! A record is marked done in its window when the batch with its outputs is cut, never before: progress and outputs always
//! stand in the same transaction. An entry is never split over two transactions.

mod batch;
mod leases;
mod put_back;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use kafka::{Epoch, Lease, Output, Window};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::OutRecord;

pub use self::batch::{Batch, Part};
pub(crate) use self::leases::Reached;
use self::leases::{LookAheadShare, Owned};
pub use self::put_back::Slow;

/// Leases of one transaction with outputs: their offsets are one record batch of Kafka's own topic.
const MAX_PARTS: usize = 64;

/// Where a batch closes.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Outputs, and entries without any.
    pub records: usize,
    /// Bytes of outputs.
    pub bytes: usize,
}

/// In which order a role resolves the records of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they were read: the committed offset alone says what is done.
    InOrder,
    /// In any order: the commit metadata lists what is not done above the committed offset.
    AnyOrder,
}

/// A resolved record, until its transaction is known; or something beside the window, see [`Entry::beside`].
#[derive(Debug)]
pub struct Entry<N> {
    /// Epoch of its lease.
    pub epoch: Epoch,
    /// Its offset.
    pub offset: i64,
    /// Kafka's time of the record, Unix ms.
    pub timestamp_ms: i64,
    /// Bytes of the record, for the poller's credit.
    pub size: usize,
    /// When it was resolved, on the clock that counts suspension, ms.
    pub boot_ms: i64,
    /// What the role remembers of it.
    pub note: N,
    /// Whether it resolves no record of the window.
    pub(crate) is_beside: bool,
    /// See [`Entry::weighing`].
    pub(crate) is_weighed: bool,
    pub(crate) outputs: usize,
    pub(crate) output_bytes: usize,
    /// How often some of its outputs were refused.
    refused: u8,
    /// How often it was too slow in a transaction of its own.
    too_slow: u8,
}

/// Everything that is resolved and not committed, see the module.
#[derive(Debug)]
pub struct Outbox<N> {
    limits: BatchLimits,
    /// Bytes at which a batch closes now: fewer after a batch that the cluster could not take in time, doubled with each that it takes.
    bytes_now: usize,
    order: Order,
    /// What a lease may hold that is read and not committed.
    look_ahead: LookAheadShare,
    leases: BTreeMap<Epoch, Owned>,
    pending: VecDeque<Entry<N>>,
    /// Theirs, in the same order. Which part they belong to is known when the batch is cut; they are made as what a transaction
    /// takes, so that a batch takes all of them without moving one.
    outputs: VecDeque<Output>,
    output_bytes: usize,
    /// Counts proofs asked for, see [`Outbox::ask_for_proof`].
    proof: u64,
    /// A batch came back: what is pending is committed at once.
    is_urgent: bool,
    /// An emptied list whose room is used again.
    spare: Vec<Entry<N>>,
}

// === impl BatchLimits ===

impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 1_000, bytes: 1024 * 1024 }
    }
}

// === impl Entry ===

impl<N> Entry<N> {
    /// A record of the lease with this epoch that is resolved at `boot_ms`. `at`: offset and Kafka's time, Unix ms.
    #[must_use]
    pub fn new(epoch: Epoch, at: (i64, i64), size: usize, boot_ms: i64, note: N) -> Self {
        let ((offset, timestamp_ms), is_beside, is_weighed) = (at, false, true);
        let (outputs, output_bytes, refused, too_slow) = (0, 0, 0, 0);
        Self {
            epoch,
            offset,
            timestamp_ms,
            size,
            boot_ms,
            note,
            is_beside,
            is_weighed,
            outputs,
            output_bytes,
            refused,
            too_slow,
        }
    }

    /// Something that belongs to the lease with this epoch and is no live record of it: one that left the window before, a change of
    /// what the role keeps. It is committed with its outputs, if any, and the lease's progress, so it is dropped when the lease is over;
    /// it marks no offset as done, gives no credit back, and its age is not the role's. `at`: the offset and the time by which it is
    /// named where an output of it is refused.
    #[must_use]
    pub fn beside(epoch: Epoch, at: (i64, i64), boot_ms: i64, note: N) -> Self {
        Self { is_beside: true, is_weighed: false, ..Self::new(epoch, at, 0, boot_ms, note) }
    }

    /// One beside the window that is waited for as a record of it is: half a look-ahead of them waits for its batch no longer, see
    /// [`Outbox::within`].
    #[must_use]
    pub fn weighing(self) -> Self {
        Self { is_weighed: true, ..self }
    }

    /// How many records it writes.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Their bytes.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.output_bytes
    }
}

// === impl Outbox: records ===

impl<N> Outbox<N> {
    /// An empty outbox.
    #[must_use]
    pub fn new(limits: BatchLimits, order: Order) -> Self {
        Self {
            limits,
            bytes_now: limits.bytes,
            order,
            look_ahead: LookAheadShare { records: usize::MAX, bytes: usize::MAX },
            leases: BTreeMap::new(),
            pending: VecDeque::new(),
            outputs: VecDeque::new(),
            output_bytes: 0,
            proof: 0,
            is_urgent: false,
            spare: Vec::new(),
        }
    }

    /// Nothing more of a lease is read while so much of it is not committed: where half of that waits for a batch, it waits no
    /// longer. Else one busy partition would fill its look-ahead with what is done, and stand still until its batch may begin.
    #[must_use]
    pub fn within(self, records: usize, bytes: usize) -> Self {
        Self { look_ahead: LookAheadShare { records, bytes }, ..self }
    }

    /// Opens a lease that was committed at `committed`.
    pub fn open(&mut self, lease: &Lease, window: Window, committed: i64) {
        self.leases.insert(lease.epoch, Owned::new(lease.clone(), window, committed));
    }

    /// Closes a lease: what it had pending is forgotten.
    pub fn close(&mut self, epoch: Epoch) {
        let Some(owned) = self.leases.remove(&epoch) else { return };
        if owned.pending > 0 {
            self.retain_outputs(|entry| entry.epoch != epoch);
        }
    }

    /// Whether this lease is open.
    #[must_use]
    pub fn is_open(&self, epoch: Epoch) -> bool {
        self.leases.contains_key(&epoch)
    }

    /// Notes that a record was read. Returns false if it was done before, or if its lease is over.
    pub fn admit(&mut self, epoch: Epoch, offset: i64) -> bool {
        self.leases.get_mut(&epoch).is_some_and(|owned| owned.window.admit(offset))
    }

    /// See [`crate::Turn::resolve`].
    pub fn resolve(&mut self, mut entry: Entry<N>, outputs: &mut Vec<OutRecord>) {
        let Some(owned) = self.leases.get_mut(&entry.epoch) else {
            outputs.clear();
            return;
        };
        owned.pending += 1;
        owned.waiting.add(&entry);
        entry.outputs = outputs.len();
        entry.output_bytes = outputs.iter().map(OutRecord::size).sum();
        self.output_bytes += entry.output_bytes;
        self.outputs.extend(outputs.drain(..).map(unassigned));
        self.pending.push_back(entry);
    }

    /// Whether what is pending fills a batch.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.outputs.len() >= self.limits.records
            || self.output_bytes >= self.bytes_now
            || self.pending.len() >= self.limits.records
    }

    /// Whether what is pending is committed without waiting for more.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.is_urgent || self.is_full() || self.leases.values().any(|owned| owned.waiting.is_half_of(self.look_ahead))
    }

    /// Entries that are in no batch yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.leases.values().all(|owned| !owned.is_dirty)
    }

    /// Whether one of these leases has something that is in no batch yet.
    #[must_use]
    pub fn has_pending(&self, leases: &[Lease]) -> bool {
        let owned = leases.iter().filter_map(|lease| self.leases.get(&lease.epoch));
        owned.into_iter().any(|owned| owned.is_dirty || owned.pending > 0)
    }

    /// When the oldest pending entry was resolved, on the clock that counts suspension, ms.
    #[must_use]
    pub fn oldest_boot_ms(&self) -> Option<i64> {
        self.pending.front().map(|entry| entry.boot_ms)
    }

    /// Kafka's time of the oldest record pending, Unix ms.
    #[must_use]
    pub fn oldest_timestamp_ms(&self) -> Option<i64> {
        self.pending.iter().filter(|entry| !entry.is_beside).map(|entry| entry.timestamp_ms).min()
    }

    /// Keeps the entries that `stays` accepts, together with their outputs.
    fn retain_outputs(&mut self, stays: impl Fn(&Entry<N>) -> bool) {
        let mut outputs = std::mem::take(&mut self.outputs).into_iter();
        let (kept, bytes) = (&mut self.outputs, &mut self.output_bytes);
        self.pending.retain(|entry| {
            let own = outputs.by_ref().take(entry.outputs);
            if stays(entry) {
                kept.extend(own);
                return true;
            }
            if !is_planted(PlantedBug::BytesKept) {
                *bytes -= entry.output_bytes;
            }
            own.for_each(drop);
            false
        });
    }
}

/// An output whose part is not known yet.
fn unassigned(record: OutRecord) -> Output {
    Output { lease: 0, record }
}
