//! What a transaction writes, and what is told about it afterwards.

use std::sync::Arc;
use std::time::Duration;

use schemas::record::OutRecord;

use crate::error::ErrorCode;
use crate::lease::Lease;
use crate::metadata::{ListsClaim, PositionClaim, SliceCursor};

/// What one transaction writes.
///
/// With outputs it is written as a whole: keep it at most at [`MAX_LEASES`](super::MAX_LEASES) leases, for Kafka stores the offsets of a
/// transaction as one batch, and at what a cluster takes in the transaction timeout. Without outputs it may have any
/// number of leases and is committed in portions.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Records to produce, each tagged with the progress it belongs to.
    pub outputs: Vec<Output>,
    /// Offsets to commit, one element per lease. May stand without outputs.
    pub progress: Vec<Progress>,
}

/// One record of a transaction.
#[derive(Clone, Debug)]
pub struct Output {
    /// Index into [`Transaction::progress`]: dropped together with it when that lease is over.
    pub lease: usize,
    /// The record.
    pub record: OutRecord,
}

/// What is done of one partition, see [`crate::Window::progress`].
#[derive(Clone, Debug)]
pub struct Progress {
    /// Which partition and epoch.
    pub lease: Lease,
    /// The offset to commit.
    pub committed: i64,
    /// Everything below this that is not listed is done.
    pub read_up_to: i64,
    /// What is not done in `[committed, read_up_to)`, ascending.
    pub not_done: Vec<i64>,
    /// What its metadata say beside the progress.
    pub claim: Claimed,
}

/// What a commit says beside its progress: about the lists of records that wait, about the positions of a source,
/// or about a record that is written in slices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Claimed {
    /// Nothing.
    #[default]
    Nothing,
    /// What the lists come to with this transaction.
    Lists(ListsClaim),
    /// What the takeover of the lease found, and the topic's id beside it: the lists are being corrected and this transaction is
    /// not the last, so that whoever takes over in between finds what there was to correct.
    AsFound,
    /// Nothing about lists: the partition is a source's, and this is where its offset came from.
    Position(PositionClaim),
    /// The record at the offset is written in slices, and this is how far; with the positions where the partition is a source's.
    Slices(SliceCursor, Option<PositionClaim>),
}

// === impl Claimed ===

impl Claimed {
    /// What the commits of a partition say that is done in order and has no lists.
    #[must_use]
    pub fn in_order(slices: Option<SliceCursor>, position: Option<PositionClaim>) -> Self {
        match (slices, position) {
            (Some(cursor), position) => Self::Slices(cursor, position),
            (None, Some(position)) => Self::Position(position),
            (None, None) => Self::Nothing,
        }
    }
}

/// How a transaction ended.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Leases that were over: nothing of theirs was written by the transaction that was committed.
    pub dropped: Vec<Lease>,
    /// From the begin of the first try to the known outcome.
    pub duration: Duration,
}

/// An output that Kafka can never take.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Its index in [`Transaction::outputs`].
    pub index: usize,
    /// The topic it was to go to.
    pub topic: Arc<str>,
    /// librdkafka's code.
    pub code: ErrorCode,
    /// librdkafka's text.
    pub reason: String,
}

// === impl Progress ===

impl Progress {
    /// Whether the offset to commit lies above something that is not done, or above everything that was read.
    pub(super) fn skips_unresolved(&self) -> bool {
        self.read_up_to < self.committed || self.not_done.first().is_some_and(|offset| *offset < self.committed)
    }
}

#[cfg(test)]
mod tests {
    use schemas::record::TopicPartition;

    use super::*;
    use crate::lease::Epoch;

    #[test]
    fn an_offset_above_what_is_not_done_is_seen() {
        let progress = |committed, read_up_to, not_done: &[i64]| Progress {
            lease: Lease { partition: TopicPartition::new("t", 0), epoch: Epoch(1) },
            committed,
            read_up_to,
            not_done: not_done.to_vec(),
            claim: Claimed::Nothing,
        };
        assert!(!progress(5, 9, &[5, 7]).skips_unresolved() && !progress(5, 5, &[]).skips_unresolved());
        assert!(progress(6, 9, &[5, 7]).skips_unresolved() && progress(6, 5, &[]).skips_unresolved());
    }
}
