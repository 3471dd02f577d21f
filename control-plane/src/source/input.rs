//! What a client may say of a source, and what becomes of the object. Absent keeps, `null` clears.

mod options;

use std::collections::BTreeMap;

use catalog::RegistryMap;
use schemas::control::source::{MAX_SOURCE_LABELS, OnNull, TimeUnit};
use schemas::control::{SourceFormat, SourceStart, TopicSource};
use schemas::ids::{SchemaRegistryId, SourceId};
use schemas::problem::{Code, ProblemId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::rules;
use crate::api;
use crate::body::Fields;
use crate::problem::Problem;

pub(crate) const FIELDS: &[&str] = &[
    "organization_id",
    "source_id",
    "name",
    "uid",
    "topics",
    "exclude",
    "wait_for_topic",
    "format",
    "registry",
    "application",
    "type",
    "default_type",
    "id",
    "time",
    "time_unit",
    "labels",
    "payload",
    "on_null",
    "start",
    "is_enabled",
    "is_paused",
    "json",
    "json_schema",
    "binary",
    "avro",
    "protobuf",
    "debezium",
    // Shown by us: whoever sends back what he read is not told off for it.
    "position_id",
    "status",
    "created_at",
    "updated_at",
];
/// Characters of a template.
const TEMPLATE: std::ops::RangeInclusive<usize> = 1..=1_000;
/// What people look for who would read another cluster.
const ELSEWHERE: [&str; 4] = ["cluster", "brokers", "bootstrap_servers", "connection"];
/// Formats whose values cannot be read without a schema registry.
const REGISTERED: [SourceFormat; 3] = [SourceFormat::Avro, SourceFormat::Protobuf, SourceFormat::JsonSchema];

/// A request's fields, checked. `None`: not given, keeps its value.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceInput {
    /// Id or uid of its organization.
    pub(crate) organization: Option<String>,
    /// The id it had elsewhere.
    pub(crate) source_id: Option<SourceId>,
    pub(crate) name: Option<String>,
    pub(crate) uid: Option<Option<String>>,
    topics: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    wait_for_topic: Option<bool>,
    format: Option<SourceFormat>,
    /// Id or uid.
    registry: Option<Option<String>>,
    application: Option<Option<String>>,
    event_type: Option<Option<String>>,
    default_type: Option<Option<String>>,
    id: Option<Option<String>>,
    time: Option<Option<String>>,
    time_unit: Option<Option<TimeUnit>>,
    labels: Option<BTreeMap<String, String>>,
    payload: Option<Option<String>>,
    on_null: Option<OnNull>,
    start: Option<SourceStart>,
    is_enabled: Option<bool>,
    is_paused: Option<bool>,
    options: options::OptionsInput,
}

// === impl SourceInput ===

impl SourceInput {
    /// Checks everything that can be checked without the catalog and the cluster.
    pub(crate) fn read(map: Map<String, Value>) -> Result<Self, Problem> {
        if let Some(name) = ELSEWHERE.into_iter().find(|name| map.contains_key(*name)) {
            let message = "a source reads the cluster that Hookbus itself is on, because offsets and deliveries are one \
                           transaction: mirror the topic there (MirrorMaker 2, cluster linking), and name the mirror";
            return Err(Problem::field(name, Code::InvalidField, message));
        }
        let must = ["name", "topics", "format"].into_iter().find(|name| map.get(*name).is_some_and(Value::is_null));
        if let Some(name) = must {
            return Err(Problem::field(name, Code::InvalidField, "is required and cannot be cleared"));
        }
        let cleared = |name: &str| map.get(name).is_some_and(Value::is_null);
        let (no_labels, no_exclude) = (cleared("labels"), cleared("exclude"));
        let mut fields = Fields::new(map, "", FIELDS)?;
        let exclude =
            fields.texts("exclude", usize::MAX)?.map(|given| rules::patterns("exclude", given)).transpose()?;
        Ok(Self {
            organization: fields.kept_text("organization_id", 1..=200)?,
            source_id: api::given_id(&mut fields, "source_id")?.map(SourceId),
            name: api::name(&mut fields, ProblemId::Validation)?,
            uid: api::uid(&mut fields)?,
            topics: fields.texts("topics", usize::MAX)?.map(|given| rules::patterns("topics", given)).transpose()?,
            exclude: exclude.or_else(|| no_exclude.then(Vec::new)),
            wait_for_topic: fields.flag("wait_for_topic")?,
            format: format(&mut fields)?,
            registry: fields.text("registry", 1..=200)?,
            application: fields.text("application", TEMPLATE)?,
            event_type: fields.text("type", TEMPLATE)?,
            default_type: fields.text("default_type", 1..=200)?,
            id: fields.text("id", TEMPLATE)?,
            time: fields.text("time", TEMPLATE)?,
            time_unit: word(&mut fields, "time_unit", "s, ms, us or ns")?,
            labels: labels(&mut fields)?.or_else(|| no_labels.then(BTreeMap::new)),
            payload: pointer(&mut fields)?,
            on_null: word(&mut fields, "on_null", "skip, reject or deliver")?.map(Option::unwrap_or_default),
            start: fields.take("start").map(|given| start("start", given)).transpose()?,
            is_enabled: fields.flag("is_enabled")?,
            is_paused: fields.flag("is_paused")?,
            options: options::OptionsInput::read(&mut fields)?,
        })
    }

