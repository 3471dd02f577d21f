//! Attempts: what was sent to whom, what came back, and what waits.

use std::sync::Arc;

use axum::extract::{Path, State};
use delivery_log::{FactKind, FactQuery, Kinds, Subject};
use http::StatusCode;
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::problem::Code;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::events::shown_id;
use super::{AskedLog, event_named, uuids_of, with_headers};
use crate::api::{json, time};
use crate::log::attempts::{self, LoggedAttempt, WantedAttempts};
use crate::log::failed;
use crate::problem::{Answer, Problem, not_found};
use crate::state::App;

/// Rows of a page that does not say how many.
const USUAL: usize = 50;

/// An attempt to make a delivery.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestAttempt)]
pub(in crate::api) struct AttemptShown {
    request_attempt_id: Uuid,
    event_id: String,
    event: AttemptEvent,
    subscription: AttemptSubscription,
    /// When it began to wait: the first attempt when its event was accepted.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its request began.
    #[schema(format = DateTime)]
    picked_at: Option<String>,
    #[schema(format = DateTime)]
    failed_at: Option<String>,
    #[schema(format = DateTime)]
    succeeded_at: Option<String>,
    /// When it is due, if it waits.
    #[schema(format = DateTime)]
    delay_until: Option<String>,
    /// The answer, where one came.
    response_id: Option<Uuid>,
    retry_count: u32,
    http_response_status: Option<u16>,
    status: AttemptStatus,
    delivery_id: Uuid,
    /// From 1 on, in each generation.
    attempt: u32,
    /// Absent for the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
    /// Why its delivery ended, where it ended badly.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What the request failed with, a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<i64>,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// When the attempt after it is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
}

/// The event of an attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AttemptEvent {
    pub(super) event_id: String,
    pub(super) event_type_name: String,
}

/// The subscription of an attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AttemptSubscription {
    pub(super) subscription_id: Uuid,
    /// As it is now; null where there is none, or no subscription any more.
    pub(super) description: Option<String>,
}

/// How an attempt stands.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AttemptStatus {
    #[serde(rename = "type")]
    kind: StatusType,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_processing_ms: Option<i64>,
}

/// The words that clients know; not all of them occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "clients know all of these, and new ones may come to be used")]
pub(in crate::api) enum StatusType {
    Waiting,
    Pending,
    InProgress,
    Successful,
    Failed,
}

