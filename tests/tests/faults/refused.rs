//! What Kafka will not take, or give: records too large for a topic, several in one transaction; topics that are not there;
//! permissions that were taken back.

use std::time::Duration;

use kafka_dev::tether::Exit;
use serde_json::json;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Event, Role, Setup, console};
use testkit::strict::{self, Unsaid};
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, send, shop, status_of};

fn names(from: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

/// An operator has lowered the limit of `deliveries` below what the fan-out writes at once. Events above it are rejected; that
/// they all stand in one transaction, beside many that are only too large together, keeps nobody waiting.
async fn limit_lowered(limit: usize, small: usize, large: usize) {
    let setup = Setup::new("refused").set("topics.partitions.events", 1).set("topics.partitions.deliveries", 1);
    let (mut pipeline, application, _) = shop(setup, 1).await;
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    let deliveries = pipeline.topics().deliveries.to_string();
    console::configure_topic(&brokers, &deliveries, &format!("max.message.bytes={limit}")).await.unwrap();
    // One backlog, so that they come together.
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    let small = names("small", small).map(|name| Event::new(name, "a.b").sized(500));
    let large_events = names("large", large).map(|name| Event::new(name, "a.b").sized(limit + 1_000));
    let mut events: Vec<Event> = small.chain(large_events).collect();
    // Spread, not at the end.
    events.sort_by_key(|event| event.id.chars().rev().collect::<String>());
    pipeline.publish(&application, &events).await.unwrap();
    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    let expect = Expect { rejected: large, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, Duration::from_secs(120)).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, events.len() - large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_records_that_are_refused_in_one_transaction_are_rejected_and_the_rest_goes_on() {
    limit_lowered(4_000, 100, 3).await;
}

/// A full batch of which no single record is at fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn full_batches_above_a_lowered_limit_get_through() {
    limit_lowered(100_000, 8_000, 8).await;
}

/// A topic that a role writes is missing: the role ends at once and says which, and what creates it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_whose_topic_is_missing_says_which_one_at_its_start() {
    let mut pipeline = Setup::new("missing-topic").topics_only().await.unwrap();
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    let missing = pipeline.topics().dead_letters.to_string();
    console::delete_topic(&brokers, &missing).await.unwrap();
    pipeline.roles().launch(Role::Delivery, 1).await.unwrap();
    let delivery = pipeline.roles().process(Role::Delivery, 1).unwrap();
    let ended = delivery.ended(SOON).await;
    let log = delivery.log();
    // Nothing was sent: there is nothing the ledger could compare.
    drop(pipeline.verdict(Expect { waiting: 1, ..Expect::default() }, SOON).await);
    assert_eq!(ended.unwrap(), Exit::Code(1), "{log}");
    assert!(log.contains(&missing) && log.contains("topics ensure"), "{log}");
}

/// The fan-out may not write `deliveries` any more, in the middle of its work. It ends and names the topic; with the permission
/// back it goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_whose_permission_is_taken_back_names_the_topic_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (kafka, users) = strict::start(folder.path(), &["fanout"], Unsaid::Allowed).await.unwrap();
    let setup = Setup::new("revoked").on(kafka.bootstrap());
    let setup = setup.environment(Role::Fanout, strict::user("fanout", &users));
    let (mut pipeline, application, _) = shop(setup, 1).await;
    send(&pipeline, &application, names("before", 3)).await;
    arrived(&pipeline, 3).await;
    let deliveries = pipeline.topics().deliveries.to_string();
    let rule = ["--deny-principal", "User:fanout", "--operation", "Write", "--topic", &deliveries];
    console::acls(&kafka.bootstrap(), &[&["--add"], &rule[..]].concat()).await.unwrap();
    send(&pipeline, &application, names("during", 3)).await;
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let (ended, log) = (fanout.ended(SOON).await, fanout.log());
    console::acls(&kafka.bootstrap(), &[&["--remove", "--force"], &rule[..]].concat()).await.unwrap();
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 6);
    assert_eq!(ended.unwrap(), Exit::Code(1), "{log}");
    assert!(log.contains(&deliveries), "it does not say what it may not write: {log}");
}

/// A delay topic that the scheduler may not read any more: what waits there waits on, whatever happens to the scheduler, and its others
/// are promoted all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_topic_that_may_not_be_read_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (kafka, users) = strict::start(folder.path(), &["retry"], Unsaid::Allowed).await.unwrap();
    let setup = Setup::new("denied-tier").on(kafka.bootstrap());
    let setup = setup.environment(Role::Retry, strict::user("retry", &users));
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let mut waits_for = async |delay: &str| {
        let made = pipeline.subscribe(&application, &["a.b"], json!({ "retry": [delay] })).await.unwrap();
        pipeline.endpoint().script(&made.path, "500 204").unwrap();
        made.path
    };
    let (short, long) = (waits_for("1s").await, waits_for("5s").await);
    let came = async |pipeline: &testkit::pipeline::Pipeline, path: &str, count: u64| {
        pipeline.endpoint().wait_for(path, count, SOON).await.unwrap();
    };
    send(&pipeline, &application, names("before", 1)).await;
    came(&pipeline, &short, 2).await;
    came(&pipeline, &long, 2).await;

    let topic = pipeline.topics().retry("5s").to_string();
    // A topic that one rule speaks of is closed to whatever no rule allows.
    let all = ["--add", "--allow-principal", "User:retry", "--operation", "All", "--topic", &topic];
    console::acls(&kafka.bootstrap(), &all).await.unwrap();
    let rule = ["--deny-principal", "User:retry", "--operation", "Read", "--topic", &topic];
    console::acls(&kafka.bootstrap(), &[&["--add"], &rule[..]].concat()).await.unwrap();
    send(&pipeline, &application, names("during", 1)).await;
    came(&pipeline, &short, 4).await;
    let retry = &*pipeline.roles().process(Role::Retry, 1).unwrap();
    let denied = || async { (retry.metric("hookbus_stage_denied_topics").await.ok()? >= 1.0).then_some(()) };
    eventually("the denied topic is counted", SOON, denied).await.unwrap();
    // Who takes over begins its others.
    pipeline.roles().stop(Role::Retry, 1).await.unwrap();
    pipeline.roles().launch(Role::Retry, 1).await.unwrap();
    send(&pipeline, &application, names("next", 1)).await;
    came(&pipeline, &short, 6).await;
    let retry = pipeline.roles().process(Role::Retry, 1).unwrap();
    assert_eq!(retry.exit().unwrap(), None, "{}", retry.log());
    let log = retry.log();
    let lively = status_of(&mut pipeline, Role::Retry, "/livez").await;
    assert!(lively == 200 && log.contains(&topic), "{log}");
    assert_eq!(pipeline.endpoint().count(&long), 4, "two of three wait for what may not be read");

    console::acls(&kafka.bootstrap(), &[&["--remove", "--force"], &rule[..]].concat()).await.unwrap();
    came(&pipeline, &long, 6).await;
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 6);
    kafka.kill().await.unwrap();
}
