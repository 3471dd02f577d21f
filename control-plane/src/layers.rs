//! What every request passes: its path is put in order, it gets an id and a deadline, it is counted and logged, answers are
//! kept out of caches, and who names an earlier write waits until it is here.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chassis::clock;
use chassis::config::ControlConfig;
use chassis::server::ConnectionState;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use schemas::problem::{Code, ProblemId};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::{debug, info};
use uuid::Uuid;

use crate::actor::Caller;
use crate::auth;
use crate::idempotency::IDEMPOTENCY_KEY;
use crate::problem::{Problem, out_of_time, unavailable};
use crate::state::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A position of `control`: answered to writes, and taken with requests that must see them.
const CONSISTENCY: HeaderName = HeaderName::from_static("hookbus-consistency-token");
/// How long a request waits for this replica to reach the write it names.
const CONSISTENCY_WAIT: Duration = Duration::from_secs(3);
/// How long a browser may remember what a preflight said.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3_600);
/// Beyond the request's deadline, at which the store has the better answer: it knows whether a write is on its way.
const LAST_RESORT: Duration = Duration::from_secs(1);

/// Doubled slashes count as one and a trailing one as none: accepted, never redirected. `%2F` is left alone.
pub(crate) fn normalise<B>(mut request: http::Request<B>) -> http::Request<B> {
    let path = request.uri().path();
    let in_order = path == "/" || !(path.contains("//") || path.ends_with('/'));
    if in_order {
        return request;
    }
    let mut plain = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        plain.push('/');
        plain.push_str(part);
    }
    if plain.is_empty() {
        plain.push('/');
    }
    if let Some(query) = request.uri().query() {
        plain.push('?');
        plain.push_str(query);
    }
    let mut parts = request.uri().clone().into_parts();
    if let Ok(path) = PathAndQuery::try_from(plain) {
        parts.path_and_query = Some(path);
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Id, deadline, metrics and a line in the access log (with the route's template: paths hold tokens).
pub(crate) async fn observe(
    State(app): State<Arc<App>>,
    route: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = clock::instant();
    let id = request_id(&request);
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let method = request.method().clone();
    let caller = Caller {
        address: request.extensions().get::<Arc<ConnectionState>>().map(|it| {
            let peer = it.peer().0.ip();
            app.config().trusted_proxies.caller(peer, request.headers())
        }),
        request_id: id.to_str().ok().map(Arc::from),
        // What it says otherwise is refused further in, so nothing is done for a misspelt one either.
        dry_run: dry_run(request.uri().query()).unwrap_or(true),
        // The body, the look for the token and the write share it.
        deadline: Some(started + app.config().request_timeout),
        bytes: Arc::default(),
        keyed: None,
    };
    let address = caller.address;
    request.extensions_mut().insert(caller);
    let deadline = app.config().request_timeout + LAST_RESORT;
    let answer = async {
        // Before the snapshot is whole, "there is no such thing" would be a guess.
        app.catalog().caught_up().await;
        next.run(request).await
    };
    let mut response = match tokio::time::timeout(deadline, answer).await {
        Ok(response) => response,
        Err(_elapsed) => out_of_time("the request was not answered in time").into_response(),
    };
    let elapsed = clock::instant().saturating_duration_since(started);
    let status = response.status();
    app.metrics().requests.with_label_values(&[route, status.as_str()]).inc();
    app.metrics().request_seconds.with_label_values(&[route]).observe(elapsed.as_secs_f64());
    let (status, elapsed_ms) = (status.as_u16(), elapsed.as_secs_f64() * 1e3);
    if app.config().access_log {
        info!(target: "hookbus::access", request_id = ?id, ?address, %method, route, status, elapsed_ms, "request");
    } else {
        debug!(target: "hookbus::access", request_id = ?id, ?address, %method, route, status, elapsed_ms, "request");
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Read your writes, on whatever replica: waits for the write that the request names, and names the one that is answered.
pub(crate) async fn consistent(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // A plain read neither names a write nor is told of one.
    let is_asked = !reads || request.headers().contains_key(CONSISTENCY);
    let is_known = is_asked && auth::is_known(&app, request.headers());
    let asked = dry_run(request.uri().query()).and_then(|_asked| named_write(request.headers()));
    let ready = match asked {
        // Who may not ask learns nothing of the log, and has nobody ask Kafka for its end.
        Ok(Some(token)) if is_known => reached(&app, token).await,
        Ok(_token) => Ok(()),
        Err(problem) => Err(problem),
    };
    let mut response = match ready {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if !reads && (is_known || response.status().is_success()) {
        // The store has returned: the snapshot holds the write, so its position is behind it.
        response.headers_mut().insert(CONSISTENCY, HeaderValue::from(app.catalog().position()));
    }
    response
}

/// `?dry_run=true`. Whoever writes `1` or `yes` means it as well: to go ahead then would be the worst of answers.
fn dry_run(query: Option<&str>) -> Result<bool, Problem> {
    let mut asked = false;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match (&*name, &*value) {
            ("dry_run", "true") => asked = true,
            ("dry_run", "false") => {}
            ("dry_run", _other) => {
                return Err(Problem::field("dry_run", Code::InvalidField, "must be true or false"));
            }
            (_other, _) => {}
        }
    }
    Ok(asked)
}

/// The position that the request's consistency token names.
fn named_write(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(CONSISTENCY) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()));
    let message = "is not a number that an answer to a write carried";
    let invalid = || Problem::field(CONSISTENCY.as_str(), Code::InvalidField, message);
    digits.and_then(|it| it.parse().ok()).map(Some).ok_or_else(invalid)
}

async fn reached(app: &App, token: i64) -> Result<(), Problem> {
    if app.catalog().position() >= token {
        return Ok(());
    }
    let wait = async {
        let end = app.catalog().end().await.map_err(|error| unavailable(format!("the end is not known: {error}")))?;
        if token > end {
            let problem = Problem::new(
                ProblemId::Validation,
                "`Hookbus-Consistency-Token` is ahead of this installation's log: it comes from another one",
            );
            return Err(problem.with_status(412).with_code(Code::PreconditionFailed));
        }
        app.catalog().wait_for(token).await;
        Ok(())
    };
    tokio::time::timeout(CONSISTENCY_WAIT, wait).await.unwrap_or_else(|_elapsed| {
        let problem = Problem::new(
            ProblemId::ServiceUnavailable,
            "this replica has not seen the write of `Hookbus-Consistency-Token` yet",
        );
        Err(problem.with_code(Code::CatalogBehind).with_retry_after(1))
    })
}

/// Headers that keep answers out of caches and out of a browser's guesses.
pub(crate) async fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Most answers hold secrets or tokens, and all of them are somebody's.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Answers preflights, if any page may call at all. Credentials (cookies) are never allowed: tokens are sent by hand.
pub(crate) fn cors(config: &ControlConfig) -> Option<CorsLayer> {
    let origins = &config.cors_origins;
    let listed = || origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let allowed = match origins.first().map(String::as_str) {
        None => return None,
        Some("*") => AllowOrigin::any(),
        Some(_origin) => AllowOrigin::list(listed()),
    };
    let named = |name: &'static str| HeaderName::from_static(name);
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                IDEMPOTENCY_KEY,
                named("hook0-client-options"),
                REQUEST_ID,
                CONSISTENCY,
            ])
            .expose_headers([
                header::ETAG,
                header::LINK,
                header::RETRY_AFTER,
                REQUEST_ID,
                CONSISTENCY,
                crate::log::BEHIND,
                crate::log::FROM,
                crate::api::REPLAY_ID,
                crate::api::ERASED_UNTIL,
            ])
            .max_age(PREFLIGHT_AGE),
    )
}

