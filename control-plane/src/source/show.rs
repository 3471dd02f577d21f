//! What sources look like from outside.

use std::collections::BTreeMap;

use schemas::control::{SourceStart, TopicSource};
use schemas::status::SourcePartitionState;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::status::{SourceStatusShown, problem_of};
use crate::api::time;
use crate::health::{SourceTold, ToldPartition};

/// A source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
pub(crate) struct SourceShown {
    source_id: Uuid,
    organization_id: Uuid,
    name: String,
    /// The client's own id, unique in the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    topics: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
    wait_for_topic: bool,
    format: &'static str,
    /// Id of its schema registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<Uuid>,
    /// Options of the format, where they are not as usual; so the next five.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    json: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    json_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    binary: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    avro: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    protobuf: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    debezium: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    time_unit: Option<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[schema(value_type = String)]
    on_null: Value,
    /// Where it was asked to begin.
    start: Value,
    /// Its newest positions: of its making, or of the last move.
    position_id: Uuid,
    is_enabled: bool,
    is_paused: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// Absent while it is as it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    updated_at: Option<String>,
    /// How it is doing, as the fan-out workers said lately; the entity tag does not stand for it.
    status: SourceStatusShown,
}

/// One partition of a source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourcePartition)]
pub(crate) struct SourcePartitionShown {
    topic: String,
    partition: i32,
    topic_id: Option<Uuid>,
    /// The next offset that is not committed; null before the first commit.
    committed: Option<i64>,
    /// One past the last record that may be read.
    end: Option<i64>,
    lag_records: Option<u64>,
    lag_ms: Option<u64>,
    /// `running`, `paused`, `waiting`, `failing`.
    #[schema(value_type = String)]
    state: SourcePartitionState,
    #[schema(format = DateTime)]
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<super::status::SourceProblemShown>,
}

// === impl SourceShown ===

impl SourceShown {
    pub(crate) fn of(source: &TopicSource, told: &SourceTold, now_ms: i64) -> Self {
        let options = &source.options;
        Self {
            source_id: source.source_id.0,
            organization_id: source.organization_id.0,
            name: source.name.clone(),
            uid: source.uid.clone(),
            topics: source.topics.clone(),
            exclude: source.exclude.clone(),
            wait_for_topic: source.wait_for_topic,
            format: source.format.as_str(),
            registry: source.registry.map(|it| it.0),
            json: options.json.as_ref().map(word),
            json_schema: options.json_schema.as_ref().map(word),
            binary: options.binary.as_ref().map(word),
            avro: options.avro.as_ref().map(word),
            protobuf: options.protobuf.as_ref().map(word),
            debezium: options.debezium.as_ref().map(word),
            application: source.application.clone(),
            event_type: source.event_type.clone(),
            default_type: source.default_type.clone(),
            id: source.id.clone(),
            time: source.time.clone(),
            time_unit: source.time_unit.map(|it| word(&it)),
            labels: source.labels.clone(),
            payload: source.payload.clone(),
            on_null: word(&source.on_null),
            start: start(&source.start),
            position_id: source.position_id.0,
            is_enabled: source.is_enabled,
            is_paused: source.is_paused,
            created_at: time(source.created_ms),
            updated_at: source.updated_ms.map(time),
            status: SourceStatusShown::of(source, told, now_ms),
        }
    }
}

/// As it stands in JSON. None of these can fail to.
fn word(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

/// As it is given.
fn start(start: &SourceStart) -> Value {
    match start {
        SourceStart::End => json!("end"),
        SourceStart::Beginning => json!("beginning"),
        SourceStart::TimeMs(ms) => json!({ "time": time(*ms) }),
        SourceStart::Offsets(of) => json!({ "offsets": of }),
    }
}

// === impl SourcePartitionShown ===

impl SourcePartitionShown {
    pub(crate) fn of((topic, partition): &(String, i32), told: &ToldPartition, now_ms: i64) -> Self {
        let health = &told.health;
        Self {
            topic: topic.clone(),
            partition: *partition,
            topic_id: told.topic_id,
            committed: health.committed,
            end: health.end,
            lag_records: super::status::lag_records(health),
            lag_ms: super::status::lag_ms(health, now_ms),
            state: health.state,
            since: time(health.since_ms),
            error: health.failure.as_ref().map(|it| problem_of(it, Some(topic.as_str()), Some(*partition))),
        }
    }
}
