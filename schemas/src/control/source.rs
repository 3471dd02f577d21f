//! Sources: topics of others that are read as they are, and how their records become events.
//!
//! Where reading begins is worked out when a source is written, not when a worker first sees it ([`TopicSource::begins`]):
//!
//! | the partition | begins |
//! |---|---|
//! | listed in [`TopicSource::starts`], same topic id | at the offset that is listed |
//! | of a listed topic, not itself listed: it came later | at its first record |
//! | of a topic that is not listed, or is listed with another topic id: it came later | at its first record |
//!
//! Each answer carries a [`PositionId`]; an offset that was committed under another one means nothing any more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SourceOptions;
use crate::ids::{OrganizationId, PositionId, SchemaRegistryId, SourceId};

/// Fewest characters before the `*` of a prefix.
pub const MIN_PREFIX: usize = 3;
/// Most labels of a source.
pub const MAX_SOURCE_LABELS: usize = 10;
/// Topics and prefixes that a source may name, and as many to leave out.
pub const MAX_SOURCE_TOPICS: usize = 1_000;
/// Partitions whose beginnings one source lists: its record stays below 512 KiB.
pub const MAX_LISTED_PARTITIONS: usize = 20_000;

/// What the values of a source's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceFormat {
    /// CloudEvents, binary or structured JSON mode.
    Cloudevents,
    /// The body of `POST /event`.
    Hookbus,
    /// JSON.
    Json,
    /// Debezium's change events.
    Debezium,
    /// Avro with a registry.
    Avro,
    /// Protobuf with a registry.
    Protobuf,
    /// JSON with a registry's frame.
    JsonSchema,
    /// Text, untouched.
    Text,
    /// Bytes, untouched.
    Binary,
}

/// What becomes of a record without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNull {
    /// It is no event.
    #[default]
    Skip,
    /// It is rejected.
    Reject,
    /// It is an event with an empty body.
    Deliver,
}

/// What an integer time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// Where reading was asked to begin. What came of it stands in [`TopicSource::starts`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceStart {
    /// With what is written from now on.
    #[default]
    End,
    /// With the first record that is still there.
    Beginning,
    /// With the first record that is not older, Unix ms.
    TimeMs(i64),
    /// At these offsets, by topic and partition; at the end where nothing is said.
    Offsets(BTreeMap<String, BTreeMap<i32, i64>>),
}

/// Where the partitions of one topic begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicStart {
    /// Kafka's id of the topic that was asked: one that is deleted and made again is another one.
    pub topic_id: Uuid,
    /// What offsets that are committed from here on carry.
    pub position_id: PositionId,
    /// What was fanned out before is fanned out again, as generation `position_id`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The first offset of each partition that was there; the index is the partition.
    pub offsets: Vec<i64>,
}

/// Where one partition begins, unless an offset was committed under the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStart {
    /// What its committed offset must carry to count.
    pub position_id: PositionId,
    /// The first offset; `None`: its first record, whichever offset that has.
    pub offset: Option<i64>,
    /// What was fanned out before is fanned out again.
    pub again: bool,
}

/// Topics that are read as they are, and what becomes of their records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicSource {
    /// Id.
    pub source_id: SourceId,
    /// Owner: events go to its applications only.
    pub organization_id: OrganizationId,
    /// Name.
    pub name: String,
    /// Client-given id, unique in the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Names of topics, and prefixes that end in `*`.
    pub topics: Vec<String>,
    /// The same, left out of what the prefixes name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Topics that it names need not be there yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait_for_topic: bool,
    /// What its values are.
    pub format: SourceFormat,
    /// The options of the formats.
    #[serde(flatten)]
    pub options: SourceOptions,
    /// Schema registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<SchemaRegistryId>,
    /// Template of the application's id or uid; absent where the format brings one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Template of the event type; absent where the format brings one.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The event type where the template comes to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_type: Option<String>,
    /// Template of the event's id; absent: its position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Template of the event's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What it counts where it is an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_unit: Option<TimeUnit>,
    /// Templates of labels, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// JSON pointer to the part of the value that is the payload; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Records without a value.
    #[serde(default)]
    pub on_null: OnNull,
    /// Where reading was asked to begin.
    #[serde(default)]
    pub start: SourceStart,
    /// Id of its newest positions: of its making, or of the last move.
    pub position_id: PositionId,
    /// What offsets of topics carry that are not listed in `starts`.
    pub later_id: PositionId,
    /// What is read of such topics was fanned out before, and is again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later_again: bool,
    /// Where topics begin that were there when it was written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<String, TopicStart>,
    /// Whether it is read at all.
    pub is_enabled: bool,
    /// Stays assigned and tells its lag, but nothing is read.
    #[serde(default)]
    pub is_paused: bool,
    /// Unix ms.
    pub created_ms: i64,
    /// Unix ms; absent while it is as it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_ms: Option<i64>,
}

