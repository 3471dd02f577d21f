//! One batch becomes one transaction, whatever it takes: what Kafka can never take is rejected, the rest goes on.

use std::time::Duration;

use chassis::clock::now_ms;
use kafka::{KafkaError, Lease, Refusal, Writer};
use schemas::seen::Hash;
use tracing::warn;

use crate::batch::Batch;
use crate::error::{Error, doing};
use crate::expand::Expander;

/// Commits batches.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    pub(crate) writer: Writer,
    pub(crate) expander: Expander,
    /// Partitions of `seen`.
    pub(crate) seen_partitions: i32,
}

/// A batch whose outcome is known.
#[derive(Debug)]
pub(crate) struct Done {
    /// What was committed.
    pub(crate) batch: Batch,
    /// Leases that were over: nothing of theirs was written.
    pub(crate) dropped: Vec<Lease>,
    /// Identities that were not accepted after all.
    pub(crate) refused: Vec<(Lease, Hash)>,
    /// How long the transaction took.
    pub(crate) duration: Duration,
}

impl Committer {
    /// Resolves when the outcome is known.
    pub(crate) async fn commit(self, mut batch: Batch) -> Result<Done, Error> {
        let mut refused = Vec::new();
        let mut transaction = batch.transaction(&self.expander, self.seen_partitions);
        loop {
            match self.writer.commit(transaction).await {
                Ok(committed) => {
                    let (dropped, duration) = (committed.dropped, committed.duration);
                    return Ok(Done { batch, dropped, refused, duration });
                }
                Err(KafkaError::Unwritable { refused: mut outputs, transaction: given }) => {
                    transaction = *given;
                    // An event goes once, however many of its outputs are refused.
                    outputs.dedup_by_key(|refusal| batch.first_output(refusal.index));
                    for Refusal { index, topic, code, reason } in outputs.into_iter().rev() {
                        warn!(%topic, ?code, reason, "kafka can never take an output: its event goes to `rejected`");
                        let reason = format!("{topic}: {reason}");
                        refused.extend(batch.refuse(transaction, index, &reason, &self.expander, now_ms())?);
                        transaction = batch.transaction(&self.expander, self.seen_partitions);
                    }
                }
                Err(KafkaError::TooSlow { transaction: given, written_bytes, reason }) => {
                    warn!(written_bytes, reason, "a transaction does not get through in time; trying it again");
                    transaction = *given;
                }
                Err(error) => return Err(doing("committing a batch")(error)),
            }
        }
    }
}
