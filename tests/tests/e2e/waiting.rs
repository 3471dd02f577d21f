//! Waiting for a lane ends when its reason ends, writes no payload, and is nobody else's concern.

use std::time::Duration;

use kafka::clock::{instant, now_ms};
use serde_json::json;
use testkit::Expect;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription, report};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(180);

/// One partition of deliveries, so that whoever waits does it beside its neighbour.
async fn one_partition(setup: Setup, fields: serde_json::Value) -> (Pipeline, Application, [Subscription; 2]) {
    let mut pipeline = setup.set("topics.partitions.deliveries", 1).start().await.unwrap();
    let application = pipeline.application(&["a.b", "c.d"]).await.unwrap();
    let one = pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
    let neighbour = pipeline.subscribe(&application, &["c.d"], json!({})).await.unwrap();
    (pipeline, application, [one, neighbour])
}

async fn queued(pipeline: &mut Pipeline, least: f64) {
    let process = &*pipeline.roles().process(Role::Delivery, 1).unwrap();
    eventually("deliveries are listed", LONG, || async {
        let listed = process.metric("hookbus_delivery_queued").await.ok()?;
        (listed >= least).then_some(())
    })
    .await
    .unwrap();
}

async fn publish(pipeline: &Pipeline, application: &Application, count: usize) {
    let events: Vec<Event> = (0..count).map(|number| Event::new(format!("evt_{number}"), "a.b")).collect();
    pipeline.publish(application, &events).await.unwrap();
}

/// A neighbour's event arrives while the other one waits.
async fn neighbour_is_served(pipeline: &Pipeline, application: &Application, neighbour: &Subscription, id: &str) {
    let before = pipeline.endpoint().count(&neighbour.path);
    assert_eq!(pipeline.client().send(1, application, &Event::new(id, "c.d")).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&neighbour.path, before + 1, SOON).await.unwrap();
}

/// Everything is delivered once, from the first offset to the last, and nothing was written to a delay topic.
async fn all_once(pipeline: Pipeline, expect: Expect, what: &str) {
    let outcome = pipeline.finish_within(expect, LONG).await.unwrap();
    let hops = outcome.books.hops.len();
    assert_eq!(hops, outcome.audit.counts.deliveries, "{what}: no payload was written while it waited");
    report(&format!("{what}: {} delivered, {} repeats", outcome.audit.counts.delivered, outcome.audit.counts.repeats));
}

/// Paused with thousands queued: nothing is written; resumed, the first is there at once and the rest at the endpoint's speed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_waits_without_a_write_and_comes_at_once() {
    let count = 3_000;
    let (mut pipeline, application, [paused, neighbour]) = one_partition(Setup::new("paused"), json!({})).await;
    pipeline.pause(&application, &paused, true).await.unwrap();
    publish(&pipeline, &application, count).await;
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    queued(&mut pipeline, count as f64 - 1_000.0).await;
    neighbour_is_served(&pipeline, &application, &neighbour, "beside").await;
    assert_eq!(pipeline.endpoint().count(&paused.path), 0);
    let resumed_ms = pipeline.pause(&application, &paused, false).await.unwrap();
    let seen = pipeline.endpoint().wait_for(&paused.path, count as u64, LONG).await.unwrap();
    let (first, last) = (seen[0].arrived_ms - resumed_ms, now_ms() - resumed_ms);
    report(&format!("paused: the first of {count} came {first} ms after the resume, all of them {last} ms after it"));
    all_once(pipeline, Expect::default(), "paused").await;
}

