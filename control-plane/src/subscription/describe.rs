//! The request bodies as the OpenAPI document shows them. They are read field by field (`input::read`), not by derive, so
//! they are described by hand too; schemathesis sends what is written here.

mod duration;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::input::{DISABLE_AFTER_MS, MAX_AGE_MS, METHODS};

/// A token of RFC 9110.
const HEADER_NAME: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,500}$";
/// What all delays of a growing one may last, as the document shows it; more never is reached.
const MAX_BUDGET_MS: u64 = 3_650 * 86_400_000;
/// Fields of the answer that a client may send back as it read them.
const SHOWN: [&str; 7] = [
    "created_at",
    "updated_at",
    "signing_public_key",
    "former_secrets",
    "disabled_reason",
    "disabled_detail",
    "disabled_at",
];
/// No control characters.
const PLAIN: &str = r"^[^\x00-\x1f\x7f-\x9f]+$";

/// Names and schemas of the request bodies.
pub(crate) fn shapes() -> Vec<(&'static str, Value)> {
    let example = json!({
        "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
        "is_enabled": true,
        "event_types": ["invoice.*"],
        "labels": { "environment": "production" },
        "target": { "type": "http", "method": "POST", "url": "https://example.com/webhooks", "headers": { "x-tenant": "a" } },
    });
    let post = body(&["event_types", "target"], target(true), example);
    let put = body(&[], target(true), json!({ "is_enabled": false, "description": "moved" }));
    let patch = body(&[], target(false), json!({ "labels": { "environment": "staging" }, "description": null }));
    vec![
        ("SubscriptionPost", post),
        ("SubscriptionBatch", batch()),
        ("SubscriptionPut", put),
        ("SubscriptionPatch", patch),
        ("SubscriptionAuth", auth()),
        ("RetrySchedule", retry()),
        ("SecretRotation", rotation()),
    ]
}

fn batch() -> Value {
    let one = json!({ "event_types": ["invoice.*"], "target": { "type": "http", "method": "POST", "url": "https://example.com/a" } });
    json!({
        "type": "object",
        "required": ["subscriptions"],
        "properties": {
            "application_id": text(1, 200, "Id or uid of the application of all that name none; an application's token may leave it out."),
            "subscriptions": {
                "type": "array", "minItems": 1, "maxItems": 1_000,
                "items": { "$ref": "#/components/schemas/SubscriptionPost" },
            },
        },
        "example": { "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42", "subscriptions": [one] },
    })
}

fn body(required: &[&str], target: Value, example: Value) -> Value {
    let mut properties = Map::new();
    properties.extend(what(target));
    properties.extend(how());
    properties.extend(SHOWN.iter().map(|name| {
        let about = "Shown by Hookbus; what is sent back is ignored.";
        ((*name).to_owned(), json!({ "description": about }))
    }));
    json!({ "type": "object", "required": required, "properties": properties, "example": example })
}

fn text(least: u32, most: u32, about: &str) -> Value {
    json!({ "type": ["string", "null"], "minLength": least, "maxLength": most, "description": about })
}

fn number(least: u64, most: u64, about: &str) -> Value {
    json!({ "type": ["integer", "null"], "minimum": least, "maximum": most, "description": about })
}

fn pairs(most: u32, longest: (u32, u32), about: &str) -> Value {
    json!({
        "type": ["object", "null"],
        "maxProperties": most,
        "propertyNames": { "maxLength": longest.0 },
        "additionalProperties": { "type": "string", "maxLength": longest.1 },
        "description": about,
    })
}

/// Who gets what.
fn what(target: Value) -> Map<String, Value> {
    let part = r"([A-Za-z0-9_-]{1,50}|\*)";
    let pattern = format!(r"^(\*\*|{part}(\.{part}){{1,5}}|{part}(\.{part}){{0,4}}\.\*\*)$");
    let about = "Event types and patterns: `*` is one part, a final `**` one or more. Plain names must be declared.";
    let labels = json!({
        "type": ["object", "null"],
        "maxProperties": 10,
        "propertyNames": { "minLength": 1, "maxLength": 50 },
        "additionalProperties": { "type": "string", "minLength": 1, "maxLength": 50 },
        "description": "An event must have them all; none match every event.",
    });
    let uid = json!({
        "type": ["string", "null"], "pattern": "^[!-~]{1,128}$",
        "description": "The client's own id, unique in the application; stands wherever the id may. No UUID.",
    });
    let fields = json!({
        "application_id": text(1, 200, "Id or uid; an application's own token implies it"),
        "subscription_id": {
            "type": ["string", "null"], "format": "uuid",
            "description": "An id of the client's choice, for a subscription that was elsewhere before; later the id it has",
        },
        "is_enabled": { "type": "boolean", "description": "Whether it matches events. Disabling ends what is on its way." },
        "is_paused": { "type": ["boolean", "null"], "description": "Whether its deliveries wait instead of being sent." },
        "event_types": {
            "type": "array", "minItems": 1, "maxItems": 100, "description": about,
            "items": { "type": "string", "pattern": pattern },
        },
        "labels": labels,
        "label_key": text(0, 50, "One label in the older form, with `label_value`"),
        "label_value": text(0, 50, "One label in the older form, with `label_key`"),
        "filter": text(0, 4096, "A CEL expression over `type`, `id`, `labels`, `data` and `time` that an event must fit"),
        "target": target,
        "uid": uid,
        "description": text(0, 1000, "For people"),
        "metadata": pairs(50, (100, 1000), "The client's own data"),
        "dedicated_workers": {
            "type": ["array", "null"], "maxItems": 20, "items": { "type": "string", "maxLength": 200 },
            "description": "Names of Hook0's workers: kept, without effect",
        },
    });
    object(fields)
}

