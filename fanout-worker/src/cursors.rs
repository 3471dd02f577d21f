//! How far events are written that go in slices: what the commits of each lease say of the record at their offset. Pure.
//!
//! ```text
//! taken over ---------------> cursor <--committed-- a slice                      a batch is cut: the cursor with the slices in it,
//!                               |     <--committed-- the event, or any record after it: no cursor      if the offset is still its record's
//!                               +--> planning goes on above it
//! ```

use std::collections::BTreeMap;

use kafka::{Claimed, Epoch, SliceCursor};
use stage::{Batch, Entry, Part};

use crate::plan::{EventVerdict, Note};

/// The records of leases that are written in part.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// The record's offset, and how far it is.
    begun: BTreeMap<Epoch, (i64, SliceCursor)>,
}

// === impl Cursors ===

impl Cursors {
    /// A lease begins with a record of which a part is written.
    pub(crate) fn opened(&mut self, epoch: Epoch, offset: i64, cursor: SliceCursor) {
        self.begun.insert(epoch, (offset, cursor));
    }

    /// How far this record of a lease is written, if a part of it is.
    pub(crate) fn of(&self, epoch: Epoch, offset: i64) -> Option<SliceCursor> {
        self.begun.get(&epoch).filter(|(at, _)| *at == offset).map(|(_, cursor)| *cursor)
    }

    /// The leases with a record that is written in part.
    pub(crate) fn leases(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.begun.keys().copied()
    }

    /// Adds to what the commits of a batch say of each part, in the order of the parts; nothing where none says anything.
    pub(crate) fn claim(&mut self, batch: &Batch<Note>, mut claims: Vec<Claimed>) -> Vec<Claimed> {
        for part in batch.parts() {
            self.pass(part, batch.entries());
        }
        let has_slices = batch.entries().iter().any(|entry| matches!(entry.note.verdict, EventVerdict::Sliced(_)));
        if self.begun.is_empty() && !has_slices {
            return claims;
        }
        claims.resize_with(batch.parts().len(), Claimed::default);
        let said = batch.parts().iter().zip(claims);
        said.map(|(part, claim)| {
            let cursor = self.with(part, batch.entries());
            match claim {
                Claimed::Nothing => Claimed::in_order(cursor, None),
                Claimed::Position(position) => Claimed::in_order(cursor, Some(position)),
                other @ (Claimed::Lists(_) | Claimed::AsFound | Claimed::Slices(..)) => other,
            }
        })
        .collect()
    }

    /// An entry is committed.
    pub(crate) fn committed(&mut self, entry: &Entry<Note>) {
        self.note(entry.epoch, entry.offset, entry.note.verdict);
    }

    /// A lease is over.
    pub(crate) fn closed(&mut self, epoch: Epoch) {
        self.begun.remove(&epoch);
    }

    /// Forgets a record that its lease has passed though nothing became of it: retention took it after the takeover.
    fn pass(&mut self, part: &Part, entries: &[Entry<Note>]) {
        let epoch = part.lease.epoch;
        let is_passed = |(at, _): &(i64, SliceCursor)| part.committed > *at;
        if let Some((at, _)) = self.begun.get(&epoch).filter(|begun| is_passed(begun))
            && !entries.iter().any(|entry| entry.epoch == epoch && entry.offset == *at)
        {
            self.begun.remove(&epoch);
        }
    }

    /// How far the record at a part's offset is once these entries are committed.
    fn with(&self, part: &Part, entries: &[Entry<Note>]) -> Option<SliceCursor> {
        let epoch = part.lease.epoch;
        let mut after = Self { begun: self.begun.get(&epoch).map(|begun| (epoch, *begun)).into_iter().collect() };
        for entry in entries.iter().filter(|entry| entry.epoch == epoch) {
            after.committed(entry);
        }
        // Where retention has taken the record, its offset is not the one that is committed.
        after.of(epoch, part.committed)
    }

    fn note(&mut self, epoch: Epoch, offset: i64, verdict: EventVerdict) {
        if let EventVerdict::Sliced(written) = verdict {
            self.begun.extend(written.map(|cursor| (epoch, (offset, cursor))));
        } else if self.begun.get(&epoch).is_some_and(|(at, _)| *at <= offset) {
            self.begun.remove(&epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka::Lease;
    use schemas::record::{Headers, Record, TopicPartition};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_record_that_retention_takes_after_the_takeover_leaves_no_cursor_behind() {
        let epoch = Epoch(3);
        let begun = || {
            let mut cursors = Cursors::default();
            cursors.opened(epoch, 7, SliceCursor { last: Uuid::from_u128(9), count: 2 });
            cursors
        };
        let part = |committed| {
            let lease = Lease { partition: TopicPartition::new("crm", 0), epoch };
            Part { lease, records: 0, bytes: 0, committed }
        };
        let end = || {
            let (offset, timestamp_ms, headers) = (7, 1, Headers::default());
            let record = Record { offset, timestamp_ms, key: None, value: None, headers };
            let note = Note { record, verdict: EventVerdict::Matched(5), id: None, stood: None, written: None };
            Entry::new(epoch, (7, 1), 0, 0, note)
        };
        let is_left = |committed, entries: &[Entry<Note>]| {
            let mut cursors = begun();
            cursors.pass(&part(committed), entries);
            cursors.of(epoch, 7).is_some()
        };
        assert!(is_left(7, &[]));
        assert!(!is_left(8, &[]), "nobody read it");
        assert!(is_left(8, &[end()]), "until it is known that its end is committed");
    }
}
