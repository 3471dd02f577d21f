//! The work of an operator's stage. Each partition's lists are corrected as a worker does, then emptied or freed of what is read
//! again; a last entry then closes it.
//!
//! What is emptied is left with nothing: also what was known of lanes beside their lists goes. Nobody who knows it may be there for weeks,
//! and since when an endpoint has failed would still be held against it then, whatever it took meanwhile; an ordering key would wait for
//! a retry that came long before.

use std::collections::{BTreeMap, BTreeSet};

use chassis::shutdown::Shutdown;
use chassis::status::Facts;
use kafka::{Claimed, Epoch, FetchOutcome, Fetched, Lease, Output, Ownership, ReadingWatch, Restored, Urgency};
use schemas::ids::SubscriptionId;
use schemas::record::{OutRecord, Record};
use stage::{Batch, Entry, Measured, NextTurn, Now, Refusal, Refused, Restoring, Turn, Waiting, Work, WorkError};
use tokio::sync::watch;

use super::OperatorProgress;
use super::portion::{Portion, copied};
use crate::book::Book;
use crate::error::Error;
use crate::work::{AcceptedLists, Books, FoundBook, LaneNote, ReadBack};

/// What is done.
#[derive(Clone, Debug)]
pub(super) enum OperatorTask {
    /// The lists of these partitions are gone on with, whatever was claimed; the others are left as they are.
    Accept(BTreeMap<i32, AcceptedLists>),
    /// All lists are emptied: what waits is written to `deliveries` once more.
    Release,
}

/// How far a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OperatorStep {
    /// What its takeover found is corrected first.
    Correcting,
    /// What waits in its lists is written once more.
    Emptying,
    /// What is known of these lanes beside their lists is forgotten.
    Forgetting(Vec<SubscriptionId>),
    /// What is read again leaves its lists.
    Dropping(Vec<(SubscriptionId, i64)>),
    /// Its last entry is on its way.
    Closing,
    /// Nothing is left to do.
    Done,
}

/// One partition that is ours.
#[derive(Debug)]
struct OperatedPartition {
    lease: Lease,
    step: OperatorStep,
}

/// See the module.
pub(super) struct OperatorWork {
    task: OperatorTask,
    books: Books,
    read_back: ReadBack,
    parts: BTreeMap<Epoch, OperatedPartition>,
    /// What leaves next: of one partition at a time, which bounds the payloads in memory.
    portion: Option<Portion>,
    done: BTreeSet<i32>,
    /// How many partitions there are.
    partitions: usize,
    is_stopping: bool,
    shutdown: Shutdown,
    told: watch::Sender<OperatorProgress>,
}

// === impl OperatorWork ===

impl OperatorWork {
    pub(super) fn new(
        task: OperatorTask,
        (books, read_back): (Books, ReadBack),
        partitions: usize,
        shutdown: Shutdown,
        told: watch::Sender<OperatorProgress>,
    ) -> Self {
        let books = match &task {
            OperatorTask::Accept(accepted) => books.accepting(accepted.clone()),
            OperatorTask::Release => books,
        };
        Self {
            task,
            books,
            read_back,
            parts: BTreeMap::new(),
            portion: None,
            done: BTreeSet::new(),
            partitions,
            is_stopping: false,
            shutdown,
            told,
        }
    }

    /// What is read back beside it.
    #[cfg(test)]
    pub(super) fn read_back(&mut self) -> &mut ReadBack {
        &mut self.read_back
    }

    /// Partitions with nothing left to correct go on.
    fn begin_corrected(&mut self) {
        for (lease, _left_to_workers) in self.books.take_corrected() {
            let step = match &self.task {
                OperatorTask::Release => OperatorStep::Emptying,
                OperatorTask::Accept(accepted) if accepted.contains_key(&lease.partition.partition) => {
                    OperatorStep::Dropping(self.books.take_listed_again(lease.epoch))
                }
                OperatorTask::Accept(_) => OperatorStep::Done,
            };
            if let Some(part) = self.parts.get_mut(&lease.epoch) {
                part.step = step;
            }
        }
    }

    /// Takes what was read back of the portion.
    fn take_answers(&mut self) {
        for Fetched { lease, offset, outcome } in self.read_back.take() {
            let Some(portion) = self.portion.as_mut().filter(|portion| portion.epoch == lease.epoch) else { continue };
            match outcome {
                FetchOutcome::Found(record) => portion.answer(offset, Some(record)),
                FetchOutcome::Gone => portion.answer(offset, None),
                FetchOutcome::Failed(error) => {
                    tracing::warn!(%lease, offset, %error, "a listed delivery cannot be read back now; asking again");
                    self.read_back.ask(&lease, offset, Urgency::Normal);
                }
            }
        }
    }

