//! What waits for its lane, on `lanes`: per subscription ordered lists of offsets of `deliveries`, and what is not as new of it.
//!
//! | key | value |
//! |---|---|
//! | `<subscription>` | [`LaneRecord`]: the ends of its lists, its circuit and window. None: nothing waits and all is as new |
//! | `<subscription>/<list id>/<number>` | [`ChunkRecord`]: up to 128 offsets of the middle of a list. None: they left |
//!
//! Partition `p` holds the lanes of partition `p` of `deliveries`, and only the owner of that one writes it, together with its
//! progress. No payload is here: a delivery that is listed stays where it is, and is read back by its offset.

mod held;
mod offsets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::ids::SubscriptionId;
use crate::record::{Headers, OutRecord};

pub use self::held::{HeldKey, PendingRetry, SupersededRetry};
pub use self::offsets::{decode_offsets, encode_offsets};

/// Version of the values.
const VERSION: u32 = 1;

/// The key of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneKey {
    /// A lane.
    Lane(SubscriptionId),
    /// A chunk of one of its lists.
    Chunk(ChunkKey),
}

/// Which chunk of which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey {
    /// Whose lane.
    pub subscription: SubscriptionId,
    /// Which of its lists.
    pub list: u32,
    /// Which chunk of that: it grows from the list's front to its back, and may be negative.
    pub number: i64,
}

/// What a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ListRole {
    /// Set aside: what is cancelled of it leaves, what is not goes before everything else.
    #[serde(rename = "x")]
    SetAside,
    /// Retries, and what a worker of an older version has parked: older than first tries.
    #[serde(rename = "r")]
    Retries,
    /// First tries.
    #[serde(rename = "f")]
    FirstTries,
}

/// The value of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRecord {
    v: u32,
    /// Its lists; none of them is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListRecord>,
    /// Version of its subscription (offset of its record on `control`) when what waits here in its order was last looked at: what
    /// that one and those before cancel was set aside. None: nothing waits in order, or a release wrote it that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_of: Option<i64>,
    /// Which endpoint circuit, origin, window and hold are of. None: nothing stands of them, or a release wrote it that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<LaneEndpoint>,
    /// Its circuit, where it is not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<LaneCircuit>,
    /// The circuit of its endpoint's origin (scheme, host and port), where a request of this lane has opened it (again).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<LaneCircuit>,
    /// Requests it may have in flight, where that is not what a new lane begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Nothing is sent before this time, as its endpoint asked, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until_ms: Option<i64>,
    /// Since when every attempt has failed, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<i64>,
    /// Its newest success, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_ms: Option<i64>,
    /// Ordering keys of which one has failed and waits for its retry, ascending: the others with the same key wait until it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_keys: Vec<HeldKey>,
    /// Retries that are on their way though another one went in their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<SupersededRetry>,
}

/// The endpoint that a lane knows something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneEndpoint {
    /// Version of the subscription that it was taken from: the offset of its record on `control`.
    pub of: i64,
    /// A digest of its origin (scheme, host and port): the same for the same origin in every release.
    pub origin: Uuid,
}

/// A circuit that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCircuit {
    /// When the next probe goes, Unix ms; in the past: it is under way or due.
    pub until_ms: i64,
    /// How long it has waited, ms: the next wait follows from it.
    pub wait_ms: i64,
}

/// One list of a lane: its ends, and which chunks lie between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRecord {
    /// What it holds.
    pub role: ListRole,
    /// Its number among the lists that its lane has now.
    pub id: u32,
    /// Its first offsets, ascending.
    #[serde(with = "offsets::text", default, skip_serializing_if = "Vec::is_empty")]
    pub front: Vec<i64>,
    /// The first of its chunks and the one behind the last; between them some may be missing, all of which has left.
    #[serde(default, skip_serializing_if = "is_nowhere")]
    pub chunks: (i64, i64),
    /// Its last offsets, ascending.
    #[serde(with = "offsets::text", default, skip_serializing_if = "Vec::is_empty")]
    pub back: Vec<i64>,
    /// Offsets in it, those of the chunks included.
    pub n: u64,
    /// Kafka's time of nothing in it is older, Unix ms.
    pub oldest_ms: i64,
    /// Nothing of its front and back dies of age before this time, Unix ms.
    pub dead_ms: i64,
}

