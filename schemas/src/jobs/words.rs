//! The words of jobs: what they do, where they stand, and why something is left out.

use serde::{Deserialize, Serialize};

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// An event is sent again.
    Replay,
    /// One more attempt of a delivery, and no other.
    Retry,
    /// Dead letters are sent again.
    Redrive,
    /// Dead letters are not going to be sent again.
    Discard,
    /// Rejected records are planned again.
    RetryRejected,
    /// A subscription gets events of before it was there.
    Backfill,
    /// A newer build's.
    #[serde(other)]
    Unknown,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Nothing of it has been done.
    Queued,
    /// It is under way.
    Running,
    /// Its next part cannot be made now; it is tried again.
    Waiting,
    /// Nothing more of it is done until it is resumed.
    Paused,
    /// All of it is done.
    Done,
    /// Somebody ended it.
    Cancelled,
    /// It cannot be done.
    Failed,
    /// A newer build's word.
    #[serde(other)]
    Unknown,
}

/// Why something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobSkip {
    /// Kafka does not hold its payload any more.
    Expired,
    /// Its event was erased.
    Erased,
    /// Its subscription is disabled.
    Disabled,
    /// Its subscription is gone.
    Deleted,
    /// Its event has been delivered to its subscription since.
    AlreadyDelivered,
    /// It was redriven or discarded before, or is no dead letter.
    NotOpen,
    /// It does not fit its topic with its new headers.
    TooLarge,
    /// It was rejected behind the fan-out: it is no record of `events` and of no source.
    NoEvent,
    /// Its subscription has got it already, or another event with the same id.
    Existing,
}

// === impl JobKind ===

impl JobKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Retry => "retry",
            Self::Redrive => "redrive",
            Self::Discard => "discard",
            Self::RetryRejected => "retry_rejected",
            Self::Backfill => "backfill",
            Self::Unknown => "unknown",
        }
    }
}

// === impl JobState ===

impl JobState {
    /// Whether nothing of it follows.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

// === impl JobSkip ===

impl JobSkip {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
            Self::AlreadyDelivered => "already_delivered",
            Self::NotOpen => "not_open",
            Self::TooLarge => "too_large",
            Self::NoEvent => "no_event",
            Self::Existing => "existing",
        }
    }
}
