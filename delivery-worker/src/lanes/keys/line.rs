//! What waits of one ordering key.

use schemas::ids::DeliveryId;
use schemas::lanes::HeldKey;

use crate::lanes::queue::{Queue, Rank};

/// So many of one key are kept in memory although they stand in lists: the others are read back when it is their turn.
const NEAR: usize = 8;
/// Of a key with more it wants so many in memory: one in flight, and the next is there when it ends.
const AHEAD: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct KeyLine<T> {
    pub(super) queue: Queue<T>,
    /// One that has failed and is on its way back: the others wait for it.
    pub(super) held: Option<HeldKey>,
    /// It is back, and in memory.
    returned: Option<Rank>,
    is_flying: bool,
}

/// How much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LineSizes {
    /// In memory.
    pub(super) ready: usize,
    /// Those of them that stand in lists.
    pub(super) listed: usize,
    /// Offsets only.
    pub(super) absent: usize,
    /// Keys that are held.
    pub(super) held: usize,
}

impl<T> Default for KeyLine<T> {
    fn default() -> Self {
        Self { queue: Queue::default(), held: None, returned: None, is_flying: false }
    }
}

// === impl LineSizes ===

impl LineSizes {
    pub(super) fn with(self, more: Self) -> Self {
        Self {
            ready: self.ready + more.ready,
            listed: self.listed + more.listed,
            absent: self.absent + more.absent,
            held: self.held + more.held,
        }
    }

    pub(super) fn without(self, less: Self) -> Self {
        Self {
            ready: self.ready - less.ready,
            listed: self.listed - less.listed,
            absent: self.absent - less.absent,
            held: self.held - less.held,
        }
    }
}

// === impl KeyLine ===

impl<T: Copy> KeyLine<T> {
    pub(super) fn push(&mut self, rank: Rank, item: T, is_listed: bool, delivery: DeliveryId) {
        self.queue.push(rank, item, is_listed);
        if self.held.as_ref().is_some_and(|held| held.delivery == delivery) {
            self.returned = Some(rank);
        }
    }

    pub(super) fn remove(&mut self, rank: Rank) -> bool {
        self.returned.take_if(|returned| *returned == rank);
        self.queue.remove(rank)
    }

    pub(super) fn send(&mut self, rank: Rank) {
        self.remove(rank);
        self.is_flying = true;
    }

    pub(super) fn ended(&mut self, held: Option<HeldKey>) {
        self.is_flying = false;
        self.returned = None;
        self.held = held;
    }

    pub(super) fn free(&mut self) {
        self.held = None;
        self.returned = None;
    }

    /// What it waits for, while that is neither here nor in flight.
    pub(super) fn away(&self) -> Option<HeldKey> {
        self.held.as_ref().filter(|_| self.returned.is_none() && !self.is_flying).cloned()
    }

    pub(super) fn mark_listed(&mut self, rank: Rank) {
        if let Some(item) = self.queue.get(rank) {
            self.queue.push(rank, item, true);
        }
    }

    /// Whether it waits for one that is on its way back.
    pub(super) fn is_held_back(&self, rank: Rank) -> bool {
        self.held.is_some() && self.returned != Some(rank)
    }

    /// Whether others go before this one, for longer than it is worth to keep it.
    pub(super) fn is_behind(&self, rank: Rank) -> bool {
        self.is_held_back(rank)
            || (self.queue.listed_ready() > NEAR && self.queue.first_ready().is_some_and(|(first, _)| first < rank))
    }

    /// True: it waits here as an offset. False: it is gone from here, because nothing goes before it.
    pub(super) fn drop_payload(&mut self, rank: Rank) -> bool {
        let is_returned = self.returned == Some(rank);
        self.remove(rank);
        let waits = !is_returned && (self.is_flying || self.held.is_some() || !self.queue.is_empty());
        if waits {
            self.queue.push_offset(rank);
        }
        waits
    }

    /// The one that may go.
    pub(super) fn next(&self) -> Option<Rank> {
        if self.is_flying {
            return None;
        }
        if self.held.is_some() {
            return self.returned;
        }
        let (rank, _) = self.queue.first_ready()?;
        let absent = [self.queue.first_absent(), self.queue.first_absent_aside()].into_iter().flatten().min();
        Some(rank).filter(|rank| absent.is_none_or(|absent| *rank < absent))
    }

    /// Whether something should be read back for it.
    pub(super) fn is_hungry(&self) -> bool {
        let Some(next) = self.queue.first_of_lines().filter(|_| self.held.is_none()) else { return false };
        // What is in memory and newer does not go before it.
        let ahead =
            self.queue.first_ready().map_or(0, |(first, _)| if first < next { self.queue.listed_ready() } else { 0 });
        ahead + self.queue.asked() < AHEAD
    }

    /// Whether nothing is to be known of it.
    pub(super) fn is_over(&self) -> bool {
        self.queue.is_empty() && self.held.is_none() && !self.is_flying
    }

    pub(super) fn sizes(&self) -> LineSizes {
        LineSizes {
            ready: self.queue.len() - self.queue.absent(),
            listed: self.queue.listed_ready(),
            absent: self.queue.absent(),
            held: usize::from(self.held.is_some()),
        }
    }
}
