//! The document and the server agree, both ways: what one accepts the other accepts.
//!
//! Every field is asked with texts made from its own pattern and with texts from around its rule; for each of them the schema says
//! yes exactly when the server does. What JSON Schema cannot say stands in [`SAID_IN_WORDS`], with the words of the refusal.

use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::string::string_regex;
use schemas::problem::Problem as Said;

use super::*;
use crate::subscription::Input;
use crate::subscription::input::FIELDS;
use target::TargetPolicy;

/// Refusals of values that fit their schema.
const SAID_IN_WORDS: [&str; 2] = ["must not be a UUID", "is set by Hookbus or by the connection"];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&crate::openapi().unwrap()).unwrap());

/// The schema of a field of `SubscriptionPost`, with the document it refers to.
fn schema(pointer: &str) -> Value {
    let mut schema =
        DOCUMENT.pointer(&format!("/components/schemas/SubscriptionPost/properties{pointer}")).unwrap().clone();
    schema["components"] = DOCUMENT["components"].clone();
    schema
}

fn validator(pointer: &str) -> Validator {
    jsonschema::validator_for(&schema(pointer)).unwrap()
}

/// Whether the server takes a subscription with this in it; a refusal that only words can say counts as taken.
fn takes(field: &str, value: &Value) -> bool {
    let mut post = json!({
        "application_id": "shop", "event_types": ["a.b"], "target": { "url": "https://example.com/" },
    });
    match field.strip_prefix("target.") {
        Some(inner) => post["target"][inner] = value.clone(),
        None => post[field] = value.clone(),
    }
    let Value::Object(map) = post else { unreachable!("it was written as an object") };
    match Input::read(map, &TargetPolicy::default()) {
        Ok(_input) => true,
        Err(refused) => SAID_IN_WORDS.iter().any(|words| refused.detail.contains(words)),
    }
}

fn agree(field: &str, validator: &Validator, value: &Value) -> Result<(), TestCaseError> {
    let (documented, taken) = (validator.is_valid(value), takes(field, value));
    prop_assert_eq!(documented, taken, "{}: {} (left: the document, right: the server)", field, value);
    Ok(())
}

/// Texts of a pattern of the document.
fn texts_of(pattern: &str) -> BoxedStrategy<String> {
    let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).unwrap();
    string_regex(inner).unwrap().boxed()
}

