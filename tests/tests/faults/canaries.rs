//! Planted bugs: each scene balances with the product as it is, and turns the ledger red with the bug in it.

use std::time::Duration;

use schemas::delivery::key;
use schemas::invariants::Invariant;
use schemas::murmur2::partition_for;
use schemas::planted::PlantedBug;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::ledger::Audit;
use testkit::pipeline::{Event, Role, Setup};
use testkit::proxy::{Action, Api};

use crate::scenes::{SOON, arrived, send, shop};

/// With a planted bug nothing may ever settle: so long is waited for that.
const RED_WITHIN: Duration = Duration::from_secs(25);

fn names(from: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

fn planted(name: &str, bug: Option<PlantedBug>) -> Setup {
    let setup = Setup::new(&format!("{name}-{}", bug.map_or("sound", |_| "planted")));
    bug.into_iter().fold(setup, Setup::plant)
}

fn assert_red(audit: &Audit, bug: PlantedBug, invariant: Invariant) {
    let found = audit.violations.iter().any(|violation| violation.invariant == Some(invariant));
    assert!(found, "{bug:?} went unnoticed by invariant {}: {audit}", invariant.number());
}

/// A delivery is in flight while another one's outcome is committed; then the worker dies.
async fn killed_in_flight(bug: Option<PlantedBug>) -> Audit {
    let setup = planted("in-flight", bug).set("topics.partitions.deliveries", 1);
    let (mut pipeline, application, subscriptions) = shop(setup, 2).await;
    let [hangs, works] = &subscriptions[..] else { unreachable!("two were asked for") };
    pipeline.endpoint().script(&hangs.path, "hang").unwrap();
    send(&pipeline, &application, names("x", 3)).await;
    pipeline.endpoint().wait_for(&hangs.path, 3, SOON).await.unwrap();
    pipeline.endpoint().wait_for(&works.path, 3, SOON).await.unwrap();
    delivered(&pipeline, 3).await;
    pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
    pipeline.endpoint().script(&hangs.path, "204").unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    let expect = Expect { repeats: 6, unclean: true, ..Expect::default() };
    pipeline.verdict(expect, RED_WITHIN).await.unwrap().audit
}

/// Waits until `attempts` tells of so many deliveries that succeeded.
async fn delivered(pipeline: &testkit::Pipeline, count: usize) {
    testkit::wait::eventually("delivered records", SOON, || async {
        let counts = pipeline.audit(&Expect::default()).await.ok()?.audit.counts;
        (counts.delivered >= count).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_before_the_request_turns_the_ledger_red() {
    let sound = killed_in_flight(None).await;
    assert!(sound.balances(), "{sound}");
    let planted = killed_in_flight(Some(PlantedBug::CommitBeforeSend)).await;
    assert_red(&planted, PlantedBug::CommitBeforeSend, Invariant::OneTerminalState);
}

/// Partitions move to a second worker while requests hang longer than the hand-over waits.
async fn handed_over_in_flight(bug: Option<PlantedBug>) -> Audit {
    let setup = planted("hand-over", bug)
        .roles(Role::Delivery, 2)
        .set("delivery.attempt_timeout_ms", 6_000)
        .set("kafka.handover_wait_ms", 500);
    let mut pipeline = setup.topics_only().await.unwrap();
    for role in Role::ALL {
        pipeline.roles().start(role, 1).await.unwrap();
    }
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let mut partitions = std::collections::BTreeSet::new();
    let quick = || serde_json::json!({ "retry": "quick" });
    // Both partitions must have something in flight, whichever of them moves.
    let mut subscriptions = 0_u64;
    while partitions.len() < 2 {
        subscriptions += 1;
        let subscription = pipeline.subscribe(&application, &["a.b"], quick()).await.unwrap();
        partitions.insert(partition_for(&key(subscription.id), 2));
    }
    pipeline.endpoint().script("/s", "hang").unwrap();
    send(&pipeline, &application, names("x", 3)).await;
    arrived(&pipeline, 3 * subscriptions).await;
    pipeline.roles().start(Role::Delivery, 2).await.unwrap();
    pipeline.endpoint().script("/s", "204").unwrap();
    send(&pipeline, &application, names("y", 3)).await;
    let expect = Expect { repeats: usize::try_from(6 * subscriptions).unwrap(), unclean: true, ..Expect::default() };
    pipeline.verdict(expect, RED_WITHIN).await.unwrap().audit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_what_is_unresolved_on_revoke_turns_the_ledger_red() {
    let sound = handed_over_in_flight(None).await;
    assert!(sound.balances(), "{sound}");
    let planted = handed_over_in_flight(Some(PlantedBug::DropOnRevoke)).await;
    let lost = planted.counts.waiting > 0
        || planted.violations.iter().any(|it| it.invariant == Some(Invariant::OneTerminalState));
    assert!(lost, "forgetting on revoke went unnoticed: {planted}");
}

/// The answer to a commit is lost; `transactions.rs` shows that this balances without the bug.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_comparing_nonces_turns_the_ledger_red() {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = planted("nonce", Some(PlantedBug::NoNonceComparison)).through(Role::Fanout, 1, &proxy);
    let (pipeline, application, _) = shop(setup, 2).await;
    send(&pipeline, &application, names("before", 5)).await;
    let mut lost = proxy.on_next(Api::EndTxn, Action::LoseAnswer);
    send(&pipeline, &application, names("during", 10)).await;
    lost.done(SOON).await.unwrap();
    send(&pipeline, &application, names("after", 5)).await;
    let audit = pipeline.verdict(Expect { repeats: 1_000, ..Expect::default() }, SOON).await.unwrap().audit;
    assert_red(&audit, PlantedBug::NoNonceComparison, Invariant::FansOutOnce);
}

/// An event is repeated after the fan-out was restarted, while a stranger's open transaction holds back `seen`.
async fn repeated_after_a_restart(bug: Option<PlantedBug>) -> Audit {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = planted("seen", bug).roles(Role::Gateway, 2);
    let (mut pipeline, application, _) = shop(setup, 1).await;
    let open = open_transaction_in_seen(&pipeline, &proxy).await;
    send(&pipeline, &application, names("x", 3)).await;
    arrived(&pipeline, 3).await;
    pipeline.settled(SOON).await.unwrap();
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let client = pipeline.client();
    for name in names("x", 3) {
        assert_eq!(client.send(2, &application, &Event::new(name, "a.b")).await.unwrap().status, 201);
    }
    pipeline.roles().ready(Role::Fanout, 1).await.unwrap();
    let audit = pipeline.verdict(Expect { dropped: Some(3), ..Expect::default() }, SOON).await.unwrap().audit;
    drop(open);
    audit
}

/// A writer that has begun and was cut off before its commit: until its timeout nobody reads past it.
async fn open_transaction_in_seen(pipeline: &testkit::Pipeline, proxy: &testkit::Proxy) -> kafka::ExclusiveWriter {
    let through = kafka::Connection::new(&proxy.bootstrap(), &std::collections::BTreeMap::new()).unwrap();
    let id = format!("{}-stranger", pipeline.topics().seen);
    let writer = kafka::ExclusiveWriter::start(&through, &id, 1_048_588).await.unwrap();
    writer.acquire().await.unwrap();
    let mut cut = proxy.on_next(Api::EndTxn, Action::CloseForRequest);
    let record = schemas::record::OutRecord {
        topic: std::sync::Arc::clone(&pipeline.topics().seen),
        partition: Some(0),
        key: Some(bytes::Bytes::from_static(b"elsewhere/0")),
        value: Some(schemas::seen::encode(&[])),
        headers: schemas::record::Headers::default(),
    };
    let writing = writer.write(vec![record]);
    tokio::select! {
        written = writing => panic!("the commit got through: {written:?}"),
        met = cut.met(SOON) => met.unwrap(),
    }
    proxy.cut();
    writer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restoring_seen_to_a_stale_end_turns_the_ledger_red() {
    let sound = repeated_after_a_restart(None).await;
    assert!(sound.balances(), "{sound}");
    let planted = repeated_after_a_restart(Some(PlantedBug::StaleSeenEnd)).await;
    assert_red(&planted, PlantedBug::StaleSeenEnd, Invariant::FansOutOnce);
}
