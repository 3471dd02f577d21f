//! Hop 2: a delivery, one event for one subscription. The same shape travels on `deliveries` and `retry.<delay>`.
//!
//! The value is the payload, untouched; everything else is headers. A hop (retry, park, promotion) copies all headers and
//! replaces only the [`Hop`].

mod again;
mod deprecation;
mod fields;
mod last;
mod made_by;
mod parks;
mod place;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use crate::header;
use crate::ids::{ApplicationId, DeliveryId, Generation, SubscriptionId};
use crate::ordering::OrderingKey;
use crate::record::{Headers, HeadersBuilder, OutRecord, Place, Record};

pub use self::again::Again;
pub use self::deprecation::Deprecation;
use self::fields::{Fields, Texts};
pub use self::last::LastAttempt;
pub use self::made_by::MadeBy;
pub use self::parks::Parks;
pub use self::place::{Origin, RecordPlace};

/// A decoded delivery. Texts stay in the shared header buffer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id, the same on every attempt.
    pub id: DeliveryId,
    /// The application.
    pub application: ApplicationId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// What made it.
    pub generation: Generation,
    /// When the event was accepted, Unix ms.
    pub accepted_ms: i64,
    /// When it dies of age, Unix ms.
    pub deadline_ms: i64,
    /// Snapshot it was matched at: offset of the last control record its matcher had applied.
    pub control_offset: i64,
    /// What it is delivered in order with, where its subscription wants that.
    pub ordering_key: Option<OrderingKey>,
    /// What changes from hop to hop.
    pub hop: Hop,
    /// Where it was read on `deliveries`, if its reader says so.
    pub record: Option<RecordPlace>,
    /// The payload; empty if the record had none.
    pub payload: Bytes,
    /// All headers as they came.
    pub headers: Headers,
    texts: Texts,
}

/// What a hop through a delay topic replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Number of the attempt to make next, 1-based.
    pub attempt: u32,
    /// Not before this time, Unix ms; 0 is at once.
    pub due_ms: i64,
    /// Why it waits.
    pub wait: Wait,
    /// Parks counted in the current hour.
    pub parks: Parks,
    /// Since when every attempt for its subscription has failed, as known when the retry was written, Unix ms. A worker that
    /// takes the subscription over learns it from here.
    pub failing_since_ms: Option<i64>,
}

/// Why a delivery waits in a delay topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// It does not wait: its first attempt.
    #[default]
    None,
    /// The retry schedule.
    Retry,
    /// Its lane is busy longer than `lane_wait`.
    Lane,
    /// The circuit is open.
    Circuit,
    /// The subscription is paused.
    Paused,
}

/// What the fan-out knows of a new delivery beyond the event's own headers.
#[derive(Clone, Copy, Debug)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// What made it.
    pub generation: Generation,
    /// The same in a word; `None` for the first generation.
    pub made_by: Option<MadeBy>,
    /// When the event was accepted, Unix ms.
    pub accepted_ms: i64,
    /// When it dies of age, Unix ms.
    pub deadline_ms: i64,
    /// Snapshot it was matched at.
    pub control_offset: i64,
    /// What it is delivered in order with, where its subscription wants that.
    pub ordering_key: Option<OrderingKey>,
    /// That its event type is deprecated, where it is.
    pub deprecation: Option<Deprecation>,
}

