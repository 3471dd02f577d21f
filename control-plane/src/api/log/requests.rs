//! The request of an attempt as it was: put together from the attempt's record, what its subscription's attempts had in common
//! then, and its event. No secret stands in any of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use delivery_log::{DeliveryStore, LoggedEvent};
use http::StatusCode;
use schemas::attempt::{Exchange, TargetFacts};
use schemas::control::{BodyForm, SigningScheme};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::events::PayloadState;
use super::responses::exchange_of;
use super::{AskedLog, erased, expired, payload, with_headers};
use crate::api::{json, time};
use crate::log::attempts::{self, LoggedAttempt};
use crate::log::failed;
use crate::problem::{Answer, Problem, not_found};
use crate::state::App;

/// What stands in place of a secret header's value.
const MASK: &str = "********";

/// A request as it was sent. What is not known any more is null.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = AttemptRequest)]
pub(in crate::api) struct RequestShown {
    method: Option<String>,
    url: Option<String>,
    /// The subscription's own headers by name; the value of a secret one is `********`.
    headers: Option<BTreeMap<String, String>>,
    /// How it showed who sent it: `basic`, `bearer`, `oauth2` or `mtls`; null for nothing beyond its signatures.
    auth: Option<String>,
    /// Schemes that it was signed with.
    #[schema(value_type = Option<Vec<String>>)]
    signing: Option<Vec<SigningScheme>>,
    /// The first 12 characters of each signature behind the name of its form, to compare with what a receiver computed.
    signed: Option<String>,
    /// What its body was: the payload, or the payload in a form.
    #[schema(value_type = Option<String>)]
    body_form: Option<BodyForm>,
    /// How long it might have taken.
    timeout_ms: Option<u64>,
    payload: RequestPayload,
    connection: RequestConnection,
    /// When it was due, where it had waited for a time.
    #[schema(format = DateTime)]
    due_at: Option<String>,
    #[schema(format = DateTime)]
    started_at: String,
}

/// The payload of a request.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(in crate::api) struct RequestPayload {
    state: PayloadState,
    bytes: Option<u64>,
    /// Topic, partition and offset of the record that holds it.
    origin: Option<String>,
}

/// The connection that a request went over.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::api) struct RequestConnection {
    /// The address that was dialled.
    to: Option<String>,
    /// `1.1` or `2`; null where there was no connection.
    http: Option<String>,
    /// Whether it was there before the request; null where there was none.
    reused: Option<bool>,
    /// How long the name was looked up, where the connection was made for this request; likewise the next two.
    dns_ms: Option<u32>,
    connect_ms: Option<u32>,
    tls_ms: Option<u32>,
}

/// Read the request of an attempt
///
/// As it was sent, whatever its subscription has become since. Read back from Kafka.
#[utoipa::path(
    get, path = "/api/v1/request_attempts/{request_attempt_id}/request", operation_id = "requestAttempts.request",
    tag = "log",
    params(
        ("request_attempt_id" = String, Path, description = "The attempt's id", format = Uuid),
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
    ),
    responses(
        (status = 200, description = "The request", body = RequestShown),
        (status = 404, description = "NotFound: no such request was made, or it is gone (`code` is `expired`, or `erased`)"),
    ),
)]
pub(in crate::api) async fn get(State(app): State<Arc<App>>, asked: AskedLog, Path(id): Path<String>) -> Answer {
    let (application, store) = asked.log(&app)?;
    let id = Uuid::parse_str(&id).map_err(|_no_id| not_found("request"))?;
    let found = attempts::find(store.as_ref(), application.application_id, id).await.map_err(|error| failed(&error))?;
    let made = found.filter(|it| !it.waits && it.fact.exchange.is_some());
    let attempt = made.ok_or_else(|| app.log().absent("request"))?;
    if app.log().is_erased_of(&attempt.fact).await? {
        return Err(erased("this request"));
    }
    let record = attempt_record(&app, &attempt).await?.ok_or_else(|| expired("this request"))?;
    let exchange = exchange_of(&attempt, &record)?.ok_or_else(|| expired("this request"))?;
    let target = target(store.as_ref(), &attempt, &exchange).await?;
    let state = match &attempt.event {
        Some(event) => payload::read(&app, &application, event).await?.state(),
        None => PayloadState::Expired,
    };
    let facts = target.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let shown = show(&exchange, facts, (state, attempt.event.as_ref()));
    Ok(with_headers(&app, json(StatusCode::OK, &shown)?))
}

