//! The book of one lease, and how far it is.

use std::collections::BTreeSet;

use kafka::{Claimed, Lease, ListsClaim};
use schemas::ids::SubscriptionId;
use schemas::record::Record;
use uuid::Uuid;

use super::found::FoundBook;
use crate::book::Book;

/// A book whose lease is ours.
#[derive(Debug)]
pub(super) struct OpenBook {
    pub(super) lease: Lease,
    pub(super) book: Book,
    pub(super) topic_id: Uuid,
    pub(super) awaited: BTreeSet<i64>,
    pub(super) listed_again: Vec<(SubscriptionId, i64)>,
    pub(super) state: BookState,
    pub(super) checkpoint: CheckpointState,
    /// It goes to its next owner: nothing more begins.
    pub(super) is_ending: bool,
}

/// What is under way so that less has to be read of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CheckpointState {
    /// The end of its lists is asked for.
    pub(super) is_asked: bool,
    /// A portion is in the outbox.
    pub(super) is_under_way: bool,
}

/// How far a partition is.
#[derive(Debug)]
pub(super) enum BookState {
    /// What was found has to be corrected first; records wait.
    Correcting {
        is_under_way: bool,
        held: Vec<Record>,
    },
    /// Nothing is left to correct; its records are taken with the next moment.
    Corrected {
        held: Vec<Record>,
    },
    Begun,
}

// === impl OpenBook ===

impl OpenBook {
    /// As it was found: its records wait until nothing is left to correct.
    pub(super) fn new(lease: Lease, found: FoundBook) -> Self {
        let FoundBook { book, topic_id, awaited, listed_again } = found;
        let held = Vec::new();
        let state = if book.needs_correction() {
            BookState::Correcting { is_under_way: false, held }
        } else {
            BookState::Corrected { held }
        };
        let (checkpoint, is_ending) = (CheckpointState::default(), false);
        Self { lease, book, topic_id, awaited, listed_again, state, checkpoint, is_ending }
    }

    /// Whether its lists are served: nothing is left to correct, and it does not go to another owner.
    pub(super) fn is_served(&self) -> bool {
        !self.is_ending && matches!(self.state, BookState::Begun)
    }

    /// What the metadata of its partition say of its lists.
    pub(super) fn claim(&self) -> Claimed {
        let (topic_id, from) = (self.topic_id, self.book.read_from());
        match self.book.claim() {
            None => Claimed::AsFound,
            Some(total) => Claimed::Lists(ListsClaim { queued: total.queued, sum: total.sum, topic_id, from }),
        }
    }
}
