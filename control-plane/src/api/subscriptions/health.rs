//! How a subscription is doing.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::api::addressed::Addressed;
use crate::api::json;
use crate::problem::Answer;
use crate::query::Query;
use crate::state::App;
use crate::subscription::health::{HealthShown, health as make_health};

/// Read how a subscription is doing
///
/// Its circuit, what waits for it and how its requests ended lately, as the delivery workers tell it: see `as_of`. What nobody
/// tells is null, or `unknown`; it is never shown as zero.
#[utoipa::path(
    get, path = "/api/v1/subscriptions/{subscription_id}/health", operation_id = "subscriptions.health",
    tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    responses((status = 200, description = "How it is doing", body = HealthShown)),
)]
pub(in crate::api) async fn health(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    let Addressed { principal, id, .. } = asked;
    let subscription = principal.subscription(&app.catalog().read(), &id, query.get("application_id"))?;
    let now_ms = chassis::clock::now_ms();
    let known = app.health().of(subscription.id(), now_ms);
    json(StatusCode::OK, &make_health(&subscription, known, now_ms))
}
