//! Jobs: what is sent again at somebody's request, on the compacted topic `jobs`.
//!
//! | key | value | written by |
//! |---|---|---|
//! | `<job>` | [`JobDefinition`]: what was asked for; written anew where it is paused, resumed or cancelled | whoever takes the request |
//! | `<job>/progress` | [`JobProgress`]: how far it is | who runs it, in the transaction of what it writes |
//!
//! All records of an application are in one partition, that of its id, so that one runner has all of its jobs.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::delivery::{Origin, RecordPlace};
use crate::ids::{ApplicationId, DeliveryId, JobId, OrganizationId, SubscriptionId};
use crate::murmur2::partition_for;

mod backfill;
mod counts;
mod owner;
mod packed;
mod rejections;
mod replays;
mod words;
mod written;

pub use self::backfill::JobBackfill;
pub use self::counts::JobCounts;
pub use self::owner::JobOwner;
pub use self::packed::PackedIds;
pub use self::rejections::JobRejections;
pub use self::replays::{JobReplays, ReplayOutcome, ReplayTo};
pub use self::words::{JobKind, JobSkip, JobState};
pub use self::written::{JobWritten, MAX_GOALS};

/// Current version of both records.
pub const VERSION: u8 = 1;
/// Bytes of a definition: a thousand ids have 21.4 KiB.
pub const MAX_JOB_BYTES: usize = 24 * 1024;
/// Ids that a job may name.
pub const MAX_JOB_IDS: usize = 1_000;
/// Deliveries that a job writes in a second, where its request does not say.
pub const USUAL_RATE: u32 = 100;
/// The most that it may.
pub const MAX_RATE: u32 = 10_000;
/// Characters of the reason that a dead letter is discarded for.
pub const MAX_REASON: usize = 500;

/// Which record of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKey {
    /// What was asked for.
    Definition(JobId),
    /// How far it is.
    Progress(JobId),
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDefinition {
    /// Version, [`VERSION`].
    pub v: u8,
    /// What it does.
    pub kind: JobKind,
    /// Its id, and the generation of what it writes.
    pub job_id: JobId,
    /// Whose it is. One that is no application's is filed under its organization's id, or under the nil one, see [`Self::owner`].
    pub application_id: ApplicationId,
    /// Whose it is, if it is no application's: this organization's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<OrganizationId>,
    /// When it was asked for, Unix ms.
    pub created_ms: i64,
    /// Who asked, as in `audit`.
    pub created_by: String,
    /// Deliveries, or rejected records, per second.
    pub rate_per_second: u32,
    /// About what.
    pub subject: JobSubject,
    /// When it was cancelled, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_ms: Option<i64>,
    /// Since when it is paused, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_ms: Option<i64>,
}

/// What a job is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobSubject {
    /// A delivery.
    Delivery(JobDelivery),
    /// An event.
    Event(JobEvent),
    /// Dead letters.
    DeadLetters(JobDeadLetters),
    /// Many events.
    Events(JobReplays),
    /// Rejected records.
    Rejections(JobRejections),
    /// The past of one subscription.
    Backfill(JobBackfill),
}

/// A delivery that is made once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDelivery {
    /// Its id.
    pub delivery_id: DeliveryId,
    /// Its subscription.
    pub subscription_id: SubscriptionId,
    /// Its youngest copy, on `deliveries`.
    pub record: RecordPlace,
}

/// An event that is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// The UUID of its identity.
    pub event: Uuid,
    /// Where it was accepted.
    pub origin: Origin,
    /// When, Unix ms.
    pub accepted_ms: i64,
    /// To this subscription, whether it matches or not; absent: to those that match now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<SubscriptionId>,
}

/// Dead letters, by their ids or by what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDeadLetters {
    /// These.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<PackedIds>,
    /// Those that died of this subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<SubscriptionId>,
    /// Of types that one of these patterns matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// That died of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Not before, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// Not after, Unix ms. Always there: what dies later is not this job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<i64>,
    /// Why they are discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How far a job is. Written with each part of it, so that what was written is known whatever happens to its runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Version, [`VERSION`].
    pub v: u8,
    /// The job.
    pub job_id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// When it began, Unix ms.
    pub started_ms: i64,
    /// When it ended, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    /// What was found and written so far.
    #[serde(default)]
    pub counts: JobCounts,
    /// Where its next part begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Whom it has written for, as far as that is not known to have ended; absent: nothing, or an older build ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_to: Option<JobWritten>,
    /// A sentence about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Why its next part cannot be made now, while it is `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}

