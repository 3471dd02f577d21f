//! What is done with a subscription beside changing it: pausing, a new secret, a ping.

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::ControlKey;
use uuid::Uuid;

use super::change;
use crate::api::addressed::Addressed;
use crate::api::json;
use crate::body::OptionalJson;
use crate::problem::Answer;
use crate::query::Query;
use crate::state::App;
use crate::store::{Decision, Moment};
use crate::subscription::ping::{PingShown, ping as make_ping};
use crate::subscription::{Input, Rotation, SubscriptionShown};

/// Pause a subscription
///
/// Lets its deliveries wait instead of sending them: keeps what is queued, unlike disabling.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{subscription_id}/pause", operation_id = "subscriptions.pause",
    tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    responses((status = 200, description = "The subscription as it is now", body = SubscriptionShown)),
)]
pub(in crate::api) async fn pause(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    let asked = asked.doing("subscription.pause");
    change(&app, asked, named(&query), |_, facts| Input::paused(true).apply(facts)).await
}

/// Resume a paused subscription
///
/// What waited comes at once, in order, at the speed of its endpoint.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{subscription_id}/resume", operation_id = "subscriptions.resume",
    tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    responses((status = 200, description = "The subscription as it is now", body = SubscriptionShown)),
)]
pub(in crate::api) async fn resume(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    let asked = asked.doing("subscription.resume");
    change(&app, asked, named(&query), |_, facts| Input::paused(false).apply(facts)).await
}

/// Give a subscription a new signing secret
///
/// The former one goes on signing beside it until the overlap ends: `webhook-signature` then carries one signature for each,
/// `X-Hook0-Signature`, which has room for one, that of the oldest. The answer shows the new secret, and in `former_secrets`
/// when the others end. After the overlap only the new one signs, whatever rotations came before.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{subscription_id}/rotate_secret", operation_id = "subscriptions.rotateSecret",
    tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    request_body(content = ref("#/components/schemas/SecretRotation"), content_type = "application/json"),
    responses((status = 200, description = "The subscription with its new secret", body = SubscriptionShown)),
)]
pub(in crate::api) async fn rotate_secret(
    State(app): State<Arc<App>>,
    asked: Addressed,
    query: Query,
    OptionalJson(body): OptionalJson,
) -> Answer {
    asked.principal.editor()?;
    let given = body.get("application_id").and_then(serde_json::Value::as_str).map(str::to_owned);
    let application = given.or_else(|| named(&query));
    let rotation = Rotation::read(body)?;
    let make = move |_: &Snapshot, facts: crate::subscription::Facts<'_>| rotation.apply(facts);
    change(&app, asked.doing("subscription.rotate_secret"), application, make).await
}

/// Ping a subscription
///
/// Sends one delivery of type `hookbus.ping` that no event stands behind. It passes everything an event's delivery does: the
/// signature, retries, the delivery log. A paused subscription gets it when it is resumed, a disabled one is a 409.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{subscription_id}/ping", operation_id = "subscriptions.ping",
    tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    responses(
        (status = 202, description = "The ping is on its way", body = PingShown),
        (status = 409, description = "Validation: the subscription is disabled"),
        (status = 429, description = "RateLimited: 5 pings at once, then one in 5 s"),
    ),
)]
pub(in crate::api) async fn ping(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    asked.principal.editor()?;
    let actor = asked.principal.actor().doing("subscription.ping");
    let (pinging, id) = (Arc::clone(&app), Uuid::now_v7());
    // A trial uses nothing up.
    let mut is_permitted = asked.principal.is_dry_run();
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let found = asked.principal.subscription(snapshot, &asked.id, query.get("application_id"))?;
        asked.preconditions.check(&found.object())?;
        let topic = pinging.pings().topic();
        let (record, shown) = make_ping(&found, snapshot.applied(), topic, id, moment.now_ms)?;
        // Decided again, it is still the same ping.
        if !is_permitted {
            pinging.pings().permit(found.id(), moment.now_ms)?;
            is_permitted = true;
        }
        let used = vec![ControlKey::Subscription(found.application(), found.id())];
        Ok(Decision { changes: Vec::new(), beside: vec![record], used, answer: shown })
    };
    let shown: PingShown = app.store().write(actor, decide).await?;
    json(StatusCode::ACCEPTED, &shown)
}

/// The application that the query names.
fn named(query: &Query) -> Option<String> {
    query.get("application_id").map(str::to_owned)
}
