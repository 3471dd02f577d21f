//! From a record to an event, or to the reason why there is none.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::cloud_event;
use schemas::control::source::OnNull;
use schemas::control::{AvroOptions, ProtobufOptions};
use schemas::ids::SchemaRegistryId;
use schemas::record::{Record, TopicPartition};
use schemas::rejected::RejectReason;

use crate::attributes::GivenAttributes;
use crate::carried::Carried;
use crate::debezium::NoChange;
use crate::frame::{FramedPart, is_framed, unframe};
use crate::look::{LookFault, look};
use crate::mapping::{Against, Mapping, SkipReason};
pub(crate) use crate::options::FormatOptions;
use crate::registry::{RegistryJson, RegistryReader};
use crate::schema::{SchemaKey, SchemaKind};
use crate::templates::{LookedInto, TemplateSubject};
use crate::{Event, RejectedAt, Rejection, cloudevents, hookbus};

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
pub(crate) struct RecordAt<'a> {
    pub(crate) record: &'a Record,
    pub(crate) from: &'a TopicPartition,
}

/// What a record comes to.
pub(crate) fn event<'a>(mapping: &'a Mapping, at: RecordAt<'a>, against: Against<'_>) -> Result<Event<'a>, Unmapped> {
    let Some(value) = &at.record.value else { return null(mapping, at, against) };
    let key = key(mapping, at, against)?;
    let (payload, content_type) = match &mapping.options {
        FormatOptions::Cloudevents => return cloudevents_event(mapping, at, value, &key),
        FormatOptions::Hookbus => return hookbus_event(mapping, at, value, &key),
        FormatOptions::Json { .. }
        | FormatOptions::Debezium(_)
        | FormatOptions::Avro(_)
        | FormatOptions::Protobuf(_)
        | FormatOptions::JsonSchema { .. } => return json_event(mapping, at, against, value, &key),
        FormatOptions::Text => (value.clone(), TEXT),
        FormatOptions::Binary { is_base64: false } => (value.clone(), cloud_event::BINARY),
        FormatOptions::Binary { is_base64: true } => (data_base64(value), cloud_event::JSON),
    };
    let given = fill(mapping, at, LookedInto::default(), &key, None)?;
    Ok(Carried::of(payload, content_type).event(at, given)?)
}

/// The application that a record means, as far as it can be told without a schema.
pub(crate) fn named_application<'a>(mapping: &'a Mapping, at: RecordAt<'a>) -> Option<Cow<'a, str>> {
    if let Some(application) = mapping.templates.constant_application() {
        return Some(Cow::Borrowed(application));
    }
    if !mapping.templates.has_application() {
        return if let FormatOptions::Hookbus = &mapping.options {
            hookbus::named_application(at.record.value.as_deref()?)
        } else {
            cloudevents::named_application(at.record)
        };
    }
    let pointers = &mapping.templates.pointers;
    let value = at.record.value.as_deref().filter(|_| mapping.looks_into_the_value).unwrap_or_default();
    let value = look(value, &pointers.value).unwrap_or_default();
    let key = at.record.key.as_deref().filter(|_| !pointers.key.is_empty()).unwrap_or_default();
    let key = look(key, &pointers.key).unwrap_or_default();
    let subject = TemplateSubject { record: at.record, from: at.from, value, key, schema_name: None };
    mapping.templates.application(&subject)
}

/// A record without a value.
fn null<'a>(mapping: &'a Mapping, at: RecordAt<'a>, against: Against<'_>) -> Result<Event<'a>, Unmapped> {
    static NOTHING: Bytes = Bytes::new();
    match (mapping.on_null, &mapping.options) {
        (OnNull::Skip, _) => Err(Unmapped::Skipped(SkipReason::Tombstone)),
        (OnNull::Reject, _) => Err(Rejection::new(RejectReason::NullValue, "the record has no value").into()),
        (OnNull::Deliver, FormatOptions::Cloudevents) => {
            cloudevents_event(mapping, at, &NOTHING, &key(mapping, at, against)?)
        }
        (OnNull::Deliver, _) => {
            let key = key(mapping, at, against)?;
            let given = fill(mapping, at, LookedInto::default(), &key, None)?;
            Ok(Carried { content_type: None, ..Carried::of(Bytes::new(), TEXT) }.event(at, given)?)
        }
    }
}

/// What the templates look for in a value that is JSON as it is.
fn looked<'a>(mapping: &Mapping, value: &'a Bytes) -> Result<LookedInto<'a>, Rejection> {
    if !mapping.looks_into_the_value {
        return Ok(LookedInto::default());
    }
    look(value, &mapping.templates.pointers.value).map_err(|fault| fault.rejection(Some(0)))
}

