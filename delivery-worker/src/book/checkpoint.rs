//! From where a takeover reads `lanes`, and how that place moves on. Pure.
//!
//! ```text
//! enough written --> due: the end X of the partition is asked for --> each record that counts once more, some with every batch
//!       ^                                                                                        |
//!       +------------------- the last of them is committed, and beside it: read from X ----------+
//! ```
//!
//! The brokers' cleaner removes what is replaced, sooner or later or never. What a takeover has to read is bounded whatever it
//! does: by a floor, and by so many times what counts. X is asked for before the first record is written once more, so all of them
//! stand above it.

use std::collections::VecDeque;

use schemas::lanes::{ChunkKey, LaneKey};

use super::Book;
use crate::flaws::{self, Flaw};
use crate::lists::SealedChunk;

/// When everything is written once more, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointBounds {
    /// So much may be written in any case, bytes.
    pub(crate) floor: u64,
    /// And so many times what counts.
    pub(crate) times: u64,
    /// Records of one batch.
    pub(crate) portion: usize,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Checkpoint {
    bounds: CheckpointBounds,
    from: i64,
    /// Written since then, bytes, committed or not.
    written: u64,
    /// Of the records that count, bytes.
    live: u64,
    /// The same before the batch under way.
    live_before: u64,
    rewrite: Option<Rewrite>,
}

/// Everything is written once more.
#[derive(Clone, Debug)]
struct Rewrite {
    end: i64,
    /// Written since its end was asked for, bytes.
    written: u64,
    left: VecDeque<LaneKey>,
    /// Keys of the portion under way.
    under_way: Vec<LaneKey>,
    /// That is the last one.
    is_last: bool,
}

// === impl CheckpointBounds ===

impl Default for CheckpointBounds {
    fn default() -> Self {
        Self { floor: 8 << 20, times: 8, portion: 256 }
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// A batch was cut.
    pub(super) fn begin(&mut self) {
        self.live_before = self.live;
    }

    /// So many bytes are about to be written.
    pub(super) fn wrote(&mut self, size: usize) {
        let size = bytes(size);
        self.written += size;
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.written += size;
        }
    }

    /// A record that counts takes the place of one of another size; 0: there is none.
    pub(super) fn replaced(&mut self, was: usize, is: usize) {
        self.live = self.live.saturating_sub(bytes(was)) + bytes(is);
    }

    /// Chunks that the batch writes once more, if they are still there.
    pub(super) fn chunks(&self) -> Vec<ChunkKey> {
        let keys = self.rewrite.iter().flat_map(|rewrite| &rewrite.under_way);
        let chunk = |key: &LaneKey| if let LaneKey::Chunk(key) = *key { Some(key) } else { None };
        keys.filter_map(chunk).collect()
    }

    /// The batch is committed.
    pub(super) fn keep(&mut self) {
        let Some(rewrite) = &mut self.rewrite else { return };
        rewrite.under_way.clear();
        if rewrite.is_last {
            (self.from, self.written) = (rewrite.end, rewrite.written);
            self.rewrite = None;
        }
    }

    /// The batch was not written.
    pub(super) fn undo(&mut self) {
        self.live = self.live_before;
        let Some(rewrite) = &mut self.rewrite else { return };
        for key in std::mem::take(&mut rewrite.under_way).into_iter().rev() {
            rewrite.left.push_front(key);
        }
        rewrite.is_last = false;
    }
}

// === impl Book: checkpoints ===

impl Book {
    /// What was read of it began there and came to so many bytes.
    pub(crate) fn set_read(&mut self, from: i64, bytes: u64) {
        (self.checkpoint.from, self.checkpoint.written) = (from, bytes);
    }

    /// Other bounds than those that are built in.
    #[cfg(test)]
    pub(crate) fn set_bounds(&mut self, bounds: CheckpointBounds) {
        self.checkpoint.bounds = bounds;
    }

    /// Where a takeover begins to read `lanes`, once the batch that was cut last is committed.
    pub(crate) fn read_from(&self) -> i64 {
        let is_above = |rewrite: &&Rewrite| rewrite.is_last || flaws::has(Flaw::CheckpointTooEarly);
        self.checkpoint.rewrite.as_ref().filter(is_above).map_or(self.checkpoint.from, |rewrite| rewrite.end)
    }

    /// Whether so much was written that the end of its partition is to be asked for, see [`Book::rewrite_above`].
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        let Checkpoint { bounds, written, live, rewrite, .. } = &self.checkpoint;
        rewrite.is_none() && *written > bounds.floor + bounds.times * live && !flaws::has(Flaw::CheckpointForgotten)
    }

    /// Everything that counts is to be written above this end, which was asked for after the last batch was cut or earlier.
    pub(crate) fn rewrite_above(&mut self, end: i64) {
        let mut left: VecDeque<LaneKey> = VecDeque::new();
        for (subscription, lists) in self.lists() {
            left.push_back(LaneKey::Lane(subscription));
            for list in lists {
                let key = |number| LaneKey::Chunk(ChunkKey { subscription, list: list.id(), number });
                left.extend(list.chunk_numbers().map(key));
            }
        }
        self.checkpoint.rewrite = Some(Rewrite { end, written: 0, left, under_way: Vec::new(), is_last: false });
    }

    /// Whether [`Book::rewrite`] has something to do.
    pub(crate) fn is_rewriting(&self) -> bool {
        self.checkpoint.rewrite.is_some()
    }

    /// Whether the batch that was cut last holds a portion.
    pub(crate) fn has_portion(&self) -> bool {
        self.checkpoint.rewrite.as_ref().is_some_and(|rewrite| rewrite.is_last || !rewrite.under_way.is_empty())
    }

    /// Writes the next portion, in a batch that has begun.
    pub(crate) fn rewrite(&mut self) {
        let portion = self.checkpoint.bounds.portion;
        let Some(rewrite) = &mut self.checkpoint.rewrite else { return };
        for key in rewrite.left.drain(..portion.min(rewrite.left.len())) {
            rewrite.under_way.push(key);
            // A lane that is gone by now has its tombstone.
            if let LaneKey::Lane(id) = key
                && let Some(lane) = self.lanes.get(&id)
            {
                self.journal.touch(id, lane);
            }
        }
        rewrite.is_last = rewrite.left.is_empty();
    }

    /// A chunk that is there.
    pub(super) fn chunk(&self, key: ChunkKey) -> Option<&SealedChunk> {
        let lists = &self.lanes.get(&key.subscription)?.lists;
        lists.iter().find(|list| list.id() == key.list)?.chunk(key.number)
    }
}

fn bytes(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
