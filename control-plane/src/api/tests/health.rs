//! How a subscription is doing, over what was read of `lanes` and `status`.

use bytes::Bytes;
use catalog::usage::HearsStatus;
use delivery_log::FactKind;
use schemas::ids::SubscriptionId;
use schemas::lanes::{LaneCircuit, LaneKey, LaneRecord, ListRecord, ListRole};
use schemas::record::{Headers, Record};
use schemas::status::{LaneHealth, LanesHealth, Status};

use super::log::Traffic;
use super::*;

fn lane(id: SubscriptionId, probe_ms: i64) -> Record {
    let list = ListRecord {
        role: ListRole::FirstTries,
        id: 0,
        front: vec![7, 9],
        chunks: (0, 0),
        back: Vec::new(),
        n: 2,
        oldest_ms: 1_790_000_000_000,
        dead_ms: i64::MAX,
    };
    let circuit = Some(LaneCircuit { until_ms: probe_ms, wait_ms: 5_000 });
    let mut lane = LaneRecord::new(vec![list]);
    lane.circuit = circuit;
    let value = lane.encode();
    let key = Some(Bytes::from(LaneKey::Lane(id).to_string()));
    Record { offset: 0, timestamp_ms: 0, key, value: Some(value), headers: Headers::default() }
}

#[tokio::test]
async fn what_is_known_of_its_lane_is_shown_and_the_rest_is_null() {
    let api = Api::new();
    let tenant = api.tenant("seen").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let text = made["subscription_id"].as_str().unwrap();
    let (id, path) = (text.parse().unwrap(), format!("/subscriptions/{text}/health"));
    let (status, shown) = api.get(&tenant.token, &path).await;
    assert_eq!((status, &shown["circuit"], &shown["in_flight"]), (200, &value!("unknown"), &Value::Null), "{shown}");

    let now_ms = chassis::clock::now_ms();
    let view = api.app.health();
    view.lanes.restart(Some(1));
    view.lanes.take(0, &lane(id, now_ms + 60_000), 10);
    view.lanes.reached(0);
    let told =
        LaneHealth { in_flight: 1, window: 4, waiting: 3, ended: 4, succeeded: 1, from_ms: 1, ..LaneHealth::default() };
    let lanes = LanesHealth { partitions: vec![0], of: [(id, told)].into(), is_cut: false };
    let status = Status { lanes: Some(lanes), ..Status::new("delivery", "slot", now_ms) };
    view.workers.hears("delivery/slot", Some(&status));

    let (status, shown) = api.get(&tenant.token, &path).await;
    assert_eq!((status, &shown["subscription_id"]), (200, &made["subscription_id"]), "{shown}");
    assert_eq!(
        (&shown["circuit"], &shown["circuit_until"]),
        (&value!("open"), &value!(time(now_ms + 60_000))),
        "{shown}"
    );
    let counts = ["in_flight", "waiting", "queued", "lane_window"].map(|name| shown[name].as_u64());
    assert_eq!(counts, [Some(1), Some(3), Some(2), Some(4)], "{shown}");
    assert_eq!((&shown["as_of"], &shown["window"]["success_rate"]), (&value!(time(now_ms)), &value!(0.25)), "{shown}");
    assert!(shown["backlog_age_ms"].as_i64().is_some_and(|age| age > 0), "{shown}");
}

#[tokio::test]
async fn another_tenant_sees_none_of_it() {
    let api = Api::new();
    let (tenant, other) = (api.tenant("one").await, api.tenant("other").await);
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let path = |id: &str| format!("/subscriptions/{id}/health");
    let there = api.get(&other.token, &path(made["subscription_id"].as_str().unwrap())).await;
    let nowhere = api.get(&other.token, &path(&Uuid::from_u128(77).to_string())).await;
    assert_eq!(there, nowhere);
    assert_eq!(there.0, 403);
    assert_eq!(api.get(ADMIN, &path("nobody")).await.0, 404);
}

#[tokio::test]
async fn the_health_of_a_subscription_counts_the_dead_letters_that_its_list_has() {
    let (api, store) = Api::with_log();
    let tenant = api.tenant("billing").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let subscription = made["subscription_id"].as_str().unwrap().to_owned();
    let mut traffic = Traffic::new(&tenant.id, &subscription);
    for (index, id) in (0..).zip(["evt_open", "evt_healed", "evt_redriven"]) {
        traffic.event(id, index);
        traffic.attempt(id, index, (1, FactKind::DeadLettered, 500), 1_000 + index);
    }
    traffic.attempt("evt_healed", 1, (1, FactKind::Delivered, 204), 5_000);
    traffic.attempt("evt_redriven", 2, (1, FactKind::Redriven, 0), 5_001);
    traffic.write(store.as_ref()).await;
    let (_, open) = api.get(&tenant.token, "/dead_letters").await;
    let (status, health) = api.get(&tenant.token, &format!("/subscriptions/{subscription}/health")).await;
    assert_eq!((status, open.as_array().unwrap().len()), (200, 1), "{open}");
    assert_eq!(health["dead_letters_open"], value!(1), "{health}");
}
