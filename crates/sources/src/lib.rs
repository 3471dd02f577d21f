//! A record becomes an event, or says why it cannot. One file per format; the payload's bytes are never touched.
//!
//! Whoever reads an accepted record again, to send it once more, reads it with this as well: so both see the same event.

mod cloudevents_binary;
mod cloudevents_structured;

use std::borrow::Cow;

use bytes::Bytes;
use schemas::cloud_event;
use schemas::event_type::is_visible_type;
use schemas::header;
use schemas::identity::positional_id;
use schemas::record::{Headers, Record, TopicPartition};
use schemas::rejected::RejectReason;

/// Longest `ce_id` and `ce_source`, bytes: they stand in headers of every hop and in the delivery log's index.
pub const MAX_ID_BYTES: usize = 1_000;

/// An event as its record tells it; texts borrow from the record where they can.
#[derive(Debug)]
pub struct Event<'a> {
    /// Id or uid of its application.
    pub application: Cow<'a, str>,
    /// `ce_id`, or its position where it brought none.
    pub id: Cow<'a, str>,
    /// The id was made for this record alone (by the gateway, or it is its position): nobody can repeat it, so it needs no
    /// deduplication.
    pub is_id_made: bool,
    /// `ce_source`, or its topic where it brought none.
    pub source: Cow<'a, str>,
    /// `ce_type`.
    pub event_type: Cow<'a, str>,
    /// `ce_time`.
    pub time: Option<Cow<'a, str>>,
    /// Media type of the payload.
    pub content_type: Option<Cow<'a, str>>,
    /// Labels, undecoded JSON.
    pub labels: Option<&'a [u8]>,
    /// Metadata, undecoded JSON.
    pub metadata: Option<&'a [u8]>,
    /// What was left out of the event, for its lifecycle record.
    pub note: Option<String>,
    /// The producer's address.
    pub ip: Option<&'a str>,
    /// The payload, a slice of the record's value.
    pub payload: Bytes,
    /// The headers every delivery starts with: CloudEvents attributes and the four of ours that may come in.
    pub headers: Headers,
}

/// Why a record is no event.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The word.
    pub reason: RejectReason,
    /// The sentence.
    pub detail: Cow<'static, str>,
}

/// The CloudEvents attributes a format found; absent ones are filled in by [`Attributes::resolve`].
#[derive(Debug, Default)]
struct Attributes<'a> {
    spec_version: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
}

/// Attributes every event has.
#[derive(Debug)]
struct Resolved<'a> {
    id: Cow<'a, str>,
    is_positional: bool,
    source: Cow<'a, str>,
    is_default_source: bool,
    event_type: Cow<'a, str>,
    time: Option<Cow<'a, str>>,
    /// Says that a time was there and is none.
    note: Option<String>,
}

/// Reads one record of `events` or of a source.
///
/// # Errors
/// Why it is no event.
pub fn decode<'a>(record: &'a Record, from: &TopicPartition) -> Result<Event<'a>, Rejection> {
    let Some(value) = &record.value else {
        return Err(Rejection::new(RejectReason::NullValue, "the record has no value"));
    };
    match record.headers.get(header::CONTENT_TYPE).and_then(cloud_event::structured_format) {
        None => cloudevents_binary::decode(record, value, from),
        Some(format) if format.eq_ignore_ascii_case(b"+json") => cloudevents_structured::decode(record, value, from),
        Some(format) => Err(Rejection::new(
            RejectReason::Undecodable,
            format!("application/cloudevents{} is not supported", String::from_utf8_lossy(format)),
        )),
    }
}

/// The application that a record names, by id or uid, also where it is no event.
#[must_use]
pub fn named_application(record: &Record) -> Option<Cow<'_, str>> {
    let named = record.headers.text(header::APPLICATION).map(Cow::Borrowed);
    let attribute = || match record.headers.get(header::CONTENT_TYPE).and_then(cloud_event::structured_format) {
        Some(_) => cloudevents_structured::named_application(record.value.as_deref()?),
        None => record.headers.text(cloudevents_binary::CE_APPLICATION).map(Cow::Borrowed),
    };
    named.or_else(attribute).filter(|name| !name.is_empty())
}

/// Whether a header of the record travels on: everything else would only cost room in every delivery.
fn travels_on(name: &str) -> bool {
    (name.starts_with("ce_") && name != cloudevents_binary::CE_APPLICATION)
        || name == header::CONTENT_TYPE
        || name == header::TRACEPARENT
        || header::INBOUND.contains(&name)
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<Cow<'a, str>, Rejection> {
    match std::str::from_utf8(value) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) => Err(Rejection::attribute(format!("`{name}` is not UTF-8: {error}"))),
    }
}

// === impl Rejection ===

impl Rejection {
    /// This word, and this sentence.
    pub fn new(reason: RejectReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into() }
    }

    fn attribute(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RejectReason::InvalidAttribute, detail)
    }
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// Checks what is there and fills in what may be missing.
    fn resolve(self, record: &Record, from: &TopicPartition) -> Result<Resolved<'a>, Rejection> {
        if let Some(version) = self.spec_version.filter(|version| !cloud_event::is_version(version)) {
            return Err(Rejection::attribute(format!("CloudEvents version `{}` is not 1.x", cut(&version))));
        }
        let Some(event_type) = self.event_type else {
            return Err(Rejection::attribute("the event has no type (`ce_type`)"));
        };
        if !is_visible_type(&event_type) {
            let detail = format!("event type `{}` is not 1 to 200 visible ASCII characters", cut(&event_type));
            return Err(Rejection::attribute(detail));
        }
        let given = |text: Option<Cow<'a, str>>| text.filter(|text| !text.is_empty());
        let (id, source) = (given(self.id), given(self.source));
        for (name, text) in [("id", &id), ("source", &source)] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_ID_BYTES) {
                return Err(Rejection::attribute(format!("the event's {name} is longer than {MAX_ID_BYTES} bytes")));
            }
        }
        let (time, note) = match given(self.time) {
            Some(text) if !schemas::time::is_rfc3339(&text) => {
                let note =
                    format!("`ce_time` is `{}`, not an RFC 3339 time: the time of acceptance counts", cut(&text));
                (None, Some(note))
            }
            time => (time, None),
        };
        let is_positional = id.is_none();
        let is_default_source = source.is_none();
        let position = || positional_id(&from.topic, from.partition, record.offset, record.timestamp_ms).into();
        Ok(Resolved {
            id: id.unwrap_or_else(position),
            is_positional,
            source: source.unwrap_or_else(|| format!("/topics/{}", from.topic).into()),
            is_default_source,
            event_type,
            time,
            note,
        })
    }
}

/// The beginning of a text, for a sentence.
fn cut(text: &str) -> &str {
    text.char_indices().nth(80).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests;
