//! Planted bugs of the writer: each breaks one of its rules, and the fan-out's books tell.

use std::collections::HashSet;
use std::sync::Arc;

use schemas::invariants::Invariant;
use schemas::murmur2::partition_for;
use schemas::planted::PlantedBug;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::endpoint::seen::Seen;
use testkit::ledger::Audit;
use testkit::pipeline::{Event, Pipeline, Role, Setup};
use testkit::proxy::{Action, Api};
use testkit::wait::eventually;

use super::{assert_red, ends_within, names, planted};
use crate::cluster::transactional_id;
use crate::scenes::{SOON, arrived, send, shop};

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

/// All roles, but one fan-out worker of two.
async fn with_one_fanout(setup: Setup) -> Pipeline {
    let mut pipeline = setup.roles(Role::Fanout, 2).topics_only().await.unwrap();
    for role in Role::ALL {
        pipeline.roles().start(role, 1).await.unwrap();
    }
    pipeline
}

/// Until the first fan-out worker has planned so many events, committed or not.
async fn planned(pipeline: &mut Pipeline, count: u32) {
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let asked = || async {
        let known = fanout.metric("hookbus_fanout_dedup_ids").await.ok()?;
        (known >= f64::from(count)).then_some(())
    };
    eventually("planned events", SOON, asked).await.unwrap();
}

/// A transaction of two partitions is under way when one of them moves. It runs out of time and is aborted, and its writer is not told
/// before the new owner has done the work on that partition again. What the old owner repeats then is the other partition's part
/// alone.
async fn one_of_two_leases_moves(bug: Option<PlantedBug>) -> Audit {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = planted("old-lease", bug).through(Role::Fanout, 1, &proxy).set("kafka.handover_wait_ms", 500);
    let mut pipeline = with_one_fanout(setup).await;
    let application = pipeline.application(&["a.b"]).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], serde_json::json!({})).await.unwrap();
    send(&pipeline, &application, names("before", 3)).await;
    arrived(&pipeline, 3).await;
    // While the transaction of one event is held, the next one gets all others: events of both partitions.
    let mut first = proxy.on_next(Api::TxnOffsetCommit, Action::HoldAnswer);
    send(&pipeline, &application, names("first", 1)).await;
    first.done(SOON).await.unwrap();
    let events: Vec<Event> = names("during", 200).map(|name| Event::new(name, "a.b").sized(100)).collect();
    pipeline.publish(&application, &events).await.unwrap();
    planned(&mut pipeline, 204).await;
    let mut second = proxy.on_next(Api::TxnOffsetCommit, Action::HoldAnswer);
    first.release();
    second.done(SOON).await.unwrap();
    let mut aborted = proxy.on_next(Api::EndTxn, Action::HoldAnswer);
    // Should that take longer than it waits for an abort, it waits for a new session.
    let id = transactional_id(&pipeline, Role::Fanout, 1).leak();
    let session = proxy.on_next_of(id, Api::InitProducerId, Action::HoldAnswer);
    pipeline.roles().launch(Role::Fanout, 2).await.unwrap();
    aborted.done(SOON).await.unwrap();
    let is_done = |seen: &[Arc<Seen>]| (0..2).any(|partition| all_of(partition, &events, seen));
    pipeline.endpoint().wait_until("/", "the work of the new owner", SOON, is_done).await.unwrap();
    drop((second, aborted, session));
    // What is doubled comes to the endpoint with or after everything else: then the books show it.
    let all = |seen: &[Arc<Seen>]| (0..2).all(|partition| all_of(partition, &events, seen));
    pipeline.endpoint().wait_until("/", "the work of the old owner", SOON, all).await.unwrap();
    if bug.is_some() {
        arrived(&pipeline, 205).await;
    }
    pipeline.verdict(Expect { repeats: 1_000 * bug.iter().count(), ..Expect::default() }, SOON).await.unwrap().audit
}

/// Whether every event of a partition of `events` has arrived.
fn all_of(partition: i32, events: &[Event], seen: &[Arc<Seen>]) -> bool {
    let arrived: HashSet<&str> = seen.iter().filter_map(|seen| seen.event()).collect();
    let mut of_it = events.iter().filter(|event| partition_for(event.id.as_bytes(), 2) == partition);
    of_it.all(|event| arrived.contains(&*event.id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_a_lease_that_is_over_turns_the_ledger_red() {
    let sound = one_of_two_leases_moves(None).await;
    assert!(sound.balances(), "{sound}");
    for bug in [PlantedBug::OutputsOfOldLease, PlantedBug::OffsetsOfOldLease] {
        let planted = one_of_two_leases_moves(Some(bug)).await;
        assert_red(&planted, bug, Invariant::FansOutOnce);
    }
}

/// A worker takes over from one that has left, and dies in its first transaction. Who comes next has to end that transaction, and
/// finds by the claim whose it is. Without one it waits for a timeout of two minutes.
async fn killed_in_its_first_transaction(bug: Option<PlantedBug>) -> Audit {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = planted("claim", bug).through(Role::Fanout, 2, &proxy).set("kafka.transaction_timeout_ms", 120_000);
    let mut pipeline = with_one_fanout(setup).await;
    let application = pipeline.application(&["a.b"]).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], serde_json::json!({})).await.unwrap();
    send(&pipeline, &application, names("before", 3)).await;
    arrived(&pipeline, 3).await;
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    pipeline.roles().start(Role::Fanout, 2).await.unwrap();
    let mut open = proxy.on_next(Api::TxnOffsetCommit, Action::HoldAnswer);
    send(&pipeline, &application, names("during", 3)).await;
    open.done(SOON).await.unwrap();
    pipeline.roles().kill(Role::Fanout, 2).await.unwrap();
    drop(open);
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    pipeline.verdict(Expect::default(), ends_within(bug)).await.unwrap().audit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_without_a_claim_turns_the_ledger_red() {
    let sound = killed_in_its_first_transaction(None).await;
    assert!(sound.balances(), "{sound}");
    let planted = killed_in_its_first_transaction(Some(PlantedBug::ForgottenClaim)).await;
    assert_red(&planted, PlantedBug::ForgottenClaim, Invariant::OneTerminalState);
}
