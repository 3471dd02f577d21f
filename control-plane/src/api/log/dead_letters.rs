//! Dead letters: deliveries that will not be tried again.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use delivery_log::{Day, DeliveryStore, Fact, FactKind, FactQuery, Kinds, LogPage, LoggedEvent, Subject};
use http::StatusCode;
use schemas::dead_letter::REASONS;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use schemas::problem::Code;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::attempts::{AttemptEvent, AttemptShown, AttemptSubscription, show as show_attempt};
use super::events::shown_id;
use super::{AskedLog, with_headers};
use crate::api::{json, time};
use crate::log::letters::{self, LETTER_STATES, LetterState};
use crate::log::{attempts, failed};
use crate::problem::{Answer, Problem, not_found};
use crate::state::App;

/// Rows of a page that does not say how many.
const USUAL: usize = 50;

/// A delivery that will not be tried again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(in crate::api) struct DeadLetterShown {
    /// The delivery's id.
    dead_letter_id: Uuid,
    event: AttemptEvent,
    subscription: AttemptSubscription,
    /// `schedule`, `max_age`, `refused`, `gone`, `aborted` or `unwritable`.
    reason: Option<String>,
    detail: Option<String>,
    /// Attempts that were made.
    attempts: u32,
    /// Of the last answer, where it ended with one.
    last_status: Option<u16>,
    #[schema(format = DateTime)]
    died_at: String,
    state: LetterStateShown,
    /// Null where the day of its event is not in the log.
    payload_bytes: Option<u64>,
}

/// A dead letter, with what was tried.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterWithAttempts)]
pub(in crate::api) struct OneDeadLetter {
    #[serde(flatten)]
    letter: DeadLetterShown,
    /// The oldest first.
    request_attempts: Vec<AttemptShown>,
}

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterState)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum LetterStateShown {
    /// Nobody has decided about it.
    Open,
    /// Nobody has, and its event has been delivered to its subscription since.
    Healed,
    /// It was sent once more.
    Redriven,
    /// Somebody decided that it is not sent again.
    Discarded,
    /// Nobody has, and it cannot be sent again: Kafka holds neither its delivery nor the dead letter any more.
    Expired,
}

/// List dead letters
///
/// Newest first: those that are open, unless `state` says others. A page may have few rows, or none, while `Link` names a next one.
#[utoipa::path(
    get, path = "/api/v1/dead_letters", operation_id = "deadLetters.list", tag = "log",
    params(
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("subscription_id" = Option<String>, Query, description = "Only those of this subscription", format = Uuid, nullable = false),
        ("event.event_type_names" = Option<String>, Query, description = "Types or patterns, with commas between them", nullable = false),
        ("reason" = Option<String>, Query, description = "Only those that died of it", pattern = "^(schedule|max_age|refused|gone|aborted|unwritable)$", nullable = false),
        ("state" = Option<String>, Query, description = "Only those that stand so, `open` unless said", pattern = "^(open|healed|redriven|discarded|expired)$", nullable = false),
        ("min_created_at" = Option<String>, Query, description = "Only those that died at this time or later", format = DateTime, nullable = false),
        ("max_created_at" = Option<String>, Query, description = "Only those that died at this time or earlier", format = DateTime, nullable = false),
        ("order" = Option<String>, Query, description = "`asc` for the oldest first, else `desc`", pattern = "^(asc|desc)$", nullable = false),
        ("limit" = Option<u32>, Query, description = "Rows of a page, 1 to 250", minimum = 1, maximum = 250, nullable = false),
        ("pagination_cursor" = Option<String>, Query, description = "Where a page begins, as the `Link` of the one before says", nullable = false),
    ),
    responses(
        (status = 200, description = "The dead letters", body = Vec<DeadLetterShown>),
        (status = 400, description = "InvalidDateRange: from is after to, or the request cannot be read"),
    ),
)]
pub(in crate::api) async fn list(State(app): State<Arc<App>>, asked: AskedLog) -> Answer {
    let (application, store) = asked.log(&app)?;
    let application = application.application_id;
    let part = asked.part(application, USUAL)?;
    let of = asked.uuid("subscription_id")?.map(|id| Subject::Subscription(SubscriptionId(id)));
    let query = FactQuery {
        subject: of.unwrap_or(Subject::All),
        kinds: Kinds::of(&[FactKind::DeadLettered]),
        types: asked.types()?,
        reason: reason(&asked)?,
        times: asked.times()?,
        page: part.page,
        ..FactQuery::of(application, USUAL)
    };
    let wanted = state(&asked)?;
    let mut found = store.facts(query).await.map_err(|error| failed(&error))?;
    let held = app.log().held_letters();
    let states = letters::states(store.as_ref(), application, &found.rows, &held);
    let states = states.await.map_err(|error| failed(&error))?;
    let mut standing = states.iter().map(|state| *state == wanted);
    found.rows.retain(|_| standing.next().unwrap_or(false));
    let events = events_of(store.as_ref(), application, &found.rows).await?;
    let rows = found.rows.into_iter().map(|fact| show(&app, (fact, wanted), &events, asked.uuids)).collect();
    asked.answer(&app, &part, &LogPage { rows, next: found.next })
}

