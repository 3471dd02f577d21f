//! Events by day.

use std::sync::Arc;

use axum::extract::State;
use chassis::clock;
use delivery_log::Day;
use http::StatusCode;
use schemas::control::Application;
use schemas::problem::Code;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AskedLog, range, with_headers};
use crate::api::json;
use crate::log::failed;
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Days that are shown where none are named, today included.
const USUAL: u32 = 30;
/// Days that may be asked for.
const MOST: i32 = 366;
/// Rows of an answer.
const ROWS: usize = 100_000;

/// Events that an application accepted in one day of UTC.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct EventsPerDayEntry {
    application_id: Uuid,
    application_name: String,
    #[schema(format = Date)]
    date: String,
    amount: i64,
    /// The day is not over.
    is_provisional: bool,
}

/// Count an application's events by day
///
/// Every day of the range, the oldest first, with those that the fan-out has matched.
#[utoipa::path(
    get, path = "/api/v1/events_per_day/application", operation_id = "eventsPerDay.application", tag = "log",
    params(
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("from" = Option<String>, Query, description = "The first day; 30 days by default", format = Date, nullable = false),
        ("to" = Option<String>, Query, description = "The last day; today by default", format = Date, nullable = false),
    ),
    responses(
        (status = 200, description = "The days", body = Vec<EventsPerDayEntry>),
        (status = 400, description = "InvalidDateRange: from is after to, or there are more than 366 days between them"),
    ),
)]
pub(in crate::api) async fn application(State(app): State<Arc<App>>, asked: AskedLog) -> Answer {
    let (application, _store) = asked.log(&app)?;
    answer(&app, &asked, vec![application]).await
}

/// Count an organization's events by day
///
/// As for one application, for each of them.
#[utoipa::path(
    get, path = "/api/v1/events_per_day/organization", operation_id = "eventsPerDay.organization", tag = "log",
    params(
        ("organization_id" = String, Query, description = "Id or uid"),
        ("from" = Option<String>, Query, description = "The first day; 30 days by default", format = Date, nullable = false),
        ("to" = Option<String>, Query, description = "The last day; today by default", format = Date, nullable = false),
    ),
    responses(
        (status = 200, description = "The days", body = Vec<EventsPerDayEntry>),
        (status = 400, description = "InvalidDateRange: from is after to, or there are more than 366 days between them"),
    ),
)]
pub(in crate::api) async fn organization(State(app): State<Arc<App>>, asked: AskedLog) -> Answer {
    let applications: Vec<Arc<Application>> = {
        let snapshot = app.catalog().read();
        let organization = asked.principal.organization(&snapshot, asked.query.required("organization_id")?)?;
        snapshot.applications_of(organization.organization_id).cloned().collect()
    };
    answer(&app, &asked, applications).await
}

async fn answer(app: &App, asked: &AskedLog, applications: Vec<Arc<Application>>) -> Answer {
    let store = app.log().store()?;
    let today = Day::of(clock::now_ms());
    let to = day(asked, "to")?.unwrap_or(today);
    let from = day(asked, "from")?.unwrap_or_else(|| to.minus(USUAL - 1));
    let days = to.number() - from.number() + 1;
    if !(1..=MOST).contains(&days) {
        return Err(range("from must not be after to, with at most 366 days between them"));
    }
    let rows = usize::try_from(days).unwrap_or(0).saturating_mul(applications.len());
    if rows > ROWS {
        return Err(range("the answer would have more than 100000 rows: ask for fewer days"));
    }
    let ids = applications.iter().map(|it| it.application_id).collect();
    let counts = store.accepted(ids, from, to).await.map_err(|error| failed(&error))?;
    let mut entries = Vec::with_capacity(rows);
    for application in &applications {
        let id = application.application_id;
        for day in (from.number()..=to.number()).filter_map(Day::numbered) {
            let amount = counts.get(&(day, id)).copied().unwrap_or(0);
            entries.push(EventsPerDayEntry {
                application_id: id.0,
                application_name: application.name.clone(),
                date: day.to_string(),
                // Clients read 32 bits.
                amount: i64::try_from(amount).unwrap_or(i64::MAX).min(i64::from(i32::MAX)),
                is_provisional: day >= today,
            });
        }
    }
    Ok(with_headers(app, json(StatusCode::OK, &entries)?))
}

fn day(asked: &AskedLog, name: &str) -> Result<Option<Day>, Problem> {
    let Some(text) = asked.query.get(name) else { return Ok(None) };
    let wrong = |()| Problem::field(name, Code::InvalidField, "must be a date such as 2026-11-29");
    text.parse().map(Some).map_err(wrong)
}
