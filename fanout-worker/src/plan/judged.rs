//! What is found out about an event, before it is put into records.

use kafka::{Lease, SliceCursor};
use schemas::delivery::Deprecation;
use schemas::ids::ApplicationId;
use schemas::seen::Hash;
use schemas::status::SourceFailure;
use sources::schema::SchemaKey;

use crate::intake::SourceTurn;
use crate::retried::RetriedTurn;

/// An accepted event on its way to being deliveries.
#[derive(Debug)]
pub(super) struct Expansion {
    /// The record it is: a partition that comes back under another lease begins anew.
    pub(super) lease: Lease,
    pub(super) offset: i64,
    pub(super) application: ApplicationId,
    /// As the snapshot said that it was judged by.
    pub(super) deprecation: Option<Deprecation>,
    pub(super) control_offset: i64,
    pub(super) id: Option<(Hash, i64)>,
    /// Deliveries made so far, of as many as there are `subscriptions`.
    pub(super) made: usize,
}

/// What is found out about an event.
pub(super) enum Judged {
    /// A repeat: its outputs are complete.
    Repeat,
    /// It leaves nothing.
    Skipped(&'static str),
    /// Nothing of its source can be planned for now.
    Held(SourceFailure),
    /// Its schema is not here.
    Awaits(SchemaKey),
    /// Accepted: its deliveries are to be made.
    Accepted(Expansion),
    /// Its filters are to be compiled first.
    Uncompiled,
    /// There is no time for the rest of its filters, or for its order.
    Later,
    /// A slice of its deliveries, and how far it is with that.
    Slice(Option<SliceCursor>),
    /// Its last slice is not committed yet.
    UnderWay,
    /// So many candidates are not kept beside those of others: it begins when one of these is done.
    NoRoom(usize),
    /// All of its deliveries are written: so many, and the identity it adds to `seen`.
    Ended(usize, Option<(Hash, i64)>),
}

impl super::Turn<'_> {
    /// Whether a part of its event was written here, and not by whoever rejected it before: then it is no repeat, whatever is remembered.
    pub(super) fn is_begun(&self) -> bool {
        self.written.is_some() && self.written != self.retried.and_then(RetriedTurn::written)
    }

    /// Whether its source has made of a record what it could before, and is not told to do that again.
    pub(super) fn was_fanned_out(&self, offset: i64) -> bool {
        let was_handled = |source: SourceTurn<'_>| source.was_handled(offset) && source.again(offset).is_none();
        self.retried.is_none() && self.written.is_none() && self.source.is_some_and(was_handled)
    }
}
