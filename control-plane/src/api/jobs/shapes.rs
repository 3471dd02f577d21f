//! What jobs look like from outside, and what they are asked for with.

use std::collections::BTreeMap;

use schemas::jobs::{JobKind, JobOwner, JobState, JobSubject};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::time;
use crate::jobs::KnownJob;

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job, example = json!({
    "job_id": "01a20186-21cb-7749-81d0-b27446f73332",
    "kind": "redrive",
    "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
    "state": "running",
    "rate_per_second": 100,
    "created_at": "2026-11-29T10:30:00Z",
    "created_by": "admin",
    "started_at": "2026-11-29T10:30:00Z",
    "ended_at": null,
    "counts": { "found": 300, "written": 298, "skipped": { "disabled": 2 } },
}))]
pub(in crate::api) struct JobShown {
    job_id: Uuid,
    kind: JobKindShown,
    /// Whose it is; absent: it is no application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    application_id: Option<Uuid>,
    /// Whose it is, where it is an organization's and no application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    organization_id: Option<Uuid>,
    state: JobStateShown,
    /// Deliveries, or rejected records, that it writes in a second.
    rate_per_second: u32,
    #[schema(format = DateTime)]
    created_at: String,
    /// As in `GET /audit`.
    created_by: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    counts: JobCountsShown,
    /// The subscription that it is about, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Why it does not go on, while it is `waiting`: so many of its deliveries to one subscription are under way, or something it needs
    /// does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    /// How much of the topics a backfill has read, of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, maximum = 100)]
    percent: Option<u8>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = JobKind)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum JobKindShown {
    /// An event is sent again, or many are.
    Replay,
    /// One more attempt of a delivery.
    Retry,
    /// Dead letters are sent again.
    Redrive,
    /// Dead letters are not going to be sent again.
    Discard,
    /// Rejected records are planned again.
    RetryRejected,
    /// A subscription gets events of before it was there.
    Backfill,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = JobState)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum JobStateShown {
    /// Nothing of it has been done.
    Queued,
    /// It is under way.
    Running,
    /// Its next part cannot be made now, and is tried again; `waiting_for` says why.
    Waiting,
    /// Nothing more of it is done until it is resumed.
    Paused,
    /// All of it is done.
    Done,
    /// Somebody ended it.
    Cancelled,
    /// It cannot be done; `detail` says why.
    Failed,
}

/// What a job has done so far.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = JobCounts)]
pub(in crate::api) struct JobCountsShown {
    /// Deliveries, dead letters or rejected records that were looked at.
    found: u64,
    /// Deliveries, decisions or rejected records that were written.
    written: u64,
    /// Those that were left out, by why: `expired`, `erased`, `disabled`, `deleted`, `already_delivered`, `not_open`,
    /// `too_large`, `no_event`, `existing`.
    skipped: BTreeMap<String, u64>,
    /// Of a backfill: records of topics that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scanned: Option<u64>,
}

/// Whose attempt is made once more.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42" }))]
pub(in crate::api) struct ResendPost {
    /// Id or uid; with an application's own token it may be left out.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
}

/// An event that is sent again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42" }))]
pub(in crate::api) struct ReplayPost {
    /// Id or uid; with an application's own token it may be left out.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
    /// To this subscription, whether it matches or not: id or uid. Else to those that match now.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    subscription_id: Option<String>,
    /// A name of the client's own: asked again with the same, nothing more is sent.
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    replay_id: Option<String>,
}

/// Events that are sent again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({
    "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
    "filter": { "outcome": ["failed"], "from": "2026-11-29T10:00:00Z", "to": "2026-11-29T11:00:00Z" },
    "rate_per_second": 100,
}))]
pub(in crate::api) struct ReplaysPost {
    /// Id or uid; with an application's own token it may be left out.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
    filter: ReplayFilter,
    /// `matching`: to those that match now; `same`: to the subscriptions of the deliveries that were found, which is usual with an
    /// `outcome` of deliveries; or an object with the `subscription_id` of one, whether it matches or not.
    #[schema(nullable = false)]
    to: Option<ReplayToPost>,
    /// Deliveries that are written in a second, 100 unless said.
    #[schema(minimum = 1, maximum = 10_000)]
    rate_per_second: Option<u32>,
    /// A name of the client's own: asked again with the same, nothing more is sent.
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    replay_id: Option<String>,
}

