//! One list of a lane: offsets of `deliveries` that wait, in order. Pure.
//!
//! ```text
//!   front (at most 384, and what is in flight)    chunks of 128, never changed      back (below 128)
//!  [ 3 4 9 ... ]                                 [ -1 ][ 0 ][ 1 ] ... [ n ]         [ ... 812 ]
//!    ^ outcomes leave here; below 64 the first chunk joins it                          ^ what is newer comes here
//! ```
//!
//! Both ends stand in the lane's record, which is written again with each change; a chunk is a record of its own, written once
//! and removed once. So what waits long costs nothing, however much it is.
//!
//! What comes is newer than all of it or older than all of it on nearly every occasion. Anything in between finds its place, too,
//! and costs the chunks that stand before it.

mod chunk;
mod ends;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;

use schemas::lanes::{ChunkRecord, ListRecord, ListRole};

pub(crate) use self::chunk::{Age, ChunkStep, SealedChunk};
use self::ends::ListEnds;
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

    /// A list as its record says, with the chunks it names, in order. `None`: they do not make one list.
    pub(crate) fn restore(record: &ListRecord, chunks: Vec<ChunkRecord>) -> Option<Self> {
        let chunks: Option<VecDeque<SealedChunk>> = chunks.into_iter().map(SealedChunk::restore).collect();
        let list = Self { ends: ListEnds::restore(record), chunks: chunks? };
        let named = record.chunks.1.checked_sub(record.chunks.0)?;
        let ascends = list.offsets().zip(list.offsets().skip(1)).all(|(one, next)| one < next);
        let is_whole = ascends && list.len() == record.n && usize::try_from(named) == Ok(list.chunks.len());
        is_whole.then_some(list)
    }

    /// What its lane's record says of it.
    pub(crate) fn record(&self) -> ListRecord {
        self.ends.record(self.chunks.len(), self.len())
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
        [self.ends.age.map(|age| age.oldest_ms), chunks].into_iter().flatten().min()
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
    pub(crate) fn chunk_numbers(&self) -> Range<i64> {
        self.ends.first..self.ends.first + number(self.chunks.len())
    }

    /// The chunk of this number.
    pub(crate) fn chunk(&self, number: i64) -> Option<&SealedChunk> {
        self.chunks.get(usize::try_from(number.checked_sub(self.ends.first)?).ok()?)
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
        if inserted && is_front && self.ends.front.len() > FRONT_AT_MOST {
            let chunk = self.ends.cut_front(CHUNK);
            self.ends.first -= 1;
            self.chunks.push_front(chunk.clone());
            steps.push(ChunkStep::Sealed { number: self.ends.first, chunk, is_first: true });
        }
        self.seal_back(steps);
        inserted
    }

    /// Whether this offset is in it.
    fn holds(&self, offset: i64) -> bool {
        let at = self.chunks.partition_point(|chunk| chunk.last() < offset);
        let in_chunk = |chunk: &SealedChunk| chunk.first() <= offset && chunk.offsets().contains(&offset);
        self.ends.holds(offset) || self.chunks.get(at).is_some_and(in_chunk)
    }

    /// Takes an offset out; the record at it was written at `timestamp_ms`. False: it was not there, and nothing has changed: an
    /// offset between two of this list may be another list's.
    pub(crate) fn remove(&mut self, offset: i64, timestamp_ms: i64, steps: &mut Vec<ChunkStep>) -> bool {
        if !self.holds(offset) {
            return false;
        }
        self.reach(offset, steps);
        let removed = self.ends.remove(offset, timestamp_ms);
        self.refill(steps);
        removed
    }

    /// Drops everything outside `kept`; returns the offsets that went.
    pub(crate) fn keep(&mut self, kept: &Range<i64>, steps: &mut Vec<ChunkStep>) -> Vec<i64> {
        let mut gone = Vec::new();
        while self.chunks.back().is_some_and(|chunk| chunk.last() >= kept.end) {
            let Some(chunk) = self.chunks.pop_back() else { break };
            let number = self.ends.first + number(self.chunks.len());
            gone.extend(self.ends.replace_back(&chunk));
            steps.push(ChunkStep::Taken { number, chunk, is_first: false });
        }
        while self.chunks.front().is_some_and(|chunk| chunk.first() < kept.start) {
            self.join(steps);
        }
        gone.extend(self.ends.keep(kept));
        self.refill(steps);
        gone.sort_unstable();
        gone
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
            let chunk = self.ends.take_back();
            let number = self.ends.first + number(self.chunks.len());
            self.chunks.push_back(chunk.clone());
            steps.push(ChunkStep::Sealed { number, chunk, is_first: false });
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
            self.ends.age = None;
        }
    }

    /// The first chunk joins the front.
    fn join(&mut self, steps: &mut Vec<ChunkStep>) {
        let Some(chunk) = self.chunks.pop_front() else { return };
        if !flaws::has(Flaw::TombstoneWithoutRefill) {
            self.ends.join(&chunk);
        }
        let number = self.ends.first;
        self.ends.first += 1;
        steps.push(ChunkStep::Taken { number, chunk, is_first: true });
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
