//! What the engine lists, reads back, and looks at the age of; corrections, and what is written once more.

use std::cmp::Reverse;

use ::kafka::Epoch;
use rand::Rng;
use schemas::lanes::PendingRetry;
use schemas::record::Record;
use stage::Entry;

use super::World;
use crate::engine::{AgeTold, Arrival, HurriedCopy, LaneChange, ListedRecord, ReadBackDemand};
use crate::flaws::{self, Flaw};
use crate::work::LaneNote;

impl World {
    pub(super) fn put_changes(&mut self) {
        for change in self.engine.take_changes() {
            let entry = match change {
                LaneChange::Listed(listing) => {
                    let ListedRecord { lease, offset, timestamp_ms, size, .. } = listing;
                    self.ledger.lists_it(offset);
                    if flaws::has(Flaw::EntryWithoutCompleting) {
                        Entry::beside(lease, (offset, timestamp_ms), 0, LaneNote::Listed(listing))
                    } else {
                        Entry::new(lease, (offset, timestamp_ms), size, 0, LaneNote::Listed(listing))
                    }
                }
                LaneChange::SetAside { lease, subscription, reviewed_of } => {
                    self.ledger.set_aside(subscription, &self.subscriptions);
                    Entry::beside(lease, (-1, 0), 0, LaneNote::SetAside(subscription, reviewed_of))
                }
                LaneChange::Condition { lease, subscription, condition } => {
                    self.ledger.told += 1;
                    Entry::beside(lease, (-1, 0), 0, LaneNote::Condition(subscription, condition))
                }
                LaneChange::Freed { lease, subscription, key } => {
                    Entry::beside(lease, (-1, 0), 0, LaneNote::Freed(subscription, key))
                }
                LaneChange::Overdue { retry, .. } => panic!("seed {}: {retry:?} never came", self.seed),
                LaneChange::Lost { lease, subscription, offset } => {
                    self.ledger.lost(offset);
                    Entry::beside(lease, (offset, 0), 0, LaneNote::Settled(subscription))
                }
            };
            self.outbox.resolve(entry, &mut Vec::new());
        }
    }

    /// Reads back what the engine asked for, a moment later.
    pub(super) fn demand(&mut self) {
        for ReadBackDemand { lease, offset, is_urgent } in self.engine.take_demands() {
            *(if is_urgent { &mut self.demands.0 } else { &mut self.demands.1 }) += 1;
            let at = self.now + self.rng.random_range(1..40);
            self.reading.push(Reverse((at, offset, lease.0)));
        }
    }

    pub(super) fn answer(&mut self) {
        while let Some(Reverse((at, offset, epoch))) = self.reading.peek().copied() {
            if at > self.now {
                return;
            }
            self.reading.pop();
            if Epoch(epoch) != self.epoch {
                continue;
            }
            let mut at = self.log.partition_point(|record| record.offset < offset);
            if flaws::has(Flaw::OthersRecord) && self.rng.random_bool(0.3) {
                at = (at + 1).min(self.log.len() - 1);
            }
            let is_kept = |record: &&Record| self.deletes_after.is_none_or(|ms| self.now - record.timestamp_ms < ms);
            let is_it = |record: &&Record| record.offset == offset || flaws::has(Flaw::OthersRecord);
            match self.log.get(at).filter(is_it).filter(is_kept) {
                Some(record) => {
                    let arrival = Arrival { offset, ..self.arrival(record) };
                    self.engine.read_back(arrival, self.now);
                }
                None => self.engine.not_there(self.epoch, offset, self.now),
            }
        }
    }

    /// What was read back so that it goes now.
    pub(super) fn hurry(&mut self) {
        for read in self.engine.take_hurried() {
            self.put_changes();
            let Some(HurriedCopy { hop, held, superseded }) = self.engine.hurried(&read, self.now) else { continue };
            let last = held.retry.as_ref().and_then(PendingRetry::last);
            self.engine.supersede(&read, held.clone(), superseded);
            let Arrival { lease, delivery, .. } = read.arrival;
            let copy = self.reporter.hurried(&delivery, hop, last).unwrap();
            let note = LaneNote::Hurried(delivery.subscription, held, superseded);
            self.outbox.resolve(Entry::beside(lease, (-1, 0), 0, note), &mut vec![copy]);
        }
    }

    pub(super) fn correct(&mut self) {
        for epoch in self.shell.books.take_uncorrected() {
            self.outbox.resolve(Entry::beside(epoch, (-1, 0), 0, LaneNote::Correct), &mut Vec::new());
        }
    }

    /// The end of `lanes` is told a moment after it was asked for.
    pub(super) fn checkpoint(&mut self) {
        for (epoch, end) in std::mem::take(&mut self.ends) {
            self.shell.books.rewrite_above(epoch, end);
        }
        for (epoch, _) in self.shell.books.take_checkpoints_due() {
            self.ends.push((epoch, self.kafka.lanes.end()));
        }
        for epoch in self.shell.books.take_rewrites() {
            self.outbox.resolve(Entry::beside(epoch, (-1, 0), 0, LaneNote::Checkpoint), &mut Vec::new());
        }
    }

    /// What may have died of age in the lists is looked at.
    pub(super) fn check_ages(&mut self) {
        loop {
            for AgeTold { lease, offset, living } in self.engine.take_ages() {
                self.shell.books.age_told(lease, offset, living);
            }
            let aged = self.shell.books.take_aged(self.now, self.engine.keep_ms());
            if aged.is_empty() {
                return;
            }
            for (epoch, id, offset) in aged {
                self.engine.ask_age(epoch, id, offset, self.now);
            }
        }
    }

    /// Partitions with nothing left to correct begin.
    pub(super) fn begin_corrected(&mut self) {
        let begun = self.shell.books.take_corrected();
        let has_begun = !begun.is_empty();
        for (lease, _records) in begun {
            let awaited = self.shell.books.take_awaited(lease.epoch);
            self.engine.begin(lease.epoch, awaited, self.now);
            let Some(book) = self.shell.books.of(lease.epoch) else { continue };
            for (id, lists) in book.lists() {
                self.engine.restore_condition(lease.epoch, id, &book.condition(id), self.now);
                self.engine.restore_superseded(lease.epoch, id, book.superseded(id));
                self.engine.restore_keys(lease.epoch, id, &book.found_keys(id), self.now);
                self.engine.restore(lease.epoch, id, (lists, book.reviewed_of(id)), self.now);
            }
        }
        if has_begun {
            self.put_changes();
            self.ledger.check_set_aside(&self.subscriptions);
        }
    }
}