/// To whom events are sent again.
#[derive(Serialize, ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[serde(untagged)]
#[schema(as = ReplayTo)]
pub(in crate::api) enum ReplayToPost {
    Word(ReplayToWord),
    One(ReplayToOne),
}

/// To those that match now, or to the subscriptions of the deliveries that were found.
#[derive(Serialize, ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum ReplayToWord {
    Matching,
    Same,
}

/// To one subscription.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct ReplayToOne {
    /// Id or uid.
    #[schema(min_length = 1, max_length = 200)]
    subscription_id: String,
}

/// What events have in common, or their deliveries.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(in crate::api) struct ReplayFilter {
    /// Types or patterns.
    #[schema(nullable = false, max_items = 100)]
    event_types: Option<Vec<String>>,
    /// All of these.
    #[schema(nullable = false)]
    labels: Option<BTreeMap<String, String>>,
    /// That were accepted at this time or later.
    #[schema(nullable = false, format = DateTime)]
    from: Option<String>,
    /// That were accepted at this time or earlier.
    #[schema(nullable = false, format = DateTime)]
    to: Option<String>,
    /// What became of them: `delivered`, `failed`, `waiting`, or `unmatched` where they matched nothing.
    #[schema(nullable = false, min_items = 1, max_items = 4)]
    outcome: Option<Vec<String>>,
    /// With an `outcome`: of deliveries to this subscription.
    #[schema(nullable = false)]
    subscription_id: Option<Uuid>,
    /// With an `outcome`: a status of the last answer, `404`, or a class of them, `5xx`.
    #[schema(nullable = false, pattern = "^[1-5]([0-9]{2}|xx)$")]
    http_status: Option<String>,
    /// These, by id, UUID or webhook id; no other field goes with them.
    #[schema(nullable = false, min_items = 1, max_items = 1_000)]
    event_ids: Option<Vec<String>>,
}

/// Dead letters that are sent again: by their ids or by what they have in common, one of them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({
    "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
    "filter": { "reason": "schedule" },
    "rate_per_second": 100,
}))]
pub(in crate::api) struct RedrivePost {
    /// Id or uid; with an application's own token it may be left out.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
    #[schema(nullable = false)]
    filter: Option<DeadLetterFilter>,
    #[schema(nullable = false, min_items = 1, max_items = 1_000)]
    dead_letter_ids: Option<Vec<Uuid>>,
    /// Deliveries that are written in a second, 100 unless said.
    #[schema(minimum = 1, maximum = 10_000)]
    rate_per_second: Option<u32>,
}

/// Dead letters that are not going to be sent again: by their ids or by what they have in common, one of them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({
    "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
    "filter": { "to": "2026-11-01T00:00:00Z" },
    "reason": "the shop has closed",
}))]
pub(in crate::api) struct DiscardPost {
    /// Id or uid; with an application's own token it may be left out.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
    #[schema(nullable = false)]
    filter: Option<DeadLetterFilter>,
    #[schema(nullable = false, min_items = 1, max_items = 1_000)]
    dead_letter_ids: Option<Vec<Uuid>>,
    /// Why: it stands in the delivery log.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Rejected records that are planned again: by their ids, or by what they have in common.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({
    "source_id": "01a20186-21cb-7749-81d0-b27446f73332",
    "reason": "invalid_attribute",
    "from": "2026-11-29T10:00:00Z",
}))]
pub(in crate::api) struct RetryRejectedPost {
    /// These; no other field but the rate goes with them.
    #[schema(nullable = false, min_items = 1, max_items = 1_000)]
    ids: Option<Vec<String>>,
    /// Those that came through this source: id, or uid of one that is there.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    source_id: Option<String>,
    /// Those of this reason.
    #[schema(nullable = false, min_length = 1, max_length = 50)]
    reason: Option<String>,
    /// Rejected at this time or later.
    #[schema(nullable = false, format = DateTime)]
    from: Option<String>,
    /// Rejected at this time or earlier; never later than the request.
    #[schema(nullable = false, format = DateTime)]
    to: Option<String>,
    /// Records that are planned again in a second, 100 unless said.
    #[schema(minimum = 1, maximum = 10_000)]
    rate_per_second: Option<u32>,
}

