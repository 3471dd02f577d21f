//! What every request passes: its path is put in order, it gets an id and a deadline, and it is counted.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chassis::clock;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderName, HeaderValue};
use schemas::problem::{Code, ProblemId};
use tracing::debug;
use uuid::Uuid;

use crate::problem::Problem;
use crate::state::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Beyond the store's own deadline, which has the better answer.
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
    request: Request,
    next: Next,
) -> Response {
    let started = clock::instant();
    let id = request_id(&request);
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let method = request.method().clone();
    let deadline = app.config().request_timeout + LAST_RESORT;
    let mut response = match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => late().into_response(),
    };
    let elapsed = clock::instant().saturating_duration_since(started);
    let status = response.status();
    app.metrics().requests.with_label_values(&[route, status.as_str()]).inc();
    app.metrics().request_seconds.with_label_values(&[route]).observe(elapsed.as_secs_f64());
    debug!(request_id = ?id, %method, route, status = status.as_u16(), elapsed_ms = elapsed.as_secs_f64() * 1e3, "request");
    response.headers_mut().insert(REQUEST_ID, id);
    response
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

fn late() -> Problem {
    let problem = Problem::new(ProblemId::ServiceUnavailable, "the request was not answered in time");
    problem.with_code(Code::Overloaded).with_retry_after(1)
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
