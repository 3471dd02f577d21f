//! Which events of the past a job matches against one subscription.

use serde::{Deserialize, Serialize};

use crate::ids::SubscriptionId;

/// What Kafka holds of the past, for one subscription as it is now: `events`, and the topics of sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobBackfill {
    /// Who gets it.
    pub subscription_id: SubscriptionId,
    /// Accepted not before, Unix ms; absent: whatever Kafka holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// Accepted not after, Unix ms; absent: up to where it gets events as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}
