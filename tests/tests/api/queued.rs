//! Outcome 4: a subscription is edited, disabled, deleted or paused while deliveries are queued for it.
//!
//! From a second on nothing goes where it should not go any more (requests on the wire may finish), and every delivery has its
//! one terminal state. What was paused arrives after the resume, all of it.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use testkit::Expect;
use testkit::ledger::collect;
use testkit::pipeline::{Application, Event, Outcome, Pipeline, Subscription, report};
use testkit::wait::eventually;

/// What all four do after they were changed.
const CALM: i64 = 1_000;
/// Where the edited one goes.
const MOVED: &str = "/moved";

struct Scene {
    events: u32,
    /// So many are still queued for each when it is changed.
    queued: usize,
    /// How long each endpoint takes for a delivery until all are changed: eight at a time, so this is what a busy machine has for it.
    delay: &'static str,
    within: Duration,
}

/// When each change was answered, Unix ms.
struct Changed {
    edited: i64,
    disabled: i64,
    deleted: i64,
    paused: i64,
    resumed: i64,
}

/// Edited, disabled, deleted, paused.
type Four = [Subscription; 4];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_ends_or_moves_or_holds_what_is_queued() {
    let scene = Scene { events: 600, queued: 100, delay: "1s", within: Duration::from_secs(180) };
    run("queued", &scene, |_| Ok(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_change_ends_or_moves_or_holds_10_000_that_are_queued_within_a_second() {
    // The fan-out needs a while for all of them, in which some thousand arrive.
    let scene = Scene { events: 12_000, queued: 10_000, delay: "100ms", within: Duration::from_secs(600) };
    run("queued-10000", &scene, |late_ms| {
        ensure!(late_ms <= CALM, "a request came {late_ms} ms after the change, {} ms too late", late_ms - CALM);
        Ok(())
    })
    .await;
}

async fn run(name: &str, scene: &Scene, in_time: fn(i64) -> anyhow::Result<()>) {
    let mut pipeline = Pipeline::start(name).await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let four = subscribe(&mut pipeline, &application, scene).await;
    let events: Vec<Event> = (0..scene.events).map(|number| Event::new(format!("evt_{number}"), "a.b")).collect();
    pipeline.publish(&application, &events).await.unwrap();
    for subscription in &four {
        pipeline.endpoint().wait_for(&subscription.path, 40, scene.within).await.unwrap();
    }
    let written = i64::from(scene.events) * 4;
    eventually("the fan-out has written all deliveries", scene.within, || async {
        let ends = collect::ends(pipeline.connection(), &pipeline.topics().deliveries).await.ok()?;
        (ends.values().sum::<i64>() >= written).then_some(())
    })
    .await
    .unwrap();
    let changed = change(&mut pipeline, &application, &four, scene).await;
    let outcome = pipeline.finish_within(Expect { cancelled: None, ..Expect::default() }, scene.within).await.unwrap();
    judge(name, scene, &four, &changed, &outcome, in_time);
}

/// Each of them takes a while for a delivery, so that most wait: in the lane, in its list, in Kafka.
async fn subscribe(pipeline: &mut Pipeline, application: &Application, scene: &Scene) -> Four {
    let mut made = Vec::new();
    for _ in 0..4 {
        let subscription = pipeline.subscribe(application, &["a.b"], json!({ "concurrency": 8 })).await.unwrap();
        pipeline.endpoint().script(&subscription.path, &format!("204+delay={}", scene.delay)).unwrap();
        made.push(subscription);
    }
    made.try_into().unwrap()
}

async fn change(pipeline: &mut Pipeline, application: &Application, four: &Four, scene: &Scene) -> Changed {
    let [edited, disabled, deleted, paused] = four;
    let edited_ms = pipeline.move_to(application, edited, MOVED).await.unwrap();
    let disabled_ms = pipeline.disable(application, disabled).await.unwrap();
    pipeline.unsubscribe(application, deleted).await.unwrap();
    let deleted_ms = kafka::clock::now_ms();
    let paused_ms = pipeline.pause(application, paused, true).await.unwrap();
    pipeline.endpoint().script(&paused.path, "204+delay=100ms").unwrap();
    // The paused one waits while the edited one gets everything at its new address.
    let before = pipeline.endpoint().count(&edited.path);
    let rest = u64::from(scene.events).saturating_sub(before + 8);
    pipeline.endpoint().wait_for(MOVED, rest, scene.within).await.unwrap();
    let resumed = pipeline.pause(application, paused, false).await.unwrap();
    Changed { edited: edited_ms, disabled: disabled_ms, deleted: deleted_ms, paused: paused_ms, resumed }
}

fn judge(
    name: &str,
    scene: &Scene,
    four: &Four,
    changed: &Changed,
    outcome: &Outcome,
    in_time: fn(i64) -> anyhow::Result<()>,
) {
    let [edited, disabled, deleted, paused] = four;
    let arrivals = |path: &str| {
        let mut at: Vec<i64> =
            outcome.books.requests.iter().filter(|it| it.path == path).map(|it| it.arrived_ms).collect();
        at.sort_unstable();
        at
    };
    let late = |what: &str, path: &str, from_ms: i64, until_ms: i64| {
        let late_ms =
            arrivals(path).into_iter().filter(|at| *at < until_ms).max().map_or(0, |at| (at - from_ms).max(0));
        report(&format!("{name}: the last request to what was {what} came {late_ms} ms after the change"));
        in_time(late_ms).unwrap();
    };
    late("edited", &edited.path, changed.edited, i64::MAX);
    late("disabled", &disabled.path, changed.disabled, i64::MAX);
    late("deleted", &deleted.path, changed.deleted, i64::MAX);
    late("paused", &paused.path, changed.paused, changed.resumed);
    let count = |path: &str| arrivals(path).len();
    let all = usize::try_from(scene.events).unwrap();
    let counts = &outcome.audit.counts;
    assert_eq!(count(&edited.path) + count(MOVED), all, "the edited one gets everything, at one address or the other");
    assert_eq!(count(&paused.path), all, "what was held back arrives after the resume");
    assert_eq!(counts.delivered + counts.cancelled, counts.deliveries, "every delivery has its one end");
    let ended = [disabled, deleted].map(|subscription| all - count(&subscription.path));
    let queued = [ended[0], ended[1], count(MOVED)];
    report(&format!("{name}: queued when it was disabled, deleted, edited: {queued:?}"));
    // What the fan-out had not matched yet is none.
    assert!((1..=ended[0] + ended[1]).contains(&counts.cancelled), "{ended:?}");
    assert!(queued.iter().all(|queued| *queued >= scene.queued), "{queued:?}");
    let back_ms = arrivals(&paused.path).last().map_or(0, |at| at - changed.resumed);
    report(&format!("{name}: the last delivery that was paused came {back_ms} ms after the resume"));
}
