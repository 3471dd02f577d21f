//! From raw fields to an event that may be published, or the problem that says why not. Pure.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::event::{Extensions, StringMap};
use schemas::event_type::EventTypeName;
use schemas::problem::ProblemId;
use serde_json::value::RawValue;

use super::faults::{Faults, Refused, payload_too_large, problem, too_deep};
use super::json;
use super::parse::{FIELDS, Field, RawEvent};

const LABELS: usize = 10;
const LABEL_CHARACTERS: std::ops::RangeInclusive<usize> = 1..=50;
/// Pairs of metadata.
const METADATA: usize = 50;
const EVENT_ID_BYTES: std::ops::RangeInclusive<usize> = 1..=128;
const ORDERING_KEY_CHARACTERS: std::ops::RangeInclusive<usize> = 1..=256;

/// Content type of JSON payloads.
pub const JSON: &str = "application/json";
/// Content type of text payloads.
const TEXT: &str = "text/plain";
/// Content type of binary payloads inside JSON; decoded before anything else sees them.
const BASE64: &str = "application/octet-stream+base64";
/// Content type of what was decoded.
pub const BINARY: &str = "application/octet-stream";

/// An event whose fields are all right. Whether its application and type exist is asked elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// As given: an id or a uid.
    pub application: Option<Cow<'a, str>>,
    /// Empty where it may be missing, and is.
    pub event_type: Cow<'a, str>,
    /// As given; one is made if absent.
    pub id: Option<Cow<'a, str>>,
    /// Only a `CloudEvent` brings its own.
    pub source: Option<Cow<'a, str>>,
    /// A slice of the body wherever nothing had to be decoded.
    pub payload: Bytes,
    /// Empty: an event without data that does not say any.
    pub content_type: Cow<'a, str>,
    /// RFC 3339, as given.
    pub occurred_at: Option<Cow<'a, str>>,
    /// At most 10.
    pub labels: StringMap,
    /// At most 50.
    pub metadata: StringMap,
    /// Extension attributes of a `CloudEvent`.
    pub extensions: Extensions<'a>,
    /// The key of its record.
    pub ordering_key: Option<Cow<'a, str>>,
}

/// Checks one event. `raw` lies inside `body`; `payload_limit` is in bytes.
///
/// # Errors
/// Names every field that does not fit.
pub fn event<'a>(raw: &RawEvent<'a>, body: &Bytes, payload_limit: usize) -> Result<Event<'a>, Refused> {
    checked(raw, body, payload_limit, true)
}

/// As [`event`], where the event's type may be known from elsewhere.
///
/// # Errors
/// As [`event`].
pub fn checked<'a>(
    raw: &RawEvent<'a>,
    body: &Bytes,
    payload_limit: usize,
    needs_type: bool,
) -> Result<Event<'a>, Refused> {
    let mut faults = Faults::default();
    raw.name_faults(&FIELDS, &mut faults);
    let field = |field: Field| raw.optional(field as usize);
    let application = text(field(Field::ApplicationId), "application_id", &mut faults);
    let event_type = event_type(field(Field::EventType), needs_type, &mut faults);
    let id = text(field(Field::EventId), "event_id", &mut faults).filter(|id| check_id("event_id", id, &mut faults));
    let occurred_at = text(field(Field::OccurredAt), "occurred_at", &mut faults)
        .filter(|time| check_time("occurred_at", time, &mut faults));
    let ordering_key = text(field(Field::OrderingKey), "ordering_key", &mut faults)
        .filter(|key| check_ordering_key("ordering_key", key, &mut faults));
    let labels = labels(field(Field::Labels), &mut faults);
    let metadata = map(field(Field::Metadata), "metadata", METADATA, &mut faults);
    let content_type = text(field(Field::PayloadContentType), "payload_content_type", &mut faults);
    let payload = raw.value(Field::Payload as usize);
    match payload {
        None => faults.invalid("payload", "must be there"),
        Some(raw) if json::is_string(raw) && content_type.is_none() => {
            faults.invalid("payload_content_type", "must be there when the payload is a string");
        }
        Some(_) => {}
    }
    faults.refuse()?;
    let payload = payload.expect("an absent payload was a fault");
    let (payload, content_type) = decode(payload, content_type.as_deref(), body)?;
    check_size(payload.len(), payload_limit)?;
    Ok(Event {
        application,
        event_type: event_type.unwrap_or_default(),
        id,
        source: None,
        payload,
        content_type: Cow::Borrowed(content_type),
        occurred_at,
        labels,
        metadata,
        extensions: Extensions::new(),
        ordering_key,
    })
}

/// The payload's bytes and the content type they are delivered with.
fn decode(raw: &RawValue, content_type: Option<&str>, body: &Bytes) -> Result<(Bytes, &'static str), Refused> {
    if !json::is_string(raw) {
        return match content_type {
            None | Some(JSON) if json::is_too_deep(raw.get()) => Err(too_deep("the payload")),
            None | Some(JSON) => Ok((body.slice_ref(raw.get().as_bytes()), JSON)),
            Some(other) => Err(wrong_content_type(other, "of a payload that is not a string")),
        };
    }
    match content_type {
        Some(JSON) => {
            let text = string(raw)?;
            check_json(&text, ProblemId::EventInvalidJsonPayload)?;
            Ok((kept(text, body), JSON))
        }
        Some(TEXT) => Ok((kept(string(raw)?, body), TEXT)),
        Some(BASE64) => Ok((base64(&string(raw)?)?, BINARY)),
        other => Err(wrong_content_type(other.unwrap_or_default(), "of a string payload")),
    }
}

