//! Sources that the cluster does not let us read: what they lack is theirs, and `events` is delivered all the while.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use kafka::topics;
use schemas::record::{Headers, OutRecord};
use schemas::topics::TopicSpec;
use serde_json::json;
use testkit::Expect;
use testkit::http::Http;
use testkit::pipeline::{Pipeline, Role, Setup, console};
use testkit::strict::{self, Unsaid};
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, send, shop};

/// What the fan-out says each time it was not let in.
const DENIED: &str = "the cluster does not let sources be read";

/// Waits until the fan-out was not let in so often.
async fn denied(pipeline: &mut Pipeline, times: usize) {
    let fanout = &*pipeline.roles().process(Role::Fanout, 1).unwrap();
    let is_denied = || async move { (fanout.log().matches(DENIED).count() >= times).then_some(()) };
    eventually("a denial that is waited out", SOON, is_denied).await.unwrap();
}

/// Whether the fan-out says of any intake that the cluster does not let it run.
async fn shut_out(pipeline: &mut Pipeline) -> Option<f64> {
    pipeline.roles().process(Role::Fanout, 1).unwrap().metric("hookbus_stage_denied").await.ok()
}

/// An upgrade without the new permissions, and somebody makes the first source. First the transactional id is refused, which is
/// asked for when the poller runs already; then the group, which is found out while everything runs. Between two tries lies as
/// long as a thread may be silent: what the first one has left behind would end liveness at the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_sources_lack_costs_events_nothing_and_they_are_read_once_it_is_granted() {
    let folder = tempfile::tempdir().unwrap();
    let (kafka, users) = strict::start(folder.path(), &["fanout"], Unsaid::Allowed).await.unwrap();
    let brokers = kafka.bootstrap();
    let setup = Setup::new("ungranted").set("sources.refresh_ms", 1_000).on(brokers.clone());
    let setup = setup.environment(Role::Fanout, strict::user("fanout", &users));
    let (mut pipeline, application, _) = shop(setup, 1).await;
    let prefix = pipeline.topics().events.trim_end_matches("events").to_owned();
    let installation = prefix.trim_end_matches('.');
    let (ids, group) = (format!("{installation}-sources-"), format!("{installation}.sources"));
    let refuses = ["--deny-principal", "User:fanout", "--operation", "All"];
    let of_ids = [&refuses[..], &["--transactional-id", &ids, "--resource-pattern-type", "prefixed"]].concat();
    let of_group = [&refuses[..], &["--group", &group]].concat();
    console::acls(&brokers, &[&["--add"], &of_ids[..]].concat()).await.unwrap();

    let topic: Arc<str> = Arc::from(format!("their-{prefix}orders"));
    let spec = TopicSpec { name: Arc::clone(&topic), partitions: 1, replication_factor: None, config: BTreeMap::new() };
    topics::ensure(pipeline.connection(), &[spec]).await.unwrap();
    let source = json!({
        "name": "orders", "topics": [&*topic], "format": "json", "start": "beginning",
        "application": application.id.to_string(), "type": "a.b", "id": "{value:/id}",
    });
    pipeline.managed(Method::POST, "/sources", Some(&source), 201).await.unwrap();
    let value = Some(Bytes::from_static(b"{\"id\":\"theirs\"}"));
    let record = OutRecord { topic, partition: None, key: None, value, headers: Headers::default() };
    pipeline.produce(&record).await.unwrap();
    denied(&mut pipeline, 1).await;
    assert_eq!(shut_out(&mut pipeline).await, Some(1.0), "an alert can see it");
    console::acls(&brokers, &[&["--add"], &of_group[..]].concat()).await.unwrap();
    console::acls(&brokers, &[&["--remove", "--force"], &of_ids[..]].concat()).await.unwrap();
    send(&pipeline, &application, ["ours-1".to_owned()]).await;
    arrived(&pipeline, 1).await;

    denied(&mut pipeline, 2).await;
    assert_eq!(
        shut_out(&mut pipeline).await,
        Some(1.0),
        "the group is denied, which is found out while everything runs"
    );
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let lively = Http::default().get(&fanout.admin_url("/livez")).await.unwrap();
    assert_eq!(lively.status, 200, "{}", fanout.log());
    send(&pipeline, &application, ["ours-2".to_owned()]).await;
    arrived(&pipeline, 2).await;

    console::acls(&brokers, &[&["--remove", "--force"], &of_group[..]].concat()).await.unwrap();
    arrived(&pipeline, 3).await;
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let lively = Http::default().get(&fanout.admin_url("/livez")).await.unwrap();
    assert_eq!(lively.status, 200, "{}", fanout.log());
    let is_let_in = || async { (fanout.metric("hookbus_stage_denied").await.ok()? < 1.0).then_some(()) };
    eventually("the gauge follows", SOON, is_let_in).await.unwrap();
    let partitions = fanout.metric("hookbus_sources_partitions").await.unwrap();
    assert!(partitions >= 1.0, "what the intake counts is shown whichever try got through");
    pipeline.verdict(Expect::default(), SOON).await.unwrap();
}
