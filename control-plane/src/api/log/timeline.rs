//! Everything that became of one event, the oldest first.

use std::sync::Arc;

use axum::extract::{Path, State};
use delivery_log::{DeliveryStore, Fact, FactKind, FactQuery, ListOrder, LoggedEvent, PageOf, Subject};
use http::StatusCode;
use schemas::ids::ApplicationId;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::events::{EventShown, show as show_event};
use super::{AskedLog, event_named, uuids_of, with_headers};
use crate::api::{json, time};
use crate::log::failed;
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Facts of a page.
const FACTS: usize = 1_000;

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Timeline {
    /// Null where it was never matched, or its day is not in the log.
    event: Option<EventShown>,
    /// What the fan-out said of it, as far as this page tells.
    fates: Vec<&'static str>,
    /// The oldest first.
    entries: Vec<TimelineEntry>,
}

/// One thing that happened.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::api) struct TimelineEntry {
    #[schema(format = DateTime)]
    at: String,
    /// `accepted`, `matched`, `repeat`, `rejected`, `attempted`, `delivered`, `dead_lettered`, `cancelled`, and others.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// Of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Read what became of an event
///
/// Acceptance, matching, each attempt, each end; 1,000 on a page.
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/timeline", operation_id = "events.timeline", tag = "log",
    params(
        ("event_id" = String, Path, description = "Id, UUID or webhook id"),
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("pagination_cursor" = Option<String>, Query, description = "Where a page begins, as the `Link` of the one before says", nullable = false),
    ),
    responses((status = 200, description = "What became of it", body = Timeline)),
)]
pub(in crate::api) async fn get(State(app): State<Arc<App>>, asked: AskedLog, Path(id): Path<String>) -> Answer {
    let (application, store) = asked.log(&app)?;
    let application = application.application_id;
    let part = asked.part(application, FACTS)?;
    let page = PageOf { order: ListOrder::Ascending, limit: FACTS, ..part.page };
    let event = event_named(store.as_ref(), application, &id).await?;
    let uuids = event.as_ref().map_or_else(|| uuids_of(application, &id), |event| vec![event.uuid]);
    let found = facts(store.as_ref(), application, &uuids, page).await?;
    if event.is_none() && found.rows.is_empty() && found.next.is_none() {
        return Err(app.log().absent("event"));
    }
    let is_first = page.after.is_none();
    let mut entries: Vec<TimelineEntry> = event.iter().filter(|_| is_first).flat_map(beginning).collect();
    let mut fates: Vec<&'static str> = event.iter().map(|_| "matched").collect();
    let said = [FactKind::Repeat, FactKind::Rejected].into_iter();
    fates.extend(said.filter(|kind| found.rows.iter().any(|fact| fact.kind == *kind)).map(FactKind::as_str));
    entries.extend(found.rows.into_iter().map(entry));
    let timeline = Timeline { event: event.map(|event| show_event(event, asked.uuids)), fates, entries };
    let mut response = json(StatusCode::OK, &timeline)?;
    crate::api::linked(&mut response, asked.link(&part, found.next)?);
    Ok(with_headers(&app, response))
}

async fn facts(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    uuids: &[Uuid],
    page: PageOf,
) -> Result<delivery_log::LogPage<Fact>, Problem> {
    let mut last = delivery_log::LogPage { rows: Vec::new(), next: None };
    for uuid in uuids {
        let query = FactQuery { subject: Subject::Event(*uuid), page, ..FactQuery::of(application, FACTS) };
        last = store.facts(query).await.map_err(|error| failed(&error))?;
        if !last.rows.is_empty() {
            break;
        }
    }
    Ok(last)
}

fn beginning(event: &LoggedEvent) -> [TimelineEntry; 2] {
    let accepted = TimelineEntry { at: time(event.accepted_ms), kind: "accepted", ..TimelineEntry::default() };
    let detail = event.detail.clone().or_else(|| Some(format!("{} subscriptions match", event.matched)));
    [accepted, TimelineEntry { at: time(event.at_ms), kind: "matched", detail, ..TimelineEntry::default() }]
}

fn entry(fact: Fact) -> TimelineEntry {
    let exchange = fact.exchange;
    TimelineEntry {
        at: time(fact.at_ms),
        kind: fact.kind.as_str(),
        subscription_id: fact.subscription.map(|id| id.0),
        delivery_id: fact.delivery.map(|id| id.0),
        generation: fact.generation,
        made_by: fact.made_by,
        attempt: fact.attempt,
        status: exchange.as_ref().and_then(|exchange| exchange.status),
        elapsed_ms: exchange.as_ref().map(|exchange| exchange.elapsed_ms),
        error: exchange.and_then(|exchange| exchange.error),
        next_attempt_at: fact.due_ms.map(time),
        reason: fact.reason,
        detail: fact.detail,
    }
}