/// How exactly a source names a topic: more is more exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamedBy {
    /// By a prefix of so many bytes.
    Prefix(usize),
    /// By its name.
    Exact,
}

// === impl TopicSource ===

impl TopicSource {
    /// A new one with the defaults: enabled, from the end, without a mapping. Its maker gives topics, templates and `starts`.
    #[must_use]
    pub fn new(
        source_id: SourceId,
        organization_id: OrganizationId,
        name: impl Into<String>,
        format: SourceFormat,
        position_id: PositionId,
        now_ms: i64,
    ) -> Self {
        Self {
            source_id,
            organization_id,
            name: name.into(),
            uid: None,
            topics: Vec::new(),
            exclude: Vec::new(),
            wait_for_topic: false,
            format,
            options: SourceOptions::default(),
            registry: None,
            application: None,
            event_type: None,
            default_type: None,
            id: None,
            time: None,
            time_unit: None,
            labels: BTreeMap::new(),
            payload: None,
            on_null: OnNull::default(),
            start: SourceStart::default(),
            position_id,
            later_id: position_id,
            later_again: false,
            starts: BTreeMap::new(),
            is_enabled: true,
            is_paused: false,
            created_ms: now_ms,
            updated_ms: None,
        }
    }

    /// Whether this is its id or its uid.
    #[must_use]
    pub fn is_called(&self, id_or_uid: &str) -> bool {
        match Uuid::parse_str(id_or_uid) {
            Ok(id) => self.source_id.0 == id,
            Err(_no_id) => self.uid.as_deref() == Some(id_or_uid),
        }
    }

    /// How it names a topic, `None` if it does not. Which source reads a topic is decided by the most exact of all.
    #[must_use]
    pub fn names(&self, topic: &str) -> Option<NamedBy> {
        let by = self.topics.iter().filter_map(|it| named_by(it, topic)).max()?;
        // What is named outright is not left out by a prefix.
        let left_out = self.exclude.iter().filter_map(|it| named_by(it, topic)).max();
        left_out.is_none_or(|out| out < by && by == NamedBy::Exact).then_some(by)
    }

    /// Where a partition of one of its topics begins.
    #[must_use]
    pub fn begins(&self, topic: &str, topic_id: Uuid, partition: i32) -> PartitionStart {
        match self.starts.get(topic).filter(|it| it.topic_id == topic_id) {
            None => PartitionStart { position_id: self.later_id, offset: None, again: self.later_again },
            Some(it) => {
                let listed = usize::try_from(partition).ok().and_then(|index| it.offsets.get(index));
                PartitionStart { position_id: it.position_id, offset: listed.copied(), again: it.again }
            }
        }
    }
}

/// How a name or prefix names a topic.
fn named_by(pattern: &str, topic: &str) -> Option<NamedBy> {
    match pattern.strip_suffix('*') {
        Some(prefix) => topic.starts_with(prefix).then_some(NamedBy::Prefix(prefix.len())),
        None => (pattern == topic).then_some(NamedBy::Exact),
    }
}

// === impl SourceFormat ===

impl SourceFormat {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Cloudevents,
        Self::Hookbus,
        Self::Json,
        Self::Debezium,
        Self::Avro,
        Self::Protobuf,
        Self::JsonSchema,
        Self::Text,
        Self::Binary,
    ];

    /// Its word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cloudevents => "cloudevents",
            Self::Hookbus => "hookbus",
            Self::Json => "json",
            Self::Debezium => "debezium",
            Self::Avro => "avro",
            Self::Protobuf => "protobuf",
            Self::JsonSchema => "json_schema",
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }

    /// Whether a record of this format names its application and its type, so that templates need not.
    #[must_use]
    pub const fn brings_attributes(self) -> bool {
        matches!(self, Self::Cloudevents | Self::Hookbus)
    }
}

#[cfg(test)]
mod tests;
