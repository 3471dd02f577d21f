//! What schemas refuse, what they tell, and what they may cost.

use serde_json::json;

use super::*;

fn refused(schema: Value) -> String {
    Schema::compile(&schema).unwrap_err().to_string()
}

#[test]
fn a_payload_that_does_not_fit_is_told_where_and_without_its_values() {
    let schema = Schema::compile(&json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.test/invoice",
        "type": "object",
        "required": ["id", "lines"],
        "properties": {
            "id": {"type": "string", "pattern": "^in_[0-9]+$"},
            "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
            "kind": {"enum": ["paid", "open"]},
        },
        "$defs": {"line": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}},
    }))
    .unwrap();
    assert_eq!(schema.check(br#"{"id":"in_1","lines":[{"count":2}],"kind":"paid"}"#), Ok(()));
    for (payload, path) in [
        (r#"{"id":"in_1","lines":[{"count":1},{"count":"geheim"}]}"#, "/lines/1/count"),
        (r#"{"id":"geheim","lines":[{}]}"#, "/id"),
        (r#"{"id":"in_1","lines":[{}],"kind":"geheim"}"#, "/kind"),
        (r#"{"id":"in_1"}"#, ""),
        ("geheim", ""),
        ("", ""),
    ] {
        let Err(Unfit::Mismatch(mismatch)) = schema.check(payload.as_bytes()) else { panic!("{payload} fits") };
        assert_eq!(mismatch.path, path, "{mismatch}");
        assert!(!mismatch.message.contains("geheim"), "{mismatch}");
    }
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    assert!(refused(json!({"properties": {"a": {"type": "strin"}}})).contains("/properties/a/type"));
    assert!(refused(json!({"type": 5})).contains("/type"));
    assert!(Schema::compile(&json!([])).is_err());
    assert!(Schema::compile(&json!({"pattern": "(a"})).is_err());
    assert!(Schema::compile(&json!({"pattern": "(?=a)b"})).is_err(), "look-around has no linear time");
    assert!(Schema::compile(&json!({"pattern": "(\\w{100}){100}"})).is_err());
    assert!(Schema::compile(&json!({"$schema": "https://example.test/own"})).is_err());
}

#[test]
fn nothing_outside_of_the_schema_is_reached() {
    for to in ["https://example.test/schema.json", "file:///etc/passwd", "other.json#/a", "#anchor", "#/a%2Fb"] {
        assert!(refused(json!({"$ref": to})).contains("inside of the schema"), "{to}");
    }
    assert!(refused(json!({"$ref": "#/$defs/a"})).contains("leads nowhere"));
    assert!(refused(json!({"properties": {"a": {"$id": "https://example.test/x"}}})).contains("`$id`"));
    assert!(refused(json!({"$dynamicRef": "#a"})).contains("`$dynamicRef`"));
}

#[test]
fn what_would_explode_is_refused() {
    assert!(refused(json!({"properties": {"child": {"$ref": "#"}}})).contains("lead back"));
    let mutual = json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"items": {"$ref": "#/$defs/a"}}}});
    assert!(refused(mutual).contains("lead back"));
    let mut laughs = serde_json::Map::new();
    for level in 0..20 {
        let next = format!("#/$defs/l{}", level + 1);
        laughs.insert(format!("l{level}"), json!({"allOf": [{"$ref": next}, {"$ref": next}]}));
    }
    laughs.insert("l20".to_owned(), json!(true));
    assert!(refused(json!({"$ref": "#/$defs/l0", "$defs": laughs})).contains("subschemas can apply"));
    let mut chain = serde_json::Map::new();
    for level in 0..100 {
        chain.insert(format!("l{level}"), json!({"items": {"$ref": format!("#/$defs/l{}", level + 1)}}));
    }
    chain.insert("l100".to_owned(), json!(true));
    assert!(refused(json!({"$ref": "#/$defs/l0", "$defs": chain})).contains("levels"));
    let wide = |count: usize| json!({"allOf": vec![json!({"items": {"type": "string"}}); count]});
    assert!(Schema::compile(&wide(50)).is_ok());
    assert!(refused(wide(300)).contains("subschemas can apply"));
    let again = (0..10).fold(json!({"items": true}), |inner, _| json!({"allOf": [inner], "unevaluatedItems": false}));
    assert!(refused(again).contains("subschemas can apply"));
    assert!(refused(json!({"description": "x".repeat(70_000)})).contains("at most 65536 bytes"));
    let deep = (0..100).fold(json!(true), |inner, _| json!({"items": inner}));
    assert!(refused(deep).contains("levels"));
}

#[test]
fn many_properties_cost_nothing() {
    let properties: serde_json::Map<String, Value> =
        (0..500).map(|number| (format!("p{number}"), json!({"type": "string", "maxLength": 9}))).collect();
    let schema = Schema::compile(&json!({"properties": properties, "additionalProperties": false})).unwrap();
    assert_eq!(schema.check(br#"{"p7":"x"}"#), Ok(()));
    assert!(schema.check(br#"{"q":"x"}"#).is_err());
}

#[test]
fn many_or_heavy_patterns_are_too_costly_to_compile() {
    let with = |count: usize, pattern: &dyn Fn(usize) -> String| {
        let each: serde_json::Map<String, Value> =
            (0..count).map(|number| (format!("p{number}"), json!({"pattern": pattern(number)}))).collect();
        json!({ "properties": each })
    };
    let plain = |number: usize| format!("^[A-Z]{{2}}[0-9]{{{}}}$", 1 + number % 20);
    assert!(Schema::compile(&with(200, &plain)).is_ok());
    let error = Schema::compile(&with(201, &plain)).unwrap_err();
    assert!(error.is_costly && error.message.contains("at most 200 patterns"), "{error}");
    // A table of some 500 states with 37 kinds of bytes each fits its room, and all of it is looked at.
    let heavy = |number: usize| format!("{}{number}", "abcdefghijklmnopqrstuvwxyz0123456789".repeat(14));
    let error = Schema::compile(&with(100, &heavy)).unwrap_err();
    assert!(error.is_costly && error.message.contains("too many states"), "{error}");
    let names: serde_json::Map<String, Value> = (0..201).map(|it| (format!("^a{it}$"), json!(true))).collect();
    // What may meet at one place is counted too.
    assert!(Schema::compile(&json!({ "patternProperties": names })).is_err());
}
