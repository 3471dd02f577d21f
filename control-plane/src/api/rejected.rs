//! What could not be used: records of topics that are no event of anybody, newest first, and each with what it holds.
//!
//! A token sees those of what it sees. What is nobody's, because nobody can tell whose it is or whoever it was of is gone, is the
//! operator's.

use std::sync::Arc;

use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use schemas::delivery::Origin;
use schemas::ids::SourceId;
use schemas::problem::{Code, ProblemId};
use schemas::record::{Headers, Record};
use schemas::rejected::{REASONS, RejectReason, RejectedRecord};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{json, rows, sources, time};
use crate::audits::no_cursor;
use crate::auth::Principal;
use crate::page::{Page, Rows};
use crate::problem::{Answer, Problem, not_found};
use crate::query::Query;
use crate::rejections::{PageEnd, RejectedFilter, RejectedId, RejectedOwner, RejectedRow};
use crate::state::App;

/// Rows of a page, unless the request says how many.
const USUAL: usize = 100;

/// A record that could not be used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RejectedRecord, example = json!({
    "rejected_id": "3-120",
    "at": "2026-11-29T10:30:00Z",
    "reason": "invalid_attribute",
    "detail": "`id`: nothing stands at /order/id of the value",
    "position": "/order/id",
    "source_id": "01a20186-21cb-7749-81d0-b27446f73332",
    "organization_id": "01940000-0000-7000-8000-000000000001",
    "application_id": null,
    "origin": "crm.orders/3/9",
    "timestamp": "2026-11-29T10:29:58Z",
    "cut": null,
    "retries": 0,
}))]
pub(super) struct RejectedShown {
    /// Where it stands on the topic `rejected`: partition and offset.
    rejected_id: String,
    /// When it was rejected.
    #[schema(format = DateTime)]
    at: String,
    reason: String,
    detail: String,
    /// Where in the record that was seen: `byte 17`, or a JSON pointer.
    position: Option<String>,
    /// The source that it came through.
    source_id: Option<Uuid>,
    /// Whose it is; null: the operator's.
    organization_id: Option<Uuid>,
    /// The application that it means, as far as that can be told.
    application_id: Option<Uuid>,
    /// Where it stood: topic, partition and offset.
    origin: Option<String>,
    /// Its own time there.
    #[schema(format = DateTime)]
    timestamp: Option<String>,
    /// Bytes of its value, where it does not stand on `rejected` whole.
    cut: Option<u64>,
    /// How often it was retried.
    retries: u32,
}

/// A record that could not be used, with what it holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RejectedRecordWithValue)]
pub(super) struct OneRejected {
    #[serde(flatten)]
    row: RejectedShown,
    /// Its key; null: it has none.
    key_base64: Option<String>,
    /// Its value, or as much of it as fits; null: it has none.
    value_base64: Option<String>,
    /// Its own headers, in order.
    headers: Vec<RejectedHeader>,
}

/// A header of a record.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RejectedHeader {
    name: String,
    /// As text; what is no UTF-8 is replaced.
    value: String,
}

