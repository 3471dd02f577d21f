//! What waits in lists of offsets, in bad weather: its topic is made anew, retention comes near, its subscription is disabled
//! and enabled, its worker dies in every step of a takeover. The calm forms are in `tests/e2e/waiting.rs`.

use std::time::Duration;

use kafka::clock::now_ms;
use kafka_dev::tether::Exit;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription, console, report};
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, lasts, within};

pub(crate) const LONG: Duration = Duration::from_secs(600);
/// Published at once: what librdkafka's queue takes.
const PART: usize = 500;
/// Live deliveries of a partition; what waits beyond stands in lists.
pub(crate) const WINDOW: usize = 1_000;

/// One partition, so that all subscriptions share a worker's window, and each has a type of its own: `a.0`, `a.1`.
pub(crate) async fn one_partition(
    setup: Setup,
    count: usize,
    fields: &Value,
) -> (Pipeline, Application, Vec<Subscription>) {
    let mut pipeline = setup.set("topics.partitions.deliveries", 1).start().await.unwrap();
    let types: Vec<String> = (0..count).map(event_type).collect();
    let application = pipeline.application(&types.iter().map(|it| &**it).collect::<Vec<_>>()).await.unwrap();
    let mut made = Vec::new();
    for event_type in &types {
        made.push(pipeline.subscribe(&application, &[event_type], fields.clone()).await.unwrap());
    }
    (pipeline, application, made)
}

pub(crate) fn event_type(number: usize) -> String {
    format!("a.b{number}")
}

/// Events for one of them, with ids `evt_<subscription>_<number>`.
pub(crate) async fn publish(
    pipeline: &Pipeline,
    application: &Application,
    subscription: usize,
    numbers: std::ops::Range<usize>,
) {
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let part = numbers.by_ref().take(PART);
        let event = |number| Event::new(format!("evt_{subscription}_{number}"), &event_type(subscription));
        pipeline.publish(application, &part.map(event).collect::<Vec<_>>()).await.unwrap();
    }
}

pub(crate) async fn queued(pipeline: &mut Pipeline, least: usize) {
    let process = &*pipeline.roles().process(Role::Delivery, 1).unwrap();
    let least = f64::from(u32::try_from(least).unwrap());
    eventually("deliveries are listed", LONG, || async {
        (process.metric("hookbus_delivery_queued").await.ok()? >= least).then_some(())
    })
    .await
    .unwrap();
}

/// From now until an event of this subscription that is accepted now arrives, ms.
async fn one_takes(pipeline: &Pipeline, application: &Application, number: usize, path: &str, id: &str) -> i64 {
    let began_ms = now_ms();
    let event = Event::new(id, &event_type(number));
    assert_eq!(pipeline.client().send(1, application, &event).await.unwrap().status, 201);
    let came = |seen: &testkit::endpoint::Seen| seen.event() == Some(id);
    let all =
        pipeline.endpoint().wait_until(path, "it comes", LONG, |all| all.iter().any(|it| came(it))).await.unwrap();
    all.iter().find(|it| came(it)).map_or(i64::MAX, |it| it.arrived_ms - began_ms)
}

/// `lanes` made anew under a worker that is down: it stops and says what differs, and loses nothing. Read again from where the
/// runbook says, everything is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_are_gone_stop_their_worker_until_they_are_read_again() {
    let count = 2_500;
    let (mut pipeline, application, made) = one_partition(Setup::new("lists-gone"), 1, &json!({})).await;
    pipeline.pause(&application, &made[0], true).await.unwrap();
    publish(&pipeline, &application, 0, 0..count).await;
    queued(&mut pipeline, count - WINDOW).await;
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    let (brokers, lanes) = (SharedKafka::of_this_run().unwrap().bootstrap, pipeline.topics().lanes.to_string());
    console::delete_topic(&brokers, &lanes).await.unwrap();
    eventually("the topic is gone and can be made again", SOON, || async {
        let made = pipeline.command(&["topics", "ensure"]).await.ok()?;
        made.status.success().then_some(())
    })
    .await
    .unwrap();
    pipeline.roles().launch(Role::Delivery, 1).await.unwrap();
    let process = pipeline.roles().process(Role::Delivery, 1).unwrap();
    let exit = process.ended(SOON).await.unwrap();
    let (log, deliveries) = (process.log(), pipeline.topics().deliveries.to_string());
    assert_eq!(exit, Exit::Code(1));
    for named in [&*format!("{deliveries}/0"), "lists-differ.md", "holds 0 entries"] {
        assert!(log.contains(named), "{named} is not named: {log}");
    }
    assert_eq!(pipeline.endpoint().count("/"), 0, "nothing was sent before the stop");
    let set = ["offsets", "set", "delivery", "--topic", "deliveries", "--partition", "0", "--to", "0", "--yes"];
    // A worker that stops with an error leaves its group when its session ends.
    eventually("the offset is set", SOON, || async {
        let set = pipeline.command(&set).await.ok()?;
        set.status.success().then_some(())
    })
    .await
    .unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    pipeline.pause(&application, &made[0], false).await.unwrap();
    let outcome = pipeline.finish_within(Expect { unclean: true, ..Expect::default() }, LONG).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.repeats), (count, 0));
}