/// How it is sent.
fn how() -> Map<String, Value> {
    let reference =
        |name: &str| json!({ "anyOf": [{ "$ref": format!("#/components/schemas/{name}") }, { "type": "null" }] });
    let duration = |range, never: Value, about: &str| {
        let [text, number] = duration::schemas(range);
        json!({ "anyOf": [text, number, never, { "type": "null" }], "description": about })
    };
    // Nothing at all, in every unit, reads as never.
    let never = json!({ "anyOf": [{ "enum": [0, "never"] }, { "type": "string", "pattern": "^0+(ms|s|m|h|d)$" }] });
    let schemes = ["standard", "hook0", "hook0_body", "ed25519"];
    let fields = json!({
        "secret": text(2, 512, "A secret of the client's own: a UUID, `whsec_` and base64, or any text of at least 8 \
            bytes. Blanks around it are left out. It takes the place of all others at once; `rotate_secret` lets them overlap."),
        "signing_secret": text(2, 1_024, "The same as `secret`, as it is shown: sent back, it keeps what is stored."),
        "signing_private_key": text(1, 512, "An ed25519 key pair of the client's own: `whsk_` and base64. Never shown."),
        "signing": {
            "type": ["array", "null"], "minItems": 1, "maxItems": 4, "items": { "type": "string", "enum": schemes },
            "description": "How requests are signed; `standard` and `hook0` by default. One of the two Hook0 forms at most.",
        },
        "body": {
            "type": ["string", "null"], "enum": ["raw", "envelope", "cloudevents", null],
            "description": "What the request's body is; `raw` by default",
        },
        "api_version": text(1, 50, "Stands in the envelope"),
        "retry": reference("RetrySchedule"),
        "timeout_ms": number(100, 120_000, "A whole attempt; 15 s by default"),
        "concurrency": number(1, 1_000, "Requests in flight; 32 by default"),
        "rate_per_second": { "type": ["number", "null"], "minimum": 0.01, "maximum": 100_000 },
        "ordering": {
            "type": ["string", "null"], "enum": ["none", "key", null],
            "description": "`key`: of events with the same `ordering_key` (of Kafka producers: the record's key) one at a time and in \
                order; one that fails holds back those behind it until it is delivered or dead, and nobody else. It counts for events \
                that are accepted from then on; `none` by default",
        },
        "auth": reference("SubscriptionAuth"),
        "disable_after": duration(DISABLE_AFTER_MS, never, "Failing for so long without a success disables it: a duration (`5d`), \
            milliseconds, 0 or `never`; 5 days by default"),
        "disable_after_ms": {
            "anyOf": [{ "enum": [0, null] }, number(*DISABLE_AFTER_MS.start(), *DISABLE_AFTER_MS.end(), "")],
            "description": "The same in milliseconds; 0 is never",
        },
        "max_age": duration(MAX_AGE_MS, json!({ "type": "null" }), "A delivery's whole life, waiting included: a duration (`36h`) or milliseconds"),
        "max_age_ms": number(*MAX_AGE_MS.start(), *MAX_AGE_MS.end(), "The same in milliseconds"),
    });
    object(fields)
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn target(whole: bool) -> Value {
    let required = if whole { &["url"][..] } else { &[] };
    let methods: Vec<Option<&str>> = METHODS.iter().copied().map(Some).chain([None]).collect();
    let headers = json!({
        "type": ["object", "null"],
        "maxProperties": 10,
        "propertyNames": { "pattern": HEADER_NAME },
        "additionalProperties": {
            "type": if whole { json!("string") } else { json!(["string", "null"]) },
            "pattern": r"^[\t ]*([!-~]([\t -~]{0,498}[!-~])?)?[\t ]*$",
        },
        "description": "Custom headers: visible ASCII, none that Hookbus or the connection sets. A masked value keeps what is stored, \
            unless `target.url` goes to another scheme, host or port: then it must be given again.",
    });
    json!({
        "type": "object",
        "required": required,
        "properties": {
            "type": { "type": ["string", "null"], "enum": ["http", null] },
            "method": {
                "anyOf": [{ "enum": methods }, { "type": "string", "pattern": any_case(&METHODS) }],
                "description": "`POST` by default",
            },
            "url": {
                "type": "string", "format": "uri", "maxLength": 2048,
                "description": "Must be allowed by the operator's policy: https, and a public address",
            },
            "headers": headers,
            "secret_headers": {
                "type": ["array", "null"], "maxItems": 10, "items": { "type": "string", "pattern": HEADER_NAME },
                "description": "Headers whose values are not shown, beside `authorization`, `cookie` and `x-api-key`",
            },
            "ca_certificates": {
                "type": ["string", "null"], "minLength": 1, "maxLength": 32_768,
                "description": "PEM: the authorities that the target's certificate may come from, at most 10 and no other. Without them: \
                    the public ones, those of the workers' hosts, and the operator's",
            },
        },
    })
}

/// The pattern of these words in any case.
fn any_case(words: &[&str]) -> String {
    let letter = |letter: char| format!("[{letter}{}]", letter.to_ascii_lowercase());
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})$", words.join("|"))
}

