//! The parts of a list of which bounds of their ages are known: what may have died is found by part, read, and told.
//!
//! The bounds are those of everything that was in a part since they were known last, so they may be too low, and never too high.
//! Once each offset of a part was looked at they are exact again.

use super::ends::EndAge;
use super::{Age, List, SealedChunk};

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListPart {
    /// What stands before its chunks.
    Front,
    /// The chunk of this number.
    Chunk(i64),
    /// What stands behind them.
    Back,
}

impl List {
    /// Its parts, with their bounds; those of which all is about to leave are left out.
    pub(crate) fn ages(&self) -> impl Iterator<Item = (ListPart, Age)> + '_ {
        let end = |age: &EndAge, is_empty: bool| age.all.filter(|_| !is_empty && !age.is_leaving);
        let front = end(&self.ends.age, self.ends.front.is_empty()).map(|age| (ListPart::Front, age));
        let back = end(&self.ends.back_age, self.ends.back.is_empty()).map(|age| (ListPart::Back, age));
        let chunks = self.chunks.iter().filter(|chunk| !chunk.is_leaving);
        let chunks = chunks.map(|chunk| (ListPart::Chunk(chunk.number), chunk.age));
        front.into_iter().chain(chunks).chain(back)
    }

    /// Each offset of a part is looked at from now on; returns them. What comes meanwhile is not among them.
    pub(crate) fn look_at(&mut self, part: ListPart) -> Vec<i64> {
        match part {
            ListPart::Front => {
                self.ends.age.begin();
                self.ends.front.iter().copied().collect()
            }
            ListPart::Chunk(number) => self.chunk(number).map(SealedChunk::offsets).unwrap_or_default(),
            ListPart::Back => {
                self.ends.back_age.begin();
                self.ends.back.clone()
            }
        }
    }

    /// All of them were looked at: these are the bounds of those that live; the others are about to leave.
    pub(crate) fn looked_at(&mut self, part: ListPart, living: Option<Age>) {
        match part {
            ListPart::Front => self.ends.age.end(living),
            ListPart::Back => self.ends.back_age.end(living),
            ListPart::Chunk(number) => {
                let at = self.chunks.binary_search_by_key(&number, |chunk| chunk.number);
                if let Ok(at) = at {
                    let chunk = &mut self.chunks[at];
                    (chunk.age, chunk.is_leaving) = (living.unwrap_or(chunk.age), living.is_none());
                }
            }
        }
    }
}
