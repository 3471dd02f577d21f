//! The two ends of a list, which stand in its lane's record.

use std::collections::VecDeque;
use std::ops::Range;

use schemas::lanes::{ListRecord, ListRole};

use super::chunk::{Age, SealedChunk, UNKNOWN_AGE};

#[derive(Clone, Debug)]
pub(super) struct ListEnds {
    pub(super) role: ListRole,
    pub(super) id: u32,
    pub(super) front: VecDeque<i64>,
    pub(super) back: Vec<i64>,
    /// Number of the first chunk, or of the first that comes.
    pub(super) first: i64,
    /// Of what is in the front.
    pub(super) age: EndAge,
    /// Of what is in the back.
    pub(super) back_age: EndAge,
}

/// Bounds of what is in one end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EndAge {
    /// Of all of it; `None`: there is nothing.
    pub(super) all: Option<Age>,
    /// Of what has come since [`EndAge::begin`].
    added: Option<Age>,
    /// All of it is about to leave: it was looked at, and nothing of it lives.
    pub(super) is_leaving: bool,
}

// === impl EndAge ===

impl EndAge {
    fn of(age: Age) -> Self {
        Self { all: Some(age), added: Some(age), is_leaving: false }
    }

    fn add(&mut self, age: Age) {
        self.all = Some(age.with(self.all));
        self.added = Some(age.with(self.added));
        self.is_leaving = false;
    }

    fn take(&mut self) -> Age {
        std::mem::take(self).all.unwrap_or(UNKNOWN_AGE)
    }

    /// What is there now is looked at one by one.
    pub(super) fn begin(&mut self) {
        self.added = None;
    }

    /// Those that live, of what was there, are so old.
    pub(super) fn end(&mut self, living: Option<Age>) {
        let all = living.map(|age| age.with(self.added)).or(self.added);
        (self.all, self.is_leaving) = (all.or(self.all), all.is_none());
    }
}

// === impl ListEnds ===

impl ListEnds {
    pub(super) fn new(role: ListRole, id: u32) -> Self {
        let (age, back_age) = (EndAge::default(), EndAge::default());
        Self { role, id, front: VecDeque::new(), back: Vec::new(), first: 0, age, back_age }
    }

    pub(super) fn restore(record: &ListRecord) -> Self {
        let age = EndAge::of(Age { oldest_ms: record.oldest_ms, dead_ms: record.dead_ms });
        let ListRecord { role, id, front, back, chunks, .. } = record.clone();
        // The record has one age for both ends.
        let back_age = if back.is_empty() { EndAge::default() } else { age };
        Self { role, id, front: front.into(), back, first: chunks.0, age, back_age }
    }

    pub(super) fn record(&self, last: Option<i64>, n: u64) -> ListRecord {
        let age = self.age.all.map(|age| age.with(self.back_age.all)).or(self.back_age.all);
        let Age { oldest_ms, dead_ms } = age.unwrap_or(UNKNOWN_AGE);
        let chunks = last.map_or((self.first, self.first), |last| (self.first, last + 1));
        let (front, back) = (self.front.iter().copied().collect(), self.back.clone());
        ListRecord { role: self.role, id: self.id, front, chunks, back, n, oldest_ms, dead_ms }
    }

    pub(super) fn push_front_end(&mut self, offset: i64, age: Age) {
        self.front.push_back(offset);
        self.age.add(age);
    }

    pub(super) fn push_back(&mut self, offset: i64, age: Age) {
        self.back.push(offset);
        self.back_age.add(age);
    }

    /// Before the chunks. Where there are none, what belongs behind the first of the back stays behind it.
    pub(super) fn insert_ahead(&mut self, offset: i64, age: Age) -> bool {
        if self.back.first().is_some_and(|first| offset >= *first) {
            return self.insert_behind(offset, age);
        }
        match self.front.binary_search(&offset) {
            Ok(_) => false,
            Err(at) => {
                self.front.insert(at, offset);
                self.age.add(age);
                true
            }
        }
    }

    /// Behind the chunks.
    pub(super) fn insert_behind(&mut self, offset: i64, age: Age) -> bool {
        match self.back.binary_search(&offset) {
            Ok(_) => false,
            Err(at) => {
                self.back.insert(at, offset);
                self.back_age.add(age);
                true
            }
        }
    }

    pub(super) fn remove(&mut self, offset: i64, timestamp_ms: i64) -> bool {
        if let Ok(at) = self.front.binary_search(&offset) {
            self.front.remove(at);
            // Kafka's times ascend with the offsets: what is left is no older than the first was.
            if at == 0
                && let Some(age) = &mut self.age.all
            {
                age.oldest_ms = age.oldest_ms.max(timestamp_ms);
            }
            return true;
        }
        match self.back.binary_search(&offset) {
            Ok(at) => {
                self.back.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Takes the last offsets of the front as a chunk.
    pub(super) fn cut_front(&mut self, count: usize) -> SealedChunk {
        let offsets: Vec<i64> = self.front.split_off(self.front.len() - count).into();
        self.first -= 1;
        let age = self.age.all.unwrap_or(UNKNOWN_AGE);
        SealedChunk::new(self.first, &offsets, age).expect("as many offsets as a chunk has")
    }

    /// Takes the back as a chunk.
    pub(super) fn take_back(&mut self, number: i64) -> SealedChunk {
        let (offsets, age) = (std::mem::take(&mut self.back), self.back_age.take());
        SealedChunk::new(number, &offsets, age).expect("as many offsets as a chunk has")
    }

    /// The offsets of a chunk that stood before all others.
    pub(super) fn join(&mut self, chunk: &SealedChunk) {
        if self.front.is_empty() {
            self.age.all = None;
        }
        self.age.add(chunk.age);
        self.front.extend(chunk.offsets());
    }

    pub(super) fn back_joins(&mut self) {
        if self.back.is_empty() {
            return;
        }
        if self.front.is_empty() {
            self.age.all = None;
        }
        self.age.add(self.back_age.take());
        self.front.extend(self.back.drain(..));
    }

    /// Drops what is outside; returns it.
    pub(super) fn keep(&mut self, kept: &Range<i64>) -> Vec<i64> {
        let all = self.front.iter().chain(&self.back);
        let gone = all.copied().filter(|offset| !kept.contains(offset)).collect();
        self.front.retain(|offset| kept.contains(offset));
        self.back.retain(|offset| kept.contains(offset));
        if self.back.is_empty() {
            self.back_age = EndAge::default();
        }
        gone
    }
}
