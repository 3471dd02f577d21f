//! Commits: one transaction at a time, as full as the pace allows, and what follows from its outcome.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use chassis::clock;
use kafka::{Committed, KafkaError, Refusal, Transaction};

use super::Shell;
use crate::book::{Batch, LeaseKey};
use crate::error::Error;

/// A transaction whose outcome is not known yet.
pub(super) struct Committing {
    future: Pin<Box<dyn Future<Output = Result<Committed, KafkaError>> + Send>>,
    meta: Option<Meta>,
    oldest_boot_ms: i64,
}

/// What a transaction means here.
#[derive(Debug)]
pub(super) struct Meta {
    credits: Vec<(LeaseKey, usize, usize)>,
    sources: Vec<(LeaseKey, i64)>,
    oldest_boot_ms: i64,
    /// It began after the gate became suspicious: it proves that the leases are still ours.
    proves: bool,
}

impl Committing {
    /// When its oldest outcome was known.
    pub(super) fn oldest_boot_ms(&self) -> i64 {
        self.oldest_boot_ms
    }

    /// Whether it writes for one of these leases.
    fn touches(&self, keys: &[LeaseKey]) -> bool {
        self.meta.as_ref().is_some_and(|meta| meta.credits.iter().any(|(key, ..)| keys.contains(key)))
    }
}

impl Future for Committing {
    type Output = (Result<Committed, KafkaError>, Meta);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(context).map(|result| {
            let meta = self.meta.take().expect("a future is not polled after its end");
            (result, meta)
        })
    }
}

impl Shell {
    /// Begins the next transaction if there is anything to commit and it is time.
    pub(super) fn begin_commit(&mut self, now: Instant, boot_ms: i64) -> Option<Committing> {
        let is_urgent = self.book.is_full() || !self.handovers.is_empty() || self.drain_until.is_some();
        if self.book.is_clean() || !self.pace.ready(now, is_urgent || self.gate.is_suspect()) {
            return None;
        }
        let Batch { transaction, credits, sources, oldest_boot_ms } = self.book.cut(boot_ms)?;
        let proves = self.gate.is_suspect();
        Some(self.commit(transaction, Meta { credits, sources, oldest_boot_ms, proves }))
    }

    fn commit(&self, transaction: Transaction, meta: Meta) -> Committing {
        let writer = self.writer.clone();
        let oldest_boot_ms = meta.oldest_boot_ms;
        let future = Box::pin(async move { writer.commit(transaction).await });
        Committing { future, meta: Some(meta), oldest_boot_ms }
    }

    /// The outcome of a transaction is known. Returns another one, if it has to be written in another form.
    pub(super) fn on_committed(
        &mut self,
        result: Result<Committed, KafkaError>,
        meta: Meta,
    ) -> Result<Option<Committing>, Error> {
        match result {
            Ok(committed) => {
                self.after_commit(&committed, &meta);
                Ok(None)
            }
            Err(KafkaError::Unwritable { refused, transaction }) => {
                let (mut transaction, mut meta) = (*transaction, meta);
                for Refusal { index, topic, reason, .. } in refused.into_iter().rev() {
                    let detail = format!("kafka never takes this record to {topic}: {reason}");
                    self.replace(&mut transaction, &mut meta, index, &detail)?;
                }
                Ok(Some(self.commit(transaction, meta)))
            }
            Err(KafkaError::TooSlow { transaction, written_bytes, reason }) => {
                tracing::warn!(written_bytes, reason, "a transaction does not get through in time; trying it again");
                Ok(Some(self.commit(*transaction, meta)))
            }
            Err(error) => Err(Error::kafka("committing outcomes")(error)),
        }
    }

    fn after_commit(&mut self, committed: &Committed, meta: &Meta) {
        let now = clock::instant();
        self.pace.finished(now, committed.duration);
        self.metrics.transaction.observe(committed.duration.as_secs_f64());
        for (key, records, bytes) in &meta.credits {
            let Some(lease) = self.book.lease(*key) else { continue };
            if committed.dropped.contains(lease) {
                // Nothing of it was written: it belongs to another worker now.
                self.engine.revoke(&[*key], false);
                self.book.close(*key);
            } else if *records > 0 {
                self.poller.release(lease, *records, *bytes);
            }
        }
        if meta.proves {
            self.gate.prove();
        }
    }

    /// One output can never be written: it goes to `rejected`, the rest stays as it is.
    fn replace(
        &mut self,
        transaction: &mut Transaction,
        meta: &mut Meta,
        index: usize,
        detail: &str,
    ) -> Result<(), Error> {
        let Some((key, offset)) = meta.sources.get(index).copied().filter(|_| index < transaction.outputs.len()) else {
            return Err(Error::Task("writer: an output that was not written by this worker"));
        };
        tracing::error!(offset, detail, "an output can never be written, it goes to rejected");
        let output = transaction.outputs[index].clone();
        let partition = transaction.progress[output.lease].lease.partition.clone();
        let records = self.reporter.unwritable(output.record, (&partition, offset), detail, clock::now_ms())?;
        let lease = output.lease;
        let mut records = records.into_iter();
        if let Some(first) = records.next() {
            transaction.outputs[index].record = first;
        }
        for record in records {
            transaction.outputs.push(kafka::Output { lease, record });
            meta.sources.push((key, offset));
        }
        Ok(())
    }

    /// Hands over what is settled; what is not settled in time is sent again by the next owner.
    pub(super) fn finish_handovers(&mut self, now: Instant, committing: Option<&Committing>) {
        while let Some(handover) = self.handovers.front() {
            let keys = &handover.keys;
            let is_settled = self.engine.in_flight_of(keys) == 0
                && !self.book.has_pending(keys)
                && !committing.is_some_and(|committing| committing.touches(keys));
            if !is_settled && now < handover.until {
                return;
            }
            let Some(handover) = self.handovers.pop_front() else { return };
            if !is_settled {
                let in_flight = self.engine.in_flight_of(&handover.keys);
                tracing::warn!(in_flight, "partitions go before everything in flight has ended, it will be sent again");
            }
            self.engine.revoke(&handover.keys, false);
            for key in handover.keys {
                self.book.close(key);
            }
            handover.done.done();
        }
    }
}

impl std::fmt::Debug for Committing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committing").field("meta", &self.meta).finish_non_exhaustive()
    }
}