/// Why a record is none of a job.
#[derive(Debug, Error)]
pub enum JobError {
    /// Its key.
    #[error("the key `{0}` is no job's")]
    Key(String),
    /// Its value.
    #[error("the value is no job's: {0}")]
    Value(#[from] serde_json::Error),
}

/// The partition of an application's jobs.
#[must_use]
pub fn jobs_partition(application: ApplicationId, partitions: i32) -> i32 {
    partition_for(application.to_string().as_bytes(), partitions)
}

// === impl JobKey ===

impl JobKey {
    /// Reads a record's key.
    ///
    /// # Errors
    /// It is no job's.
    pub fn decode(key: Option<&[u8]>) -> Result<Self, JobError> {
        let text = String::from_utf8_lossy(key.unwrap_or_default());
        text.parse().map_err(|()| JobError::Key(text.into_owned()))
    }

    /// The job.
    #[must_use]
    pub fn job(self) -> JobId {
        match self {
            Self::Definition(id) | Self::Progress(id) => id,
        }
    }

    /// The records of a job in the order in which they are removed: what is asked for without how far it is would begin anew.
    #[must_use]
    pub fn removed(job: JobId) -> [Self; 2] {
        [Self::Definition(job), Self::Progress(job)]
    }

    /// As a record's key.
    #[must_use]
    pub fn encode(self) -> Bytes {
        Bytes::from(self.to_string())
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definition(id) => write!(f, "{id}"),
            Self::Progress(id) => write!(f, "{id}/progress"),
        }
    }
}

impl FromStr for JobKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, is_progress) = text.strip_suffix("/progress").map_or((text, false), |id| (id, true));
        let id = id.parse().map_err(drop)?;
        Ok(if is_progress { Self::Progress(id) } else { Self::Definition(id) })
    }
}

// === impl JobDefinition ===

impl JobDefinition {
    /// Reads a record's value; `None`: it is of a kind that a newer build runs.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(value: &[u8]) -> Result<Option<Self>, JobError> {
        #[derive(Deserialize)]
        struct OnlyKind {
            kind: JobKind,
        }
        if serde_json::from_slice::<OnlyKind>(value)?.kind == JobKind::Unknown {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(value)?))
    }

    /// As a record's value.
    ///
    /// # Errors
    /// Never in practice; passed on rather than hidden.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// What it takes in memory, in bytes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 512;
        let subject = match &self.subject {
            JobSubject::Delivery(_) | JobSubject::Backfill(_) => 0,
            JobSubject::Event(of) => of.origin.topic.len(),
            JobSubject::Events(of) => of.weight(),
            JobSubject::Rejections(of) => of.weight(),
            JobSubject::DeadLetters(of) => {
                let texts = [of.reason.as_ref(), of.why.as_ref()].into_iter().flatten().chain(&of.event_types);
                of.ids.as_ref().map_or(0, |ids| ids.0.len() * size_of::<Uuid>()) + texts.map(String::len).sum::<usize>()
            }
        };
        FIXED + self.created_by.len() + subject
    }

    /// Whether it may take long, so that those of one application take turns.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        !matches!(self.subject, JobSubject::Delivery(_) | JobSubject::Event(_))
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> JobOwner {
        match self.organization_id {
            Some(organization) => JobOwner::Organization(organization),
            None if self.application_id.0.is_nil() => JobOwner::Operator,
            None => JobOwner::Application(self.application_id),
        }
    }
}

// === impl JobProgress ===

impl JobProgress {
    /// Of a job that begins.
    #[must_use]
    pub fn begun(job_id: JobId, started_ms: i64) -> Self {
        let counts = JobCounts::default();
        Self {
            v: VERSION,
            job_id,
            state: JobState::Running,
            started_ms,
            ended_ms: None,
            counts,
            cursor: None,
            written_to: None,
            detail: None,
            waiting_for: None,
        }
    }

    /// The same, where its next part cannot be made now.
    #[must_use]
    pub fn waiting(self, why: &str) -> Self {
        Self { state: JobState::Waiting, waiting_for: Some(why.to_owned()), ..self }
    }

    /// The same, where its next part is made.
    #[must_use]
    pub fn going_on(self) -> Self {
        Self { state: JobState::Running, waiting_for: None, ..self }
    }

    /// The same, ended.
    #[must_use]
    pub fn ended(self, state: JobState, now_ms: i64) -> Self {
        Self { state, ended_ms: Some(now_ms), cursor: None, written_to: None, waiting_for: None, ..self }
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(value: &[u8]) -> Result<Self, JobError> {
        Ok(serde_json::from_slice(value)?)
    }

    /// Whom it has written for. Where an older build ran it, and did not say: as many as it wrote, for all together.
    #[must_use]
    pub fn written(&self) -> JobWritten {
        self.written_to.clone().unwrap_or_else(|| JobWritten::untold(self.counts.written))
    }

    /// As a record's value.
    ///
    /// # Errors
    /// Never in practice; passed on rather than hidden.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests;
