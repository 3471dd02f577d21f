//! Sending one thing again: an event, or an attempt.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use delivery_log::{Coordinates, Day, DeliveryStore};
use http::{HeaderName, HeaderValue, StatusCode};
use schemas::delivery::{Delivery, Origin, RecordPlace};
use schemas::ids::{ApplicationId, DeliveryId, JobId, SubscriptionId};
use schemas::jobs::{JobDefinition, JobDelivery, JobEvent, JobKind, JobSubject, USUAL_RATE};
use schemas::problem::{Code, ProblemId};
use uuid::Uuid;

use super::estimates::shown;
use super::{JOBS, JobShown, ReplayPost, ResendPost, ask, definition, keyed_job};
use crate::api::json;
use crate::api::log::{AskedLog, erased, event_named, expired, uuids_of};
use crate::body::{Fields, OptionalJson};
use crate::idempotency;
use crate::jobs::{Estimate, KnownJob, count_receivers};
use crate::log::attempts;
use crate::log::failed;
use crate::log::letters::letter;
use crate::problem::{Answer, Problem, not_found, unavailable};
use crate::state::App;

/// The id of the job that a replay is.
pub(crate) const REPLAY_ID: HeaderName = HeaderName::from_static("hookbus-replay-id");

/// Make one more attempt
///
/// One try of the delivery, now, whatever its schedule says, also where the subscription is disabled or paused or its endpoint
/// fails. If it fails, no other follows.
///
/// With `?dry_run=true` nothing is written, and the answer is a 200 with what the job would do: `events`, `deliveries`, `bytes`,
/// `oldest`, `newest`, `expired`, and `is_estimate`, which says whether all of it was counted.
#[utoipa::path(
    post, path = "/api/v1/request_attempts/{request_attempt_id}/retry", operation_id = "requestAttempts.retry",
    tag = "jobs",
    params(
        ("request_attempt_id" = String, Path, description = "Its id", format = Uuid),
        ("application_id" = Option<String>, Query, description = "Where it is not in the body", nullable = false),
    ),
    request_body(content = ResendPost),
    responses(
        (status = 202, description = "The job that makes it", body = JobShown),
        (status = 404, description = "NotFound: there is no such attempt, its subscription is gone, or its payload is (`code` is `expired`: Kafka does not hold it any more, or `erased`)"),
        (status = 429, description = "RateLimited: 50 a second, and 100 jobs of an application that have not ended"),
    ),
)]
pub(in crate::api) async fn retry(
    State(app): State<Arc<App>>,
    asked: AskedLog,
    Path(id): Path<String>,
    OptionalJson(body): OptionalJson,
) -> Answer {
    asked.principal.editor()?;
    let mut fields = Fields::new(body, "", &["application_id"])?;
    let given = fields.kept_text("application_id", 1..=200)?;
    let (application, store) = asked.log_of(&app, given.as_deref())?;
    let application = application.application_id;
    // What was asked for before is answered as it is, whatever Kafka still holds. The path is part of its key, so it is this attempt.
    let before = keyed_job(&app, &asked.principal).filter(|_| !asked.principal.is_dry_run());
    if let Some(job) = asked_before(&app, before, (application, JobKind::Retry)).await? {
        return json(StatusCode::ACCEPTED, &JobShown::of(&job));
    }
    let id = Uuid::parse_str(&id).map_err(|_no_id| not_found("attempt"))?;
    let found = attempts::find(store.as_ref(), application, id).await.map_err(|error| failed(&error))?;
    let attempt = found.ok_or_else(|| app.log().absent("attempt"))?;
    let subscription = attempt.fact.subscription.ok_or_else(|| not_found("attempt"))?;
    if !has_subscription(&app, application, subscription) {
        return Err(not_found("subscription"));
    }
    if app.log().is_erased_of(&attempt.fact).await? {
        return Err(erased("the payload of this attempt"));
    }
    let at = attempt.fact.record.ok_or_else(|| expired("the payload of this attempt"))?;
    let held = held(&app, store.as_ref(), application, (attempt.delivery, at)).await?;
    let held = held.ok_or_else(|| expired("the payload of this attempt"))?;
    if asked.principal.is_dry_run() {
        return shown(&one(held.accepted_ms, (1, held.payload.len() as u64)));
    }
    let subject = JobSubject::Delivery(JobDelivery {
        delivery_id: attempt.delivery,
        subscription_id: subscription,
        record: RecordPlace { partition: at.partition, offset: at.offset },
    });
    let asked_for = definition(&app, &asked.principal, (application, JobKind::Retry, subject), USUAL_RATE);
    let job = ask(&app, &asked.principal, asked_for).await?;
    json(StatusCode::ACCEPTED, &JobShown::of(&job))
}

