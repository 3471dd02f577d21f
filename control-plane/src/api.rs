//! The routes, one file per resource. Reading looks at the snapshot, writing hands the store a decision.
//!
//! A route and its description in the OpenAPI document are one: `routes!(a, b)` takes handlers with `#[utoipa::path]`.

mod addressed;
mod application_secrets;
mod applications;
mod audit;
mod current;
mod event_types;
mod events;
mod instance;
mod instances;
mod jobs;
mod log;
mod naming;
mod onboarding;
mod organizations;
mod own_token;
mod rejected;
mod schema_registries;
mod service_tokens;
mod sources;
mod subscriptions;
mod topics;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use axum::{Router, middleware};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use tower::util::{MapRequestLayer, option_layer};
use tower::{Layer, ServiceExt};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::etag::{ETag, Preconditions};
use crate::layers;
use crate::openapi;
use crate::page::Rows;
use crate::problem::{Answer, internal};
use crate::query::Query;
use crate::state::App;
use crate::stored::Stored;

/// All routes, behind what every request passes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (routes, _document) = described().split_for_parts();
    let routes = routes
        .fallback(layers::no_route)
        .method_not_allowed_fallback(layers::no_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), layers::consistent))
        .layer(middleware::map_response(layers::secured))
        .layer(option_layer(layers::cors(app.config())))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), layers::observe))
        .with_state(app);
    // Routing comes after the path is put in order, so the ordered routes are the fallback of an empty router.
    let ordered = MapRequestLayer::new(layers::normalise::<Body>).layer(routes);
    Router::new().fallback_service(ordered.map_request(|request: http::Request<Body>| request))
}

/// The routes and their descriptions.
fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::start())
        .merge(public())
        .merge(tenants())
        .merge(applications())
        .merge(traffic())
        .merge(source_routes())
        .merge(registry_routes())
        .merge(log_routes())
        .merge(job_routes())
        .merge(operator_routes())
}

fn public() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(instance::instance))
        .routes(routes!(instance::quotas))
        .routes(routes!(instance::errors))
        .routes(routes!(instance::payload_content_types))
        .routes(routes!(instance::openapi))
        .routes(routes!(instance::swagger))
}

fn tenants() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(organizations::list, organizations::create))
        .routes(routes!(organizations::get, organizations::update, organizations::patch, organizations::delete))
        .routes(routes!(service_tokens::list, service_tokens::create))
        .routes(routes!(service_tokens::get, service_tokens::update, service_tokens::patch, service_tokens::delete))
        .routes(routes!(service_tokens::rotate))
        .routes(routes!(own_token::get))
        .routes(routes!(audit::list))
}

fn applications() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(applications::list, applications::create))
        .routes(routes!(applications::get, applications::update, applications::patch, applications::delete))
        .routes(routes!(application_secrets::list, application_secrets::create))
        .routes(routes!(application_secrets::update, application_secrets::patch, application_secrets::delete))
        .routes(routes!(application_secrets::rotate))
        .routes(routes!(event_types::list, event_types::create))
        .routes(routes!(event_types::get, event_types::patch, event_types::delete))
}

fn traffic() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(subscriptions::list, subscriptions::create))
        .routes(routes!(subscriptions::get, subscriptions::update, subscriptions::patch, subscriptions::delete))
        .routes(routes!(subscriptions::batch::create))
        .routes(routes!(subscriptions::actions::pause))
        .routes(routes!(subscriptions::actions::resume))
        .routes(routes!(subscriptions::actions::rotate_secret))
        .routes(routes!(subscriptions::actions::ping))
        .routes(routes!(subscriptions::skip::skip))
        .routes(routes!(subscriptions::retry_now::retry_now))
        .routes(routes!(subscriptions::health::health))
        .routes(routes!(events::ingest))
        .routes(routes!(events::ingest_batch))
}

fn source_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(sources::list, sources::create))
        .routes(routes!(sources::get, sources::update, sources::patch, sources::delete))
        .routes(routes!(sources::partitions::list))
        .routes(routes!(sources::actions::pause))
        .routes(routes!(sources::actions::resume))
        .routes(routes!(sources::actions::move_to))
        .routes(routes!(sources::trial::test))
}

