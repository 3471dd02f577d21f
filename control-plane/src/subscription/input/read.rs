//! Reading a request's fields: everything that can be checked without the catalog.

use retry::Schedule;
use schemas::control::{BodyForm, SigningScheme};
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::problem::{Code, ProblemId};
use serde::Deserialize;
use serde_json::{Map, Value};
use signing::Schemes;

use super::{Input, TargetInput};
use crate::body::Fields;
use crate::custom_headers;
use crate::policy::TargetPolicy;
use crate::problem::{self, Problem};
use crate::subscription::show;

/// Event types of one subscription.
const MAX_EVENT_TYPES: usize = 1_000;
const MAX_LABELS: usize = 10;
const MAX_METADATA: usize = 50;
/// Bytes of a metadata value.
const MAX_METADATA_BYTES: usize = 1_000;
const METHODS: [&str; 7] = ["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS"];
const MAX_TIMEOUT_MS: u64 = 120_000;
const MAX_AGE_MS: std::ops::RangeInclusive<u64> = 1_000..=30 * 86_400_000;

pub(super) const FIELDS: &[&str] = &[
    "application_id",
    "is_enabled",
    "event_types",
    "description",
    "metadata",
    "labels",
    "label_key",
    "label_value",
    "target",
    "dedicated_workers",
    "uid",
    "secret",
    "retry",
    "timeout_ms",
    "concurrency",
    "rate_per_second",
    "signing",
    "body",
    "api_version",
    "max_age",
    "max_age_ms",
    "ordering",
    "filter",
    "auth",
    "disable_after",
    "is_paused",
    // Shown by us: whoever sends back what he read is not told off for it.
    "subscription_id",
    "created_at",
    "updated_at",
    "signing_secret",
    "signing_public_key",
    "disabled_reason",
];

// === impl Input ===

impl Input {
    /// Checks everything that can be checked without the catalog.
    pub(crate) fn read(map: Map<String, Value>, policy: &TargetPolicy) -> Result<Self, Problem> {
        let mut fields = Fields::new(map, "", FIELDS)?;
        for name in ["filter", "auth", "disable_after"] {
            fields.not_built(name)?;
        }
        if fields.text("ordering", 0..=20)?.flatten().is_some_and(|ordering| ordering != "none") {
            return Err(Problem::field("ordering", Code::NotBuilt, "only `none` is built yet"));
        }
        Ok(Self {
            application_id: fields.text("application_id", 1..=200)?.flatten(),
            is_enabled: fields.flag("is_enabled")?,
            is_paused: fields.flag("is_paused")?,
            event_types: event_types(&mut fields)?,
            description: fields.text("description", 0..=1_000)?,
            metadata: metadata(&mut fields)?,
            labels: labels(&mut fields)?,
            target: target(&mut fields, policy)?,
            dedicated_workers: fields.texts("dedicated_workers", 100)?,
            uid: fields.text("uid", 1..=128)?,
            secret: fields.text("secret", 1..=signing::MAX_TEXT_BYTES)?.flatten(),
            signing_secret: fields.text("signing_secret", 1..=2 * signing::MAX_TEXT_BYTES)?.flatten(),
            retry: retry_policy(&mut fields)?,
            timeout_ms: fields.number("timeout_ms", 100..=MAX_TIMEOUT_MS)?,
            concurrency: fields.number("concurrency", 1..=1_000)?,
            rate_per_second: rate(&mut fields)?,
            signing: schemes(&mut fields)?,
            body: body_form(&mut fields)?,
            api_version: fields.text("api_version", 1..=50)?,
            max_age_ms: max_age(&mut fields)?,
        })
    }

    /// A change of the pause alone.
    pub(crate) fn paused(paused: bool) -> Self {
        Self { is_paused: Some(paused), ..Self::default() }
    }

    /// The uid that is asked for, if it is.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_ref()?.as_deref()
    }

    /// Event types that are named exactly.
    pub(crate) fn exact_event_types(&self) -> impl Iterator<Item = &str> {
        let patterns = self.event_types.as_deref().unwrap_or_default();
        patterns.iter().filter(|pattern| pattern.is_exact()).map(EventTypePattern::as_str)
    }
}

