//! What a new owner does before the first record of a partition: take over, and read what was accepted before from `seen`.
//!
//! ```text
//! Assigned -> Writer::take_over     stable committed offsets, a dead predecessor fenced (rules 5 and 8)
//!          -> read.rs               `seen` from the window's edge until its end, as it is now (rule 6)
//!          -> Poller::begin
//! ```
//!
//! It runs beside the worker's loop: partitions that are ours already go on meanwhile.

mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use chassis::clock::now_ms;
use kafka::{Connection, Lease, Offsets, Ownership, Progress, Restored, Transaction, Writer};
use schemas::canary::Canary;
use schemas::invariants::Invariant;
use tracing::{error, info};

use crate::config::StartAt;
use crate::deduplicate::{Identities, Seen};
use crate::error::{Error, doing};

/// Restores partitions.
#[derive(Clone, Debug)]
pub(crate) struct Restorer {
    pub(crate) connection: Connection,
    pub(crate) writer: Writer,
    pub(crate) offsets: Offsets,
    pub(crate) ownership: Ownership,
    /// The topic of accepted identities, and how many partitions it has.
    pub(crate) seen_topic: Arc<str>,
    pub(crate) seen_partitions: i32,
    /// Where what was accepted is restored to; what the worker owns already is there too.
    pub(crate) identities: Identities,
    /// Where sources begin that were never read; `events` is not among them.
    pub(crate) sources: BTreeMap<Arc<str>, StartAt>,
    pub(crate) canary: Option<Canary>,
}

/// A partition that may begin.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Which.
    pub(crate) lease: Lease,
    /// Offset of its first record.
    pub(crate) start: i64,
    /// What it accepted before.
    pub(crate) seen: Seen,
    /// Records that retention deleted before anybody read them.
    pub(crate) lost: i64,
}

// === impl Restorer ===

impl Restorer {
    /// Takes the leases over and restores them. Leases that are over meanwhile are left out.
    pub(crate) async fn restore(self, leases: Vec<Lease>) -> Result<Vec<Ready>, Error> {
        let started_ms = now_ms();
        let restored = self.writer.take_over(leases).await.map_err(doing("taking over partitions"))?;
        let mut starts = Vec::with_capacity(restored.len());
        for partition in &restored {
            starts.push((partition.lease.clone(), self.start(partition)?, partition.lost()));
        }
        let new = restored.iter().zip(&starts).filter(|(restored, _)| restored.committed.is_none());
        self.commit_starts(new.map(|(restored, (_, start, _))| (restored.lease.clone(), *start)).collect()).await?;
        let places: Vec<(&Lease, i64)> = starts.iter().map(|(lease, start, _)| (lease, *start)).collect();
        let mut seen = self.read_seen(&places).await?;
        let ready = starts.into_iter().map(|(lease, start, lost)| {
            let seen = seen.take(&lease.partition).unwrap_or_else(|| self.identities.partition());
            Ready { lease, start, seen, lost }
        });
        let ready: Vec<Ready> = ready.collect();
        let ids = self.identities.len();
        info!(partitions = ready.len(), ids, elapsed_ms = now_ms() - started_ms, "partitions taken over");
        Ok(ready)
    }

    /// Where reading begins.
    fn start(&self, restored: &Restored) -> Result<i64, Error> {
        let partition = &restored.lease.partition;
        let lost = restored.lost();
        if lost > 0 {
            Invariant::NeverLost.violated();
            error!(%partition, lost, log_start = restored.log_start, "retention deleted records before they were read");
        }
        match (restored.committed, self.sources.get(&partition.topic)) {
            (None, Some(StartAt::End)) => Ok(restored.log_end),
            (None, Some(StartAt::Beginning)) => Ok(restored.log_start),
            (None, None) | (Some(_), _) => restored.start().map_err(doing("finding the start of a partition")),
        }
    }

    /// A partition that was never read begins where it begins for good: after a restart before its first record it must not
    /// begin at a later end. It also leaves our id where a successor looks for it.
    async fn commit_starts(&self, starts: Vec<(Lease, i64)>) -> Result<(), Error> {
        if starts.is_empty() {
            return Ok(());
        }
        info!(partitions = starts.len(), first = %starts[0].0.partition, offset = starts[0].1, "read for the first time");
        let progress =
            |(lease, offset)| Progress { lease, committed: offset, read_up_to: offset, not_done: Vec::new() };
        let progress = starts.into_iter().map(progress);
        let transaction = Transaction { outputs: Vec::new(), progress: progress.collect() };
        // What is over by now is left out again before it begins.
        self.writer.commit(transaction).await.map_err(doing("committing where partitions begin"))?;
        Ok(())
    }
}