/// An endpoint that is slow for a while: what it could not take is listed, its neighbour is served, and it is caught up soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_endpoint_holds_nobody_and_is_caught_up_when_it_is_fast_again() {
    let setup = Setup::new("slow-endpoint").set("delivery.live_records", 200);
    let (mut pipeline, application, [slow, neighbour]) = one_partition(setup, json!({ "concurrency": 8 })).await;
    pipeline.endpoint().script(&slow.path, "204+delay=2000ms").unwrap();
    publish(&pipeline, &application, 1_500).await;
    queued(&mut pipeline, 1_000.0).await;
    neighbour_is_served(&pipeline, &application, &neighbour, "beside").await;
    pipeline.endpoint().script(&slow.path, "204").unwrap();
    let healed = instant();
    pipeline.endpoint().wait_for(&slow.path, 1_500, LONG).await.unwrap();
    report(&format!("slow-endpoint: 1,500 caught up {:?} after it was fast again", healed.elapsed()));
    all_once(pipeline, Expect::default(), "slow-endpoint").await;
}

/// An endpoint that answers 503 for a while: its circuit opens, what comes waits in its list, and goes when a probe succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_an_open_circuit_goes_when_it_closes() {
    let setup = Setup::new("circuit").set("delivery.live_records", 200).set("delivery.breaker_failures", 5);
    let fields = json!({ "concurrency": 4, "retry": ["1s", "1s", "1s", "1s", "5s", "5s", "5s", "20s"] });
    let (mut pipeline, application, [down, neighbour]) = one_partition(setup, fields).await;
    pipeline.endpoint().script(&down.path, "503+delay=200ms").unwrap();
    publish(&pipeline, &application, 1_000).await;
    queued(&mut pipeline, 700.0).await;
    neighbour_is_served(&pipeline, &application, &neighbour, "beside").await;
    pipeline.endpoint().script(&down.path, "204").unwrap();
    let healed = instant();
    let path = down.path.clone();
    let delivered = |seen: &testkit::endpoint::Seen| seen.answered().is_some_and(|answer| answer.status == 204);
    eventually("all are delivered", LONG, || async {
        (pipeline.endpoint().requests(&path).iter().filter(|seen| delivered(seen)).count() >= 1_000).then_some(())
    })
    .await
    .unwrap();
    report(&format!("circuit: 1,000 delivered {:?} after the endpoint was back", healed.elapsed()));
    pipeline.finish_within(Expect::default(), LONG).await.unwrap();
}

/// The worker is killed while thousands wait, and again while they are being read back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_listed_survives_kills_and_is_delivered_once() {
    let count = 3_000;
    let (mut pipeline, application, [one, neighbour]) =
        one_partition(Setup::new("listed-kills"), json!({ "concurrency": 16 })).await;
    pipeline.pause(&application, &one, true).await.unwrap();
    publish(&pipeline, &application, count).await;
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    queued(&mut pipeline, count as f64 - 1_000.0).await;
    pipeline.endpoint().script(&one.path, "204+delay=20ms").unwrap();
    for kill in 1..=3_u64 {
        pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
        pipeline.roles().start(Role::Delivery, 1).await.unwrap();
        if kill == 1 {
            pipeline.pause(&application, &one, false).await.unwrap();
        }
        pipeline.endpoint().wait_for(&one.path, kill * 300, LONG).await.unwrap();
    }
    neighbour_is_served(&pipeline, &application, &neighbour, "beside").await;
    // In flight when it was killed, and what was completed since the last commit.
    let expect = Expect { repeats: 3 * 1_000, unclean: true, ..Expect::default() };
    all_once(pipeline, expect, "listed-kills").await;
}

/// What waits in the lists of a subscription that is deleted says that it was cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_listed_for_a_deleted_subscription_is_cancelled() {
    let (mut pipeline, application, [gone, neighbour]) = one_partition(Setup::new("listed-gone"), json!({})).await;
    pipeline.pause(&application, &gone, true).await.unwrap();
    publish(&pipeline, &application, 2_500).await;
    queued(&mut pipeline, 1_400.0).await;
    pipeline.unsubscribe(&application, &gone).await.unwrap();
    neighbour_is_served(&pipeline, &application, &neighbour, "beside").await;
    let outcome = pipeline.finish_within(Expect { cancelled: Some(2_500), ..Expect::default() }, LONG).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 1);
}