/// 404 for every other path.
pub(crate) async fn no_route() -> Problem {
    Problem::new(ProblemId::NotFound, "there is no such route")
}

/// 405 for a known path.
pub(crate) async fn no_method() -> Problem {
    let problem = Problem::new(ProblemId::Validation, "this route does not take this method");
    problem.with_status(405).with_code(Code::MethodNotAllowed)
}

/// The client's own id if it is a harmless one, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        (1..=64).contains(&value.len()) && value.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
    };
    request
        .headers()
        .get(REQUEST_ID)
        .filter(harmless)
        .cloned()
        .unwrap_or_else(|| HeaderValue::from_str(&Uuid::now_v7().to_string()).expect("a UUID is visible ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_never_taken_for_the_real_thing() {
        let asked = |query: &str| dry_run(Some(query)).ok();
        for yes in ["dry_run=true", "a=1&dry_run=true", "dry%5Frun=tru%65", "dry_run=true&dry_run=false"] {
            assert_eq!(asked(yes), Some(true), "{yes}");
        }
        for no in ["", "dry_run=false", "other=dry_run", "dry_runs=true"] {
            assert_eq!(asked(no), Some(false), "{no}");
        }
        for unclear in ["dry_run", "dry_run=", "dry_run=1", "dry_run=True", "dry_run=true&dry_run=yes"] {
            assert_eq!(asked(unclear), None, "{unclear}");
        }
    }

    #[test]
    fn slashes_are_put_in_order_and_nothing_else_changes() {
        let path = |text: &str| {
            let request = http::Request::builder().uri(text).body(()).unwrap();
            normalise(request).uri().to_string()
        };
        assert_eq!(path("/api/v1/applications/"), "/api/v1/applications");
        assert_eq!(path("//api///v1/a%2Fb//?x=//"), "/api/v1/a%2Fb?x=//");
        assert_eq!(path("/"), "/");
        assert_eq!(path("//"), "/");
        assert_eq!(path("/api"), "/api");
        assert_eq!(path("http://host:1//api/"), "http://host:1/api");
    }
}
