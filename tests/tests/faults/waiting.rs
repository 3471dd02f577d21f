//! Waiting for a lane at size: a slow minute, a blip of 503, a million that are paused. The short forms are in `tests/e2e/waiting.rs`.

use std::time::Duration;

use kafka::clock::{instant, now_ms};
use testkit::Expect;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription, report};
use testkit::supervisor;
use testkit::wait::eventually;

use crate::scenes::{lasts, more_arrived, shop, within};

const LONG: Duration = Duration::from_secs(600);

async fn queued(pipeline: &mut Pipeline) -> f64 {
    let process = pipeline.roles().process(Role::Delivery, 1).unwrap();
    process.metric("hookbus_delivery_queued").await.unwrap()
}

/// Waits until as many requests have come as events were accepted, but for what is under way now.
async fn caught_up(pipeline: &mut Pipeline) -> i64 {
    let began = instant();
    let process = &*pipeline.roles().process(Role::Delivery, 1).unwrap();
    eventually("the queue is empty", LONG, || async {
        let queued = process.metric("hookbus_delivery_queued").await.ok()?;
        let live = process.metric("hookbus_delivery_live_deliveries").await.ok()?;
        (queued < 1.0 && live < 100.0).then_some(())
    })
    .await
    .unwrap();
    i64::try_from(began.elapsed().as_millis()).unwrap()
}

/// How long an event takes that is accepted now.
async fn one_takes(pipeline: &Pipeline, application: &Application, path: &str, id: &str) -> i64 {
    let began = now_ms();
    assert_eq!(pipeline.client().send(1, application, &Event::new(id, "a.b")).await.unwrap().status, 201);
    let payload = id.to_owned();
    let came = |seen: &testkit::endpoint::Seen| seen.header("webhook-id") == Some(payload.as_str());
    let all =
        pipeline.endpoint().wait_until(path, "it comes", LONG, |all| all.iter().any(|it| came(it))).await.unwrap();
    all.iter().find(|it| came(it)).map_or(0, |it| it.arrived_ms - began)
}

/// 100/s to an endpoint that needs 50 ms; for a minute it needs 5 s; then 50 ms again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_slow_minute_is_caught_up_within_20_seconds() {
    let (mut pipeline, application, subscriptions) = shop(Setup::new("slow-minute"), 1).await;
    let path = subscriptions[0].path.clone();
    pipeline.endpoint().script(&path, "204+delay=50ms").unwrap();
    let load = pipeline.load(&application, "a.b", 100);
    more_arrived(&pipeline, 500).await;
    pipeline.endpoint().script(&path, "204+delay=5s").unwrap();
    lasts(Duration::from_secs(60)).await;
    report(&format!("slow-minute: {} queued at its end", queued(&mut pipeline).await));
    pipeline.endpoint().script(&path, "204+delay=50ms").unwrap();
    let took_ms = caught_up(&mut pipeline).await;
    for number in 0..5 {
        within("an event after it", one_takes(&pipeline, &application, &path, &format!("after-{number}")).await, 1_000);
    }
    load.stop().await.unwrap();
    pipeline.finish_within(Expect::default(), LONG).await.unwrap();
    within("slow-minute: caught up after", took_ms, 20_000);
}

/// 100/s, 503 for ten seconds, then fine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn ten_seconds_of_503_are_over_within_half_a_minute() {
    let setup = Setup::new("blip").set("delivery.breaker_failures", 20);
    let (mut pipeline, application, subscriptions) = shop(setup, 1).await;
    let path = subscriptions[0].path.clone();
    pipeline.endpoint().script(&path, "204+delay=20ms").unwrap();
    let load = pipeline.load(&application, "a.b", 100);
    more_arrived(&pipeline, 300).await;
    pipeline.endpoint().script(&path, "503").unwrap();
    lasts(Duration::from_secs(10)).await;
    pipeline.endpoint().script(&path, "204+delay=20ms").unwrap();
    let healed = instant();
    load.stop().await.unwrap();
    pipeline.settled(LONG).await.unwrap();
    let took_ms = i64::try_from(healed.elapsed().as_millis()).unwrap();
    report(&format!("blip: {} queued", queued(&mut pipeline).await));
    pipeline.finish_within(Expect::default(), LONG).await.unwrap();
    within("blip: all delivered after", took_ms, 30_000);
}