/// The value of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    v: u32,
    /// Its offsets, ascending.
    #[serde(with = "offsets::text")]
    pub offsets: Vec<i64>,
    /// Kafka's time of nothing in it is older, Unix ms.
    pub oldest_ms: i64,
    /// Nothing of it dies of age before this time, Unix ms.
    pub dead_ms: i64,
}

/// Why a record of `lanes` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LaneError {
    /// Its key.
    #[error("`{0}` is no key of a lane or of a chunk")]
    Key(String),
    /// Its value.
    #[error("the value of `{key}` cannot be read: {reason}")]
    Value {
        /// Which record.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

fn is_nowhere(chunks: &(i64, i64)) -> bool {
    *chunks == (0, 0)
}

// === impl LaneKey ===

impl LaneKey {
    /// Reads the key of a record.
    ///
    /// # Errors
    /// [`LaneError::Key`].
    pub fn decode(key: Option<&[u8]>) -> Result<Self, LaneError> {
        let key = key.unwrap_or_default();
        let text = std::str::from_utf8(key).map_err(|_not_text| LaneError::Key(shown(key)))?;
        text.parse().map_err(|()| LaneError::Key(shown(key)))
    }

    /// The record of this key in a partition; without a value it says that there is none any more.
    #[must_use]
    pub fn record(self, topic: &Arc<str>, partition: i32, value: Option<Bytes>) -> OutRecord {
        OutRecord {
            topic: Arc::clone(topic),
            partition: Some(partition),
            key: Some(Bytes::from(self.to_string())),
            value,
            headers: Headers::default(),
        }
    }
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lane(subscription) => write!(f, "{subscription}"),
            Self::Chunk(ChunkKey { subscription, list, number }) => write!(f, "{subscription}/{list}/{number}"),
        }
    }
}

impl FromStr for LaneKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let subscription = parts.next().and_then(|id| id.parse().ok()).map(SubscriptionId).ok_or(())?;
        let key = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => Self::Lane(subscription),
            (Some(list), Some(number), None) => {
                let (list, number) = (list.parse().map_err(drop)?, number.parse().map_err(drop)?);
                Self::Chunk(ChunkKey { subscription, list, number })
            }
            _ => return Err(()),
        };
        // One spelling per key: compaction knows no other equality.
        if key.to_string() == text { Ok(key) } else { Err(()) }
    }
}

// === impl LaneEndpoint ===

impl LaneEndpoint {
    /// An endpoint at an origin, as a version of its subscription has it.
    #[must_use]
    pub fn new(of: i64, origin: &str) -> Self {
        Self { of, origin: Uuid::new_v5(&Uuid::NAMESPACE_URL, origin.as_bytes()) }
    }
}

// === impl LaneRecord ===

impl LaneRecord {
    /// A lane with these lists and nothing else.
    #[must_use]
    pub fn new(lists: Vec<ListRecord>) -> Self {
        Self {
            v: VERSION,
            lists,
            reviewed_of: None,
            endpoint: None,
            circuit: None,
            origin: None,
            window: None,
            hold_until_ms: None,
            failing_since_ms: None,
            success_ms: None,
            held_keys: Vec::new(),
            superseded: Vec::new(),
        }
    }

    /// Whether it says nothing that a lane without a record does not say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::new(Vec::new())
    }

    /// The value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`LaneError::Value`].
    pub fn decode(key: LaneKey, value: &[u8]) -> Result<Self, LaneError> {
        decode(key, value, |record: &Self| record.v)
    }
}

// === impl ChunkRecord ===

impl ChunkRecord {
    /// A chunk of these offsets.
    #[must_use]
    pub fn new(offsets: Vec<i64>, oldest_ms: i64, dead_ms: i64) -> Self {
        Self { v: VERSION, offsets, oldest_ms, dead_ms }
    }

    /// The value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`LaneError::Value`].
    pub fn decode(key: LaneKey, value: &[u8]) -> Result<Self, LaneError> {
        decode(key, value, |record: &Self| record.v)
    }
}

fn encode(record: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(record).expect("texts and whole numbers always are JSON"))
}

fn decode<'a, T: Deserialize<'a>>(key: LaneKey, value: &'a [u8], version: fn(&T) -> u32) -> Result<T, LaneError> {
    let wrong = |reason: String| LaneError::Value { key: key.to_string(), reason };
    let record: T = serde_json::from_slice(value).map_err(|error| wrong(error.to_string()))?;
    match version(&record) {
        VERSION => Ok(record),
        other => Err(wrong(format!("its version is {other}, this release reads {VERSION}"))),
    }
}

fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).chars().take(80).collect()
}
