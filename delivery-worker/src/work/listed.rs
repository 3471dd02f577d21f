//! What the engine lists is put into the outbox, and what is near its turn is read back.

use kafka::{Epoch, FetchOutcome, Fetched, KafkaError, Lease, Urgency};
use schemas::invariants::Invariant;
use schemas::record::Record;
use stage::{Now, Turn};

use super::books::{LaneNote, SupersededPlace};
use super::intake::Batch;
use super::{DeliveryWork, Resolved};
use crate::engine::{AgeTold, LaneChange, ListedRecord, ReadBackDemand};
use crate::error::Error;

impl DeliveryWork {
    /// Puts what the engine has listed into the outbox, in its order.
    pub(super) fn put_changes(&mut self, turn: &mut Turn<'_, LaneNote>) {
        for change in self.engine.take_changes() {
            match change {
                LaneChange::Listed(listing) => {
                    let ListedRecord { lease, offset, timestamp_ms, size, .. } = listing;
                    self.metrics.listed.inc();
                    let note = LaneNote::Listed(listing);
                    let at = (offset, timestamp_ms);
                    self.put(Resolved { epoch: lease, at, size, note, outputs: Vec::new() }, turn);
                }
                LaneChange::SetAside { lease, subscription, reviewed_of } => {
                    self.put(noted(lease, turn.now, LaneNote::SetAside(subscription, reviewed_of)), turn);
                }
                LaneChange::Condition { lease, subscription, condition } => {
                    let note = LaneNote::Condition(subscription, condition);
                    self.put(noted(lease, turn.now, note), turn);
                }
                LaneChange::Freed { lease, subscription, key } => {
                    self.put(noted(lease, turn.now, LaneNote::Freed(subscription, key)), turn);
                }
                LaneChange::Overdue { lease, subscription, retry } => {
                    let note = LaneNote::Superseded(subscription, SupersededPlace::Nowhere, retry);
                    self.put(noted(lease, turn.now, note), turn);
                }
                LaneChange::Lost { lease, subscription, offset } => {
                    Invariant::NeverLost.violated();
                    self.metrics.lost.inc();
                    tracing::error!(subscription.id = %subscription, offset, "a listed delivery is not in `deliveries` any more");
                    let (at, note) = ((offset, turn.now.wall_ms), LaneNote::LeftList(subscription));
                    self.put(Resolved { epoch: lease, at, size: 0, note, outputs: Vec::new() }, turn);
                }
            }
        }
    }

    /// Puts the next portion of what takeovers have to correct into the outbox.
    pub(super) fn correct(&mut self, turn: &mut Turn<'_, LaneNote>) -> Result<(), Error> {
        for epoch in self.books.take_uncorrected() {
            self.put(noted(epoch, turn.now, LaneNote::Correct), turn);
        }
        self.begin_held(turn.now)
    }

    /// What is written to `lanes` is written once more where a takeover would have to read too much.
    pub(super) fn checkpoint(&mut self, turn: &mut Turn<'_, LaneNote>) {
        for (epoch, end) in self.lane_ends.take() {
            self.books.rewrite_above(epoch, end);
        }
        for (epoch, partition) in self.books.take_checkpoints_due() {
            self.lane_ends.ask(epoch, partition);
        }
        for epoch in self.books.take_rewrites() {
            self.put(noted(epoch, turn.now, LaneNote::Checkpoint), turn);
        }
    }

    /// What may have died of age in the lists is looked at, whatever its lane does.
    pub(super) fn check_ages(&mut self, turn: &Turn<'_, LaneNote>) {
        let (now_ms, wall_ms, keep_ms) = (self.engine_ms(turn.now), turn.now.wall_ms, self.engine.keep_ms());
        loop {
            for AgeTold { lease, offset, living } in self.engine.take_ages() {
                self.books.age_told(lease, offset, living);
            }
            // What is found dead is written with its payload.
            let aged = if turn.is_full() { Vec::new() } else { self.books.take_aged(wall_ms, keep_ms) };
            if aged.is_empty() {
                return;
            }
            for (epoch, subscription, offset) in aged {
                self.engine.ask_age(epoch, subscription, offset, now_ms);
            }
        }
    }

