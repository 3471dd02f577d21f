//! The background task: follows `control` and applies it in order, for as long as the process lives.
//!
//! One batch is what has arrived when the task gets its turn (at most [`BATCH`]), decoded before the snapshot is locked. A
//! failure that waiting heals starts the tail again where the snapshot stands; any other ends the task, and with it the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::health::Latch;
use chassis::limited::Limited;
use kafka::{Connection, KafkaError, Offsets, Tail, TailEvent, TailOptions};
use schemas::record::TopicPartition;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use crate::catalog::Inner;
use crate::change::{Change, ChangeKind, NewerObject};
use crate::error::CatalogError;
use crate::metrics::CatalogMetrics;

/// Records applied under one lock.
const BATCH: usize = 1_000;
/// An empty fetch returns after that, so that the end (and with it the position past transaction markers) is
/// seen within 20 ms.
const FETCH_WAIT_MS: u32 = 20;
/// The first looks at the end of `control` may fail without a word.
const QUIET_FAILURES: u32 = 5;
/// Between two tries of a broken tail.
const RESTART_WAIT: Duration = Duration::from_secs(1);
/// One line about failures per that.
const LOG_PERIOD: Duration = Duration::from_secs(10);

pub(crate) struct Reader {
    inner: Arc<Inner>,
    connection: Connection,
    offsets: Offsets,
    partition: TopicPartition,
    metrics: CatalogMetrics,
    limited: Limited<String>,
}

/// What came in one turn.
#[derive(Default)]
struct ReaderBatch {
    changes: Vec<Change>,
    end: Option<i64>,
    /// The last record's write, and how many of its records are still to come.
    open: Option<(Uuid, u32)>,
}

impl Reader {
    pub(crate) fn new(
        inner: Arc<Inner>,
        connection: Connection,
        offsets: Offsets,
        partition: TopicPartition,
        metrics: CatalogMetrics,
    ) -> Self {
        Self { inner, connection, offsets, partition, metrics, limited: Limited::new(LOG_PERIOD) }
    }

    /// Runs until the last handle of the catalog is gone: roles that drain still read it. Returns why it failed.
    pub(crate) async fn run(self, latch: Latch, abandoned: CancellationToken) -> Option<CatalogError> {
        let failure = tokio::select! {
            failure = self.follow(latch) => Some(failure),
            () = abandoned.cancelled() => None,
        };
        self.inner.close();
        failure
    }

    async fn follow(&self, latch: Latch) -> CatalogError {
        let mut waiting = match self.first_end().await {
            Ok(end) => Some((end, latch)),
            Err(error) => return error,
        };
        loop {
            let Err(source) = self.tail(&mut waiting).await;
            if !source.is_retriable() {
                return self.failed(source);
            }
            self.metrics.restarts.inc();
            self.log_failure(&source);
            tokio::time::sleep(RESTART_WAIT).await;
        }
    }

    /// The end of `control` at the start: what must be applied before the catalog is of use.
    async fn first_end(&self) -> Result<i64, CatalogError> {
        let mut failures = 0;
        loop {
            match self.offsets.end(&self.partition).await {
                Ok(end) => return Ok(end),
                // A topic that was just made, or a broker that just came up, has no leader for a moment: no news.
                Err(error) if error.is_retriable() && failures < QUIET_FAILURES => {
                    debug!(%error, "the end of the control topic is not known yet");
                    failures += 1;
                }
                Err(error) if error.is_retriable() => self.log_failure(&error),
                Err(error) => return Err(self.failed(error)),
            }
            tokio::time::sleep(RESTART_WAIT).await;
        }
    }

    async fn tail(&self, waiting: &mut Option<(i64, Latch)>) -> Result<std::convert::Infallible, KafkaError> {
        let mut tail = Tail::start(&self.connection, self.options())?;
        loop {
            let mut batch = ReaderBatch::default();
            self.take(tail.next().await?, &mut batch);
            while batch.is_open() || batch.changes.len() < BATCH {
                if batch.is_open() {
                    self.take(tail.next().await?, &mut batch);
                    continue;
                }
                // `Tail::next` waits on a channel: dropping it while it waits loses nothing.
                tokio::select! {
                    biased;
                    event = tail.next() => self.take(event?, &mut batch),
                    () = std::future::ready(()) => break,
                }
            }
            self.apply(batch);
            if let Some((end, _)) = waiting
                && self.inner.position() >= *end
                && let Some((end, latch)) = waiting.take()
            {
                info!(position = end, subscriptions = self.inner.figures().0, "catalog is caught up");
                self.inner.set_ready();
                latch.release();
            }
        }
    }

