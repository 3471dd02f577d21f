//! Commits: one transaction at a time, as full as the pace allows, and what follows from its outcome.

use std::pin::Pin;

use kafka::{Committed, KafkaError, Lease, Refusal};
use tracing::{error, info, warn};

use crate::error::StageError;
use crate::outbox::{Batch, Slow};
use crate::turn::Stage;
use crate::work::{Now, Work};

/// A transaction whose outcome is not known yet.
pub(crate) struct CommitInFlight<N> {
    future: Pin<Box<dyn Future<Output = Result<Committed, KafkaError>> + Send>>,
    pub(crate) batch: Batch<N>,
    /// When it began, on the clock that counts suspension, ms.
    pub(crate) since_boot_ms: i64,
}

/// Resolves when the outcome is known; never while nothing is under way. Cancel safe.
pub(crate) async fn outcome<N>(commit: &mut Option<CommitInFlight<N>>) -> Result<Committed, KafkaError> {
    match commit {
        Some(commit) => commit.future.as_mut().await,
        None => std::future::pending().await,
    }
}

/// What the end of a drain leaves behind.
const fn last_words(is_complete: bool) -> &'static str {
    if is_complete {
        "everything resolved is committed"
    } else {
        "what was not committed when the grace period was over is done again by others"
    }
}

impl<W: Work> Stage<W> {
    /// Begins the next transaction if there is anything to commit and it is time. Returns whether one began.
    pub(crate) fn begin_commit(&mut self, now: Now) -> bool {
        if self.commit.is_some() || self.outbox.is_empty() {
            return false;
        }
        let is_suspect = self.gate.as_ref().is_some_and(|gate| gate.is_suspect());
        let is_urgent = self.outbox.is_urgent() || self.members.is_handing_over() || self.drain.is_some() || is_suspect;
        if !self.pace.ready(now.instant, is_urgent) {
            return false;
        }
        let Some((batch, mut transaction)) = self.outbox.cut(now.boot_ms) else { return false };
        #[expect(clippy::cast_precision_loss, reason = "a histogram's value; a batch is far below 2^53 records")]
        self.metrics.batch.observe(transaction.outputs.len() as f64);
        let claims = self.work.seal(&batch, &mut transaction.outputs);
        for (progress, claim) in transaction.progress.iter_mut().zip(claims) {
            progress.claim = claim;
        }
        let writer = self.writer.clone();
        let future = Box::pin(async move { writer.commit(transaction).await });
        self.commit = Some(CommitInFlight { future, batch, since_boot_ms: now.boot_ms });
        true
    }

    /// The outcome of the transaction under way is known.
    pub(crate) fn on_outcome(&mut self, outcome: Result<Committed, KafkaError>, now: Now) -> Result<(), StageError> {
        let Some(CommitInFlight { batch, .. }) = self.commit.take() else { return Ok(()) };
        match outcome {
            Ok(committed) => {
                self.on_committed(batch, &committed, now);
                Ok(())
            }
            Err(KafkaError::Unwritable { refused, transaction }) => {
                if let Some(Refusal { topic, code, reason, .. }) = refused.first() {
                    let outputs = refused.len();
                    warn!(role = W::ROLE, outputs, %topic, ?code, reason, "kafka can never take some outputs, something shorter is written instead");
                }
                let with_topic = |refusal: Refusal| (refusal.index, format!("{}: {}", refusal.topic, refusal.reason));
                let refused: Vec<(usize, String)> = refused.into_iter().map(with_topic).collect();
                self.outbox.put_back_refused(batch, *transaction, &refused, &mut self.work, now)
            }
            Err(KafkaError::TooSlow { transaction, written_bytes, reason }) => {
                let (entries, outputs) = (batch.entries.len(), transaction.outputs.len());
                warn!(
                    role = W::ROLE,
                    entries,
                    outputs,
                    written_bytes,
                    reason,
                    "a transaction does not get through in time, smaller ones follow"
                );
                let slow = Slow { written: written_bytes, reason: &reason, give_up_bytes: self.give_up_bytes };
                self.outbox.put_back_slow(batch, *transaction, slow, &mut self.work, now)
            }
            Err(KafkaError::Closed) if self.drain.is_some() => {
                let (records, parts) = (batch.entries.len(), batch.parts.len());
                warn!(
                    role = W::ROLE,
                    records, parts, "stopped before a transaction got through: its records are done again by others"
                );
                self.work.unsealed(&batch);
                Ok(())
            }
            Err(source) => Err(StageError::kafka(W::ROLE, "committing a batch")(source)),
        }
    }

    fn on_committed(&mut self, batch: Batch<W::Note>, committed: &Committed, now: Now) {
        self.last_commit_ms = Some(now.wall_ms);
        let fill_ratio = if self.is_paced_by_fill { batch.fill_ratio } else { 1.0 };
        self.pace.finished_filled(now.instant, committed.duration, fill_ratio);
        self.metrics.transaction.observe(committed.duration.as_secs_f64());
        let is_dropped = |lease: &Lease| committed.dropped.contains(lease);
        self.outbox.committed(&batch, is_dropped);
        let dropped: Vec<_> = committed.dropped.iter().map(|lease| lease.epoch).collect();
        self.work.committed(batch.entries.iter().filter(|entry| !dropped.contains(&entry.epoch)), now);
        for part in &batch.parts {
            if is_dropped(&part.lease) {
                // Nothing of it was written: it belongs to another worker now, or its topic is gone or denied and the transaction went without.
                self.close(&part.lease);
                if self.poller.ownership().is_live(&part.lease) {
                    self.poller.restart(vec![part.lease.clone()]);
                }
            } else if part.records > 0 {
                self.poller.release(&part.lease, part.records, part.bytes);
            }
        }
        self.outbox.recycle(batch);
    }

    /// Drops everything that is left of a lease.
    pub(crate) fn close(&mut self, lease: &Lease) {
        self.work.closed(lease);
        self.outbox.close(lease.epoch);
    }

    /// The poller has left the group: what is still under way is known soon, or is others' by now.
    pub(crate) async fn end(mut self) -> Result<(), StageError> {
        self.members.abort_steps();
        self.writer.close().await;
        if let Some(commit) = &mut self.commit {
            let outcome = commit.future.as_mut().await;
            self.on_outcome(outcome, Now::read())?;
        }
        if let Some(teller) = self.teller.take() {
            teller.end().await;
        }
        if self.drain.is_none() {
            error!(role = W::ROLE, "the poller ended though nobody asked it to");
            return Err(StageError::Ended {
                role: W::ROLE,
                part: "the poller",
                reason: "its signals ended".to_owned(),
            });
        }
        info!(role = W::ROLE, "ended: {}", last_words(self.is_complete()));
        Ok(())
    }
}