/// What dead letters have in common; without any field all of them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(in crate::api) struct DeadLetterFilter {
    #[schema(nullable = false)]
    subscription_id: Option<Uuid>,
    /// Types or patterns.
    #[schema(nullable = false, max_items = 100)]
    event_types: Option<Vec<String>>,
    /// What they died of.
    #[schema(nullable = false, pattern = "^(schedule|max_age|refused|gone|aborted|unwritable)$")]
    reason: Option<String>,
    /// That died at this time or later.
    #[schema(nullable = false, format = DateTime)]
    from: Option<String>,
    /// That died at this time or earlier.
    #[schema(nullable = false, format = DateTime)]
    to: Option<String>,
}

// === impl JobShown ===

impl JobShown {
    pub(in crate::api) fn of(job: &KnownJob) -> Self {
        let (definition, progress) = (&job.definition, job.progress.as_ref());
        let counts = progress.map(|progress| &progress.counts);
        let subscription = match &definition.subject {
            JobSubject::Delivery(of) => Some(of.subscription_id),
            JobSubject::Event(of) => of.subscription_id,
            JobSubject::DeadLetters(of) => of.subscription_id,
            JobSubject::Events(of) => of.subscription_id,
            JobSubject::Backfill(of) => Some(of.subscription_id),
            JobSubject::Rejections(_) => None,
        };
        let application = match definition.owner() {
            JobOwner::Application(id) => Some(id.0),
            JobOwner::Organization(_) | JobOwner::Operator => None,
        };
        let ended_ms = progress.and_then(|progress| progress.ended_ms).or(definition.cancelled_ms);
        Self {
            job_id: definition.job_id.0,
            kind: JobKindShown::of(definition.kind),
            application_id: application,
            organization_id: definition.organization_id.map(|id| id.0),
            state: JobStateShown::of(job.state()),
            rate_per_second: definition.rate_per_second,
            created_at: time(definition.created_ms),
            created_by: definition.created_by.clone(),
            started_at: progress.map(|progress| time(progress.started_ms)),
            ended_at: ended_ms.map(time),
            counts: counts.map_or_else(JobCountsShown::default, |counts| JobCountsShown {
                found: counts.found,
                written: counts.written,
                skipped: counts.skipped.clone(),
                scanned: (definition.kind == JobKind::Backfill).then_some(counts.scanned),
            }),
            subscription_id: subscription.map(|id| id.0),
            detail: progress.and_then(|progress| progress.detail.clone()),
            waiting_for: progress
                .filter(|_| job.state() == JobState::Waiting)
                .and_then(|progress| progress.waiting_for.clone()),
            percent: job.percent(),
        }
    }
}

impl JobKindShown {
    fn of(kind: JobKind) -> Self {
        match kind {
            JobKind::Replay => Self::Replay,
            // A kind that this build does not know is in no list of it.
            JobKind::Retry | JobKind::Unknown => Self::Retry,
            JobKind::Redrive => Self::Redrive,
            JobKind::Discard => Self::Discard,
            JobKind::RetryRejected => Self::RetryRejected,
            JobKind::Backfill => Self::Backfill,
        }
    }
}

impl JobStateShown {
    fn of(state: JobState) -> Self {
        match state {
            JobState::Queued => Self::Queued,
            // A newer build's word: what has an end says so.
            JobState::Running | JobState::Unknown => Self::Running,
            JobState::Waiting => Self::Waiting,
            JobState::Paused => Self::Paused,
            JobState::Done => Self::Done,
            JobState::Cancelled => Self::Cancelled,
            JobState::Failed => Self::Failed,
        }
    }
}
