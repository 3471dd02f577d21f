//! Asking for the past of a subscription.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use schemas::jobs::{JobBackfill, JobKind, JobSubject};
use schemas::problem::{Code, ProblemId};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaType};
use utoipa::openapi::{KnownFormat, SchemaFormat, Type};

use super::letters::moment_of;
use super::{JobShown, ask, definition, rate};
use crate::api::addressed::Addressed;
use crate::api::json;
use crate::body::{Fields, Json};
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;

/// Whatever Kafka holds.
const EARLIEST: &str = "earliest";

/// Which of the past a subscription gets.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "from": "earliest", "rate_per_second": 100 }))]
pub(in crate::api) struct BackfillPost {
    /// Its application, where the subscription is named by a uid.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
    /// `earliest`, for whatever Kafka holds, or a time: events that were accepted then or later.
    #[schema(schema_with = from_schema)]
    from: String,
    /// Only events that were accepted at this time or earlier.
    #[schema(nullable = false, format = DateTime)]
    to: Option<String>,
    /// Deliveries that are written in a second, 100 unless said.
    #[schema(minimum = 1, maximum = 10_000)]
    rate_per_second: Option<u32>,
}

/// Either text, and nothing else: what the document lets pass is no mistake.
fn from_schema() -> AnyOfBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    AnyOfBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some("`earliest`, for whatever Kafka holds, or a time: events that were accepted then or later."))
        .item(text().enum_values(Some([EARLIEST])))
        .item(time)
}

/// Give a subscription the past
///
/// Events that Kafka still holds, of `events` and of the topics of the organization's enabled sources, are matched against the
/// subscription as it is now, the oldest of each partition first, at the rate that is given; those that it has got already are left out
/// (`existing`). Where it gets events as they come begins where this ends: nothing is missing in between, and nothing comes twice. Its
/// requests have the header `X-Hookbus-Backfill`, and the `webhook-id` that they would have had then.
///
/// It waits until the fan-out has read what was there when the job began (`waiting_for` says what of it), while the subscription is paused,
/// and where the delivery log does not say what was erased; it fails where the subscription is disabled or deleted. `percent` is of the
/// records that are read, `counts.found` are those that match.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{subscription_id}/backfill", operation_id = "subscriptions.backfill",
    tag = "jobs",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    request_body(content = BackfillPost),
    responses(
        (status = 202, description = "The job that writes its deliveries", body = JobShown),
        (status = 404, description = "NotFound: there is no such subscription"),
        (status = 409, description = "Validation: the subscription is disabled (`code` is `subscription_disabled`), or this `Idempotency-Key` was another request's"),
        (status = 429, description = "RateLimited: 100 jobs of the application have not ended"),
    ),
)]
pub(in crate::api) async fn create(
    State(app): State<Arc<App>>,
    asked: Addressed,
    query: Query,
    Json(body): Json,
) -> Answer {
    let Addressed { principal, preconditions, id, .. } = &asked;
    principal.editor()?;
    preconditions.check_absent()?;
    let mut fields = Fields::new(body, "", &["application_id", "from", "to", "rate_per_second"])?;
    let given = fields.kept_text("application_id", 1..=200)?;
    let application = given.or_else(|| query.get("application_id").map(str::to_owned));
    let (from_ms, to_ms) = period(&mut fields)?;
    let per_second = rate(&mut fields)?;
    let subscription = principal.subscription(&app.catalog().read(), id, application.as_deref())?;
    if !subscription.is_enabled() {
        let problem =
            Problem::new(ProblemId::Validation, "the subscription is disabled: enable it, then ask for the past");
        return Err(problem.with_status(409).with_code(Code::SubscriptionDisabled));
    }
    let of = JobBackfill { subscription_id: subscription.id(), from_ms, to_ms };
    let of = (subscription.application(), JobKind::Backfill, JobSubject::Backfill(of));
    let job = ask(&app, principal, definition(&app, principal, of, per_second)).await?;
    json(StatusCode::ACCEPTED, &JobShown::of(&job))
}

/// `from` and `to`, Unix ms.
fn period(fields: &mut Fields) -> Result<(Option<i64>, Option<i64>), Problem> {
    let from = fields.required_text("from", 1..=50)?;
    let from_ms = if from == EARLIEST { None } else { Some(moment_of(fields, "from", &from)?) };
    let to = fields.kept_text("to", 1..=50)?;
    let to_ms = to.map(|text| moment_of(fields, "to", &text)).transpose()?;
    if from_ms.zip(to_ms).is_some_and(|(from_ms, to_ms)| from_ms > to_ms) {
        return Err(Problem::new(ProblemId::InvalidDateRange, "`from` is after `to`"));
    }
    Ok((from_ms, to_ms))
}
