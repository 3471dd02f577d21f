//! The lines of a lane's ordering keys, and what of them all has to be found at once.

use std::collections::{BTreeMap, BTreeSet};

use schemas::ordering::OrderingKey;

use super::HELD_AT_MOST;
use super::line::{KeyLine, LineSizes};
use crate::lanes::queue::Rank;

/// The lines of the keys.
#[derive(Debug)]
pub(super) struct KeyLines<T> {
    pub(super) lines: BTreeMap<OrderingKey, KeyLine<T>>,
    /// Keys of those in memory.
    pub(super) of: BTreeMap<Rank, OrderingKey>,
    /// Keys of those that are read back for their line.
    pub(super) asked: BTreeMap<i64, OrderingKey>,
    /// The first of each line that may go.
    pub(super) open: BTreeMap<Rank, OrderingKey>,
    /// Lines that want to read something back.
    hungry: BTreeSet<OrderingKey>,
    /// Of all lines together.
    pub(super) sizes: LineSizes,
}

impl<T> Default for KeyLines<T> {
    fn default() -> Self {
        Self {
            lines: BTreeMap::new(),
            of: BTreeMap::new(),
            asked: BTreeMap::new(),
            open: BTreeMap::new(),
            hungry: BTreeSet::new(),
            sizes: LineSizes::default(),
        }
    }
}

// === impl KeyLines ===

impl<T: Copy> KeyLines<T> {
    /// Changes a line, which is made for that or goes with it.
    pub(super) fn change<R>(&mut self, key: OrderingKey, change: impl FnOnce(&mut KeyLine<T>) -> R) -> R {
        let line = self.lines.entry(key).or_default();
        let (was, was_open) = (line.sizes(), line.next());
        let result = change(line);
        self.sizes = self.sizes.without(was).with(line.sizes());
        let is_open = line.next();
        if was_open != is_open {
            if let Some(rank) = was_open {
                self.open.remove(&rank);
            }
            self.open.extend(is_open.map(|rank| (rank, key)));
        }
        if line.is_hungry() {
            self.hungry.insert(key);
        } else {
            self.hungry.remove(&key);
        }
        if line.is_over() {
            self.lines.remove(&key);
        }
        result
    }

    /// The first that may go, where this is the first of unknown key that was set aside.
    pub(super) fn next(&self, aside: Option<Rank>) -> Option<(Rank, T)> {
        let is_full = self.sizes.held >= HELD_AT_MOST;
        self.open.iter().take_while(|(rank, _)| aside.is_none_or(|aside| **rank < aside)).find_map(|(rank, key)| {
            let line = self.lines.get(key).filter(|line| !is_full || line.held.is_some())?;
            Some((*rank, line.queue.get(*rank)?))
        })
    }

    /// Takes one that is in memory out.
    pub(super) fn remove(&mut self, rank: Rank) -> bool {
        let Some(key) = self.of.remove(&rank) else { return false };
        self.change(key, |line| line.remove(rank))
    }

    /// One in memory is an offset from now on. False: it is of no line in which it has to wait.
    pub(super) fn drop_payload(&mut self, rank: Rank) -> bool {
        let Some(key) = self.of.remove(&rank) else { return false };
        self.change(key, |line| line.drop_payload(rank))
    }

    /// The next to be read back for its line.
    pub(super) fn ask(&mut self) -> Option<Rank> {
        let key = self.hungry.first().copied()?;
        let rank = self.change(key, |line| line.queue.ask_first())?;
        self.asked.insert(rank.offset, key);
        Some(rank)
    }
}
