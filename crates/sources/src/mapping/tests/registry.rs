//! Records whose schema a registry has.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::ids::SchemaRegistryId;

use super::*;
use crate::schema::{CompiledSchema, JsonCheck, RegisteredSchema, SchemaId, SchemaKind, SchemaState, UnfitValue};

const AVRO: &str =
    r#"{"type":"record","name":"shop.Order","fields":[{"name":"id","type":"long"},{"name":"who","type":"string"}]}"#;
const PROTOBUF: &str =
    r#"syntax = "proto3"; package shop; message A {} message Order { int32 id = 1; message Line { int32 n = 1; } }"#;

/// Schemas in memory.
#[derive(Default)]
struct Known(BTreeMap<SchemaId, SchemaState>);

impl SchemaLookup for Known {
    fn schema(&self, key: &SchemaKey) -> SchemaState {
        assert_eq!(key.registry, registry());
        self.0.get(&key.id).cloned().unwrap_or(SchemaState::Wanted)
    }
}

#[derive(Debug)]
struct NoTens;

impl JsonCheck for NoTens {
    fn check(&self, value: &[u8]) -> Result<(), UnfitValue> {
        let fault = UnfitValue { pointer: "/id".to_owned(), message: "is ten".to_owned(), is_costly: false };
        if value.windows(2).any(|two| two == b"10") { Err(fault) } else { Ok(()) }
    }
}

fn registry() -> SchemaRegistryId {
    Uuid::from_u128(77).into()
}

fn compiled(kind: SchemaKind, text: &str) -> SchemaState {
    let registered = RegisteredSchema { kind, text: text.to_owned(), references: Vec::new() };
    let check = |_schema: &serde_json::Value| Ok(Box::new(NoTens) as Box<dyn JsonCheck>);
    SchemaState::Ready(Arc::new(CompiledSchema::compile(&registered, Some(&check)).unwrap()))
}

fn known() -> Known {
    let json = r#"{"title":"Order","type":"object"}"#;
    Known(
        [
            (SchemaId::Number(1), compiled(SchemaKind::Avro, AVRO)),
            (SchemaId::Number(2), compiled(SchemaKind::Protobuf, PROTOBUF)),
            (SchemaId::Number(3), compiled(SchemaKind::Json, json)),
            (SchemaId::Number(4), SchemaState::NotFound),
            (SchemaId::Number(5), SchemaState::Unusable("it is odd".into())),
            (SchemaId::Guid(Uuid::from_u128(9)), compiled(SchemaKind::Avro, AVRO)),
        ]
        .into(),
    )
}

fn source(format: SourceFormat) -> TopicSource {
    TopicSource { registry: Some(registry()), ..super::source(format) }
}

fn framed(id: u8, rest: &[u8]) -> Record {
    record(&[&[0, 0, 0, 0, id], rest].concat())
}

fn told(source: &TopicSource, record: &Record) -> String {
    told_against(source, record, Against { schemas: &known(), ..Against::default() })
}