    fn options(&self) -> TailOptions {
        let position = self.inner.position();
        let from = if position == 0 {
            kafka::From::Beginning
        } else {
            kafka::From::Offsets(HashMap::from([(self.partition.partition, position)]))
        };
        TailOptions {
            topic: self.partition.topic.to_string(),
            partitions: Some(vec![self.partition.partition]),
            from,
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        }
    }

    fn take(&self, event: TailEvent, batch: &mut ReaderBatch) {
        match event {
            TailEvent::Record { record, .. } => {
                let change = Change::decode(&record, self.inner.vault());
                if let ChangeKind::Undecodable { key, reason } = &change.kind {
                    self.metrics.undecodable.inc();
                    error!(
                        topic = %self.partition.topic, partition = self.partition.partition, offset = record.offset, key,
                        reason, "control record cannot be decoded, the former object stays"
                    );
                }
                if let Some(newer) = &change.newer {
                    self.newer(newer, record.offset);
                }
                batch.push(change);
            }
            TailEvent::Eof { position, .. } => batch.reach(position),
        }
    }

    /// Nothing is wrong, but who looks why a new option has no effect here finds it.
    fn newer(&self, newer: &NewerObject, offset: i64) {
        self.metrics.newer.inc();
        if let Some(swallowed) = self.limited.permit("newer") {
            warn!(
                topic = %self.partition.topic, offset, key = newer.text, why = newer.why, swallowed,
                "a newer release wrote a control object: this one uses what it knows of it, and does not change it"
            );
        }
    }

    fn apply(&self, batch: ReaderBatch) {
        let records = u64::try_from(batch.changes.len()).unwrap_or(u64::MAX);
        self.inner.apply(batch.changes, batch.end);
        self.metrics.applied.inc_by(records);
        self.metrics.position.set(self.inner.position());
        if records > 0 {
            let (subscriptions, digest) = self.inner.figures();
            self.metrics.subscriptions.set(i64::try_from(subscriptions).unwrap_or(i64::MAX));
            self.metrics.digest.set(i64::try_from(digest).unwrap_or(i64::MAX));
        }
    }

    fn log_failure(&self, error: &KafkaError) {
        if let Some(swallowed) = self.limited.permit("tail") {
            warn!(
                topic = %self.partition.topic, position = self.inner.position(), swallowed, %error,
                "cannot follow the control topic, trying again"
            );
        }
    }

    fn failed(&self, source: KafkaError) -> CatalogError {
        CatalogError::Kafka { topic: self.partition.topic.to_string(), source }
    }
}

// === impl ReaderBatch ===

impl ReaderBatch {
    fn push(&mut self, change: Change) {
        self.open = change.write.and_then(|write| {
            let left = match self.open {
                Some((id, left)) if id == write.id => left,
                _another => write.size,
            };
            // What compaction took does not come: then the next write or the end closes this one.
            left.checked_sub(1).filter(|left| *left > 0).map(|left| (write.id, left))
        });
        self.changes.push(change);
    }

    fn reach(&mut self, end: i64) {
        self.open = None;
        self.end = Some(end);
    }

    /// Whether the last write is not complete: it is applied as a whole, so that nobody sees half of it.
    fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Write;

    fn change(offset: i64, id: u128, size: u32) -> Change {
        let id = Uuid::from_u128(id);
        let write = Some(Write { id, size, transaction: id });
        Change { offset, write, kind: ChangeKind::Unknown, newer: None }
    }

    #[test]
    fn a_write_is_applied_as_a_whole_and_never_waited_for_in_vain() {
        let mut batch = ReaderBatch::default();
        let mut open = |change: Option<Change>| {
            match change {
                Some(change) => batch.push(change),
                None => batch.reach(9),
            }
            batch.is_open()
        };
        assert!(!open(Some(change(0, 1, 1))));
        assert!(open(Some(change(1, 2, 3))));
        assert!(open(Some(change(2, 2, 3))));
        assert!(!open(Some(change(3, 2, 3))));
        // Compaction left two of three, and the last one's write is complete.
        assert!(open(Some(change(4, 3, 3))));
        assert!(open(Some(change(5, 3, 3))));
        assert!(!open(Some(change(6, 4, 1))));
        // The end closes one that will not be completed.
        assert!(open(Some(change(7, 5, 2))));
        assert!(!open(None));
    }
}
