//! Giving up a delivery that holds back others.

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use schemas::control::Subscription;
use schemas::ids::DeliveryId;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::change;
use crate::api::addressed::Addressed;
use crate::body::{Fields, Json};
use crate::health::HeldSeen;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::subscription::{Facts, SubscriptionShown, skip as make_skip};

/// A delivery that is given up.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "delivery_id": "648aa157-7f28-5037-9af1-2c8364067bd2" }))]
pub(in crate::api) struct SkipPost {
    /// Its application, where the subscription is named by a uid.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    application_id: Option<String>,
    /// One of `held_deliveries` of the subscription's health.
    delivery_id: Uuid,
}

/// Skip a delivery that holds back others
///
/// With `ordering` set to `key`, a delivery that fails holds back those with the same ordering key until it has ended. This ends it: it is
/// not attempted any more, those behind it go on within a second, and it is logged as cancelled when its next retry would have been
/// due. What was skipped can be sent again by itself, out of order. Skipping it again changes nothing.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{subscription_id}/skip", operation_id = "subscriptions.skip",
    tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    request_body(content = SkipPost),
    responses(
        (status = 200, description = "The subscription as it is now", body = SubscriptionShown),
        (status = 404, description = "NotFound: there is no such subscription, or none of its ordering keys waits for the delivery"),
        (status = 409, description = "Validation: 100 of its deliveries are skipped and not back yet"),
        (status = 503, description = "ServiceUnavailable: what its ordering keys wait for is still being read"),
    ),
)]
pub(in crate::api) async fn skip(
    State(app): State<Arc<App>>,
    asked: Addressed,
    query: Query,
    Json(body): Json,
) -> Answer {
    change_held(&app, asked.doing("subscription.skip"), (body, &query), make_skip).await
}

/// Changes a subscription for the delivery that a body names: what becomes of it when something is wanted of one that holds back others,
/// by what its keys wait for and the time.
pub(super) async fn change_held(
    app: &App,
    asked: Addressed,
    (body, query): (Map<String, Value>, &Query),
    becomes: impl Fn(&Subscription, DeliveryId, &HeldSeen, i64) -> Result<Subscription, Problem> + Send + 'static,
) -> Answer {
    asked.principal.editor()?;
    let (application, delivery) = named(body, query)?;
    let health = app.health().clone();
    let make = move |_: &Snapshot, facts: Facts<'_>| -> Result<_, Problem> {
        let Some(former) = facts.former else { return Err(crate::problem::not_found("subscription")) };
        becomes(former, delivery, &health.held(former.subscription_id), facts.now_ms)
    };
    change(app, asked, application, make).await
}

/// Which application and which delivery a body names.
fn named(body: Map<String, Value>, query: &Query) -> Result<(Option<String>, DeliveryId), Problem> {
    let mut fields = Fields::new(body, "", &["application_id", "delivery_id"])?;
    let given = fields.kept_text("application_id", 1..=200)?;
    let application = given.or_else(|| query.get("application_id").map(str::to_owned));
    let text = fields.required_text("delivery_id", 1..=50)?;
    let delivery = Uuid::parse_str(&text).map_err(|_no_id| fields.wrong("delivery_id", "must be a UUID"))?;
    Ok((application, DeliveryId(delivery)))
}
