//! `hookbus config schema`: the key table as JSON Schema, for editors and for values that become a file.

use serde_json::{Map, Value, json};

use super::SECTIONS;
use super::key::{Key, Kind, Section};

/// The schema of a whole file, draft 7.
pub(super) fn schema() -> Value {
    let sections: Map<String, Value> =
        SECTIONS.iter().map(|section| (section.name.to_owned(), of_section(*section))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hookbus.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    })
}

fn of_section(section: Section) -> Value {
    let mut table = table(section.about);
    for key in section.keys {
        let steps: Vec<&str> = section.short(*key).split('.').collect();
        put(&mut table, &steps, of_key(*key));
    }
    table
}

fn table(about: &str) -> Value {
    json!({ "description": about, "type": "object", "additionalProperties": false, "properties": {} })
}

/// Puts a key where its steps lead, through tables that are made on the way.
fn put(into: &mut Value, steps: &[&str], schema: Value) {
    let [step, rest @ ..] = steps else { return };
    let below = &mut into["properties"][*step];
    if rest.is_empty() {
        *below = schema;
        return;
    }
    if below.is_null() {
        *below = table("By the topic's name.");
    }
    put(below, rest, schema);
}

fn of_key(key: Key) -> Value {
    let mut schema = of_kind(key.kind);
    let effect = if key.effect.is_empty() { String::new() } else { format!(" {}", key.effect) };
    schema["description"] = Value::String(format!("{}.{effect}", key.title));
    if let Some(default) = default(key) {
        schema["default"] = default;
    }
    schema
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Secret => json!({ "type": ["string", "array"], "items": { "type": "string" }, "writeOnly": true }),
        Kind::Address => json!({ "type": "string", "pattern": "^(\\[.+\\]|[^:]+):[0-9]+$" }),
        Kind::Integer(min, max, _) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
        // Dots in a name that is not quoted make tables.
        Kind::Properties => json!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean", "object"] },
        }),
    }
}

/// The default as the file would hold it.
fn default(key: Key) -> Option<Value> {
    if key.default.is_empty() {
        return None;
    }
    let text = Value::String(key.default.to_owned());
    match key.kind {
        Kind::Integer(..) | Kind::Flag => serde_json::from_str(key.default).ok(),
        Kind::List => Some(super::value::words(key.default).into()),
        Kind::Text | Kind::Secret | Kind::Address | Kind::Choice(_) => Some(text),
        Kind::Properties => None,
    }
}
