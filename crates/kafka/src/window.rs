//! What is done above the committed offset of one partition. Pure.
//!
//! Records are admitted in offset order and completed in any. What is *not* done is remembered, never a span: transaction
//! markers, aborted records and holes of compaction occupy offsets that are never seen, and are done by definition.
//!
//! ```text
//!      committed                      read-up-to
//!          |  done   not done   done      |
//!   -------X---.---.----X---X----.---.----|------>  offsets
//! ```

use std::collections::VecDeque;

use crate::metadata;

/// The window of one lease.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Not-done offsets of the previous owner that were not read again yet, ascending.
    inherited: VecDeque<i64>,
    /// Everything below this that is not listed as not done is done.
    read_up_to: i64,
    /// What the previous owner had read up to; records below it were seen before.
    restored_up_to: i64,
    /// Admitted offsets, ascending, and whether each is complete. The front is never complete.
    slots: VecDeque<(i64, bool)>,
    /// How many of the slots are not complete.
    live: usize,
}

// === impl Window ===

impl Window {
    /// Starts from what was committed: everything in `[committed, read_up_to)` is done but the listed offsets.
    #[must_use]
    pub fn restore(committed: i64, read_up_to: i64, mut not_done: Vec<i64>) -> Self {
        not_done.sort_unstable();
        not_done.dedup();
        let read_up_to = read_up_to.max(committed);
        not_done.retain(|offset| (committed..read_up_to).contains(offset));
        Self { inherited: not_done.into(), read_up_to, restored_up_to: read_up_to, slots: VecDeque::new(), live: 0 }
    }

    /// A record was read. False: it was done before; skip it and release it. Offsets must ascend.
    pub fn admit(&mut self, offset: i64) -> bool {
        debug_assert!(
            self.slots.back().is_none_or(|&(last, _)| last < offset),
            "offsets are admitted in ascending order"
        );
        // What was not done but does not come up again no longer exists (retention, compaction): nobody can do it.
        while self.inherited.front().is_some_and(|&first| first < offset) {
            self.inherited.pop_front();
        }
        if offset < self.restored_up_to {
            if self.inherited.front() != Some(&offset) {
                return false;
            }
            self.inherited.pop_front();
        }
        self.read_up_to = self.read_up_to.max(offset + 1);
        self.slots.push_back((offset, false));
        self.live += 1;
        true
    }

    /// A record is resolved for good. An offset that is not live changes nothing.
    pub fn complete(&mut self, offset: i64) {
        let Ok(index) = self.slots.binary_search_by_key(&offset, |&(offset, _)| offset) else { return };
        if std::mem::replace(&mut self.slots[index].1, true) {
            return;
        }
        self.live -= 1;
        while self.slots.front().is_some_and(|&(_, done)| done) {
            self.slots.pop_front();
        }
        // One old record must not keep every newer, finished one in memory.
        if self.slots.len() > 64 + 2 * self.live {
            self.slots.retain(|&(_, done)| !done);
        }
    }

    /// Takes `complete` back: the transaction that would have committed it did not get through.
    pub fn reopen(&mut self, offset: i64) {
        match self.slots.binary_search_by_key(&offset, |&(offset, _)| offset) {
            Ok(index) if !self.slots[index].1 => return,
            Ok(index) => self.slots[index].1 = false,
            Err(index) => self.slots.insert(index, (offset, false)),
        }
        self.live += 1;
    }

    /// Everything below `position` was read: with nothing that is not done, what is committed moves there.
    pub fn advance(&mut self, position: i64) {
        while self.inherited.front().is_some_and(|&first| first < position) {
            self.inherited.pop_front();
        }
        self.read_up_to = self.read_up_to.max(position);
    }

    /// What to commit where records are completed in order: the lowest offset that is not done, or the read-up-to offset.
    #[must_use]
    pub fn progress_in_order(&self) -> i64 {
        self.oldest().unwrap_or(self.read_up_to)
    }

    /// How many records are admitted and not complete.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// The oldest offset that is not done, if any.
    #[must_use]
    pub fn oldest(&self) -> Option<i64> {
        let own = self.slots.front().map(|&(offset, _)| offset);
        match (own, self.inherited.front().copied()) {
            (Some(own), Some(inherited)) => Some(own.min(inherited)),
            (own, inherited) => own.or(inherited),
        }
    }

    /// What to commit: the lowest offset that is not done (or the read-up-to offset), the read-up-to offset, and
    /// everything between them that is not done, ascending.
    #[must_use]
    pub fn progress(&self) -> (i64, i64, Vec<i64>) {
        let mut not_done = Vec::with_capacity(self.inherited.len() + self.live);
        // Admitted offsets below an inherited one were inherited themselves: both lists ascend, and what was read again
        // lies below what was not.
        not_done.extend(self.slots.iter().filter(|(_, done)| !done).map(|&(offset, _)| offset));
        not_done.extend(self.inherited.iter().copied());
        not_done.sort_unstable();
        (not_done.first().copied().unwrap_or(self.read_up_to), self.read_up_to, not_done)
    }

    /// Whether one more admitted record could make the commit metadata too long: hold intake until something completes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let count = self.live + self.inherited.len();
        let span = self.read_up_to - self.oldest().unwrap_or(self.read_up_to);
        if metadata::has_room_surely(count, span) {
            return false;
        }
        let (committed, _, not_done) = self.progress();
        !metadata::has_room(committed, &not_done)
    }
}

#[cfg(test)]
mod tests;
