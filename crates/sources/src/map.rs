//! From a record to an event, or to the reason why there is none.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::cloud_event;
use schemas::control::source::OnNull;
use schemas::header;
use schemas::record::{Headers, Record, TopicPartition};
use schemas::rejected::RejectReason;

use crate::attributes::{Attributes, GivenAttributes};
use crate::frame::{FramedPart, is_framed, unframe};
use crate::mapping::{Against, Mapping, SkipReason};
pub(crate) use crate::options::FormatOptions;
use crate::pointers::Pointers;
use crate::scan::{ScanFault, scan};
use crate::schema::SchemaKey;
use crate::templates::{Looked, TemplateSubject};
use crate::{Event, RejectedAt, Rejection, cloudevents};

/// Media type of untouched text.
const TEXT: &str = "text/plain";

/// Why there is no event.
#[derive(Debug)]
pub(crate) enum Unmapped {
    Skipped(SkipReason),
    Rejected(Rejection),
    NeedsSchema(SchemaKey),
}

/// A record, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coordinates<'a> {
    pub(crate) record: &'a Record,
    pub(crate) from: &'a TopicPartition,
}

/// What an event has beside its attributes.
#[derive(Debug)]
struct Carried {
    payload: Bytes,
    content_type: Option<&'static str>,
    /// What its `ce_dataschema` says.
    data_schema: Option<String>,
}

/// What a record comes to.
pub(crate) fn event<'a>(mapping: &'a Mapping, at: Coordinates<'a>, _against: Against<'_>) -> Result<Event<'a>, Unmapped> {
    let Some(value) = &at.record.value else { return null(mapping, at) };
    let (payload, content_type) = match &mapping.options {
        FormatOptions::Cloudevents => return cloudevents_event(mapping, at, value),
        FormatOptions::Json { is_unframed } => return json(mapping, at, value, *is_unframed),
        FormatOptions::Text => (value.clone(), TEXT),
        FormatOptions::Binary { is_base64: false } => (value.clone(), cloud_event::BINARY),
        FormatOptions::Binary { is_base64: true } => (data_base64(value), cloud_event::JSON),
    };
    let given = fill(mapping, at, Looked::default(), None)?;
    let carried = Carried { payload, content_type: Some(content_type), data_schema: None };
    Ok(carried.event(at, given)?)
}

/// The application that a record means, as far as it can be told without a schema.
pub(crate) fn named_application<'a>(mapping: &'a Mapping, at: Coordinates<'a>) -> Option<Cow<'a, str>> {
    if let Some(application) = mapping.templates.constant_application() {
        return Some(Cow::Borrowed(application));
    }
    if !mapping.templates.has_application() {
        return cloudevents::named_application(at.record);
    }
    let value = at.record.value.as_deref().filter(|_| mapping.looks_into_the_value).unwrap_or_default();
    let value = look(value, &mapping.templates.pointers.value).unwrap_or_default();
    let key = key(mapping, at).unwrap_or_default();
    let subject = TemplateSubject { record: at.record, from: at.from, value, key, schema_name: None };
    mapping.templates.application(&subject)
}

/// A record without a value.
fn null<'a>(mapping: &'a Mapping, at: Coordinates<'a>) -> Result<Event<'a>, Unmapped> {
    static NOTHING: Bytes = Bytes::new();
    match (mapping.on_null, &mapping.options) {
        (OnNull::Skip, _) => Err(Unmapped::Skipped(SkipReason::Tombstone)),
        (OnNull::Reject, _) => Err(Rejection::new(RejectReason::NullValue, "the record has no value").into()),
        (OnNull::Deliver, FormatOptions::Cloudevents) => cloudevents_event(mapping, at, &NOTHING),
        (OnNull::Deliver, _) => {
            let given = fill(mapping, at, Looked::default(), None)?;
            Ok(Carried { payload: Bytes::new(), content_type: None, data_schema: None }.event(at, given)?)
        }
    }
}

fn cloudevents_event<'a>(mapping: &'a Mapping, at: Coordinates<'a>, value: &'a Bytes) -> Result<Event<'a>, Unmapped> {
    let looked = match mapping.looks_into_the_value {
        true => look(value, &mapping.templates.pointers.value).map_err(|fault| fault.rejection(0))?,
        false => Looked::default(),
    };
    let given = fill(mapping, at, looked, None)?;
    Ok(cloudevents::decode_given(at.record, value, at.from, given)?)
}

/// JSON as it stands in the record.
fn json<'a>(
    mapping: &'a Mapping,
    at: Coordinates<'a>,
    value: &'a Bytes,
    is_unframed: bool,
) -> Result<Event<'a>, Unmapped> {
    let is_framed = is_unframed && is_framed(&at.record.headers, value, FramedPart::Value);
    let taken = if is_framed { unframe(&at.record.headers, value, FramedPart::Value)?.taken } else { 0 };
    let json = &value[taken..];
    let (given, payload) = from_json(mapping, at, json, taken, None)?;
    let payload = value.slice_ref(payload);
    Ok(Carried { payload, content_type: Some(cloud_event::JSON), data_schema: None }.event(at, given)?)
}