/// List attempts
///
/// Newest first. One that waits stands directly above the failed one that it follows.
#[utoipa::path(
    get, path = "/api/v1/request_attempts", operation_id = "requestAttempts.list", tag = "log",
    params(
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("event_id" = Option<String>, Query, description = "Only those of this event: id, UUID or webhook id", nullable = false),
        ("subscription_id" = Option<String>, Query, description = "Only those of this subscription", format = Uuid, nullable = false),
        ("delivery_id" = Option<String>, Query, description = "Only those of this delivery", format = Uuid, nullable = false),
        ("event.event_type_names" = Option<String>, Query, description = "Types or patterns, with commas between them", nullable = false),
        ("status" = Option<String>, Query, description = "`waiting`, `successful` or `failed`", pattern = "^(waiting|successful|failed)$", nullable = false),
        ("http_status" = Option<String>, Query, description = "A status such as `404`, or a class such as `5xx`", pattern = "^[1-5]([0-9][0-9]|xx)$", nullable = false),
        ("error" = Option<String>, Query, description = "Only those that failed with this word", nullable = false),
        ("is_last" = Option<bool>, Query, description = "`true` with `status=failed`: what ended undelivered", nullable = false),
        ("min_created_at" = Option<String>, Query, description = "Only those whose outcome was recorded at this time or later", format = DateTime, nullable = false),
        ("max_created_at" = Option<String>, Query, description = "Only those whose outcome was recorded at this time or earlier", format = DateTime, nullable = false),
        ("order" = Option<String>, Query, description = "`asc` for the oldest first, else `desc`", pattern = "^(asc|desc)$", nullable = false),
        ("limit" = Option<u32>, Query, description = "Outcomes of a page, 1 to 250", minimum = 1, maximum = 250, nullable = false),
        ("pagination_cursor" = Option<String>, Query, description = "Where a page begins, as the `Link` of the one before says", nullable = false),
    ),
    responses(
        (status = 200, description = "The attempts", body = Vec<AttemptShown>),
        (status = 400, description = "InvalidDateRange: from is after to, or the request cannot be read"),
    ),
)]
pub(in crate::api) async fn list(State(app): State<Arc<App>>, asked: AskedLog) -> Answer {
    let (application, store) = asked.log(&app)?;
    let id = application.application_id;
    let part = asked.part(id, USUAL)?;
    let wanted = wanted(&asked)?;
    let subscription = asked.uuid("subscription_id")?.map(SubscriptionId);
    let event = match asked.query.get("event_id") {
        None => None,
        Some(event) => {
            // An event that is not in the log any more may still have attempts there.
            let found = event_named(store.as_ref(), id, event).await?.map(|event| event.uuid);
            let uuid = found.or_else(|| Uuid::parse_str(event).ok()).or_else(|| uuids_of(id, event).pop());
            Some(uuid.unwrap_or_else(Uuid::nil))
        }
    };
    let subject = match (asked.uuid("delivery_id")?, event, subscription) {
        (Some(delivery), _, _) => Subject::Delivery(DeliveryId(delivery)),
        (None, Some(event), _) => Subject::Event(event),
        (None, None, Some(subscription)) => Subject::Subscription(subscription),
        (None, None, None) => Subject::All,
    };
    let query = FactQuery {
        subject,
        subscription,
        kinds: Kinds::ATTEMPTS,
        types: asked.types()?,
        status: http_status(&asked)?,
        error: asked.query.get("error").map(str::to_owned),
        reason: None,
        made_by: None,
        times: asked.times()?,
        page: part.page,
        application: id,
    };
    let found = attempts::page(store.as_ref(), query, wanted).await.map_err(|error| failed(&error))?;
    // A delivery's few attempts are looked up by its id alone.
    let is_of = |attempt: &LoggedAttempt| event.is_none_or(|event| attempt.fact.event == Some(event));
    let rows = found.rows.into_iter().filter(is_of).map(|attempt| show(&app, attempt, asked.uuids)).collect();
    asked.answer(&app, &part, &delivery_log::LogPage { rows, next: found.next })
}

/// Read an attempt
#[utoipa::path(
    get, path = "/api/v1/request_attempts/{request_attempt_id}", operation_id = "requestAttempts.get", tag = "log",
    params(
        ("request_attempt_id" = String, Path, description = "Its id", format = Uuid),
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
    ),
    responses((status = 200, description = "The attempt", body = AttemptShown)),
)]
pub(in crate::api) async fn get(State(app): State<Arc<App>>, asked: AskedLog, Path(id): Path<String>) -> Answer {
    let (application, store) = asked.log(&app)?;
    let absent = || app.log().absent("attempt");
    let id = Uuid::parse_str(&id).map_err(|_no_id| not_found("attempt"))?;
    let found = attempts::find(store.as_ref(), application.application_id, id).await.map_err(|error| failed(&error))?;
    let shown = show(&app, found.ok_or_else(absent)?, asked.uuids);
    Ok(with_headers(&app, json(StatusCode::OK, &shown)?))
}

fn wanted(asked: &AskedLog) -> Result<WantedAttempts, Problem> {
    let is_last = asked.query.flag("is_last")?.unwrap_or(false);
    match asked.query.get("status") {
        None if is_last => Ok(WantedAttempts::Ended),
        None => Ok(WantedAttempts::All),
        Some("waiting") => Ok(WantedAttempts::Waiting),
        Some("successful") => Ok(WantedAttempts::Successful),
        Some("failed") if is_last => Ok(WantedAttempts::Undelivered),
        Some("failed") => Ok(WantedAttempts::Failed),
        Some(_other) => {
            let message = "must be waiting, successful or failed";
            Err(Problem::field("status", Code::InvalidField, message))
        }
    }
}

