//! What fan-out workers tell of their sources: per partition, in records of their own, keyed
//! `fanout/<instance>/sources-<0..f>` by the last digit of the source's id, so that none of them grows large.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{PositionId, SourceId};

/// Partitions that one record tells of at most, so that it stays below 512 KiB.
pub const MAX_TOLD_PARTITIONS: usize = 3_000;
/// Characters of a failure's sentence.
pub const MAX_FAILURE_DETAIL: usize = 300;
/// Partitions that fail keep their sentence up to this many in one record; the others keep their word only.
pub const MAX_TOLD_FAILURES: usize = 200;

/// The sources whose partitions a worker owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcesHealth {
    /// By source.
    pub of: BTreeMap<SourceId, SourceHealth>,
    /// There are more partitions than are told.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub is_cut: bool,
}

/// One source, as one worker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceHealth {
    /// Since when records are counted here, Unix ms.
    pub from_ms: i64,
    /// Records that were read and committed since.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub records: u64,
    /// Those of them that were rejected.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub rejected: u64,
    /// Those of them that are no events: tombstones, snapshots, heartbeats.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub skipped: u64,
    /// Its topics with the partitions that this worker owns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, SourceTopicHealth>,
    /// What is wrong with all of it, so that there may be no partitions to tell of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<SourceFailure>,
}

/// One topic of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTopicHealth {
    /// Kafka's id of it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<Uuid>,
    /// What is wrong with the topic itself, where it has no partitions to tell of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<SourceFailure>,
    /// The partitions, by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<i32, SourcePartitionHealth>,
}

/// One partition of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePartitionHealth {
    /// How it is doing.
    pub state: SourcePartitionState,
    /// Since when it is, Unix ms.
    pub since_ms: i64,
    /// Whose positions its offset is of; absent: it has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_id: Option<PositionId>,
    /// The next offset that is not committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<i64>,
    /// One past the last record that may be read (open transactions hold it back).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// Kafka's time of the oldest record that is not committed, Unix ms; absent: there is none, or it was never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<i64>,
    /// What it waits for or fails of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<SourceFailure>,
}

/// How one partition is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePartitionState {
    /// It is read.
    #[default]
    Running,
    /// The source is paused.
    Paused,
    /// For something that others have to give: a schema, Kafka.
    Waiting,
    /// It is held, and tried again every 30 s.
    Failing,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFailure {
    /// A word: `not_authorized`, `topic_missing`, `offset_out_of_range`, `unknown_application`, `registry_unavailable`.
    pub code: String,
    /// The sentence, with what to change; at most [`MAX_FAILURE_DETAIL`] characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

// === impl SourceHealth ===

impl SourcesHealth {
    /// What follows an instance's key in the key of the record that tells of a source.
    #[must_use]
    pub fn shard(source: SourceId) -> String {
        format!("sources-{:x}", source.0.as_u128() & 0xf)
    }
}
