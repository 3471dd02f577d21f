//! Jobs: what is asked to be sent again, and how far that is.
//!
//! Asking stands beside it (`resend.rs`: single events and attempts, `replays.rs`: many events, `letters.rs`: dead letters, `rejections.rs`: rejected records,
//! `backfill.rs`: what a subscription has missed); reading, pausing, resuming and
//! cancelling are the same for every kind.

pub(super) mod backfill;
mod estimates;
pub(super) mod letters;
pub(super) mod rejections;
pub(super) mod replays;
pub(super) mod resend;
mod shapes;

use std::sync::Arc;

use axum::extract::{Path, State};
use http::{StatusCode, header};
use schemas::ids::{ApplicationId, JobId};
use schemas::jobs::{JobDefinition, JobKind, JobOwner, JobState, JobSubject, MAX_RATE, USUAL_RATE, VERSION};
use schemas::problem::Code;
use uuid::Uuid;

use self::shapes::{DiscardPost, JobShown, RedrivePost, ReplayPost, ResendPost, RetryRejectedPost};
use super::addressed::Addressed;
use super::json;
use crate::auth::{Principal, Who};
use crate::body::Fields;
use crate::etag::ETag;
use crate::idempotency;
use crate::jobs::{JobChange, JobPlace, JobsAsked, KnownJob};
use crate::page::{Page, Rows};
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;

/// Rows of a page that does not say how many.
const USUAL: usize = 50;
/// Kinds and states by their words.
const KINDS: [JobKind; 6] =
    [JobKind::Replay, JobKind::Retry, JobKind::Redrive, JobKind::Discard, JobKind::RetryRejected, JobKind::Backfill];
const STATES: [JobState; 7] = [
    JobState::Queued,
    JobState::Running,
    JobState::Waiting,
    JobState::Paused,
    JobState::Done,
    JobState::Cancelled,
    JobState::Failed,
];
/// Namespace of the ids of jobs whose request may be sent again.
pub(super) const JOBS: Uuid = Uuid::from_u128(0x5e1f_7c0a_39d4_5b7e_8a61_0c4f_2d9b_e820);

/// List jobs
///
/// Newest first. Those about one event or attempt are kept for an hour after their end, others for 30 days.
#[utoipa::path(
    get, path = "/api/v1/jobs", operation_id = "jobs.list", tag = "jobs",
    params(
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("organization_id" = Option<String>, Query, description = "In place of an application: those of the organization that are no application's, id or uid", nullable = false),
        ("kind" = Option<String>, Query, description = "Only those of this kind", pattern = "^(replay|retry|redrive|discard|retry_rejected|backfill)$", nullable = false),
        ("state" = Option<String>, Query, description = "Only those that stand so", pattern = "^(queued|running|waiting|paused|done|cancelled|failed)$", nullable = false),
        ("limit" = Option<u16>, Query, description = "Rows of a page, 50 unless said", minimum = 1, maximum = 1000, nullable = false),
        ("pagination_cursor" = Option<String>, Query, description = "Where the page begins: as the `Link` of the page before says", pattern = "^[0-9.a-f-]+$", max_length = 60, nullable = false),
    ),
    responses((status = 200, description = "The jobs", body = Vec<JobShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let kind = word(&query, "kind", &KINDS, JobKind::as_str)?;
    let application = listed(&app, &principal, &query, kind)?;
    let page = Page::of(&query)?;
    app.jobs().known(Some(application)).await?;
    let asked = JobsAsked {
        application,
        kind,
        state: word(&query, "state", &STATES, JobState::as_str)?,
        after: page.after_name().map(|cursor| place(&app, cursor)).transpose()?,
        limit: page.limit().unwrap_or(USUAL),
    };
    let (rows, is_cut) = app.jobs().list(&asked);
    let next = rows.last().filter(|_| is_cut).map(|job| JobPlace::of(job).to_string());
    super::rows(&query, &Rows::of(rows.iter().map(JobShown::of).collect(), next))
}

/// What the jobs are filed under that are asked for.
fn listed(app: &App, principal: &Principal, query: &Query, kind: Option<JobKind>) -> Result<ApplicationId, Problem> {
    let named = query.get("application_id");
    if let Some(given) = query.get("organization_id").filter(|_| named.is_none()) {
        let organization = principal.organization(&app.catalog().read(), given)?;
        return Ok(JobOwner::Organization(organization.organization_id).filed_under());
    }
    match (named, kind, &principal.who) {
        (None, Some(JobKind::RetryRejected), Who::Admin) => Ok(JobOwner::Operator.filed_under()),
        _ => application(app, principal, named),
    }
}

/// The place that a cursor names. One of an older build is the id of a job alone, and says no time where that is not of version 7.
fn place(app: &App, cursor: &str) -> Result<JobPlace, Problem> {
    let of_id = |id: JobId| {
        let known = app.jobs().get(id).map(|job| JobPlace::of(&job));
        known.or_else(|| Some(JobPlace { created_ms: made_ms(id)?, id }))
    };
    let named = cursor.parse().ok().or_else(|| of_id(JobId(Uuid::parse_str(cursor).ok()?)));
    let wrong = "is none that a `Link` of this list has named: begin without it";
    named.ok_or_else(|| Problem::field("pagination_cursor", Code::InvalidField, wrong))
}

/// When an id was made, Unix ms, if it says so.
fn made_ms(JobId(id): JobId) -> Option<i64> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()?.checked_mul(1_000)?.checked_add(i64::from(nanos / 1_000_000))
}

