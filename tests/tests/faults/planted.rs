//! Planted bugs: each scene balances with the product as it is, and turns the ledger red with the bug in it. Here those of the
//! delivery worker and the retry scheduler, and what all of them share.

mod fanout;
mod writer;

use std::time::Duration;

use schemas::delivery::key;
use schemas::invariants::Invariant;
use schemas::murmur2::partition_for;
use schemas::planted::PlantedBug;
use testkit::Expect;
use testkit::ledger::Audit;
use testkit::pipeline::{Role, Setup};

use crate::scenes::{SOON, arrived, send, shop};

/// With a planted bug nothing may ever settle: so long is waited for that.
const RED_WITHIN: Duration = Duration::from_secs(25);

/// How long a scene is waited for: without the bug, until it has settled.
fn ends_within(bug: Option<PlantedBug>) -> Duration {
    if bug.is_some() { RED_WITHIN } else { SOON }
}

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
    pipeline.verdict(expect, ends_within(bug)).await.unwrap().audit
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
    pipeline.verdict(expect, ends_within(bug)).await.unwrap().audit
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

/// Every first attempt fails. The retry schedule says when the next one may come.
async fn failing_once(bug: Option<PlantedBug>) -> Audit {
    let (pipeline, application, subscriptions) = shop(planted("due", bug), 1).await;
    pipeline.endpoint().script(&subscriptions[0].path, "500 204").unwrap();
    send(&pipeline, &application, names("x", 3)).await;
    pipeline.verdict(Expect::default(), SOON).await.unwrap().audit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_before_it_is_due_turns_the_ledger_red() {
    let sound = failing_once(None).await;
    assert!(sound.balances(), "{sound}");
    let planted = failing_once(Some(PlantedBug::BeforeDue)).await;
    assert_red(&planted, PlantedBug::BeforeDue, Invariant::NeverEarly);
}
