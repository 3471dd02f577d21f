//! What became of a record that was to be planned.

use kafka::SliceCursor;
use schemas::record::{Record, TopicPartition};
use schemas::rejected::RejectReason;
use schemas::seen::Hash;
use schemas::status::SourceFailure;
use sources::schema::SchemaKey;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventVerdict {
    /// An event for this many subscriptions.
    Matched(usize),
    /// A repeat of an identity inside the dedup window, or of a position.
    Repeat,
    /// A record of a source that is none of its events, for this reason.
    Skipped(&'static str),
    /// No event, or one that cannot be passed on.
    Rejected(RejectReason),
    /// A part of an event's deliveries, and not the last record of it: how far it is with that. `None`: it was refused, and nothing of
    /// the event is written.
    Sliced(Option<SliceCursor>),
}

/// A planned record, remembered until its transaction is known.
#[derive(Debug)]
pub(crate) struct Note {
    /// The record: should Kafka refuse its outputs, it goes to `rejected`.
    pub(crate) record: Record,
    /// What became of it.
    pub(crate) verdict: EventVerdict,
    /// The identity it adds to `seen`, if its id can come again, and its time, Unix ms.
    pub(crate) id: Option<(Hash, i64)>,
    /// Of one that was retried: where it stood, and its time there. Should it be read there again, it is a repeat.
    pub(crate) stood: Option<(TopicPartition, i64)>,
    /// How far its event was written before.
    pub(crate) written: Option<SliceCursor>,
}

/// What became of a record that was to be planned.
#[derive(Debug)]
pub(crate) enum Planned {
    /// Its outputs are complete: [`super::Planner::outputs`].
    Done(Note),
    /// Its outputs are not complete yet: it is to be planned again, before any other, once [`super::Planner::compile`] is done.
    Aside(Record),
    /// A part of it is complete, see [`EventVerdict::Sliced`]: the rest once that is committed.
    Slice(Note),
    /// Its outputs are not complete yet: it is to be planned again, after those of others.
    Later(Record),
    /// A part of it is not committed yet.
    UnderWay(Record),
    /// It waits until there is room for so many candidates, see [`super::Planner::has_room_for`].
    NoRoom(Record, usize),
    /// Nothing of its source can be an event for now, and this is why: its partition is held.
    Held(Record, SourceFailure),
    /// Nobody can tell what it is before this schema is here: its partition waits.
    Awaits(Record, SchemaKey),
}