fn registry_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(schema_registries::list, schema_registries::create))
        .routes(routes!(
            schema_registries::get,
            schema_registries::update,
            schema_registries::patch,
            schema_registries::delete
        ))
        .routes(routes!(schema_registries::check))
}

fn log_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(log::events::list))
        .routes(routes!(log::events::get, log::erase::delete))
        .routes(routes!(log::timeline::get))
        .routes(routes!(log::explain::get))
        .routes(routes!(log::attempts::list))
        .routes(routes!(log::attempts::get))
        .routes(routes!(log::requests::get))
        .routes(routes!(log::responses::get))
        .routes(routes!(log::dead_letters::list))
        .routes(routes!(log::dead_letters::get))
        .routes(routes!(log::overview::get, log::overview::delete))
        .routes(routes!(log::stats::list))
        .routes(routes!(log::days::application))
        .routes(routes!(log::days::organization))
}

fn job_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::get))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::pause))
        .routes(routes!(jobs::resume))
        .routes(routes!(jobs::resend::retry))
        .routes(routes!(jobs::resend::replay))
        .routes(routes!(jobs::replays::create))
        .routes(routes!(jobs::letters::redrive))
        .routes(routes!(jobs::letters::discard))
        .routes(routes!(rejected::list))
        .routes(routes!(rejected::get))
        .routes(routes!(jobs::rejections::retry))
        .routes(routes!(jobs::backfill::create))
}

fn operator_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default().routes(routes!(instances::list)).routes(routes!(topics::list))
}

/// A JSON answer.
fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).map_err(|error| internal("the answer could not be written", &error))?;
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A page of a list, with the way to the next one.
fn rows(query: &Query, rows: &Rows<impl Serialize>) -> Answer {
    let mut response = json(StatusCode::OK, &rows.rows)?;
    linked(&mut response, rows.link(query)?);
    Ok(response)
}

fn linked(response: &mut Response, link: Option<HeaderValue>) {
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
}

/// A JSON answer about one object: `stored` as it stands on the topic (for the entity tag), `shown` as it is answered.
fn object(status: StatusCode, stored: &impl Stored, shown: &impl Serialize) -> Answer {
    let mut response = json(status, shown)?;
    response.headers_mut().insert(header::ETAG, ETag::of(stored)?.header());
    Ok(response)
}

/// The same for a `GET`: 304 where the client has this version already.
fn object_unless_known(preconditions: &Preconditions, stored: &impl Stored, shown: &impl Serialize) -> Answer {
    let tag = ETag::of(stored)?;
    if !preconditions.knows(tag) {
        return object(StatusCode::OK, stored, shown);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, tag.header());
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

pub(crate) use jobs::resend::REPLAY_ID;
pub(crate) use log::erase::UNTIL as ERASED_UNTIL;
pub(crate) use naming::{given_id, name, taken, uid};

/// The document as the handlers describe it.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    described().split_for_parts().1
}

/// Shapes that are described by hand, by name.
pub(crate) fn shapes() -> Vec<(&'static str, serde_json::Value)> {
    let mut shapes = events::shapes();
    shapes.push(event_types::payload_schema());
    shapes
}

/// Which fields are read of which described body.
#[cfg(test)]
pub(crate) fn fields() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        ("OrganizationPost", organizations::FIELDS),
        ("OrganizationPatch", organizations::FIELDS),
        ("ApplicationPost", applications::FIELDS),
        ("ApplicationPatch", applications::FIELDS),
        ("EventTypeByName", event_types::BY_NAME),
        ("EventTypeByParts", event_types::BY_PARTS),
        ("EventTypePatch", event_types::CHANGEABLE),
        ("SourcePost", crate::source::FIELDS),
        ("SourcePut", crate::source::FIELDS),
        ("SourcePatch", crate::source::FIELDS),
        ("SchemaRegistryPost", crate::schema_registry::FIELDS),
        ("SchemaRegistryPut", crate::schema_registry::FIELDS),
        ("SchemaRegistryPatch", crate::schema_registry::FIELDS),
    ]
}

#[cfg(test)]
pub(crate) use tests::config as test_config;

#[cfg(test)]
mod tests;