fn http_status(asked: &AskedLog) -> Result<Option<std::ops::RangeInclusive<u16>>, Problem> {
    let Some(text) = asked.query.get("http_status") else { return Ok(None) };
    let wrong =
        || Problem::field("http_status", Code::InvalidField, "must be a status such as 404, or a class such as 5xx");
    let known = |status: &u16| (100..=599).contains(status);
    if let Some(class) = text.strip_suffix("xx") {
        let first = class.parse::<u16>().ok().filter(|_| class.len() == 1).map(|class| class * 100).filter(known);
        return first.map(|first| Some(first..=first + 99)).ok_or_else(wrong);
    }
    let status = text.parse::<u16>().ok().filter(|_| text.len() == 3).filter(known);
    status.map(|status| Some(status..=status)).ok_or_else(wrong)
}

pub(super) fn show(app: &App, attempt: LoggedAttempt, uuids: bool) -> AttemptShown {
    let fact = &attempt.fact;
    let subscription = fact.subscription.unwrap_or(SubscriptionId(Uuid::nil()));
    let found = app.catalog().read().subscription(subscription).map(|found| found.object());
    let uuid = fact.event.unwrap_or_else(Uuid::nil);
    let id = attempt.event.as_ref().map_or_else(|| uuid.to_string(), |event| shown_id(uuid, &event.id, uuids));
    let exchange = if attempt.waits { None } else { fact.exchange.as_ref() };
    let status = status(&attempt);
    let ended = |kind| if status.kind == kind { Some(time(fact.at_ms)) } else { None };
    AttemptShown {
        request_attempt_id: attempt.id(),
        event: AttemptEvent { event_id: id.clone(), event_type_name: fact.event_type.clone().unwrap_or_default() },
        event_id: id,
        subscription: AttemptSubscription {
            subscription_id: subscription.0,
            description: found.and_then(|found| found.description),
        },
        created_at: time(attempt.created_ms),
        picked_at: exchange.map(|exchange| time(exchange.started_ms)),
        failed_at: ended(StatusType::Failed),
        succeeded_at: ended(StatusType::Successful),
        delay_until: if attempt.waits { fact.due_ms.map(time) } else { None },
        response_id: exchange.map(|_| attempt.id()),
        retry_count: attempt.number - 1,
        http_response_status: exchange.and_then(|exchange| exchange.status),
        delivery_id: attempt.delivery.0,
        attempt: attempt.number,
        generation: fact.generation,
        made_by: fact.made_by.clone(),
        reason: if attempt.waits { None } else { fact.reason.clone() },
        error: exchange.and_then(|exchange| exchange.error.clone()),
        elapsed_ms: exchange.map(|exchange| exchange.elapsed_ms),
        first_byte_ms: exchange.and_then(|exchange| exchange.first_byte_ms),
        to: exchange.and_then(|exchange| exchange.to.clone()),
        next_attempt_at: if attempt.waits { None } else { fact.due_ms.map(time) },
        status,
    }
}

fn status(attempt: &LoggedAttempt) -> AttemptStatus {
    let fact = &attempt.fact;
    let nothing = |kind| AttemptStatus { kind, since: None, until: None, at: None, full_processing_ms: None };
    if attempt.waits {
        let since = Some(time(attempt.created_ms));
        return AttemptStatus { since, until: fact.due_ms.map(time), ..nothing(StatusType::Waiting) };
    }
    let at = Some(time(fact.at_ms));
    if fact.kind == FactKind::Delivered {
        let took = Some(fact.at_ms.saturating_sub(attempt.created_ms).max(0));
        return AttemptStatus { at, full_processing_ms: took, ..nothing(StatusType::Successful) };
    }
    AttemptStatus { at, ..nothing(StatusType::Failed) }
}
