//! Which rejected records a job has planned again.

use serde::{Deserialize, Serialize};

use crate::delivery::RecordPlace;
use crate::ids::{ApplicationId, OrganizationId, SourceId};

/// Rejected records, by their places on `rejected`, or by what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRejections {
    /// Whoever asked sees those of this application alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<ApplicationId>,
    /// Whoever asked sees those of this organization alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<OrganizationId>,
    /// These.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<RecordPlace>>,
    /// That came through this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<SourceId>,
    /// That were rejected for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Rejected not before, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// Rejected not after, Unix ms. Always there without `places`: what fails again is not this job's once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<i64>,
}

// === impl JobRejections ===

impl JobRejections {
    /// What its texts and places take in memory, in bytes.
    pub(super) fn weight(&self) -> usize {
        let places = self.places.as_ref().map_or(0, |places| places.len() * size_of::<RecordPlace>());
        places + self.reason.as_ref().map_or(0, String::len)
    }
}
