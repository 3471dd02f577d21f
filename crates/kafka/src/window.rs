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
    admitted: VecDeque<(i64, bool)>,
    /// How many of the admitted offsets are not complete.
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
        Self { inherited: not_done.into(), read_up_to, restored_up_to: read_up_to, admitted: VecDeque::new(), live: 0 }
    }

    /// A record was read. False: it was done before; skip it and release it. Offsets must ascend.
    pub fn admit(&mut self, offset: i64) -> bool {
        debug_assert!(
            self.admitted.back().is_none_or(|&(last, _)| last < offset),
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
        self.admitted.push_back((offset, false));
        self.live += 1;
        true
    }

    /// A record is resolved for good. An offset that is not live changes nothing.
    pub fn complete(&mut self, offset: i64) {
        if self.admitted.front().is_some_and(|&(first, _)| first == offset) {
            // A role that completes in order never searches. The front is never complete, so it was live.
            self.admitted.pop_front();
        } else {
            let Ok(index) = self.find(offset) else { return };
            if std::mem::replace(&mut self.admitted[index].1, true) {
                return;
            }
        }
        self.live -= 1;
        while self.admitted.front().is_some_and(|&(_, done)| done) {
            self.admitted.pop_front();
        }
        // One old record must not keep every newer, finished one in memory.
        if self.admitted.len() > 64 + 2 * self.live {
            self.admitted.retain(|&(_, done)| !done);
        }
    }

    /// Takes back [`Self::complete`] for an admitted record, because the transaction that was to resolve it did not commit.
    /// Whatever the window had forgotten of it is remembered again. An offset that was never admitted changes nothing.
    pub fn reopen(&mut self, offset: i64) {
        if offset >= self.read_up_to || self.inherited.binary_search(&offset).is_ok() {
            return;
        }
        match self.find(offset) {
            Ok(index) if !std::mem::replace(&mut self.admitted[index].1, false) => return,
            Ok(_) => {}
            Err(index) => self.admitted.insert(index, (offset, false)),
        }
        self.live += 1;
    }

    /// Moves the read-up-to offset over transaction markers, aborted records and holes, up to a position of which the poller
    /// says that everything below it was handed out ([`crate::LeaseLag::at_end`]). False: something below it is not done, or
    /// it is not ahead.
    pub fn advance(&mut self, position: i64) -> bool {
        let inherited = self.inherited.front().is_some_and(|&first| first < position);
        if self.live > 0 || inherited || position <= self.read_up_to {
            return false;
        }
        self.read_up_to = position;
        true
    }

    /// How many records are admitted and not complete.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// The oldest offset that is not done, if any.
    #[must_use]
    pub fn oldest(&self) -> Option<i64> {
        let own = self.admitted.front().map(|&(offset, _)| offset);
        match (own, self.inherited.front().copied()) {
            (Some(own), Some(inherited)) => Some(own.min(inherited)),
            (own, inherited) => own.or(inherited),
        }
    }

    /// What a role commits that resolves its records in the order they came: the lowest offset that is not done, or the
    /// read-up-to offset. Costs nothing, where [`Self::progress`] lists all that is not done.
    #[must_use]
    pub fn progress_in_order(&self) -> i64 {
        self.oldest().unwrap_or(self.read_up_to)
    }

    /// What to commit: the lowest offset that is not done (or the read-up-to offset), the read-up-to offset, and
    /// everything between them that is not done, ascending.
    #[must_use]
    pub fn progress(&self) -> (i64, i64, Vec<i64>) {
        let mut not_done = Vec::with_capacity(self.inherited.len() + self.live);
        // Admitted offsets below an inherited one were inherited themselves: both lists ascend, and what was read again
        // lies below what was not.
        not_done.extend(self.admitted.iter().filter(|(_, done)| !done).map(|&(offset, _)| offset));
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

    /// Where an offset stands among the admitted ones, or where it would.
    fn find(&self, offset: i64) -> Result<usize, usize> {
        self.admitted.binary_search_by_key(&offset, |&(offset, _)| offset)
    }
}

#[cfg(test)]
mod tests;
