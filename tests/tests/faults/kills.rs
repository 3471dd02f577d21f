//! Outcome 5: kill -9 of each role in turn, two of each, under a steady load.

use std::time::Duration;

use kafka::clock::instant;
use testkit::Expect;
use testkit::pipeline::{Role, Setup, report};

use crate::scenes::{histogram, in_flight, latencies, more_arrived, shop};

/// In turn, starting with the one that has most to lose.
const TURNS: [Role; 5] = [Role::Delivery, Role::Fanout, Role::Gateway, Role::Retry, Role::Control];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_is_killed_once_under_load_and_nothing_is_lost() {
    kill_in_turn("kills", 5, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn each_role_is_killed_in_turn_20_times_under_500_events_per_second_and_nothing_is_lost() {
    kill_in_turn("20-kills", 20, 500).await;
}

async fn kill_in_turn(name: &str, kills: usize, per_second: u32) {
    let (mut pipeline, application, subscriptions) = shop(Setup::new(name).doubled(), 3).await;
    pipeline.endpoint().script(&subscriptions[0].path, "500 204").unwrap();
    let load = pipeline.load(&application, "a.b", per_second);
    let (mut budget, began) = (0, instant());
    for (turn, role) in TURNS.into_iter().cycle().take(kills).enumerate() {
        more_arrived(&pipeline, u64::from(per_second) * 3).await;
        let number = turn / TURNS.len() % 2 + 1;
        if role == Role::Delivery {
            // In flight now, and what was completed since the last commit: 200 ms apart at most and a commit's time, which two
            // busy cores may make most of a second. That nothing committed is sent again is the ledger's to check.
            budget += in_flight(&pipeline) + subscriptions.len() * usize::try_from(per_second).unwrap();
        }
        pipeline.roles().kill(role, number).await.unwrap();
        pipeline.roles().start(role, number).await.unwrap();
    }
    more_arrived(&pipeline, u64::from(per_second) * 3).await;
    let loaded = load.stop().await.unwrap();
    let took = began.elapsed();
    // A try whose answer was lost may have been accepted: then the fan-out drops the next one.
    let expect = Expect { repeats: budget, dropped: None, unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, Duration::from_secs(180)).await.unwrap();
    report(&format!(
        "{name}: from acceptance to the last of its endpoints, ms: {}",
        histogram(&latencies(&outcome.books, |_| true))
    ));
    report(&format!(
        "{name}: {kills} kills in {took:?}, {} accepted with {} retries, {} delivered, {} repeats of at most {budget}",
        loaded.accepted, loaded.retries, outcome.audit.counts.delivered, outcome.audit.counts.repeats
    ));
}
