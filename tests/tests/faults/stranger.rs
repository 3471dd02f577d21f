//! A stranger's transaction on a topic that a role reads is left open: what follows it waits, the role says what it waits for and
//! lives, because no new process would read on either, and it goes on once the transaction has ended.

use std::sync::Arc;
use std::time::Duration;

use kafka::BareTransaction;
use schemas::record::{Headers, OutRecord};
use testkit::Expect;
use testkit::http::Http;
use testkit::pipeline::{Role, Setup};
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, send, shop};

/// Of the roles, in ms: a transaction that is open for this and 20 s more is taken for one that never ends, and six times this is told.
const TIMEOUT_MS: i64 = 4_000;
/// Of the stranger: longer than this scene, and within what brokers allow.
const OPEN_FOR: Duration = Duration::from_secs(300);
const EACH: usize = 3;

fn names(from: &str) -> impl Iterator<Item = String> {
    (0..EACH).map(move |number| format!("{from}-{number}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_open_transaction_is_told_and_what_follows_it_is_delivered_once_it_ends() {
    let setup =
        Setup::new("stranger").set("topics.partitions.events", 1).set("kafka.transaction_timeout_ms", TIMEOUT_MS);
    let (mut pipeline, application, _) = shop(setup, 1).await;
    send(&pipeline, &application, names("before")).await;
    arrived(&pipeline, EACH as u64).await;

    let connection = pipeline.connection().clone();
    let events = Arc::clone(&pipeline.topics().events);
    let stranger = tokio::task::spawn_blocking(move || {
        let (key, value, headers) = (None, Some("not to be seen".into()), Headers::default());
        let record = OutRecord { topic: events, partition: Some(0), key, value, headers };
        let id = format!("stranger-{}", uuid::Uuid::new_v4().simple());
        BareTransaction::open(&connection, &id, OPEN_FOR, &record)
    });
    let stranger = stranger.await.unwrap().unwrap();
    send(&pipeline, &application, names("behind")).await;

    let events = format!("{}/0", pipeline.topics().events);
    let process = &*pipeline.roles().process(Role::Fanout, 1).unwrap();
    let told = || async {
        let log = process.log();
        let mut lines = log.lines();
        lines.any(|line| line.contains("an open transaction holds") && line.contains(&events)).then_some(())
    };
    eventually("the role says what it waits for", SOON, told).await.unwrap();
    for page in ["/livez", "/readyz"] {
        let answer = Http::default().get(&process.admin_url(page)).await.unwrap();
        assert_eq!(answer.status, 200, "{page}: a new process would stand before it too");
    }
    let lag = process.metric("hookbus_fanout_lag_records").await.unwrap();
    assert!(lag >= 3.0, "what is held counts as lag: {lag}");
    let stalled = process.metric("hookbus_stage_stalled_seconds").await.unwrap();
    assert!(stalled > 0.0, "an alert can see it");
    assert_eq!(pipeline.endpoint().count("/"), EACH as u64, "nothing that follows it was read");

    tokio::task::spawn_blocking(|| stranger.abort()).await.unwrap().unwrap();
    arrived(&pipeline, 2 * EACH as u64).await;
    let process = &*pipeline.roles().process(Role::Fanout, 1).unwrap();
    let moves = || async { process.log().contains("what stood still moves again").then_some(()) };
    eventually("the role says that it goes on", SOON, moves).await.unwrap();
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.repeats), (2 * EACH, 0));
}