/// Read a job
///
/// How far it is: what was found, what was written, and what was left out and why.
#[utoipa::path(
    get, path = "/api/v1/jobs/{job_id}", operation_id = "jobs.get", tag = "jobs",
    params(("job_id" = String, Path, description = "Its id", format = Uuid)),
    responses((status = 200, description = "The job", body = JobShown)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, principal: Principal, Path(id): Path<String>) -> Answer {
    tagged(&find(&app, &principal, &id).await?)
}

/// Cancel a job
///
/// Nothing more of it is written, also where it has not begun. What is queued of it is cancelled, with the reason `job_cancelled`, and so is
/// a retry when it comes back; what is in flight ends as it does.
#[utoipa::path(
    post, path = "/api/v1/jobs/{job_id}/cancel", operation_id = "jobs.cancel", tag = "jobs",
    params(("job_id" = String, Path, description = "Its id", format = Uuid)),
    responses(
        (status = 200, description = "The job as it is now", body = JobShown),
        (status = 409, description = "Validation: it has ended (`code` is `already_ended`)"),
    ),
)]
pub(super) async fn cancel(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    change(&app, &asked, JobChange::Cancel).await
}

/// Pause a job
///
/// Nothing more of it is written until it is resumed; other jobs of the application go on meanwhile. A job that is paused already is
/// answered as it is.
#[utoipa::path(
    post, path = "/api/v1/jobs/{job_id}/pause", operation_id = "jobs.pause", tag = "jobs",
    params(("job_id" = String, Path, description = "Its id", format = Uuid)),
    responses(
        (status = 200, description = "The job as it is now", body = JobShown),
        (status = 409, description = "Validation: it has ended (`code` is `already_ended`)"),
    ),
)]
pub(super) async fn pause(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    change(&app, &asked, JobChange::Pause).await
}

/// Resume a job
///
/// It goes on where it was paused. A job that is not paused is answered as it is.
#[utoipa::path(
    post, path = "/api/v1/jobs/{job_id}/resume", operation_id = "jobs.resume", tag = "jobs",
    params(("job_id" = String, Path, description = "Its id", format = Uuid)),
    responses(
        (status = 200, description = "The job as it is now", body = JobShown),
        (status = 409, description = "Validation: it has ended (`code` is `already_ended`)"),
    ),
)]
pub(super) async fn resume(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    change(&app, &asked, JobChange::Resume).await
}

async fn change(app: &App, asked: &Addressed, change: JobChange) -> Answer {
    let Addressed { principal, preconditions, id, .. } = asked;
    principal.editor()?;
    let asking = principal.who.organization(&app.catalog().read());
    let _turn = app.turns().jobs.take(asking).await?;
    let job = find(app, principal, id).await?;
    if principal.is_keyed() && matches!(change, JobChange::Cancel) && job.definition.cancelled_ms.is_some() {
        // It is sent again, and what is cancelled stays so: nothing newer says otherwise.
        return tagged(&job);
    }
    let by = (&principal.actor(), chassis::clock::now_ms());
    tagged(&app.jobs().change(job, change, preconditions, by).await?)
}

/// A job, with the version that a change of it may name.
fn tagged(job: &KnownJob) -> Answer {
    let mut response = json(StatusCode::OK, &JobShown::of(job))?;
    response.headers_mut().insert(header::ETAG, ETag::of(&*job.definition)?.header());
    Ok(response)
}

/// A job that it may see.
async fn find(app: &App, principal: &Principal, id: &str) -> Result<KnownJob, Problem> {
    let id = Uuid::parse_str(id).map(JobId).ok();
    let mut found = id.and_then(|id| app.jobs().get(id));
    // Whose it is says what has to be known; of one that is not found yet, all of it.
    app.jobs().known(found.as_ref().map(|job| job.definition.application_id)).await?;
    found = id.and_then(|id| app.jobs().get(id));
    // Another replica may have been asked for it a moment ago, and its answer names no position of `jobs`.
    if found.is_none()
        && let Some(id) = id.filter(|id| may_be_new(*id, chassis::clock::now_ms()))
    {
        app.jobs().current().await?;
        found = app.jobs().get(id);
    }
    let snapshot = app.catalog().read();
    let is_seen = |job: &KnownJob| match job.definition.owner() {
        JobOwner::Application(id) => snapshot.application_by_id(id).is_some_and(|it| principal.sees(it)),
        JobOwner::Organization(id) => snapshot.organization(id).is_some() && principal.sees_organization(id),
        JobOwner::Operator => matches!(principal.who, Who::Admin),
    };
    found.filter(is_seen).ok_or_else(|| principal.absent("job"))
}

