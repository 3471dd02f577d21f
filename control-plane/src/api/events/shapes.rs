//! The shapes of the gateway's routes. The gateway reads them by hand, so they are written by hand too.

use serde_json::{Value, json};

/// Base64 with its padding, and nothing in the bits that are left over.
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
const BINARY: &str = "application/octet-stream+base64";

/// By name.
pub(crate) fn shapes() -> Vec<(&'static str, Value)> {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let (sent, accepted) = (event_post(), ingested_event());
    // An entry that is no event is refused by itself, inside a 200: anything may stand there.
    let mut batch = one_list("events", &json!({ "anyOf": [reference("EventPost"), {}] }));
    batch["example"] = json!({ "events": [sent["example"]] });
    let refused =
        json!({ "type": "object", "required": ["problem"], "properties": { "problem": reference("Problem") } });
    let mut results = one_list("results", &json!({ "oneOf": [reference("IngestedEvent"), refused] }));
    results["example"] = json!({ "results": [accepted["example"]] });
    vec![("EventBatch", batch), ("EventPost", sent), ("IngestedEvent", accepted), ("IngestedEvents", results)]
}

/// An event, by what its payload is.
fn event_post() -> Value {
    let json_payload = json!({
        "type": ["object", "array", "number", "boolean", "null"],
        "description": "Kept byte for byte as it stands in the request.",
    });
    let json_type = json!({ "type": ["string", "null"], "enum": ["application/json", null] });
    let text = |content_type: &str, payload: Value| {
        event(&payload, &json!({ "type": "string", "enum": [content_type] }), &["payload_content_type"])
    };
    json!({
        "oneOf": [
            event(&json_payload, &json_type, &[]),
            text("text/plain", json!({ "type": "string" })),
            text("application/json", json!({ "type": "string", "contentMediaType": "application/json" })),
            text(BINARY, json!({ "type": "string", "pattern": BASE64 })),
        ],
        "example": {
            "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
            "event_type": "invoice.paid",
            "event_id": "evt_Wqb1k73rXprtTm7Qdlr38G",
            "payload": { "invoice": 42 },
            "labels": { "customer": "7" },
        },
    })
}

fn event(payload: &Value, content_type: &Value, also_required: &[&str]) -> Value {
    let required = [&["event_type", "payload"], also_required].concat();
    let label = json!({ "type": "string", "minLength": 1, "maxLength": 50 });
    json!({
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": {
            "application_id": {
                "type": ["string", "null"], "minLength": 1, "maxLength": 200,
                "description": "Id or uid. An application's own token implies it; every other token must say it.",
            },
            "event_type": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,50}(\\.[A-Za-z0-9_-]{1,50}){1,5}$" },
            "event_id": {
                "type": ["string", "null"], "pattern": "^[!-~]{1,128}$", "description": "Made, if left out.",
            },
            "payload": payload,
            "payload_content_type": content_type,
            "occurred_at": { "type": ["string", "null"], "format": "date-time", "description": "Now, if left out." },
            "labels": {
                "type": ["object", "null"], "maxProperties": 10, "propertyNames": label, "additionalProperties": label,
                "description": "What subscriptions select by; keys and values of 1 to 50 characters.",
            },
            "metadata": {
                "type": ["object", "null"], "maxProperties": 50, "additionalProperties": { "type": "string" },
                "description": "The sender's own data.",
            },
            "ordering_key": {
                "type": ["string", "null"], "minLength": 1, "maxLength": 256,
                "description": "Events with one key are fanned out in order.",
            },
        },
    })
}

fn ingested_event() -> Value {
    json!({
        "type": "object",
        "required": ["application_id", "event_id", "received_at"],
        "properties": {
            "application_id": { "type": "string", "format": "uuid" },
            "event_id": { "type": "string" },
            "received_at": { "type": "string", "format": "date-time" },
        },
        "example": {
            "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
            "event_id": "evt_Wqb1k73rXprtTm7Qdlr38G",
            "received_at": "2026-11-22T10:30:00Z",
        },
    })
}

fn one_list(name: &str, items: &Value) -> Value {
    json!({
        "type": "object",
        "required": [name],
        "properties": { name: { "type": "array", "minItems": 1, "maxItems": 1_000, "items": items } },
    })
}
