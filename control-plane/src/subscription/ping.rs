//! A ping: one delivery that no event stands behind, to see whether an endpoint is there and verifies what it gets.
//!
//! It is written to `deliveries` as a generation of its own, the ping's id, and passes everything an event's delivery does:
//! signing, retries, pauses, the circuit, the delivery log.

use bytes::Bytes;
use catalog::Subscription;
use schemas::delivery::{self, MadeBy, NewDelivery};
use schemas::event::EventHeaders;
use schemas::identity::{delivery_id, gateway_source};
use schemas::ids::{DeliveryId, Generation};
use schemas::problem::{Code, ProblemId};
use schemas::record::OutRecord;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::time;
use crate::problem::{Problem, internal};

/// Its event type; nobody declares it and no pattern gets it.
pub(crate) const EVENT_TYPE: &str = "hookbus.ping";

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Ping, example = json!({
    "event_id": "01a20186-21cb-7749-81d0-b27446f73332",
    "event_type": "hookbus.ping",
    "delivery_id": "648aa157-7f28-5037-9af1-2c8364067bd2",
    "subscription_id": "01a20186-2000-7749-81d0-b27446f73332",
    "is_paused": false,
}))]
pub(crate) struct PingShown {
    /// The ping's id, as the endpoint sees it in `webhook-id`.
    event_id: Uuid,
    /// `hookbus.ping`.
    #[schema(value_type = String)]
    event_type: Cow<'static, str>,
    /// `X-Hookbus-Delivery-Id`.
    #[schema(value_type = Uuid)]
    delivery_id: DeliveryId,
    #[schema(value_type = Uuid)]
    subscription_id: schemas::ids::SubscriptionId,
    /// Whether the subscription is paused: then the ping waits until it is resumed.
    is_paused: bool,
}

/// The record of a ping and the answer. `control_offset` is the snapshot's it was decided over.
pub(crate) fn ping(
    subscription: &Subscription,
    control_offset: i64,
    topic: &Arc<str>,
    id: Uuid,
    now_ms: i64,
) -> Result<(OutRecord, PingShown), Problem> {
    if !subscription.is_enabled() {
        let problem = Problem::new(ProblemId::Validation, "the subscription is disabled: enable it, then ping it");
        return Err(problem.with_status(409).with_code(Code::SubscriptionDisabled));
    }
    let (application, event_id, sent_at) = (subscription.application(), id.to_string(), time(now_ms));
    let source = gateway_source(application);
    let generation = Generation(Some(id));
    let delivery = delivery_id(application, &source, &event_id, subscription.id(), generation);
    let application_text = application.to_string();
    let headers = EventHeaders {
        id: &event_id,
        is_id_made: false,
        event_type: EVENT_TYPE,
        source: &source,
        time: &sent_at,
        content_type: "application/json",
        application: &application_text,
        labels: None,
        metadata: None,
        ip: None,
    };
    let headers = headers.encode().map_err(|error| internal("a ping could not be encoded", &error))?;
    let max_age_ms = i64::try_from(subscription.max_age().as_millis()).unwrap_or(i64::MAX);
    let new = NewDelivery {
        id: delivery,
        subscription: subscription.id(),
        generation,
        made_by: Some(MadeBy::Ping),
        accepted_ms: now_ms,
        deadline_ms: now_ms.saturating_add(max_age_ms),
        control_offset,
        ordering_key: None,
        deprecation: None,
    };
    let payload = json!({
        "type": EVENT_TYPE,
        "ping_id": id,
        "application_id": application,
        "subscription_id": subscription.id(),
        "sent_at": sent_at,
    });
    let record = OutRecord {
        topic: Arc::clone(topic),
        partition: None,
        key: Some(delivery::key(subscription.id())),
        value: Some(Bytes::from(payload.to_string())),
        headers: new.encode(&headers, application, ""),
    };
    let shown = PingShown {
        event_id: id,
        event_type: Cow::Borrowed(EVENT_TYPE),
        delivery_id: delivery,
        subscription_id: subscription.id(),
        is_paused: subscription.is_paused(),
    };
    Ok((record, shown))
}

#[cfg(test)]
pub(super) mod tests;
