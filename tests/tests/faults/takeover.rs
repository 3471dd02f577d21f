//! Workers that freeze, die or leave while requests are under way: who takes over, and what is sent again.

use std::ops::Range;
use std::time::Duration;

use kafka::clock::now_ms;
use testkit::Expect;
use testkit::ledger::Books;
use testkit::pipeline::{Role, Setup, report};

use crate::scenes::{SOON, arrived, lasts, latencies, more_arrived, send, shop, within};

fn names(from: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

/// A frozen worker's deliveries are made by the other one; when it thaws it sends nothing it no longer owns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_delivery_worker_is_replaced_and_sends_nothing_when_it_thaws() {
    frozen(Duration::ZERO).await;
}

/// The same for 20 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_delivery_worker_frozen_for_20_s_is_replaced_and_sends_nothing_when_it_thaws() {
    frozen(Duration::from_secs(20)).await;
}

async fn frozen(at_least: Duration) {
    let setup = Setup::new("frozen").roles(Role::Delivery, 2).set("topics.partitions.deliveries", 4);
    let (mut pipeline, application, _) =
        shop(setup.set("delivery.attempt_timeout_ms", 10_000).set("delivery.connect_timeout_ms", 5_000), 8).await;
    // Everything hangs, so that both workers surely have something in flight.
    pipeline.endpoint().script("/s", "hang").unwrap();
    send(&pipeline, &application, names("before", 3)).await;
    arrived(&pipeline, 3 * 8).await;
    pipeline.roles().process(Role::Delivery, 1).unwrap().pause().unwrap();
    let begun = now_ms();
    pipeline.endpoint().script("/s", "204").unwrap();
    send(&pipeline, &application, names("during", 10)).await;
    lasts(at_least).await;
    // Everything that was accepted arrives while it is frozen: the other one has taken over.
    pipeline.settled(SOON).await.unwrap();
    let settled_ms = now_ms() - begun;
    let before_thaw = pipeline.endpoint().count("/");
    pipeline.roles().process(Role::Delivery, 1).unwrap().resume().unwrap();
    send(&pipeline, &application, names("after", 10)).await;
    let budget = 3 * 8;
    let outcome = pipeline.finish(Expect { repeats: budget, unclean: true, ..Expect::default() }).await.unwrap();
    let (requests, repeats) = (outcome.audit.counts.requests, outcome.audit.counts.repeats);
    assert_eq!(requests, usize::try_from(before_thaw).unwrap() + 10 * 8, "it sent nothing it no longer owned");
    report(&format!("frozen: {repeats} repeats of at most {budget}, settled after {settled_ms} ms"));
}

/// A fan-out that freezes and thaws writes nothing of partitions it lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_fanout_is_replaced_and_doubles_nothing_when_it_thaws() {
    let setup = Setup::new("frozen-fanout").roles(Role::Fanout, 2).set("topics.partitions.events", 4);
    let (mut pipeline, application, _) = shop(setup, 2).await;
    let load = pipeline.load(&application, "a.b", 50);
    arrived(&pipeline, 50).await;
    pipeline.roles().process(Role::Fanout, 1).unwrap().pause().unwrap();
    more_arrived(&pipeline, 20).await;
    let report = load.stop().await.unwrap();
    pipeline.settled(SOON).await.unwrap();
    pipeline.roles().process(Role::Fanout, 1).unwrap().resume().unwrap();
    send(&pipeline, &application, names("after", 10)).await;
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(u64::try_from(outcome.audit.counts.accepted).unwrap(), report.accepted + 10);
}

/// A request that outlasts the grace period costs its worker neither the last commit nor a clean end: that delivery alone is sent
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_request_hangs_ends_well_and_repeats_that_delivery_alone() {
    let setup = Setup::new("hanging").roles(Role::Delivery, 1).set("delivery.attempt_timeout_ms", 120_000);
    let (mut pipeline, application, subscriptions) = shop(setup.set("shutdown.grace_ms", 8_000), 2).await;
    pipeline.endpoint().script(&subscriptions[0].path, "hang 204").unwrap();
    send(&pipeline, &application, names("before", 1)).await;
    arrived(&pipeline, 2).await;
    // It ends with 0, well before the request would.
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    let log = pipeline.roles().process(Role::Delivery, 1).unwrap().log();
    assert!(log.contains("it is done again by others") && log.contains("in_flight=1"), "{log}");
    assert!(log.contains("ended: what was not committed when the grace period was over"), "{log}");
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    let outcome = pipeline.finish(Expect { repeats: 1, ..Expect::default() }).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.repeats), (2, 1));
}

/// SIGTERM: what is in flight finishes, is committed, and nobody sends it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_drains_on_sigterm_without_a_single_repeat() {
    let (mut pipeline, application, subscriptions) = shop(Setup::new("drain").doubled(), 6).await;
    for subscription in &subscriptions {
        pipeline.endpoint().script(&subscription.path, "204+delay=50ms").unwrap();
    }
    pipeline.endpoint().script(&subscriptions[0].path, "500 204").unwrap();
    let load = pipeline.load(&application, "a.b", 30);
    for role in [Role::Gateway, Role::Fanout, Role::Delivery, Role::Retry, Role::Control] {
        more_arrived(&pipeline, 60).await;
        pipeline.roles().stop(role, 1).await.unwrap();
        more_arrived(&pipeline, 60).await;
        pipeline.roles().start(role, 1).await.unwrap();
    }
    let report = load.stop().await.unwrap();
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(u64::try_from(outcome.audit.counts.accepted).unwrap(), report.accepted);
    assert_eq!(outcome.audit.counts.repeats, 0);
}

/// Outcome 10: partitions of a dead worker move within 12 s, nobody else stands still longer; of one that leaves, within 3 s.
/// What stands still shows as events that take long from their acceptance to the endpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn partitions_move_in_time_after_a_kill_and_after_a_sigterm() {
    for role in [Role::Delivery, Role::Fanout] {
        let setup = Setup::new(&format!("takeover-{}", role.command())).doubled();
        let (mut pipeline, application, _) = shop(setup, 8).await;
        let load = pipeline.load(&application, "a.b", 100);
        more_arrived(&pipeline, 800).await;
        let killed_ms = now_ms();
        pipeline.roles().kill(role, 1).await.unwrap();
        lasts(Duration::from_secs(20)).await;
        let restarted_ms = now_ms();
        pipeline.roles().start(role, 1).await.unwrap();
        more_arrived(&pipeline, 1_600).await;
        let stopped_ms = now_ms();
        pipeline.roles().stop(role, 1).await.unwrap();
        more_arrived(&pipeline, 3_200).await;
        load.stop().await.unwrap();
        let expect = Expect { repeats: 400, unclean: true, ..Expect::default() };
        let books = pipeline.finish(expect).await.unwrap().books;
        let what = format!("{} killed: the slowest event to an endpoint", role.command());
        within(&what, slowest_ms(&books, killed_ms - 1_000..restarted_ms), 12_000);
        let what = format!("{} stopped: the slowest event to an endpoint", role.command());
        within(&what, slowest_ms(&books, stopped_ms - 500..i64::MAX), 3_000);
    }
}

/// Of the slowest event that was accepted in a time.
fn slowest_ms(books: &Books, accepted: Range<i64>) -> i64 {
    let took = latencies(books, |event| accepted.contains(&event.written_ms));
    *took.last().expect("events were accepted in that time")
}
