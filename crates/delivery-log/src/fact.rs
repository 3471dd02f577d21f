//! What the log holds: one row for each record of `attempts`, without the bytes of payloads and answers.

use std::ops::Range;

use schemas::delivery::Origin;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use uuid::Uuid;

use crate::position::Coordinates;

/// What was read of one partition of `attempts`, in order.
#[derive(Clone, Debug)]
pub struct LogChunk {
    /// The partition.
    pub partition: i32,
    /// All offsets that were passed, transaction markers included.
    pub offsets: Range<i64>,
    /// The records that stand there.
    pub rows: Vec<LogRow>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp, Unix ms: it decides the day.
    pub stored_ms: i64,
    /// What it says.
    pub content: RowContent,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowContent {
    /// Something happened to an event or a delivery.
    Fact(Box<Fact>),
    /// An event was accepted and matched.
    Event(Box<LoggedEvent>),
    /// What the attempts of a subscription have in common.
    Target(Box<LoggedTarget>),
    /// Nothing that this build keeps, or nothing that it can read: its day is read again by one that keeps other kinds.
    Nothing,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $number:literal $word:literal,)*) => {
        /// What happened. The numbers are stored, and stay what they are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum FactKind {
            $($(#[$doc])* $kind = $number,)*
        }

        impl FactKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The word of the record.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }
        }
    };
}

kinds! {
    /// An identity that was seen before; nothing was sent.
    Repeat 1 "repeat",
    /// A record that could not be used.
    Rejected 2 "rejected",
    /// A filter failed: no match.
    FilterFailed 3 "filter_failed",
    /// An attempt failed and is repeated.
    Attempted 4 "attempted",
    /// A delivery waits in a delay topic without an attempt: written by older versions.
    Parked 5 "parked",
    /// Terminal: an attempt succeeded.
    Delivered 6 "delivered",
    /// Terminal: it is in `dead-letters`.
    DeadLettered 7 "dead_lettered",
    /// Terminal: the subscription was disabled or deleted.
    Cancelled 8 "cancelled",
    /// An endpoint said that it is gone.
    EndpointGone 9 "endpoint_gone",
    /// An endpoint has been failing for too long.
    Failing 10 "failing",
    /// An endpoint works again.
    Recovered 11 "recovered",
    /// An event came with a type that is to be declared.
    Undeclared 12 "undeclared",
    /// Terminal: the one attempt that was asked for failed.
    TriedOnce 13 "tried_once",
    /// A dead letter was sent once more.
    Redriven 14 "redriven",
    /// Somebody decided that a dead letter is not sent again.
    Discarded 15 "discarded",
    /// The content of an event was erased.
    Erased 16 "erased",
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

/// One thing that happened to an event or a delivery. What does not apply is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The record that says so.
    pub coordinates: Coordinates,
    /// Its Kafka timestamp, Unix ms.
    pub stored_ms: i64,
    /// What happened.
    pub kind: FactKind,
    /// When, as its writer says, Unix ms.
    pub at_ms: i64,
    /// The application.
    pub application: Option<ApplicationId>,
    /// The event, as the UUID of its identity.
    pub event: Option<Uuid>,
    /// Its type.
    pub event_type: Option<String>,
    /// When it was accepted, Unix ms.
    pub accepted_ms: Option<i64>,
    /// The subscription.
    pub subscription: Option<SubscriptionId>,
    /// The delivery.
    pub delivery: Option<DeliveryId>,
    /// Its generation; absent for the first.
    pub generation: Option<Uuid>,
    /// What made that generation.
    pub made_by: Option<String>,
    /// The attempt's number, from 1 on.
    pub attempt: Option<u32>,
    /// When the next attempt is due, Unix ms.
    pub due_ms: Option<i64>,
    /// Why, a word.
    pub reason: Option<String>,
    /// Why, a sentence.
    pub detail: Option<String>,
    /// The request that was made.
    pub exchange: Option<LoggedExchange>,
    /// The youngest copy of the delivery, on `deliveries`.
    pub record: Option<Coordinates>,
}

/// One request, as far as the log keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedExchange {
    /// When it started, Unix ms.
    pub started_ms: i64,
    /// How long it took, ms.
    pub elapsed_ms: i64,
    /// From its start to the head of the answer, ms.
    pub first_byte_ms: Option<i64>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// What it failed with, a word.
    pub error: Option<String>,
    /// The address that was dialled.
    pub to: Option<String>,
}

