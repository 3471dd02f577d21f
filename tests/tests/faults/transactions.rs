//! Transactions that go wrong: an answer that is lost, a writer that dies in the middle, a writer that is cut off.

use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Role, Setup};
use testkit::proxy::{Action, Api};

use crate::scenes::{SOON, arrived, send, shop};

fn names(from: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

/// The commit reaches the broker, its answer does not reach the worker: everything doubles without the nonce.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_the_fanout_whose_answer_is_lost_doubles_nothing() {
    lost_answer(Role::Fanout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_the_delivery_worker_whose_answer_is_lost_doubles_nothing() {
    lost_answer(Role::Delivery).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_the_retry_scheduler_whose_answer_is_lost_doubles_nothing() {
    lost_answer(Role::Retry).await;
}

async fn lost_answer(role: Role) {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = Setup::new(&format!("lost-answer-{}", role.command())).through(role, 1, &proxy);
    let (pipeline, application, subscriptions) = shop(setup, 2).await;
    pipeline.endpoint().script(&subscriptions[0].path, "500 204").unwrap();
    send(&pipeline, &application, names("before", 5)).await;
    let mut lost = proxy.on_next(Api::EndTxn, Action::LoseAnswer);
    send(&pipeline, &application, names("during", 20)).await;
    lost.done(SOON).await.unwrap();
    send(&pipeline, &application, names("after", 5)).await;
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 60);
}

/// kill -9 between the first and the last call of a transaction: its offsets are in it, its commit is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fanout_killed_in_the_middle_of_a_transaction_loses_and_doubles_nothing() {
    killed_in_transaction(Role::Fanout, 0).await;
}

/// What was delivered and not committed is delivered again, nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_worker_killed_in_the_middle_of_a_transaction_repeats_only_what_was_not_committed() {
    killed_in_transaction(Role::Delivery, 10 * SUBSCRIPTIONS).await;
}

/// Each worker of two owns half of the partitions: with so many subscriptions, each surely has some of them. (With four, one
/// run in sixteen had all of them with the worker that the test does not look at.)
const SUBSCRIPTIONS: usize = 20;

async fn killed_in_transaction(role: Role, repeats: usize) {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = Setup::new(&format!("killed-{}", role.command())).roles(role, 2).through(role, 1, &proxy);
    let setup = setup.set("topics.partitions.events", 4).set("topics.partitions.deliveries", 4);
    let (mut pipeline, application, _) = shop(setup, SUBSCRIPTIONS).await;
    send(&pipeline, &application, names("before", 8)).await;
    arrived(&pipeline, 8 * SUBSCRIPTIONS as u64).await;
    // What has only arrived might be in the transaction that is meant.
    pipeline.settled(SOON).await.unwrap();
    let mut open = proxy.on_next(Api::TxnOffsetCommit, Action::HoldAnswer);
    send(&pipeline, &application, names("during", 10)).await;
    open.met(SOON).await.unwrap();
    pipeline.roles().kill(role, 1).await.unwrap();
    drop(open);
    send(&pipeline, &application, names("after", 5)).await;
    let expect = Expect { repeats, unclean: role == Role::Delivery, ..Expect::default() };
    let outcome = pipeline.finish(expect).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 23 * SUBSCRIPTIONS);
}

/// A worker that is cut off from Kafka stops sending before another one starts, and comes back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_worker_that_is_cut_off_comes_back_and_repeats_only_what_was_not_committed() {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = Setup::new("cut-off").roles(Role::Delivery, 2).through(Role::Delivery, 1, &proxy);
    let (pipeline, application, _) = shop(setup.set("topics.partitions.deliveries", 4), SUBSCRIPTIONS).await;
    send(&pipeline, &application, names("before", 8)).await;
    arrived(&pipeline, 8 * SUBSCRIPTIONS as u64).await;
    proxy.cut();
    send(&pipeline, &application, names("during", 10)).await;
    // The other one has taken over when everything has arrived.
    pipeline.settled(SOON).await.unwrap();
    proxy.restore();
    send(&pipeline, &application, names("after", 5)).await;
    let outcome =
        pipeline.finish(Expect { repeats: 10 * SUBSCRIPTIONS, unclean: true, ..Expect::default() }).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 23 * SUBSCRIPTIONS);
}
