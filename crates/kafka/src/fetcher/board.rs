//! What is demanded, and which run of offsets is read next. [`Demands`] decides, [`Board`] lets threads wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::FetcherOptions;
use super::rate::ByteRate;
use crate::clock::instant;
use crate::lease::{Epoch, Lease};

/// Offsets between two that are demanded which are read through: a seek costs the brokers what so many records do.
const MAX_GAP: i64 = 400;
/// Up to so many offsets from its first to its last, a run comes with one small fetch.
const SEEK_SPAN: i64 = 32;
/// Offsets of one run: then another partition has its turn.
const MAX_RUN: usize = 4_096;

/// Which demands go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// In turn.
    Normal,
    /// Before all that are not.
    Urgent,
}

/// Ascending offsets of one partition that are read in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) lease: Lease,
    /// Never empty.
    pub(super) offsets: Vec<i64>,
    /// The lease's last run has failed, as those of a partition without a leader do: this one is waited for but a moment.
    pub(super) is_retry: bool,
}

/// What is demanded. Pure.
#[derive(Debug, Default)]
pub(super) struct Demands {
    by_epoch: BTreeMap<Epoch, WantedOffsets>,
    /// The lease that was served last.
    last: Option<Epoch>,
    /// Leases whose last run has failed. One thread at most serves them, in turn, so that they hold up nobody else.
    failed: BTreeSet<Epoch>,
    /// Whose run that thread reads.
    retried: Option<Epoch>,
    /// Offsets that are in no run.
    waiting: usize,
}

/// What is demanded of one lease.
#[derive(Debug)]
struct WantedOffsets {
    lease: Lease,
    urgent: BTreeSet<i64>,
    normal: BTreeSet<i64>,
    /// Behind the last run: the next one goes on here, so that what lies far ahead is reached though more is demanded below.
    position: i64,
    /// A thread is reading for it.
    is_taken: bool,
}

/// Demands, shared by whoever makes them and the threads that serve them.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<BoardState>,
    changed: Condvar,
    bytes_read: AtomicU64,
    limit: usize,
}

#[derive(Debug)]
struct BoardState {
    demands: Demands,
    rate: ByteRate,
    is_stopped: bool,
}

// === impl Run ===

impl Run {
    /// Whether it is read in large pieces.
    pub(super) fn is_scan(&self) -> bool {
        let span = self.offsets.last().zip(self.offsets.first()).map_or(0, |(last, first)| last - first);
        span > SEEK_SPAN
    }
}

// === impl Demands ===

impl Demands {
    /// Takes as many as there is room for; returns how many.
    pub(super) fn add(&mut self, lease: &Lease, offsets: &[i64], urgency: Urgency, limit: usize) -> usize {
        let wanted = self.by_epoch.entry(lease.epoch).or_insert_with(|| WantedOffsets::new(lease.clone()));
        let mut taken = 0;
        for &offset in offsets {
            let is_known = wanted.normal.contains(&offset) || wanted.urgent.contains(&offset);
            if !is_known && self.waiting >= limit {
                break;
            }
            taken += 1;
            self.waiting += usize::from(!is_known);
            if urgency == Urgency::Urgent {
                wanted.normal.remove(&offset);
                wanted.urgent.insert(offset);
            } else if !is_known {
                wanted.normal.insert(offset);
            }
        }
        if wanted.is_over() {
            self.by_epoch.remove(&lease.epoch);
        }
        taken
    }

    /// Forgets a lease, also what is being read for it.
    pub(super) fn cancel(&mut self, epoch: Epoch) {
        self.failed.remove(&epoch);
        if let Some(wanted) = self.by_epoch.remove(&epoch) {
            self.waiting -= wanted.len();
        }
    }

    /// The next run of a lease that no thread reads for.
    pub(super) fn take(&mut self) -> Option<Run> {
        let has_failed = |epoch: Epoch| self.failed.contains(&epoch);
        let urgent = self.next(|epoch, wanted| !has_failed(epoch) && !wanted.urgent.is_empty());
        let may_retry = self.retried.is_none();
        let fits = |epoch, wanted: &WantedOffsets| wanted.len() > 0 && (may_retry || !has_failed(epoch));
        let epoch = urgent.or_else(|| self.next(fits))?;
        let is_retry = has_failed(epoch);
        let wanted = self.by_epoch.get_mut(&epoch)?;
        let offsets = wanted.take();
        self.waiting -= offsets.len();
        self.last = Some(epoch);
        if is_retry {
            self.retried = Some(epoch);
        }
        Some(Run { lease: wanted.lease.clone(), offsets, is_retry })
    }

