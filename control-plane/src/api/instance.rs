//! What a client asks before it has a token: the instance, its quotas, its errors, the document of the API.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use schemas::problem::{ALL, Problem, ProblemId};
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::limits::{UNLIMITED, shown};
use crate::problem::Answer;
use crate::state::App;

/// What is the same for everybody.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "application_secret_compatibility": true, "auto_db_migration": false, "biscuit_public_key": "",
    "password_minimum_length": 12, "quota_enforcement": false, "registration_disabled": true, "support_email_address": "",
}))]
pub(super) struct InstanceConfig {
    application_secret_compatibility: bool,
    auto_db_migration: bool,
    /// Always empty: service tokens are opaque.
    biscuit_public_key: &'static str,
    password_minimum_length: i32,
    /// Whether the configuration limits anything.
    quota_enforcement: bool,
    /// Always true: there are no users.
    registration_disabled: bool,
    support_email_address: &'static str,
}

/// The limits of whoever has none of their own.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QuotasResponse {
    /// Whether anything is limited.
    enabled: bool,
    limits: QuotasResponseLimits,
}

/// Unlimited is 2147483647.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QuotasResponseLimits {
    global_applications_per_organization_limit: i32,
    global_days_of_events_retention_limit: i32,
    global_event_types_per_application_limit: i32,
    global_events_per_day_limit: i32,
    global_members_per_organization_limit: i32,
    global_subscriptions_per_application_limit: i32,
}

/// About the instance
#[utoipa::path(
    get, path = "/api/v1/instance", operation_id = "instance.get", tag = "instance", security(()),
    responses((status = 200, description = "The instance", body = InstanceConfig)),
)]
pub(super) async fn instance(State(app): State<Arc<App>>) -> Answer {
    let shown = InstanceConfig {
        application_secret_compatibility: true,
        auto_db_migration: false,
        biscuit_public_key: "",
        password_minimum_length: 12,
        quota_enforcement: !app.config().limits.is_empty(),
        registration_disabled: true,
        support_email_address: "",
    };
    json(StatusCode::OK, &shown)
}

/// The default limits
#[utoipa::path(
    get, path = "/api/v1/quotas", operation_id = "quotas.get", tag = "instance", security(()),
    responses((status = 200, description = "The limits", body = QuotasResponse)),
)]
pub(super) async fn quotas(State(app): State<Arc<App>>) -> Answer {
    let limits = app.config().limits;
    let shown = QuotasResponse {
        enabled: !limits.is_empty(),
        limits: QuotasResponseLimits {
            global_applications_per_organization_limit: shown(limits.applications),
            global_days_of_events_retention_limit: UNLIMITED,
            global_event_types_per_application_limit: shown(limits.event_types),
            global_events_per_day_limit: shown(limits.events_per_day),
            global_members_per_organization_limit: UNLIMITED,
            global_subscriptions_per_application_limit: shown(limits.subscriptions),
        },
    };
    json(StatusCode::OK, &shown)
}

/// Everything that can go wrong
#[utoipa::path(
    get, path = "/api/v1/errors", operation_id = "errors.list", tag = "instance", security(()),
    responses((status = 200, description = "The closed list of problems", content_type = "application/json",
        body = ref("#/components/schemas/Problems"))),
)]
pub(super) async fn errors() -> Answer {
    let problem = |id: &ProblemId| Problem::new(*id, id.title());
    json(StatusCode::OK, &ALL.iter().map(problem).collect::<Vec<_>>())
}

/// What a string payload may be
#[utoipa::path(
    get, path = "/api/v1/payload_content_types", operation_id = "payloadContentTypes.list", tag = "instance", security(()),
    responses((status = 200, description = "Content types", body = Vec<String>,
        example = json!(["application/json", "text/plain", "application/octet-stream+base64"]))),
)]
pub(super) async fn payload_content_types() -> Answer {
    json(StatusCode::OK, &["application/json", "text/plain", "application/octet-stream+base64"])
}

/// This document
#[utoipa::path(
    get, path = "/api/v1/openapi.json", operation_id = "instance.openapi", tag = "instance", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)),
)]
pub(super) async fn openapi() -> Response {
    document()
}

/// This document, where Hook0's stands
#[utoipa::path(
    get, path = "/api/v1/swagger.json", operation_id = "instance.swagger", tag = "instance", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)),
)]
pub(super) async fn swagger() -> Response {
    document()
}

fn document() -> Response {
    let mut response = Response::new(schemas::OPENAPI.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