/// All patterns in a schema.
fn patterns(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            found.extend(fields.get("pattern").and_then(Value::as_str).map(str::to_owned));
            fields.iter().filter(|(name, _)| *name != "components").for_each(|(_, value)| patterns(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| patterns(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Texts that fit a pattern of the schema, texts of the given expression, and any text.
fn candidates(pointer: &str, near: &str) -> BoxedStrategy<String> {
    let mut found = Vec::new();
    patterns(&schema(pointer), &mut found);
    let near = string_regex(near).unwrap().boxed();
    let all = found.iter().map(|pattern| texts_of(pattern)).chain([near, any::<String>().boxed()]);
    proptest::strategy::Union::new(all).boxed()
}

#[test]
fn every_example_of_the_document_fits_its_schema() {
    let mut count = 0;
    for (name, component) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        let Some(example) = component.get("example") else { continue };
        let mut schema = component.clone();
        schema["components"] = DOCUMENT["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(example).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        count += 1;
    }
    assert!(count > 10, "the document has examples");
}

#[test]
fn what_the_server_says_in_its_own_words_fits_the_document() {
    for (field, values) in [
        ("disable_after", json!(["5d", "0", 0, "never", "0s", "060s", "90d", "7776000s", 1_000, null])),
        ("max_age", json!(["36h", "1s", "30d", "720h", "999ms", 1_000, 2_592_000_000_u64, 2_592_000_001_u64, null])),
        ("retry", json!([["250ms", "5s", 60_000, "7d"], ["8d"], "standard", "slow", [], ["99ms"], null])),
        (
            "labels",
            json!([{ "stra\u{df}e": "K\u{f6}ln" }, { "a": "\u{1f600}".repeat(50) }, { "a": "b".repeat(51) }, { "": "a" }]),
        ),
        ("metadata", json!([{ "a".repeat(100): "\u{e9}".repeat(1_000) }, { "a".repeat(101): "" }])),
        ("disable_after_ms", json!([0, 1, 999, 1_000, 7_776_000_000_u64, 7_776_000_001_u64, null])),
        ("signing", json!([["standard"], ["ed25519", "hook0"], []])),
        ("rate_per_second", json!([0.01, 0.001, 100_000, 100_001, "1", null])),
    ] {
        let validator = validator(&format!("/{field}"));
        for value in values.as_array().unwrap() {
            agree(field, &validator, value).unwrap();
        }
    }
}

#[test]
fn a_body_is_described_with_the_fields_that_are_read() {
    for name in ["SubscriptionPost", "SubscriptionPut", "SubscriptionPatch"] {
        let properties = DOCUMENT["components"]["schemas"][name]["properties"].as_object().unwrap();
        let described: std::collections::BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        assert_eq!(described, FIELDS.iter().copied().collect(), "{name}");
    }
}

#[test]
fn a_refusal_names_its_words() {
    let refused = Said::field("uid", schemas::problem::Code::InvalidField, "must not be a UUID");
    assert!(SAID_IN_WORDS.iter().any(|words| refused.detail.contains(words)));
    assert!(takes("uid", &json!("c0ea6ffa-1972-4435-b434-ec9e93d38f42")) && !takes("uid", &json!("a b")));
}

macro_rules! agreement {
    ($($name:ident: $field:literal at $pointer:literal near $near:literal as $wrap:expr;)*) => {
        proptest! {
            $(#[test]
            fn $name(text in candidates($pointer, $near)) {
                static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| validator($pointer));
                let wrap: fn(String) -> Value = $wrap;
                agree($field, &VALIDATOR, &wrap(text))?;
            })*
        }
    };
}

agreement! {
    disable_after: "disable_after" at "/disable_after" near "0{0,2}[0-9]{0,8}(ms|s|m|h|d|w)?|never|Never" as Value::String;
    max_age: "max_age" at "/max_age" near "0{0,2}[0-9]{0,8}(ms|s|m|h|d|w)?" as Value::String;
    delays: "retry" at "/retry" near "0{0,2}[0-9]{0,8}(ms|s|m|h|d|w)?" as |text| json!([text]);
    label_keys: "labels" at "/labels" near "\\PC{0,60}" as |text| json!({ text: "v" });
    label_values: "labels" at "/labels" near "\\PC{0,60}" as |text| json!({ "k": text });
    metadata_keys: "metadata" at "/metadata" near "\\PC{0,110}" as |text| json!({ text: "v" });
    event_types: "event_types" at "/event_types" near "([a-zA-Z0-9_-]{0,3}|\\*|\\*\\*)(\\.([a-z]{1,2}|\\*|\\*\\*)){0,6}" as |text| json!([text]);
    uids: "uid" at "/uid" near "[ -~]{0,140}" as Value::String;
    descriptions: "description" at "/description" near "\\PC{0,80}" as Value::String;
    api_versions: "api_version" at "/api_version" near "\\PC{0,60}" as Value::String;
    methods: "target.method" at "/target/properties/method" near "[GETPOSUgetposu]{2,5}" as Value::String;
    header_names: "target.headers" at "/target/properties/headers" near "[a-zA-Z!# :-]{0,12}" as |text| json!({ text: "v" });
    header_values: "target.headers" at "/target/properties/headers" near "[ \t]{0,3}[ -~\u{e9}]{0,510}[ \t]{0,3}" as |text| json!({ "x-a": text });
    usernames: "auth" at "/auth" near "[ -~:]{0,520}" as |text| json!({ "type": "basic", "username": text, "password": "p" });
    tokens: "auth" at "/auth" near "[ -~]{0,20}" as |text| json!({ "type": "bearer", "token": text });
    scopes: "auth" at "/auth" near "[ -~]{0,210}" as |text| json!({
        "type": "oauth2", "token_url": "https://example.com/t", "client_id": "c", "client_secret": "s", "scopes": [text],
    });
}