    /// Begins the next portion where none is under way; of a partition whose lists are empty the rest is forgotten.
    fn begin_portion(&mut self) {
        while self.portion.is_none()
            && let Some((epoch, part)) = self.parts.iter_mut().find(|(_, part)| part.step == OperatorStep::Emptying)
        {
            let book = self.books.of(*epoch);
            match book.and_then(|book| Portion::first_of(book.lists(), *epoch)) {
                Some(portion) => self.portion = Some(portion),
                None => {
                    part.step = OperatorStep::Forgetting(book.map(Book::known).unwrap_or_default());
                }
            }
        }
    }

    /// Asks for what is next of the portion.
    fn ask(&mut self) {
        let Some(portion) = &mut self.portion else { return };
        let Some(part) = self.parts.get(&portion.epoch) else { return };
        for offset in portion.ask() {
            self.read_back.ask(&part.lease, offset, Urgency::Normal);
        }
    }

    /// What is known of lanes beside their lists goes, and then their partition is closed.
    fn forget_lanes(&mut self, turn: &mut Turn<'_, LaneNote>) {
        for part in self.parts.values_mut() {
            let OperatorStep::Forgetting(lanes) = &mut part.step else { continue };
            while !turn.is_full()
                && let Some(id) = lanes.pop()
            {
                let note = LaneNote::Forgotten(id);
                let at = (-1, turn.now.wall_ms);
                turn.resolve(Entry::beside(part.lease.epoch, at, turn.now.boot_ms, note), &mut Vec::new());
            }
            if lanes.is_empty() {
                close(part, turn);
            }
        }
    }

    /// Puts what was read into the outbox, in order.
    fn put_portion(&mut self, turn: &mut Turn<'_, LaneNote>) {
        let Some(portion) = &mut self.portion else { return };
        let Some(part) = self.parts.get(&portion.epoch) else { return };
        while !turn.is_full()
            && let Some((id, offset, record)) = portion.next()
        {
            let copy = record.and_then(|record| {
                Some((copied(&record, &part.lease.partition, id, turn.now.wall_ms)?, record.timestamp_ms))
            });
            if copy.is_none() {
                tracing::error!(lease = %part.lease, subscription.id = %id, offset, "a listed delivery is not in `deliveries` any more");
            }
            let (mut outputs, timestamp_ms) =
                copy.map_or((Vec::new(), turn.now.wall_ms), |(copy, timestamp_ms)| (vec![copy], timestamp_ms));
            let (at, note) = ((offset, timestamp_ms), LaneNote::Settled(id));
            turn.resolve(Entry::beside(part.lease.epoch, at, turn.now.boot_ms, note), &mut outputs);
        }
    }

    /// Takes out of accepted lists what the window reads again, and closes them.
    fn drop_read_again(&mut self, turn: &mut Turn<'_, LaneNote>) {
        for part in self.parts.values_mut() {
            let OperatorStep::Dropping(again) = &mut part.step else { continue };
            while !turn.is_full()
                && let Some((id, offset)) = again.pop()
            {
                let (at, note) = ((offset, turn.now.wall_ms), LaneNote::Settled(id));
                turn.resolve(Entry::beside(part.lease.epoch, at, turn.now.boot_ms, note), &mut Vec::new());
            }
            if again.is_empty() {
                close(part, turn);
            }
        }
    }

    /// Notes which partitions are done with; all of them: there is no more to do.
    fn note_done(&mut self) {
        let done = self.parts.values().filter(|part| part.step == OperatorStep::Done);
        self.done.extend(done.map(|part| part.lease.partition.partition));
        let (left, partitions) = (u64::try_from(self.books.queued()).unwrap_or(u64::MAX), self.done.len());
        let is_done = partitions >= self.partitions;
        self.told.send_if_modified(|progress| {
            let is_new = (progress.left, progress.partitions, progress.is_done) != (left, partitions, is_done);
            (progress.left, progress.partitions, progress.is_done) = (left, partitions, is_done);
            is_new
        });
        if is_done {
            self.shutdown.request();
        }
    }

    /// What a part's metadata say of its lists; `claim` is what they come to with this batch.
    fn claim(&self, batch: &Batch<LaneNote>, lease: &Lease, claim: Claimed) -> Claimed {
        let closes = |entry: &Entry<LaneNote>| entry.epoch == lease.epoch && entry.note == LaneNote::Correct;
        let is_last = self.parts.get(&lease.epoch).is_some_and(|part| part.step == OperatorStep::Closing)
            && batch.entries().iter().any(closes);
        match &self.task {
            // Metadata without a claim are read by every release.
            OperatorTask::Release if is_last => Claimed::Nothing,
            // Until it is the last one, a worker that takes over stops as before.
            OperatorTask::Accept(accepted) if accepted.contains_key(&lease.partition.partition) && !is_last => {
                Claimed::AsFound
            }
            OperatorTask::Release | OperatorTask::Accept(_) => claim,
        }
    }
}

/// Puts the last entry of a partition into the outbox.
fn close(part: &mut OperatedPartition, turn: &mut Turn<'_, LaneNote>) {
    part.step = OperatorStep::Closing;
    turn.resolve(corrects(part.lease.epoch, turn.now), &mut Vec::new());
}