/// A delivery that Kafka holds: as it was written last, or as the dead letter that it has become.
async fn held(
    app: &App,
    store: &dyn DeliveryStore,
    application: ApplicationId,
    (id, at): (DeliveryId, Coordinates),
) -> Result<Option<Delivery>, Problem> {
    let is_it = |held: &Delivery| held.id == id && held.application == application;
    let topic = app.pings().topic().to_string();
    let origin = Origin { topic, partition: at.partition, offset: at.offset };
    let record = app.log().read_back()?.record(&origin).await?;
    if let Some(held) = record.and_then(|record| Delivery::decode(&record).ok()).filter(is_it) {
        return Ok(Some(held));
    }
    let history = store.histories(application, vec![(id, Day::of(0))]).await.map_err(|error| failed(&error))?;
    let Some((dead, _)) = letter(&history) else { return Ok(None) };
    Ok(app.log().dead_letter(dead).await?.filter(is_it))
}

/// Send an event again
///
/// To all enabled subscriptions that match it now, or to the one that is named, whether it matches or not. Deduplication is not
/// asked. `Hookbus-Replay-Id` is the id of the job.
///
/// With `?dry_run=true` nothing is written, and the answer is a 200 with what the job would do: `events`, `deliveries`, `bytes`,
/// `oldest`, `newest`, `expired`, and `is_estimate`, which says whether all of it was counted.
#[utoipa::path(
    post, path = "/api/v1/events/{event_id}/replay", operation_id = "events.replay", tag = "jobs",
    params(
        ("event_id" = String, Path, description = "Id, UUID or webhook id"),
        ("application_id" = Option<String>, Query, description = "Where it is not in the body", nullable = false),
    ),
    request_body(content = ReplayPost),
    responses(
        (status = 204, description = "It is going to be sent", headers(("Hookbus-Replay-Id" = String, description = "The job that sends it"))),
        (status = 404, description = "NotFound: there is no such event or subscription, or its payload is gone (`code` is `expired`: Kafka does not hold it any more, or `erased`)"),
        (status = 409, description = "Validation: the subscription is disabled (`code` is `subscription_disabled`), or this `Idempotency-Key` or `replay_id` was another request's"),
        (status = 429, description = "RateLimited: 50 a second, and 100 jobs of an application that have not ended"),
    ),
)]
pub(in crate::api) async fn replay(
    State(app): State<Arc<App>>,
    asked: AskedLog,
    Path(id): Path<String>,
    OptionalJson(body): OptionalJson,
) -> Answer {
    asked.principal.editor()?;
    let mut fields = Fields::new(body, "", &["application_id", "subscription_id", "replay_id"])?;
    let given = fields.kept_text("application_id", 1..=200)?;
    let named = fields.kept_text("subscription_id", 1..=200)?;
    let replay_id = fields.kept_text("replay_id", 1..=128)?;
    let (owner, store) = asked.log_of(&app, given.as_deref())?;
    let application = owner.application_id;
    let named_job = replay_id.map(|name| replay_job(application, &name));
    let event = event_named(store.as_ref(), application, &id).await?;
    let job_id = named_job.or_else(|| keyed_job(&app, &asked.principal));
    let before = job_id.filter(|_| !asked.principal.is_dry_run());
    if let Some(job) = asked_before(&app, before, (application, JobKind::Replay)).await? {
        let uuids = event.map_or_else(|| uuids_of(application, &id), |event| vec![event.uuid]);
        if is_replay(&app, &asked, (&job, &uuids), named.as_deref()) {
            return replayed(&job);
        }
        return Err(idempotency::reused());
    }
    let event = event.ok_or_else(|| app.log().absent("event"))?;
    if app.log().is_erased(event.uuid, event.accepted_ms).await? {
        return Err(erased("the payload of this event"));
    }
    let subscription_id = named.map(|named| receiver(&app, &asked, application, &named)).transpose()?;
    let origin = event.origin.clone().ok_or_else(|| expired("the payload of this event"))?;
    let record = app.accepted().record(&owner, &event).await?;
    let record = record.ok_or_else(|| expired("the payload of this event"))?;
    let of = JobEvent { event: event.uuid, origin, accepted_ms: event.accepted_ms, subscription_id };
    if asked.principal.is_dry_run() {
        let counted = count_receivers(app.catalog(), &record, (&owner, &of)).await;
        let counted = counted.map_err(|reason| unavailable(&reason))?;
        let receivers = counted.ok_or_else(|| expired("the payload of this event"))?;
        return shown(&one(event.accepted_ms, (receivers, receivers * event.payload_bytes)));
    }
    let subject = JobSubject::Event(of);
    let made = definition(&app, &asked.principal, (application, JobKind::Replay, subject), USUAL_RATE);
    let job_id = named_job.unwrap_or(made.job_id);
    replayed(&ask(&app, &asked.principal, JobDefinition { job_id, ..made }).await?)
}

