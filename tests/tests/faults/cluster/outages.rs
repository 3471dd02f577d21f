//! Brokers that die, leave or are too few.

use testkit::Cluster;
use testkit::cluster::{Coordinated, NODES};
use testkit::pipeline::{Pipeline, Role};

use super::moves::{coordinators, leaders, transactional_id};
use super::{Scene, Stage, workers};
use crate::scenes::{SOON, more_arrived, refused};

/// Requests of the three subscriptions in so many seconds of a load: what may be in flight, or done and not committed, when
/// workers lose their partitions.
const fn seconds_of(per_second: u32, seconds: usize) -> usize {
    per_second as usize * 3 * seconds
}

/// The node that has most to do with a pipeline: it coordinates the transactions of a fan-out, and leads `control`, whose end the
/// fan-out asks for before it plans anything.
async fn busiest(cluster: &Cluster, pipeline: &Pipeline) -> i32 {
    let id = transactional_id(pipeline, Role::Fanout, 1);
    let node = cluster.coordinator(Coordinated::Transactions(&id)).await.unwrap();
    let mut control = cluster.layout(&[&pipeline.topics().control]).await.unwrap().partitions;
    for partition in &mut control {
        let at = partition.replicas.iter().position(|replica| *replica == node).expect("every node keeps it");
        partition.replicas.swap(0, at);
    }
    cluster.lead(&control).await.unwrap();
    node
}

/// kill -9 of a node that leads, follows and coordinates. While it is gone everything goes on, also what takes partitions over;
/// then it comes back.
async fn killed_and_back(cluster: &mut Cluster, pipeline: &mut Pipeline, more: u64) {
    let node = busiest(cluster, pipeline).await;
    more_arrived(pipeline, more / 2).await;
    cluster.kill(node).await.unwrap();
    more_arrived(pipeline, more).await;
    for role in [Role::Fanout, Role::Delivery] {
        pipeline.roles().stop(role, 1).await.unwrap();
        pipeline.roles().start(role, 1).await.unwrap();
    }
    more_arrived(pipeline, more).await;
    cluster.restart(node).await.unwrap();
    cluster.whole().await.unwrap();
    more_arrived(pipeline, more).await;
}

/// The short form of this file and of `moves`: leaders move, coordinators move, a broker dies and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_and_coordinators_that_move_and_a_broker_that_dies_lose_nothing() {
    let mut stage = Stage::start().await;
    let scene = Scene { name: "three brokers", per_second: 30, repeats: seconds_of(30, 10) };
    scene
        .play(workers("brokers"), &mut stage.cluster, async |cluster, pipeline, _| {
            leaders(cluster, pipeline).await;
            more_arrived(pipeline, 90).await;
            coordinators(cluster, pipeline).await;
            more_arrived(pipeline, 90).await;
            killed_and_back(cluster, pipeline, 180).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn brokers_that_are_killed_one_after_the_other_lose_nothing() {
    let mut stage = Stage::start().await;
    let scene = Scene { name: "brokers killed", per_second: 100, repeats: seconds_of(100, 30) };
    scene
        .play(workers("brokers-killed"), &mut stage.cluster, async |cluster, pipeline, _| {
            for _ in 0..NODES {
                killed_and_back(cluster, pipeline, 1_500).await;
            }
        })
        .await;
}

/// An operator's upgrade: each node is stopped, started again and waited for until nothing is behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_rolling_restart_of_the_brokers_loses_nothing() {
    let mut stage = Stage::start().await;
    let scene = Scene { name: "brokers restarted in turn", per_second: 100, repeats: seconds_of(100, 20) };
    scene
        .play(workers("brokers-rolling"), &mut stage.cluster, async |cluster, pipeline, _| {
            for node in (1..=NODES).map(i32::from).chain([1]) {
                cluster.stop(node).await.unwrap();
                cluster.restart(node).await.unwrap();
                cluster.whole().await.unwrap();
                more_arrived(pipeline, 300).await;
            }
        })
        .await;
}

/// One node of three is gone and every record wants three: the leader refuses (`NOT_ENOUGH_REPLICAS`), the gateway says 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn writes_that_want_more_replicas_than_there_are_say_503_and_lose_nothing() {
    let mut stage = Stage::start().await;
    let scene = Scene { name: "below min ISR", per_second: 100, repeats: seconds_of(100, 20) };
    let setup = workers("below-min-isr").set("topics.replication_factor", 3).set("topics.min_insync_replicas", 3);
    scene
        .play(setup, &mut stage.cluster, async |cluster, pipeline, application| {
            let node = busiest(cluster, pipeline).await;
            cluster.kill(node).await.unwrap();
            refused(pipeline, application, SOON).await;
            cluster.restart(node).await.unwrap();
            cluster.whole().await.unwrap();
        })
        .await;
}

/// Two nodes of three are gone: no controller, no quorum, nothing can be written at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn two_brokers_of_three_that_are_down_say_503_and_lose_nothing() {
    let mut stage = Stage::start().await;
    let scene = Scene { name: "two of three down", per_second: 100, repeats: seconds_of(100, 30) };
    scene
        .play(workers("two-down"), &mut stage.cluster, async |cluster, pipeline, application| {
            for down in [[1, 2], [2, 3]] {
                for node in down {
                    cluster.kill(node).await.unwrap();
                }
                refused(pipeline, application, SOON).await;
                cluster.restart_both(down).await.unwrap();
                cluster.whole().await.unwrap();
                more_arrived(pipeline, 900).await;
            }
        })
        .await;
}
