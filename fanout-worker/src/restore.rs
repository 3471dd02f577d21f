//! What a new owner reads before the first record of a partition: what was accepted before, from `seen`.
//!
//! ```text
//! taken over -> read.rs    `seen` from the window's edge until its end, as it is now (rule W6) -> the partition begins
//! ```
//!
//! It runs beside the stage's loop: partitions that are ours already go on meanwhile.

mod read;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::now_ms;
use kafka::{Connection, KafkaError, Lease, Offsets, Ownership, ReadingWatch, Restored};
use tracing::info;

use crate::config::StartAt;
use crate::deduplicate::{Identities, Seen};
use crate::error::Error;

/// Restores partitions.
#[derive(Clone, Debug)]
pub(crate) struct Restorer {
    pub(crate) connection: Connection,
    pub(crate) offsets: Offsets,
    /// The topic of accepted identities, and how many partitions it has.
    pub(crate) seen_topic: Arc<str>,
    pub(crate) seen_partitions: i32,
    /// Of the workers, who alone write it.
    pub(crate) transaction_timeout: Duration,
    /// Where what was accepted is restored to; what the worker owns already is there too.
    pub(crate) identities: Identities,
    /// Where sources begin that were never read; `events` is not among them.
    pub(crate) sources: BTreeMap<Arc<str>, StartAt>,
}

// === impl Restorer ===

impl Restorer {
    /// Restores what these leases accepted; each with the offset it begins at. They are ours and taken over. Leases of which that
    /// cannot be read now are left out.
    pub(crate) async fn restore(
        self,
        places: Vec<(Lease, i64)>,
        ownership: Ownership,
        watch: ReadingWatch,
    ) -> Result<Vec<(Lease, Seen)>, Error> {
        let started_ms = now_ms();
        let restored = self.read_seen(places, &ownership, &watch).await?;
        let ids = self.identities.len();
        info!(partitions = restored.len(), ids, elapsed_ms = now_ms() - started_ms, "accepted identities restored");
        Ok(restored)
    }

    /// Where reading begins.
    pub(crate) fn start(&self, found: &Restored) -> Result<i64, KafkaError> {
        match (found.committed, self.sources.get(&found.lease.partition.topic)) {
            (None, Some(StartAt::End)) => Ok(found.log_end),
            (None, Some(StartAt::Beginning)) => Ok(found.log_start),
            (None, None) | (Some(_), _) => found.start(),
        }
    }
}