fn auth() -> Value {
    let secret = |most: u32| json!({ "type": ["string", "null"], "minLength": 1, "maxLength": most, "pattern": PLAIN });
    let name = || json!({ "type": "string", "minLength": 1, "maxLength": 500, "pattern": PLAIN });
    let pem = |most: u32| json!({ "type": "string", "minLength": 1, "maxLength": most, "description": "PEM" });
    let token = json!({ "type": ["string", "null"], "maxLength": 4096, "pattern": "^[!-~]+$" });
    let username = json!({ "type": "string", "maxLength": 500, "pattern": r"^[^:\x00-\x1f\x7f-\x9f]+$" });
    let scope = json!({ "type": "string", "pattern": r"^[!#-\[\]-~]{1,200}$" });
    let kind = |kind: &str, required: &[&str], mut fields: Value| {
        fields["type"] = json!({ "type": "string", "enum": [kind] });
        let required: Vec<&str> = ["type"].iter().chain(required).copied().collect();
        json!({ "type": "object", "title": kind, "required": required, "properties": fields })
    };
    let oauth2 = json!({
        "token_url": { "type": "string", "format": "uri", "maxLength": 2048 },
        "client_id": name(),
        "client_secret": secret(4096),
        "scopes": { "type": ["array", "null"], "maxItems": 20, "items": scope },
    });
    json!({
        "description": "How a request shows who sends it, beside its signature. A masked secret, or none, keeps what is stored, \
            unless the type, `token_url`, or scheme, host or port of `target.url` changes: then it must be given again.",
        "oneOf": [
            kind("none", &[], json!({})),
            kind("basic", &["username"], json!({ "username": username, "password": secret(500) })),
            kind("bearer", &[], json!({ "token": token })),
            kind("oauth2", &["token_url", "client_id"], oauth2),
            kind("mtls", &["certificate"], json!({ "certificate": pem(32_768), "private_key": pem(16_384) })),
        ],
        "example": { "type": "bearer", "token": "a-token-of-the-receiver" },
    })
}

fn retry() -> Value {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (shortest, longest) = (ms(retry::MIN_DELAY), ms(retry::MAX_DELAY));
    let delay = || json!({ "anyOf": duration::schemas(shortest..=longest) });
    let budget = json!({ "anyOf": duration::schemas(shortest..=MAX_BUDGET_MS) });
    let exponential = json!({
        "type": "object",
        "required": ["base", "factor", "cap", "budget"],
        "properties": {
            "base": delay(), "factor": { "type": "number", "minimum": 1, "maximum": 10 }, "cap": delay(), "budget": budget,
        },
    });
    json!({
        "description": "When a failed attempt is repeated: a preset's name, a list of delays (30 days in all at most), or a growing \
            delay of which `base` is the first and `cap` the longest, until all of them fill the `budget`.",
        "oneOf": [
            { "type": "string", "enum": ["standard", "hook0", "quick"] },
            { "type": "array", "maxItems": 100, "items": delay() },
            { "type": "object", "required": ["exponential"], "properties": { "exponential": exponential } },
        ],
        "example": ["5s", "1m", "1h"],
    })
}

fn rotation() -> Value {
    json!({
        "type": "object",
        "properties": {
            "application_id": text(1, 200, "Id or uid; an application's own token implies it"),
            "secret": text(2, 512, "The new secret; without it one is made, and a new ed25519 pair where one is in use"),
            "signing_private_key": text(1, 512, "A new ed25519 key pair: `whsk_` and base64"),
            "overlap_ms": number(0, 604_800_000, "How long the former ones go on signing; 24 h by default, 0 ends them at once"),
        },
        "example": { "overlap_ms": 86_400_000 },
    })
}

#[cfg(test)]
mod tests;
