//! Worker health on `status`: breaker states, backlog and requests in flight, every few seconds, keyed `role/instance`.

use serde::{Deserialize, Serialize};

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
}
