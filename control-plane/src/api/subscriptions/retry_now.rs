//! A delivery that holds back others is attempted at once.

use std::sync::Arc;

use axum::extract::State;
use chassis::config::Role;
use chassis::version::VERSION;
use schemas::control::Subscription;
use schemas::ids::DeliveryId;
use utoipa::ToSchema;
use uuid::Uuid;

use super::skip::change_held;
use crate::api::addressed::Addressed;
use crate::body::Json;
use crate::health::HeldSeen;
use crate::problem::Answer;
use crate::query::Query;
use crate::state::App;
use crate::subscription::{SubscriptionShown, retry_now as make_retry};

/// A delivery whose retry is wanted now.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "delivery_id": "648aa157-7f28-5037-9af1-2c8364067bd2" }))]
pub(in crate::api) struct RetryNowPost {
    /// Its application, where the subscription is named by a uid.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
    /// One of `held_deliveries` of the subscription's health.
    delivery_id: Uuid,
}

/// Retry a delivery that holds back others now
///
/// With `ordering` set to `key`, a delivery that fails holds back those with the same ordering key until it has ended. This has its next
/// attempt made within a second, as soon as the subscription may send, and not when its retry is due; if it fails, the schedule goes on
/// behind it. It counts for the retry that is due next, and for none after it: asking again before that has ended changes nothing.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{subscription_id}/retry_now", operation_id = "subscriptions.retryNow",
    tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    request_body(content = RetryNowPost),
    responses(
        (status = 200, description = "The subscription as it is now", body = SubscriptionShown),
        (status = 404, description = "NotFound: there is no such subscription, or none of its ordering keys waits for the delivery"),
        (status = 409, description = "Validation: it is skipped, a delivery worker of an older release wrote its retry or runs, or 100 of them went early and would not be due yet"),
        (status = 503, description = "ServiceUnavailable: what its ordering keys wait for is still being read"),
    ),
)]
pub(in crate::api) async fn retry_now(
    State(app): State<Arc<App>>,
    asked: Addressed,
    query: Query,
    Json(body): Json,
) -> Answer {
    let instances = app.health().instances.clone();
    let becomes = move |former: &Subscription, delivery: DeliveryId, held: &HeldSeen, now_ms: i64| {
        let older = instances.older(Role::Delivery.name(), VERSION, now_ms);
        make_retry(former, delivery, held, older.as_deref(), now_ms)
    };
    change_held(&app, asked.doing("subscription.retry_now"), (body, &query), becomes).await
}
