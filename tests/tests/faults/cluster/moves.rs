//! Leaders and coordinators move while everybody lives: nothing is lost, nothing is repeated.

use testkit::Cluster;
use testkit::cluster::Coordinated;
use testkit::pipeline::{Pipeline, Role};

use super::{GROUPS, Scene, Stage, TRANSACTIONS, workers};
use crate::scenes::more_arrived;

/// Every partition of `events` and `deliveries` gets another leader.
pub(super) async fn leaders(cluster: &Cluster, pipeline: &Pipeline) {
    let (events, deliveries) = (pipeline.topics().events.to_string(), pipeline.topics().deliveries.to_string());
    cluster.rotate(&[&events, &deliveries]).await.unwrap();
}

/// Every group and every transactional id gets another coordinator.
pub(super) async fn coordinators(cluster: &Cluster, pipeline: &Pipeline) {
    let (group, id) = (group(pipeline, Role::Fanout), transactional_id(pipeline, Role::Fanout, 1));
    let of = [Coordinated::Group(&group), Coordinated::Transactions(&id)];
    let former = [cluster.coordinator(of[0]).await.unwrap(), cluster.coordinator(of[1]).await.unwrap()];
    cluster.rotate(&[GROUPS, TRANSACTIONS]).await.unwrap();
    for (of, former) in of.into_iter().zip(former) {
        assert_ne!(cluster.coordinator(of).await.unwrap(), former, "{of:?} has moved");
    }
}

/// The consumer group of a role: named after the topics' prefix.
pub(super) fn group(pipeline: &Pipeline, role: Role) -> String {
    format!("{}.{}", installation(pipeline), role.command())
}

/// The transactional id of a worker.
pub(crate) fn transactional_id(pipeline: &Pipeline, role: Role, number: usize) -> String {
    format!("{}-{}-{number}", installation(pipeline), role.command())
}

fn installation(pipeline: &Pipeline) -> &str {
    let events: &str = &pipeline.topics().events;
    events.split_once('.').map_or(events, |(prefix, _)| prefix)
}

/// Sessions live on and clients follow: a request that is repeated would have been sent by a worker that lost a partition for
/// no reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn leaders_and_coordinators_that_move_six_times_cost_nothing() {
    let mut stage = Stage::start().await;
    let scene = Scene { name: "leaders move", per_second: 100, repeats: 0 };
    scene
        .play(workers("leaders"), &mut stage.cluster, async |cluster, pipeline, _| {
            for _ in 0..6 {
                leaders(cluster, pipeline).await;
                more_arrived(pipeline, 600).await;
            }
        })
        .await;
    let scene = Scene { name: "coordinators move", ..scene };
    scene
        .play(workers("coordinators"), &mut stage.cluster, async |cluster, pipeline, _| {
            for _ in 0..6 {
                coordinators(cluster, pipeline).await;
                more_arrived(pipeline, 600).await;
            }
        })
        .await;
}