/// The next portion of what is to correct; where there is nothing more it commits what the lists come to.
fn corrects(epoch: Epoch, now: Now) -> Entry<LaneNote> {
    Entry::beside(epoch, (-1, now.wall_ms), now.boot_ms, LaneNote::Correct)
}

impl Work for OperatorWork {
    const ROLE: &'static str = "operator of lists";
    type State = FoundBook;
    type Note = LaneNote;

    fn restore(&self, found: Vec<(Restored, i64)>, ownership: Ownership, watch: ReadingWatch) -> Restoring<FoundBook> {
        self.books.restore(found, ownership, watch)
    }

    fn opened(&mut self, lease: &Lease, found: FoundBook, _now: Now) {
        self.books.open(lease, found);
        self.parts.insert(lease.epoch, OperatedPartition { lease: lease.clone(), step: OperatorStep::Correcting });
    }

    /// What is in the window stays there, for the workers.
    fn records(&mut self, _lease: &Lease, _records: Vec<Record>, _now: Now) -> Result<(), WorkError> {
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn<'_, LaneNote>) -> Result<NextTurn, WorkError> {
        if !self.is_stopping {
            for epoch in self.books.take_uncorrected() {
                turn.resolve(corrects(epoch, turn.now), &mut Vec::new());
            }
            self.begin_corrected();
            self.take_answers();
            self.drop_read_again(turn);
            self.put_portion(turn);
            self.begin_portion();
            self.ask();
            self.forget_lanes(turn);
            self.read_back.flush();
        }
        self.note_done();
        Ok(NextTurn::OnInput)
    }

    async fn input(&mut self) {
        self.read_back.wait().await;
    }

    /// A copy is as long as its original but for a few words; where Kafka takes it no more a person has to decide.
    fn replace(&mut self, refused: Refused<'_, LaneNote>, _now: Now) -> Result<Vec<OutRecord>, WorkError> {
        let reason = match refused.refusals.first() {
            Some(Refusal::Unwritable { reason, .. } | Refusal::TooSlow { reason }) => reason.clone(),
            None => String::new(),
        };
        let (partition, offset) = (refused.lease.partition.clone(), refused.offset);
        Err(Error::Uncopied { partition, offset, reason }.into())
    }

    fn seal(&mut self, batch: &Batch<LaneNote>, outputs: &mut Vec<Output>) -> Vec<Claimed> {
        let claims = self.books.seal(batch, outputs);
        let parts = batch.parts().iter().zip(claims);
        parts.map(|(part, claim)| self.claim(batch, &part.lease, claim)).collect()
    }

    fn unsealed(&mut self, batch: &Batch<LaneNote>) {
        self.books.unsealed(batch);
    }

    fn committed<'a>(&mut self, entries: impl Iterator<Item = &'a Entry<LaneNote>>, _now: Now) {
        let (mut copied, mut lost, mut read_again) = (0, 0, 0);
        for entry in entries {
            match (&entry.note, &self.task) {
                (LaneNote::Settled(_), OperatorTask::Release) => {
                    let count = if entry.outputs() > 0 { &mut copied } else { &mut lost };
                    *count += 1;
                    if let Some(portion) = self.portion.as_mut().filter(|portion| portion.epoch == entry.epoch) {
                        portion.committed();
                    }
                }
                (LaneNote::Settled(_), OperatorTask::Accept(_)) => read_again += 1,
                (LaneNote::Correct, _) => {
                    let part = self.parts.get_mut(&entry.epoch);
                    if let Some(part) = part.filter(|part| part.step == OperatorStep::Closing) {
                        part.step = OperatorStep::Done;
                    }
                }
                _nothing_of_ours => {}
            }
        }
        self.portion.take_if(|portion| portion.is_over());
        self.books.committed();
        self.told.send_if_modified(|progress| {
            progress.copied += copied;
            progress.lost += lost;
            progress.read_again += read_again;
            copied + lost + read_again > 0
        });
    }

    /// Another member has come: it is theirs.
    fn revoking(&mut self, leases: &[Lease]) {
        leases.iter().for_each(|lease| self.leave(lease));
        self.shutdown.request();
    }

    fn closed(&mut self, lease: &Lease) {
        self.leave(lease);
        self.books.close(lease.epoch);
        self.parts.remove(&lease.epoch);
    }

    fn stopping(&mut self, _now: Now) {
        self.is_stopping = true;
        self.books.leases().iter().for_each(|lease| self.leave(lease));
    }

    fn waiting(&self, _now: Now) -> Option<Waiting> {
        None
    }

    fn facts(&mut self, _measured: &Measured, _now: Now) -> Facts {
        Facts::default()
    }
}

impl OperatorWork {
    /// Nothing more begins of a lease; what is in the outbox is committed if it still can be.
    fn leave(&mut self, lease: &Lease) {
        self.books.end(lease.epoch);
        self.read_back.cancel(std::slice::from_ref(lease));
        self.portion.take_if(|portion| portion.epoch == lease.epoch);
    }
}
