//! CloudEvents 1.0 Kafka binding: which of its modes a record is in. What is on `events`, and a format of sources.

use std::borrow::Cow;

use bytes::Bytes;
use schemas::header;
use schemas::record::{Record, TopicPartition};
use schemas::rejected::RejectReason;

use crate::attributes::GivenAttributes;
use crate::{Event, Rejection, cloudevents_binary, cloudevents_structured};

/// Reads one record of `events` or of a source.
///
/// # Errors
/// Why it is no event.
pub fn decode<'a>(record: &'a Record, from: &TopicPartition) -> Result<Event<'a>, Rejection> {
    let Some(value) = &record.value else {
        return Err(Rejection::new(RejectReason::NullValue, "the record has no value"));
    };
    decode_given(record, value, from, GivenAttributes::default())
}

/// As [`decode`], with what templates say. `value` is the record's, or nothing in place of one that is null.
pub(crate) fn decode_given<'a>(
    record: &'a Record,
    value: &'a Bytes,
    from: &TopicPartition,
    given: GivenAttributes<'a>,
) -> Result<Event<'a>, Rejection> {
    match record.headers.get(header::CONTENT_TYPE).and_then(cloudevents_format) {
        None => cloudevents_binary::decode(record, value, from, given),
        Some(format) if format.eq_ignore_ascii_case(b"+json") => {
            cloudevents_structured::decode(record, value, from, given)
        }
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
    let attribute = || match record.headers.get(header::CONTENT_TYPE).and_then(cloudevents_format) {
        Some(_) => cloudevents_structured::named_application(record.value.as_deref()?),
        None => record.headers.text(cloudevents_binary::CE_APPLICATION).map(Cow::Borrowed),
    };
    named.or_else(attribute).filter(|name| !name.is_empty())
}

/// What follows `application/cloudevents` in a media type, if it is one: `+json`, `-batch+json`, nothing.
fn cloudevents_format(content_type: &[u8]) -> Option<&[u8]> {
    const PREFIX: &[u8] = b"application/cloudevents";
    let (head, rest) = content_type.trim_ascii_start().split_at_checked(PREFIX.len())?;
    let rest = rest.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    head.eq_ignore_ascii_case(PREFIX).then_some(rest)
}

/// Whether a header of the record travels on: everything else would only cost room in every delivery.
pub(crate) fn travels_on(name: &str) -> bool {
    (name.starts_with("ce_") && name != cloudevents_binary::CE_APPLICATION)
        || name == header::CONTENT_TYPE
        || name == header::TRACEPARENT
        || header::INBOUND.contains(&name)
}

pub(crate) fn text<'a>(name: &str, value: &'a [u8]) -> Result<Cow<'a, str>, Rejection> {
    match std::str::from_utf8(value) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) => Err(Rejection::attribute(format!("`{name}` is not UTF-8: {error}"))),
    }
}
