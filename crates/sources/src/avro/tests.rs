//! The decoder beside the library's encoder, and what strangers' bytes may not do to it.

use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use proptest::prelude::*;
use schemas::control::{AvroUnions, LogicalTypes};
use schemas::varint;
use serde_json::{Value, json};

use super::*;
use crate::schema::{RegisteredSchema, SchemaKind, SchemaReference};

const LIMIT: usize = 700_000;
const PLAIN: AvroOptions = AvroOptions { unions: AvroUnions::Plain, logical_types: LogicalTypes::Readable };
const NESTED: AvroOptions = AvroOptions { unions: AvroUnions::Avro, logical_types: LogicalTypes::Readable };
const RAW: AvroOptions = AvroOptions { unions: AvroUnions::Plain, logical_types: LogicalTypes::Raw };

fn plan(schema: &Value) -> AvroPlan {
    let registered = RegisteredSchema { kind: SchemaKind::Avro, text: schema.to_string(), references: Vec::new() };
    AvroPlan::compile(&registered).unwrap()
}

fn decoded(schema: &Value, bytes: &[u8], options: AvroOptions) -> Result<String, AvroFault> {
    plan(schema).decode(bytes, options, LIMIT).map(|json| String::from_utf8(json).unwrap())
}

fn refused(schema: &Value, bytes: &[u8]) -> (usize, String) {
    let fault = decoded(schema, bytes, PLAIN).unwrap_err();
    (fault.at, fault.what.into_owned())
}

/// Zigzag varints, as Avro writes whole numbers.
fn longs(numbers: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in numbers {
        varint::push(&mut bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
    }
    bytes
}

fn long_list() -> Value {
    json!({"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]})
}

#[test]
fn a_type_of_many_aliases_is_refused_before_the_library_copies_it_for_each() {
    let of = |aliases: usize| {
        let aliases: Vec<String> = (0..aliases).map(|it| format!("a{it}")).collect();
        let inner = json!({"type": "enum", "name": "E", "aliases": aliases, "symbols": ["A"]});
        let middle = json!({"type": "record", "name": "M", "fields": [{"name": "e", "type": inner}]});
        let schema = json!({"type": "record", "name": "R", "fields": [{"name": "m", "type": middle}]});
        let registered = RegisteredSchema { kind: SchemaKind::Avro, text: schema.to_string(), references: Vec::new() };
        AvroPlan::compile(&registered)
    };
    let why = of(10_000).unwrap_err().detail;
    assert_eq!(why, "its named types and their aliases are too large to be compiled");
    assert!(of(5).is_ok());
}

#[test]
fn records_unions_enums_and_names() {
    let schema = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "id", "type": "long"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}},
        {"name": "again", "type": ["null", "Kind"]},
        {"name": "tags", "type": {"type": "map", "values": {"type": "array", "items": "boolean"}}},
        {"name": "f", "type": "float"}, {"name": "d", "type": "double"},
        {"name": "b", "type": "bytes"}, {"name": "x", "type": {"type": "fixed", "name": "Two", "size": 2}},
    ]});
    let bytes = [
        longs(&[-7, 1, 2]),
        b"\"\n".to_vec(),
        longs(&[1, 1, 0, 1, 1]),
        b"k".to_vec(),
        longs(&[2]),
        vec![1, 0],
        longs(&[0, 0]),
        f32::NAN.to_le_bytes().to_vec(),
        0.1_f64.to_le_bytes().to_vec(),
        longs(&[1]),
        vec![255, 1, 2],
    ]
    .concat();
    let expected = r#"{"id":-7,"note":"\"\n","kind":"OLD","again":"NEW","tags":{"k":[true,false]},"f":"NaN","d":0.1,"b":"/w==","x":"AQI="}"#;
    assert_eq!(decoded(&schema, &bytes, PLAIN).unwrap(), expected);
    let nested = decoded(&schema, &bytes, NESTED).unwrap();
    assert!(
        nested.contains(r#""note":{"string":"\"\n"},"#) && nested.contains(r#""again":{"shop.Kind":"NEW"}"#),
        "{nested}"
    );
    assert_eq!(plan(&schema).name(), Some("shop.Order"));
}

