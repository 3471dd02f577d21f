//! Events that were accepted.

use std::sync::Arc;

use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delivery_log::{EventQuery, LoggedEvent};
use http::StatusCode;
use schemas::identity::{EventIdentity, gateway_source};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AskedLog, event_named, payload, with_headers};
use crate::api::{json, time};
use crate::log::failed;
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Rows of a page that does not say how many.
const USUAL: usize = 100;

/// An event that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(in crate::api) struct EventShown {
    /// The id it was sent with. A UUID made of it for clients that take nothing else.
    event_id: String,
    event_type_name: String,
    payload_content_type: String,
    /// The producer's address; empty where it came through a topic.
    ip: String,
    labels: Map<String, Value>,
    metadata: Map<String, Value>,
    #[schema(format = DateTime)]
    occurred_at: String,
    #[schema(format = DateTime)]
    received_at: String,
    /// What its id is unique under: the gateway has one for each application.
    source: String,
    /// What receivers see as `webhook-id`.
    webhook_id: String,
    /// Subscriptions that matched.
    matched: u32,
    payload_bytes: u64,
    /// Topic, partition and offset of the record that holds its payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

/// An event, and its payload where it is asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct EventWithPayload {
    #[serde(flatten)]
    event: EventShown,
    /// In base64; absent with `payload=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    /// With `payload=false`: whether the payload can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_state: Option<PayloadState>,
}

/// Whether a payload can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum PayloadState {
    /// Kafka holds it.
    Available,
    /// Kafka does not hold it any more.
    Expired,
    /// Its event was erased.
    Erased,
}

/// List events
///
/// Newest first. An event is in the list once the fan-out has matched it.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "events.list", tag = "log",
    params(
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("event.event_type_names" = Option<String>, Query, description = "Types or patterns, with commas between them", nullable = false),
        ("label" = Option<String>, Query, description = "`key=value`: only those with this label; may be given more than once", pattern = "=", nullable = false),
        ("source" = Option<String>, Query, description = "Only those with this source", nullable = false),
        ("min_created_at" = Option<String>, Query, description = "Only those accepted at this time or later", format = DateTime, nullable = false),
        ("max_created_at" = Option<String>, Query, description = "Only those accepted at this time or earlier", format = DateTime, nullable = false),
        ("order" = Option<String>, Query, description = "`asc` for the oldest first, else `desc`", pattern = "^(asc|desc)$", nullable = false),
        ("limit" = Option<u32>, Query, description = "Rows of a page, 1 to 250", minimum = 1, maximum = 250, nullable = false),
        ("pagination_cursor" = Option<String>, Query, description = "Where a page begins, as the `Link` of the one before says", nullable = false),
    ),
    responses(
        (status = 200, description = "The events", body = Vec<EventShown>),
        (status = 400, description = "InvalidDateRange: from is after to, or the request cannot be read"),
    ),
)]
pub(in crate::api) async fn list(State(app): State<Arc<App>>, asked: AskedLog) -> Answer {
    let (application, store) = asked.log(&app)?;
    let part = asked.part(application.application_id, USUAL)?;
    let query = EventQuery {
        application: application.application_id,
        types: asked.types()?,
        labels: labels(&asked)?,
        source: asked.query.get("source").map(str::to_owned),
        times: asked.times()?,
        page: part.page,
    };
    let found = store.events(query).await.map_err(|error| failed(&error))?;
    let rows = found.rows.into_iter().map(|event| show(event, asked.uuids)).collect();
    asked.answer(&app, &part, &delivery_log::LogPage { rows, next: found.next })
}

/// Read an event
///
/// By the id it was sent with, its UUID, or its `webhook-id`. The payload is read back from Kafka.
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}", operation_id = "events.get", tag = "log",
    params(
        ("event_id" = String, Path, description = "Id, UUID or webhook id"),
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("payload" = Option<bool>, Query, description = "`false`: without its payload, and whether that can be read", nullable = false),
    ),
    responses(
        (status = 200, description = "The event", body = EventWithPayload),
        (status = 404, description = "NotFound: there is no such event, or its payload is gone (`code` is `expired`, or `erased`)"),
    ),
)]
pub(in crate::api) async fn get(State(app): State<Arc<App>>, asked: AskedLog, Path(id): Path<String>) -> Answer {
    let with_payload = asked.query.flag("payload")?.unwrap_or(true);
    let (application, store) = asked.log(&app)?;
    let found = event_named(store.as_ref(), application.application_id, &id).await?;
    let event = found.ok_or_else(|| app.log().absent("event"))?;
    let found = payload::read(&app, &application, &event).await?;
    let state = found.state();
    let payload = if with_payload { Some(found.required("the payload of this event")?) } else { None };
    let shown = EventWithPayload {
        event: show(event, asked.uuids),
        payload: payload.map(|payload| STANDARD.encode(payload)),
        payload_state: (!with_payload).then_some(state),
    };
    Ok(with_headers(&app, json(StatusCode::OK, &shown)?))
}

fn labels(asked: &AskedLog) -> Result<Vec<(String, String)>, Problem> {
    let wrong = || Problem::field("label", schemas::problem::Code::InvalidField, "must be `key=value`");
    let mut labels = Vec::new();
    for (name, value) in asked.query.pairs() {
        if name == "label" {
            let (key, value) = value.split_once('=').ok_or_else(wrong)?;
            labels.push((key.to_owned(), value.to_owned()));
        } else if let Some(key) = name.strip_prefix("label.") {
            labels.push((key.to_owned(), value.to_owned()));
        }
    }
    Ok(labels)
}

/// How an event is shown: with a UUID in place of its id to whom takes nothing else.
pub(super) fn show(event: LoggedEvent, uuids: bool) -> EventShown {
    let source = event.source.clone().unwrap_or_else(|| gateway_source(event.application));
    let identity = EventIdentity { application: event.application, source, id: event.id.clone() };
    let object = |text: Option<String>| {
        // What is no object of texts was refused when it came.
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    };
    EventShown {
        event_id: shown_id(event.uuid, &event.id, uuids),
        event_type_name: event.event_type,
        payload_content_type: event.content_type.unwrap_or_default(),
        ip: event.ip.unwrap_or_default(),
        labels: object(event.labels),
        metadata: object(event.metadata),
        occurred_at: occurred(event.occurred_at.as_deref(), event.accepted_ms),
        received_at: time(event.accepted_ms),
        webhook_id: identity.webhook_id(),
        source: identity.source,
        matched: event.matched,
        payload_bytes: event.payload_bytes,
        origin: event.origin.map(|origin| origin.to_string()),
    }
}

/// An event's id as it is shown.
pub(super) fn shown_id(uuid: Uuid, id: &str, uuids: bool) -> String {
    if uuids && Uuid::parse_str(id).is_err() { uuid.to_string() } else { id.to_owned() }
}

/// A producer's own time, where it can be read.
fn occurred(text: Option<&str>, accepted_ms: i64) -> String {
    let parsed = text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    parsed.map_or_else(|| time(accepted_ms), |parsed| parsed.to_string())
}
