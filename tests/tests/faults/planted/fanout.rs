//! Planted bugs of the fan-out and of what it reads with.

use schemas::invariants::Invariant;
use schemas::planted::PlantedBug;
use serde_json::json;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::ledger::{Audit, Violation};
use testkit::pipeline::{Event, Pipeline, Role, console};
use testkit::proxy::{Action, Api};
use testkit::wait::eventually;

use super::{assert_red, ends_within, names, planted};
use crate::scenes::{SOON, arrived, send, shop};

const MIB: usize = 1_024 * 1_024;

/// An event is repeated after the fan-out was restarted, while a stranger's open transaction holds back `seen`.
async fn repeated_after_a_restart(bug: Option<PlantedBug>) -> Audit {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = planted("seen", bug).roles(Role::Gateway, 2);
    let (mut pipeline, application, _) = shop(setup, 1).await;
    let open = open_transaction_in_seen(&pipeline, &proxy).await;
    send(&pipeline, &application, names("x", 3)).await;
    arrived(&pipeline, 3).await;
    pipeline.settled(SOON).await.unwrap();
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let client = pipeline.client();
    for name in names("x", 3) {
        assert_eq!(client.send(2, &application, &Event::new(name, "a.b")).await.unwrap().status, 201);
    }
    pipeline.roles().ready(Role::Fanout, 1).await.unwrap();
    let audit = pipeline.verdict(Expect { dropped: Some(3), ..Expect::default() }, SOON).await.unwrap().audit;
    drop(open);
    audit
}