/// Why a record is no delivery.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeliveryError {
    /// A header is not there.
    #[error("header `{0}` is missing")]
    Missing(&'static str),
    /// A header does not parse.
    #[error("header `{name}` holds `{value}`, which is not {expected}")]
    Invalid {
        /// The header.
        name: &'static str,
        /// What it holds, lossily.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A record without value.
    #[error("the record has no value")]
    NoValue,
}

// === impl Delivery ===

impl Delivery {
    /// Decodes a record of `deliveries` or of a delay topic.
    ///
    /// # Errors
    /// Names the header that is missing or wrong.
    pub fn decode(record: &Record) -> Result<Self, DeliveryError> {
        let fields = Fields::of(&record.headers);
        let payload = record.value.clone().ok_or(DeliveryError::NoValue)?;
        Ok(Self {
            texts: fields.texts()?,
            id: DeliveryId(fields.parse(header::DELIVERY, "a UUID")?),
            application: ApplicationId(fields.parse(header::APPLICATION, "a UUID")?),
            subscription: SubscriptionId(fields.parse(header::SUBSCRIPTION, "a UUID")?),
            generation: Generation(fields.optional(header::GENERATION, "a UUID")?),
            accepted_ms: fields.parse(header::ACCEPTED, "Unix ms")?,
            deadline_ms: fields.parse(header::DEADLINE, "Unix ms")?,
            control_offset: fields.parse(header::CONTROL_OFFSET, "an offset")?,
            ordering_key: fields.optional(header::ORDERING_KEY, "16 hex digits")?,
            hop: Hop::read(&fields)?,
            record: None,
            payload,
            headers: record.headers.clone(),
        })
    }

    /// `ce_id`.
    #[must_use]
    pub fn event_id(&self) -> &str {
        self.text(self.texts.id).unwrap_or_default()
    }

    /// `ce_source`.
    #[must_use]
    pub fn event_source(&self) -> &str {
        self.text(self.texts.source).unwrap_or_default()
    }

    /// `ce_type`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(self.texts.event_type).unwrap_or_default()
    }

    /// Media type of the payload, if the event had one.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.texts.content_type.and_then(|place| self.text(place))
    }

    /// When the event occurred, as its producer wrote it, if it did.
    #[must_use]
    pub fn occurred_at(&self) -> Option<&str> {
        self.texts.time.and_then(|place| self.text(place))
    }

    /// Where the payload was accepted.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.origin_text().and_then(|text| text.parse().ok())
    }

    /// The same as it stands in its header, `topic/partition/offset`.
    #[must_use]
    pub fn origin_text(&self) -> Option<&str> {
        self.texts.origin.and_then(|place| self.text(place))
    }

    /// What made it, where it is of a later generation and its maker says so: a word of [`MadeBy`], or of a newer build.
    #[must_use]
    pub fn made_by(&self) -> Option<&str> {
        self.texts.made_by.and_then(|place| self.text(place))
    }

    /// How often it was redriven, where it was.
    #[must_use]
    pub fn redrives(&self) -> Option<u32> {
        self.texts.redrives.and_then(|place| self.text(place)).and_then(|text| text.parse().ok())
    }

    /// That its event type was deprecated when it was made, where it was.
    #[must_use]
    pub fn deprecation(&self) -> Option<Deprecation> {
        self.texts.deprecation.and_then(|place| self.text(place)).and_then(|text| text.parse().ok())
    }

    /// Whether one attempt is made and no other follows, whatever comes of it.
    #[must_use]
    pub fn is_once(&self) -> bool {
        self.texts.once.is_some_and(|place| self.headers.at(place) == b"1")
    }

    fn text(&self, place: Place) -> Option<&str> {
        std::str::from_utf8(self.headers.at(place)).ok()
    }

    /// The same delivery as a record for its next hop, with `hop` replaced, and the last attempt if there was one since.
    #[must_use]
    pub fn to_hop(
        &self,
        topic: std::sync::Arc<str>,
        key: Option<Bytes>,
        hop: Hop,
        last: Option<LastAttempt<'_>>,
    ) -> OutRecord {
        let mut builder = Headers::builder(self.headers.len() + 6, self.headers.size() + 160);
        let is_replaced = |name: &[u8]| last.is_some() && LastAttempt::is_named(name);
        builder
            .copy_if(&self.headers, |name| !is_replaced(name) && !Hop::NAMES.iter().any(|own| own.as_bytes() == name));
        hop.encode(&mut builder);
        last.into_iter().for_each(|last| last.encode(&mut builder));
        OutRecord { topic, partition: None, key, value: Some(self.payload.clone()), headers: builder.build() }
    }
}

// === impl NewDelivery ===

