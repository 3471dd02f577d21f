//! Retries over several tiers while their schedulers and workers die: never early (the ledger sees that), and late by little.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::clock::now_ms;
use schemas::attempt::Kind;
use schemas::ids::DeliveryId;
use serde_json::json;
use testkit::Expect;
use testkit::ledger::books::Books;
use testkit::pipeline::{Pipeline, Role, Setup, report};

use crate::scenes::{lasts, more_arrived, within};

const LONG: Duration = Duration::from_secs(180);
/// What each subscription waits between its attempts, and how often its endpoint refuses: over one tier, over two, over the wheel.
/// (503 of all of them would say that their host is gone.)
const SCHEDULES: [(&[&str], &str); 4] =
    [(&["1s", "2s"], "500x2 204"), (&["5s"], "500 204"), (&["7s"], "500 204"), (&["20s"], "500 204")];
/// A member that was killed is missed after its session, and its successor has to take over.
const TAKEOVER_MS: i64 = 15_000;
/// How late a retry may come: its jitter is part of when it is due.
const LATE_MS: i64 = 1_000;

/// A subscription for each schedule, all for the same events.
async fn retried(name: &str, per_second: u32) -> (Pipeline, testkit::pipeline::Load) {
    let mut pipeline = Setup::new(name).doubled().set("kafka.session_timeout_ms", 6_000).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    for (retry, script) in SCHEDULES {
        let made = pipeline.subscribe(&application, &["a.b"], json!({ "retry": retry })).await.unwrap();
        pipeline.endpoint().script(&made.path, script).unwrap();
    }
    let load = pipeline.load(&application, "a.b", per_second);
    (pipeline, load)
}

/// How late each retry came, ms and ascending: those that were due while somebody was dead, and the others.
fn lateness(books: &Books, killed: &[i64]) -> (Vec<i64>, Vec<i64>) {
    let mut first: BTreeMap<(DeliveryId, u32), i64> = BTreeMap::new();
    for request in &books.requests {
        let Some(key) = request.delivery.zip(request.attempt) else { continue };
        let arrived = first.entry(key).or_insert(request.arrived_ms);
        *arrived = request.arrived_ms.min(*arrived);
    }
    let told = books.facts.iter().filter(|fact| fact.kind == Kind::Attempted);
    let came = told.filter_map(|fact| {
        let (due_ms, key) = (fact.due_ms?, (fact.delivery?, fact.attempt? + 1));
        Some((due_ms, first.get(&key)? - due_ms))
    });
    let is_in_takeover = |due_ms: i64| killed.iter().any(|at_ms| (*at_ms..at_ms + TAKEOVER_MS).contains(&due_ms));
    let (in_takeover, calm): (Vec<_>, Vec<_>) = came.partition(|(due_ms, _)| is_in_takeover(*due_ms));
    let sorted = |all: Vec<(i64, i64)>| {
        let mut late: Vec<i64> = all.into_iter().map(|(_, late_ms)| late_ms).collect();
        late.sort_unstable();
        late
    };
    (sorted(in_takeover), sorted(calm))
}

/// When those that came late were due after a kill, and where they lost most: on their way to `deliveries`, or from there, ms.
fn told_late(books: &Books, killed: &[i64]) -> Vec<String> {
    let moved = books.hops.iter().map(|hop| ((hop.delivery, hop.hop.attempt), hop.written_ms));
    let moved: BTreeMap<(DeliveryId, u32), i64> = moved.collect();
    let due = books.facts.iter().filter_map(|fact| Some(((fact.delivery?, fact.attempt? + 1), fact.due_ms?)));
    let due: BTreeMap<(DeliveryId, u32), i64> = due.collect();
    let mut late: BTreeMap<(i64, &str), (usize, i64, i64)> = BTreeMap::new();
    for request in &books.requests {
        let Some(key) = request.delivery.zip(request.attempt) else { continue };
        let Some((due_ms, moved_ms)) = due.get(&key).zip(moved.get(&key)) else { continue };
        let after_ms = killed.iter().map(|at_ms| due_ms - at_ms).filter(|after_ms| *after_ms >= 0).min();
        let Some(after_ms) = after_ms.filter(|_| request.arrived_ms - due_ms > LATE_MS) else { continue };
        let (count, to, from) = late.entry((after_ms / 1_000, &request.path)).or_default();
        (*count, *to, *from) = (*count + 1, (*to).max(moved_ms - due_ms), (*from).max(request.arrived_ms - moved_ms));
    }
    let line = |((after_s, path), (count, to, from)): ((i64, &str), (usize, i64, i64))| {
        format!(
            "{count} of {path} were late, due {after_s} s after a kill: at most {to} ms to `deliveries`, {from} ms from there"
        )
    };
    late.into_iter().map(line).collect()
}

fn percentile(ascending: &[i64], percent: usize) -> i64 {
    ascending.get((ascending.len().saturating_sub(1)) * percent / 100).copied().unwrap_or(0)
}

/// A scheduler and a worker are killed while thousands of retries wait in all tiers.
async fn killed_while_they_wait(name: &str, per_second: u32) -> (i64, usize) {
    let (mut pipeline, load) = retried(name, per_second).await;
    more_arrived(&pipeline, u64::from(per_second) * 20).await;
    let mut killed = Vec::new();
    for (role, number) in [(Role::Retry, 1), (Role::Delivery, 2)] {
        killed.push(now_ms());
        pipeline.roles().kill(role, number).await.unwrap();
        pipeline.roles().start(role, number).await.unwrap();
        more_arrived(&pipeline, u64::from(per_second) * 20).await;
    }
    // Some that are due when everybody is there again.
    lasts(Duration::from_millis(u64::try_from(TAKEOVER_MS).unwrap())).await;
    let loaded = load.stop().await.unwrap();
    let resident = pipeline.roles().process(Role::Retry, 2).unwrap().resident();
    let repeats = 4 * 1_000;
    let expect = Expect { repeats, unclean: true, dropped: None, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, LONG).await.unwrap();
    let (in_takeover, calm) = lateness(&outcome.books, &killed);
    report(&format!(
        "{name}: {} events, {} retries were due in takeovers (the last {} ms late), {} in calm (p50 {}, p99 {}, the last {} ms late); \
         scheduler {} KiB",
        loaded.accepted,
        in_takeover.len(),
        percentile(&in_takeover, 100),
        calm.len(),
        percentile(&calm, 50),
        percentile(&calm, 99),
        percentile(&calm, 100),
        resident / 1_024
    ));
    for line in told_late(&outcome.books, &killed) {
        report(&line);
    }
    assert!(calm.first().is_none_or(|early| *early >= 0), "{calm:?}");
    (percentile(&calm, 99), calm.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_of_all_tiers_are_never_early_and_none_is_lost_while_schedulers_die() {
    let (_, calm) = killed_while_they_wait("retries", 15).await;
    assert!(calm > 100, "{calm} that were due in calm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_hundred_events_a_second_are_retried_over_all_tiers_in_time_while_schedulers_die() {
    let (p99, _) = killed_while_they_wait("retries-long", 100).await;
    within("retries: 99 of 100 that were due in calm came after", p99, LATE_MS);
}
