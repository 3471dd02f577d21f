//! The two ends of a list, which stand in its lane's record.

use std::collections::VecDeque;
use std::ops::Range;

use schemas::lanes::{ListRecord, ListRole};

use super::chunk::{Age, SealedChunk};

#[derive(Clone, Debug)]
pub(super) struct ListEnds {
    pub(super) role: ListRole,
    pub(super) id: u32,
    pub(super) front: VecDeque<i64>,
    pub(super) back: Vec<i64>,
    /// Number of the first chunk.
    pub(super) first: i64,
    /// Of what is in the front.
    pub(super) age: Option<Age>,
    /// Of what is in the back.
    back_age: Option<Age>,
}

impl ListEnds {
    pub(super) fn new(role: ListRole, id: u32) -> Self {
        Self { role, id, front: VecDeque::new(), back: Vec::new(), first: 0, age: None, back_age: None }
    }

    pub(super) fn restore(record: &ListRecord) -> Self {
        let age = Age { oldest_ms: record.oldest_ms, dead_ms: record.dead_ms };
        let ListRecord { role, id, front, back, chunks, .. } = record.clone();
        // The record has one age for both ends.
        let back_age = (!back.is_empty()).then_some(age);
        Self { role, id, front: front.into(), back, first: chunks.0, age: Some(age), back_age }
    }

    pub(super) fn record(&self, chunks: usize, n: u64) -> ListRecord {
        let age = self.age.map(|age| age.with(self.back_age)).or(self.back_age);
        let Age { oldest_ms, dead_ms } = age.unwrap_or(Age { oldest_ms: 0, dead_ms: 0 });
        let next = self.first + i64::try_from(chunks).unwrap_or(i64::MAX);
        let chunks = if chunks == 0 && self.first == 0 { (0, 0) } else { (self.first, next) };
        let (front, back) = (self.front.iter().copied().collect(), self.back.clone());
        ListRecord { role: self.role, id: self.id, front, chunks, back, n, oldest_ms, dead_ms }
    }

    pub(super) fn push_front_end(&mut self, offset: i64, age: Age) {
        self.front.push_back(offset);
        self.age = Some(age.with(self.age));
    }

    pub(super) fn push_back(&mut self, offset: i64, age: Age) {
        self.back.push(offset);
        self.back_age = Some(age.with(self.back_age));
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
                self.age = Some(age.with(self.age));
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
                self.back_age = Some(age.with(self.back_age));
                true
            }
        }
    }

    pub(super) fn holds(&self, offset: i64) -> bool {
        self.front.binary_search(&offset).is_ok() || self.back.binary_search(&offset).is_ok()
    }

    pub(super) fn remove(&mut self, offset: i64, timestamp_ms: i64) -> bool {
        if let Ok(at) = self.front.binary_search(&offset) {
            self.front.remove(at);
            // Kafka's times ascend with the offsets: what is left is no older than the first was.
            if at == 0
                && let Some(age) = &mut self.age
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
        let age = self.age.expect("a front with offsets has an age");
        SealedChunk::new(&offsets, age).expect("as many offsets as a chunk has")
    }

    /// Takes the back as a chunk.
    pub(super) fn take_back(&mut self) -> SealedChunk {
        let offsets = std::mem::take(&mut self.back);
        let age = self.back_age.take().expect("a back with offsets has an age");
        SealedChunk::new(&offsets, age).expect("as many offsets as a chunk has")
    }

    /// The offsets of a chunk that stood before all others.
    pub(super) fn join(&mut self, chunk: &SealedChunk) {
        self.age = Some(if self.front.is_empty() { chunk.age } else { chunk.age.with(self.age) });
        self.front.extend(chunk.offsets());
    }

    /// The last chunk takes the back's place; what the back held is returned.
    pub(super) fn replace_back(&mut self, chunk: &SealedChunk) -> Vec<i64> {
        self.back_age = Some(chunk.age);
        std::mem::replace(&mut self.back, chunk.offsets())
    }

    pub(super) fn back_joins(&mut self) {
        if self.back.is_empty() {
            return;
        }
        let back_age = self.back_age.take();
        self.age = match self.age.filter(|_| !self.front.is_empty()) {
            Some(age) => Some(age.with(back_age)),
            None => back_age,
        };
        self.front.extend(self.back.drain(..));
    }

    /// Drops what is outside; returns it.
    pub(super) fn keep(&mut self, kept: &Range<i64>) -> Vec<i64> {
        let all = self.front.iter().chain(&self.back);
        let gone = all.copied().filter(|offset| !kept.contains(offset)).collect();
        self.front.retain(|offset| kept.contains(offset));
        self.back.retain(|offset| kept.contains(offset));
        if self.back.is_empty() {
            self.back_age = None;
        }
        gone
    }
}