/// What a job about one event would do.
fn one(accepted_ms: i64, (deliveries, bytes): (u64, u64)) -> Estimate {
    let at_ms = Some(accepted_ms);
    Estimate { events: 1, deliveries, bytes, oldest_ms: at_ms, newest_ms: at_ms, ..Estimate::default() }
}

/// It is going to be sent.
fn replayed(job: &KnownJob) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let id = HeaderValue::from_str(&job.definition.job_id.to_string());
    response.headers_mut().insert(REPLAY_ID, id.expect("a UUID is visible ASCII"));
    Ok(response)
}

/// The job that a request with this id has asked for before.
///
/// # Errors
/// It was asked for by a request of another kind, or of another application.
async fn asked_before(
    app: &App,
    job: Option<JobId>,
    (application, kind): (ApplicationId, JobKind),
) -> Result<Option<KnownJob>, Problem> {
    let Some(job) = job else { return Ok(None) };
    app.jobs().known(Some(application)).await?;
    let Some(found) = app.jobs().get(job) else { return Ok(None) };
    if (found.definition.kind, found.definition.application_id) != (kind, application) {
        return Err(idempotency::reused());
    }
    Ok(Some(found))
}

/// Whether a job sends one of these events again, to who is named now: also where that one is disabled or gone since.
fn is_replay(app: &App, asked: &AskedLog, (job, events): (&KnownJob, &[Uuid]), named: Option<&str>) -> bool {
    let (JobSubject::Event(of), application) = (&job.definition.subject, job.definition.application_id) else {
        return false;
    };
    let is_to = match (named, of.subscription_id) {
        (None, None) => true,
        (Some(named), Some(to)) => {
            let found = asked.principal.subscription(&app.catalog().read(), named, Some(&application.to_string()));
            named == to.to_string() || found.is_ok_and(|found| found.id() == to)
        }
        (None, Some(_)) | (Some(_), None) => false,
    };
    is_to && events.contains(&of.event)
}

/// The job that a client's own name of a replay stands for.
pub(in crate::api) fn replay_job(application: ApplicationId, name: &str) -> JobId {
    JobId(Uuid::new_v5(&JOBS, format!("replay {application} {name}").as_bytes()))
}

/// The subscription that is named, which must be enabled.
pub(super) fn receiver(
    app: &App,
    asked: &AskedLog,
    application: ApplicationId,
    named: &str,
) -> Result<SubscriptionId, Problem> {
    let snapshot = app.catalog().read();
    let found = asked.principal.subscription(&snapshot, named, Some(&application.to_string()))?;
    if !found.is_enabled() {
        let problem = Problem::new(ProblemId::Validation, "the subscription is disabled: enable it, then replay to it");
        return Err(problem.with_status(409).with_code(Code::SubscriptionDisabled));
    }
    Ok(found.id())
}

fn has_subscription(app: &App, application: ApplicationId, id: SubscriptionId) -> bool {
    let snapshot = app.catalog().read();
    snapshot.subscription(id).is_some_and(|found| found.application() == application)
}
