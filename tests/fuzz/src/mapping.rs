//! Records of sources: templates, frames in front of values, Avro. Whatever comes, it is an event or a reason with a place in the
//! record, and the same one twice.

use std::sync::{Arc, OnceLock};

use schemas::control::{SourceFormat, TopicSource};
use schemas::header;
use schemas::ids::{OrganizationId, PositionId, SchemaRegistryId, SourceId};
use schemas::record::{Headers, Record, TopicPartition};
use serde_json::Value;
use serde_json::value::RawValue;
use sources::schema::{CompiledSchema, RegisteredSchema, SchemaId, SchemaKey, SchemaKind, SchemaLookup, SchemaState};
use sources::{Against, Mapped, Mapping, RejectedAt};
use uuid::Uuid;

use crate::{CUT, two_texts};

/// Most JSON that a value becomes here, bytes.
const DECODED: usize = 1_024;
const AVRO: &str = r#"{"type":"record","name":"O","fields":[{"name":"id","type":["null","long"]},{"name":"l","type":{"type":"array","items":"string"}}]}"#;
const PROTOBUF: &str =
    r#"syntax = "proto3"; message A { message B { int32 n = 1; } repeated B b = 1; map<string, int64> m = 2; }"#;

/// Schemas by their numbers.
struct Schemas<'s>(&'s [SchemaState]);

impl SchemaLookup for Schemas<'_> {
    fn schema(&self, key: &SchemaKey) -> SchemaState {
        let SchemaId::Number(number) = key.id else { return SchemaState::Wanted };
        let known = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        known.cloned().unwrap_or(SchemaState::NotFound)
    }
}

/// `template;;value`
pub(crate) fn template(data: &[u8]) -> bool {
    let Some((template, value)) = two_texts(data) else { return false };
    let source = TopicSource { id: Some(template.to_owned()), ..source(SourceFormat::Json) };
    let mapping = match Mapping::compile(&source) {
        Ok(mapping) => mapping,
        Err(error) => {
            let column = error.column.expect("a template's fault has a column");
            assert!((1..=template.chars().count() + 1).contains(&column), "{error} at {column} of {template}");
            assert!(error.field == "id" && !error.message.is_empty() && error.message.len() < 1_024);
            return false;
        }
    };
    let record = record(value.as_bytes().to_vec());
    let id = mapped(&mapping, &record, &[]);
    let pointer = template.strip_prefix("{value:").and_then(|rest| rest.strip_suffix('}'));
    // Where the template is one pointer, a tree of the whole value leads to the same.
    if let (Some(pointer), Ok(tree), Some(id)) = (pointer, serde_json::from_str::<Value>(value), &id)
        && !pointer.contains('}')
    {
        match tree.pointer(pointer) {
            Some(Value::String(text)) if !text.is_empty() => assert_eq!(id, text),
            Some(Value::Bool(is)) => assert_eq!(*id, is.to_string()),
            Some(Value::Number(_)) => assert!(serde_json::from_str::<&RawValue>(id).is_ok()),
            _nothing => assert!(id.starts_with("t-0-7-"), "{id}"),
        }
    }
    id.is_some()
}

/// The format, then a value: a digit is the byte of that number, so that frames can be written.
pub(crate) fn frame(data: &[u8]) -> bool {
    static KNOWN: OnceLock<Vec<SchemaState>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let json = r#"{"title":"J"}"#;
        let all = [(SchemaKind::Avro, AVRO), (SchemaKind::Protobuf, PROTOBUF), (SchemaKind::Json, json)];
        all.map(|(kind, text)| compile(kind, text).expect("a good schema")).to_vec()
    });
    let Some((format, value)) = data.split_first() else { return false };
    let format = match format % 4 {
        0 => SourceFormat::Avro,
        1 => SourceFormat::Protobuf,
        2 => SourceFormat::JsonSchema,
        _ => SourceFormat::Debezium,
    };
    let source = TopicSource { id: Some("{schema}".to_owned()), ..source(format) };
    let mapping = Mapping::compile(&source).expect("a good source");
    mapped(&mapping, &record(digits(value)), known).is_some()
}