/// The record of an attempt; `None`: Kafka does not hold it any more.
pub(super) async fn attempt_record(
    app: &App,
    attempt: &LoggedAttempt,
) -> Result<Option<schemas::record::Record>, Problem> {
    let at = attempt.fact.coordinates;
    let topic = app.log().topic().to_owned();
    let origin = schemas::delivery::Origin { topic, partition: at.partition, offset: at.offset };
    app.log().read_back()?.record(&origin).await
}

/// What its subscription's attempts had in common then, as it was told.
async fn target(
    store: &dyn DeliveryStore,
    attempt: &LoggedAttempt,
    exchange: &Exchange<'_>,
) -> Result<Option<String>, Problem> {
    let fact = &attempt.fact;
    let Some(((application, subscription), offset)) = fact.application.zip(fact.subscription).zip(exchange.target)
    else {
        return Ok(None);
    };
    store.target(application, (subscription, offset)).await.map_err(|error| failed(&error))
}

fn show(
    exchange: &Exchange<'_>,
    target: Option<TargetFacts<'_>>,
    (state, event): (PayloadState, Option<&LoggedEvent>),
) -> RequestShown {
    let text = |text: &std::borrow::Cow<'_, str>| text.clone().into_owned();
    let headers = target.as_ref().map(|target| {
        let shown = |value: &Option<std::borrow::Cow<'_, str>>| value.as_ref().map_or_else(|| MASK.to_owned(), text);
        target.headers.iter().map(|(name, value)| (text(name), shown(value))).collect()
    });
    RequestShown {
        method: target.as_ref().map(|target| text(&target.method)),
        url: target.as_ref().map(|target| text(&target.url)),
        headers,
        auth: target.as_ref().and_then(|target| target.auth.as_ref().map(text)),
        signing: target.as_ref().map(|target| target.signing.clone()),
        signed: exchange.signed.as_ref().map(text),
        body_form: target.as_ref().map(|target| target.body),
        timeout_ms: target.as_ref().map(|target| target.timeout_ms),
        payload: RequestPayload {
            state,
            bytes: event.map(|event| event.payload_bytes),
            origin: event.and_then(|event| event.origin.as_ref()).map(ToString::to_string),
        },
        connection: RequestConnection {
            to: exchange.to.map(|to| to.to_string()),
            http: exchange.http.as_ref().map(text),
            reused: exchange.http.as_ref().map(|_| exchange.connect_ms.is_none()),
            dns_ms: exchange.dns_ms,
            connect_ms: exchange.connect_ms,
            tls_ms: exchange.tls_ms,
        },
        due_at: exchange.due_ms.map(time),
        started_at: time(exchange.started_ms),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(exchange: &str, target: Option<&str>) -> serde_json::Value {
        let exchange: Exchange<'_> = serde_json::from_str(exchange).unwrap();
        let target = target.map(|text| serde_json::from_str(text).unwrap());
        serde_json::to_value(show(&exchange, target, (PayloadState::Expired, None))).unwrap()
    }

    #[test]
    fn a_request_is_shown_as_it_was_and_its_secrets_are_not() {
        let exchange =
            r#"{"started_ms":1000,"elapsed_ms":9,"to":"192.0.2.1:443","http":"2","signed":"v1,abc","due_ms":0}"#;
        let target = r#"{"offset":7,"method":"POST","url":"https://example.com/","headers":{"x-key":null,"x-a":"b"},
            "auth":"bearer","body":"raw","timeout_ms":15000}"#;
        let told = shown(exchange, Some(target));
        assert_eq!((&told["method"], &told["url"]), (&json!("POST"), &json!("https://example.com/")));
        assert_eq!(told["headers"], json!({"x-key": "********", "x-a": "b"}));
        assert_eq!((&told["auth"], &told["signed"]), (&json!("bearer"), &json!("v1,abc")));
        assert_eq!(told["connection"]["reused"], true);
        assert_eq!(
            (&told["due_at"], &told["started_at"]),
            (&json!("1970-01-01T00:00:00Z"), &json!("1970-01-01T00:00:01Z"))
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let made = r#"{"started_ms":1000,"elapsed_ms":9,"http":"1.1","connect_ms":3,"tls_ms":0}"#;
        let told = shown(made, None);
        assert_eq!((&told["method"], &told["headers"], &told["body_form"]), (&json!(null), &json!(null), &json!(null)));
        assert_eq!(told["connection"]["reused"], false);
        let refused = shown(r#"{"started_ms":1000,"elapsed_ms":9,"to":"192.0.2.1:443"}"#, None);
        assert_eq!((&refused["connection"]["reused"], &refused["payload"]["state"]), (&json!(null), &json!("expired")));
    }
}
