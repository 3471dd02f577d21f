//! What happened: lifecycle records on `attempts`, JSON values. The delivery log is built from them, in any order.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::delivery::Origin;
use crate::ids::{ApplicationId, DeliveryId, SubscriptionId};

/// Current version of the record.
pub const VERSION: u8 = 1;

/// What a lifecycle record reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The fan-out accepted an event; `matched` says how many subscriptions fit (also 0).
    Matched,
    /// An identity that was seen inside the dedup window; nothing fires.
    Repeat,
    /// A record that could not be used; it is in `rejected`.
    Rejected,
    /// A filter failed at run time: no match.
    FilterFailed,
    /// An attempt failed and will be repeated at `due_ms`.
    Attempted,
    /// First park of a delivery: it waits without an attempt.
    Parked,
    /// Terminal: an attempt succeeded.
    Delivered,
    /// Terminal: it is in `dead-letters`.
    DeadLettered,
    /// Terminal: the subscription was disabled or deleted.
    Cancelled,
    /// An endpoint said 410 or asked to be disabled; the control plane acts on it.
    EndpointGone,
    /// An endpoint has been failing for longer than its subscription's `disable_after`; the control plane acts on it.
    Failing,
    /// An endpoint took a delivery again after every attempt had failed for some minutes; the control plane tells of it.
    Recovered,
    /// An event came with a type that its application wants declared on sight; the control plane acts on it.
    Undeclared,
}

/// One lifecycle record. Absent fields do not apply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lifecycle<'a> {
    /// Version, [`VERSION`].
    pub v: u8,
    /// What it reports.
    pub kind: Kind,
    /// When, Unix ms.
    pub at_ms: i64,
    /// Application, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<ApplicationId>,
    /// `ce_id`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Cow<'a, str>>,
    /// `ce_source`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub event_source: Option<Cow<'a, str>>,
    /// `ce_type`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Cow<'a, str>>,
    /// Where the accepted payload is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When the event was accepted, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_ms: Option<i64>,
    /// Facts of the event itself, on `matched` only.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventFacts<'a>>,
    /// Subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<SubscriptionId>,
    /// Delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<DeliveryId>,
    /// Generation; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Uuid>,
    /// Attempt number, 1-based: the one made, or the next one for a park.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When the next attempt is due, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<i64>,
    /// Since when every attempt for its subscription had failed, Unix ms, on `recovered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<i64>,
    /// Why, a word of a closed list per kind.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// A sentence for people.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// What went over the wire, on records of an attempt.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange<'a>>,
}

/// Facts of an accepted event, for the delivery log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventFacts<'a> {
    /// How many subscriptions matched.
    pub matched: u32,
    /// Payload size in bytes.
    pub payload_bytes: u64,
    /// Media type.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Cow<'a, str>>,
    /// `ce_time`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Cow<'a, str>>,
    /// Labels as they came, a JSON object.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub labels: Option<&'a RawValue>,
    /// Metadata as it came, a JSON object.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
    /// Producer's address.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Cow<'a, str>>,
}

/// One request and what came back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange<'a> {
    /// When the request started, Unix ms.
    pub started_ms: i64,
    /// How long it took, body included, ms.
    pub elapsed_ms: i64,
    /// HTTP status, if an answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Error word of a closed list, if none came or it broke off.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
    /// Response headers (repeats joined), cut to the configured limit.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Response body (lossy UTF-8), cut to the configured limit.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub body: Option<Cow<'a, str>>,
}

// === impl Kind ===

impl Kind {
    /// Whether the delivery ends with it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Delivered | Self::DeadLettered | Self::Cancelled)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Repeat => "repeat",
            Self::Rejected => "rejected",
            Self::FilterFailed => "filter_failed",
            Self::Attempted => "attempted",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
            Self::Cancelled => "cancelled",
            Self::EndpointGone => "endpoint_gone",
            Self::Failing => "failing",
            Self::Recovered => "recovered",
            Self::Undeclared => "undeclared",
        }
    }
}

// === impl Lifecycle ===

impl<'a> Lifecycle<'a> {
    /// A record with nothing but its kind and time.
    #[must_use]
    pub fn new(kind: Kind, at_ms: i64) -> Self {
        Self {
            v: VERSION,
            kind,
            at_ms,
            application_id: None,
            event_id: None,
            event_source: None,
            event_type: None,
            origin: None,
            accepted_ms: None,
            event: None,
            subscription_id: None,
            delivery_id: None,
            generation: None,
            attempt: None,
            due_ms: None,
            failing_since_ms: None,
            reason: None,
            detail: None,
            exchange: None,
        }
    }

    /// A record about a delivery, with everything the delivery knows of itself.
    #[must_use]
    pub fn of_delivery(kind: Kind, at_ms: i64, delivery: &'a crate::delivery::Delivery) -> Self {
        Self {
            application_id: Some(delivery.application),
            event_id: Some(Cow::Borrowed(delivery.event_id())),
            event_source: Some(Cow::Borrowed(delivery.event_source())),
            event_type: Some(Cow::Borrowed(delivery.event_type())),
            origin: delivery.origin(),
            accepted_ms: Some(delivery.accepted_ms),
            subscription_id: Some(delivery.subscription),
            delivery_id: Some(delivery.id),
            generation: delivery.generation.0,
            attempt: Some(delivery.hop.attempt),
            ..Self::new(kind, at_ms)
        }
    }

    /// Decodes a record value.
    ///
    /// # Errors
    /// When it is not a lifecycle record of a version this build knows.
    pub fn decode(value: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }

    /// Encodes to a record value.
    ///
    /// # Errors
    /// Never in practice; passed on rather than hidden.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut value = Vec::with_capacity(640);
        serde_json::to_writer(&mut value, self)?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_record_of_version_1_still_decodes_and_encodes_to_itself() {
        let golden = include_str!("../golden/lifecycle.v1.json").trim();
        let record = Lifecycle::decode(golden.as_bytes()).unwrap();
        assert_eq!(record.kind, Kind::Delivered);
        assert_eq!(record.exchange.as_ref().and_then(|exchange| exchange.status), Some(204));
        assert_eq!(String::from_utf8(record.encode().unwrap()).unwrap(), golden);
    }
}
