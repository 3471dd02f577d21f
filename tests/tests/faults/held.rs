//! A transaction on `seen` that never ends, as one whose markers a broker has lost: a fan-out that takes its partitions over says
//! which one it waits for and stops, and goes on once an operator has ended it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka::{
    Claimed, Connection, Lease, Offsets, Output, Poller, PollerEvent, PollerEvents, PollerOptions, Progress,
    Transaction, Writer, WriterOptions,
};
use kafka_dev::tether::Exit;
use schemas::record::{Headers, OutRecord, TopicPartition};
use schemas::seen;
use testkit::Expect;
use testkit::broker::{self, SharedKafka};
use testkit::pipeline::{Pipeline, Role, Setup};
use testkit::proxy::{Action, Api, Proxy};
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, send, shop};

const SEEN_PARTITIONS: i32 = 4;
/// Longer than any patience: nobody but an operator ends its transaction.
const FOR_EVER: Duration = Duration::from_secs(600);

fn names(from: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

/// What a stranger commits beside its record: offsets of a topic that nobody of this pipeline reads.
async fn lease(pipeline: &Pipeline, id: &str) -> (Poller, PollerEvents, Lease) {
    let topic = pipeline.topics().rejected.to_string();
    let options = PollerOptions::new(format!("group-{id}"), vec![topic], id);
    let (poller, mut events) = Poller::start(pipeline.connection(), options).unwrap();
    let assigned = tokio::time::timeout(SOON, events.next()).await.unwrap();
    let Some(PollerEvent::Assigned { leases }) = assigned else { panic!("{assigned:?}") };
    (poller, events, leases[0].clone())
}

/// Leaves a transaction open on the partition of `seen` that this partition of `events` needs. Its writer is cut off for good.
async fn leave_open(pipeline: &Pipeline, proxy: &Proxy, source: &TopicPartition, id: &str) {
    let connection = Connection::new(&proxy.bootstrap(), &BTreeMap::new()).unwrap();
    let (poller, _events, lease) = lease(pipeline, id).await;
    let options = WriterOptions { transaction_timeout: FOR_EVER, ..WriterOptions::new(id, format!("group-{id}")) };
    let writer = Writer::start(&connection, options, poller.ownership()).await.unwrap();
    let held = TopicPartition::new(Arc::clone(&pipeline.topics().seen), seen::partition(source, SEEN_PARTITIONS));
    let offsets = Offsets::start(pipeline.connection()).unwrap();
    let end = offsets.end(&held).await.unwrap();
    let record = OutRecord {
        topic: Arc::clone(&held.topic),
        partition: Some(held.partition),
        key: Some(seen::key(source)),
        value: Some(seen::encode(&[[7; 16]])),
        headers: Headers::default(),
    };
    let progress = Progress { lease, committed: 0, read_up_to: 0, not_done: Vec::new(), claim: Claimed::Nothing };
    let transaction = Transaction { outputs: vec![Output { lease: 0, record }], progress: vec![progress] };
    let _answer = proxy.on_next(Api::Produce, Action::HoldAnswer);
    let committing = writer.commit(transaction);
    let is_written = || async { (offsets.end(&held).await.ok()? > end).then_some(()) };
    tokio::select! {
        written = eventually("the record", SOON, is_written) => written.unwrap(),
        ended = committing => panic!("committed without the answer to its record: {ended:?}"),
    }
    // Its process is gone, as far as Kafka can see.
    proxy.cut();
    poller.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_on_seen_that_never_ends_is_named_and_stops_its_worker() {
    let setup = Setup::new("held").set("topics.partitions.events", 1).set("topics.partitions.seen", SEEN_PARTITIONS);
    // Of its own: the writer that is cut off would meet the proxies of other tests.
    let folder = tempfile::tempdir().unwrap();
    let broker = broker::start(folder.path(), 1).await.unwrap();
    let proxy = SharedKafka::of(&broker).proxy().unwrap();
    let (mut pipeline, application, _) = shop(setup.on(broker.bootstrap()), 1).await;
    send(&pipeline, &application, names("before", 3)).await;
    arrived(&pipeline, 3).await;
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    let source = TopicPartition::new(Arc::clone(&pipeline.topics().events), 0);
    let id = format!("stranger-{}", uuid::Uuid::new_v4().simple().to_string().split_off(20));
    leave_open(&pipeline, &proxy, &source, &id).await;
    send(&pipeline, &application, names("behind", 3)).await;

    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let process = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let exit = process.ended(SOON * 2).await.unwrap();
    let log = process.log();
    let held = format!("{}/{}", pipeline.topics().seen, seen::partition(&source, SEEN_PARTITIONS));
    assert_eq!(exit, Exit::Code(1), "{log}");
    for named in [&*held, "cannot be read beyond offset", "open-transaction.md"] {
        assert!(log.contains(named), "{named} is not named: {log}");
    }
    assert_eq!(pipeline.endpoint().count("/"), 3, "nothing was sent before the stop");

    // Whoever comes with its id ends the transaction.
    let options = WriterOptions::new(id.as_str(), format!("group-{id}"));
    Writer::start(pipeline.connection(), options, kafka::Ownership::default()).await.unwrap().close().await;
    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    let outcome = pipeline.finish(Expect { unclean: true, ..Expect::default() }).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.repeats), (6, 0));
    drop(proxy);
    broker.kill().await.unwrap();
}