#[test]
fn avro_becomes_json_that_templates_look_into() {
    let mut source = source(SourceFormat::Avro);
    source.id = Some("{value:/who}-{schema}".to_owned());
    let value = [&[14, 6], b"Ann".as_slice()].concat();
    let expected = r#"shop order.placed Ann-shop.Order -  {"id":7,"who":"Ann"}"#;
    assert_eq!(told(&source, &framed(1, &value)), expected);
    let mut guid = Headers::builder(1, 32);
    guid.push("__value_schema_id", &[[1].as_slice(), Uuid::from_u128(9).as_bytes()].concat());
    let bare = Record { headers: guid.build(), ..record(&value) };
    assert_eq!(told(&source, &bare), expected, "the header says it");
    let (mapping, at, record) = (Mapping::compile(&source).unwrap(), at(), framed(1, &value));
    let known = known();
    let mapped = mapping.map(&record, &at, Against { schemas: &known, ..Against::default() });
    let Mapped::Event(event) = mapped else { panic!("an event") };
    assert_eq!(event.headers.text(header::CONTENT_TYPE), Some("application/json"));
    let schema = format!("/schema_registries/{}/schemas/ids/1", registry());
    assert_eq!(event.headers.text(header::CE_DATASCHEMA), Some(schema.as_str()));
    source.payload = Some("/who".to_owned());
    assert!(told(&source, &record).ends_with(r#" "Ann""#));
}

#[test]
fn a_schema_that_is_not_here_is_waited_for_or_the_record_is_rejected() {
    let source = source(SourceFormat::Avro);
    assert_eq!(told(&source, &framed(6, b"x")), "needs schema 6");
    assert_eq!(told(&source, &framed(4, b"x")), "schema_not_found: the registry has no schema 4");
    assert_eq!(told(&source, &framed(5, b"x")), "schema_unusable: schema 5: it is odd");
}

#[test]
fn an_id_of_another_type_of_schema_is_rejected() {
    let told = |format, id| told(&source(format), &framed(id, &[0]));
    assert_eq!(told(SourceFormat::Avro, 2), "schema_unusable: schema 2 is Protobuf, the source's values are Avro");
    assert_eq!(told(SourceFormat::Protobuf, 1), "schema_unusable: schema 1 is Avro, the source's values are Protobuf");
}

#[test]
fn what_is_wrong_is_told_with_the_byte_of_the_value() {
    let source = source(SourceFormat::Avro);
    let cut = told(&source, &framed(1, &[14, 6, b'A']));
    assert_eq!(cut, "undecodable @byte 7: not a value of schema 1: a string takes 3 bytes, 1 are left, at byte 7");
    assert!(told(&source, &record(&[0, 0])).starts_with("undecodable @byte 0: the value has 2 bytes"));
    assert!(told(&source, &record(b"{}")).contains("begins with the byte 123"));
    let small = Against { schemas: &known(), decoded_limit: 10 };
    let value = [&[14, 6], b"Ann".as_slice()].concat();
    assert!(told_against(&source, &framed(1, &value), small).starts_with("too_large @byte"));
}

#[test]
fn protobuf_is_found_by_its_path() {
    let mut source = source(SourceFormat::Protobuf);
    source.id = Some("{value:/id}".to_owned());
    source.event_type = Some("{schema}".to_owned());
    assert_eq!(told(&source, &framed(2, &[2, 2, 8, 5])), r#"shop shop.Order 5 -  {"id":5}"#);
    assert_eq!(told(&source, &framed(2, &[0])), "shop shop.A - -  {}");
    let beyond = told(&source, &framed(2, &[2, 4, 8, 5]));
    assert_eq!(beyond, "undecodable @byte 5: schema 2 has no message at [2]");
    let negative = told(&source, &framed(2, &[1, 8, 5]));
    assert!(negative.starts_with("undecodable @byte 5: the indexes of the Protobuf message say -1"), "{negative}");
    assert!(told(&source, &framed(2, &[2, 2, 8])).starts_with("undecodable: not a value of schema 2: not a message"));
}

#[test]
fn json_behind_a_frame_is_kept_byte_for_byte_and_checked_where_that_is_asked_for() {
    let mut source = source(SourceFormat::JsonSchema);
    let record = framed(3, br#"{ "id" : 10 }"#);
    assert_eq!(told(&source, &record), r#"shop order.placed - -  { "id" : 10 }"#);
    assert!(told(&source, &framed(200, b"{}")).starts_with("shop"), "nobody needs the schema");
    source.id = Some("{schema}{value:/id}".to_owned());
    assert_eq!(told(&source, &record), r#"shop order.placed Order10 -  { "id" : 10 }"#);
    assert_eq!(told(&source, &framed(200, b"{}")), "needs schema 200");
    source.options = serde_json::from_str(r#"{"json_schema":{"validate":true}}"#).unwrap();
    assert_eq!(told(&source, &record), "schema_mismatch @/id: the value does not fit schema 3: is ten");
    assert!(told(&source, &framed(3, b"{")).starts_with("undecodable @byte 6: "));
}

#[test]
fn a_check_that_cannot_be_made_is_told_to_who_wants_one_alone() {
    let registered = RegisteredSchema {
        kind: SchemaKind::Json,
        text: r##"{"title":"Order","$ref":"#"}"##.to_owned(),
        references: Vec::new(),
    };
    let refused = |_schema: &serde_json::Value| Err("it refers to itself".to_owned());
    let state = SchemaState::Ready(Arc::new(CompiledSchema::compile(&registered, Some(&refused)).unwrap()));
    let known = Known([(SchemaId::Number(1), state)].into());
    let mut source = source(SourceFormat::JsonSchema);
    source.id = Some("{schema}{value:/id}".to_owned());
    let told = |source: &TopicSource| {
        told_against(source, &framed(1, br#"{"id":7}"#), Against { schemas: &known, ..Against::default() })
    };
    assert_eq!(told(&source), r#"shop order.placed Order7 -  {"id":7}"#);
    source.options = serde_json::from_str(r#"{"json_schema":{"validate":true}}"#).unwrap();
    let expected = "schema_unusable: schema 1: not a JSON Schema that can be checked with: it refers to itself";
    assert_eq!(told(&source), expected);
}

#[test]
fn debezium_comes_through_a_registry_too() {
    let envelope = r#"{"type":"record","name":"x.Envelope","fields":[{"name":"op","type":"string"},
        {"name":"source","type":{"type":"record","name":"x.Source","fields":[{"name":"table","type":"string"}]}}]}"#;
    let mut known = known();
    known.0.insert(SchemaId::Number(8), compiled(SchemaKind::Avro, envelope));
    let against = Against { schemas: &known, ..Against::default() };
    let source = TopicSource { event_type: None, ..source(SourceFormat::Debezium) };
    let told = |record: &Record| told_against(&source, record, against);
    let value = [&[2, b'c', 10], b"users".as_slice()].concat();
    assert_eq!(told(&framed(8, &value)), r#"shop users.created - -  {"op":"c","source":{"table":"users"}}"#);
    assert_eq!(told(&framed(8, &[2, b'r', 2, b't'])), "skipped snapshot");
    let json = framed(3, br#"{"op":"d","source":{"table":"users"}}"#);
    assert!(told(&json).starts_with("shop users.deleted "));
    assert!(told(&record(br#"{"op":"d","source":{"table":"users"}}"#)).starts_with("shop users.deleted "), "bare JSON");
}

#[test]
fn a_key_has_a_schema_of_its_own() {
    let mut source = source(SourceFormat::Avro);
    source.id = Some("{key:/id}".to_owned());
    let value = [&[14, 6], b"Ann".as_slice()].concat();
    let key = |bytes: &[u8]| Record { key: Some(bytes.to_vec().into()), ..framed(1, &value) };
    let avro = key(&[&[0, 0, 0, 0, 1, 18], [2, b'x'].as_slice()].concat());
    assert!(told(&source, &avro).starts_with("shop order.placed 9 "));
    let protobuf = key(&[0, 0, 0, 0, 2, 2, 2, 8, 4]);
    assert!(told(&source, &protobuf).starts_with("shop order.placed 4 "), "a key may be of another kind");
    assert!(told(&source, &key(br#"{"id":3}"#)).starts_with("shop order.placed 3 "), "or no frame's at all");
    assert_eq!(told(&source, &key(&[0, 0, 0, 0, 6, 1])), "needs schema 6");
    let broken = told(&source, &key(&[0, 0, 0, 0, 1]));
    assert!(broken.starts_with("undecodable: the key: not a value of schema 1"), "{broken}");
}

#[test]
fn json_behind_a_frame_has_a_schema_s_name_where_a_registry_is_named() {
    let mut source = source(SourceFormat::Json);
    source.id = Some("{value:/id}".to_owned());
    assert_eq!(
        told(&source, &framed(200, br#"{"id":7}"#)),
        r#"shop order.placed 7 -  {"id":7}"#,
        "nobody needs the schema"
    );
    assert_eq!(told(&source, &record(br#"{"id":7}"#)), r#"shop order.placed 7 -  {"id":7}"#, "it may be bare");
    let (mapping, at, framed_record) = (Mapping::compile(&source).unwrap(), at(), framed(3, br#"{"id":7}"#));
    let Mapped::Event(event) = mapping.map(&framed_record, &at, Against::default()) else { panic!("an event") };
    let schema = format!("/schema_registries/{}/schemas/ids/3", registry());
    assert_eq!(event.headers.text(header::CE_DATASCHEMA), Some(schema.as_str()));
    source.event_type = Some("{schema}".to_owned());
    source.default_type = Some("order.bare".to_owned());
    assert!(told(&source, &framed(3, br#"{"id":7}"#)).starts_with("shop Order 7 "));
    assert!(told(&source, &record(br#"{"id":7}"#)).starts_with("shop order.bare 7 "));
    assert_eq!(told(&source, &framed(200, br#"{"id":7}"#)), "needs schema 200");
    source.id = Some("{key:/id}".to_owned());
    source.event_type = Some("order.placed".to_owned());
    let key = [0, 0, 0, 0, 1, 18, 2, b'x'];
    let keyed = Record { key: Some(key.to_vec().into()), ..framed(200, b"{}") };
    assert!(told(&source, &keyed).starts_with("shop order.placed 9 "), "a framed key is read by its schema");
    source.options = serde_json::from_str(r#"{"json":{"frame":"none"}}"#).unwrap();
    assert_eq!(Mapping::compile(&source).unwrap_err().field, "registry");
}
