//! Worker health on `status`: breaker states, backlog and requests in flight, every few seconds, keyed `role/instance`.
//!
//! When tokens were used stands in records of its own, keyed `role/instance/tokens-<0..f>`: they change rarely and may be large.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One instance's report. Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Tokens seen by this instance, by the id of their object: when last, Unix ms, coarse.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<Uuid, i64>,
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
}

impl Status {
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