/// List rejected records
///
/// Records of topics that could not be used, newest first: why, and where in the record. A token sees those of what it sees; what is
/// nobody's is the operator's. A page looks at a bounded number of records, so it may have few rows, or none, while `Link` names a
/// next one.
#[utoipa::path(
    get, path = "/api/v1/rejected", operation_id = "rejected.list", tag = "rejected",
    params(
        ("source_id" = Option<String>, Query, description = "Only those that came through this source: id, or uid of one that is there", nullable = false),
        ("reason" = Option<String>, Query, description = "Only those of this reason", pattern = "^[a-z_]+$", nullable = false),
        ("from" = Option<String>, Query, description = "Rejected at this time or later", format = DateTime, nullable = false),
        ("to" = Option<String>, Query, description = "Rejected at this time or earlier", format = DateTime, nullable = false),
        ("limit" = Option<u16>, Query, description = "Rows of a page, 100 unless said", minimum = 1, maximum = 1000, nullable = false),
        ("pagination_cursor" = Option<String>, Query, description = "Where the page begins: as the `Link` of the page before says", pattern = "^[0-9.-]+$", max_length = 40_000, nullable = false),
    ),
    responses((status = 200, description = "Rejected records, newest first", body = Vec<RejectedShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let end = page.after_name().map(|text| text.parse::<PageEnd>().map_err(|()| no_cursor())).transpose()?;
    let (from_ms, to_ms) = (query.moment("from")?, query.moment("to")?);
    if from_ms.zip(to_ms).is_some_and(|(from, to)| from > to) {
        return Err(Problem::new(ProblemId::InvalidDateRange, "`from` is after `to`"));
    }
    let source = query.get("source_id").map(|given| source(&app, &principal, given)).transpose()?;
    let reason = query.get("reason").map(|given| reason(given, "reason")).transpose()?;
    let filter = RejectedFilter { source, reason, from_ms, to_ms };
    let organization = principal.who.organization(&app.catalog().read());
    let _turn = app.turns().rejected.take(organization).await?;
    let is_seen = |row: &RejectedRow| RejectedOwner::of(&app.catalog().read(), &row.said).is_seen_by(&principal);
    let found = app.rejected().page(&filter, (end, page.limit().unwrap_or(USUAL)), is_seen).await?;
    let snapshot = app.catalog().read();
    let shown = found.rows.into_iter().map(|row| {
        let owner = RejectedOwner::of(&snapshot, &row.said);
        RejectedShown::of(row, owner)
    });
    let shown = shown.collect();
    drop(snapshot);
    rows(&query, &Rows::of(shown, found.next.map(|next| next.to_string())))
}

/// Read a rejected record
///
/// With its key, its value and its headers, as they stood where it came from.
#[utoipa::path(
    get, path = "/api/v1/rejected/{rejected_id}", operation_id = "rejected.get", tag = "rejected",
    params(("rejected_id" = String, Path, description = "Its partition and offset on the topic `rejected`, as `3-120`", pattern = "^[0-9]+-[0-9]+$")),
    responses((status = 200, description = "The record", body = OneRejected)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, principal: Principal, Path(id): Path<String>) -> Answer {
    // Also for an application's token: what is its own in the list is there, all else is not.
    let absent = || not_found("rejected record");
    let id: RejectedId = id.parse().map_err(|()| absent())?;
    let organization = principal.who.organization(&app.catalog().read());
    let _turn = app.turns().rejected.take(organization).await?;
    let record = read(&app, id).await?.ok_or_else(absent)?;
    let said = RejectedRecord::decode(&record).ok_or_else(absent)?;
    let owner = RejectedOwner::of(&app.catalog().read(), &said);
    if !owner.is_seen_by(&principal) {
        return Err(absent());
    }
    let headers = headers(&said.headers);
    let row = RejectedShown::of(RejectedRow { place: id, at_ms: record.timestamp_ms, said }, owner);
    let base64 = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let (key_base64, value_base64) = (base64(&record.key), base64(&record.value));
    json(StatusCode::OK, &OneRejected { row, key_base64, value_base64, headers })
}

async fn read(app: &App, id: RejectedId) -> Result<Option<Record>, Problem> {
    #[cfg(test)]
    if let Some(found) = app.rejected().in_memory_at(id) {
        return Ok(found);
    }
    if !app.rejected().is_written(id).await? {
        return Ok(None);
    }
    let topic = app.rejected().topic().to_owned();
    app.log().read_back()?.record(&Origin { topic, partition: id.partition, offset: id.offset }).await
}

fn headers(of: &Headers) -> Vec<RejectedHeader> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    of.iter().map(|(name, value)| RejectedHeader { name: text(name), value: text(value) }).collect()
}

/// A source by id or uid. One that is not there may have been, and what came through it still is.
pub(super) fn source(app: &App, principal: &Principal, given: &str) -> Result<SourceId, Problem> {
    if let Ok(id) = Uuid::parse_str(given) {
        return Ok(SourceId(id));
    }
    sources::seen(principal, &app.catalog().read(), given).map(|source| source.source_id)
}

/// A reason by its word.
pub(super) fn reason(given: &str, field: &str) -> Result<String, Problem> {
    let known = given.parse::<RejectReason>().map(|reason| reason.as_str().to_owned());
    let words = || REASONS.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ");
    known.map_err(|()| Problem::field(field, Code::InvalidField, format!("must be one of {}", words())))
}

// === impl RejectedShown ===

impl RejectedShown {
    fn of(row: RejectedRow, owner: RejectedOwner) -> Self {
        let RejectedRow { place, at_ms, said } = row;
        Self {
            rejected_id: place.to_string(),
            at: time(at_ms),
            reason: said.reason,
            detail: said.detail,
            position: said.seen_at,
            source_id: said.source.map(|id| id.0),
            organization_id: owner.organization.map(|id| id.0),
            application_id: owner.application.map(|id| id.0),
            origin: said.origin.map(|origin| origin.to_string()),
            timestamp: said.timestamp_ms.map(time),
            cut: said.cut,
            retries: said.retries,
        }
    }
}
