//! An object that a newer release has written is read and shown, and nobody of this release writes it again: what it does not know of it
//! would be lost.

use http::Method;
use kafka::{Producer, ProducerOptions};
use schemas::control::{ControlKey, VERSION};
use schemas::header;
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::record::OutRecord;
use serde_json::{Value, json};

use crate::support::{ADMIN, World, soon};
use crate::{subscription, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_release_has_written_is_shown_and_deleted_but_never_changed() {
    let world = World::new().await;
    let replica = world.replica("one").await;
    let (application, _token) = tenant(&replica, "newer").await;
    let (_, made) = replica.post("/subscriptions", subscription(&application, "mine")).await;
    let id: SubscriptionId = made["subscription_id"].as_str().unwrap().parse().unwrap();
    let key = ControlKey::Subscription(application.parse::<ApplicationId>().unwrap(), id);
    let object = replica.catalog.read().subscription(id).unwrap().object();
    let mut value: Value = serde_json::to_value(object).unwrap();
    value["of_tomorrow"] = json!({ "kept": true });
    let record = OutRecord {
        topic: std::sync::Arc::clone(&world.topics.control),
        partition: Some(0),
        key: Some(key.to_string().into()),
        value: Some(value.to_string().into()),
        headers: [(header::VERSION, (VERSION + 1).to_string().as_str())].into_iter().collect(),
    };
    let producer = Producer::start(&world.connection, ProducerOptions::new("tomorrow")).unwrap();
    producer.send(&record).unwrap().await.unwrap();
    let mut changed = replica.catalog.changed();
    soon("the replica has heard of it", async {
        while !replica.catalog.read().is_newer(&key) {
            changed.changed().await.unwrap();
        }
    })
    .await;

    let path = format!("/subscriptions/{id}");
    let change = json!({ "application_id": application, "description": "of today" });
    let (status, problem) = replica.call(ADMIN, Method::PUT, &path, Some(change)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("newer_version")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(&id.to_string()), "it is named: {problem}");
    assert_eq!(replica.get(&path).await, (200, made), "it is shown as far as it is known");
    let (status, other) = replica.post("/subscriptions", subscription(&application, "other")).await;
    assert_eq!(status, 201, "others are written as ever: {other}");
    let deleted = format!("{path}?application_id={application}");
    assert_eq!(replica.call(ADMIN, Method::DELETE, &deleted, None).await.0, 204, "what goes as a whole loses nothing");
    assert!(!replica.catalog.read().is_newer(&key));
    replica.stop().await;
}
