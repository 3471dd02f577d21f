//! A delivery worker that owns 64 partitions dies while every window is full: what it had claimed, read and not finished moves
//! to another one in time.

use std::collections::BTreeMap;

use kafka::clock::now_ms;
use schemas::delivery::key;
use schemas::murmur2::partition_for;
use testkit::Expect;
use testkit::pipeline::{Event, Pipeline, Role, Setup, Subscription, report};
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, in_flight, more_arrived, within};

/// Partitions of `deliveries`, all of them the worker's.
const PARTITIONS: u16 = 64;
/// So many that hardly a partition has none.
const SUBSCRIPTIONS: usize = 400;
/// Of 20 bytes each: a window is full by its records, long before its bytes. Five or six subscriptions share a partition: their deliveries fill a window of 1,000 and wait behind it.
const EVENTS: usize = 220;
/// Deliveries in windows and lists, which the successor finds in both.
const WAITING: u32 = 54_000;
/// Done since the last commit: 200 ms of 4,096 requests that take 3 s each, on two busy cores.
const UNCOMMITTED: usize = 3_000;
/// What had left the worker when it died has arrived by then; another one cannot have begun.
const STRAYS_MS: i64 = 500;
/// From the kill until each of its partitions sends again.
const LIMIT_MS: i64 = 12_000;
const ENDS_WITHIN: std::time::Duration = std::time::Duration::from_secs(420);

/// Outcome 4 of the foundation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn sixty_four_full_windows_move_from_a_killed_worker_within_12_s() {
    let setup =
        Setup::new("windows").roles(Role::Delivery, 2).set("topics.partitions.deliveries", i64::from(PARTITIONS));
    // What waits for its lane stays in the window where that is not for long.
    let setup = setup.set("delivery.lane_wait_ms", 60_000);
    let (mut pipeline, application, subscriptions) = only_one_worker(setup).await;
    pipeline.endpoint().script("/s", "204+delay=3s").unwrap();
    let events: Vec<Event> = (0..EVENTS).map(|number| Event::new(format!("evt_{number}"), "a.b").sized(20)).collect();
    pipeline.publish(&application, &events).await.unwrap();
    let worker = pipeline.roles().process(Role::Delivery, 1).unwrap();
    let full = || async {
        let live = worker.metric("hookbus_delivery_live_deliveries").await.ok()?;
        let listed = worker.metric("hookbus_delivery_queued").await.ok()?;
        (live + listed >= f64::from(WAITING)).then_some(())
    };
    eventually("full windows", 3 * SOON, full).await.unwrap();
    arrived(&pipeline, 2_000).await;

    let budget = in_flight(&pipeline) + UNCOMMITTED;
    let killed_ms = now_ms();
    pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
    // From now on a partition waits for its owner alone, not for one of the 4,096 requests that a worker may have under way.
    pipeline.endpoint().script("/s", "204").unwrap();
    pipeline.roles().launch(Role::Delivery, 2).await.unwrap();
    // Looked at when all is over: whoever counts meanwhile takes the cores from those who work.
    more_arrived(&pipeline, 10_000).await;
    pipeline.settled(ENDS_WITHIN).await.unwrap();
    let first = first_sent(&pipeline, &subscriptions, killed_ms + STRAYS_MS);
    let all = first_sent(&pipeline, &subscriptions, 0).len();
    assert_eq!(first.len(), all, "every partition had something left");
    let (earliest, slowest) = (first.values().min().unwrap(), first.values().max().unwrap());
    report(&format!("64 full windows: the first of {all} partitions sends again after {} ms", earliest - killed_ms));
    let expect = Expect { repeats: budget, unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, ENDS_WITHIN).await.unwrap();
    let counts = outcome.audit.counts;
    report(&format!("64 full windows: {} delivered, {} repeats of at most {budget}", counts.delivered, counts.repeats));
    within("64 full windows of a killed worker: the last partition sends again", slowest - killed_ms, LIMIT_MS);
}

/// All roles once; the second delivery worker is not there yet.
async fn only_one_worker(setup: Setup) -> (Pipeline, testkit::pipeline::Application, Vec<Subscription>) {
    let mut pipeline = setup.topics_only().await.unwrap();
    for role in Role::ALL {
        pipeline.roles().start(role, 1).await.unwrap();
    }
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let mut subscriptions = Vec::new();
    for _ in 0..SUBSCRIPTIONS {
        let fields = serde_json::json!({ "retry": "quick" });
        subscriptions.push(pipeline.subscribe(&application, &["a.b"], fields).await.unwrap());
    }
    (pipeline, application, subscriptions)
}

/// When each partition sent its first request after a time.
fn first_sent(pipeline: &Pipeline, subscriptions: &[Subscription], after_ms: i64) -> BTreeMap<i32, i64> {
    let partition = |subscription: &Subscription| partition_for(&key(subscription.id), PARTITIONS.into());
    let partitions: BTreeMap<&str, i32> = subscriptions.iter().map(|it| (&*it.path, partition(it))).collect();
    let mut first = BTreeMap::new();
    for seen in pipeline.endpoint().requests("/s").iter().filter(|seen| seen.arrived_ms > after_ms) {
        let Some(partition) = partitions.get(&*seen.path) else { continue };
        let earliest = first.entry(*partition).or_insert(seen.arrived_ms);
        *earliest = seen.arrived_ms.min(*earliest);
    }
    first
}