    /// What a source is made of: its format, which has no default.
    pub(crate) fn required_format(&self) -> Result<SourceFormat, Problem> {
        let all: Vec<&str> = SourceFormat::ALL.iter().map(|it| it.as_str()).collect();
        let missing =
            || Problem::field("format", Code::InvalidField, format!("is required: one of {}", all.join(", ")));
        self.format.ok_or_else(missing)
    }

    /// The schema registry that it names, by id or uid.
    pub(crate) fn registry(&self) -> Option<&str> {
        self.registry.as_ref()?.as_deref()
    }

    /// What is given over what was there. Where topics begin, and whether they may be read, is not seen to here.
    pub(crate) fn apply(&self, former: TopicSource, registries: &RegistryMap) -> Result<TopicSource, Problem> {
        let mut source = former;
        put(&mut source.name, self.name.as_ref());
        put(&mut source.uid, self.uid.as_ref());
        put(&mut source.topics, self.topics.as_ref());
        put(&mut source.exclude, self.exclude.as_ref());
        put(&mut source.wait_for_topic, self.wait_for_topic.as_ref());
        put(&mut source.format, self.format.as_ref());
        if let Some(given) = &self.registry {
            source.registry = given.as_deref().map(|it| registry(registries, it)).transpose()?;
        }
        put(&mut source.application, self.application.as_ref());
        put(&mut source.event_type, self.event_type.as_ref());
        put(&mut source.default_type, self.default_type.as_ref());
        put(&mut source.id, self.id.as_ref());
        put(&mut source.time, self.time.as_ref());
        put(&mut source.time_unit, self.time_unit.as_ref());
        put(&mut source.labels, self.labels.as_ref());
        put(&mut source.payload, self.payload.as_ref());
        put(&mut source.on_null, self.on_null.as_ref());
        put(&mut source.start, self.start.as_ref());
        put(&mut source.is_enabled, self.is_enabled.as_ref());
        put(&mut source.is_paused, self.is_paused.as_ref());
        self.options.apply(&mut source.options);
        check(&source)?;
        Ok(source)
    }
}

fn put<T: Clone>(to: &mut T, given: Option<&T>) {
    if let Some(given) = given {
        to.clone_from(given);
    }
}

/// What its fields must be to each other.
fn check(source: &TopicSource) -> Result<(), Problem> {
    let format = source.format;
    if REGISTERED.contains(&format) && source.registry.is_none() {
        let message = format!(
            "is required: `{}` needs a schema registry, by its id or uid; the operator makes one with `hookbus registry create`",
            format.as_str()
        );
        return Err(Problem::field("registry", Code::InvalidField, message));
    }
    if let Some(other) = source.options.given().into_iter().find(|given| *given != format.as_str()) {
        let message = format!("is an option of the format `{other}`, and this source's is `{}`", format.as_str());
        return Err(Problem::field(other, Code::InvalidField, message));
    }
    let required = |field: &str, hint: &str| Err(Problem::field(field, Code::InvalidField, hint));
    if !format.brings_attributes() && source.application.is_none() {
        return required(
            "application",
            "is required: id or uid of an application, or a template such as `{header:application}`",
        );
    }
    let has_type = source.event_type.is_some() || source.default_type.is_some();
    if !format.brings_attributes() && format != SourceFormat::Debezium && !has_type {
        return required("type", "is required: an event type, or a template such as `order.{value:/status}`");
    }
    if source.time.is_none() && source.time_unit.is_some() {
        return required("time_unit", "says what an integer in `time` counts, and there is no `time`");
    }
    Ok(())
}

