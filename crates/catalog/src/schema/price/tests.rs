//! The worst that schemas and payloads can do to a thread is refused before it begins; the usual is not. Prices, never times:
//! `MAX_CHECK_NS` is what they were measured against.

use serde_json::json;

use super::*;
use crate::schema::{MAX_SCHEMA_BYTES, Schema, Unfit};

/// The largest payload an event has by default.
const PAYLOAD: usize = 524_288;

fn repeated(head: &str, part: &str, tail: &str, bytes: usize) -> Vec<u8> {
    let count = bytes.saturating_sub(head.len() + tail.len()) / part.len();
    let parts = part.repeat(count);
    format!("{head}{}{tail}", parts.trim_end_matches(',')).into_bytes()
}

fn list(part: &str, bytes: usize) -> Vec<u8> {
    repeated("[", &format!("{part},"), "]", bytes)
}

fn is_refused(schema: Value, payload: &[u8]) -> bool {
    assert!(schema.to_string().len() <= MAX_SCHEMA_BYTES, "the schema itself is one that is taken");
    matches!(Schema::compile(&schema).unwrap().check(payload), Err(Unfit::TooCostly { .. }))
}

/// Sixteen patterns, the largest table of each as far as it goes beyond every cache.
fn patterns(of: impl Fn(usize) -> String) -> Value {
    let each: Vec<Value> = (0..16).map(|number| json!({"not": {"pattern": of(number)}})).collect();
    json!({ "allOf": each })
}

#[test]
fn the_worst_that_a_schema_can_ask_for_is_not_begun() {
    let mixed: Vec<f64> = (0..8_000).map(|number| f64::from(number) + 0.5).collect();
    assert!(is_refused(json!({"items": {"enum": mixed}}), &list("7.5", 80_000)));
    assert!(is_refused(json!({"items": {"items": {"enum": mixed}}}), &list("[1.5]", 80_000)));
    let texts: Vec<Value> = (0..4_000).map(|number| json!(format!("t{number}"))).chain([json!(1)]).collect();
    assert!(is_refused(json!({"items": {"enum": texts}}), &list("\"t3999\"", 80_000)));
    let deep: Vec<Value> = (0..8_000).map(|number| json!([number])).collect();
    assert!(is_refused(json!({"items": {"const": deep}}), &list("[[1]]", PAYLOAD)));

    let text = json!("ab".repeat(10_000)).to_string();
    assert!(is_refused(patterns(|number| format!("[ab]*a[ab]{{{}}}c", 300 + number)), text.as_bytes()));
    let names = patterns(|number| format!("(a|b)*a(a|b){{{}}}c", 100 + number));
    let name = format!("{{\"{}\":1}}", "ab".repeat(10_000));
    assert!(is_refused(json!({"propertyNames": names}), name.as_bytes()));
    let of_names: serde_json::Map<String, Value> =
        (0..16).map(|number| (format!("[ab]*a[ab]{{{}}}c", 100 + number), json!(true))).collect();
    assert!(is_refused(json!({"patternProperties": of_names}), name.as_bytes()));

    let required: Vec<String> = (0..6_000).map(|number| format!("p{number}")).collect();
    assert!(is_refused(json!({"items": {"not": {"required": required}}}), &list("{}", PAYLOAD)));
    let properties: serde_json::Map<String, Value> =
        (0..4_000).map(|number| (format!("p{number}"), json!({}))).collect();
    assert!(is_refused(json!({"items": {"properties": properties}}), &list("{}", PAYLOAD)));
    let formats = vec![json!({"format": "idn-hostname"}); 190];
    assert!(is_refused(json!({"allOf": formats}), json!("a".repeat(400_000)).to_string().as_bytes()));
    let wide = vec![json!({"items": {"type": "number"}}); 60];
    assert!(is_refused(json!({"allOf": wide}), &list("1", PAYLOAD)));
    let unevaluated =
        (0..6).fold(json!({"items": true}), |inner, _| json!({"allOf": [inner], "unevaluatedItems": false}));
    assert!(is_refused(unevaluated, &list("1", PAYLOAD)));
}

#[test]
fn what_people_ask_for_is_checked() {
    let invoice = json!({
        "type": "object",
        "required": ["id", "lines", "customer"],
        "properties": {
            "id": {"type": "string", "pattern": "^in_[A-Za-z0-9]{14,32}$"},
            "customer": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
            "mail": {"type": "string", "pattern": "^[^@ ]+@[^@ ]+\\.[a-z]{2,}$"},
            "kind": {"enum": ["paid", "open", null, 1, 2, 3]},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        },
        "$defs": {"line": {
            "type": "object",
            "required": ["count"],
            "properties": {"count": {"type": "integer", "minimum": 1}, "sku": {"type": "string", "maxLength": 40}},
            "additionalProperties": false,
        }},
    });
    let (head, tail) =
        (r##"{"id":"in_0123456789abcd","customer":"0b5e55ed-0000-7000-8000-000000000001","lines":["##, "]}");
    for bytes in [1_000, 20_000, 100_000] {
        assert!(
            !is_refused(invoice.clone(), &repeated(head, r#"{"count":2,"sku":"abcdefghijklm"},"#, tail, bytes)),
            "{bytes}"
        );
    }
    let countries: Vec<String> = (0..250).map(|number| format!("c{number}")).collect();
    assert!(!is_refused(json!({"items": {"enum": countries}}), &list("\"c7\"", 100_000)));
    // A pattern with many places beside a long text that it never meets.
    let name =
        json!({"properties": {"name": {"type": "string", "pattern": "^[A-Za-z0-9 _-]{1,64}$", "maxLength": 64}}});
    assert!(!is_refused(name, &repeated(r#"{"name":"a b","text":""#, "lorem ipsum ", "\"}", 400_000)));
}

#[test]
fn a_pattern_that_nobody_can_compile_is_refused_before_it_takes_memory() {
    for pattern in ["a{500000000}", "a{4000000000}"] {
        assert!(Schema::compile(&json!({ "pattern": pattern })).is_err(), "{pattern}");
    }
}

#[test]
fn a_price_is_work_times_extent() {
    let extent = Extent::of(&json!({"a": [1, "text"], "bb": {}}));
    assert_eq!(extent, Extent { places: 5, objects: 2, text_bytes: 7 });
    let work = CheckWork { visits: 2, entries: 3, names: 5, byte_ns: 7 };
    let price = 5 * (2 * VISIT_NS + 3 * ENTRY_NS) + 2 * 5 * NAME_NS + 7 * 7 + 10 * READ_NS;
    assert_eq!(work.price_ns(extent, 10), price);
    assert_eq!(CheckWork { visits: u64::MAX, ..work }.price_ns(extent, 10), u64::MAX, "it never wraps");
}
