//! Deciding about dead letters: sending them again, or never.

use std::sync::Arc;

use axum::extract::State;
use delivery_log::{Day, DeliveryStore, Fact};
use http::StatusCode;
use jiff::Timestamp;
use schemas::dead_letter::REASONS;
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use schemas::jobs::{JobDeadLetters, JobKind, JobSubject, MAX_JOB_IDS, MAX_REASON, PackedIds, USUAL_RATE};
use schemas::problem::{Code, ProblemId};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::estimates::estimated;
use super::{DiscardPost, JobShown, RedrivePost, ask, definition, rate};
use crate::api::json;
use crate::api::log::AskedLog;
use crate::body::{Fields, Json};
use crate::log::failed;
use crate::log::letters::{LetterState, by_delivery, letter};
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Dead letters that are looked up at once.
const AT_ONCE: usize = 100;
/// Patterns of a filter.
const MOST_PATTERNS: usize = 100;

/// Send dead letters again
///
/// Each open one once, as a delivery of a new generation, at the rate that is given. One whose event has been delivered to its
/// subscription since is left out.
///
/// With `?dry_run=true` nothing is written, and the answer is a 200 with what the job would do: `events`, `deliveries`, `bytes`,
/// `oldest`, `newest`, `expired`, and `is_estimate`, which says whether all of it was counted.
#[utoipa::path(
    post, path = "/api/v1/dead_letters:redrive", operation_id = "deadLetters.redrive", tag = "jobs",
    request_body(content = RedrivePost),
    responses(
        (status = 202, description = "The job that sends them", body = JobShown),
        (status = 409, description = "Validation: none of the dead letters that are named is open (`code` is `not_open`), or this `Idempotency-Key` was another request's"),
        (status = 429, description = "RateLimited: 100 jobs of the application have not ended"),
    ),
)]
pub(in crate::api) async fn redrive(State(app): State<Arc<App>>, asked: AskedLog, Json(body): Json) -> Answer {
    decide(&app, &asked, JobKind::Redrive, body).await
}

/// Discard dead letters
///
/// They are not going to be sent again. Who decided it, and why, stands in the delivery log.
///
/// With `?dry_run=true` nothing is written, and the answer is a 200 with what the job would do: `events`, `deliveries`, `bytes`,
/// `oldest`, `newest`, `expired`, and `is_estimate`, which says whether all of it was counted.
#[utoipa::path(
    post, path = "/api/v1/dead_letters:discard", operation_id = "deadLetters.discard", tag = "jobs",
    request_body(content = DiscardPost),
    responses(
        (status = 202, description = "The job that marks them", body = JobShown),
        (status = 409, description = "Validation: none of the dead letters that are named is open (`code` is `not_open`), or this `Idempotency-Key` was another request's"),
        (status = 429, description = "RateLimited: 100 jobs of the application have not ended"),
    ),
)]
pub(in crate::api) async fn discard(State(app): State<Arc<App>>, asked: AskedLog, Json(body): Json) -> Answer {
    decide(&app, &asked, JobKind::Discard, body).await
}

/// Asks for a job about dead letters.
async fn decide(app: &App, asked: &AskedLog, kind: JobKind, body: Map<String, Value>) -> Answer {
    asked.principal.editor()?;
    let is_discarded = kind == JobKind::Discard;
    let own = if is_discarded { "reason" } else { "rate_per_second" };
    let mut fields = Fields::new(body, "", &["application_id", "filter", "dead_letter_ids", own])?;
    let given = fields.kept_text("application_id", 1..=200)?;
    let (application, store) = asked.log_of(app, given.as_deref())?;
    let application = application.application_id;
    let now_ms = chassis::clock::now_ms();
    let mut letters = named(&mut fields, now_ms)?;
    let mut per_second = USUAL_RATE;
    if is_discarded {
        letters.why = Some(fields.required_text("reason", 1..=MAX_REASON)?);
    } else {
        per_second = rate(&mut fields)?;
    }
    let asked_for =
        definition(app, &asked.principal, (application, kind, JobSubject::DeadLetters(letters)), per_second);
    if asked.principal.is_dry_run() {
        return estimated(app, store.as_ref(), asked_for).await;
    }
    // What was asked for before is not open any more, and answered as it is.
    app.jobs().known(Some(application)).await?;
    if let (JobSubject::DeadLetters(JobDeadLetters { ids: Some(ids), .. }), None) =
        (&asked_for.subject, app.jobs().get(asked_for.job_id))
        && !is_any_open(store.as_ref(), application, &ids.0).await?
    {
        // One of them may have died, or may have been decided about, in what is not in the log yet.
        if let Some(behind) = app.log().may_lack("dead letter") {
            return Err(behind);
        }
        let detail = "none of these dead letters is open";
        return Err(Problem::new(ProblemId::Validation, detail).with_status(409).with_code(Code::NotOpen));
    }
    let job = ask(app, &asked.principal, asked_for).await?;
    json(StatusCode::ACCEPTED, &JobShown::of(&job))
}

