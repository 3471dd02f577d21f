//! Plain data: everything that is known after a run. Records become it here; nothing is judged.

mod content;
mod hops;

use std::collections::{BTreeMap, BTreeSet};

use schemas::attempt::{Kind, Lifecycle};
use schemas::delivery::Origin;
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::header;
use schemas::identity::EventIdentity;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use schemas::record::Record;

pub use self::hops::{Hopped, TierWrite};
use crate::endpoint::Seen;
use crate::endpoint::seen::Signature;

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Full topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// An event whose sender was told that it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who it is.
    pub identity: EventIdentity,
    /// [`body_hash`](crate::endpoint::seen::body_hash) of its payload.
    pub payload: u64,
}

/// A subscription and when it was there.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// Its id.
    pub id: SubscriptionId,
    /// Its application.
    pub application: ApplicationId,
    /// Its event types.
    pub patterns: Vec<EventTypePattern>,
    /// Labels an event must have.
    pub labels: StringMap,
    /// Ids of the events that its filter lets through, as the test says; `None`: it has no filter.
    pub only: Option<BTreeSet<String>>,
    /// Its path at the endpoint.
    pub path: String,
    /// Paths it had before it was edited.
    pub former_paths: Vec<String>,
    /// Requests it may have in flight.
    pub concurrency: usize,
    /// Requests per second it may have, if it has a limit.
    pub per_second: Option<f64>,
    /// When its creation had been answered, Unix ms: an event written later must reach it.
    pub created_ms: i64,
    /// When its end (disabled, deleted) was asked for and answered.
    pub ended_ms: Option<(i64, i64)>,
    /// When it had been enabled again after its end, Unix ms: an event written later must reach it.
    pub enabled_again_ms: Option<i64>,
}

/// A record of the events topic.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where it stands.
    pub place: Place,
    /// When the broker wrote it, Unix ms.
    pub written_ms: i64,
    /// What it says, if it can be read as an event of an application we know.
    pub content: Option<Content>,
}

/// What an event says.
#[derive(Clone, Debug)]
pub struct Content {
    /// Who it is.
    pub identity: EventIdentity,
    /// Whether its id is its position, because it brought none.
    pub positional: bool,
    /// Its type.
    pub event_type: String,
    /// Its labels.
    pub labels: StringMap,
    /// [`body_hash`](crate::endpoint::seen::body_hash) of its payload.
    pub payload: u64,
}

/// A lifecycle record, without what nobody checks.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What it reports.
    pub kind: Kind,
    /// The event's record.
    pub place: Option<Place>,
    /// The subscription.
    pub subscription: Option<SubscriptionId>,
    /// The delivery.
    pub delivery: Option<DeliveryId>,
    /// The attempt.
    pub attempt: Option<u32>,
    /// Offset on `control` of the subscription as an attempt used it, or as a target is told.
    pub target: Option<i64>,
    /// When the next one is due.
    pub due_ms: Option<i64>,
    /// The answer's status.
    pub status: Option<u16>,
    /// How many subscriptions matched.
    pub matched: Option<u32>,
    /// Why.
    pub reason: Option<String>,
    /// Why no whole answer came.
    pub error: Option<String>,
    /// When, Unix ms.
    pub at_ms: i64,
    /// When the broker wrote it, Unix ms: before its commit.
    pub written_ms: i64,
}

/// A record of the dead letters.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Attempts made.
    pub attempts: u32,
    /// The last answer.
    pub status: Option<u16>,
    /// Why.
    pub reason: String,
}

/// A record of the rejected ones.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Where it stood.
    pub place: Option<Place>,
    /// Why.
    pub reason: String,
    /// What remains of its value.
    pub value: Option<bytes::Bytes>,
    /// Original size, where it was cut.
    pub cut: Option<u64>,
}

/// A request that arrived whole at the endpoint.
#[derive(Clone, Debug)]
pub struct Request {
    /// `X-Hookbus-Delivery-Id`.
    pub delivery: Option<DeliveryId>,
    /// `X-Hookbus-Attempt`.
    pub attempt: Option<u32>,
    /// `X-Event-Id`.
    pub event: Option<String>,
    /// `webhook-id`.
    pub webhook: Option<String>,
    /// Its path.
    pub path: String,
    /// Unix ms.
    pub arrived_ms: i64,
    /// Status and time of the answer.
    pub answered: Option<(u16, i64)>,
    /// When it was over without an answer; `None` too while it hangs.
    pub ended_ms: Option<i64>,
    /// [`body_hash`](crate::endpoint::seen::body_hash) of the payload in its body.
    pub body: u64,
    /// Whether its signatures verify.
    pub signature: Signature,
}

