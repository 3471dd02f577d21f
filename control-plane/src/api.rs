//! The routes, one file per resource. Reading looks at the snapshot, writing hands the store a decision.

mod application_secrets;
mod applications;
mod event_types;
mod instance;
mod organizations;
mod subscriptions;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Router, middleware};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use tower::util::MapRequestLayer;
use tower::{Layer, ServiceExt};

use crate::layers;
use crate::problem::{Answer, internal};
use crate::state::App;

/// "Unlimited" in the clients' 32-bit integers.
const UNLIMITED: i32 = i32::MAX;

/// All routes, behind what every request passes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .merge(public())
        .merge(resources())
        .fallback(layers::no_route)
        .method_not_allowed_fallback(layers::no_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), layers::observe))
        .with_state(app);
    // Routing comes after the path is put in order, so the ordered routes are the fallback of an empty router.
    let ordered = MapRequestLayer::new(layers::normalise::<Body>).layer(routes);
    Router::new().fallback_service(ordered.map_request(|request: http::Request<Body>| request))
}

fn public() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/instance", get(instance::instance))
        .route("/api/v1/quotas", get(instance::quotas))
        .route("/api/v1/errors", get(instance::errors))
        .route("/api/v1/payload_content_types", get(instance::payload_content_types))
}

fn resources() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/organizations", get(organizations::list))
        .route("/api/v1/organizations/{id}", get(organizations::read))
        .route("/api/v1/applications", get(applications::list).post(applications::create))
        .route(
            "/api/v1/applications/{id}",
            get(applications::read).put(applications::update).delete(applications::delete),
        )
        .route("/api/v1/application_secrets", get(application_secrets::list).post(application_secrets::create))
        .route(
            "/api/v1/application_secrets/{token}",
            put(application_secrets::update).delete(application_secrets::delete),
        )
        .route("/api/v1/event_types", get(event_types::list).post(event_types::create))
        .route("/api/v1/event_types/{name}", get(event_types::read).delete(event_types::delete))
        .route("/api/v1/subscriptions", get(subscriptions::list).post(subscriptions::create))
        .route(
            "/api/v1/subscriptions/{id}",
            get(subscriptions::read).put(subscriptions::update).delete(subscriptions::delete),
        )
        .route("/api/v1/subscriptions/{id}/pause", post(subscriptions::pause))
        .route("/api/v1/subscriptions/{id}/resume", post(subscriptions::resume))
}

/// A JSON answer.
fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).map_err(|error| internal("the answer could not be written", &error))?;
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// 204.
fn no_content() -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// RFC 3339 with zone.
pub(crate) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
pub(crate) use tests::config as test_config;

#[cfg(test)]
mod tests;