/// Whether a job of this id may have been asked for less than a minute ago. That of a request with a name of its own says no time.
fn may_be_new(id: JobId, now_ms: i64) -> bool {
    const NEW_MS: u64 = 60_000;
    match id.0.get_version_num() {
        5 => true,
        _ => made_ms(id).is_some_and(|made_ms| made_ms.abs_diff(now_ms) < NEW_MS),
    }
}

/// The application that is named, or that of the token.
fn application(app: &App, principal: &Principal, named: Option<&str>) -> Result<ApplicationId, Problem> {
    let own = principal.own_application().map(|id| id.to_string());
    let missing = || Problem::field("application_id", Code::InvalidField, "is required");
    let id = named.or(own.as_deref()).ok_or_else(missing)?;
    Ok(principal.application(&app.catalog().read(), id)?.application_id)
}

fn word<T: Copy>(query: &Query, name: &str, all: &[T], text: impl Fn(T) -> &'static str) -> Result<Option<T>, Problem> {
    let Some(asked) = query.get(name) else { return Ok(None) };
    let found = all.iter().copied().find(|one| text(*one) == asked);
    let words = || all.iter().map(|one| text(*one)).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| Problem::field(name, Code::InvalidField, format!("must be one of {}", words())))
}

/// `rate_per_second` of a body.
fn rate(fields: &mut Fields) -> Result<u32, Problem> {
    let given = fields.number("rate_per_second", 1..=u64::from(MAX_RATE))?.flatten();
    Ok(given.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(USUAL_RATE))
}

/// A job as it is asked for. A request that may be sent again always has the same id.
fn definition(
    app: &App,
    principal: &Principal,
    (application, kind, subject): (ApplicationId, JobKind, JobSubject),
    rate_per_second: u32,
) -> JobDefinition {
    JobDefinition {
        v: VERSION,
        kind,
        job_id: keyed_job(app, principal).unwrap_or_else(|| JobId(Uuid::now_v7())),
        application_id: application,
        organization_id: None,
        created_ms: chassis::clock::now_ms(),
        created_by: principal.actor().name.to_string(),
        rate_per_second,
        subject,
        cancelled_ms: None,
        paused_ms: None,
    }
}

/// The job of a request that may be sent again.
fn keyed_job(app: &App, principal: &Principal) -> Option<JobId> {
    let keyed = principal.actor().caller.keyed.as_ref()?.hashes(app.catalog().vault(), None).0;
    Some(JobId(Uuid::new_v5(&JOBS, keyed.0.as_bytes())))
}

/// Asks for a job, and answers with it.
async fn ask(app: &App, principal: &Principal, definition: JobDefinition) -> Result<KnownJob, Problem> {
    let (kind, application) = (definition.kind, definition.application_id);
    let asking = principal.who.organization(&app.catalog().read());
    let _turn = app.turns().jobs.take(asking).await?;
    app.jobs().known(Some(application)).await?;
    let (subject, rate_per_second) = (without_time(&definition.subject), definition.rate_per_second);
    let organization = match definition.owner() {
        JobOwner::Organization(id) => Some(id),
        JobOwner::Application(id) => {
            let found = app.catalog().read().application_by_id(id).map(|found| found.organization_id);
            Some(found.ok_or_else(|| principal.absent("application"))?)
        }
        JobOwner::Operator => None,
    };
    let known = app.jobs().ask(definition, organization, &principal.actor(), app.catalog()).await?;
    let former = &known.definition;
    let is_same = (former.kind, former.application_id, former.rate_per_second) == (kind, application, rate_per_second);
    if !is_same || without_time(&former.subject) != subject {
        return Err(idempotency::reused());
    }
    Ok(known)
}

/// What was asked for: the time up to which dead letters or rejected records are looked at is that of the request.
fn without_time(subject: &JobSubject) -> JobSubject {
    match subject {
        JobSubject::DeadLetters(of) => {
            JobSubject::DeadLetters(schemas::jobs::JobDeadLetters { to_ms: None, ..of.clone() })
        }
        JobSubject::Rejections(of) => {
            JobSubject::Rejections(schemas::jobs::JobRejections { to_ms: None, ..of.clone() })
        }
        JobSubject::Delivery(_) | JobSubject::Event(_) | JobSubject::Events(_) | JobSubject::Backfill(_) => {
            subject.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::{NoContext, Timestamp};

    use super::*;

    #[test]
    fn what_says_that_it_is_old_is_not_waited_for() {
        let made_at = |seconds| JobId(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0)));
        assert!(may_be_new(made_at(1_000), 1_059_999) && may_be_new(made_at(1_000), 990_000));
        assert!(!may_be_new(made_at(1_000), 1_060_000) && !may_be_new(JobId(Uuid::from_u128(7)), 0));
        assert!(may_be_new(JobId(Uuid::new_v5(&JOBS, b"mine")), 0));
    }
}