/// A writer that has begun and was cut off before its commit: until its timeout nobody reads past it.
async fn open_transaction_in_seen(pipeline: &Pipeline, proxy: &testkit::Proxy) -> kafka::ExclusiveWriter {
    let through = kafka::Connection::new(&proxy.bootstrap(), &std::collections::BTreeMap::new()).unwrap();
    let id = format!("{}-stranger", pipeline.topics().seen);
    let writer = kafka::ExclusiveWriter::start(&through, &id, 1_048_588).await.unwrap();
    writer.acquire().await.unwrap();
    let mut cut = proxy.on_next(Api::EndTxn, Action::CloseForRequest);
    let record = schemas::record::OutRecord {
        topic: std::sync::Arc::clone(&pipeline.topics().seen),
        partition: Some(0),
        key: Some(bytes::Bytes::from_static(b"elsewhere/0")),
        value: Some(schemas::seen::encode(&[])),
        headers: schemas::record::Headers::default(),
    };
    let writing = writer.write(vec![record]);
    tokio::select! {
        written = writing => panic!("the commit got through: {written:?}"),
        met = cut.met(SOON) => met.unwrap(),
    }
    proxy.cut();
    writer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restoring_seen_to_a_stale_end_turns_the_ledger_red() {
    let sound = repeated_after_a_restart(None).await;
    assert!(sound.balances(), "{sound}");
    let planted = repeated_after_a_restart(Some(PlantedBug::StaleSeenEnd)).await;
    assert_red(&planted, PlantedBug::StaleSeenEnd, Invariant::FansOutOnce);
}

/// The fan-out's snapshot stands still while a subscription is created; events that come then must wait for it.
async fn sent_before_the_snapshot_has_it(bug: Option<PlantedBug>) -> Audit {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let (mut pipeline, application, known) = shop(planted("index", bug).through(Role::Fanout, 1, &proxy), 1).await;
    let mut snapshot = proxy.on_next_of("hookbus-tail", Api::Fetch, Action::HoldAnswer);
    snapshot.done(SOON).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    send(&pipeline, &application, names("x", 3)).await;
    if bug.is_some() {
        pipeline.endpoint().wait_for(&known[0].path, 3, SOON).await.unwrap();
    }
    snapshot.release();
    pipeline.verdict(Expect::default(), SOON).await.unwrap().audit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matching_without_the_read_index_turns_the_ledger_red() {
    let sound = sent_before_the_snapshot_has_it(None).await;
    assert!(sound.balances() && sound.counts.delivered == 6, "{sound}");
    let planted = sent_before_the_snapshot_has_it(Some(PlantedBug::ReadIndexSkipped)).await;
    assert_red(&planted, PlantedBug::ReadIndexSkipped, Invariant::OneTerminalState);
}

/// The events topic is deleted and made anew. The ledger of such a run cannot balance: the old records are gone with their topic.
/// What it tells is whether the new ones were fanned out.
async fn recreated(bug: Option<PlantedBug>) -> Audit {
    let (pipeline, application, _) = shop(planted("topic-id", bug), 1).await;
    send(&pipeline, &application, names("old", 20)).await;
    arrived(&pipeline, 20).await;
    pipeline.settled(SOON).await.unwrap();
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    let topic = pipeline.topics().events.to_string();
    console::delete_topic(&brokers, &topic).await.unwrap();
    console::create_topic(&brokers, &topic, 2, &["message.timestamp.type=LogAppendTime"]).await.unwrap();
    let client = pipeline.client();
    for name in names("new", 4) {
        let event = Event::new(name, "a.b");
        let accepted = || async {
            let status = client.send(1, &application, &event).await.ok()?.status.as_u16();
            (status == 201 || status == 409).then_some(())
        };
        eventually("the gateway accepts again", SOON, accepted).await.unwrap();
    }
    if bug.is_none() {
        arrived(&pipeline, 24).await;
    }
    pipeline.verdict(Expect::default(), ends_within(bug)).await.unwrap().audit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_topic_that_is_taken_for_the_old_one_turns_the_ledger_red() {
    let is_lost = |it: &Violation| {
        it.invariant == Some(Invariant::OneTerminalState)
            && it.what.contains("of event new-")
            && it.what.contains("written 0")
    };
    let sound = recreated(None).await;
    assert!(!sound.violations.iter().any(is_lost) && sound.counts.delivered == 24, "{sound}");
    let planted = recreated(Some(PlantedBug::TopicIdIgnored)).await;
    assert!(planted.violations.iter().any(is_lost), "it went unnoticed: {planted}");
}

/// Until the log of a role says this.
async fn says(pipeline: &mut Pipeline, role: Role, words: &str) {
    let process = pipeline.roles().process(role, 1).unwrap();
    let said = || async { process.log().contains(words).then_some(()) };
    eventually(words, SOON, said).await.unwrap();
}

/// A commit hangs, the next batch gets full by bytes, and the session is lost: everything in it is taken out again.
async fn lost_with_a_full_batch(bug: Option<PlantedBug>) -> Audit {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = planted("full-batch", bug)
        .through(Role::Fanout, 1, &proxy)
        .set("fanout.batch_bytes", 65_536)
        .set("kafka.session_timeout_ms", 6_000);
    let (mut pipeline, application, _) = shop(setup, 1).await;
    send(&pipeline, &application, names("before", 3)).await;
    arrived(&pipeline, 3).await;
    let mut commit = proxy.on_next(Api::EndTxn, Action::HoldAnswer);
    let events: Vec<Event> = names("during", 100).map(|name| Event::new(name, "a.b").sized(4_096)).collect();
    pipeline.publish(&application, &events).await.unwrap();
    commit.done(SOON).await.unwrap();
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    // More than the first transaction can have: the second batch is being filled, and full a moment later.
    let planned = || async { (fanout.metric("hookbus_fanout_dedup_ids").await.ok()? >= 23.0).then_some(()) };
    eventually("planned events", SOON, planned).await.unwrap();
    proxy.cut();
    says(&mut pipeline, Role::Fanout, "partitions lost").await;
    commit.release();
    proxy.restore();
    pipeline.verdict(Expect::default(), ends_within(bug)).await.unwrap().audit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_keeps_the_bytes_of_what_was_revoked_turns_the_ledger_red() {
    let sound = lost_with_a_full_batch(None).await;
    assert!(sound.balances(), "{sound}");
    let planted = lost_with_a_full_batch(Some(PlantedBug::BytesKept)).await;
    assert_red(&planted, PlantedBug::BytesKept, Invariant::OneTerminalState);
}

/// Events of the backlog, and the bytes of each: together far above what the limits leave to the fan-out.
const EVENTS: usize = 450;
const BYTES: usize = 384 * 1_024;

/// The fan-out cannot commit, and far more events are there than it may read.
async fn backlog_of_the_fanout(bug: Option<PlantedBug>) -> Audit {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let mut setup = planted("fanout-backlog", bug).through(Role::Fanout, 1, &proxy);
    for (key, value) in [
        ("topics.partitions.events", 1),
        ("fanout.live_bytes", MIB),
        ("fanout.live_records", 20),
        ("fanout.batch_bytes", MIB),
        ("kafka.transaction_timeout_ms", 60_000),
    ] {
        setup = setup.set(key, i64::try_from(value).unwrap());
    }
    let (mut pipeline, application, _) = shop(setup, 1).await;
    send(&pipeline, &application, names("before", 3)).await;
    arrived(&pipeline, 3).await;
    let mut commit = proxy.on_next(Api::EndTxn, Action::HoldAnswer);
    for part in names("evt", EVENTS).collect::<Vec<_>>().chunks(20) {
        let events = part.iter().map(|name| Event::new(name, "a.b").sized(BYTES));
        pipeline.publish(&application, &events.collect::<Vec<_>>()).await.unwrap();
    }
    commit.done(SOON).await.unwrap();
    if bug.is_some() {
        let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
        let has_read_it = || async { (fanout.resident() > (EVENTS * BYTES) as u64).then_some(()) };
        eventually("a fan-out that holds everything", SOON, has_read_it).await.unwrap();
    }
    commit.release();
    pipeline.verdict(Expect::default(), SOON).await.unwrap().audit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fanout_that_reads_beyond_its_credit_turns_the_ledger_red() {
    let sound = backlog_of_the_fanout(None).await;
    assert!(sound.balances(), "{sound}");
    let planted = backlog_of_the_fanout(Some(PlantedBug::CreditIgnored)).await;
    let tells = |it: &Violation| it.invariant == Some(Invariant::BoundedMemory) && it.what.contains("fanout-1");
    assert!(planted.violations.iter().any(tells), "it went unnoticed: {planted}");
}