/// A subscription with so many waiting is disabled and enabled again: a fresh event passes all of it, and what waited is
/// cancelled.
async fn fresh_ones_pass(name: &str, count: usize) -> i64 {
    let (mut pipeline, application, made) = one_partition(Setup::new(name), 2, &json!({})).await;
    let (one, neighbour) = (&made[0], &made[1]);
    pipeline.pause(&application, one, true).await.unwrap();
    publish(&pipeline, &application, 0, 0..count).await;
    queued(&mut pipeline, count - WINDOW).await;
    pipeline.disable(&application, one).await.unwrap();
    pipeline.enable(&application, one).await.unwrap();
    pipeline.pause(&application, one, false).await.unwrap();
    let mut slowest_ms = 0;
    for number in 0..5 {
        let fresh = one_takes(&pipeline, &application, 0, &one.path, &format!("fresh-{number}")).await;
        let beside = one_takes(&pipeline, &application, 1, &neighbour.path, &format!("beside-{number}")).await;
        report(&format!("{name}: a fresh event came after {fresh} ms, its neighbour's after {beside} ms"));
        slowest_ms = slowest_ms.max(fresh).max(beside);
    }
    let outcome = pipeline.finish_within(Expect { cancelled: Some(count), ..Expect::default() }, LONG).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.repeats), (10, 0));
    slowest_ms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_events_pass_what_was_cancelled_by_disabling() {
    fresh_ones_pass("disabled-enabled", 3_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn fresh_events_pass_a_hundred_thousand_that_were_cancelled_within_a_second() {
    let slowest_ms = fresh_ones_pass("disabled-enabled-long", 100_000).await;
    within("disabled and enabled with 100,000 queued: the slowest fresh event", slowest_ms, 1_000);
}

/// Retention of `deliveries` comes near what waits: it dies as dead letters, with its payload, before it is deleted. Nothing is
/// lost without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn what_waits_until_retention_comes_near_dies_as_dead_letters_and_nothing_is_lost() {
    let count = 3_000;
    let fields = json!({ "retry": ["1s", "1s", "1s"] });
    let (mut pipeline, application, made) = one_partition(Setup::new("near-retention"), 2, &fields).await;
    let (brokers, deliveries) =
        (SharedKafka::of_this_run().unwrap().bootstrap, pipeline.topics().deliveries.to_string());
    // A role reads it when it starts. Half of it is how long a delivery may wait where it is shorter than two days.
    console::configure_topic(&brokers, &deliveries, "retention.ms=120000").await.unwrap();
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    // The first of them have failed once: retries, which come before all first tries in their lane.
    pipeline.endpoint().script(&made[0].path, "503").unwrap();
    publish(&pipeline, &application, 0, 0..20).await;
    arrived(&pipeline, 20).await;
    pipeline.pause(&application, &made[0], true).await.unwrap();
    let paused_ms = now_ms();
    publish(&pipeline, &application, 0, 20..count).await;
    queued(&mut pipeline, count - WINDOW).await;
    let process = &*pipeline.roles().process(Role::Delivery, 1).unwrap();
    eventually("the lists are empty", LONG, || async {
        let queued = process.metric("hookbus_delivery_queued").await.ok()?;
        let live = process.metric("hookbus_delivery_live_deliveries").await.ok()?;
        (queued < 1.0 && live < 1.0).then_some(())
    })
    .await
    .unwrap();
    let took_ms = now_ms() - paused_ms;
    assert!(process.metric("hookbus_delivery_lost_records_total").await.unwrap() < 1.0, "nothing was lost");
    let expect = Expect { dead: count, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, LONG).await.unwrap();
    assert_eq!(outcome.audit.counts.dead, count);
    within("3,000 paused near retention: the last is a dead letter after", took_ms, 180_000);
}

/// Sixteen endpoints on one partition are dead and are healed one after the other: each drains then, and only then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn sixteen_dead_endpoints_are_healed_one_by_one_and_each_drains_alone() {
    let (lanes, each) = (16, 1_000);
    let fields = json!({ "retry": ["1s", "1s", "5s", "5s", "20s", "20s", "20s", "20s", "20s", "20s", "20s", "20s"] });
    let (mut pipeline, application, made) = one_partition(Setup::new("sixteen-dead"), lanes + 1, &fields).await;
    let neighbour = made[lanes].clone();
    for subscription in &made[..lanes] {
        pipeline.endpoint().script(&subscription.path, "503").unwrap();
    }
    for number in 0..lanes {
        publish(&pipeline, &application, number, 0..each).await;
    }
    queued(&mut pipeline, lanes * each / 2).await;
    let mut slowest_ms = 0;
    for (number, subscription) in made[..lanes].iter().enumerate() {
        pipeline.endpoint().script(&subscription.path, "204").unwrap();
        let healed_ms = now_ms();
        let delivered = |seen: &testkit::endpoint::Seen| seen.answered().is_some_and(|answer| answer.status == 204);
        let (endpoint, path) = (pipeline.endpoint(), &subscription.path);
        eventually("it is drained", LONG, || async {
            (endpoint.requests(path).iter().filter(|seen| delivered(seen)).count() >= each).then_some(())
        })
        .await
        .unwrap();
        let drained_ms = now_ms() - healed_ms;
        let beside = one_takes(&pipeline, &application, lanes, &neighbour.path, &format!("evt_{lanes}_{number}")).await;
        report(&format!("sixteen-dead: {number} drained {drained_ms} ms after it was healed, beside it {beside} ms"));
        slowest_ms = slowest_ms.max(beside);
    }
    pipeline.finish_within(Expect::default(), LONG).await.unwrap();
    within("sixteen-dead: the slowest event of their neighbour", slowest_ms, 1_000);
}

