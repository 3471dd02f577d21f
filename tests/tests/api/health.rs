//! What the roles say of themselves in `status`, that they take it back when they leave, and what `hookbus status` shows.

use std::time::Duration;

use schemas::status::{FanoutHealth, GatewayHealth, RetryHealth, Status};
use serde_json::json;
use testkit::Expect;
use testkit::ledger::collect::read_topic;
use testkit::pipeline::{Event, Pipeline, Role};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// The newest record of a role's first instance: `None`, none yet; `Some(None)`, taken back.
async fn newest_of(pipeline: &Pipeline, role: Role) -> Option<Option<Status>> {
    let records = read_topic(pipeline.connection(), &pipeline.topics().status).await.ok()?;
    let key = Status::key(role.command(), "1");
    let last = records.into_iter().rfind(|(_, record)| record.key.as_deref() == Some(key.as_bytes()))?.1;
    Some(last.value.map(|value| serde_json::from_slice(&value).unwrap()))
}

fn moves(health: &FanoutHealth) -> bool {
    health.last_commit_ms.is_some() && health.position > 0 && !health.waiting_for_control
}

fn waits(health: &RetryHealth) -> bool {
    health.last_commit_ms.is_some() && !health.waiting.is_empty()
}

fn takes(health: &GatewayHealth) -> bool {
    health.accepting && health.why.is_empty() && health.position > 0
}

/// That of the delivery worker.
async fn newest(pipeline: &Pipeline) -> Option<Option<Status>> {
    newest_of(pipeline, Role::Delivery).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_worker_tells_how_it_is_doing_until_it_leaves() {
    let mut pipeline = Pipeline::start("status").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], json!({ "is_paused": true })).await.unwrap();
    let works = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    assert_eq!(pipeline.client().send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&works.path, 1, SOON).await.unwrap();
    // What the other one was sent may still be under way when that is said first.
    let status = eventually("it says that one subscription is paused, and nothing under way", SOON, || async {
        let is_so = |it: &Status| it.in_flight == 0 && it.delivery.is_some_and(|health| health.paused == 1);
        newest(&pipeline).await.flatten().filter(is_so)
    })
    .await
    .unwrap();
    assert_eq!((status.role.as_str(), status.partitions), ("delivery", 2));
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    assert_eq!(newest(&pipeline).await, Some(None), "what it said is taken back");
    pipeline.finish(Expect { waiting: 1, ..Expect::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fanout_retry_and_gateway_tell_how_they_are_doing_until_they_leave() {
    let mut pipeline = Pipeline::start("status-all").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let retried = pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
    pipeline.endpoint().script(&retried.path, "500 204").unwrap();
    assert_eq!(pipeline.client().send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&retried.path, 2, SOON).await.unwrap();
    let told = async |role, is_told: fn(&Status) -> bool| {
        eventually("it says so", SOON, || async { newest_of(&pipeline, role).await.flatten().filter(is_told) })
            .await
            .unwrap()
    };
    told(Role::Fanout, |it| it.partitions > 0 && it.fanout.as_ref().is_some_and(moves)).await;
    told(Role::Retry, |it| it.partitions > 0 && it.retry.as_ref().is_some_and(waits)).await;
    told(Role::Gateway, |it| it.gateway.as_ref().is_some_and(takes)).await;
    told(Role::Delivery, |it| it.delivery.is_some()).await;
    let shown = pipeline.command(&["status"]).await.unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(["fanout", "retry", "gateway", "delivery"].iter().all(|role| shown.contains(role)), "{shown}");
    assert!(shown.contains("accepts"), "{shown}");
    for role in [Role::Gateway, Role::Fanout, Role::Retry] {
        pipeline.roles().stop(role, 1).await.unwrap();
        assert_eq!(newest_of(&pipeline, role).await, Some(None), "{role:?} takes back what it said");
    }
    pipeline.finish(Expect::default()).await.unwrap();
}