/// Bytes of base64 text, with its padding.
///
/// # Errors
/// What is wrong with it.
pub fn base64(text: &str) -> Result<Bytes, Refused> {
    let decoded = STANDARD.decode(text);
    decoded.map(Bytes::from).map_err(|error| problem(ProblemId::EventInvalidBase64Payload, error.to_string()))
}

/// Whether text is JSON and not too deep.
///
/// # Errors
/// What is wrong with it.
pub fn check_json(text: &str, id: ProblemId) -> Result<(), Refused> {
    json::check(text).map_err(|error| problem(id, format!("the payload is not JSON: {error}")))?;
    if json::is_too_deep(text) { Err(too_deep("the payload")) } else { Ok(()) }
}

/// Whether a payload is within the limit.
///
/// # Errors
/// What is wrong with it.
pub fn check_size(size: usize, limit: usize) -> Result<(), Refused> {
    if size > limit { Err(payload_too_large(size, limit)) } else { Ok(()) }
}

/// A string's bytes: a slice of the body unless something was unescaped.
pub fn kept(text: Cow<'_, str>, body: &Bytes) -> Bytes {
    match text {
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    }
}

/// The text of a string payload.
///
/// # Errors
/// What is wrong with it.
pub fn string(raw: &RawValue) -> Result<Cow<'_, str>, Refused> {
    json::text(raw).map_err(|message| super::faults::field("payload", message))
}

fn wrong_content_type(given: &str, whose: &str) -> Refused {
    let detail = format!("`{}` is no content type {whose}", json::quoted(given));
    problem(ProblemId::EventInvalidPayloadContentType, detail)
}

/// A string field; another type is a fault.
pub fn text<'a>(raw: Option<&'a RawValue>, field: &str, faults: &mut Faults) -> Option<Cow<'a, str>> {
    match json::text(raw?) {
        Ok(text) => Some(text),
        Err(message) => {
            faults.invalid(field, message);
            None
        }
    }
}

fn event_type<'a>(raw: Option<&'a RawValue>, is_needed: bool, faults: &mut Faults) -> Option<Cow<'a, str>> {
    let Some(raw) = raw else {
        if is_needed {
            faults.invalid("event_type", "must be there");
        }
        return None;
    };
    let name = text(Some(raw), "event_type", faults)?;
    check_event_type("event_type", &name, faults).then_some(name)
}

/// Whether a name can be declared at all.
pub fn check_event_type(field: &str, name: &str, faults: &mut Faults) -> bool {
    // The reason quotes the name: one that is too long for that is refused without.
    if name.len() > 512 {
        faults.invalid(field, "is longer than 6 parts of 50 characters");
        return false;
    }
    match EventTypeName::parse(name) {
        Ok(_name) => true,
        Err(error) => {
            faults.invalid(field, error.to_string());
            false
        }
    }
}

/// Whether an id is 1..128 visible ASCII characters.
pub fn check_id(field: &str, id: &str, faults: &mut Faults) -> bool {
    let fits = EVENT_ID_BYTES.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits {
        faults.invalid(field, "must be 1 to 128 visible ASCII characters");
    }
    fits
}

/// Whether a time is RFC 3339 with a zone.
pub fn check_time(field: &str, time: &str, faults: &mut Faults) -> bool {
    let fits = schemas::time::is_rfc3339(time);
    if !fits {
        faults.invalid(field, "must be an RFC 3339 time with a zone of at most 23:59, like 2026-11-22T10:30:00Z");
    }
    fits
}

/// Whether an ordering key has 1..256 characters.
pub fn check_ordering_key(field: &str, key: &str, faults: &mut Faults) -> bool {
    let fits = ORDERING_KEY_CHARACTERS.contains(&key.chars().count());
    if !fits {
        faults.invalid(field, "must have 1 to 256 characters");
    }
    fits
}

fn labels(raw: Option<&RawValue>, faults: &mut Faults) -> StringMap {
    let labels = map(raw, "labels", LABELS, faults);
    for (key, value) in &labels {
        let fits = |text: &str| LABEL_CHARACTERS.contains(&text.chars().count());
        if !fits(key) || !fits(value) {
            faults
                .invalid("labels", format!("`{}` and its value must have 1 to 50 characters each", json::quoted(key)));
        }
    }
    labels
}

fn map(raw: Option<&RawValue>, field: &str, limit: usize, faults: &mut Faults) -> StringMap {
    let map = raw.map_or_else(|| Ok(StringMap::new()), |raw| json::string_map(raw, limit));
    map.unwrap_or_else(|message| {
        faults.invalid(field, message);
        StringMap::new()
    })
}

#[cfg(test)]
mod tests;
