//! What a delivery worker says of itself in `status`, and that it takes it back when it leaves.

use std::time::Duration;

use schemas::status::Status;
use serde_json::json;
use testkit::Expect;
use testkit::ledger::collect::read_topic;
use testkit::pipeline::{Event, Pipeline, Role};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// The newest record of the delivery worker: `None`, none yet; `Some(None)`, taken back.
async fn newest(pipeline: &Pipeline) -> Option<Option<Status>> {
    let records = read_topic(pipeline.connection(), &pipeline.topics().status).await.ok()?;
    let is_ours = |key: &[u8]| key.starts_with(b"delivery/");
    let last = records.into_iter().rfind(|(_, record)| record.key.as_deref().is_some_and(is_ours))?.1;
    Some(last.value.map(|value| serde_json::from_slice(&value).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_worker_tells_how_it_is_doing_until_it_leaves() {
    let mut pipeline = Pipeline::start("status").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], json!({ "is_paused": true })).await.unwrap();
    let works = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    assert_eq!(pipeline.client().send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&works.path, 1, SOON).await.unwrap();
    let status = eventually("it says that one subscription is paused", SOON, || async {
        newest(&pipeline).await.flatten().filter(|status| status.delivery.is_some_and(|health| health.paused == 1))
    })
    .await
    .unwrap();
    assert_eq!((status.role.as_str(), status.partitions, status.in_flight), ("delivery", 2, 0));
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    assert_eq!(newest(&pipeline).await, Some(None), "what it said is taken back");
    pipeline.finish(Expect { waiting: 1, ..Expect::default() }).await.unwrap();
}