fn event_types(fields: &mut Fields) -> Result<Option<Vec<EventTypePattern>>, Problem> {
    let Some(texts) = fields.texts("event_types", MAX_EVENT_TYPES)? else { return Ok(None) };
    if texts.is_empty() {
        return Err(fields.wrong("event_types", "at least one event type or pattern is needed"));
    }
    let mut patterns: Vec<EventTypePattern> = Vec::with_capacity(texts.len());
    for text in texts {
        let pattern = EventTypePattern::parse(&text).map_err(|error| fields.wrong("event_types", error.to_string()))?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    Ok(Some(patterns))
}

fn metadata(fields: &mut Fields) -> Result<Option<StringMap>, Problem> {
    let metadata = fields.map("metadata", MAX_METADATA)?;
    let long = metadata.iter().flatten().find(|(key, value)| key.len() > 100 || value.len() > MAX_METADATA_BYTES);
    if let Some((key, _)) = long {
        let shown: String = key.chars().take(60).collect();
        return Err(fields.wrong("metadata", format!("`{shown}`: keys have at most 100 bytes, values 1000")));
    }
    Ok(metadata)
}

/// `labels`, or the older pair `label_key` and `label_value`; both only if they say the same.
fn labels(fields: &mut Fields) -> Result<Option<StringMap>, Problem> {
    let labels = fields.map("labels", MAX_LABELS)?;
    let key = fields.text("label_key", 0..=50)?.flatten().filter(|text| !text.is_empty());
    let value = fields.text("label_value", 0..=50)?.flatten().filter(|text| !text.is_empty());
    let pair = match (key, value) {
        (Some(key), Some(value)) => Some((key, value)),
        (None, None) => None,
        (Some(_), None) => return Err(fields.wrong("label_value", "is required with label_key")),
        (None, Some(_)) => return Err(fields.wrong("label_key", "is required with label_value")),
    };
    let fits = |text: &str| (1..=50).contains(&text.len());
    if labels.iter().flatten().any(|(key, value)| !fits(key) || !fits(value)) {
        return Err(fields.wrong("labels", "keys and values have 1 to 50 bytes"));
    }
    match (labels, pair) {
        (Some(labels), Some((key, value))) if labels.get(&key) != Some(&value) => {
            let detail = "`labels` and `label_key` with `label_value` are both given and differ";
            Err(Problem::new(ProblemId::LabelsAmbiguity, detail))
        }
        (Some(labels), _) => Ok(Some(labels)),
        (None, Some(pair)) => Ok(Some(StringMap::from([pair]))),
        (None, None) => Ok(None),
    }
}

fn target(fields: &mut Fields, policy: &TargetPolicy) -> Result<Option<TargetInput>, Problem> {
    let map = match fields.take("target") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(_other) => return Err(fields.wrong("target", "must be an object")),
    };
    let mut fields = Fields::new(map, "target.", &["type", "method", "url", "headers"])?;
    let kind = fields.text("type", 0..=20)?.flatten();
    if kind.is_some_and(|kind| kind != "http") {
        return Err(fields.wrong("type", "only `http` is supported"));
    }
    let method =
        fields.text("method", 1..=20)?.flatten().map_or_else(|| "POST".to_owned(), |it| it.to_ascii_uppercase());
    if !METHODS.contains(&method.as_str()) {
        return Err(fields.wrong("method", format!("must be one of {}", METHODS.join(", "))));
    }
    let url = policy
        .check(&fields.required_text("url", 1..=4_096)?)
        .map_err(|refusal| Problem::field("target.url", Code::TargetRefused, refusal.to_string()))?;
    let headers = match fields.take("headers") {
        None => None,
        Some(Value::Null) => Some(Vec::new()),
        Some(Value::Object(map)) => Some(custom_headers::check(map)?),
        Some(_other) => return Err(fields.wrong("headers", "must be an object of strings")),
    };
    Ok(Some(TargetInput { method, url: url.into(), headers }))
}

fn retry_policy(fields: &mut Fields) -> Result<Option<Option<Value>>, Problem> {
    let given = match fields.take("retry") {
        None => return Ok(None),
        Some(Value::Null) => return Ok(Some(None)),
        Some(given) => given,
    };
    let schedule = Schedule::deserialize(&given).map_err(|error| fields.wrong("retry", error.to_string()))?;
    let kept =
        serde_json::to_value(&schedule).map_err(|error| problem::internal("the schedule cannot be kept", &error))?;
    Ok(Some(Some(kept)))
}

fn rate(fields: &mut Fields) -> Result<Option<Option<f64>>, Problem> {
    match fields.take("rate_per_second") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => match value.as_f64().filter(|rate| (0.01..=100_000.0).contains(rate)) {
            Some(rate) => Ok(Some(Some(rate))),
            None => Err(fields.wrong("rate_per_second", "must be a number, 0.01 to 100000")),
        },
    }
}

fn schemes(fields: &mut Fields) -> Result<Option<Vec<SigningScheme>>, Problem> {
    let Some(names) = fields.texts("signing", 10)? else { return Ok(None) };
    let schemes = Schemes::parse(&names).map_err(|error| fields.wrong("signing", error.to_string()))?;
    Ok(Some(schemes.iter().map(show::scheme).collect()))
}

fn body_form(fields: &mut Fields) -> Result<Option<BodyForm>, Problem> {
    match fields.text("body", 0..=20)?.flatten().as_deref() {
        None => Ok(None),
        Some("raw") => Ok(Some(BodyForm::Raw)),
        Some("envelope") => Ok(Some(BodyForm::Envelope)),
        Some("cloudevents") => Err(Problem::field("body", Code::NotBuilt, "`cloudevents` is not built yet")),
        Some(_other) => Err(fields.wrong("body", "must be `raw` or `envelope`")),
    }
}

/// `max_age_ms`, or `max_age` as a text (`36h`) or in ms.
fn max_age(fields: &mut Fields) -> Result<Option<Option<u64>>, Problem> {
    let in_ms = fields.number("max_age_ms", MAX_AGE_MS)?;
    let text = match fields.take("max_age") {
        None => return Ok(in_ms),
        Some(Value::Null) => return Ok(Some(in_ms.flatten())),
        Some(Value::String(text)) => {
            retry::duration::parse(&text).ok().and_then(|it| u64::try_from(it.as_millis()).ok())
        }
        Some(value) => value.as_u64(),
    };
    match text.filter(|ms| MAX_AGE_MS.contains(ms)) {
        Some(ms) if in_ms.flatten().is_none_or(|other| other == ms) => Ok(Some(Some(ms))),
        Some(_differs) => Err(fields.wrong("max_age", "differs from max_age_ms")),
        None => Err(fields.wrong("max_age", "must be a duration such as `36h`, or milliseconds, 1 s to 30 days")),
    }
}