impl NewDelivery {
    /// Encodes a first hop: `inbound` are the event's headers that may stay (already without foreign `hookbus-*`). The mark of a
    /// made id may be among them, so that an event of the gateway needs no copy for it; it ends here. An empty `origin` is none:
    /// a ping was never accepted anywhere.
    #[must_use]
    pub fn encode(&self, inbound: &Headers, application: ApplicationId, origin: &str) -> Headers {
        let mut builder = Headers::builder(inbound.len() + 10, inbound.size() + 420);
        builder.copy_if(inbound, |name| name != header::APPLICATION.as_bytes() && name != header::ID_MADE.as_bytes());
        builder
            .push_display(header::APPLICATION, application)
            .push_display(header::DELIVERY, self.id)
            .push_display(header::SUBSCRIPTION, self.subscription)
            .push_i64(header::ACCEPTED, self.accepted_ms)
            .push_i64(header::DEADLINE, self.deadline_ms)
            .push_i64(header::CONTROL_OFFSET, self.control_offset);
        if !origin.is_empty() {
            builder.push(header::ORIGIN, origin.as_bytes());
        }
        if let Some(id) = self.generation.0 {
            builder.push_display(header::GENERATION, id);
        }
        if let Some(key) = self.ordering_key {
            builder.push_display(header::ORDERING_KEY, key);
        }
        if let Some(made_by) = self.made_by {
            builder.push(header::MADE_BY, made_by.as_str().as_bytes());
        }
        if let Some(deprecation) = self.deprecation {
            builder.push_display(header::DEPRECATION, deprecation);
        }
        Hop::first().encode(&mut builder);
        builder.build()
    }
}

// === impl Hop ===

impl Hop {
    const NAMES: [&'static str; 5] = [header::ATTEMPT, header::DUE, header::WAIT, header::PARKS, header::FAILING_SINCE];

    /// The first attempt, at once.
    #[must_use]
    pub fn first() -> Self {
        Self { attempt: 1, due_ms: 0, wait: Wait::None, parks: Parks::default(), failing_since_ms: None }
    }

    /// Reads its headers; only `hookbus-attempt` is required.
    ///
    /// # Errors
    /// Names the header that is missing or wrong.
    pub fn decode(headers: &Headers) -> Result<Self, DeliveryError> {
        Self::read(&Fields::of(headers))
    }

    fn read(fields: &Fields<'_>) -> Result<Self, DeliveryError> {
        Ok(Self {
            attempt: fields.parse(header::ATTEMPT, "an attempt number")?,
            due_ms: fields.optional(header::DUE, "Unix ms")?.unwrap_or(0),
            wait: fields.optional(header::WAIT, "a wait reason")?.unwrap_or_default(),
            parks: fields.optional(header::PARKS, "count/Unix ms")?.unwrap_or_default(),
            failing_since_ms: fields.optional(header::FAILING_SINCE, "Unix ms")?,
        })
    }

    fn encode(self, builder: &mut HeadersBuilder) {
        builder.push_i64(header::ATTEMPT, i64::from(self.attempt));
        if self.due_ms != 0 {
            builder.push_i64(header::DUE, self.due_ms);
        }
        if self.wait != Wait::None {
            builder.push_display(header::WAIT, self.wait);
        }
        if self.parks != Parks::default() {
            builder.push_display(header::PARKS, self.parks);
        }
        if let Some(since_ms) = self.failing_since_ms {
            builder.push_i64(header::FAILING_SINCE, since_ms);
        }
    }
}

// === impl Wait ===

impl Wait {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Retry => "retry",
            Self::Lane => "lane",
            Self::Circuit => "circuit",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Wait {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::None, Self::Retry, Self::Lane, Self::Circuit, Self::Paused]
            .into_iter()
            .find(|wait| wait.as_str() == text)
            .ok_or(())
    }
}

/// The key of a delivery on `deliveries`: the subscription id as text.
#[must_use]
pub fn key(subscription: SubscriptionId) -> Bytes {
    let mut buffer = Uuid::encode_buffer();
    Bytes::copy_from_slice(subscription.0.hyphenated().encode_lower(&mut buffer).as_bytes())
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