    /// A run of this lease has ended. `has_failed`: something of it could not be read.
    pub(super) fn end(&mut self, epoch: Epoch, has_failed: bool) {
        self.retried = self.retried.filter(|retried| *retried != epoch);
        if has_failed && self.by_epoch.contains_key(&epoch) {
            self.failed.insert(epoch);
        } else {
            self.failed.remove(&epoch);
        }
        let Some(wanted) = self.by_epoch.get_mut(&epoch) else { return };
        wanted.is_taken = false;
        if wanted.is_over() {
            self.by_epoch.remove(&epoch);
        }
    }

    /// Whether the lease's run is still wanted.
    pub(super) fn is_wanted(&self, epoch: Epoch) -> bool {
        self.by_epoch.contains_key(&epoch)
    }

    /// The next lease behind the one that was served last.
    fn next(&self, fits: impl Fn(Epoch, &WantedOffsets) -> bool) -> Option<Epoch> {
        let fits = |(epoch, wanted): &(&Epoch, &WantedOffsets)| !wanted.is_taken && fits(**epoch, wanted);
        let behind =
            self.last.and_then(|last| self.by_epoch.range(last..).filter(|(epoch, _)| **epoch > last).find(fits));
        behind.or_else(|| self.by_epoch.iter().find(fits)).map(|(epoch, _)| *epoch)
    }
}

// === impl WantedOffsets ===

impl WantedOffsets {
    fn new(lease: Lease) -> Self {
        Self { lease, urgent: BTreeSet::new(), normal: BTreeSet::new(), position: 0, is_taken: false }
    }

    fn len(&self) -> usize {
        self.urgent.len() + self.normal.len()
    }

    fn is_over(&self) -> bool {
        !self.is_taken && self.len() == 0
    }

    /// The next run: urgent ones by themselves, else on from the position, then from the lowest.
    fn take(&mut self) -> Vec<i64> {
        let is_urgent = !self.urgent.is_empty();
        let from = if is_urgent { 0 } else { self.position };
        let set = if is_urgent { &mut self.urgent } else { &mut self.normal };
        let first = set.range(from..).next().or_else(|| set.first()).copied();
        let mut run: Vec<i64> = Vec::new();
        for &offset in set.range(first.unwrap_or(0)..).take(MAX_RUN) {
            if run.last().is_some_and(|last| offset - last > MAX_GAP) {
                break;
            }
            run.push(offset);
        }
        run.iter().for_each(|offset| {
            set.remove(offset);
        });
        if !is_urgent {
            self.position = run.last().map_or(0, |last| last + 1);
        }
        self.is_taken = true;
        run
    }
}

// === impl Board ===

impl Board {
    pub(super) fn new(options: FetcherOptions) -> Self {
        let rate = ByteRate::new(options.bytes_per_second, instant());
        let state = BoardState { demands: Demands::default(), rate, is_stopped: false };
        let (state, changed, bytes_read) = (Mutex::new(state), Condvar::new(), AtomicU64::new(0));
        Self { state, changed, bytes_read, limit: options.demands }
    }

    pub(super) fn demand(&self, lease: &Lease, offsets: &[i64], urgency: Urgency) -> usize {
        let taken = self.state.lock().demands.add(lease, offsets, urgency, self.limit);
        self.changed.notify_all();
        taken
    }

    pub(super) fn cancel(&self, epoch: Epoch) {
        self.state.lock().demands.cancel(epoch);
        self.changed.notify_all();
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().demands.waiting
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// The next run if there is one.
    pub(super) fn try_take(&self) -> Option<Run> {
        let mut state = self.state.lock();
        if state.is_stopped { None } else { state.demands.take() }
    }

    /// Waits for the next run; `None`: stopped.
    pub(super) fn take(&self) -> Option<Run> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            if let Some(run) = state.demands.take() {
                return Some(run);
            }
            self.changed.wait(&mut state);
        }
    }

    pub(super) fn end(&self, epoch: Epoch, has_failed: bool) {
        self.state.lock().demands.end(epoch, has_failed);
        // More may be demanded of it.
        self.changed.notify_all();
    }

    /// Whether a run goes on.
    pub(super) fn is_wanted(&self, epoch: Epoch) -> bool {
        let state = self.state.lock();
        !state.is_stopped && state.demands.is_wanted(epoch)
    }

    /// Counts what was read; returns how long to wait before more is.
    pub(super) fn count(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.state.lock().rate.take(bytes, instant())
    }

    /// Waits, unless the lease's run is not wanted any more.
    pub(super) fn wait(&self, time: Duration, epoch: Epoch) {
        let until = instant() + time;
        let mut state = self.state.lock();
        while !state.is_stopped && state.demands.is_wanted(epoch) {
            let left = until.saturating_duration_since(instant());
            if left == Duration::ZERO || self.changed.wait_for(&mut state, left).timed_out() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
