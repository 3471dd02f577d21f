//! Roles that start while Kafka has nothing for them yet: they wait, say what for, hear a stop, and begin by themselves.

use std::time::Duration;

use kafka_dev::Broker;
use testkit::broker::{self, SharedKafka};
use testkit::pipeline::{Pipeline, Role, Setup};
use testkit::proxy::{Action, Api, Sprung};
use testkit::wait::eventually;
use testkit::{Expect, Proxy};

use crate::cluster::transactional_id;
use crate::scenes::{SOON, arrived, lasts, send, shop, status_of};

/// Of the roles, in ms: what stands still for six times as long is told, or ends liveness.
const TIMEOUT_MS: i64 = 2_000;
/// Longer than that.
const AWAY: Duration = Duration::from_secs(15);
/// More than a stage asks for while a scene lasts: it asks anew every ten seconds.
const HELD: usize = 50;
const EACH: usize = 3;

fn names(from: &str) -> impl Iterator<Item = String> {
    (0..EACH).map(move |number| format!("{from}-{number}"))
}

/// Answers of this kind to the only fan-out do not come before the traps are dropped.
fn hold(pipeline: &Pipeline, proxy: &Proxy, api: Api) -> Vec<Sprung> {
    let id: &'static str = transactional_id(pipeline, Role::Fanout, 1).leak();
    (0..HELD).map(|_| proxy.on_next_of(id, api, Action::HoldAnswer)).collect()
}

/// Whether `hookbus status` tells of a fan-out.
async fn tells_of_fanout(pipeline: &Pipeline) -> bool {
    let output = pipeline.command(&["status"]).await.unwrap();
    String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("fanout "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_without_its_transactional_id_waits_watched_and_hears_a_stop() {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = Setup::new("own-id").through(Role::Fanout, 1, &proxy).set("kafka.transaction_timeout_ms", TIMEOUT_MS);
    let (mut pipeline, application, _) = shop(setup, 1).await;
    send(&pipeline, &application, names("before")).await;
    arrived(&pipeline, EACH as u64).await;
    pipeline.settled(SOON).await.unwrap();
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();

    let held = hold(&pipeline, &proxy, Api::InitProducerId);
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    send(&pipeline, &application, names("during")).await;
    let process = &*pipeline.roles().process(Role::Fanout, 1).unwrap();
    let told = || async {
        let log = process.log();
        let line = log.lines().find(|line| line.contains("the transactional id is not ours yet"))?;
        Some(line.to_owned())
    };
    let line = eventually("the role says what it waits for", SOON, told).await.unwrap();
    assert!(line.contains("init_transactions"), "Kafka's answer is in it: {line}");
    let stalled = process.metric("hookbus_stage_stalled_seconds").await.unwrap();
    assert!(stalled > 0.0, "an alert can see it");
    assert_eq!(status_of(&mut pipeline, Role::Fanout, "/livez").await, 200, "a new process would wait too");
    assert_eq!(status_of(&mut pipeline, Role::Fanout, "/readyz").await, 503, "it reads nothing");
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    let log = pipeline.roles().process(Role::Fanout, 1).unwrap().log();
    assert!(log.contains("asked to stop before it could write"), "{log}");
    drop(held);

    // What it says of itself goes with it, too.
    let held = hold(&pipeline, &proxy, Api::FindCoordinator);
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let is_told = || async { tells_of_fanout(&pipeline).await.then_some(()) };
    eventually("the fan-out says how it is doing", SOON, is_told).await.unwrap();
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    assert!(!tells_of_fanout(&pipeline).await, "it has left, and is told all the same");
    drop(held);

    assert_eq!(pipeline.endpoint().count("/"), EACH as u64, "nobody has read what came meanwhile");
    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    arrived(&pipeline, 2 * EACH as u64).await;
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 2 * EACH);
}

/// Nothing of a role waits that owns nothing: without a watch of its own nobody would notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_its_group_does_not_let_in_is_told_of_and_begins_once_it_does() {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup =
        Setup::new("not-let-in").through(Role::Fanout, 1, &proxy).set("kafka.transaction_timeout_ms", TIMEOUT_MS);
    let (mut pipeline, application, _) = shop(setup, 1).await;
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    let held = hold(&pipeline, &proxy, Api::JoinGroup);
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    send(&pipeline, &application, names("during")).await;
    let process = &*pipeline.roles().process(Role::Fanout, 1).unwrap();
    let told = || async { process.log().contains("the membership of its group is not ours").then_some(()) };
    eventually("the role says what it waits for", SOON, told).await.unwrap();
    let stalled = process.metric("hookbus_stage_stalled_seconds").await.unwrap();
    assert!(stalled > 0.0, "an alert can see it");
    assert_eq!(status_of(&mut pipeline, Role::Fanout, "/livez").await, 200, "a new process would wait too");
    drop(held);
    arrived(&pipeline, EACH as u64).await;
    let process = &*pipeline.roles().process(Role::Fanout, 1).unwrap();
    let moves = || async { process.log().contains("what stood still moves again").then_some(()) };
    eventually("the role says that it goes on", SOON, moves).await.unwrap();
    pipeline.finish(Expect::default()).await.unwrap();
}

/// A whole installation that is switched on at once: Kafka is the last to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_are_there_before_kafka_wait_for_it_and_begin() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = broker::start(folder.path(), 0).await.unwrap();
    let options = kafka.options().clone();
    let setup = Setup::new("before-kafka").set("kafka.transaction_timeout_ms", TIMEOUT_MS).on(kafka.bootstrap());
    let mut pipeline = setup.topics_only().await.unwrap();
    kafka.stop().await.unwrap();
    for role in Role::ALL {
        pipeline.roles().launch(role, 1).await.unwrap();
    }
    lasts(AWAY).await;
    for role in Role::ALL {
        let process = pipeline.roles().process(role, 1).unwrap();
        assert_eq!(process.exit().unwrap(), None, "{role:?}: {}", process.log());
        assert_eq!(status_of(&mut pipeline, role, "/livez").await, 200, "{role:?} waits, and is not hung");
        assert_eq!(status_of(&mut pipeline, role, "/readyz").await, 503, "{role:?} has nothing to work with");
    }
    let kafka = Broker::start(options).await.unwrap();
    for role in Role::ALL {
        pipeline.roles().ready(role, 1).await.unwrap();
    }
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let made = pipeline.subscribe(&application, &["a.b"], serde_json::json!({ "retry": "quick" })).await.unwrap();
    pipeline.endpoint().script(&made.path, "500 204").unwrap();
    send(&pipeline, &application, names("after")).await;
    arrived(&pipeline, 2 * EACH as u64).await;
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, EACH);
    kafka.kill().await.unwrap();
}
