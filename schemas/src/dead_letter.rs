//! Hop 4: a delivery that ended badly, on `dead-letters`: the delivery as it was, and why it died.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::{Delivery, LastAttempt, key};
use crate::header;
use crate::record::{Headers, OutRecord};

/// Why a delivery died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// The retry schedule ended.
    Schedule,
    /// It grew older than `max_age`.
    MaxAge,
    /// The target policy refuses the URL as it is written. What a name resolves to may change, so that is a failed attempt.
    Refused,
    /// The endpoint answered 410 or asked to be disabled.
    Gone,
    /// The receiver asked to abort this message.
    Aborted,
    /// The request cannot be written (a header value, a URL).
    Unwritable,
}

/// A death: the reason and the last attempt's result.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// Why.
    pub reason: DeathReason,
    /// A sentence for people.
    pub detail: &'a str,
    /// Attempts made in all.
    pub attempts: u32,
    /// The attempt that just ended, if one did: else what the delivery carries of an earlier one stays.
    pub last: Option<LastAttempt<'a>>,
    /// When, Unix ms.
    pub at_ms: i64,
}

/// All reasons, in the order of the page above.
pub const REASONS: [DeathReason; 6] = [
    DeathReason::Schedule,
    DeathReason::MaxAge,
    DeathReason::Refused,
    DeathReason::Gone,
    DeathReason::Aborted,
    DeathReason::Unwritable,
];

// === impl DeathReason ===

impl DeathReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::MaxAge => "max_age",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Aborted => "aborted",
            Self::Unwritable => "unwritable",
        }
    }
}

impl fmt::Display for DeathReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeathReason {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        REASONS.into_iter().find(|reason| reason.as_str() == text).ok_or(())
    }
}

// === impl Death ===

impl Death<'_> {
    /// The dead letter of a delivery. `limit` is the topic's `max.message.bytes`: what would not fit keeps its coordinates
    /// (`hookbus-origin`) and loses the payload, and says so in `hookbus-cut`.
    #[must_use]
    pub fn to_record(self, topic: Arc<str>, delivery: &Delivery, limit: usize) -> OutRecord {
        let whole = self.record(Arc::clone(&topic), delivery, None);
        if whole.batch_size() <= limit { whole } else { self.record(topic, delivery, Some(delivery.payload.len())) }
    }

    fn record(self, topic: Arc<str>, delivery: &Delivery, cut: Option<usize>) -> OutRecord {
        let mut builder = Headers::builder(delivery.headers.len() + 7, delivery.headers.size() + 300);
        let is_replaced = |name: &[u8]| self.last.is_some() && LastAttempt::is_named(name);
        builder.copy_if(&delivery.headers, |name| name != header::ATTEMPT.as_bytes() && !is_replaced(name));
        builder
            .push_display(header::ATTEMPT, self.attempts)
            .push(header::REASON, self.reason.as_str().as_bytes())
            .push(header::DETAIL, self.detail.as_bytes())
            .push_i64(header::AT, self.at_ms);
        if let Some(last) = self.last {
            last.encode(&mut builder);
        }
        if let Some(size) = cut {
            builder.push_display(header::CUT, size);
        }
        let value = if cut.is_some() { Bytes::new() } else { delivery.payload.clone() };
        OutRecord {
            topic,
            partition: None,
            key: Some(key(delivery.subscription)),
            value: Some(value),
            headers: builder.build(),
        }
    }
}
