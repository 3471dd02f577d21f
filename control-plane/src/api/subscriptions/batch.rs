//! Many subscriptions at once: decided in their order, each over what those before it made, each with its own answer.

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::problem::Code;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::{current, json};
use super::{creating, view};
use crate::auth::{self, Principal};
use crate::body::{Fields, Json};
use crate::etag::Preconditions;
use crate::problem::{Answer, Problem};
use crate::state::App;
use crate::store::{Decision, Moment};
use crate::subscription::{Sees, SubscriptionShown, show};

/// Subscriptions of one request.
pub(crate) const MOST: usize = 1_000;
/// Subscriptions that cost as much as one write: they share its transaction.
const OF_ONE_WRITE: usize = 10;
/// Bytes of a body that cost as much: what is long takes longer to read, to compile and to write.
const BYTES_OF_ONE_WRITE: usize = 16 * 1024;
const FIELDS: &[&str] = &["application_id", "subscriptions"];

/// What came of each, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct BatchShown {
    results: Vec<BatchResult>,
}

/// What came of one.
#[derive(Debug, Serialize, ToSchema)]
struct BatchResult {
    /// What it would have been answered alone.
    #[schema(minimum = 201, maximum = 599)]
    status: u16,
    /// The subscription, if it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<SubscriptionShown>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    problem: Option<schemas::problem::Problem>,
}

/// Make many subscriptions
///
/// Up to 1,000, as if each was made alone, one after the other: some may be made and others not. One that names no
/// `application_id` is made in that of the batch. Ten of them, or 16 KiB of the body, count as one write of the token's share.
#[utoipa::path(
    post, path = "/api/v1/subscriptions:batch", operation_id = "subscriptions.createBatch", tag = "subscriptions",
    request_body(content = ref("#/components/schemas/SubscriptionBatch"), content_type = "application/json"),
    responses((status = 200, description = "What came of each", body = BatchShown)),
)]
pub(in crate::api) async fn create(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    principal.editor()?;
    preconditions.check_absent()?;
    let mut fields = Fields::new(body, "", FIELDS)?;
    let named = fields.text("application_id", 1..=200)?.flatten();
    let application = named.or_else(|| principal.own_application().map(|id| id.to_string()));
    let given = match fields.take("subscriptions") {
        Some(Value::Array(list)) if (1..=MOST).contains(&list.len()) => list,
        Some(_other) => {
            return Err(fields.wrong("subscriptions", format!("must be a list of 1 to {MOST} subscriptions")));
        }
        None => return Err(fields.wrong("subscriptions", "is required")),
    };
    pay(&app, &principal, given.len())?;
    admit(&app, &principal, application.clone()).await?;
    let (mut places, mut wanted) = (Vec::with_capacity(given.len()), Vec::with_capacity(given.len()));
    for (number, one) in given.into_iter().enumerate() {
        let rule = inside(one, application.as_deref()).and_then(|one| creating(&app, &principal, one));
        places.push(rule.map(|rule| wanted.push((number, rule))));
        // A filter takes its time to compile, and there may be a thousand of them: others go on in between.
        tokio::task::yield_now().await;
    }
    let mut made = app.store().write_all(principal.actor(), wanted).await?.into_iter();
    let results = places.into_iter().map(|place| {
        let made = match place {
            Ok(()) => made.next().unwrap_or_else(|| Err(unanswered())),
            Err(problem) => Err(problem),
        };
        match made.and_then(|made| show(&made, view(&app, Sees::Secrets))) {
            Ok(shown) => BatchResult { status: 201, subscription: Some(shown), problem: None },
            Err(problem) => {
                BatchResult { status: problem.status, subscription: None, problem: Some((*problem).clone()) }
            }
        }
    });
    json(StatusCode::OK, &BatchShown { results: results.collect() })
}

/// A batch costs more than one write: its first ones are paid with the request.
fn pay(app: &App, principal: &Principal, subscriptions: usize) -> Result<(), Problem> {
    let cost = subscriptions.div_ceil(OF_ONE_WRITE).max(principal.body_bytes().div_ceil(BYTES_OF_ONE_WRITE));
    auth::pay(app, &principal.who, cost.saturating_sub(1))
}

/// Whether its application is there. With an `Idempotency-Key`, a batch with another body is refused as a whole, before anything of it
/// is made; each subscription that is made keeps its own answer, so a repeat goes on where the first was cut off.
async fn admit(app: &App, principal: &Principal, application: Option<String>) -> Result<(), Problem> {
    let asking = principal.clone();
    let sees = move |snapshot: &Snapshot| match &application {
        Some(application) => asking.application(snapshot, application).map(drop),
        None => Ok(()),
    };
    if !principal.is_keyed() {
        return current::found(app, sees).await;
    }
    let decide = move |snapshot: &Snapshot, _: Moment| sees(snapshot).map(Decision::nothing);
    app.store().write(principal.actor(), decide).await
}

/// One of the list, in the batch's application unless it names another.
fn inside(one: Value, application: Option<&str>) -> Result<Map<String, Value>, Problem> {
    let Value::Object(mut one) = one else {
        return Err(Problem::field("subscriptions", Code::InvalidField, "must be an object"));
    };
    if let Some(application) = application {
        one.entry("application_id").or_insert_with(|| application.into());
    }
    Ok(one)
}

fn unanswered() -> Problem {
    Problem::new(schemas::problem::ProblemId::InternalServerError, "the write was not decided")
}
