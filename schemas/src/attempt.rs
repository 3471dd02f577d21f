//! What happened: lifecycle records on `attempts`. The delivery log is built from them, in any order.
//!
//! The value is an index, one JSON object of at most 600 bytes for an ordinary attempt; what an endpoint answered stands beside
//! it, in the record's headers ([`Response`]). `v` and `kind` are the first two members, in this order, for ever
//! ([`Kind::peek`]). What says nothing is left out.
//!
//! | kind | members beside the event's, the delivery's and `at_ms` |
//! |---|---|
//! | `matched` | `event` |
//! | `rejected` | `origin` is the record's own place; whatever of the others its headers had; `reason`, `detail` |
//! | `attempted`, `delivered`, `dead_lettered`, `tried_once` | `exchange`, where an attempt was made; `due_ms`, `reason`, `detail` |
//! | `target` | `application_id`, `subscription_id`, `target` |
//! | `redriven` | the dead delivery's; `generation` of the new one, `made_by`, `redrives`, `actor` |
//! | `discarded` | the dead delivery's; `actor`, `reason` of 1 to 500 characters |
//! | `erased` | the event's application, source and id; `actor`, `reason` if one was given |

mod event_facts;
mod exchange;
mod kind;
mod response;
mod target_facts;

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::delivery::{Origin, RecordPlace};
use crate::identity::{gateway_source, is_gateway_source};
use crate::ids::{ApplicationId, DeliveryId, SubscriptionId};

pub use self::event_facts::{EventFacts, MAX_NAMED, name_subscriptions};
pub use self::exchange::Exchange;
pub use self::kind::Kind;
pub use self::response::{Response, push_body, push_head};
pub use self::target_facts::TargetFacts;

/// Current version of the record. Version 1 had the answer inside its JSON, and `origin` as an object.
pub const VERSION: u8 = 2;
/// Bytes of an ordinary value.
const ORDINARY: usize = 640;

/// One lifecycle record. Absent fields do not apply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lifecycle<'a> {
    /// Version of the record: [`VERSION`], or an older one.
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
    /// `ce_source`; left out where it is the gateway's of that application. Read it with [`Lifecycle::source`].
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub event_source: Option<Cow<'a, str>>,
    /// `ce_type`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Cow<'a, str>>,
    /// Where the accepted payload is, `topic/partition/offset`. Read it with [`Lifecycle::origin`].
    #[serde(default, borrow, deserialize_with = "origin", skip_serializing_if = "Option::is_none")]
    pub origin: Option<Cow<'a, str>>,
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
    /// Record of `deliveries` that it was read from: the youngest copy of the payload. On whatever a delivery worker says of a
    /// delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordPlace>,
    /// Generation: the id of the job or ping that made the delivery; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Uuid>,
    /// What made a later generation: `ping`, `replay`, `retry` or `redrive` ([`crate::delivery::MadeBy`]).
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<Cow<'a, str>>,
    /// How often its delivery was redriven, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrives: Option<u32>,
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
    /// Who asked for it, on what the control plane writes for somebody; as in `audit`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Cow<'a, str>>,
    /// What went over the wire, on records of an attempt.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange<'a>>,
    /// What attempts have in common, on `target` only.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetFacts<'a>>,
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
            record: None,
            generation: None,
            made_by: None,
            redrives: None,
            attempt: None,
            due_ms: None,
            failing_since_ms: None,
            reason: None,
            detail: None,
            actor: None,
            exchange: None,
            target: None,
        }
    }

    /// A record about a delivery, with everything the delivery knows of itself.
    #[must_use]
    pub fn of_delivery(kind: Kind, at_ms: i64, delivery: &'a crate::delivery::Delivery) -> Self {
        Self {
            application_id: Some(delivery.application),
            event_id: Some(Cow::Borrowed(delivery.event_id())),
            event_source: foreign_source(delivery.application, delivery.event_source()),
            event_type: Some(Cow::Borrowed(delivery.event_type())),
            origin: delivery.origin_text().map(Cow::Borrowed),
            accepted_ms: Some(delivery.accepted_ms),
            subscription_id: Some(delivery.subscription),
            delivery_id: Some(delivery.id),
            record: delivery.record,
            generation: delivery.generation.0,
            made_by: delivery.made_by().map(Cow::Borrowed),
            redrives: delivery.redrives(),
            attempt: Some(delivery.hop.attempt),
            ..Self::new(kind, at_ms)
        }
    }

    /// `ce_source`, also where it is left out because it is the gateway's.
    #[must_use]
    pub fn source(&self) -> Option<Cow<'_, str>> {
        if let Some(source) = self.event_source.as_deref() {
            return Some(Cow::Borrowed(source));
        }
        // What was rejected may have had none.
        let is_event = self.event_id.is_some() && self.kind != Kind::Rejected;
        self.application_id.filter(|_| is_event).map(|application| Cow::Owned(gateway_source(application)))
    }

    /// Where the accepted payload is; `None` also where that is no place.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.origin.as_deref().and_then(|text| text.parse().ok())
    }

    /// Decodes a record value. Of what a newer build wrote, kind or version, only the time is read.
    ///
    /// # Errors
    /// When it is not a lifecycle record.
    pub fn decode(value: &'a [u8]) -> Result<Self, serde_json::Error> {
        if Kind::peek(value) == Some(Kind::Unknown) {
            let Foreign { at_ms } = serde_json::from_slice(value)?;
            return Ok(Self::new(Kind::Unknown, at_ms));
        }
        serde_json::from_slice(value)
    }

    /// Encodes to a record value.
    ///
    /// # Errors
    /// Never in practice; passed on rather than hidden.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut value = Vec::with_capacity(ORDINARY);
        serde_json::to_writer(&mut value, self)?;
        Ok(value)
    }
}

/// What every version of the record has.
#[derive(Deserialize)]
struct Foreign {
    #[serde(default)]
    at_ms: i64,
}

/// A source as a record names it: not at all where it is the gateway's of this application.
#[must_use]
pub fn foreign_source(application: ApplicationId, source: &str) -> Option<Cow<'_, str>> {
    (!is_gateway_source(application, source)).then_some(Cow::Borrowed(source))
}

/// Reads `origin`: a text, or the object of version 1.
fn origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    struct Either;
    impl<'de> Visitor<'de> for Either {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`topic/partition/offset`, or an object of those three")
        }

        fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            let origin = Origin::deserialize(de::value::MapAccessDeserializer::new(map))?;
            Ok(Cow::Owned(origin.to_string()))
        }
    }
    deserializer.deserialize_any(Either).map(Some)
}

#[cfg(test)]
mod tests;