fn cloudevents_event<'a>(
    mapping: &'a Mapping,
    at: RecordAt<'a>,
    value: &'a Bytes,
    key: &KeyText<'a>,
) -> Result<Event<'a>, Unmapped> {
    let given = fill(mapping, at, looked(mapping, value)?, key, None)?;
    Ok(cloudevents::decode_given(at.record, value, at.from, given)?)
}

fn hookbus_event<'a>(
    mapping: &'a Mapping,
    at: RecordAt<'a>,
    value: &'a Bytes,
    key: &KeyText<'a>,
) -> Result<Event<'a>, Unmapped> {
    let given = fill(mapping, at, looked(mapping, value)?, key, None)?;
    Ok(hookbus::event(at, value, given, !mapping.templates.has_type())?)
}

// === JSON ===

/// A value that is JSON, or was made to be.
fn json_event<'a>(
    mapping: &'a Mapping,
    at: RecordAt<'a>,
    against: Against<'_>,
    value: &'a Bytes,
    key: &KeyText<'a>,
) -> Result<Event<'a>, Unmapped> {
    let headers = &at.record.headers;
    let is_framed = match (&mapping.options, mapping.registry) {
        (FormatOptions::Json { is_unframed }, None) if *is_unframed && is_framed(headers, value, FramedPart::Value) => {
            let taken = unframe(headers, value, FramedPart::Value)?.taken;
            return borrowed(mapping, at, value, taken, key);
        }
        (FormatOptions::Json { is_unframed }, Some(_)) => *is_unframed && is_framed(headers, value, FramedPart::Value),
        (_, None) => false,
        (FormatOptions::Debezium(_), Some(_)) => is_framed(headers, value, FramedPart::Value),
        _all_others => true,
    };
    let Some(registry) = mapping.registry.filter(|_| is_framed) else { return borrowed(mapping, at, value, 0, key) };
    let read = reader(mapping, at, against, registry).read(value, FramedPart::Value)?;
    let (given, payload) = from_json(mapping, at, &read, key)?;
    let payload = read.json.slice_ref(payload);
    let carried = Carried { data_schema: Some(read.key.uri()), ..Carried::of(payload, cloud_event::JSON) };
    Ok(carried.event(at, given.into_owned())?)
}

/// JSON as it stands in the record, from a byte on: what is said of it borrows from there.
fn borrowed<'a>(
    mapping: &'a Mapping,
    at: RecordAt<'a>,
    value: &'a Bytes,
    taken: usize,
    key: &KeyText<'a>,
) -> Result<Event<'a>, Unmapped> {
    let text = JsonText { json: &value[taken..], begins: Some(taken), schema_name: None };
    let (given, payload) = said(mapping, at, text, key)?;
    let payload = value.slice_ref(payload);
    Ok(Carried::of(payload, cloud_event::JSON).event(at, given)?)
}

fn from_json<'x>(
    mapping: &'x Mapping,
    at: RecordAt<'x>,
    read: &'x RegistryJson,
    key: &KeyText<'x>,
) -> Result<(GivenAttributes<'x>, &'x [u8]), Unmapped> {
    let text = JsonText { json: &read.json, begins: read.begins, schema_name: read.schema_name.as_deref() };
    said(mapping, at, text, key)
}

/// JSON to look into.
#[derive(Clone, Copy, Debug)]
struct JsonText<'x> {
    json: &'x [u8],
    /// The byte of the record's value that it begins with, unless it was made of it.
    begins: Option<usize>,
    schema_name: Option<&'x str>,
}

/// What templates say of a JSON text, and the part of it that is the payload.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever format it is, somebody looks or nobody does")]
fn said<'x>(
    mapping: &'x Mapping,
    at: RecordAt<'x>,
    text: JsonText<'x>,
    key: &KeyText<'x>,
) -> Result<(GivenAttributes<'x>, &'x [u8]), Unmapped> {
    let JsonText { json, begins, schema_name } = text;
    let pointers = &mapping.templates.pointers.value;
    let mut default_type = None;
    let (looked, whole) = match &mapping.options {
        FormatOptions::Debezium(reader) => {
            let utf8 = std::str::from_utf8(json).map_err(|error| LookFault::not_utf8(&error).rejection(begins))?;
            let row = reader.read(utf8).map_err(|no_change| match no_change {
                NoChange::Skipped(reason) => Unmapped::Skipped(reason),
                NoChange::Rejected(rejection) => Unmapped::Rejected(rejection),
                NoChange::Unreadable(fault) => LookFault::Scan(fault).rejection(begins).into(),
            })?;
            default_type = row.default_type;
            (row.looked, row.envelope.as_bytes())
        }
        _others if mapping.looks_into_the_value => {
            (look(json, pointers).map_err(|fault| fault.rejection(begins))?, json)
        }
        _nobody_looks => (LookedInto::default(), json),
    };
    let payload = match mapping.templates.payload {
        None => whole,
        Some(slot) => looked.json_at(slot).ok_or_else(|| unmapped_payload(pointers.text(slot)))?.as_bytes(),
    };
    let mut given = fill(mapping, at, looked, key, schema_name)?;
    given.default_type = given.default_type.or_else(|| default_type.map(Cow::Owned));
    Ok((given, payload))
}

