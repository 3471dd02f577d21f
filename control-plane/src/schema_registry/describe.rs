//! The request bodies as the OpenAPI document shows them. They are read field by field, so they are described by hand.

use schemas::control::schema_registry::{MAX_REGISTRY_CA, MAX_REGISTRY_URL, MAX_REGISTRY_URLS, REGISTRY_TIMEOUTS_MS};
use serde_json::{Value, json};

/// Visible text: no control characters.
const PLAIN: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";

/// Names and schemas of the request bodies.
pub(crate) fn shapes() -> Vec<(&'static str, Value)> {
    let whole = json!({ "name": "main", "urls": ["https://registry.internal:8081"] });
    let part = json!({ "timeout_ms": 3_000 });
    vec![
        ("SchemaRegistryPost", body(&["name", "urls"], &whole)),
        ("SchemaRegistryPut", body(&[], &part)),
        ("SchemaRegistryPatch", body(&[], &part)),
        ("SchemaRegistryAuth", auth()),
    ]
}

fn body(required: &[&str], example: &Value) -> Value {
    let shown = json!({ "description": "Shown by Hookbus; what is sent back is ignored." });
    json!({
        "type": "object",
        "required": required,
        "properties": {
            "schema_registry_id": { "type": ["string", "null"], "format": "uuid", "description": "The id it had elsewhere." },
            "name": { "$ref": "#/components/schemas/Name" },
            "uid": {
                "type": ["string", "null"], "pattern": "^[!-~]{1,128}$",
                "description": "The client's own id, unique in the instance; stands wherever the id may. No UUID.",
            },
            "urls": {
                "type": "array", "minItems": 1, "maxItems": MAX_REGISTRY_URLS, "uniqueItems": true,
                "items": { "type": "string", "maxLength": MAX_REGISTRY_URL, "pattern": "^https?://[^?#@]+$" },
                "description": "Where it is: http or https, tried in turn, what Confluent's API begins with behind each. Any address, \
                    also of the operator's own network. Without user, `?` and `#`.",
            },
            "auth": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/SchemaRegistryAuth" }] },
            "ca_pem": {
                "type": ["string", "null"], "minLength": 1, "maxLength": MAX_REGISTRY_CA,
                "description": "Certificates that are trusted in place of the system's, PEM.",
            },
            "timeout_ms": {
                "type": ["integer", "null"], "minimum": REGISTRY_TIMEOUTS_MS.start(), "maximum": REGISTRY_TIMEOUTS_MS.end(),
                "description": "How long one request may take; 5,000 unless given.",
            },
            "created_at": shown,
            "updated_at": shown,
        },
        "example": example,
    })
}

fn auth() -> Value {
    let kind = |kind: &str, required: &[&str], mut fields: Value| {
        fields["type"] = json!({ "type": "string", "enum": [kind] });
        let required: Vec<&str> = ["type"].iter().chain(required).copied().collect();
        json!({ "type": "object", "title": kind, "required": required, "properties": fields })
    };
    let username =
        json!({ "type": "string", "minLength": 1, "maxLength": 500, "pattern": r"^[^:\x00-\x1f\x7f-\x9f]+$" });
    let password = json!({ "type": ["string", "null"], "minLength": 1, "maxLength": 500, "pattern": PLAIN });
    let token = json!({ "type": ["string", "null"], "maxLength": 4_096, "pattern": "^[!-~]+$" });
    json!({
        "description": "How a registry is shown who asks. A masked secret, or none, keeps what is stored, unless the type changes or \
            a URL of another scheme, host or port is added: then it must be given again.",
        "oneOf": [
            kind("none", &[], json!({})),
            kind("basic", &["username"], json!({ "username": username, "password": password })),
            kind("bearer", &[], json!({ "token": token })),
        ],
        "example": { "type": "basic", "username": "hookbus", "password": "the registry's" },
    })
}
