//! What is limited stays limited, and the ledger sees it where it does not: memory under a backlog, a subscription's rate.

use schemas::invariants::Invariant;
use serde_json::json;
use testkit::Expect;
use testkit::ledger::Violation;
use testkit::ledger::memory::{RESIDENT, summary};
use testkit::pipeline::{Event, Outcome, Role, Setup, report};
use testkit::supervisor::Process;
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, shop};

/// Events of the backlog, and the bytes of each: together four times what the limits of [`backlog`] leave above the base.
const EVENTS: usize = 450;
const BYTES: usize = 384 * 1_024;
const MIB: usize = 1_024 * 1_024;

/// Until a counter or gauge of a process has come so far.
async fn reaches(process: &Process, metric: &str, least: usize) {
    let least = f64::from(u32::try_from(least).unwrap());
    let asked = || async { process.metric(metric).await.ok().filter(|value| *value >= least) };
    eventually(metric, SOON, asked).await.unwrap();
}

/// An endpoint that never answers, and far more for it than its worker may hold. With a planted bug the worker holds all of it:
/// it is told limits that the ledger does not know.
async fn backlog(planted: bool) -> Outcome {
    let mut setup = Setup::new(if planted { "backlog-planted" } else { "backlog" }).roles(Role::Gateway, 0);
    for (key, value) in [
        ("topics.partitions.events", 1),
        ("topics.partitions.deliveries", 1),
        ("fanout.live_bytes", MIB),
        ("fanout.live_records", 20),
        ("fanout.batch_bytes", MIB),
        ("delivery.live_bytes", MIB),
        ("delivery.live_records", 20),
        ("delivery.concurrency", 8),
        ("delivery.lane_concurrency", 4),
        // Nothing of it is given up meanwhile.
        ("delivery.attempt_timeout_ms", 120_000),
        ("delivery.lane_wait_ms", 60_000),
    ] {
        setup = setup.set(key, i64::try_from(value).unwrap());
    }
    if planted {
        // Twice, because a look-ahead that is nearly full lists what the endpoint does not take.
        let limits = [("RECORDS", 2 * EVENTS), ("BYTES", 1_024 * MIB)];
        let variables = limits.map(|(name, limit)| (format!("HOOKBUS__DELIVERY__LIVE_{name}"), limit.to_string()));
        setup = setup.environment(Role::Delivery, variables.to_vec());
    }
    let (mut pipeline, application, subscriptions) = shop(setup, 1).await;
    pipeline.endpoint().script(&subscriptions[0].path, "hang").unwrap();
    let payload = format!("\"{}\"", "x".repeat(BYTES - 2));
    let names: Vec<usize> = (0..EVENTS).collect();
    for part in names.chunks(20) {
        let events = part.iter().map(|name| Event::new(format!("evt_{name}"), "a.b").payload(&payload));
        pipeline.publish(&application, &events.collect::<Vec<_>>()).await.unwrap();
    }
    reaches(pipeline.roles().process(Role::Fanout, 1).unwrap(), "hookbus_fanout_matched_total", EVENTS).await;
    arrived(&pipeline, 2).await;
    let held = if planted { EVENTS } else { 2 };
    reaches(pipeline.roles().process(Role::Delivery, 1).unwrap(), "hookbus_delivery_live_deliveries", held).await;
    let outcome = pipeline.verdict(Expect { waiting: EVENTS, ..Expect::default() }, SOON).await.unwrap();
    report(&format!(
        "a backlog of {} MiB, planted {planted}:\n{}",
        EVENTS * BYTES / MIB,
        summary(&outcome.books.memory)
    ));
    outcome
}

/// What a worker holds does not grow with its backlog; of one that holds all of it, both the gauge and the memory tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_that_a_worker_holds_beyond_its_limits_turns_the_ledger_red() {
    let sound = backlog(false).await.audit;
    assert!(sound.balances(), "{sound}");
    let planted = backlog(true).await.audit;
    for what in ["hookbus_delivery_live_deliveries", RESIDENT] {
        let tells = |it: &Violation| it.invariant == Some(Invariant::BoundedMemory) && it.what.contains(what);
        assert!(planted.violations.iter().any(tells), "{what} did not tell: {planted}");
    }
}

/// More events than a subscription may get in their time. With a planted bug it has no rate, which the ledger does not know.
async fn faster_than_its_rate(planted: bool) -> Outcome {
    let mut pipeline = Setup::new("rate").start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let slow = pipeline.subscribe(&application, &["a.b"], json!({ "rate_per_second": 10 })).await.unwrap();
    if planted {
        pipeline.edit(&application, &slow, &json!({ "rate_per_second": null })).await.unwrap();
    }
    let events: Vec<Event> = (0..40).map(|number| Event::new(format!("evt_{number}"), "a.b")).collect();
    pipeline.publish(&application, &events).await.unwrap();
    pipeline.verdict(Expect::default(), SOON).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_a_subscriptions_rate_turn_the_ledger_red() {
    let sound = faster_than_its_rate(false).await.audit;
    assert!(sound.balances() && sound.counts.delivered == 40, "{sound}");
    let planted = faster_than_its_rate(true).await.audit;
    assert!(planted.violations.iter().any(|it| it.invariant == Some(Invariant::LaneCap)), "{planted}");
}
