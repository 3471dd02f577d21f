//! Giving up a delivery that holds back others with its ordering key.

use bytes::Bytes;
use catalog::usage::HearsStatus as _;
use schemas::control::{HurriedRetry, SkippedDelivery};
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::lanes::{HeldKey, LaneKey, LaneRecord, PendingRetry};
use schemas::ordering::OrderingKey;
use schemas::record::{Headers, Record};
use schemas::status::Status;

use super::*;

/// When everything that is held here is due.
const DUE_MS: i64 = 8_000_000_000_000;

/// What is read of `lanes` says that ordering keys of this subscription wait for these deliveries.
pub(super) fn hold(api: &Api, subscription: &str, deliveries: &[u128]) {
    let id = SubscriptionId(subscription.parse().unwrap());
    let held = |number: &u128| HeldKey {
        key: OrderingKey(u64::try_from(*number).unwrap()),
        delivery: DeliveryId(Uuid::from_u128(*number)),
        matched_at: 1,
        until_ms: 9_000_000_000_000,
        retry: Some(PendingRetry::new(3, 2, DUE_MS)),
        listed_at: None,
    };
    let mut lane = LaneRecord::new(Vec::new());
    lane.held_keys = deliveries.iter().map(held).collect();
    let (key, value) = (Some(Bytes::from(LaneKey::Lane(id).to_string())), Some(lane.encode()));
    let record = Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() };
    let view = api.app.health();
    view.lanes.restart(Some(1));
    view.lanes.take(0, &record, 10);
    view.lanes.reached(0);
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

    assert_eq!(api.post(&tenant.token, &path, body.clone()).await.0, 503, "who may be skipped is not known yet");
    hold(&api, text, &[44]);
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
    assert_eq!(shown["updated_at"], made["updated_at"], "how long its endpoint may fail goes on");
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

#[tokio::test]
async fn the_retry_of_what_holds_back_others_is_wanted_now_once() {
    let api = Api::new();
    let (tenant, other) = (api.tenant("ordered").await, api.tenant("other").await);
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let text = made["subscription_id"].as_str().unwrap();
    let (id, path) = (text.parse().unwrap(), format!("/subscriptions/{text}/retry_now"));
    let body = value!({ "delivery_id": Uuid::from_u128(44) });
    assert_eq!(api.post(&tenant.token, &path, body.clone()).await.0, 503);
    hold(&api, text, &[44, 45]);
    assert_eq!(api.post(&tenant.token, &path, value!({ "delivery_id": Uuid::from_u128(46) })).await.0, 404);
    // An older worker would forget what is to be dropped.
    let older = Status { version: Some("0.0.1".into()), ..Status::new("delivery", "9", chassis::clock::now_ms()) };
    api.app.health().instances.hears("delivery/9", Some(&older));
    assert_eq!(api.post(&tenant.token, &path, body.clone()).await.0, 409);
    api.app.health().instances.hears("delivery/9", None);
    let nowhere = format!("/subscriptions/{}/retry_now", Uuid::from_u128(77));
    assert_eq!(api.post(&other.token, &path, body.clone()).await, api.post(&other.token, &nowhere, body.clone()).await);
    let (status, shown) = api.post(&tenant.token, &path, body.clone()).await;
    assert_eq!((status, &shown["updated_at"]), (200, &made["updated_at"]), "{shown}");
    let hurried = || api.catalog.read().subscription(id).unwrap().object().hurried;
    assert_eq!(hurried(), [HurriedRetry { delivery: DeliveryId(Uuid::from_u128(44)), due_ms: DUE_MS }]);
    let (position, again) = (api.catalog.position(), api.post(&tenant.token, &path, body.clone()).await);
    assert_eq!((again, api.catalog.position()), ((200, shown), position), "nothing is written twice");
    // What is given up is not tried again.
    let skip = format!("/subscriptions/{text}/skip");
    assert_eq!(api.post(&tenant.token, &skip, body.clone()).await.0, 200);
    assert_eq!(api.post(&tenant.token, &path, body).await.0, 409);
    let disabled = value!({ "is_enabled": false });
    assert_eq!(api.patch(&tenant.token, &format!("/subscriptions/{text}"), disabled).await.0, 200);
    assert_eq!(hurried(), []);
}