/// A delivery worker did not end well: until its last requests are over, another owner's may overlap with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// When it was killed or frozen, Unix ms.
    pub from_ms: i64,
    /// One attempt timeout after its end or its thaw.
    pub until_ms: i64,
    /// It was frozen: what it had begun may still arrive.
    pub frozen: bool,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What senders were told.
    pub told: Vec<Told>,
    /// All subscriptions there ever were.
    pub subscriptions: Vec<Subscribed>,
    /// The events topic.
    pub events: Vec<Event>,
    /// The attempts topic.
    pub facts: Vec<Fact>,
    /// The deliveries topic.
    pub hops: Vec<Hopped>,
    /// The delay topics.
    pub tier_writes: Vec<TierWrite>,
    /// Their delays, ms, ascending.
    pub tiers_ms: Vec<i64>,
    /// The dead letters.
    pub dead: Vec<Dead>,
    /// The rejected records.
    pub rejected: Vec<Rejected>,
    /// What the endpoint saw.
    pub requests: Vec<Request>,
    /// What the control plane was asked to ping.
    pub pings: Vec<super::pings::Pinged>,
    /// Jobs that were asked for: what they send again is theirs.
    pub jobs: BTreeSet<uuid::Uuid>,
    /// Deliveries of which a retry was wanted before it was due: of that attempt two are written, due at different times.
    pub hurried: BTreeSet<DeliveryId>,
    /// When the requests of two owners may overlap.
    pub overlaps: Vec<Overlap>,
    /// What the processes held in memory at most, and what they may.
    pub memory: Vec<super::memory::Measure>,
    /// Records that are not what their topic holds.
    pub unreadable: Vec<String>,
}

/// Ids by id and uid, as the header `hookbus-application` may name them.
pub type Applications = BTreeMap<String, ApplicationId>;

// === impl Place ===

impl From<Origin> for Place {
    fn from(origin: Origin) -> Self {
        Self { topic: origin.topic, partition: origin.partition, offset: origin.offset }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

// === impl Event ===

impl Event {
    /// Reads a record of the events topic the way the contract says, independently of the fan-out.
    #[must_use]
    pub fn of(place: Place, record: &Record, applications: &Applications) -> Self {
        let content = Content::of(&place, record, applications);
        Self { place, written_ms: record.timestamp_ms, content }
    }
}

// === impl Fact ===

impl Fact {
    /// Reads a lifecycle record.
    ///
    /// # Errors
    /// It is none.
    pub fn of(record: &Record) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::decode(record.value.as_deref().unwrap_or_default())?;
        Ok(Self {
            kind: lifecycle.kind,
            place: lifecycle.origin().map(Place::from),
            subscription: lifecycle.subscription_id,
            delivery: lifecycle.delivery_id,
            attempt: lifecycle.attempt,
            target: lifecycle.target.as_ref().map_or_else(
                || lifecycle.exchange.as_ref().and_then(|exchange| exchange.target),
                |target| Some(target.offset),
            ),
            due_ms: lifecycle.due_ms,
            status: lifecycle.exchange.as_ref().and_then(|exchange| exchange.status),
            matched: lifecycle.event.as_ref().map(|event| event.matched),
            reason: lifecycle.reason.map(String::from),
            error: lifecycle.exchange.as_ref().and_then(|exchange| exchange.error.as_deref().map(str::to_owned)),
            at_ms: lifecycle.at_ms,
            written_ms: record.timestamp_ms,
        })
    }

    /// Whether it says what became of an event in the fan-out.
    #[must_use]
    pub const fn is_fate(&self) -> bool {
        matches!(self.kind, Kind::Matched | Kind::Repeat | Kind::Rejected)
    }
}

// === impl Dead ===

impl Dead {
    /// Reads a dead letter.
    ///
    /// # Errors
    /// A header is missing or wrong.
    pub fn of(record: &Record) -> anyhow::Result<Self> {
        let text = |name: &str| record.headers.text(name).unwrap_or_default();
        Ok(Self {
            delivery: DeliveryId(text(header::DELIVERY).parse()?),
            attempts: text(header::ATTEMPT).parse()?,
            status: record.headers.text(header::LAST_STATUS).map(str::parse).transpose()?,
            reason: text(header::REASON).to_owned(),
        })
    }
}

// === impl Rejected ===

impl Rejected {
    /// Reads a rejected record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let text = |name: &str| record.headers.text(name);
        Self {
            place: text(header::ORIGIN).and_then(|origin| origin.parse::<Origin>().ok()).map(Place::from),
            reason: text(header::REASON).unwrap_or_default().to_owned(),
            value: record.value.clone(),
            cut: text(header::CUT).and_then(|size| size.parse().ok()),
        }
    }
}

// === impl Overlap ===

impl Overlap {
    /// Whether a moment lies in it.
    #[must_use]
    pub const fn holds(&self, at_ms: i64) -> bool {
        self.from_ms <= at_ms && at_ms <= self.until_ms
    }
}

// === impl Request ===

impl Request {
    /// What the endpoint saw.
    #[must_use]
    pub fn of(seen: &Seen) -> Self {
        Self {
            delivery: seen.delivery().and_then(|id| id.parse().ok()).map(DeliveryId),
            attempt: seen.attempt(),
            event: seen.event().map(str::to_owned),
            webhook: seen.header("webhook-id").map(str::to_owned),
            path: seen.path.clone(),
            arrived_ms: seen.arrived_ms,
            answered: seen.answered().map(|answered| (answered.status, answered.at_ms)),
            ended_ms: seen.ended(),
            body: seen.payload_hash,
            signature: seen.signature.clone(),
        }
    }

    /// Whether its sender may count it as delivered.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.answered.is_some_and(|(status, _)| (200..300).contains(&status))
    }
}