/// Read a dead letter
///
/// As in the list, with the attempts that were made of its delivery, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/dead_letters/{dead_letter_id}", operation_id = "deadLetters.get", tag = "log",
    params(
        ("dead_letter_id" = String, Path, description = "Its id, which is its delivery's", format = Uuid),
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
    ),
    responses((status = 200, description = "The dead letter", body = OneDeadLetter)),
)]
pub(in crate::api) async fn get(State(app): State<Arc<App>>, asked: AskedLog, Path(id): Path<String>) -> Answer {
    let (application, store) = asked.log(&app)?;
    let application = application.application_id;
    let delivery = DeliveryId(Uuid::parse_str(&id).map_err(|_no_id| not_found("dead letter"))?);
    // On which day it died is not known.
    let history = store.histories(application, vec![(delivery, Day::of(0))]).await.map_err(|error| failed(&error))?;
    let (dead, _) = letters::letter(&history).ok_or_else(|| app.log().absent("dead letter"))?;
    let held = app.log().held_letters();
    let states = letters::states(store.as_ref(), application, std::slice::from_ref(dead), &held);
    let state = states.await.map_err(|error| failed(&error))?.first().copied().unwrap_or(LetterState::Open);
    let events = events_of(store.as_ref(), application, std::slice::from_ref(dead)).await?;
    let letter = show(&app, (dead.clone(), state), &events, asked.uuids);
    let made = attempts::of_history(store.as_ref(), application, history).await.map_err(|error| failed(&error))?;
    let request_attempts = made.into_iter().map(|attempt| show_attempt(&app, attempt, asked.uuids)).collect();
    Ok(with_headers(&app, json(StatusCode::OK, &OneDeadLetter { letter, request_attempts })?))
}

/// The events of these dead letters, by their UUIDs.
async fn events_of(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    dead: &[Fact],
) -> Result<HashMap<Uuid, LoggedEvent>, Problem> {
    let since = |fact: &Fact| Some((fact.event?, Day::of(fact.accepted_ms.unwrap_or(0)).minus(1)));
    let mut events: Vec<(Uuid, Day)> = dead.iter().filter_map(since).collect();
    events.sort_unstable();
    events.dedup_by_key(|(event, _)| *event);
    let events = store.events_of(application, events).await.map_err(|error| failed(&error))?;
    Ok(events.into_iter().map(|event| (event.uuid, event)).collect())
}

fn reason(asked: &AskedLog) -> Result<Option<String>, Problem> {
    let Some(word) = asked.query.get("reason") else { return Ok(None) };
    if REASONS.iter().any(|reason| reason.as_str() == word) {
        return Ok(Some(word.to_owned()));
    }
    let words: Vec<&str> = REASONS.iter().map(|reason| reason.as_str()).collect();
    Err(Problem::field("reason", Code::InvalidField, format!("must be one of {}", words.join(", "))))
}

fn state(asked: &AskedLog) -> Result<LetterState, Problem> {
    let Some(word) = asked.query.get("state") else { return Ok(LetterState::Open) };
    let found = LETTER_STATES.into_iter().find(|state| state.as_str() == word);
    let words = || LETTER_STATES.map(LetterState::as_str).join(", ");
    found.ok_or_else(|| Problem::field("state", Code::InvalidField, format!("must be one of {}", words())))
}

fn show(
    app: &App,
    (fact, state): (Fact, LetterState),
    events: &HashMap<Uuid, LoggedEvent>,
    uuids: bool,
) -> DeadLetterShown {
    let subscription = fact.subscription.unwrap_or(SubscriptionId(Uuid::nil()));
    let found = app.catalog().read().subscription(subscription).map(|found| found.object());
    let uuid = fact.event.unwrap_or_else(Uuid::nil);
    let event = events.get(&uuid);
    let event_id = event.map_or_else(|| uuid.to_string(), |event| shown_id(uuid, &event.id, uuids));
    DeadLetterShown {
        dead_letter_id: fact.delivery.unwrap_or(DeliveryId(Uuid::nil())).0,
        event: AttemptEvent { event_id, event_type_name: fact.event_type.unwrap_or_default() },
        subscription: AttemptSubscription {
            subscription_id: subscription.0,
            description: found.and_then(|found| found.description),
        },
        reason: fact.reason,
        detail: fact.detail,
        attempts: fact.attempt.unwrap_or(0),
        last_status: fact.exchange.and_then(|exchange| exchange.status),
        died_at: time(fact.at_ms),
        state: LetterStateShown::of(state),
        payload_bytes: event.map(|event| event.payload_bytes),
    }
}

// === impl LetterStateShown ===

impl LetterStateShown {
    fn of(state: LetterState) -> Self {
        match state {
            LetterState::Open => Self::Open,
            LetterState::Healed => Self::Healed,
            LetterState::Redriven => Self::Redriven,
            LetterState::Discarded => Self::Discarded,
            LetterState::Expired => Self::Expired,
        }
    }
}
