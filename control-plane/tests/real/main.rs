//! Two control planes against a real Kafka, which the testkit starts and names in `HOOKBUS_TEST_KAFKA`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod jobs;
mod log;
mod shared_log;
mod sources;
mod support;

use http::Method;
use kafka::{Producer, ProducerOptions};
use schemas::attempt::{Kind, Lifecycle};
use schemas::ids::SubscriptionId;
use schemas::lanes::{LaneCircuit, LaneKey, LaneRecord};
use schemas::murmur2::partition_for;
use schemas::record::{Headers, OutRecord};
use schemas::status::{LaneHealth, LanesHealth, Status};
use serde_json::json;
use support::{Replica, World, soon};

const RIVALS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_one_truth() {
    let world = World::new().await;
    let (one, other) = (world.replica("one").await, world.replica("other").await);
    assert_eq!(one.get("/organizations").await.1.as_array().unwrap().len(), 1, "seeded once");
    let (id, token) = tenant(&one, "shared").await;
    // The other replica has not heard of the token yet: it makes sure before it refuses.
    let (status, shown) = other.call(&token, Method::GET, &format!("/applications/{id}"), None).await;
    assert_eq!(status, 200, "{shown}");

    let rivals = (0..RIVALS).map(|number| {
        let (replica, body) = (if number % 2 == 0 { &one } else { &other }, subscription(&id, "same"));
        async move { replica.post("/subscriptions", body).await.0 }
    });
    let mut statuses = Vec::new();
    for rival in futures(rivals.map(Box::pin).collect()).await {
        statuses.push(rival);
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201, "{statuses:?}");
    assert!(statuses[1..].iter().all(|status| *status == 409), "one uid, one subscription: {statuses:?}");

    let counted = (0..RIVALS).map(|number| {
        let replica = if number % 2 == 0 { &one } else { &other };
        let body = json!({"application_id": id, "metadata": {(format!("m{number}")): "x"}});
        async move { replica.call(support::ADMIN, Method::PUT, "/subscriptions/same", Some(body)).await.0 }
    });
    assert!(futures(counted.map(Box::pin).collect()).await.iter().all(|status| *status == 200));
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_answer_on_every_replica_and_after_a_restart() {
    let world = World::new().await;
    let (one, other) = (world.replica("one").await, world.replica("other").await);
    let (id, token) = tenant(&one, "keyed").await;
    let body = subscription(&id, "mine");
    let repeats = (0..RIVALS).map(|number| {
        let replica = if number % 2 == 0 { &one } else { &other };
        replica.keyed(&token, "the key", "/subscriptions", body.clone())
    });
    let answers = futures(repeats.map(Box::pin).collect()).await;
    let (status, tag, made) = &answers[0];
    assert_eq!(*status, 201, "{made}");
    assert!(tag.is_some());
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // A ping is written beside the answer, in one transaction over two topics.
    let ping = "/subscriptions/mine/ping";
    let (status, _, pinged) = one.keyed(&token, "ping", ping, json!({})).await;
    assert_eq!(status, 202, "{pinged}");
    // One without a key too, and nothing of its transaction stands on `control`.
    let (status, pinged_once) = other.call(&token, Method::POST, ping, None).await;
    assert_eq!(status, 202, "{pinged_once}");
    let (_, audited) = other.get(&format!("/audit?application_id={id}&action=subscription.ping")).await;
    assert_eq!(audited.as_array().unwrap().len(), 2, "{audited}");
    one.stop().await;
    other.stop().await;
    let later = world.replica("one").await;
    assert_eq!(later.keyed(&token, "the key", "/subscriptions", body).await, answers[0]);
    assert_eq!(later.keyed(&token, "ping", ping, json!({})).await.2, pinged);
    let (status, _, problem) = later.keyed(&token, "the key", "/subscriptions", subscription(&id, "other")).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("idempotency_key_reused")));
    later.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_read_backwards_from_its_topic() {
    let world = World::new().await;
    let replica = world.replica("one").await;
    let (id, token) = tenant(&replica, "audited").await;
    assert_eq!(replica.post("/subscriptions", subscription(&id, "mine")).await.0, 201);
    let change = json!({"application_id": id, "description": "told to nobody"});
    let changed = replica.call(support::ADMIN, Method::PUT, "/subscriptions/mine", Some(change)).await;
    assert_eq!(changed.0, 200, "{}", changed.1);
    let (status, newest) = replica.call(&token, Method::GET, "/audit?limit=2", None).await;
    assert_eq!(status, 200, "{newest}");
    let told = |row: usize, name: &str| newest[row][name].clone();
    assert_eq!((told(0, "action"), told(1, "action")), (json!("subscription.update"), json!("subscription.create")));
    assert_eq!((told(0, "changed"), told(1, "changed")), (json!(["description"]), json!([])));
    let (_, all) = replica.call(&token, Method::GET, "/audit", None).await;
    assert_eq!(all.as_array().unwrap().len(), 5, "application, secret, event type, subscription, change: {all}");
    assert_eq!(replica.call(&token, Method::GET, "/audit?pagination_cursor=0", None).await, (200, json!([])));
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_disables_its_subscription_unless_it_was_changed_since() {
    let world = World::new().await;
    let replica = world.replica("one").await;
    let (id, _token) = tenant(&replica, "gone").await;
    let (_, made) = replica.post("/subscriptions", subscription(&id, "mine")).await;
    let subscription: SubscriptionId = made["subscription_id"].as_str().unwrap().parse().unwrap();
    let producer = Producer::start(&world.connection, ProducerOptions::new("test")).unwrap();
    // An outdated report, then a current one.
    for at_ms in [1, i64::MAX] {
        let report = Lifecycle { subscription_id: Some(subscription), ..Lifecycle::new(Kind::EndpointGone, at_ms) };
        let record = OutRecord {
            topic: std::sync::Arc::clone(&world.topics.attempts),
            partition: Some(0),
            key: None,
            value: Some(report.encode().unwrap().into()),
            headers: Headers::default(),
        };
        producer.send(&record).unwrap().await.unwrap();
    }
    let mut changed = replica.catalog.changed();
    soon("the subscription is disabled", async {
        loop {
            changed.borrow_and_update();
            let enabled = replica.catalog.read().subscription(subscription).unwrap().is_enabled();
            if !enabled {
                return;
            }
            changed.changed().await.unwrap();
        }
    })
    .await;
    let (_, shown) = replica.get(&format!("/subscriptions/{subscription}")).await;
    assert_eq!((shown["is_enabled"].as_bool(), shown["disabled_reason"].as_str()), (Some(false), Some("gone")));
    let cancel_before = replica.catalog.read().subscription(subscription).unwrap().object().cancel_before;
    assert!(cancel_before.is_some());
    replica.stop().await;
}

/// Both topics are read from their beginning, in every partition, and what comes later counts.
#[tokio::test(flavor = "multi_thread")]
async fn how_a_lane_is_doing_is_read_from_lanes_and_status() {
    let world = World::new().await;
    let producer = Producer::start(&world.connection, ProducerOptions::new("test")).unwrap();
    let put = async |topic: &std::sync::Arc<str>, partition: i32, key: String, value: Option<bytes::Bytes>| {
        let (topic, key) = (std::sync::Arc::clone(topic), Some(key.into()));
        let record = OutRecord { topic, partition: Some(partition), key, value, headers: Headers::default() };
        producer.send(&record).unwrap().await.unwrap();
    };
    let replica = world.replica("one").await;
    let (id, _token) = tenant(&replica, "lanes").await;
    let (_, made) = replica.post("/subscriptions", subscription(&id, "mine")).await;
    let subscription: SubscriptionId = made["subscription_id"].as_str().unwrap().parse().unwrap();
    let partitions = kafka::Offsets::start(&world.connection).unwrap().partitions(&world.topics.lanes).await.unwrap();
    let partition = partition_for(&schemas::delivery::key(subscription), partitions.unwrap());
    let until_ms = kafka::clock::now_ms() + 3_600_000;
    let mut lane = LaneRecord::new(Vec::new());
    lane.circuit = Some(LaneCircuit { until_ms, wait_ms: 9 });
    put(&world.topics.lanes, partition, LaneKey::Lane(subscription).to_string(), Some(lane.encode())).await;
    let told = LaneHealth { in_flight: 3, window: 4, ..LaneHealth::default() };
    let lanes = LanesHealth { partitions: vec![partition], of: [(subscription, told)].into(), is_cut: false };
    let status = Status { lanes: Some(lanes), ..Status::new("delivery", "x", kafka::clock::now_ms()) };
    put(&world.topics.status, 0, Status::key("delivery", "x"), Some(status.encode().unwrap().into())).await;
    // A replica that was there before, and one that begins now.
    let other = world.replica("other").await;
    let path = format!("/subscriptions/{subscription}/health");
    let is_told =
        |shown: &serde_json::Value| shown["circuit"] == "open" && shown["in_flight"] == 3 && shown["queued"] == 0;
    for replica in [&replica, &other] {
        let told = async {
            while !is_told(&replica.get(&path).await.1) {
                tokio::task::yield_now().await;
            }
        };
        soon("both are told", told).await;
    }
    put(&world.topics.lanes, partition, LaneKey::Lane(subscription).to_string(), None).await;
    put(&world.topics.status, 0, Status::key("delivery", "x"), None).await;
    soon("the worker has left", async {
        while !replica.get(&path).await.1["as_of"].is_null() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(replica.get(&path).await.1["circuit"], "unknown");
    replica.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_control_plane_finds_everything_again() {
    let world = World::new().await;
    let first = world.replica("one").await;
    let (id, token) = tenant(&first, "kept").await;
    let (_, made) = first.post("/subscriptions", subscription(&id, "mine")).await;
    first.stop().await;
    let second = world.replica("one").await;
    let (status, shown) = second.call(&token, Method::GET, "/subscriptions/mine", None).await;
    assert_eq!((status, &shown), (200, &made));
    assert_eq!(second.get("/organizations").await.1.as_array().unwrap().len(), 1);
    second.stop().await;
}

async fn tenant(replica: &Replica, name: &str) -> (String, String) {
    let (status, application) = replica.post("/applications", json!({"name": name})).await;
    assert_eq!(status, 201, "{application}");
    let id = application["application_id"].as_str().unwrap().to_owned();
    let (_, secrets) = replica.get(&format!("/application_secrets?application_id={id}")).await;
    let (status, _) = replica.post("/event_types", json!({"application_id": id, "name": "invoice.paid"})).await;
    assert_eq!(status, 201);
    (id, secrets[0]["token"].as_str().unwrap().to_owned())
}

fn subscription(application: &str, uid: &str) -> serde_json::Value {
    json!({
        "application_id": application,
        "uid": uid,
        "event_types": ["invoice.paid"],
        "target": {"type": "http", "method": "POST", "url": "https://example.com/", "headers": {}},
    })
}

/// All at once, in order of the list.
async fn futures<F: Future>(mut all: Vec<std::pin::Pin<Box<F>>>) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(status) = future.as_mut().poll(context)
            {
                *done = Some(status);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
