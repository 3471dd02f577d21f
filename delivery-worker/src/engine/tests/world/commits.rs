//! Transactions: cut, sealed, refused or committed, a moment later.

use ::kafka::Transaction;
use rand::Rng;
use stage::Batch;

use super::World;
use super::shell::Committing;
use crate::flaws::{self, Flaw};
use crate::work::LaneNote;

impl World {
    pub(super) fn begin_commit(&mut self) {
        if self.committing.is_some() || self.now < self.next_commit {
            return;
        }
        let Some((batch, mut transaction)) = self.outbox.cut(0) else { return };
        let claims = self.shell.books.seal(&batch, &mut transaction.outputs);
        for (progress, claim) in transaction.progress.iter_mut().zip(claims) {
            progress.claim = claim;
        }
        let ends_at = self.now + self.rng.random_range(2..40);
        let is_refused = self.rng.random_range(0..100) < self.refused_percent;
        self.committing = Some(Committing { batch, transaction, ends_at, is_refused });
        self.next_commit = self.now + 50;
    }

    pub(super) fn end_commit(&mut self) {
        let Some(committing) = self.committing.take_if(|committing| committing.ends_at <= self.now) else { return };
        let Committing { batch, transaction, is_refused, .. } = committing;
        if is_refused {
            if flaws::has(Flaw::LaneAheadOfBatch) {
                self.kafka.apply_lanes(&transaction, &self.topics.lanes);
            }
            self.shell.put_back(&mut self.outbox, batch, transaction);
            return;
        }
        self.committed(&batch, transaction);
        self.shell.books.committed();
        self.begin_corrected();
    }

    /// A transaction is committed: what it wrote is there.
    pub(super) fn committed(&mut self, batch: &Batch<LaneNote>, transaction: Transaction) {
        self.kafka.apply_lanes(&transaction, &self.topics.lanes);
        self.ledger.committed(batch);
        self.ledger.check_lanes(&transaction, &self.topics.lanes);
        for output in transaction.outputs.into_iter().filter(|output| output.record.topic != self.topics.lanes) {
            self.ledger.output(&output.record, &self.topics);
            self.scheduler.write(output.record, self.now);
        }
        for progress in transaction.progress {
            self.kafka.commit(progress);
        }
        self.ledger.check_committed(&self.kafka);
        if let Some(bounds) = self.bounds {
            self.kafka.check_bound(bounds, self.seed);
        }
    }

    /// What was under way gets through, or it does not: its successor fences it either way.
    pub(super) fn abandon_commit(&mut self) {
        if let Some(Committing { batch, transaction, is_refused, .. }) = self.committing.take()
            && !is_refused
            && self.rng.random_bool(0.5)
        {
            self.committed(&batch, transaction);
        }
    }
}