/// So many wait for a paused subscription: nothing is written meanwhile, the first comes within a second of the resume. Returns the
/// pipeline with so many of them delivered, and when the first came after the resume, ms.
async fn paused(
    name: &str,
    (count, delivered): (u32, u32),
    pause: Duration,
) -> (Pipeline, Application, Subscription, i64) {
    supervisor::forget_peak().unwrap();
    let setup = Setup::new(name).set("topics.partitions.deliveries", 1);
    let (mut pipeline, application, subscriptions) = shop(setup, 1).await;
    let subscription = subscriptions[0].clone();
    pipeline.pause(&application, &subscription, true).await.unwrap();
    for chunk in 0..count / 10_000 {
        let events = (0..10_000).map(|number| Event::new(format!("evt_{}", chunk * 10_000 + number), "a.b"));
        pipeline.publish(&application, &events.collect::<Vec<_>>()).await.unwrap();
    }
    let process = &*pipeline.roles().process(Role::Delivery, 1).unwrap();
    let least = f64::from(count) - 1_000.0;
    eventually("they are listed", LONG, || async {
        let queued = process.metric("hookbus_delivery_queued").await.ok()?;
        (queued >= least).then_some(())
    })
    .await
    .unwrap();
    let before = process.metric("hookbus_delivery_transactions_total").await.unwrap();
    report(&format!("{name}: {} KiB resident", process.resident() / 1_024));
    lasts(pause).await;
    let after = process.metric("hookbus_delivery_transactions_total").await.unwrap();
    assert!(after - before < 10.0, "{} transactions while it was paused", after - before);
    let resumed_ms = pipeline.pause(&application, &subscription, false).await.unwrap();
    let first = pipeline.endpoint().wait_for(&subscription.path, 1, LONG).await.unwrap();
    let first_ms = first[0].arrived_ms - resumed_ms;
    pipeline.endpoint().wait_for(&subscription.path, u64::from(delivered), LONG).await.unwrap();
    report(&format!("{name}: {delivered} came {} ms after the resume", now_ms() - resumed_ms));
    (pipeline, application, subscription, first_ms)
}

/// What this process holds of a scene: the requests that came, bodies and all, and books without any payload. A delivery is 8 KB on
/// average: a million of them would take gigabytes.
fn books_are_small(name: &str, deliveries: u64, requests: u64) {
    const AT_LEAST: u64 = 192 * 1_024 * 1_024;
    const OF_A_REQUEST: u64 = 8_000;
    const OF_A_DELIVERY: u64 = 2_000;
    let limit = AT_LEAST + requests * OF_A_REQUEST + deliveries * OF_A_DELIVERY;
    let most = supervisor::own_peak().unwrap();
    report(&format!("{name}: the ledger took {} MiB, {} at most", most >> 20, limit >> 20));
    assert!(most <= limit, "{most} bytes for the books of {deliveries} deliveries, {limit} at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn twenty_thousand_that_are_paused_cost_nothing_and_all_of_them_come() {
    let pause = Duration::from_secs(5);
    let (pipeline, _, _, first_ms) = paused("paused-short", (20_000, 20_000), pause).await;
    let outcome = pipeline.finish_within(Expect::default(), LONG).await.unwrap();
    assert_eq!(outcome.books.hops.len(), outcome.audit.counts.deliveries, "no payload was written while it was paused");
    books_are_small("paused-short", 20_000, 20_000);
    within("paused-short: the first after the resume", first_ms, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_million_that_are_paused_cost_nothing_and_come_in_order() {
    let pause = Duration::from_secs(30);
    let (mut pipeline, application, subscription, first_ms) = paused("million", (1_000_000, 50_000), pause).await;
    pipeline.unsubscribe(&application, &subscription).await.unwrap();
    pipeline.finish_within(Expect { cancelled: None, ..Expect::default() }, LONG).await.unwrap();
    books_are_small("million", 1_000_000, 50_000);
    within("million: the first after the resume", first_ms, 1_000);
}
