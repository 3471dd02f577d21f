//! The request bodies as the OpenAPI document shows them. They are read field by field, so they are described by hand.

use schemas::control::SourceFormat;
use serde_json::{Map, Value, json};

/// Names and schemas of the request bodies.
pub(crate) fn shapes() -> Vec<(&'static str, Value)> {
    let example = json!({
        "name": "Orders",
        "topics": ["crm.orders"],
        "format": "json",
        "application": "shop",
        "type": "order.{value:/status}",
        "id": "{value:/id}",
    });
    vec![
        ("SourcePost", body(&["name", "topics", "format"], example)),
        ("SourcePut", body(&[], json!({ "is_enabled": false }))),
        ("SourcePatch", body(&[], json!({ "labels": { "tenant": "{header:tenant}" } }))),
        ("SourceMove", moved()),
        ("SourceStart", start()),
        ("SourceTest", tested()),
    ]
}

fn body(required: &[&str], example: Value) -> Value {
    let mut properties = Map::new();
    properties.extend(what());
    properties.extend(mapping());
    properties.extend(options());
    properties.extend(["position_id", "status", "created_at", "updated_at"].map(|name| {
        let about = "Shown by Hookbus; what is sent back is ignored.";
        (name.to_owned(), json!({ "description": about }))
    }));
    json!({ "type": "object", "required": required, "properties": properties, "example": example })
}

fn text(least: u32, most: u32, about: &str) -> Value {
    json!({ "type": ["string", "null"], "minLength": least, "maxLength": most, "description": about })
}

fn template(about: &str) -> Value {
    text(1, 1_000, &format!("Template. {about}"))
}

fn topics(about: &str) -> Value {
    json!({
        "type": "array", "maxItems": 1_000, "uniqueItems": true,
        "items": { "type": "string", "pattern": r"^([A-Za-z0-9._-]{1,249}|[A-Za-z0-9._-]{3,249}\*)$" },
        "description": about,
    })
}

fn map(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn what() -> Map<String, Value> {
    let formats: Vec<&str> = SourceFormat::ALL.iter().map(|it| it.as_str()).collect();
    map(json!({
        "organization_id": {
            "type": "string", "minLength": 1, "maxLength": 200,
            "description": "Id or uid. Without it a service token's own, or the organization that was there from the start.",
        },
        "source_id": { "type": ["string", "null"], "format": "uuid", "description": "The id it had elsewhere." },
        "name": { "$ref": "#/components/schemas/Name" },
        "uid": {
            "type": ["string", "null"], "pattern": "^[!-~]{1,128}$",
            "description": "The client's own id, unique in the organization; stands wherever the id may. No UUID.",
        },
        "topics": topics("Names of topics, and prefixes of at least 3 characters that end in `*`."),
        "exclude": topics("The same, left out of what the prefixes name."),
        "wait_for_topic": { "type": ["boolean", "null"], "description": "Topics that are named need not be there yet." },
        "format": { "enum": formats, "description": "What the values are." },
        "registry": {
            "type": ["string", "null"], "minLength": 1, "maxLength": 200,
            "description": "Id or uid of a schema registry: for avro, protobuf and json_schema; debezium and json may have one.",
        },
        "start": { "$ref": "#/components/schemas/SourceStart" },
        "is_enabled": { "type": ["boolean", "null"], "description": "Whether it is read. Disabled, its topics are read by no other source." },
        "is_paused": { "type": ["boolean", "null"], "description": "Whether it stands still. It goes on where it stood." },
    }))
}

fn mapping() -> Map<String, Value> {
    map(json!({
        "application": template("Id or uid of an application of the organization."),
        "type": template("The event type."),
        "default_type": text(1, 200, "The event type where the template comes to nothing."),
        "id": template("The event's id; without one it is its position, and is not deduplicated by content."),
        "time": template("The event's time: RFC 3339, or an integer with `time_unit`."),
        "time_unit": { "enum": ["s", "ms", "us", "ns", null], "description": "What an integer in `time` counts." },
        "labels": {
            "type": ["object", "null"], "maxProperties": 10,
            "propertyNames": { "minLength": 1, "maxLength": 50 },
            "additionalProperties": { "type": "string", "minLength": 1, "maxLength": 1_000 },
            "description": "Templates of labels.",
        },
        "payload": {
            "type": ["string", "null"], "maxLength": 1_000, "pattern": "^(/.*)?$",
            "description": "JSON pointer to the part of the value that is the payload, byte for byte; without it all of it.",
        },
        "on_null": { "enum": ["skip", "reject", "deliver", null], "description": "What becomes of records without a value." },
    }))
}

fn options() -> Map<String, Value> {
    let object = |properties: Value| json!({ "type": ["object", "null"], "properties": properties });
    let flag = json!({ "type": "boolean" });
    map(json!({
        "json": object(json!({ "frame": { "enum": ["registry", "none"] } })),
        "json_schema": object(json!({ "validate": flag })),
        "binary": object(json!({ "base64": flag })),
        "avro": object(json!({ "unions": { "enum": ["plain", "avro"] }, "logical_types": { "enum": ["readable", "raw"] } })),
        "protobuf": object(json!({
            "field_names": { "enum": ["json", "original"] }, "int64": { "enum": ["string", "number"] }, "defaults": flag,
        })),
        "debezium": object(json!({ "snapshots": flag })),
    }))
}

fn start() -> Value {
    let offsets = json!({
        "type": "object", "minProperties": 1,
        "additionalProperties": { "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } },
    });
    json!({
        "description": "Where reading begins: at the end, at the first record that is there, at a time, at offsets by topic and \
            partition. Worked out when it is written; of no meaning for topics that are read already.",
        "oneOf": [
            { "enum": ["end", "beginning", null] },
            {
                "type": "object", "required": ["time"],
                "properties": { "time": { "type": "string", "format": "date-time" } },
            },
            { "type": "object", "required": ["offsets"], "properties": { "offsets": offsets } },
        ],
        "example": "end",
    })
}

fn moved() -> Value {
    json!({
        "type": "object", "required": ["to"],
        "properties": {
            "to": { "$ref": "#/components/schemas/SourceStart" },
            "topics": topics("Names of topics that are moved; without it all of them."),
            "again": {
                "type": ["boolean", "null"],
                "description": "What was fanned out before is fanned out again, as a replay. Without it, it is not.",
            },
        },
        "example": { "to": { "time": "2026-01-01T00:00:00Z" }, "again": true },
    })
}

fn tested() -> Value {
    let record = json!({
        "type": "object",
        "properties": {
            "key": text(0, 10_000, "The record's key."),
            "value_base64": { "type": ["string", "null"], "description": "Its value, base64; without one it is a tombstone." },
            "headers": { "type": ["object", "null"], "maxProperties": 100, "additionalProperties": { "type": "string" } },
            "topic": text(1, 249, "Its topic; the first that the source names unless given."),
        },
    });
    let source = json!({
        "description": "Id or uid of a source, or a definition that need not be made.",
        "oneOf": [{ "type": "string", "minLength": 1 }, { "$ref": "#/components/schemas/SourcePut" }],
    });
    json!({
        "type": "object", "required": ["source", "record"],
        "properties": { "source": source, "record": record },
        "example": { "source": "orders", "record": { "value_base64": "eyJzdGF0dXMiOiJwYWlkIn0=" } },
    })
}
