//! What the outbox knows of each lease: its window, what is committed of it, and whether it has to be proved.

use kafka::{Claimed, Epoch, Lease, Progress, Window};

use super::{Entry, Order, Outbox};

/// One open lease.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) lease: Lease,
    pub(super) window: Window,
    /// The committed offset.
    pub(super) committed: i64,
    /// Its progress goes into the next batch whether or not anything of it was resolved.
    pub(super) is_dirty: bool,
    /// No transaction has committed it since a proof was asked for.
    pub(super) is_unproved: bool,
    /// Entries of it that are in no batch.
    pub(super) pending: usize,
    /// What of its look-ahead those hold.
    pub(super) waiting: LookAheadShare,
    /// Its index in the batch that is being cut.
    pub(super) part: Option<usize>,
}

/// A part of a lease's look-ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LookAheadShare {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// How far one open lease is, for what is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached<'a> {
    /// The lease.
    pub(crate) lease: &'a Lease,
    /// Records that were read and are not done.
    pub(crate) live: usize,
    /// The committed offset.
    pub(crate) committed: i64,
    /// Nothing of it is live, pending or dirty.
    pub(crate) is_idle: bool,
}

// === impl Owned ===

impl Owned {
    pub(super) fn new(lease: Lease, window: Window, committed: i64) -> Self {
        Self {
            lease,
            window,
            committed,
            is_dirty: false,
            is_unproved: false,
            pending: 0,
            waiting: LookAheadShare::default(),
            part: None,
        }
    }

    /// What is committed of the lease now.
    pub(super) fn progress(&self, order: Order) -> Progress {
        let (committed, read_up_to, not_done) = match order {
            Order::InOrder => {
                let next = self.window.progress_in_order();
                (next, next, Vec::new())
            }
            Order::AnyOrder => self.window.progress(),
        };
        Progress { lease: self.lease.clone(), committed, read_up_to, not_done, claim: Claimed::Nothing }
    }
}

// === impl LookAheadShare ===

impl LookAheadShare {
    /// An entry waits for its batch.
    pub(super) fn add<N>(&mut self, entry: &Entry<N>) {
        self.records += usize::from(entry.is_weighed);
        self.bytes += entry.size;
    }

    /// It is in one.
    pub(super) fn take<N>(&mut self, entry: &Entry<N>) {
        self.records -= usize::from(entry.is_weighed);
        self.bytes -= entry.size;
    }

    /// Whether it is at least half of what a lease may hold.
    pub(super) fn is_half_of(self, most: Self) -> bool {
        self.records >= most.records.div_ceil(2) || self.bytes >= most.bytes.div_ceil(2)
    }
}

// === impl Outbox: leases ===

impl<N> Outbox<N> {
    /// How many leases are open.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Records that were read and are not done, over all leases.
    #[must_use]
    pub fn live(&self) -> usize {
        self.leases.values().map(|owned| owned.window.live()).sum()
    }

    /// What would be committed for a lease now.
    #[must_use]
    pub fn progress(&self, epoch: Epoch) -> Option<Progress> {
        self.leases.get(&epoch).map(|owned| owned.progress(self.order))
    }

    /// How far every open lease is.
    pub(crate) fn reached(&self) -> impl Iterator<Item = Reached<'_>> {
        self.leases.values().map(|owned| Reached {
            lease: &owned.lease,
            live: owned.window.live(),
            committed: owned.committed,
            is_idle: owned.window.live() == 0 && owned.pending == 0 && !owned.is_dirty,
        })
    }

    /// Everything up to `position` was read and nothing of the lease is live: its committed offset moves past the markers of
    /// transactions in between. Else nobody could tell, once retention has deleted them, that no record was among them.
    pub(crate) fn pass_markers(&mut self, epoch: Epoch, position: i64) {
        let Some(owned) = self.leases.get_mut(&epoch) else { return };
        owned.window.advance(position);
        owned.is_dirty = true;
    }

    /// From now on no lease counts as ours until a batch that is cut from now on has committed it.
    pub(crate) fn ask_for_proof(&mut self) {
        self.proof += 1;
        for owned in self.leases.values_mut() {
            (owned.is_dirty, owned.is_unproved) = (true, true);
        }
    }

    /// Whether every lease was committed since a proof was asked for.
    pub(crate) fn is_proved(&self) -> bool {
        self.leases.values().all(|owned| !owned.is_unproved)
    }
}
