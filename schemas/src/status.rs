//! Health of roles on `status`: backlog, breaker states, requests in flight and so on, every few seconds, keyed `role/instance`.
//!
//! A role that leaves takes its record back; one that crashed is known by its old `at_ms`.
//!
//! What fan-out workers tell of sources stands in records of its own ([`SourcesHealth`]).
//!
//! When tokens were used stands in records of its own, keyed `role/instance/tokens-<0..f>`: they change rarely and may be large.

mod sources;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::control::shape;
use crate::ids::SubscriptionId;

pub use sources::{
    MAX_FAILURE_DETAIL, MAX_TOLD_FAILURES, MAX_TOLD_PARTITIONS, SourceFailure, SourceHealth, SourcePartitionHealth,
    SourcePartitionState, SourceTopicHealth, SourcesHealth,
};

/// Lanes that one delivery worker tells of at most, so that its record stays below 256 KiB.
pub const MAX_LANES: usize = 1_000;

/// One instance's report. Version 1. Fields are added to it without a new version: readers pass over what they do not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version.
    pub v: u8,
    /// Role name, e.g. `delivery`.
    pub role: String,
    /// Instance: the slot.
    pub instance: String,
    /// When, Unix ms.
    pub at_ms: i64,
    /// Partitions owned.
    pub partitions: u32,
    /// Records read and not resolved.
    pub live: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// What only delivery workers have to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryHealth>,
    /// What delivery workers say of their lanes one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<LanesHealth>,
    /// What only fan-out workers have to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fanout: Option<FanoutHealth>,
    /// What fan-out workers say of the sources they read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<SourcesHealth>,
    /// What only retry schedulers have to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryHealth>,
    /// What only gateways have to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayHealth>,
    /// Tokens seen by this instance, by the id of their object: when last, Unix ms, coarse.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<Uuid, i64>,
    /// Version of its binary; absent: an older one, which does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The commit it was built from, where the build was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Up to which shape it reads objects of `control` whole; absent: an older one, which reads the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_shape: Option<u8>,
}

/// How a delivery worker's subscriptions are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryHealth {
    /// Subscriptions whose circuit is open.
    pub open_circuits: u32,
    /// Subscriptions that are paused and have deliveries here.
    pub paused: u32,
    /// Age of the oldest delivery that is not settled, ms.
    pub backlog_ms: i64,
    /// Whether everything fails at once, so that intake holds.
    pub held: bool,
    /// Deliveries that wait in the lists of their lanes.
    #[serde(default)]
    pub queued: u64,
    /// Age of the oldest of them, ms.
    #[serde(default)]
    pub queued_ms: i64,
}

/// The lanes of a delivery worker with which something happens or lately did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanesHealth {
    /// Partitions of `deliveries` whose lanes these are, ascending.
    pub partitions: Vec<i32>,
    /// By subscription, at most [`MAX_LANES`]. One that is left out is at rest, unless [`LanesHealth::is_cut`].
    pub of: BTreeMap<SubscriptionId, LaneHealth>,
    /// There are more of them than are told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_cut: bool,
}

/// One subscription's lane, as its worker sees it. What stands in its record on `lanes` is not said twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneHealth {
    /// Requests in flight.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_flight: u64,
    /// Requests it may have in flight now.
    pub window: u32,
    /// Deliveries that wait for their turn, those in its lists included; not those that wait for a time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting: u64,
    /// Kafka's time of the oldest of them whose payload is in memory, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<i64>,
    /// Since when every attempt has failed, Unix ms; absent: the last one did not, or none ended here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<i64>,
    /// When its endpoint last took one here, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_ms: Option<i64>,
    /// Since when ends of requests are counted, Unix ms.
    pub from_ms: i64,
    /// Requests that ended since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ended: u64,
    /// Those of them that delivered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub succeeded: u64,
}

/// How far a fan-out worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanoutHealth {
    /// Records between the committed offsets and the ends of its partitions.
    pub lag_records: u64,
    /// Age of the oldest record read and not committed, ms.
    pub lag_ms: i64,
    /// Deliveries made per second, lately.
    pub matched_per_second: u64,
    /// When it committed last, Unix ms; never since its start: absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit_ms: Option<i64>,
    /// Whether planning stands still until the snapshot has caught up with `control`.
    pub waiting_for_control: bool,
    /// Everything on `control` below this offset is known to it.
    pub position: i64,
}

/// What waits with a retry scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryHealth {
    /// Offsets between the committed one and the end, by delay topic: what waits, and some markers.
    pub waiting: BTreeMap<String, u64>,
    /// How long the head that is ready longest has been, ms.
    pub overdue_ms: i64,
    /// When it committed last, Unix ms; never since its start: absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit_ms: Option<i64>,
}

/// Whether a gateway takes events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayHealth {
    /// Whether it takes events.
    pub accepting: bool,
    /// Why it answers, or answered lately, with a 503: `starting`, `draining`, or codes of problems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// Events acknowledged per second, lately.
    pub accepted_per_second: u64,
    /// Events and requests refused per second, lately, for any reason.
    pub refused_per_second: u64,
    /// Open connections.
    pub connections: u64,
    /// Everything on `control` below this offset is known to it.
    pub position: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references over")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references over")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

// === impl Status ===

impl Status {
    /// A report without facts.
    #[must_use]
    pub fn new(role: &str, instance: &str, at_ms: i64) -> Self {
        Self { v: 1, role: role.to_owned(), instance: instance.to_owned(), at_ms, ..Self::default() }
    }

    /// Up to which shape this instance reads objects of `control` whole.
    #[must_use]
    pub fn reads(&self) -> u8 {
        self.reads_shape.unwrap_or(shape::FIRST)
    }

    /// The key of a role's record.
    #[must_use]
    pub fn key(role: &str, instance: &str) -> String {
        format!("{role}/{instance}")
    }

    /// Encodes the value.
    ///
    /// # Errors
    /// Never in practice; passed on rather than hidden.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_version_1_decode_and_encode_to_themselves() {
        for line in include_str!("../golden/status.v1.txt").lines() {
            let (key, text) = line.split_once(' ').expect("a key and a value");
            let status: Status = serde_json::from_str(text).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert!(key.starts_with(&Status::key(&status.role, &status.instance)), "{key}");
            assert_eq!(String::from_utf8(status.encode().unwrap()).unwrap(), text, "{key}");
        }
    }

    #[test]
    fn a_report_of_a_newer_build_can_be_read() {
        let text = r#"{"v":1,"role":"x","instance":"1","at_ms":5,"partitions":1,"live":0,"in_flight":0,"x":{"y":1}}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status, Status { partitions: 1, ..Status::new("x", "1", 5) });
    }
}
