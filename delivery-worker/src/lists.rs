//! One list of a lane: offsets of `deliveries` that wait, in order. Pure.
//!
//! ```text
//!   front (at most 384)                           chunks of 128                      back (below 128)
//!  [ 3 4 9 ... ]                                 [ -1 ][ 0 ][ 1 ] ... [ n ]         [ ... 812 ]
//!    ^ outcomes leave here; below 64 the first chunk joins it                          ^ what is newer comes here
//! ```
//!
//! Both ends stand in the lane's record, which is written again with each change; a chunk is a record of its own, written once
//! and removed once. So what waits long costs nothing, however much it is. Only where some of its offsets leave before their turn
//! (they have died of age, or their outcome was faster) a chunk is written again without them, or removed; the numbers of the
//! others stay.
//!
//! What comes is newer than all of it or older than all of it on nearly every occasion. Anything in between finds its place, too,
//! and costs the chunks that stand before it.

mod chunk;
mod ends;
pub(crate) mod part;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;

use schemas::lanes::{ChunkRecord, ListRecord, ListRole};

pub(crate) use self::chunk::{Age, ChunkStep, SealedChunk, UNKNOWN_AGE};
use self::ends::{EndAge, ListEnds};
use crate::flaws::{self, Flaw};

/// Offsets of a chunk.
pub(crate) const CHUNK: usize = 128;
/// A list of so many has no back.
const FRONT: usize = 256;
/// What is beyond that at the front's end becomes a chunk.
const FRONT_AT_MOST: usize = 384;
/// Below that the first chunk joins the front.
const FRONT_AT_LEAST: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct List {
    ends: ListEnds,
    chunks: VecDeque<SealedChunk>,
}

/// The ends of a list as they were.
#[derive(Clone, Debug)]
pub(crate) struct Before(ListEnds);

// === impl Before ===

impl Before {
    /// Number of the list.
    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }
}

// === impl List ===

impl List {
    /// An empty list with this number.
    pub(crate) fn new(role: ListRole, id: u32) -> Self {
        Self { ends: ListEnds::new(role, id), chunks: VecDeque::new() }
    }

    /// A list as its record says, with the chunks it names, by number. `None`: they do not make one list.
    pub(crate) fn restore(record: &ListRecord, chunks: Vec<(i64, ChunkRecord)>) -> Option<Self> {
        let restored = chunks.iter().map(|(number, chunk)| SealedChunk::restore(*number, chunk));
        let list = Self { ends: ListEnds::restore(record), chunks: restored.collect::<Option<_>>()? };
        let ascends = list.offsets().zip(list.offsets().skip(1)).all(|(one, next)| one < next);
        // Between its first and its last chunk some may have become empty: the count tells whether any is missing.
        let is_whole = ascends && list.len() == record.n && list.record().chunks == record.chunks;
        is_whole.then_some(list)
    }

    /// What its lane's record says of it.
    pub(crate) fn record(&self) -> ListRecord {
        self.ends.record(self.chunks.back().map(|chunk| chunk.number), self.len())
    }

    /// What it holds.
    pub(crate) fn role(&self) -> ListRole {
        self.ends.role
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.ends.id
    }

    /// From now on it is one to be swept.
    pub(crate) fn set_aside(&mut self) {
        self.ends.role = ListRole::SetAside;
    }

    /// How many wait in it.
    pub(crate) fn len(&self) -> u64 {
        let ends = self.ends.front.len() + self.ends.back.len();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        count(ends) + self.chunks.iter().map(|chunk| count(chunk.len())).sum::<u64>()
    }