/// `schema;;value`, the value as for frames.
pub(crate) fn avro(data: &[u8]) -> bool {
    let at = data.windows(CUT.len()).position(|window| window == CUT.as_bytes());
    let Some((schema, value)) = at.map(|at| (&data[..at], &data[at + CUT.len()..])) else { return false };
    let Ok(schema) = std::str::from_utf8(schema) else { return false };
    let Some(compiled) = compile(SchemaKind::Avro, schema) else { return false };
    let mapping = Mapping::compile(&source(SourceFormat::Avro)).expect("a good source");
    let mut framed = vec![0; 5];
    framed.extend(digits(value));
    let known = [compiled];
    let is_event = mapped(&mapping, &record(framed.clone()), &known).is_some();
    if is_event && framed.len() > 5 {
        framed.pop();
        assert_eq!(mapped(&mapping, &record(framed), &known), None, "a value that is cut off is none");
    }
    is_event
}

/// The id of the event that a record comes to, if it is one.
fn mapped(mapping: &Mapping, record: &Record, known: &[SchemaState]) -> Option<String> {
    let at = TopicPartition::new("t", 0);
    let schemas = Schemas(known);
    let against = Against { schemas: &schemas, decoded_limit: DECODED };
    let again = mapping.map(record, &at, against);
    let size = record.value.as_ref().map_or(0, |value| value.len());
    match mapping.map(record, &at, against) {
        Mapped::Event(event) => {
            let Mapped::Event(again) = again else { panic!("an event once, and then none") };
            assert_eq!((&event.payload, &event.headers), (&again.payload, &again.headers), "the same event twice");
            assert_eq!(event.headers.text(header::CE_ID), Some(&*event.id));
            assert!(event.payload.len() <= size.max(DECODED));
            if event.headers.get(header::CE_DATASCHEMA).is_some() && mapping.looks_into_the_value() {
                assert!(serde_json::from_slice::<&RawValue>(&event.payload).is_ok(), "no JSON was made");
            }
            Some(event.id.into_owned())
        }
        Mapped::Rejected(rejection) => {
            let Mapped::Rejected(again) = again else { panic!("rejected once, and then not") };
            assert_eq!(rejection, again);
            assert!(!rejection.detail.is_empty() && rejection.detail.len() < 4_096, "{rejection:?}");
            if let Some(RejectedAt::Byte(at)) = rejection.position {
                assert!(at <= size, "byte {at} of {size}");
            }
            None
        }
        Mapped::Skipped(_) | Mapped::NeedsSchema(_) => None,
    }
}

fn compile(kind: SchemaKind, text: &str) -> Option<SchemaState> {
    let registered = RegisteredSchema { kind, text: text.to_owned(), references: Vec::new() };
    match CompiledSchema::compile(&registered, None) {
        Ok(schema) => Some(SchemaState::Ready(Arc::new(schema))),
        Err(error) => {
            assert!(!error.detail.is_empty() && error.detail.len() < 4_096);
            None
        }
    }
}

fn digits(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if byte.is_ascii_digit() { byte - b'0' } else { *byte }).collect()
}

fn record(value: Vec<u8>) -> Record {
    Record { offset: 7, timestamp_ms: 1, key: Some("k".into()), value: Some(value.into()), headers: Headers::default() }
}

fn source(format: SourceFormat) -> TopicSource {
    let (id, owner) = (SourceId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(2)));
    let new = TopicSource::new(id, owner, "s", format, PositionId(Uuid::from_u128(3)), 0);
    let has_registry = !matches!(format, SourceFormat::Json);
    TopicSource {
        application: Some("a".to_owned()),
        event_type: Some("a.b".to_owned()),
        registry: has_registry.then_some(SchemaRegistryId(Uuid::from_u128(4))),
        ..new
    }
}
