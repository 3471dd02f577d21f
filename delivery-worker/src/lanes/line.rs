//! Offsets that wait without a payload, in order: the ends in the open, the middle packed as the chunks of lists are.

use std::collections::VecDeque;

use crate::lists::{CHUNK, List, SealedChunk, UNKNOWN_AGE};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OffsetLine {
    head: VecDeque<i64>,
    packed: VecDeque<SealedChunk>,
    tail: Vec<i64>,
    len: usize,
}

impl OffsetLine {
    /// What a list holds; its chunks are shared, not copied.
    pub(crate) fn of(list: &List) -> Self {
        let (front, chunks, back) = list.parts();
        let len = front.len() + back.len() + chunks.iter().map(SealedChunk::len).sum::<usize>();
        Self { head: front.clone(), packed: chunks.clone(), tail: back.to_vec(), len }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first.
    pub(crate) fn front(&self) -> Option<i64> {
        let packed = || self.packed.front().map(SealedChunk::first);
        self.head.front().copied().or_else(packed).or_else(|| self.tail.first().copied())
    }

    /// Takes the first.
    pub(crate) fn pop_front(&mut self) -> Option<i64> {
        if self.head.is_empty() {
            self.refill();
        }
        let first = self.head.pop_front()?;
        self.len -= 1;
        Some(first)
    }

    /// One more, wherever it belongs; nearly always that is one of the ends.
    pub(crate) fn insert(&mut self, offset: i64) {
        if self.last().is_none_or(|last| offset > last) {
            self.tail.push(offset);
            if self.tail.len() >= CHUNK {
                let tail = std::mem::take(&mut self.tail);
                // Nobody asks it for its number or its age here.
                self.packed.extend(SealedChunk::new(0, &tail, UNKNOWN_AGE));
            }
            self.len += 1;
            return;
        }
        let is_ahead = |chunk: &SealedChunk| chunk.first() <= offset;
        while self.head.back().is_none_or(|last| *last < offset)
            && (self.packed.front().is_some_and(is_ahead) || (self.packed.is_empty() && !self.tail.is_empty()))
        {
            self.refill();
        }
        if let Err(at) = self.head.binary_search(&offset) {
            self.head.insert(at, offset);
            self.len += 1;
        }
    }

    /// Whether this offset waits here.
    pub(crate) fn holds(&self, offset: i64) -> bool {
        let at = self.packed.partition_point(|chunk| chunk.last() < offset);
        self.head.binary_search(&offset).is_ok()
            || self.packed.get(at).is_some_and(|chunk| chunk.holds(offset))
            || self.tail.binary_search(&offset).is_ok()
    }

    /// Takes an offset out, wherever it is. False: it was not here.
    pub(crate) fn remove(&mut self, offset: i64) -> bool {
        if !self.holds(offset) {
            return false;
        }
        self.len -= 1;
        if let Ok(at) = self.head.binary_search(&offset) {
            self.head.remove(at);
        } else if let Ok(at) = self.tail.binary_search(&offset) {
            self.tail.remove(at);
        } else {
            let at = self.packed.partition_point(|chunk| chunk.last() < offset);
            match self.packed[at].keep(|own| *own != offset) {
                Some(chunk) => self.packed[at] = chunk,
                None => drop(self.packed.remove(at)),
            }
        }
        true
    }

    /// All of another one, which may lie anywhere.
    pub(crate) fn append(&mut self, mut other: Self) {
        if self.len == 0 {
            *self = other;
            return;
        }
        while let Some(offset) = other.pop_front() {
            self.insert(offset);
        }
    }

    fn last(&self) -> Option<i64> {
        let packed = || self.packed.back().map(SealedChunk::last);
        self.tail.last().copied().or_else(packed).or_else(|| self.head.back().copied())
    }

    fn refill(&mut self) {
        match self.packed.pop_front() {
            Some(chunk) => self.head.extend(chunk.offsets()),
            None => self.head.extend(self.tail.drain(..)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_line_is_an_ordered_set(steps in proptest::collection::vec((0..7_u8, 0..14_000_i64), 1..600)) {
            let (mut line, mut set, mut next) = (OffsetLine::default(), BTreeSet::new(), 10_000_i64);
            for (what, offset) in steps {
                match what {
                    0 => { for _ in 0..offset % 300 { next += 1; line.insert(next); set.insert(next); } }
                    1 => { line.insert(offset); set.insert(offset); }
                    2 => { let at = 10_000 + offset; line.insert(at); set.insert(at); next = next.max(at); }
                    3 | 4 => {
                        prop_assert_eq!(line.holds(offset), set.contains(&offset));
                        prop_assert_eq!(line.remove(offset), set.remove(&offset));
                    }
                    _any => prop_assert_eq!(line.pop_front(), set.pop_first()),
                }
                prop_assert_eq!((line.front(), line.len()), (set.first().copied(), set.len()));
            }
            let rest: Vec<i64> = std::iter::from_fn(|| line.pop_front()).collect();
            prop_assert!(rest.into_iter().eq(set));
        }
    }
}
