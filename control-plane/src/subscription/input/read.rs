//! Reading a request's fields: everything that can be checked without the catalog. Absent keeps, `null` clears.

use retry::Schedule;
use schemas::control::{BodyForm, DeliveryOrder, SigningScheme};
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::ids::SubscriptionId;
use schemas::problem::{Code, ProblemId};
use serde::Deserialize;
use serde_json::{Map, Value};
use signing::Schemes;

use super::Input;
use super::target::TargetInput;
use crate::api;
use crate::body::Fields;
use crate::problem::{self, Problem};
use crate::subscription::auth::AuthInput;
use crate::subscription::{filter, show};
use target::TargetPolicy;

/// Event types that are read: a subscription that was made when so many were allowed can be sent back. `caps` has today's cap.
const FORMER_EVENT_TYPES: usize = 1_000;
const MAX_LABELS: usize = 10;
const MAX_METADATA: usize = 50;
/// Characters of a metadata key.
const MAX_METADATA_KEY: usize = 100;
/// Characters of a metadata value.
const MAX_METADATA_VALUE: usize = 1_000;
const MAX_WORKERS: usize = 20;
/// Characters of a worker's name.
const MAX_WORKER: usize = 200;
const MAX_TIMEOUT_MS: u64 = 120_000;
const DAY_MS: u64 = 86_400_000;
pub(crate) const MAX_AGE_MS: std::ops::RangeInclusive<u64> = 1_000..=30 * DAY_MS;
pub(crate) const DISABLE_AFTER_MS: std::ops::RangeInclusive<u64> = 1_000..=90 * DAY_MS;

pub(crate) const FIELDS: &[&str] = &[
    "application_id",
    "subscription_id",
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
    "signing_secret",
    "signing_private_key",
    "filter",
    "retry",
    "timeout_ms",
    "concurrency",
    "rate_per_second",
    "ordering",
    "signing",
    "body",
    "api_version",
    "auth",
    "disable_after",
    "disable_after_ms",
    "max_age",
    "max_age_ms",
    "is_paused",
    // Shown by us: whoever sends back what he read is not told off for it.
    "created_at",
    "updated_at",
    "signing_public_key",
    "former_secrets",
    "disabled_reason",
    "disabled_detail",
    "disabled_at",
];

// === impl Input ===

