//! Which events a job sends again, and to whom.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::PackedIds;
use crate::event::StringMap;
use crate::ids::SubscriptionId;

/// Events that are sent again: by their ids, or by what they or their deliveries have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReplays {
    /// These, by the UUIDs of their identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<PackedIds>,
    /// Of types that one of these patterns matches; empty is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// With all of these labels.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub labels: StringMap,
    /// Accepted not before, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// Accepted not after, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<i64>,
    /// What became of their deliveries; empty is anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<ReplayOutcome>,
    /// Of deliveries to this subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<SubscriptionId>,
    /// Of deliveries whose outcome came with a status in this range, both ends included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<(u16, u16)>,
    /// To whom.
    #[serde(default)]
    pub to: ReplayTo,
}

/// What became of a delivery, or of an event that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayOutcome {
    /// It ended well.
    Delivered,
    /// It ended otherwise.
    Failed,
    /// It was tried, and waits.
    Waiting,
    /// The event matched nothing.
    Unmatched,
}

/// To whom events are sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayTo {
    /// To those that match now.
    #[default]
    Matching,
    /// To the subscriptions of the deliveries that were found.
    Same,
    /// To this one, whether it matches or not.
    Subscription(SubscriptionId),
}

// === impl JobReplays ===

impl JobReplays {
    /// Whether it is about deliveries, and not about events alone.
    #[must_use]
    pub fn is_of_deliveries(&self) -> bool {
        self.outcomes.iter().any(|outcome| *outcome != ReplayOutcome::Unmatched)
    }

    /// Whether it is about events: about all, or about those that matched nothing.
    #[must_use]
    pub fn is_of_events(&self) -> bool {
        self.outcomes.is_empty() || self.outcomes.contains(&ReplayOutcome::Unmatched)
    }

    /// What its texts and ids take in memory, in bytes.
    pub(super) fn weight(&self) -> usize {
        let ids = self.ids.as_ref().map_or(0, |ids| ids.0.len() * size_of::<Uuid>());
        let labels = self.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        ids + labels + self.event_types.iter().map(String::len).sum::<usize>()
    }
}

// === impl ReplayOutcome ===

impl ReplayOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Delivered, Self::Failed, Self::Waiting, Self::Unmatched];

    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
            Self::Unmatched => "unmatched",
        }
    }
}
