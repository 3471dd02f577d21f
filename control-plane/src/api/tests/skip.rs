//! Giving up a delivery that holds back others with its ordering key.

use bytes::Bytes;
use schemas::control::SkippedDelivery;
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::lanes::{HeldKey, LaneKey, LaneRecord};
use schemas::ordering::OrderingKey;
use schemas::record::{Headers, Record};

use super::*;

/// A lane whose keys wait for this delivery.
fn waits_for(id: SubscriptionId, delivery: DeliveryId) -> Record {
    let mut lane = LaneRecord::new(Vec::new());
    lane.held_keys = vec![HeldKey { key: OrderingKey(7), delivery, matched_at: 1, until_ms: 9_000_000_000_000 }];
    let (key, value) = (Some(Bytes::from(LaneKey::Lane(id).to_string())), Some(lane.encode()));
    Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() }
}

#[tokio::test]
async fn what_holds_back_others_is_told_and_can_be_skipped_and_nothing_else_can() {
    let api = Api::new();
    let (tenant, other) = (api.tenant("ordered").await, api.tenant("other").await);
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let text = made["subscription_id"].as_str().unwrap();
    let (id, path) = (text.parse().unwrap(), format!("/subscriptions/{text}/skip"));
    let head = DeliveryId(Uuid::from_u128(44));
    let body = value!({ "delivery_id": head });
    let (_, unknown) = api.get(&tenant.token, &format!("/subscriptions/{text}/health")).await;
    assert_eq!(unknown["held_deliveries"], Value::Null, "{unknown}");

    let view = api.app.health();
    view.lanes.restart(Some(1));
    view.lanes.take(0, &waits_for(id, head), 10);
    view.lanes.reached(0);
    let (_, health) = api.get(&tenant.token, &format!("/subscriptions/{text}/health")).await;
    assert_eq!(health["held_deliveries"], value!([head]), "{health}");
    let nobody = value!({ "delivery_id": Uuid::from_u128(45) });
    let (status, problem) = api.post(&tenant.token, &path, nobody).await;
    assert_eq!(status, 404, "{problem}");
    for bad in [value!({}), value!({ "delivery_id": "x" }), value!({ "delivery_id": head, "why": 1 })] {
        assert_eq!(api.post(&tenant.token, &path, bad.clone()).await.0, 422, "{bad}");
    }
    // Whether another's is there is not told.
    let nowhere = format!("/subscriptions/{}/skip", Uuid::from_u128(77));
    assert_eq!(api.post(&other.token, &path, body.clone()).await, api.post(&other.token, &nowhere, body.clone()).await);

    let (status, shown) = api.post(&tenant.token, &path, body.clone()).await;
    assert_eq!(status, 200, "{shown}");
    let skipped = || api.catalog.read().subscription(id).unwrap().object().skipped;
    assert_eq!(skipped(), [SkippedDelivery { delivery: head, until_ms: 9_000_000_000_000 }]);
    let (position, again) = (api.catalog.position(), api.post(&tenant.token, &path, body).await);
    assert_eq!((again, api.catalog.position()), ((200, shown), position), "nothing is written twice");
    // What only Hookbus sets survives a change.
    let change = value!({ "description": "new" });
    assert_eq!(api.patch(&tenant.token, &format!("/subscriptions/{text}"), change).await.0, 200);
    assert_eq!(skipped().len(), 1);
    // What is disabled cancels all that is on its way: nothing of that is left to be skipped, and there is room for a hundred again.
    let disabled = value!({ "is_enabled": false });
    assert_eq!(api.patch(&tenant.token, &format!("/subscriptions/{text}"), disabled).await.0, 200);
    assert_eq!(skipped(), []);
}