fn unmapped_payload(pointer: &str) -> Rejection {
    let detail = format!("there is nothing at `{pointer}`, where the source says that the payload is");
    Rejection { position: Some(RejectedAt::Pointer(pointer.into())), ..Rejection::new(RejectReason::Unmapped, detail) }
}

fn reader<'m, 's>(
    mapping: &'m Mapping,
    at: RecordAt<'m>,
    against: Against<'s>,
    registry: SchemaRegistryId,
) -> RegistryReader<'m, 's> {
    let (mut kind, mut avro, mut protobuf) = (None, AvroOptions::default(), ProtobufOptions::default());
    let mut is_validated = false;
    match &mapping.options {
        FormatOptions::Avro(options) => (kind, avro) = (Some(SchemaKind::Avro), *options),
        FormatOptions::Protobuf(options) => (kind, protobuf) = (Some(SchemaKind::Protobuf), *options),
        FormatOptions::JsonSchema { is_validated: is_asked } => {
            (kind, is_validated) = (Some(SchemaKind::Json), *is_asked);
        }
        FormatOptions::Json { .. } => kind = Some(SchemaKind::Json),
        FormatOptions::Cloudevents
        | FormatOptions::Hookbus
        | FormatOptions::Debezium(_)
        | FormatOptions::Text
        | FormatOptions::Binary { .. } => {}
    }
    let names_the_schema = mapping.templates.name_the_schema();
    let headers = &at.record.headers;
    RegistryReader { registry, kind, avro, protobuf, is_validated, names_the_schema, headers, against }
}

// === keys ===

/// The JSON of a key, if a template looks into it.
#[derive(Debug)]
enum KeyText<'a> {
    /// Nobody asks, or there is none.
    None,
    /// As it stands in the record.
    Slice(&'a [u8]),
    /// Decoded.
    Made(Bytes),
}

fn key<'a>(mapping: &'a Mapping, at: RecordAt<'a>, against: Against<'_>) -> Result<KeyText<'a>, Unmapped> {
    let key = match &at.record.key {
        Some(key) if !mapping.templates.pointers.key.is_empty() => key,
        _nobody_asks => return Ok(KeyText::None),
    };
    let headers = &at.record.headers;
    match mapping.registry {
        Some(registry) if is_framed(headers, key, FramedPart::Key) => {
            // A key may be of another kind than its value.
            let reader = RegistryReader { kind: None, is_validated: false, ..reader(mapping, at, against, registry) };
            let read = reader.read(key, FramedPart::Key);
            read.map(|read| KeyText::Made(read.json)).map_err(|unmapped| match unmapped {
                Unmapped::Rejected(rejection) => {
                    let detail = format!("the key: {}", rejection.detail);
                    // Places are told of values only.
                    Unmapped::Rejected(Rejection { position: None, ..Rejection::new(rejection.reason, detail) })
                }
                Unmapped::Skipped(_) | Unmapped::NeedsSchema(_) => unmapped,
            })
        }
        _as_it_stands => Ok(KeyText::Slice(key)),
    }
}

fn fill<'x>(
    mapping: &'x Mapping,
    at: RecordAt<'x>,
    value: LookedInto<'x>,
    key: &KeyText<'x>,
    schema_name: Option<&'x str>,
) -> Result<GivenAttributes<'x>, Rejection> {
    let pointers = &mapping.templates.pointers.key;
    let rejected = |fault: &LookFault| Rejection::undecodable(format!("the key: {fault}"));
    let subject = |value, key| TemplateSubject { record: at.record, from: at.from, value, key, schema_name };
    match *key {
        KeyText::None => mapping.templates.fill(&subject(value, LookedInto::default())),
        KeyText::Slice(json) => {
            let key = look(json, pointers).map_err(|fault| rejected(&fault))?;
            mapping.templates.fill(&subject(value, key))
        }
        KeyText::Made(ref json) => {
            let key = look(json, pointers).map_err(|fault| rejected(&fault))?;
            let subject = TemplateSubject { record: at.record, from: at.from, value, key, schema_name };
            mapping.templates.fill(&subject).map(GivenAttributes::into_owned)
        }
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