/// What templates say of a JSON text, and the part of it that is the payload. The text begins at a byte of the value.
fn from_json<'x>(
    mapping: &'x Mapping,
    at: Coordinates<'x>,
    json: &'x [u8],
    begins: usize,
    schema_name: Option<&'x str>,
) -> Result<(GivenAttributes<'x>, &'x [u8]), Unmapped> {
    if !mapping.looks_into_the_value {
        return Ok((fill(mapping, at, Looked::default(), schema_name)?, json));
    }
    let pointers = &mapping.templates.pointers.value;
    let looked = look(json, pointers).map_err(|fault| fault.rejection(begins))?;
    let payload = match mapping.templates.payload {
        None => json,
        Some(slot) => looked.json_at(slot).ok_or_else(|| unmapped_payload(pointers.text(slot)))?.as_bytes(),
    };
    Ok((fill(mapping, at, looked, schema_name)?, payload))
}

fn unmapped_payload(pointer: &str) -> Rejection {
    let detail = format!("there is nothing at `{pointer}`, where the source says that the payload is");
    Rejection { position: Some(RejectedAt::Pointer(pointer.into())), ..Rejection::new(RejectReason::Unmapped, detail) }
}

fn fill<'x>(
    mapping: &'x Mapping,
    at: Coordinates<'x>,
    value: Looked<'x>,
    schema_name: Option<&'x str>,
) -> Result<GivenAttributes<'x>, Rejection> {
    let key = key(mapping, at).map_err(|fault| Rejection::undecodable(format!("the key: {fault}")))?;
    mapping.templates.fill(&TemplateSubject { record: at.record, from: at.from, value, key, schema_name })
}

/// The key, if a template looks into it.
fn key<'x>(mapping: &'x Mapping, at: Coordinates<'x>) -> Result<Looked<'x>, LookFault> {
    match &at.record.key {
        Some(key) if !mapping.templates.pointers.key.is_empty() => look(key, &mapping.templates.pointers.key),
        _nobody_asks => Ok(Looked::default()),
    }
}

// === looking into JSON ===

/// Why bytes cannot be looked into.
#[derive(Debug)]
enum LookFault {
    NotUtf8 { at: usize },
    Scan(ScanFault),
}

fn look<'x>(json: &'x [u8], pointers: &Pointers) -> Result<Looked<'x>, LookFault> {
    let json = std::str::from_utf8(json).map_err(|error| LookFault::NotUtf8 { at: error.valid_up_to() })?;
    let places = scan(json, pointers).map_err(LookFault::Scan)?;
    Ok(Looked { json, places })
}

impl LookFault {
    /// The rejection of a value whose JSON begins at a byte of it.
    fn rejection(&self, begins: usize) -> Rejection {
        let at = match self {
            Self::NotUtf8 { at } => *at,
            Self::Scan(fault) => fault.at,
        };
        Rejection::undecodable(format!("the value: {self}")).at(begins + at)
    }
}

impl std::fmt::Display for LookFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotUtf8 { at } => write!(f, "not JSON: it is not UTF-8 at byte {at}"),
            Self::Scan(fault) => fault.fmt(f),
        }
    }
}

// === impl Carried ===

impl Carried {
    /// With the attributes: an event, whose headers are all made here.
    fn event<'a>(self, at: Coordinates<'a>, mut given: GivenAttributes<'a>) -> Result<Event<'a>, Rejection> {
        let resolved = Attributes::default().given(&mut given).resolve(at.record, at.from)?;
        let Some(application) = given.application else {
            return Err(Rejection::attribute("the source says no application"));
        };
        let own = at.record.headers.get(header::TRACEPARENT);
        let mut builder = Headers::builder(10, 256);
        builder
            .push(header::CE_SPECVERSION, b"1.0")
            .push(header::CE_ID, resolved.id.as_bytes())
            .push(header::CE_TYPE, resolved.event_type.as_bytes())
            .push(header::CE_SOURCE, resolved.source.as_bytes())
            .push(header::APPLICATION, application.as_bytes());
        let optional = [
            (header::CE_TIME, resolved.time.as_deref().map(str::as_bytes)),
            (header::CONTENT_TYPE, self.content_type.map(str::as_bytes)),
            (header::CE_DATASCHEMA, self.data_schema.as_deref().map(str::as_bytes)),
            (header::LABELS, given.labels.as_deref()),
            (header::TRACEPARENT, own),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                builder.push(name, value);
            }
        }
        Ok(Event {
            application,
            id: resolved.id,
            is_id_made: resolved.is_positional,
            source: resolved.source,
            event_type: resolved.event_type,
            time: resolved.time,
            content_type: self.content_type.map(Cow::Borrowed),
            labels: given.labels.map(Cow::Owned),
            metadata: None,
            note: resolved.note,
            ip: None,
            payload: self.payload,
            headers: builder.build(),
        })
    }
}

/// Bytes as JSON.
fn data_base64(value: &[u8]) -> Bytes {
    let mut json = String::with_capacity(value.len() / 3 * 4 + 24);
    json.push_str(r#"{"data_base64":""#);
    STANDARD.encode_string(value, &mut json);
    json.push_str(r#""}"#);
    json.into()
}

// === impl Unmapped ===

impl From<Rejection> for Unmapped {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