/// An event that was accepted and matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The record that says so.
    pub coordinates: Coordinates,
    /// Its Kafka timestamp, Unix ms.
    pub stored_ms: i64,
    /// When it was matched, Unix ms.
    pub at_ms: i64,
    /// The application.
    pub application: ApplicationId,
    /// The UUID of its identity.
    pub uuid: Uuid,
    /// Its id.
    pub id: String,
    /// Its source; absent where it came through the gateway.
    pub source: Option<String>,
    /// Its type.
    pub event_type: String,
    /// When it was accepted, Unix ms.
    pub accepted_ms: i64,
    /// Where its payload was accepted.
    pub origin: Option<Origin>,
    /// Subscriptions that matched.
    pub matched: u32,
    /// Bytes of its payload.
    pub payload_bytes: u64,
    /// Media type of its payload.
    pub content_type: Option<String>,
    /// When it occurred, as its producer wrote it.
    pub occurred_at: Option<String>,
    /// Labels, a JSON object.
    pub labels: Option<String>,
    /// Metadata, a JSON object.
    pub metadata: Option<String>,
    /// Address of its producer.
    pub ip: Option<String>,
    /// A sentence about it.
    pub detail: Option<String>,
    /// Ids of the subscriptions that matched, 16 bytes each, where the record names them.
    pub subscriptions: Option<Vec<u8>>,
    /// The snapshot it was matched at.
    pub control_offset: Option<i64>,
}

/// What the attempts of a subscription have in common, as a worker used it. No secret stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedTarget {
    /// The record that says so.
    pub coordinates: Coordinates,
    /// The application.
    pub application: ApplicationId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Offset on `control` of the subscription as it was used: attempts name it.
    pub offset: i64,
    /// The facts, a JSON object as their record has it.
    pub facts: String,
}

/// A delivery that has been tried and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDelivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its application.
    pub application: Option<ApplicationId>,
    /// Its subscription.
    pub subscription: Option<SubscriptionId>,
    /// Number of the attempt that failed last.
    pub attempt: u32,
    /// Since when it waits, Unix ms.
    pub since_ms: i64,
    /// When the next attempt is due, Unix ms.
    pub due_ms: Option<i64>,
    /// The record that says so.
    pub coordinates: Coordinates,
}

// === impl RowContent ===

impl RowContent {
    /// The event that it is about.
    #[must_use]
    pub fn event(&self) -> Option<Uuid> {
        match self {
            Self::Fact(fact) => fact.event,
            Self::Event(event) => Some(event.uuid),
            Self::Target(_) | Self::Nothing => None,
        }
    }

    /// As it is once its event was erased: without what the producer wrote, and without sentences, which may quote it.
    pub fn erase(&mut self) {
        match self {
            Self::Fact(fact) => fact.detail = None,
            Self::Event(event) => {
                event.occurred_at = None;
                event.labels = None;
                event.metadata = None;
                event.ip = None;
                event.detail = None;
            }
            Self::Target(_) | Self::Nothing => {}
        }
    }
}

// === impl FactKind ===

impl FactKind {
    /// The kind with this number.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| *kind as u8 == number)
    }

    /// Whether the delivery ends with it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        Kinds::TERMINAL.has(self)
    }
}

// === impl Kinds ===

impl Kinds {
    /// What ends a delivery.
    pub const TERMINAL: Self =
        Self::of(&[FactKind::Delivered, FactKind::DeadLettered, FactKind::Cancelled, FactKind::TriedOnce]);
    /// What is said of an attempt, or of one that was due and will not be made.
    pub const ATTEMPTS: Self = Self::of(&[
        FactKind::Attempted,
        FactKind::Delivered,
        FactKind::DeadLettered,
        FactKind::Cancelled,
        FactKind::TriedOnce,
    ]);
    /// Attempts that did not succeed.
    pub const FAILED: Self =
        Self::of(&[FactKind::Attempted, FactKind::DeadLettered, FactKind::Cancelled, FactKind::TriedOnce]);
    /// What ends a delivery badly.
    pub const UNDELIVERED: Self = Self::of(&[FactKind::DeadLettered, FactKind::Cancelled, FactKind::TriedOnce]);
    /// What is decided about a dead letter, once.
    pub const SETTLED: Self = Self::of(&[FactKind::Redriven, FactKind::Discarded]);
    /// All.
    pub const ALL: Self = Self::of(FactKind::ALL);

    /// These kinds.
    #[must_use]
    pub const fn of(kinds: &[FactKind]) -> Self {
        let (mut set, mut index) = (0, 0);
        while index < kinds.len() {
            set |= 1 << kinds[index] as u8;
            index += 1;
        }
        Self(set)
    }

    /// Whether a kind is among them.
    #[must_use]
    pub fn has(self, kind: FactKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether all of them are among others.
    #[must_use]
    pub fn within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }
}

// === impl Fact ===

impl Fact {
    /// Whether it replaces what another fact of the same delivery says: a terminal one does, else the higher attempt.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        let rank = |fact: &Self| (fact.kind.is_terminal(), fact.attempt);
        rank(self) > rank(other)
    }
}