impl Input {
    /// Checks everything that can be checked without the catalog.
    pub(crate) fn read(map: Map<String, Value>, policy: &TargetPolicy) -> Result<Self, Problem> {
        let cleared = |name: &str| map.get(name).is_some_and(Value::is_null);
        let clears = Clears {
            metadata: cleared("metadata"),
            labels: cleared("labels"),
            workers: cleared("dedicated_workers"),
            signing: cleared("signing"),
            body: cleared("body"),
            paused: cleared("is_paused"),
        };
        let must = ["event_types", "target", "is_enabled"].into_iter().find(|name| cleared(name));
        if let Some(name) = must {
            return Err(Problem::field(name, Code::InvalidField, "is required and cannot be cleared"));
        }
        let mut fields = Fields::new(map, "", FIELDS)?;
        Ok(Self {
            application_id: fields.text("application_id", 1..=200)?.flatten(),
            subscription_id: api::given_id(&mut fields, "subscription_id")?.map(SubscriptionId),
            is_enabled: fields.flag("is_enabled")?,
            is_paused: fields.flag("is_paused")?.or_else(|| clears.paused.then_some(false)),
            event_types: event_types(&mut fields)?,
            description: fields.text("description", 0..=1_000)?,
            metadata: metadata(&mut fields)?.or_else(|| clears.metadata.then(StringMap::new)),
            labels: labels(&mut fields)?.or_else(|| clears.labels.then(StringMap::new)),
            target: target(&mut fields, policy)?,
            dedicated_workers: workers(&mut fields)?.or_else(|| clears.workers.then(Vec::new)),
            uid: api::uid(&mut fields)?,
            secret: fields.text("secret", 1..=signing::MAX_TEXT_BYTES)?.flatten(),
            signing_secret: fields.text("signing_secret", 1..=2 * signing::MAX_TEXT_BYTES)?.flatten(),
            signing_private_key: fields.text("signing_private_key", 1..=signing::MAX_TEXT_BYTES)?.flatten(),
            filter: filter::read(&mut fields)?,
            retry: retry_policy(&mut fields)?,
            timeout_ms: fields.number("timeout_ms", 100..=MAX_TIMEOUT_MS)?,
            concurrency: fields.number("concurrency", 1..=1_000)?,
            rate_per_second: rate(&mut fields)?,
            ordering: ordering(&mut fields)?,
            signing: schemes(&mut fields)?.or_else(|| clears.signing.then(default_schemes)),
            body: body_form(&mut fields)?.or_else(|| clears.body.then(BodyForm::default)),
            api_version: fields.text("api_version", 1..=50)?,
            auth: auth(&mut fields, policy)?,
            disable_after_ms: disable_after(&mut fields)?,
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

/// Fields that are `null` and have a default.
#[expect(clippy::struct_excessive_bools, reason = "one flag per field, named")]
struct Clears {
    metadata: bool,
    labels: bool,
    workers: bool,
    signing: bool,
    body: bool,
    paused: bool,
}

fn event_types(fields: &mut Fields) -> Result<Option<Vec<EventTypePattern>>, Problem> {
    let Some(texts) = fields.texts("event_types", FORMER_EVENT_TYPES)? else { return Ok(None) };
    if texts.is_empty() {
        return Err(fields.wrong("event_types", "at least one event type or pattern is needed"));
    }
    let mut patterns: Vec<EventTypePattern> = Vec::with_capacity(texts.len());
    let mut known = std::collections::HashSet::with_capacity(texts.len());
    for text in texts {
        let pattern = EventTypePattern::parse(&text).map_err(|error| fields.wrong("event_types", error.to_string()))?;
        if known.insert(text) {
            patterns.push(pattern);
        }
    }
    Ok(Some(patterns))
}

fn metadata(fields: &mut Fields) -> Result<Option<StringMap>, Problem> {
    let metadata = fields.map("metadata", MAX_METADATA)?;
    let fits =
        |key: &str, value: &str| key.chars().count() <= MAX_METADATA_KEY && value.chars().count() <= MAX_METADATA_VALUE;
    if let Some((key, _)) = metadata.iter().flatten().find(|(key, value)| !fits(key, value)) {
        let shown: String = key.chars().take(60).collect();
        let message =
            format!("`{shown}`: keys have at most {MAX_METADATA_KEY} characters, values {MAX_METADATA_VALUE}");
        return Err(fields.wrong("metadata", message));
    }
    Ok(metadata)
}

fn workers(fields: &mut Fields) -> Result<Option<Vec<String>>, Problem> {
    let workers = fields.texts("dedicated_workers", MAX_WORKERS)?;
    if workers.iter().flatten().any(|name| name.chars().count() > MAX_WORKER) {
        return Err(fields.wrong("dedicated_workers", format!("names have at most {MAX_WORKER} characters")));
    }
    Ok(workers)
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
    let fits = |text: &str| (1..=50).contains(&text.chars().count());
    if labels.iter().flatten().any(|(key, value)| !fits(key) || !fits(value)) {
        return Err(fields.wrong("labels", "keys and values have 1 to 50 characters"));
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
    match fields.take("target") {
        None => Ok(None),
        Some(Value::Object(map)) => TargetInput::read(map, policy).map(Some),
        Some(_other) => Err(fields.wrong("target", "must be an object")),
    }
}

fn auth(fields: &mut Fields, policy: &TargetPolicy) -> Result<Option<Option<AuthInput>>, Problem> {
    match fields.take("auth") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::Object(map)) => AuthInput::read(map, policy).map(Some),
        Some(_other) => Err(fields.wrong("auth", "must be an object")),
    }
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

fn ordering(fields: &mut Fields) -> Result<Option<DeliveryOrder>, Problem> {
    let Some(given) = fields.text("ordering", 0..=20)? else { return Ok(None) };
    match given.as_deref() {
        None | Some("none") => Ok(Some(DeliveryOrder::None)),
        Some("key") => Ok(Some(DeliveryOrder::Key)),
        Some(_) => Err(fields.wrong("ordering", "must be `none` or `key`")),
    }
}

fn schemes(fields: &mut Fields) -> Result<Option<Vec<SigningScheme>>, Problem> {
    let Some(names) = fields.texts("signing", 10)? else { return Ok(None) };
    let schemes = Schemes::parse(&names).map_err(|error| fields.wrong("signing", error.to_string()))?;
    Ok(Some(schemes.iter().map(show::scheme).collect()))
}

fn default_schemes() -> Vec<SigningScheme> {
    Schemes::default().iter().map(show::scheme).collect()
}

fn body_form(fields: &mut Fields) -> Result<Option<BodyForm>, Problem> {
    match fields.text("body", 0..=20)?.flatten().as_deref() {
        None => Ok(None),
        Some("raw") => Ok(Some(BodyForm::Raw)),
        Some("envelope") => Ok(Some(BodyForm::Envelope)),
        Some("cloudevents") => Ok(Some(BodyForm::Cloudevents)),
        Some(_other) => Err(fields.wrong("body", "must be `raw`, `envelope` or `cloudevents`")),
    }
}

fn max_age(fields: &mut Fields) -> Result<Option<Option<u64>>, Problem> {
    let in_ms = fields.number("max_age_ms", MAX_AGE_MS)?;
    let bad = "must be a duration such as `36h`, or milliseconds, 1 s to 30 days";
    match duration(fields, "max_age", &in_ms)? {
        GivenDuration::Ms(ms) if MAX_AGE_MS.contains(&ms) => Ok(Some(Some(ms))),
        GivenDuration::Ms(_) | GivenDuration::Other => Err(fields.wrong("max_age", bad)),
        GivenDuration::Nothing => Ok(in_ms),
        GivenDuration::Null => Ok(Some(in_ms.flatten())),
    }
}

/// 0 and `never`: it is never disabled for failing.
fn disable_after(fields: &mut Fields) -> Result<Option<Option<u64>>, Problem> {
    let fits = |ms: u64| ms == 0 || DISABLE_AFTER_MS.contains(&ms);
    let bad = "must be 0 or `never`, or a duration such as `5d` or milliseconds, 1 s to 90 days";
    let in_ms = fields.number("disable_after_ms", 0..=*DISABLE_AFTER_MS.end())?;
    if in_ms.flatten().is_some_and(|ms| !fits(ms)) {
        return Err(fields.wrong("disable_after_ms", bad));
    }
    match duration(fields, "disable_after", &in_ms)? {
        GivenDuration::Ms(ms) if fits(ms) => Ok(Some(Some(ms))),
        GivenDuration::Ms(_) | GivenDuration::Other => Err(fields.wrong("disable_after", bad)),
        GivenDuration::Nothing => Ok(in_ms),
        GivenDuration::Null => Ok(Some(in_ms.flatten())),
    }
}

/// A duration that may also be given in a field of its own in ms.
enum GivenDuration {
    Nothing,
    Null,
    Ms(u64),
    Other,
}

fn duration(fields: &mut Fields, name: &str, in_ms: &Option<Option<u64>>) -> Result<GivenDuration, Problem> {
    let ms = match fields.take(name) {
        None => return Ok(GivenDuration::Nothing),
        Some(Value::Null) => return Ok(GivenDuration::Null),
        Some(Value::String(text)) if text == "never" => Some(0),
        Some(Value::String(text)) => {
            retry::duration::parse(&text).ok().and_then(|it| u64::try_from(it.as_millis()).ok())
        }
        Some(value) => value.as_u64(),
    };
    match (ms, in_ms.flatten()) {
        (Some(ms), Some(other)) if ms != other => Err(fields.wrong(name, format!("differs from {name}_ms"))),
        (Some(ms), _) => Ok(GivenDuration::Ms(ms)),
        (None, _) => Ok(GivenDuration::Other),
    }
}