    /// Whether nothing waits in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.front.is_empty() && self.chunks.is_empty() && self.ends.back.is_empty()
    }

    /// Its first offset.
    pub(crate) fn first(&self) -> Option<i64> {
        let chunk = || self.chunks.front().map(SealedChunk::first);
        self.ends.front.front().copied().or_else(chunk).or_else(|| self.ends.back.first().copied())
    }

    /// Its last offset.
    pub(crate) fn last(&self) -> Option<i64> {
        let chunk = || self.chunks.back().map(SealedChunk::last);
        self.ends.back.last().copied().or_else(chunk).or_else(|| self.ends.front.back().copied())
    }

    /// Everything in it, in order.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = i64> + '_ {
        let chunks = self.chunks.iter().flat_map(SealedChunk::offsets);
        self.ends.front.iter().copied().chain(chunks).chain(self.ends.back.iter().copied())
    }

    /// Its parts for whoever keeps an order of its own: the front, the chunks, the back.
    pub(crate) fn parts(&self) -> (&VecDeque<i64>, &VecDeque<SealedChunk>, &[i64]) {
        (&self.ends.front, &self.chunks, &self.ends.back)
    }

    /// Nothing in it is older than this, Unix ms.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        let chunks = self.chunks.front().map(|chunk| chunk.age.oldest_ms);
        [self.ends.age.all.map(|age| age.oldest_ms), chunks].into_iter().flatten().min()
    }

    /// The ends as they are now, to go back to.
    pub(crate) fn before(&self) -> Before {
        Before(self.ends.clone())
    }

    /// The list that had these ends, once the steps of its chunks since are taken back.
    pub(crate) fn rewind(before: Before, chunks: VecDeque<SealedChunk>) -> Self {
        Self { ends: before.0, chunks }
    }

    /// The numbers of its chunks.
    pub(crate) fn chunk_numbers(&self) -> impl Iterator<Item = i64> + '_ {
        self.chunks.iter().map(|chunk| chunk.number)
    }

    /// The chunk of this number.
    pub(crate) fn chunk(&self, number: i64) -> Option<&SealedChunk> {
        self.chunks.get(self.chunks.binary_search_by_key(&number, |chunk| chunk.number).ok()?)
    }

    /// Bytes of the records of its chunks.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunks.iter().map(SealedChunk::bytes).sum()
    }

    /// Gives up its chunks, for [`List::rewind`].
    pub(crate) fn into_chunks(self) -> VecDeque<SealedChunk> {
        self.chunks
    }

    /// Takes an offset in. False: it was there.
    pub(crate) fn insert(&mut self, offset: i64, age: Age, steps: &mut Vec<ChunkStep>) -> bool {
        if self.last().is_none_or(|last| offset > last) {
            self.push_back(offset, age, steps);
            return true;
        }
        self.reach(offset, steps);
        let is_front = self.chunks.front().is_none_or(|chunk| offset < chunk.first());
        let inserted =
            if is_front { self.ends.insert_ahead(offset, age) } else { self.ends.insert_behind(offset, age) };
        while self.ends.front.len() > FRONT_AT_MOST {
            let chunk = self.ends.cut_front(CHUNK);
            self.chunks.push_front(chunk.clone());
            steps.push(ChunkStep::Sealed { chunk, is_first: true });
        }
        self.seal_back(steps);
        inserted
    }

    /// Takes an offset out, wherever it is; the record at it was written at `timestamp_ms`. False: it was not there, and nothing
    /// has changed: an offset between two of this list may be another list's.
    pub(crate) fn remove(&mut self, offset: i64, timestamp_ms: i64, steps: &mut Vec<ChunkStep>) -> bool {
        let at = self.chunks.partition_point(|chunk| chunk.last() < offset);
        if !self.ends.remove(offset, timestamp_ms) {
            if !self.chunks.get(at).is_some_and(|chunk| chunk.holds(offset)) {
                return false;
            }
            self.cut(at, |own| *own != offset, steps);
        }
        self.refill(steps);
        true
    }

    /// Drops what lies outside `kept`, of so many chunks at most; returns the offsets that went.
    pub(crate) fn keep(&mut self, kept: &Range<i64>, most: usize, steps: &mut Vec<ChunkStep>) -> Vec<i64> {
        let mut gone = self.ends.keep(kept);
        let is_outside = |chunk: &SealedChunk| chunk.first() < kept.start || chunk.last() >= kept.end;
        for _ in 0..most {
            let at = if self.chunks.front().is_some_and(is_outside) { 0 } else { self.chunks.len().saturating_sub(1) };
            let Some(chunk) = self.chunks.get(at).filter(|chunk| is_outside(chunk)) else { break };
            gone.extend(chunk.offsets().into_iter().filter(|offset| !kept.contains(offset)));
            self.cut(at, |offset| kept.contains(offset), steps);
        }
        self.refill(steps);
        gone.sort_unstable();
        gone
    }

    /// Offsets leave a chunk.
    fn cut(&mut self, at: usize, keep: impl FnMut(&i64) -> bool, steps: &mut Vec<ChunkStep>) {
        let Some(was) = self.chunks.get(at).cloned() else { return };
        let is = was.keep(keep);
        match is.clone() {
            Some(is) => self.chunks[at] = is,
            None => drop(self.chunks.remove(at)),
        }
        self.ends.first = self.chunks.front().map_or(self.ends.first, |chunk| chunk.number);
        steps.push(ChunkStep::Cut { was, is });
    }

    fn push_back(&mut self, offset: i64, age: Age, steps: &mut Vec<ChunkStep>) {
        if self.chunks.is_empty() && self.ends.back.is_empty() && self.ends.front.len() < FRONT {
            self.ends.push_front_end(offset, age);
        } else {
            self.ends.push_back(offset, age);
            self.seal_back(steps);
        }
    }

    fn seal_back(&mut self, steps: &mut Vec<ChunkStep>) {
        if self.ends.back.len() >= CHUNK {
            let number = self.chunks.back().map_or(self.ends.first, |chunk| chunk.number + 1);
            let chunk = self.ends.take_back(number);
            self.chunks.push_back(chunk.clone());
            steps.push(ChunkStep::Sealed { chunk, is_first: false });
        }
    }

    /// Lets chunks join the front until one that holds this offset, or could, has joined.
    fn reach(&mut self, offset: i64, steps: &mut Vec<ChunkStep>) {
        if self.chunks.back().is_none_or(|chunk| offset > chunk.last()) {
            return;
        }
        while self.chunks.front().is_some_and(|chunk| offset >= chunk.first()) {
            self.join(steps);
        }
    }

    fn refill(&mut self, steps: &mut Vec<ChunkStep>) {
        while self.ends.front.len() < FRONT_AT_LEAST && !self.chunks.is_empty() {
            self.join(steps);
        }
        if self.ends.front.len() < FRONT_AT_LEAST && self.chunks.is_empty() {
            self.ends.back_joins();
        }
        if self.is_empty() {
            self.ends.age = EndAge::default();
        }
    }

    /// The first chunk joins the front.
    fn join(&mut self, steps: &mut Vec<ChunkStep>) {
        let Some(chunk) = self.chunks.pop_front() else { return };
        if !flaws::has(Flaw::TombstoneWithoutRefill) {
            self.ends.join(&chunk);
        }
        self.ends.first = self.chunks.front().map_or(chunk.number + 1, |next| next.number);
        steps.push(ChunkStep::Joined(chunk));
    }
}