/// A worker is killed a little later each time in the course of its takeover of a long queue, and at last while it drains.
async fn killed_in_takeovers(name: &str, count: usize, kills: u32, step: Duration) {
    let (mut pipeline, application, made) = one_partition(Setup::new(name), 1, &json!({ "concurrency": 32 })).await;
    pipeline.pause(&application, &made[0], true).await.unwrap();
    publish(&pipeline, &application, 0, 0..count).await;
    queued(&mut pipeline, count - WINDOW).await;
    pipeline.endpoint().script(&made[0].path, "204+delay=5ms").unwrap();
    for kill in 0..kills {
        pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
        if kill == kills / 2 {
            pipeline.pause(&application, &made[0], false).await.unwrap();
        }
        pipeline.roles().launch(Role::Delivery, 1).await.unwrap();
        lasts(step * kill).await;
    }
    pipeline.roles().ready(Role::Delivery, 1).await.unwrap();
    // Of a kill while it drains: what is in flight, and what was done since the last commit.
    let expect = Expect { repeats: WINDOW * usize::try_from(kills).unwrap(), unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, LONG).await.unwrap();
    let counts = outcome.audit.counts;
    assert_eq!(counts.delivered, count);
    assert_eq!(outcome.books.hops.len(), counts.deliveries, "no payload was written while it waited");
    report(&format!("{name}: {kills} kills, {} delivered, {} repeats", counts.delivered, counts.repeats));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_survives_kills_in_its_takeovers() {
    killed_in_takeovers("killed-takeovers", 2_500, 4, Duration::from_millis(250)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_long_queue_survives_twenty_kills_in_every_step_of_its_takeovers() {
    killed_in_takeovers("killed-takeovers-long", 50_000, 20, Duration::from_millis(200)).await;
}
