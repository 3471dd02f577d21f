//! What event types look like from outside.

use schemas::control::EventType;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::time;

/// An event type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventType, example = json!({
    "event_type_name": "billing.invoice.paid",
    "service_name": "billing",
    "resource_type_name": "invoice",
    "verb_name": "paid",
    "deprecated": false,
    "created_at": "2026-11-22T10:30:00Z",
}))]
pub(in crate::api) struct EventTypeShown {
    event_type_name: String,
    /// The first part.
    service_name: String,
    /// What is between the first and the last part.
    resource_type_name: String,
    /// The last part.
    verb_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// JSON Schema that payloads must fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    schema: Option<Value>,
    /// Should not be used any more; still accepted.
    deprecated: bool,
    /// From when on it is deprecated; it may lie in the future. Absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    deprecated_at: Option<String>,
    /// From when on it may be gone. Absent where it is not deprecated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    sunset_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Absent while it is as it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    updated_at: Option<String>,
}

/// A new event type, or changes of one that is there.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({
    "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
    "name": "order.shipped.v2",
    "schema": { "type": "object", "required": ["order"], "properties": { "order": { "type": "integer" } } },
}))]
#[serde(untagged)]
pub(in crate::api) enum EventTypePost {
    Named(EventTypeByName),
    Parted(EventTypeByParts),
}

/// An event type under its name.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(in crate::api) struct EventTypeByName {
    /// Id or uid; with an application's own token it may be left out.
    #[schema(min_length = 1, max_length = 200)]
    application_id: String,
    /// 2 to 6 parts.
    #[schema(pattern = r"^[A-Za-z0-9_-]{1,50}(\.[A-Za-z0-9_-]{1,50}){1,5}$")]
    name: String,
    #[schema(max_length = 1_000)]
    description: Option<String>,
    /// JSON Schema that payloads must fit, at most 64 KiB, without references to other documents.
    #[schema(value_type = Option<PayloadSchema>)]
    schema: Option<Value>,
    /// True: from now on, or from when it was before; false takes both moments away.
    deprecated: Option<bool>,
    /// From when on it is deprecated, which it is then; null: it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    deprecated_at: Option<String>,
    /// From when on it may be gone, not before `deprecated_at`; six months later unless said.
    #[schema(value_type = Option<String>, format = DateTime)]
    sunset_at: Option<String>,
}

/// An event type in Hook0's parts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(in crate::api) struct EventTypeByParts {
    /// Id or uid; with an application's own token it may be left out.
    #[schema(min_length = 1, max_length = 200)]
    application_id: String,
    /// The first part.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,50}$")]
    service: String,
    /// What is between the first and the last part; empty in a name of two.
    #[schema(pattern = r"^([A-Za-z0-9_-]{1,50}(\.[A-Za-z0-9_-]{1,50}){0,3})?$")]
    resource_type: String,
    /// The last part.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,50}$")]
    verb: String,
    #[schema(max_length = 1_000)]
    description: Option<String>,
    /// JSON Schema that payloads must fit, at most 64 KiB, without references to other documents.
    #[schema(value_type = Option<PayloadSchema>)]
    schema: Option<Value>,
    /// True: from now on, or from when it was before; false takes both moments away.
    deprecated: Option<bool>,
    /// From when on it is deprecated, which it is then; null: it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    deprecated_at: Option<String>,
    /// From when on it may be gone, not before `deprecated_at`; six months later unless said.
    #[schema(value_type = Option<String>, format = DateTime)]
    sunset_at: Option<String>,
}

/// A JSON Schema for payloads; [`payload_schema`] says how it looks.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described by hand")]
pub(in crate::api) struct PayloadSchema(Value);

/// Changes of an event type: what is not given keeps its value.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "deprecated": true }))]
pub(in crate::api) struct EventTypePatch {
    /// Id or uid; here or in the query. An application's own token implies it.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
    /// Null takes it away.
    #[schema(max_length = 1_000)]
    description: Option<String>,
    /// Null takes it away.
    #[schema(value_type = Option<PayloadSchema>)]
    schema: Option<Value>,
    /// True: from now on, or from when it was before; false takes both moments away.
    deprecated: Option<bool>,
    /// From when on it is deprecated, which it is then; null: it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    deprecated_at: Option<String>,
    /// From when on it may be gone, not before `deprecated_at`; six months later unless said.
    #[schema(value_type = Option<String>, format = DateTime)]
    sunset_at: Option<String>,
}

/// What is said about a payload's schema: its common keywords, and that there are more.
pub(in crate::api) fn payload_schema() -> (&'static str, Value) {
    let words = json!({ "enum": ["array", "boolean", "integer", "null", "number", "object", "string"] });
    let nested = json!({ "anyOf": [{ "$ref": "#/components/schemas/PayloadSchema" }, { "type": "boolean" }] });
    let schema = json!({
        "type": "object",
        "description": "A JSON Schema (2020-12, or what `$schema` says); references stay inside of it.",
        "properties": {
            "type": { "anyOf": [words, { "type": "array", "items": words, "minItems": 1, "uniqueItems": true }] },
            "required": { "type": "array", "items": { "type": "string" }, "uniqueItems": true },
            "properties": { "type": "object", "additionalProperties": nested },
            "items": nested,
            "enum": { "type": "array" },
            "description": { "type": "string" },
        },
        "additionalProperties": true,
    });
    ("PayloadSchema", schema)
}

// === impl EventTypeShown ===

impl EventTypeShown {
    pub(in crate::api) fn of(event_type: &EventType) -> Self {
        let (service, resource_type, verb) = event_type.name.hook0_parts();
        Self {
            event_type_name: event_type.name.as_str().to_owned(),
            service_name: service.to_owned(),
            resource_type_name: resource_type.to_owned(),
            verb_name: verb.to_owned(),
            description: event_type.description.clone(),
            schema: event_type.schema.clone(),
            deprecated: event_type.deprecated,
            deprecated_at: event_type.deprecated_ms.map(time),
            sunset_at: event_type.sunset_ms.map(time),
            created_at: time(event_type.created_ms),
            updated_at: event_type.updated_ms.map(time),
        }
    }
}
