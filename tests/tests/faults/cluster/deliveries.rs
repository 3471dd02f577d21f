//! A partition of `deliveries` whose leader is dead for a minute and more. Who has nothing to do with it goes on, nobody is taken for
//! hung, and what waits for it is sent once when it is back.

use kafka::group;
use schemas::delivery::key;
use schemas::murmur2::partition_for;
use serde_json::json;
use testkit::Expect;
use testkit::cluster::{Coordinated, NODES, Partition};
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription};
use testkit::wait::eventually;

use super::leaderless::accepted;
use super::moves::{group as group_of, transactional_id};
use super::{ENDS_WITHIN, Stage};
use crate::scenes::{SOON, arrived, status_of};

const PARTITIONS: u16 = 4;
const EACH: usize = 3;
/// Its deliveries lie in the partition that dies ...
const WAITS: &str = "a.b";
/// ... and its elsewhere.
const GOES_ON: &str = "c.d";

/// In small: what stands still for 24 s would end liveness.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_without_a_leader_hold_up_no_others_and_are_sent_once_when_it_is_back() {
    leader_is_dead(Setup::new("dead-leader").set("kafka.transaction_timeout_ms", 4_000)).await;
}

/// With the limits of the defaults: that takes a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn deliveries_without_a_leader_for_longer_than_anything_may_stand_still_are_sent_once_when_it_is_back() {
    leader_is_dead(Setup::new("dead-leader-long")).await;
}

async fn leader_is_dead(setup: Setup) {
    let mut stage = Stage::start().await;
    let setup = setup.on(stage.cluster.bootstrap()).set("topics.partitions.deliveries", i64::from(PARTITIONS));
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&[WAITS, GOES_ON]).await.unwrap();
    let dying = two_subscriptions(&mut pipeline, &application).await;
    let node = stand_alone(&stage, &pipeline, dying).await;
    accepted(&pipeline, &application, of(WAITS, "before")).await;
    accepted(&pipeline, &application, of(GOES_ON, "before")).await;
    arrived(&pipeline, 2 * EACH as u64).await;
    // Nothing is in flight and nothing uncommitted: whatever is sent twice from here on is sent for no reason.
    pipeline.settled(SOON).await.unwrap();

    // The group's coordinator is there, and knows who lives, though another broker does not answer.
    stage.cluster.pause(node).unwrap();
    let members = group::members(pipeline.connection(), &group_of(&pipeline, Role::Delivery)).await.unwrap();
    let ids: Vec<&str> = members.iter().map(|member| member.client_id.as_str()).collect();
    assert_eq!(ids, [transactional_id(&pipeline, Role::Delivery, 1)]);
    stage.cluster.kill(node).await.unwrap();
    others_go_on(&mut pipeline, &application).await;
    // Now the fan-out has something for the partition, and cannot write it.
    accepted(&pipeline, &application, of(WAITS, "during")).await;
    told_and_lively(&mut pipeline).await;
    assert_eq!(pipeline.endpoint().count("/"), 4 * EACH as u64);

    stage.cluster.restart(node).await.unwrap();
    accepted(&pipeline, &application, of(WAITS, "after")).await;
    arrived(&pipeline, 6 * EACH as u64).await;
    // A 503 may be followed by the repeat of what was written: the fan-out drops it. Nobody died, so nothing is sent again.
    let expect = Expect { dropped: None, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, ENDS_WITHIN).await.unwrap();
    let counts = outcome.audit.counts;
    assert_eq!((counts.delivered, counts.repeats), (6 * EACH, 0));
}

/// Also in the hands of who takes over meanwhile, and leaves out what has no leader.
async fn others_go_on(pipeline: &mut Pipeline, application: &Application) {
    accepted(pipeline, application, of(GOES_ON, "during")).await;
    arrived(pipeline, 3 * EACH as u64).await;
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    pipeline.roles().launch(Role::Delivery, 1).await.unwrap();
    accepted(pipeline, application, of(GOES_ON, "next")).await;
    arrived(pipeline, 4 * EACH as u64).await;
}

/// The fan-out says what it waits for, and nobody is to be started anew for it.
async fn told_and_lively(pipeline: &mut Pipeline) {
    let fanout = &*pipeline.roles().process(Role::Fanout, 1).unwrap();
    let told = || async { fanout.log().contains("does not get through").then_some(()) };
    eventually("the fan-out says what it waits for", SOON, told).await.unwrap();
    for role in Role::ALL {
        let lively = status_of(pipeline, role, "/livez").await;
        assert_eq!(lively, 200, "{role:?}: {}", pipeline.roles().process(role, 1).unwrap().log());
    }
}

/// Events of a type.
fn of(event_type: &'static str, from: &'static str) -> impl Iterator<Item = Event> {
    (0..EACH).map(move |number| Event::new(format!("{from}-{event_type}-{number}"), event_type))
}

fn place(subscription: &Subscription) -> i32 {
    partition_for(&key(subscription.id), PARTITIONS.into())
}

/// One for each type, their deliveries in two partitions. Returns the partition of the first.
async fn two_subscriptions(pipeline: &mut Pipeline, application: &Application) -> i32 {
    let first = place(&pipeline.subscribe(application, &[WAITS], json!({})).await.unwrap());
    loop {
        let other = pipeline.subscribe(application, &[GOES_ON], json!({})).await.unwrap();
        if place(&other) != first {
            return first;
        }
        pipeline.unsubscribe(application, &other).await.unwrap();
    }
}

/// The partition stands on one node alone, which has nothing else to do with the delivery worker than others have. Returns the node.
async fn stand_alone(stage: &Stage, pipeline: &Pipeline, index: i32) -> i32 {
    let group = group_of(pipeline, Role::Delivery);
    let id = transactional_id(pipeline, Role::Delivery, 1);
    let mut coordinators = Vec::new();
    for of in [Coordinated::Group(&group), Coordinated::Transactions(&id)] {
        coordinators.push(stage.cluster.coordinator(of).await.unwrap());
    }
    let mut others = (1..=i32::from(NODES)).filter(|node| !coordinators.contains(node));
    let node = others.next().expect("two of three coordinate");
    let topic = pipeline.topics().deliveries.to_string();
    stage.cluster.configure(&topic, "min.insync.replicas", "1").await.unwrap();
    let alone = Partition { topic, index, leader: None, replicas: vec![node], in_sync: Vec::new() };
    stage.cluster.lead(&[alone]).await.unwrap();
    node
}