/// A registry by what it is called.
fn registry(registries: &RegistryMap, called: &str) -> Result<SchemaRegistryId, Problem> {
    let found = registries.values().find(|it| it.is_called(called)).map(|it| it.schema_registry_id);
    found.ok_or_else(|| {
        let shown: String = called.chars().take(100).collect();
        let message = format!(
            "there is no schema registry `{shown}`: give the id or uid of one that is there; the operator lists them with `hookbus \
             registry list` and makes one with `hookbus registry create`"
        );
        Problem::field("registry", Code::InvalidField, message)
    })
}

fn format(fields: &mut Fields) -> Result<Option<SourceFormat>, Problem> {
    let all: Vec<&str> = SourceFormat::ALL.iter().map(|it| it.as_str()).collect();
    Ok(word(fields, "format", &all.join(", "))?.flatten())
}

/// One of a few words.
fn word<T: DeserializeOwned>(fields: &mut Fields, name: &str, words: &str) -> Result<Option<Option<T>>, Problem> {
    match fields.take(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(given) => serde_json::from_value(given)
            .map(|it| Some(Some(it)))
            .map_err(|_error| fields.wrong(name, format!("must be {words}"))),
    }
}

fn labels(fields: &mut Fields) -> Result<Option<BTreeMap<String, String>>, Problem> {
    let Some(given) = fields.map("labels", MAX_SOURCE_LABELS)? else { return Ok(None) };
    let mut labels = BTreeMap::new();
    for (name, template) in given {
        let shown: String = name.chars().take(60).collect();
        if !(1..=50).contains(&name.chars().count()) {
            return Err(fields.wrong("labels", format!("`{shown}`: a label's name has 1 to 50 characters")));
        }
        if !TEMPLATE.contains(&template.chars().count()) {
            return Err(fields.wrong(&format!("labels.{shown}"), "must have 1 to 1000 characters"));
        }
        labels.insert(name, template);
    }
    Ok(Some(labels))
}

/// A JSON pointer.
fn pointer(fields: &mut Fields) -> Result<Option<Option<String>>, Problem> {
    let given = fields.text("payload", 0..=1_000)?;
    if given.iter().flatten().any(|it| !it.is_empty() && !it.starts_with('/')) {
        return Err(fields.wrong("payload", "is no JSON pointer: it begins with `/`, such as `/data`"));
    }
    Ok(given.map(|it| it.filter(|it| !it.is_empty())))
}

/// `"end"`, `"beginning"`, `{"time": "2026-01-01T00:00:00Z"}`, `{"offsets": {"crm.orders": {"0": 12}}}`.
pub(super) fn start(field: &str, given: Value) -> Result<SourceStart, Problem> {
    let wrong = || {
        let message = "must be \"end\", \"beginning\", {\"time\": \"2026-01-01T00:00:00Z\"} or {\"offsets\": {\"topic\": {\"0\": 12}}}";
        Problem::field(field, Code::InvalidField, message)
    };
    match given {
        Value::Null => Ok(SourceStart::End),
        Value::String(word) if word == "end" => Ok(SourceStart::End),
        Value::String(word) if word == "beginning" => Ok(SourceStart::Beginning),
        Value::Object(mut map) if map.len() == 1 => match (map.remove("time"), map.remove("offsets")) {
            (Some(Value::String(time)), None) => {
                let time: jiff::Timestamp = time.parse().map_err(|_error| {
                    let message = "`time` is no RFC 3339 time, such as 2026-01-01T00:00:00Z";
                    Problem::field(field, Code::InvalidField, message)
                })?;
                Ok(SourceStart::TimeMs(time.as_millisecond()))
            }
            (None, Some(offsets)) => {
                let offsets: BTreeMap<String, BTreeMap<i32, i64>> =
                    serde_json::from_value(offsets).map_err(|_error| wrong())?;
                if offsets.is_empty() { Err(wrong()) } else { Ok(SourceStart::Offsets(offsets)) }
            }
            _other => Err(wrong()),
        },
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
