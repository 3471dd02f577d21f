//! Having rejected records planned again.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use schemas::delivery::RecordPlace;
use schemas::jobs::{JobDefinition, JobKind, JobOwner, JobRejections, JobSubject, MAX_JOB_IDS};

use super::letters::period;
use super::{JobShown, RetryRejectedPost, ask, definition, rate};
use crate::api::{json, rejected};
use crate::auth::{Principal, Who};
use crate::body::{Fields, Json};
use crate::etag::Preconditions;
use crate::problem::{Answer, Problem};
use crate::rejections::RejectedId;
use crate::state::App;

/// Retry rejected records
///
/// Each once more, by what its source, or the application that it means, is now: with the id that it would have had, so one that is
/// retried twice within the dedup window is a repeat. What fails again is rejected again, with a count. Those of which nothing stands
/// whole any more are left out as `expired`.
#[utoipa::path(
    post, path = "/api/v1/rejected:retry", operation_id = "rejected.retry", tag = "rejected",
    request_body(content = RetryRejectedPost),
    responses(
        (status = 202, description = "The job that has them planned again", body = JobShown),
        (status = 409, description = "Validation: this `Idempotency-Key` was another request's"),
        (status = 429, description = "RateLimited: 100 of these jobs have not ended"),
    ),
)]
pub(in crate::api) async fn retry(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    principal.editor()?;
    preconditions.check_absent()?;
    let now_ms = chassis::clock::now_ms();
    let mut fields = Fields::new(body, "", &["ids", "source_id", "reason", "from", "to", "rate_per_second"])?;
    let given = asked_for(&app, &principal, &mut fields, now_ms)?;
    let per_second = rate(&mut fields)?;
    let owner = owner(&app, &principal, &given)?;
    let scoped = match owner {
        JobOwner::Application(id) => JobRejections { application_id: Some(id), ..given },
        JobOwner::Organization(id) => JobRejections { organization_id: Some(id), ..given },
        JobOwner::Operator => given,
    };
    let of = (owner.filed_under(), JobKind::RetryRejected, JobSubject::Rejections(scoped));
    let asked = JobDefinition { organization_id: owner.organization(), ..definition(&app, &principal, of, per_second) };
    let job = ask(&app, &principal, asked).await?;
    json(StatusCode::ACCEPTED, &JobShown::of(&job))
}

/// By their ids, or by what they have in common.
fn asked_for(app: &App, principal: &Principal, fields: &mut Fields, now_ms: i64) -> Result<JobRejections, Problem> {
    let source = fields.kept_text("source_id", 1..=200)?;
    let reason = fields.kept_text("reason", 1..=50)?;
    let (from_ms, to_ms) = period(fields)?;
    let is_filtered = source.is_some() || reason.is_some() || from_ms.is_some() || to_ms.is_some();
    let Some(ids) = fields.texts("ids", MAX_JOB_IDS)? else {
        if !is_filtered {
            return Err(
                fields.wrong("ids", "give `ids`, or what they have in common: `source_id`, `reason`, `from`, `to`")
            );
        }
        return Ok(JobRejections {
            source_id: source.map(|given| rejected::source(app, principal, &given)).transpose()?,
            reason: reason.map(|given| rejected::reason(&given, "reason")).transpose()?,
            from_ms,
            to_ms: Some(to_ms.unwrap_or(now_ms).min(now_ms)),
            ..JobRejections::default()
        });
    };
    if is_filtered || ids.is_empty() {
        return Err(fields.wrong("ids", "must not be empty, and no filter goes with it"));
    }
    let wrong = |()| fields.wrong("ids", "must be a list of ids of rejected records, as `3-120`");
    let ids: Result<Vec<RejectedId>, ()> = ids.iter().map(|id| id.parse()).collect();
    let mut ids = ids.map_err(wrong)?;
    ids.sort_unstable();
    ids.dedup();
    let places = ids.into_iter().map(|RejectedId { partition, offset }| RecordPlace { partition, offset }).collect();
    Ok(JobRejections { places: Some(places), ..JobRejections::default() })
}

/// Whose the job is: nothing else is retried by it. The operator's are of a source's organization, or everybody's.
fn owner(app: &App, principal: &Principal, of: &JobRejections) -> Result<JobOwner, Problem> {
    Ok(match &principal.who {
        Who::Application(entry) => JobOwner::Application(entry.application),
        Who::Service(entry) => JobOwner::Organization(entry.organization),
        Who::Admin => {
            let snapshot = app.catalog().read();
            let source = of.source_id.and_then(|id| snapshot.sources().get(&id).cloned());
            source.map_or(JobOwner::Operator, |source| JobOwner::Organization(source.organization_id))
        }
    })
}
