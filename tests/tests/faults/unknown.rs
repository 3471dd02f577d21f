//! The outcome of a commit is not known, and at the same moment partitions move: whoever asks what became of the commit may own
//! half of it only, and the other half is busy with its new owner's transactions.

use std::time::Duration;

use testkit::broker::SharedKafka;
use testkit::cluster::Coordinated;
use testkit::pipeline::{Pipeline, Role, Setup, report};
use testkit::proxy::{Action, Api};
use testkit::{Cluster, Expect};

use crate::cluster::{Scene, Stage, transactional_id};
use crate::scenes::{SOON, lasts, more_arrived, shop};

/// Two workers and partitions for both; the second one joins when the scene says so.
async fn leave(pipeline: &mut Pipeline) {
    pipeline.roles().stop(Role::Fanout, 2).await.unwrap();
}

/// The answer to a commit is lost while the second worker takes half of the partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_while_a_worker_joins_doubles_nothing() {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = Setup::new("unknown").roles(Role::Fanout, 2).set("topics.partitions.events", 8);
    let (mut pipeline, application, _) = shop(setup.through(Role::Fanout, 1, &proxy), 3).await;
    leave(&mut pipeline).await;
    let load = pipeline.load(&application, "a.b", 40);
    more_arrived(&pipeline, 120).await;
    for _ in 0..2 {
        let mut lost = proxy.on_next(Api::EndTxn, Action::LoseAnswer);
        pipeline.roles().launch(Role::Fanout, 2).await.unwrap();
        lost.done(SOON).await.unwrap();
        pipeline.roles().ready(Role::Fanout, 2).await.unwrap();
        more_arrived(&pipeline, 240).await;
        leave(&mut pipeline).await;
    }
    let loaded = load.stop().await.unwrap();
    let outcome = pipeline.finish(Expect { dropped: None, ..Expect::default() }).await.unwrap();
    report(&format!("unknown outcome and a rebalance: {} accepted, {}", loaded.accepted, outcome.audit.counts));
}

/// What happens to the node that coordinates a fan-out's transactions.
#[derive(Clone, Copy, Debug)]
enum Coordinator {
    Dies,
    /// For longer than its session: its connections stay open, another node takes its place.
    Freezes,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_coordinator_that_dies_or_freezes_while_a_worker_joins_doubles_nothing() {
    let mut stage = Stage::start().await;
    let scene = Scene { name: "the coordinator goes while a worker joins", per_second: 100, repeats: 100 * 3 * 30 };
    let setup = Setup::new("unknown-coordinator").doubled().set("topics.partitions.events", 8);
    scene
        .play(setup, &mut stage.cluster, async |cluster, pipeline, _| {
            leave(pipeline).await;
            for fault in [Coordinator::Dies, Coordinator::Freezes, Coordinator::Dies, Coordinator::Freezes] {
                joins_meanwhile(cluster, pipeline, fault).await;
            }
        })
        .await;
}

async fn joins_meanwhile(cluster: &mut Cluster, pipeline: &mut Pipeline, fault: Coordinator) {
    let id = transactional_id(pipeline, Role::Fanout, 1);
    let node = cluster.coordinator(Coordinated::Transactions(&id)).await.unwrap();
    match fault {
        Coordinator::Dies => cluster.kill(node).await.unwrap(),
        Coordinator::Freezes => cluster.pause(node).unwrap(),
    }
    pipeline.roles().launch(Role::Fanout, 2).await.unwrap();
    lasts(Duration::from_secs(10)).await;
    match fault {
        Coordinator::Dies => cluster.restart(node).await.unwrap(),
        Coordinator::Freezes => cluster.resume(node).unwrap(),
    }
    cluster.whole().await.unwrap();
    pipeline.roles().ready(Role::Fanout, 2).await.unwrap();
    more_arrived(pipeline, 900).await;
    leave(pipeline).await;
}
