//! A partition whose only replica is on a node that is down: it waits for that node, and nobody waits for it.

use std::sync::Arc;

use schemas::murmur2::partition_for;
use schemas::record::TopicPartition;
use schemas::seen;
use testkit::Expect;
use testkit::cluster::Partition;
use testkit::http::Http;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup};
use testkit::wait::eventually;

use super::{ENDS_WITHIN, Stage};
use crate::scenes::{SOON, arrived, shop};

/// Four neighbours share one partition of `seen`: so many that some surely need another one.
const EVENT_PARTITIONS: u16 = 32;
const SEEN_PARTITIONS: i32 = 16;
const EACH: usize = 3;

/// What has no leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alone {
    /// A partition that is read.
    Events,
    /// The one that tells what it accepted.
    Seen,
}

/// The partition of `events` that an event of this name goes to.
fn place(name: &str) -> i32 {
    partition_for(name.as_bytes(), EVENT_PARTITIONS.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_partition_without_a_leader_holds_up_no_other_of_its_worker() {
    one_alone(Alone::Events).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_partition_of_seen_without_a_leader_holds_up_only_what_needs_it() {
    one_alone(Alone::Seen).await;
}

/// A worker whose every partition waits for an operator is ready: its pods follow one another, and it begins by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_every_partition_is_without_a_leader_is_ready() {
    let mut stage = Stage::start().await;
    let setup = Setup::new("all-leaderless").set("topics.partitions.events", i64::from(EVENT_PARTITIONS));
    let (mut pipeline, application, _) = shop(setup.on(stage.cluster.bootstrap()), 1).await;
    let topic = pipeline.topics().events.to_string();
    let only = |index| Partition { topic: topic.clone(), index, leader: None, replicas: vec![3], in_sync: Vec::new() };
    stage.cluster.configure(&topic, "min.insync.replicas", "1").await.unwrap();
    let all: Vec<Partition> = (0..i32::from(EVENT_PARTITIONS)).map(only).collect();
    stage.cluster.lead(&all).await.unwrap();
    accepted(&pipeline, &application, named((0..EACH).map(|number| format!("before-{number}")))).await;
    arrived(&pipeline, EACH as u64).await;

    stage.cluster.kill(3).await.unwrap();
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    let process = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let lively = Http::default().get(&process.admin_url("/livez")).await.unwrap();
    let log = process.log();
    assert!(lively.status == 200 && log.contains(&format!("list offsets of {topic}/0")), "{log}");

    stage.cluster.restart(3).await.unwrap();
    accepted(&pipeline, &application, named((0..EACH).map(|number| format!("after-{number}")))).await;
    arrived(&pipeline, 2 * EACH as u64).await;
    let expect = Expect { dropped: None, unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, ENDS_WITHIN).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 2 * EACH);
}

async fn one_alone(alone: Alone) {
    let mut stage = Stage::start().await;
    let setup = Setup::new("leaderless").set("topics.partitions.events", i64::from(EVENT_PARTITIONS));
    let setup = setup.set("topics.partitions.seen", SEEN_PARTITIONS);
    let (mut pipeline, application, _) = shop(setup.on(stage.cluster.bootstrap()), 1).await;
    let events = Arc::clone(&pipeline.topics().events);
    let needs = |number| seen::partition(&TopicPartition::new(Arc::clone(&events), number), SEEN_PARTITIONS);
    let (topic, number) = match alone {
        Alone::Events => (events.to_string(), 0),
        Alone::Seen => (pipeline.topics().seen.to_string(), needs(0)),
    };
    let waits = |name: &str| match alone {
        Alone::Events => place(name) == 0,
        Alone::Seen => needs(place(name)) == number,
    };
    let only = Partition { topic: topic.clone(), index: number, leader: None, replicas: vec![3], in_sync: Vec::new() };
    stage.cluster.configure(&topic, "min.insync.replicas", "1").await.unwrap();
    stage.cluster.lead(&[only]).await.unwrap();
    let goes_on = |round: usize| {
        let names = (0..).map(move |number| format!("round-{round}-{number}"));
        names.filter(|name| !waits(name)).take(EACH)
    };
    accepted(&pipeline, &application, named(goes_on(1))).await;
    arrived(&pipeline, EACH as u64).await;

    stage.cluster.kill(3).await.unwrap();
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    accepted(&pipeline, &application, named(goes_on(2))).await;
    arrived(&pipeline, 2 * EACH as u64).await;
    // Its pods follow one another although one partition waits for an operator.
    pipeline.roles().ready(Role::Fanout, 1).await.unwrap();
    let process = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let lively = Http::default().get(&process.admin_url("/livez")).await.unwrap();
    assert_eq!(lively.status, 200, "a partition without a leader is no reason to start anew");
    let log = process.log();
    assert!(!log.contains("markers are lost") && log.contains(&*topic), "{log}");

    stage.cluster.restart(3).await.unwrap();
    let late = (0..).map(|number| format!("late-{number}")).filter(|name| waits(name)).take(EACH);
    accepted(&pipeline, &application, named(late)).await;
    arrived(&pipeline, 3 * EACH as u64).await;
    let expect = Expect { dropped: None, unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, ENDS_WITHIN).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 3 * EACH);
}

/// Events of these names.
fn named(names: impl Iterator<Item = String>) -> impl Iterator<Item = Event> {
    names.map(|name| Event::new(name, "a.b"))
}

/// Sends events until each is accepted: leaders move.
pub(super) async fn accepted(pipeline: &Pipeline, application: &Application, events: impl Iterator<Item = Event>) {
    let client = pipeline.client();
    for event in events {
        let ask = || async {
            let answer = client.send(1, application, &event).await.ok()?;
            match answer.status.as_u16() {
                409 => client.remember(application, &event),
                503 => return None,
                status => assert_eq!(status, 201, "{:?}", answer.body),
            }
            Some(())
        };
        eventually("a gateway that accepts", SOON, ask).await.unwrap();
    }
}
