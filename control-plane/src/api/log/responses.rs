//! Answers of endpoints, read back from the records of their attempts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;
use schemas::attempt::{Exchange, Lifecycle, Response};
use schemas::record::Record;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::requests::attempt_record;
use super::{AskedLog, erased, expired, with_headers};
use crate::api::json;
use crate::log::attempts::{self, LoggedAttempt};
use crate::log::failed;
use crate::problem::{Answer, Problem, internal, not_found};
use crate::state::App;

/// What came back of an attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Response)]
pub(in crate::api) struct ResponseShown {
    /// The attempt's.
    response_id: Uuid,
    /// Why it is no success, a word that clients know.
    response_error_name: Option<String>,
    http_code: Option<u16>,
    /// Repeats joined; cut to the configured limit.
    headers: BTreeMap<String, String>,
    /// Cut to the configured limit.
    body: Option<String>,
    elapsed_time_ms: Option<i64>,
}

/// Read an answer
///
/// Head and body as far as they were kept, read back from Kafka.
#[utoipa::path(
    get, path = "/api/v1/responses/{response_id}", operation_id = "responses.get", tag = "log",
    params(
        ("response_id" = String, Path, description = "The attempt's id", format = Uuid),
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
    ),
    responses(
        (status = 200, description = "The answer", body = ResponseShown),
        (status = 404, description = "NotFound: there is no such answer, or it is gone (`code` is `expired`, or `erased`)"),
    ),
)]
pub(in crate::api) async fn get(State(app): State<Arc<App>>, asked: AskedLog, Path(id): Path<String>) -> Answer {
    let (application, store) = asked.log(&app)?;
    let id = Uuid::parse_str(&id).map_err(|_no_id| not_found("answer"))?;
    let found = attempts::find(store.as_ref(), application.application_id, id).await.map_err(|error| failed(&error))?;
    let made = found.filter(|it| !it.waits && it.fact.exchange.is_some());
    let attempt = made.ok_or_else(|| app.log().absent("answer"))?;
    if app.log().is_erased_of(&attempt.fact).await? {
        return Err(erased("this answer"));
    }
    let record = attempt_record(&app, &attempt).await?.ok_or_else(|| expired("this answer"))?;
    let shown = show(&attempt, &record)?.ok_or_else(|| expired("this answer"))?;
    Ok(with_headers(&app, json(StatusCode::OK, &shown)?))
}

/// The answer of an attempt in its record; `None`: the record is another's.
fn show(attempt: &LoggedAttempt, record: &Record) -> Result<Option<ResponseShown>, Problem> {
    let Some(exchange) = exchange_of(attempt, record)? else { return Ok(None) };
    let response = Response::of(&record.headers, Some(&exchange));
    Ok(Some(ResponseShown {
        response_id: attempt.id(),
        response_error_name: error_name(exchange.error.as_deref(), exchange.status).map(str::to_owned),
        http_code: exchange.status,
        headers: response.head.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        body: exchange.status.map(|_| String::from_utf8_lossy(&response.body).into_owned()),
        elapsed_time_ms: Some(exchange.elapsed_ms),
    }))
}

/// The request of an attempt in its record; `None`: the record is another's.
pub(super) fn exchange_of<'a>(attempt: &LoggedAttempt, record: &'a Record) -> Result<Option<Exchange<'a>>, Problem> {
    let value = record.value.as_deref().unwrap_or_default();
    let lifecycle =
        Lifecycle::decode(value).map_err(|error| internal("the record of an attempt could not be read", &error))?;
    let is_own = lifecycle.delivery_id == Some(attempt.delivery) && lifecycle.attempt == attempt.fact.attempt;
    Ok(lifecycle.exchange.filter(|_| is_own))
}

/// The word that clients know for what a request failed with. Our own word stands at the attempt, `error`.
fn error_name(error: Option<&str>, status: Option<u16>) -> Option<&'static str> {
    match (error, status) {
        (None, Some(200..=299)) => None,
        (None, Some(_)) | (Some("protocol"), _) => Some("E_HTTP"),
        (Some("dns"), _) => Some("E_DNS"),
        (Some("connect" | "tls" | "reset"), _) => Some("E_CONNECTION"),
        (Some("timeout"), _) => Some("E_TIMEOUT"),
        (Some("refused"), _) => Some("E_INVALID_TARGET"),
        (Some("unwritable"), _) => Some("E_INVALID_HEADER"),
        (Some(_) | None, _) => Some("E_UNKNOWN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_word_that_clients_know() {
        assert_eq!(error_name(None, Some(204)), None);
        assert_eq!(error_name(None, Some(503)), Some("E_HTTP"));
        assert_eq!(error_name(Some("timeout"), Some(200)), Some("E_TIMEOUT"));
        assert_eq!(error_name(Some("unheard_of"), None), Some("E_UNKNOWN"));
        assert_eq!(error_name(None, None), Some("E_UNKNOWN"));
    }
}
