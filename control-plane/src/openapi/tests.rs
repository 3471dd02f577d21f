//! The committed document is the code's, and says what the rules of the API want said.

use serde_json::Value;

use super::*;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn document() -> Value {
    serde_json::from_str(&crate::openapi().unwrap()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        METHODS.iter().filter_map(|it| Some((format!("{it} {path}"), item.get(it)?.clone()))).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn the_committed_document_is_the_codes() {
    let committed: Value = serde_json::from_str(schemas::OPENAPI).unwrap();
    let hint = "schemas/openapi/openapi.json is old: cargo test -p control-plane write_the_document -- --ignored";
    assert!(committed == document(), "{hint}");
}

/// Writes the document: `cargo test -p control-plane write_the_document -- --ignored`
#[test]
#[ignore = "writes schemas/openapi/openapi.json"]
fn write_the_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi/openapi.json");
    std::fs::write(path, crate::openapi().unwrap()).unwrap();
}

#[test]
fn every_operation_has_an_id_a_tag_a_summary_and_problems() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let tags: Vec<&str> = TAGS.iter().map(|(name, _)| *name).collect();
    let mut ids = std::collections::BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        let (entity, verb) = id.split_once('.').unwrap();
        assert!(!entity.is_empty() && !verb.is_empty() && ids.insert(id.to_owned()), "{name}: {id}");
        assert!(tags.contains(&operation["tags"][0].as_str().unwrap()), "{name} has a tag of its own");
        assert!(operation["summary"].as_str().is_some_and(|it| !it.is_empty()), "{name} has no summary");
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            let failed = status.parse::<u16>().unwrap() >= 400;
            let shared = response["$ref"].as_str().map(|it| document.pointer(it.strip_prefix('#').unwrap()).unwrap());
            let problem = shared.unwrap_or(response)["content"].get("application/problem+json").is_some();
            assert_eq!(failed, problem, "{name} {status}");
        }
        for status in ["422", "500", "503"] {
            assert!(responses.contains_key(status), "{name} lacks {status}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_request_body_is_closed_and_shown_by_an_example() {
    let document = document();
    let mut references = Vec::new();
    pointers(&document, &mut references);
    for reference in references {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    for (name, operation) in operations(&document) {
        let content = &operation["requestBody"]["content"]["application/json"];
        let Some(reference) = content["schema"]["$ref"].as_str() else {
            assert!(operation.get("requestBody").is_none(), "{name}: a body without a named shape");
            continue;
        };
        let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        let closed = schema["additionalProperties"] == false || schema.get("oneOf").is_some();
        assert!(closed, "{name}: unknown fields are refused, {reference} does not say so");
        assert!(
            schema.get("example").is_some() || content.get("example").is_some(),
            "{name}: {reference} has no example"
        );
    }
}

fn pointers(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| pointers(value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|value| pointers(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn what_is_read_beside_an_object_promises_no_version() {
    let document = document();
    let of = |path: &str| document["paths"][path]["get"]["responses"].clone();
    let (object, beside) =
        (of("/api/v1/subscriptions/{subscription_id}"), of("/api/v1/subscriptions/{subscription_id}/health"));
    assert!(object.get("304").is_some() && object["200"]["headers"].get("ETag").is_some(), "{object}");
    assert!(beside.get("304").is_none() && beside["200"]["headers"].get("ETag").is_none(), "{beside}");
    let batch = &document["paths"]["/api/v1/subscriptions:batch"]["post"]["responses"]["200"];
    assert!(batch["headers"].is_object() && batch["headers"].get("ETag").is_none(), "{batch}");
}

#[test]
fn bodies_are_described_with_the_fields_that_are_read() {
    let document = document();
    for (schema, fields) in crate::api::fields() {
        let properties = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let described: std::collections::BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        assert_eq!(described, fields.iter().copied().collect(), "{schema}");
    }
}
