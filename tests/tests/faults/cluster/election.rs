//! An unclean leader election cuts a log below what was acknowledged, read and committed. What is lost then is lost; it must be
//! noticed and named, and nothing that is accepted afterwards may be skipped.

use kafka::clock::now_ms;
use kafka_dev::tether::Exit;
use testkit::cluster::{Election, Partition};
use testkit::ledger::{self, books::Place};
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, report};
use testkit::wait::eventually;
use testkit::{Cluster, Expect};

use super::{ENDS_WITHIN, Stage};
use crate::scenes::{SOON, arrived, send, shop};

/// Where the fan-out is when the log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    /// It reads: the new leader tells it.
    Runs,
    /// It is down, and the log has grown beyond its committed offset when it is back: only the leader's epoch tells.
    IsDown,
}

/// Events that both replicas have, and events that only one of them has.
const KEPT: usize = 10;
const CUT: usize = 20;
const AFTER: usize = 40;

fn names(from: &'static str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_log_that_an_unclean_election_cuts_is_noticed_and_nothing_after_it_is_skipped() {
    let mut stage = Stage::start().await;
    cut(&mut stage.cluster, Worker::Runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_log_that_was_cut_while_its_worker_was_down_is_noticed_although_it_has_grown() {
    let mut stage = Stage::start().await;
    cut(&mut stage.cluster, Worker::IsDown).await;
}

async fn cut(cluster: &mut Cluster, worker: Worker) {
    let setup = Setup::new("unclean").roles(Role::Gateway, 2).set("topics.partitions.events", 1);
    let setup = setup.set("kafka.session_timeout_ms", 6_000);
    let (mut pipeline, application, _) = shop(setup.on(cluster.bootstrap()), 1).await;
    let pair = on_two_nodes(cluster, &pipeline).await;
    send(&pipeline, &application, names("kept", KEPT)).await;
    cluster.whole().await.unwrap();
    only_the_first_has(cluster, &pipeline, &application, &pair).await;
    if worker == Worker::IsDown {
        pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    }
    elect_the_second(cluster, &pair).await;
    let cut_ms = now_ms();
    // The first gateway has written to what was cut: its next record does not follow the last one that the new leader has.
    for name in names("after", AFTER) {
        accepted(&pipeline, &application, 2, &Event::new(name, "a.b")).await;
    }
    if worker == Worker::IsDown {
        pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    }
    noticed(&mut pipeline, &pair).await;

    let at = KEPT.to_string();
    let set = ["offsets", "set", "fanout", "--topic", "events", "--partition", "0", "--to", &at, "--yes"];
    let alone = || async { pipeline.command(&set).await.is_ok_and(|it| it.status.success()).then_some(()) };
    eventually("an offset that is set: the group has forgotten its member", SOON, alone).await.unwrap();
    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    accepted(&pipeline, &application, 1, &Event::new("by-the-first-gateway", "a.b")).await;
    arrived(&pipeline, (KEPT + CUT + AFTER + 1) as u64).await;
    // A 503 may be followed by the repeat of what was written: the fan-out drops it.
    let expect = Expect { dropped: None, ..Expect::default() };
    let outcome = pipeline.verdict(expect, ENDS_WITHIN).await.unwrap();
    let place = Place { topic: pair.topic.clone(), partition: 0, offset: i64::try_from(KEPT).unwrap() };
    let mut books = outcome.books;
    let mut lost = books.take_out_cut(&place, cut_ms);
    lost.sort();
    let mut known: Vec<String> = names("cut", CUT).collect();
    known.sort();
    assert_eq!(lost, known, "what only the dead leader had is lost, and nothing else");
    let audit = ledger::audit(&books, &expect);
    assert!(audit.balances(), "{audit}");
    report(&format!("unclean election, the fan-out {worker:?}: {} lost as must be, then {audit}", lost.len()));
}

/// Sends an event to a gateway until it is accepted, as a client's SDK does.
async fn accepted(pipeline: &Pipeline, application: &Application, gateway: usize, event: &Event) {
    let client = pipeline.client();
    let ask = || async {
        let answer = client.send(gateway, application, event).await.ok()?;
        match answer.status.as_u16() {
            409 => client.remember(application, event),
            503 => return None,
            // Remembered, or refused for good.
            _ => {}
        }
        Some(answer)
    };
    let answer = eventually("a gateway that accepts", SOON, ask).await.unwrap();
    assert!(matches!(answer.status.as_u16(), 201 | 409), "{:?}", answer.body);
}

/// `events` stands on two nodes, and one of them is enough to accept. Returns its only partition.
async fn on_two_nodes(cluster: &Cluster, pipeline: &Pipeline) -> Partition {
    let topic = pipeline.topics().events.to_string();
    cluster.configure(&topic, "min.insync.replicas", "1").await.unwrap();
    let mut partition = cluster.layout(&[&topic]).await.unwrap().partitions.remove(0);
    partition.replicas.truncate(2);
    cluster.lead(std::slice::from_ref(&partition)).await.unwrap();
    partition
}

/// The second replica dies, events are accepted and delivered all the same.
async fn only_the_first_has(cluster: &mut Cluster, pipeline: &Pipeline, application: &Application, pair: &Partition) {
    let [first, second] = pair.replicas[..] else { unreachable!("two nodes keep it") };
    cluster.kill(second).await.unwrap();
    let ask = || async {
        let now = cluster.layout(&[&pair.topic]).await.ok()?.partitions;
        (now.first()?.in_sync == [first]).then_some(())
    };
    eventually("a leader that is alone", SOON, ask).await.unwrap();
    send(pipeline, application, names("cut", CUT)).await;
    pipeline.settled(SOON).await.unwrap();
}

/// The first replica dies, the second comes back without what it has missed, and leads; then the first follows it.
async fn elect_the_second(cluster: &mut Cluster, pair: &Partition) {
    let [first, second] = pair.replicas[..] else { unreachable!("two nodes keep it") };
    cluster.kill(first).await.unwrap();
    cluster.restart(second).await.unwrap();
    cluster.configure(&pair.topic, "unclean.leader.election.enable", "true").await.unwrap();
    cluster.elect(Election::Unclean, std::slice::from_ref(pair)).await.unwrap();
    cluster.restart(first).await.unwrap();
    cluster.whole().await.unwrap();
}

/// The fan-out has ended by itself, and its last words name the partition and what happened to it.
async fn noticed(pipeline: &mut Pipeline, pair: &Partition) {
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let exit = fanout.ended(SOON).await.unwrap();
    let log = fanout.log();
    assert_eq!(exit, Exit::Code(1), "{}", fanout.log_tail());
    // A reader finds its position refused; who takes the partition over finds its committed offset beyond the end, or other
    // records before it than were read.
    let place = format!("{}/0", pair.topic);
    let said = [
        format!("the log of {place} was cut below offset"),
        format!("of {place} is out of range"),
        format!("{place} was read up to offset {} in leader epoch", KEPT + CUT),
    ];
    assert!(said.iter().any(|said| log.contains(said)), "{said:?}: {}", fanout.log_tail());
}