/// Which ones are named: by ids, or by a filter.
fn named(fields: &mut Fields, now_ms: i64) -> Result<JobDeadLetters, Problem> {
    let known = ["subscription_id", "event_types", "reason", "from", "to"];
    let filter = fields.object("filter", "filter.", &known)?.flatten();
    let ids = fields.texts("dead_letter_ids", MAX_JOB_IDS)?;
    match (filter, ids) {
        (Some(filter), None) => read_filter(filter, now_ms),
        (None, Some(ids)) if !ids.is_empty() => {
            let wrong = |_error| fields.wrong("dead_letter_ids", "must be a list of UUIDs");
            let mut ids: Vec<Uuid> =
                ids.iter().map(|id| Uuid::parse_str(id)).collect::<Result<_, _>>().map_err(wrong)?;
            ids.sort_unstable();
            ids.dedup();
            Ok(JobDeadLetters { ids: Some(PackedIds(ids)), ..JobDeadLetters::default() })
        }
        _ => Err(fields
            .wrong("filter", "give one of `filter` and `dead_letter_ids`; a filter without fields is all of them")),
    }
}

fn read_filter(mut filter: Fields, now_ms: i64) -> Result<JobDeadLetters, Problem> {
    let subscription = filter.kept_text("subscription_id", 1..=200)?;
    let wrong = |_error| filter.wrong("subscription_id", "must be a UUID");
    let subscription_id = subscription.map(|id| Uuid::parse_str(&id)).transpose().map_err(wrong)?.map(SubscriptionId);
    let event_types = event_types(&mut filter)?;
    let reason = filter.kept_text("reason", 1..=50)?;
    if reason.as_ref().is_some_and(|word| REASONS.iter().all(|reason| reason.as_str() != word)) {
        let words: Vec<&str> = REASONS.iter().map(|reason| reason.as_str()).collect();
        return Err(filter.wrong("reason", format!("must be one of {}", words.join(", "))));
    }
    let (from_ms, to_ms) = period(&mut filter)?;
    let to_ms = Some(to_ms.unwrap_or(now_ms).min(now_ms));
    Ok(JobDeadLetters { subscription_id, event_types, reason, from_ms, to_ms, ..JobDeadLetters::default() })
}

/// `event_types` of a filter.
pub(super) fn event_types(filter: &mut Fields) -> Result<Vec<String>, Problem> {
    let event_types = filter.texts("event_types", MOST_PATTERNS)?.unwrap_or_default();
    match event_types.iter().find_map(|pattern| EventTypePattern::parse(pattern).err()) {
        Some(error) => Err(filter.wrong("event_types", error.to_string())),
        None => Ok(event_types),
    }
}

/// `from` and `to` of a filter, Unix ms.
pub(super) fn period(filter: &mut Fields) -> Result<(Option<i64>, Option<i64>), Problem> {
    let (from_ms, to_ms) = (moment(filter, "from")?, moment(filter, "to")?);
    if from_ms.zip(to_ms).is_some_and(|(from, to)| from > to) {
        return Err(Problem::new(ProblemId::InvalidDateRange, "`from` is after `to`"));
    }
    Ok((from_ms, to_ms))
}

fn moment(fields: &mut Fields, name: &str) -> Result<Option<i64>, Problem> {
    let text = fields.kept_text(name, 1..=50)?;
    text.map(|text| moment_of(fields, name, &text)).transpose()
}

/// The time that a field says, Unix ms.
pub(super) fn moment_of(fields: &Fields, name: &str, text: &str) -> Result<i64, Problem> {
    let parsed: Result<Timestamp, _> = text.parse();
    let wrong = |_error| fields.wrong(name, "must be a time with zone, as in RFC 3339");
    Ok(parsed.map_err(wrong)?.as_millisecond())
}

async fn is_any_open(store: &dyn DeliveryStore, application: ApplicationId, ids: &[Uuid]) -> Result<bool, Problem> {
    for few in ids.chunks(AT_ONCE) {
        let wanted = few.iter().map(|id| (DeliveryId(*id), Day::of(0))).collect();
        let facts = store.histories(application, wanted).await.map_err(|error| failed(&error))?;
        let is_open = |of: &Vec<Fact>| letter(of).is_some_and(|(_, state)| state == LetterState::Open);
        if by_delivery(facts).values().any(is_open) {
            return Ok(true);
        }
    }
    Ok(false)
}
