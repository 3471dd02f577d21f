//! Files as registries give them, paths to messages, and the canonical JSON in one order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::control::{ProtobufFieldNames, ProtobufInt64};
use schemas::varint;
use smallvec::SmallVec;

use super::*;
use crate::schema::{RegisteredSchema, SchemaKind, SchemaReference};

const LIMIT: usize = 700_000;
const ORDER: &str = r#"
    syntax = "proto3"; package shop; import "user.proto"; import "google/protobuf/timestamp.proto";
    import "google/protobuf/any.proto"; import "google/protobuf/wrappers.proto"; import "google/protobuf/struct.proto";
    message Order {
      map<string, int32> counts = 1; int64 order_id = 2; Kind kind = 3; bytes data = 4; User by = 5;
      google.protobuf.Timestamp at = 6; repeated double prices = 7; google.protobuf.Any any = 8; Line line = 9;
      google.protobuf.DoubleValue rate = 10; Order next = 11; google.protobuf.Struct more = 12;
      enum Kind { NEW = 0; OLD = 1; }
      message Line { string sku = 1; message Part { bool ok = 1; } }
      message Other {}
    }
    message Second { uint32 n = 1; }
"#;
const USER: &str = r#"syntax = "proto3"; package shop; message User { string name = 1; }"#;

fn registered(text: &str, references: &[(&str, &str)]) -> RegisteredSchema {
    let reference =
        |(name, text): &(&str, &str)| SchemaReference { name: (*name).to_owned(), text: (*text).to_owned() };
    let references = references.iter().map(reference).collect();
    RegisteredSchema { kind: SchemaKind::Protobuf, text: text.to_owned(), references }
}

fn order() -> ProtobufFile {
    ProtobufFile::compile(&registered(ORDER, &[("user.proto", USER)])).unwrap()
}

fn name(file: &ProtobufFile, indexes: &[usize]) -> Option<String> {
    file.message(&SmallVec::from_slice(indexes)).map(|message| message.full_name().to_owned())
}

/// A field of bytes: a string, bytes, a message.
fn sized(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    varint::push(&mut field, number << 3 | 2);
    varint::push(&mut field, bytes.len() as u64);
    field.extend_from_slice(bytes);
    field
}

fn number(number: u64, value: u64) -> Vec<u8> {
    let mut field = Vec::new();
    varint::push(&mut field, number << 3);
    varint::push(&mut field, value);
    field
}

fn decoded(bytes: &[u8], options: ProtobufOptions) -> Result<String, ProtobufFault> {
    let message = order().message(&SmallVec::from_slice(&[0])).unwrap();
    ProtobufFile::decode(message, bytes, options, LIMIT).map(|json| String::from_utf8(json).unwrap())
}

fn json(bytes: &[u8]) -> String {
    decoded(bytes, ProtobufOptions::default()).unwrap()
}

#[test]
fn paths_lead_to_messages_and_an_index_beyond_the_file_to_none() {
    let file = order();
    assert_eq!(name(&file, &[0]).as_deref(), Some("shop.Order"));
    assert_eq!(name(&file, &[1]).as_deref(), Some("shop.Second"));
    assert_eq!(name(&file, &[0, 0]).as_deref(), Some("shop.Order.Line"), "entries of maps stand in no text");
    assert_eq!(name(&file, &[0, 0, 0]).as_deref(), Some("shop.Order.Line.Part"));
    assert_eq!(name(&file, &[0, 1]).as_deref(), Some("shop.Order.Other"));
    for beyond in [[2].as_slice(), &[0, 2], &[1, 0], &[usize::MAX], &[0, 0, 0, 0]] {
        assert_eq!(name(&file, beyond), None, "{beyond:?}");
    }
}

