//! Topics that may not be read or written: one that is denied is named, and keeps no other from its work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka::{Connection, KafkaError, Output, Poller, PollerOptions, Window, Writer, WriterOptions};
use testkit::pipeline::console;
use testkit::strict::{self, Unsaid};
use testkit::wait::eventually;

use crate::support::{Worker, World, progress, record, soon, spec, transaction};

/// A rule that the controller has taken is the broker's at once.
const WITHIN: Duration = Duration::from_secs(60);

/// A connection as this user.
fn connection(user: &str, brokers: &str) -> Connection {
    let variables = strict::user(user, brokers).into_iter();
    let properties: BTreeMap<String, String> = variables
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("HOOKBUS__KAFKA__PROPERTIES__")?;
            Some((name.to_lowercase().replace('_', "."), value))
        })
        .collect();
    Connection::new(brokers, &properties).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_denied_is_named_and_ends_no_takeover_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, brokers) = strict::start(folder.path(), &["worker"], Unsaid::Allowed).await.unwrap();
    let world = World::at(&broker.bootstrap(), 1, 1).await;
    let denied: Arc<str> = Arc::from(format!("denied-{}", world.input));
    let plan = kafka::topics::ensure(&world.connection, &[spec(&denied, 1, &[])]).await.unwrap();
    let (read, timeout) = ([&*denied], Duration::from_secs(60));
    kafka::group::begin(&world.connection, &world.group, &read, &plan.created, timeout).await.unwrap();
    let as_worker = connection("worker", &brokers);
    let topics = vec![world.input.to_string(), denied.to_string()];
    let (poller, events) =
        Poller::start(&as_worker, PollerOptions::new(world.group.as_str(), topics, world.slot("worker"))).unwrap();
    let options = WriterOptions::new(world.slot("worker"), world.group.as_str());
    let writer = Writer::start(&as_worker, options, poller.ownership()).await.unwrap();
    let mut worker = Worker { poller, events, writer };
    let leases = worker.leases().await;
    assert_eq!(leases.len(), 2, "both are assigned before anything is denied");

    // A topic that one rule speaks of is closed to whatever no rule allows; who may read may describe.
    let rule = async |side: &str, operation: &str| {
        let rule = ["--add", side, "User:worker", "--operation", operation, "--topic", &*denied];
        console::acls(&broker.bootstrap(), &rule).await.unwrap();
    };
    let begun = async || {
        let restored = soon("the takeover", worker.writer.take_over(leases.clone())).await.unwrap();
        restored.into_iter().map(|restored| restored.lease.partition.topic).collect::<BTreeSet<Arc<str>>>()
    };
    let input = leases.iter().find(|lease| lease.partition.topic == world.input).unwrap();
    let refused = async || {
        let refusal = eventually("a refusal, once the rule is the broker's", WITHIN, async || {
            let window = Window::restore(0, 0, Vec::new());
            let mut both = transaction(&world, input, &window, vec!["good".to_owned()]);
            both.outputs.push(Output { lease: 0, record: record(&denied, 0, "denied") });
            soon("the commit", worker.writer.commit(both)).await.err()
        });
        refusal.await.unwrap().to_string()
    };
    let is_named = |refused: &str| {
        refused.contains(&format!("may not write to {denied})")) && !refused.contains(&*world.output.to_string())
    };
    rule("--allow-principal", "Read").await;
    assert_eq!(begun().await.len(), 2, "what may be read begins, whether or not it may be written");
    let told = refused().await;
    assert!(is_named(&told), "no rule allows to write: {told}");
    rule("--deny-principal", "Write").await;
    let told = refused().await;
    assert!(is_named(&told), "a rule denies to write: {told}");

    // Who may only describe it, as who may write it, cannot commit in it: Kafka would refuse the claim of all.
    let only = BTreeSet::from([Arc::clone(&input.partition.topic)]);
    rule("--deny-principal", "Read").await;
    eventually("the rule to reach the broker", WITHIN, async || (begun().await == only).then_some(())).await.unwrap();
    assert_eq!(worker.writer.denied_topics(), BTreeSet::from([Arc::clone(&denied)]));
    // Nor does its offset refuse a transaction of the others: that goes without it, and its lease is to start over.
    let not_read = leases.iter().find(|lease| lease.partition.topic == denied).unwrap();
    let window = Window::restore(0, 0, Vec::new());
    let mut both = transaction(&world, input, &window, vec!["goes on".to_owned()]);
    both.progress.push(progress(not_read, &window));
    let committed = soon("the commit without it", worker.writer.commit(both)).await.unwrap();
    assert_eq!(committed.dropped, std::slice::from_ref(not_read));
    worker.poller.deny(&denied);
    assert_eq!(worker.poller.denied_topics(), [Arc::clone(&denied)], "the role goes on with the other one");

    rule("--deny-principal", "Describe").await;
    eventually("the rule to reach the broker", WITHIN, async || (begun().await == only).then_some(())).await.unwrap();
    let told = refused().await;
    assert!(is_named(&told), "what may not be described may not be written either: {told}");
    // Once it may be read it is told no longer, though nothing of it was fetched here.
    assert_eq!(worker.poller.denied_topics(), [Arc::clone(&denied)]);
    for operation in ["Describe", "Read"] {
        let rule =
            ["--remove", "--force", "--deny-principal", "User:worker", "--operation", operation, "--topic", &*denied];
        console::acls(&broker.bootstrap(), &rule).await.unwrap();
    }
    let is_forgotten = async || worker.poller.denied_topics().is_empty().then_some(());
    eventually("the topic to be read again", WITHIN, is_forgotten).await.unwrap();
    worker.close().await;
    broker.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_may_not_be_described_are_denied_and_not_taken_for_settings_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, brokers) = strict::start(folder.path(), &["worker"], Unsaid::Allowed).await.unwrap();
    let world = World::at(&broker.bootstrap(), 1, 1).await;
    let as_worker = connection("worker", &brokers);
    let setting = async || kafka::topics::setting(&as_worker, &world.input, "retention.ms").await;
    assert!(setting().await.unwrap().is_some());
    // A topic that one rule speaks of is closed to whatever no rule allows.
    let rule = ["--add", "--allow-principal", "User:worker", "--operation", "Describe", "--topic", &*world.input];
    console::acls(&broker.bootstrap(), &rule).await.unwrap();
    let refused = eventually("a refusal", WITHIN, async || setting().await.err()).await.unwrap();
    assert!(refused.is_denied(), "{refused}");
    // Their numbers of partitions are seen, and compared.
    let plan = kafka::topics::plan(&as_worker, &[spec(&world.input, 2, &[("retention.ms", "5")])]).await.unwrap();
    assert_eq!(plan.unseen, [world.input.to_string()]);
    assert_eq!(plan.differing.iter().map(|it| &*it.property).collect::<Vec<_>>(), ["partitions"]);
    let missing = kafka::topics::setting(&as_worker, "no-such-topic", "retention.ms").await;
    assert!(matches!(missing, Err(KafkaError::NoTopic { .. })), "{missing:?}");
    broker.kill().await.unwrap();
}
