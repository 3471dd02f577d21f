//! Whether the lists of a partition are what was claimed, for people who look. Pure.

use std::sync::Arc;

use kafka::{ListsClaim, RestoredLists};

use crate::book::restore::{BookError, FoundLists, Shelved};
use crate::book::{Book, Total};

/// Count and sum of listed offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListsTotal {
    /// Listed offsets.
    pub queued: u64,
    /// Wrapping sum of a mix of each: other offsets of the same number have another one.
    pub sum: u64,
}

/// The lists of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedLists {
    /// Partition of `lanes`, and of `deliveries`.
    pub partition: i32,
    /// What they come to, or why they make no lists.
    pub held: Result<ListsTotal, BookError>,
    /// What was claimed, if anything was.
    pub claimed: Option<ListsTotal>,
    /// Kafka's time of nothing that waits is older, Unix ms.
    pub oldest_ms: Option<i64>,
}

/// Judges what was read of a partition by what was claimed of it.
#[must_use]
pub fn judge(lists: &RestoredLists, claim: Option<ListsClaim>) -> JudgedLists {
    let partition = lists.lease.partition.partition;
    let book = book(lists);
    let oldest_ms = book.as_ref().ok().and_then(Book::oldest_ms);
    let claimed = claim.map(|claim| ListsTotal { queued: claim.queued, sum: claim.sum });
    JudgedLists { partition, held: book.map(|book| ListsTotal::from(book.total())), claimed, oldest_ms }
}

fn book(lists: &RestoredLists) -> Result<Book, BookError> {
    let partition = &lists.lease.partition;
    // Nothing is compared here: what is found is what is told.
    let unclaimed = FoundLists { claimed: None, start: i64::MAX, log_start: 0, is_recreated: false };
    Shelved::of(lists)?.book(Arc::clone(&partition.topic), partition.partition, unclaimed)
}

// === impl ListsTotal ===

impl From<Total> for ListsTotal {
    fn from(total: Total) -> Self {
        Self { queued: total.queued, sum: total.sum }
    }
}

// === impl JudgedLists ===

impl JudgedLists {
    /// A delivery worker would begin this partition: nothing else was claimed than is held.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.held.as_ref().is_ok_and(|held| self.claimed.is_none_or(|claimed| claimed == *held))
    }
}