#[test]
fn logical_types_are_readable_or_raw() {
    let of =
        |schema: &Value, bytes: &[u8]| (decoded(schema, bytes, PLAIN).unwrap(), decoded(schema, bytes, RAW).unwrap());
    let both = |readable: &str, raw: &str| (readable.to_owned(), raw.to_owned());
    let logical = |of: &str, name: &str| json!({"type": of, "logicalType": name});
    let fixed = |size: u32, name: &str| json!({"type": "fixed", "name": "F", "size": size, "logicalType": name});
    assert_eq!(of(&logical("int", "date"), &longs(&[19_782])), both(r#""2024-02-29""#, "19782"));
    assert_eq!(of(&logical("int", "time-millis"), &longs(&[37_800_007])), both(r#""10:30:00.007""#, "37800007"));
    assert_eq!(of(&logical("long", "time-micros"), &longs(&[1])), both(r#""00:00:00.000001""#, "1"));
    let at = longs(&[1_700_000_000_000]);
    assert_eq!(of(&logical("long", "timestamp-millis"), &at), both(r#""2023-11-14T22:13:20.000Z""#, "1700000000000"));
    assert_eq!(of(&logical("long", "local-timestamp-millis"), &at).0, r#""2023-11-14T22:13:20.000""#);
    assert_eq!(of(&logical("long", "timestamp-micros"), &longs(&[-1])).0, r#""1969-12-31T23:59:59.999999Z""#);
    assert_eq!(of(&logical("long", "timestamp-nanos"), &longs(&[1])).0, r#""1970-01-01T00:00:00.000000001Z""#);
    let duration = [1_u32.to_le_bytes(), 2_u32.to_le_bytes(), 3_500_u32.to_le_bytes()].concat();
    assert_eq!(of(&fixed(12, "duration"), &duration), both(r#""P1M2DT3.500S""#, r#""AQAAAAIAAACsDQAA""#));
    assert_eq!(of(&fixed(12, "duration"), &[0; 12]).0, r#""PT0S""#);
    let uuid = r#""07070707-0707-0707-0707-070707070707""#;
    assert_eq!(of(&fixed(16, "uuid"), &[7; 16]), both(uuid, r#""BwcHBwcHBwcHBwcHBwcHBw==""#));
    let text = [longs(&[36]), b"07070707-0707-0707-0707-070707070707".to_vec()].concat();
    assert_eq!(of(&logical("string", "uuid"), &text), both(uuid, uuid));
    let far = refused(&logical("long", "timestamp-millis"), &longs(&[i64::MAX]));
    assert!(far.1.contains("is not a timestamp that RFC 3339 can write"), "{far:?}");
    assert!(refused(&logical("int", "time-millis"), &longs(&[86_400_000])).1.contains("not a time of day"));
    assert_eq!(
        decoded(&logical("int", "no-such"), &longs(&[3]), PLAIN).unwrap(),
        "3",
        "unknown ones are what they are made of"
    );
}

#[test]
fn decimals_keep_every_digit() {
    let schema = |scale: u32| json!({"type": "bytes", "logicalType": "decimal", "precision": 200, "scale": scale});
    let decimal = |scale, bytes: &[u8]| {
        let bytes = [longs(&[i64::try_from(bytes.len()).unwrap()]), bytes.to_vec()].concat();
        decoded(&schema(scale), &bytes, PLAIN)
    };
    for (scale, bytes, expected) in [
        (2, [0x04, 0xce].as_slice(), "12.30"),
        (2, &[0xfb, 0x32], "-12.30"),
        (2, &[5], "0.05"),
        (3, &[0xff], "-0.001"),
        (0, &[0x7f], "127"),
        (0, &[0x80], "-128"),
        (2, &[], "0.00"),
        (0, &[0, 0, 0, 1, 0], "256"),
        (
            0,
            &[0x7f, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
            "170141183460469231731687303715884105727",
        ),
        (0, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "-170141183460469231731687303715884105728"),
    ] {
        assert_eq!(decimal(scale, bytes).unwrap(), format!("\"{expected}\""));
    }
    assert!(decimal(0, &[1; 257]).unwrap_err().what.contains("at most 256"));
    let fixed = json!({"type": "fixed", "name": "D", "size": 2, "logicalType": "decimal", "precision": 4, "scale": 2});
    assert_eq!(decoded(&fixed, &[0x04, 0xce], PLAIN).unwrap(), r#""12.30""#);
    assert_eq!(decoded(&fixed, &[0x04, 0xce], RAW).unwrap(), r#""BM4=""#);
}

#[test]
fn a_value_that_is_cut_off_at_any_byte_is_rejected() {
    let schema = json!({"type": "record", "name": "R", "fields": [
        {"name": "s", "type": "string"}, {"name": "b", "type": "boolean"}, {"name": "u", "type": ["null", "long"]},
        {"name": "a", "type": {"type": "array", "items": "int"}}, {"name": "d", "type": "double"},
    ]});
    let bytes = [longs(&[3]), b"abc".to_vec(), vec![1], longs(&[1, 300, 2, 7, 8, 0]), vec![0; 8]].concat();
    assert!(decoded(&schema, &bytes, PLAIN).is_ok());
    for length in 0..bytes.len() {
        let (at, what) = refused(&schema, &bytes[..length]);
        assert!(at <= length, "{length}: {what} at {at}");
    }
}

#[test]
fn trailing_bytes_are_rejected() {
    assert_eq!(refused(&json!("int"), &[2, 0]), (1, "1 bytes follow the value".to_owned()));
    assert_eq!(refused(&json!("null"), &[0]).0, 0);
}

#[test]
fn a_block_count_of_2_to_the_62_is_rejected() {
    let schema = json!({"type": "array", "items": "string"});
    assert!(refused(&schema, &longs(&[1 << 62])).1.contains("cut off"));
    let least = refused(&schema, &longs(&[i64::MIN, 0]));
    assert!(least.1.contains("cut off"), "{least:?}");
}

#[test]
fn a_negative_block_with_a_wrong_size_is_rejected() {
    let schema = json!({"type": "array", "items": "int"});
    assert_eq!(decoded(&schema, &longs(&[-2, 2, 5, 6, 0]), PLAIN).unwrap(), "[5,6]");
    for size in [1, 3] {
        let (at, what) = refused(&schema, &longs(&[-2, size, 5, 6, 0]));
        assert!(at == 0 && what.contains("says that it ends at byte"), "{what}");
    }
    for size in [100, -1] {
        assert!(refused(&schema, &longs(&[-2, size, 5, 6, 0])).1.contains("more than there are"));
    }
}

#[test]
fn a_union_index_out_of_range_is_rejected() {
    let schema = json!(["null", "int"]);
    for index in [2, -1, i64::MAX] {
        assert!(refused(&schema, &longs(&[index])).1.contains("none of the 2 types of the union"));
    }
    let symbols = json!({"type": "enum", "name": "E", "symbols": ["A"]});
    assert!(refused(&symbols, &longs(&[1])).1.contains("none of the 1 symbols"));
}

#[test]
fn a_hundred_thousand_nested_records_are_rejected_without_a_stack() {
    let (at, what) = refused(&long_list(), &longs(&vec![1; 100_000]));
    assert!(what.contains("nested more than 64 levels deep") && at < 100, "{what}");
    let deepest = longs(&[vec![1; MAX_AVRO_DEPTH - 1], vec![0]].concat());
    assert!(decoded(&long_list(), &deepest, PLAIN).is_ok());
    // A type that is its own field takes no bytes at all.
    let endless = json!({"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]});
    assert!(refused(&endless, &[]).1.contains("nested more than"));
}

#[test]
fn six_bytes_that_are_a_billion_nulls_are_too_large() {
    let schema = json!({"type": "array", "items": "null"});
    let bytes = longs(&[1_000_000_000, 0]);
    assert_eq!(bytes.len(), 6);
    let fault = decoded(&schema, &bytes, PLAIN).unwrap_err();
    assert!(fault.is_too_large);
    // And a record whose JSON is ten times as large as itself.
    let fault = plan(&json!("bytes")).decode(&[longs(&[900]), vec![0; 900]].concat(), PLAIN, 1_000).unwrap_err();
    assert!(fault.is_too_large);
}

#[test]
fn numbers_booleans_and_texts_that_are_none_are_rejected() {
    assert!(refused(&json!("int"), &longs(&[1 << 31])).1.contains("no number of 32 bits"));
    assert!(refused(&json!("long"), &[0xff; 11]).1.contains("more than 64 bits"));
    assert!(refused(&json!("boolean"), &[2]).1.contains("no boolean"));
    assert_eq!(refused(&json!("string"), &[4, b'a', 0xff]).0, 2, "the byte that is not UTF-8");
    assert!(refused(&json!("string"), &longs(&[-1])).1.contains("cannot have -1 bytes"));
    assert!(refused(&json!("bytes"), &longs(&[i64::MAX])).1.contains("are left"));
}

#[test]
fn references_are_found_in_any_order_and_what_is_not_defined_is_told() {
    let text =
        r#"{"type":"record","name":"a.Order","fields":[{"name":"of","type":"a.User"},{"name":"in","type":"a.Place"}]}"#;
    let user = r#"{"type":"record","name":"a.User","aliases":["Old"],"fields":[{"name":"at","type":"a.Place"}]}"#;
    let place = r#"{"type":"record","name":"a.Place","fields":[{"name":"n","type":"int"}]}"#;
    let reference = |name: &str, text: &str| SchemaReference { name: name.to_owned(), text: text.to_owned() };
    let (user, place) = (reference("a.User", user), reference("a.Place", place));
    for references in [vec![user.clone(), place.clone()], vec![place, user.clone()]] {
        let registered = RegisteredSchema { kind: SchemaKind::Avro, text: text.to_owned(), references };
        let json = AvroPlan::compile(&registered).unwrap().decode(&longs(&[5, 6]), PLAIN, LIMIT).unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"of":{"at":{"n":5}},"in":{"n":6}}"#);
    }
    let missing = RegisteredSchema { kind: SchemaKind::Avro, text: text.to_owned(), references: vec![user] };
    assert!(AvroPlan::compile(&missing).unwrap_err().detail.contains("a.Place"));
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(600), "}".repeat(600));
    let deep = RegisteredSchema { kind: SchemaKind::Avro, text: deep, references: Vec::new() };
    assert!(AvroPlan::compile(&deep).unwrap_err().detail.contains("too deeply"));
}

/// A schema, a value of it for the library's encoder, and the JSON it must become.
type Made = (Value, AvroValue, Value);

fn made() -> impl Strategy<Value = Made> {
    let leaf = prop_oneof![
        Just((json!("null"), AvroValue::Null, Value::Null)),
        any::<bool>().prop_map(|it| (json!("boolean"), AvroValue::Boolean(it), json!(it))),
        any::<i32>().prop_map(|it| (json!("int"), AvroValue::Int(it), json!(it))),
        any::<i64>().prop_map(|it| (json!("long"), AvroValue::Long(it), json!(it))),
        any::<f64>().prop_filter("a number", |it| it.is_finite()).prop_map(|it| (
            json!("double"),
            AvroValue::Double(it),
            json!(it)
        )),
        ".{0,20}".prop_map(|it| (json!("string"), AvroValue::String(it.clone()), json!(it))),
        any::<i128>().prop_map(|it| {
            let schema = json!({"type": "bytes", "logicalType": "decimal", "precision": 40});
            (schema, AvroValue::Decimal(Decimal::from(it.to_be_bytes().to_vec())), json!(it.to_string()))
        }),
        (0..2_932_896_i32).prop_map(|days| {
            let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days);
            (json!({"type": "int", "logicalType": "date"}), AvroValue::Date(days), json!(date.to_string()))
        }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0_usize..4).prop_map(|((schema, value, json), count)| {
                let schema = json!({"type": "array", "items": schema});
                (schema, AvroValue::Array(vec![value; count]), Value::Array(vec![json; count]))
            }),
            (inner.clone(), "[a-z\"]{0,3}").prop_map(|((schema, value, json), key)| {
                let schema = json!({"type": "map", "values": schema});
                (schema, AvroValue::Map([(key.clone(), value)].into()), json!({ key: json }))
            }),
            proptest::collection::vec(inner, 0..4).prop_map(|fields| {
                let name = |at: usize| format!("f{at}");
                let schemas: Vec<Value> = fields
                    .iter()
                    .enumerate()
                    .map(|(at, (schema, ..))| json!({"name": name(at), "type": schema}))
                    .collect();
                let values = fields.iter().enumerate().map(|(at, (_, value, _))| (name(at), value.clone())).collect();
                let json = fields.iter().enumerate().map(|(at, (.., json))| (name(at), json.clone())).collect();
                (
                    json!({"type": "record", "name": "R", "fields": schemas}),
                    AvroValue::Record(values),
                    Value::Object(json),
                )
            }),
        ]
    })
}

/// Gives each record of a schema a name of its own.
fn named(schema: &mut Value, next: &mut u32) {
    match schema {
        Value::Object(members) => {
            if members.get("name") == Some(&json!("R")) {
                *next += 1;
                members.insert("name".to_owned(), json!(format!("R{next}")));
            }
            members.values_mut().for_each(|member| named(member, next));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| named(item, next)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn what_the_librarys_encoder_writes_is_read((mut schema, value, json) in made(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        named(&mut schema, &mut 0);
        let parsed = Schema::parse(&schema).unwrap();
        let mut bytes = GenericDatumWriter::builder(&parsed).build().unwrap().write_value_to_vec(value).unwrap();
        let plan = plan(&schema);
        let read = plan.decode(&bytes, PLAIN, LIMIT).unwrap();
        let read: Value = serde_json::from_slice(&read).unwrap();
        // Both from their text: reading a number may take its last digit.
        let json: Value = serde_json::from_str(&json.to_string()).unwrap();
        prop_assert_eq!(read, json);
        // Bytes that are no value of it are refused, or become JSON all the same.
        if !bytes.is_empty() {
            let at = cut.index(bytes.len());
            prop_assert!(plan.decode(&bytes[..at], PLAIN, LIMIT).is_err(), "cut off at {at}");
            bytes[at] = byte;
            if let Ok(json) = plan.decode(&bytes, NESTED, LIMIT) {
                prop_assert!(serde_json::from_slice::<Value>(&json).is_ok());
            }
        }
    }
}