    /// Partitions with nothing left to correct begin: their lists are served.
    pub(super) fn begin_corrected(&mut self, now: Now) {
        let now_ms = self.engine_ms(now);
        for (lease, records) in self.books.take_corrected() {
            let awaited = self.books.take_awaited(lease.epoch);
            self.engine.begin(lease.epoch, awaited, now_ms);
            if let Some(book) = self.books.of(lease.epoch) {
                for (id, lists) in book.lists() {
                    self.engine.restore_condition(lease.epoch, id, &book.condition(id), now_ms);
                    self.engine.restore_superseded(lease.epoch, id, book.superseded(id));
                    self.engine.restore_keys(lease.epoch, id, &book.found_keys(id), now_ms);
                    self.engine.restore(lease.epoch, id, (lists, book.reviewed_of(id)), now_ms);
                }
            }
            if !records.is_empty() {
                self.held.push((lease, records));
            }
        }
    }

    /// Takes the records that waited for a correction.
    fn begin_held(&mut self, now: Now) -> Result<(), Error> {
        for (lease, records) in std::mem::take(&mut self.held) {
            self.take_in(&lease, records, now)?;
        }
        Ok(())
    }

    /// Takes records in, or lets them wait for the snapshot.
    pub(super) fn take_in(&mut self, lease: &Lease, records: Vec<Record>, now: Now) -> Result<(), Error> {
        self.take_batch(Batch::decode(lease, records), now)
    }

    fn take_batch(&mut self, batch: Batch, now: Now) -> Result<(), Error> {
        if batch.position > self.catalog.position() || self.intake.has(batch.lease.epoch) {
            self.intake.push(batch, now.boot_ms);
            return Ok(());
        }
        self.admit(batch, now)
    }

    /// Hands what was read back to the engine.
    pub(super) fn take_read_back(&mut self, now: Now) -> Result<(), Error> {
        let now_ms = self.engine_ms(now);
        for Fetched { lease, offset, outcome } in self.read_back.take() {
            if self.engine.asked(lease.epoch, offset).is_none() {
                continue;
            }
            match outcome {
                FetchOutcome::Found(record) => {
                    self.metrics.read_back.inc();
                    let batch = Batch { is_read_back: true, ..Batch::decode(&lease, vec![record]) };
                    self.take_batch(batch, now)?;
                }
                FetchOutcome::Gone => self.engine.not_there(lease.epoch, offset, now_ms),
                FetchOutcome::Failed(error) => {
                    if let Some(swallowed) = self.unread.permit(&lease.epoch) {
                        tracing::warn!(
                            %lease,
                            offset,
                            %error,
                            swallowed,
                            "a listed delivery cannot be read back now; it is asked for again and again"
                        );
                    }
                    let is_beyond_end = matches!(error, KafkaError::OffsetOutOfRange { .. });
                    self.engine.not_read(lease.epoch, offset, is_beyond_end, now_ms);
                }
            }
        }
        Ok(())
    }

    /// Asks for what is near its turn.
    pub(super) fn demand(&mut self) {
        for ReadBackDemand { lease, offset, is_urgent } in self.engine.take_demands() {
            if let Some(lease) = self.books.lease(lease) {
                let urgency = if is_urgent { Urgency::Urgent } else { Urgency::Normal };
                self.read_back.ask(lease, offset, urgency);
            }
        }
        self.read_back.flush();
    }
}

/// What a batch does to lists beside its records.
pub(super) fn noted(epoch: Epoch, now: Now, note: LaneNote) -> Resolved {
    Resolved { epoch, at: (-1, now.wall_ms), size: 0, note, outputs: Vec::new() }
}
