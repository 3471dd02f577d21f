//! The parts of the stage and of the worker around the engine that a batch needs.

use std::collections::BTreeSet;

use chassis::status::Facts;
use kafka::{Claimed, Epoch, Lease, Output, Ownership, ReadingWatch, Restored, Transaction};
use schemas::record::{OutRecord, Record};
use schemas::topics::Topics;
use stage::{Batch, Entry, Measured, NextTurn, Now, Outbox, Refused, Restoring, Turn, Waiting, Work, WorkError};

use crate::book::Book;
use crate::work::{Books, FoundBook, LaneNote};

/// A transaction whose outcome is not known yet.
pub(super) struct Committing {
    pub(super) batch: Batch<LaneNote>,
    pub(super) transaction: Transaction,
    pub(super) ends_at: i64,
    /// It surely is not written.
    pub(super) is_refused: bool,
}

/// The books, as the stage asks for them.
pub(in super::super) struct Shell {
    pub(in super::super) books: Books,
}

impl Shell {
    pub(super) fn new(topics: Topics) -> Self {
        Self { books: Books::new(topics, None) }
    }

    pub(super) fn open(&mut self, lease: &Lease, book: Book, awaited: BTreeSet<i64>) {
        self.books.open(lease, FoundBook::of(book, awaited));
    }

    /// A batch that was not written comes back whole.
    pub(super) fn put_back(&mut self, outbox: &mut Outbox<LaneNote>, batch: Batch<LaneNote>, transaction: Transaction) {
        outbox.put_back_refused(batch, transaction, &[], self, Now::read()).unwrap();
    }
}

impl Work for Shell {
    const ROLE: &'static str = "simulation";
    type State = ();
    type Note = LaneNote;

    fn restore(&self, _found: Vec<(Restored, i64)>, _ownership: Ownership, _watch: ReadingWatch) -> Restoring<()> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn opened(&mut self, _lease: &Lease, (): (), _now: Now) {}

    fn records(&mut self, _lease: &Lease, _records: Vec<Record>, _now: Now) -> Result<(), WorkError> {
        Ok(())
    }

    fn turn(&mut self, _turn: &mut Turn<'_, LaneNote>) -> Result<NextTurn, WorkError> {
        Ok(NextTurn::OnInput)
    }

    fn replace(&mut self, refused: Refused<'_, LaneNote>, _now: Now) -> Result<Vec<OutRecord>, WorkError> {
        Ok(refused.outputs)
    }

    fn seal(&mut self, batch: &Batch<LaneNote>, outputs: &mut Vec<Output>) -> Vec<Claimed> {
        self.books.seal(batch, outputs)
    }

    fn unsealed(&mut self, batch: &Batch<LaneNote>) {
        self.books.unsealed(batch);
    }

    fn committed<'a>(&mut self, _entries: impl Iterator<Item = &'a Entry<LaneNote>>, _now: Now) {}

    fn revoking(&mut self, _leases: &[Lease]) {}

    fn closed(&mut self, _lease: &Lease) {}

    fn in_flight(&self, _leases: &[Epoch]) -> usize {
        0
    }

    fn waiting(&self, _now: Now) -> Option<Waiting> {
        None
    }

    fn facts(&mut self, _measured: &Measured, _now: Now) -> Facts {
        Facts::default()
    }
}