#[test]
fn a_descriptor_in_base64_is_a_schema_too() {
    let descriptor = order().file.file_descriptor_proto().clone();
    let text = STANDARD.encode(protox::prost::Message::encode_to_vec(&descriptor));
    let user = ProtobufFile::compile(&registered(USER, &[])).unwrap();
    let user = STANDARD.encode(protox::prost::Message::encode_to_vec(user.file.file_descriptor_proto()));
    for user in [USER, user.as_str()] {
        let file = ProtobufFile::compile(&registered(&text, &[("user.proto", user)])).unwrap();
        assert_eq!(name(&file, &[1]).as_deref(), Some("shop.Second"));
        let entry = descriptor.message_type[0].nested_type.iter().position(|it| it.name() == "CountsEntry").unwrap();
        let line = descriptor.message_type[0].nested_type.iter().position(|it| it.name() == "Line").unwrap();
        assert_eq!(name(&file, &[0, entry]).as_deref(), Some("shop.Order.CountsEntry"));
        assert_eq!(name(&file, &[0, line]).as_deref(), Some("shop.Order.Line"));
    }
}

#[test]
fn messages_become_canonical_json() {
    let bytes = [
        number(2, (-5_i64).cast_unsigned()),
        number(3, 1),
        sized(4, &[255]),
        sized(5, &sized(1, b"Ann\"")),
        sized(6, &number(1, 1_700_000_000)),
        sized(7, &[1.5_f64.to_le_bytes(), f64::NAN.to_le_bytes()].concat()),
        sized(10, &[[9].as_slice(), &f64::INFINITY.to_le_bytes()].concat()),
        number(99, 7),
    ]
    .concat();
    let expected = r#"{"orderId":"-5","kind":"OLD","data":"/w==","by":{"name":"Ann\""},"at":"2023-11-14T22:13:20Z","prices":[1.5,"NaN"],"rate":"Infinity"}"#;
    assert_eq!(json(&bytes), expected);
    let other =
        ProtobufOptions { field_names: ProtobufFieldNames::Original, int64: ProtobufInt64::Number, defaults: true };
    let told = decoded(&number(3, 7), other).unwrap();
    assert_eq!(told, r#"{"counts":{},"order_id":0,"kind":7,"data":"","prices":[]}"#);
    assert_eq!(json(&[]), "{}");
}

#[test]
fn maps_are_written_in_the_order_of_their_keys() {
    let entry = |key: &str, value| sized(1, &[sized(1, key.as_bytes()), number(2, value)].concat());
    let keys: Vec<String> = (0..40).map(|at| format!("k{at:02}")).collect();
    let bytes: Vec<u8> = keys.iter().rev().flat_map(|key| entry(key, 1)).collect();
    let expected: Vec<String> = keys.iter().map(|key| format!("\"{key}\":1")).collect();
    assert_eq!(json(&bytes), format!("{{\"counts\":{{{}}}}}", expected.join(",")));
}

#[test]
fn an_any_is_what_it_holds_and_one_of_an_unknown_type_is_rejected() {
    let any = |name: &str, value: &[u8]| {
        let url = format!("type.googleapis.com/{name}");
        sized(8, &[sized(1, url.as_bytes()), sized(2, value)].concat())
    };
    let second = any("shop.Second", &number(1, 3));
    assert_eq!(json(&second), r#"{"any":{"@type":"type.googleapis.com/shop.Second","n":3}}"#);
    let duration = any("google.protobuf.Timestamp", &number(1, 0));
    assert!(json(&duration).contains(r#""value":"1970-01-01T00:00:00Z""#));
    let unknown = decoded(&any("x.Y", &[]), ProtobufOptions::default()).unwrap_err();
    assert!(unknown.what.contains("`x.Y`, which the schema does not have"), "{}", unknown.what);
    assert_eq!(json(&sized(8, &[])), r#"{"any":{}}"#);
}

#[test]
fn anys_in_anys_and_messages_in_messages_have_a_bottom() {
    let mut any = Vec::new();
    for _ in 0..2_000 {
        let url = b"t/google.protobuf.Any";
        any = [sized(1, url), sized(2, &any)].concat();
    }
    let deep = decoded(&sized(8, &any), ProtobufOptions::default()).unwrap_err();
    assert!(deep.what.contains("nested more than 64"), "{}", deep.what);
    let mut order = Vec::new();
    for _ in 0..2_000 {
        order = sized(11, &order);
    }
    assert!(decoded(&order, ProtobufOptions::default()).is_err());
}

#[test]
fn json_beyond_the_limit_is_too_large() {
    let message = order().message(&SmallVec::from_slice(&[0])).unwrap();
    let bytes = sized(4, &[0; 900]);
    let fault = ProtobufFile::decode(message.clone(), &bytes, ProtobufOptions::default(), 1_000).unwrap_err();
    assert!(fault.is_too_large);
    let text = sized(12, &sized(1, &[sized(1, b"k"), sized(2, &sized(3, &[b'x'; 2_000]))].concat()));
    let fault = ProtobufFile::decode(message, &text, ProtobufOptions::default(), 1_000).unwrap_err();
    assert!(fault.is_too_large, "{}", fault.what);
}

#[test]
fn what_would_fill_the_memory_is_too_large_before_it_is_decoded() {
    let anys = |count: usize| [66_u8, 0].repeat(count);
    let parts = |count: usize| sized(1, &[sized(1, b"k"), number(2, 1)].concat()).repeat(count);
    let packed = |count: usize| sized(7, &vec![0_u8; count * 8]);
    let url = b"t/shop.Order";
    let inside = |bytes: &[u8]| sized(8, &[sized(1, url), sized(2, bytes)].concat());
    let group = |count: usize| [[0x7b].as_slice(), &[0x0b, 0x0c].repeat(count), &[0x7c]].concat();
    for (fits, too_many) in [
        (anys(LIMIT / 8 - 1), anys(LIMIT / 8 + 1)),
        (parts(LIMIT / 8 - 1), parts(LIMIT / 8 + 1)),
        (packed(LIMIT / 2 - 2), packed(LIMIT / 2 + 2)),
        (number(99, 1).repeat(LIMIT / 2 - 1), number(99, 1).repeat(LIMIT / 2 + 1)),
        (inside(&anys(LIMIT / 8 - 2)), inside(&anys(LIMIT / 8 + 1))),
        (group(LIMIT / 8 - 2), group(LIMIT / 8 + 1)),
    ] {
        let message = order().message(&SmallVec::from_slice(&[0])).unwrap();
        let told = |bytes: &[u8]| {
            let mut allowance = TreeAllowance::new(LIMIT);
            allowance.take(&message, bytes).map_err(|fault| fault.is_too_large)
        };
        assert_eq!(told(&fits), Ok(()));
        let decoded = decoded(&too_many, ProtobufOptions::default()).unwrap_err();
        assert!(decoded.is_too_large && decoded.what.contains("messages or elements"), "{}", decoded.what);
    }
}

#[test]
fn bytes_that_are_no_message_are_rejected() {
    for bytes in [[0x2a, 0xff].as_slice(), &[0x12], &[0xff; 12], &[0x0b]] {
        let fault = decoded(bytes, ProtobufOptions::default()).unwrap_err();
        assert!(fault.what.contains("not a message `shop.Order`") && !fault.is_too_large, "{}", fault.what);
    }
}

#[test]
fn a_file_weighs_what_its_fields_take_and_too_many_are_refused_before_they_are_compiled() {
    let of = |fields: usize| {
        let fields: String = (1..=fields).map(|number| format!("bool f{number}={number};")).collect();
        ProtobufFile::compile(&registered(&format!(r#"syntax = "proto3"; message M {{{fields}}}"#), &[]))
    };
    let file = of(10_000).unwrap();
    assert!(file.weight() >= 10_000_000, "{}", file.weight());
    assert!(file.file.file_descriptor_proto().source_code_info.is_none());
    let why = of(100_001).unwrap_err().detail;
    assert_eq!(why, "it has more than about 100000 messages, fields and values");
}

#[test]
fn what_is_no_schema_is_told() {
    let fault = |text: &str, references: &[(&str, &str)]| {
        ProtobufFile::compile(&registered(text, references)).unwrap_err().detail
    };
    assert!(fault("message {", &[]).contains("not a Protobuf schema"));
    assert!(fault(ORDER, &[]).contains("user.proto"), "{}", fault(ORDER, &[]));
    let cycle = r#"syntax = "proto3"; import "b.proto"; message A {}"#;
    assert!(fault(cycle, &[("b.proto", r#"syntax = "proto3"; import "b.proto"; message B {}"#)]).contains("schema"));
    assert!(!fault("AAAA", &[]).is_empty());
}
