//! What a job has come to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::words::JobSkip;

/// What a job has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounts {
    /// Records of topics that were read, where that is what the job does.
    #[serde(default, skip_serializing_if = "super::backfill::is_zero")]
    pub scanned: u64,
    /// Deliveries, dead letters or rejected records that were looked at.
    pub found: u64,
    /// Deliveries or decisions that were written.
    pub written: u64,
    /// Those that were left out, by why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
}

// === impl JobCounts ===

impl JobCounts {
    /// One more is left out.
    pub fn skip(&mut self, why: JobSkip) {
        *self.skipped.entry(why.as_str().to_owned()).or_default() += 1;
    }
}
