//! What a new owner reads before the first record of a partition: what was accepted before, from `seen`.
//!
//! ```text
//! taken over -> read.rs    `seen` from the window's edge until its end, as it is now (rule W6) -> the partition begins
//! ```
//!
//! It runs beside the stage's loop: partitions that are ours already go on meanwhile.

mod read;

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::now_ms;
use kafka::{Connection, Lease, Offsets, Ownership, ReadingWatch};
use tracing::info;

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
    /// The partitions are of sources, whose producers may set the time of their records: everything is read.
    pub(crate) is_of_sources: bool,
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
}
