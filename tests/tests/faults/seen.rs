//! A fan-out worker that starts again while `seen` holds more identities than it may remember: it reads from the window's edge,
//! keeps the newest, and says how many left early.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kafka::clock::now_ms;
use kafka::{BareProducer, Connection, KafkaError, Producer, ProducerOptions};
use schemas::header;
use schemas::identity::{event_uuid, gateway_source};
use schemas::murmur2::partition_for;
use schemas::record::{Headers, OutRecord, TopicPartition};
use schemas::seen::{self, Hash};
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::ledger::memory::{RESIDENT, identities_limit};
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, report};
use testkit::supervisor::Process;
use testkit::wait::eventually;

use crate::scenes::{SOON, arrived, send, within};

const IDS: &str = "hookbus_fanout_dedup_ids";
const EVICTED: &str = "hookbus_fanout_dedup_evicted_total";
const HOUR_MS: i64 = 3_600_000;
const MIB: u64 = 1_024 * 1_024;
/// Records on their way to `seen` at once.
const ON_THEIR_WAY: usize = 4_000;

/// Budget of the short form, the least that can be set.
const BUDGET: u32 = 1_000;
/// Records of one identity each: more than are read without a look for the window's edge.
const RECORDS: u32 = 2_100;

/// Of the long form.
const IDENTITIES: u64 = 80_000_000;
const IDENTITIES_OF_RECORD: u64 = 1_000;
const EVENT_PARTITIONS: u16 = 8;
const SEEN_PARTITIONS: i32 = 16;
const READY_MS: i64 = 60_000;
const READY_AT_ALL: Duration = Duration::from_secs(400);
/// What a restore holds beside the identities: what its consumer has fetched, and what waits between the threads.
const READ_AHEAD: u64 = 48 * MIB;
/// What the allocator has not given back yet of what the table freed as its parts doubled the last time. It keeps that for ten
/// seconds, half of the table at most; 30 MiB were seen, and gone five seconds later. A second table, were there one, has 263.
const FREED: u64 = 64 * MIB;

/// Writes what a fan-out worker writes to `seen`, many records at once.
struct Filler {
    producer: Producer,
    topic: Arc<str>,
    partitions: i32,
    sent: VecDeque<kafka::Acknowledgement>,
}

impl Filler {
    fn new(connection: &Connection, topic: &Arc<str>, partitions: i32) -> Self {
        let mut options = ProducerOptions::new("filler");
        options.linger = Duration::from_millis(20);
        options.message_timeout = Duration::from_secs(60);
        options.queue_bytes = 256 << 20;
        let producer = Producer::start(connection, options).unwrap();
        Self { producer, topic: Arc::clone(topic), partitions, sent: VecDeque::new() }
    }

    async fn write(&mut self, source: &TopicPartition, accepted_ms: i64, ids: &[Hash]) {
        let record = accepted(&self.topic, self.partitions, source, accepted_ms, ids);
        let acknowledged = loop {
            let sent = self.producer.send(&record);
            if !matches!(sent, Err(KafkaError::QueueFull { .. })) {
                break sent.unwrap();
            }
            self.one_is_written().await;
        };
        self.sent.push_back(acknowledged);
        if self.sent.len() > ON_THEIR_WAY {
            self.one_is_written().await;
        }
    }

    async fn one_is_written(&mut self) {
        self.sent.pop_front().expect("something is on its way").await.unwrap();
    }

    async fn end(mut self) {
        while !self.sent.is_empty() {
            self.one_is_written().await;
        }
    }
}

/// The record of `seen` of what one partition accepted in one transaction, as the fan-out worker writes it.
fn accepted(topic: &Arc<str>, partitions: i32, source: &TopicPartition, accepted_ms: i64, ids: &[Hash]) -> OutRecord {
    let mut headers = Headers::builder(1, 32);
    headers.push_i64(header::ACCEPTED, accepted_ms);
    OutRecord {
        topic: Arc::clone(topic),
        partition: Some(seen::partition(source, partitions)),
        key: Some(seen::key(source)),
        value: Some(seen::encode(&ids.iter().map(|id| (*id, 0)).collect::<Vec<_>>())),
        headers: headers.build(),
    }
}

/// Of an event with this id.
fn identity(application: &Application, id: &str) -> Hash {
    event_uuid(application.id, &gateway_source(application.id), id).into_bytes()
}

/// Of no event at all: well mixed, as hashes are.
fn number(number: u64) -> Hash {
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    let low = mix(number.wrapping_mul(2).wrapping_add(1));
    let mut id = [0; 16];
    id[..8].copy_from_slice(&low.to_be_bytes());
    id[8..].copy_from_slice(&mix(low ^ number).to_be_bytes());
    id
}

/// Every role but the fan-out, an application and a subscription.
async fn without_fanout(setup: Setup) -> (Pipeline, Application) {
    let mut pipeline = setup.topics_only().await.unwrap();
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Fanout) {
        pipeline.roles().start(role, 1).await.unwrap();
    }
    let application = pipeline.application(&["a.b"]).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], serde_json::json!({ "retry": "quick" })).await.unwrap();
    (pipeline, application)
}

/// Writes with a time of its own to a topic that takes that. The broker goes by a new property a moment later, so another
/// partition is asked first, with a record of no source: that partition is restored too where it has what `retried` accepted.
async fn write_dated(pipeline: &Pipeline, dated: &[(i64, OutRecord)], probed: i32) {
    let topic = pipeline.topics().seen.to_string();
    let kafka = SharedKafka::of_this_run().unwrap();
    kafka.configure(&topic, "message.timestamp.type", "CreateTime").await.unwrap();
    let producer = BareProducer::start(pipeline.connection(), &ProducerOptions::new("dated")).unwrap();
    let probe = OutRecord { partition: Some(probed), key: Some("no source".into()), ..dated[0].1.clone() };
    let asked = || async {
        let written = producer.send_dated(&probe, dated[0].0).await.ok()?;
        (written.timestamp_ms == dated[0].0).then_some(())
    };
    eventually("times of the producer", SOON, asked).await.unwrap();
    for (at_ms, record) in dated {
        let written = producer.send_dated(record, *at_ms).await.unwrap();
        assert_eq!((written.timestamp_ms, Some(written.partition)), (*at_ms, record.partition));
    }
}

/// Waits until a counter and a gauge of what was restored have come to a sum.
async fn restored(process: &Process, all: f64) -> (f64, f64) {
    let asked = || async {
        let (ids, evicted) = (process.metric(IDS).await.ok()?, process.metric(EVICTED).await.ok()?);
        (ids + evicted).total_cmp(&all).is_eq().then_some((ids, evicted))
    };
    eventually(&format!("{all} identities, remembered or evicted"), SOON, asked).await.unwrap()
}

/// What stands before the window's edge is not read: a record that says it is new, and was written long before, would be known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fanout_that_starts_again_reads_from_the_windows_edge_and_keeps_the_newest() {
    let setup = Setup::new("seen").set("topics.partitions.events", 1).set("topics.partitions.seen", 2);
    let setup = setup.set("fanout.dedup_window_hours", 1).set("fanout.dedup_ids", i64::from(BUDGET));
    let (mut pipeline, application) = without_fanout(setup).await;
    let (topics, now) = (pipeline.topics().clone(), now_ms());
    let source = TopicPartition::new(Arc::clone(&topics.events), 0);
    let partition = seen::partition(&source, 2);
    let of = |accepted_ms, id| accepted(&topics.seen, 2, &source, accepted_ms, &[identity(&application, id)]);
    let dated =
        [(now - 6 * HOUR_MS, of(now, "before the edge")), (now - 2 * HOUR_MS, of(now - 2 * HOUR_MS, "outside"))];
    write_dated(&pipeline, &dated, 1 - partition).await;

    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    send(&pipeline, &application, ["known".to_owned()]).await;
    arrived(&pipeline, 1).await;
    pipeline.settled(SOON).await.unwrap();
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();

    let mut filler = Filler::new(pipeline.connection(), &topics.seen, 2);
    filler.write(&source, now, &[identity(&application, "evicted")]).await;
    for other in 1..RECORDS {
        filler.write(&source, now, &[number(other.into())]).await;
    }
    filler.write(&source, now, &[identity(&application, "known")]).await;
    filler.end().await;

    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    // `known` twice: its first record was evicted before the second came.
    let (ids, evicted) = restored(fanout, f64::from(RECORDS + 2)).await;
    assert!(ids > 0.0 && ids <= f64::from(BUDGET), "{ids} remembered");
    assert!(evicted >= f64::from(RECORDS + 2 - BUDGET), "{evicted} evicted");
    let events = ["known", "evicted", "outside", "before the edge"].map(|id| Event::new(id, "a.b"));
    pipeline.publish(&application, &events).await.unwrap();
    // The first time, and three that are no repeats.
    arrived(&pipeline, 4).await;
    let outcome = pipeline.finish(Expect { dropped: Some(1), ..Expect::default() }).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 4);
}

/// Outcome 5 of the foundation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn eighty_million_identities_are_restored_within_the_budget_and_60_s() {
    let setup = Setup::new("identities").set("topics.partitions.events", i64::from(EVENT_PARTITIONS));
    let setup = setup.set("topics.partitions.seen", i64::from(SEEN_PARTITIONS));
    let (mut pipeline, application) = without_fanout(setup).await;
    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    send(&pipeline, &application, ["known".to_owned()]).await;
    arrived(&pipeline, 1).await;
    pipeline.settled(SOON).await.unwrap();
    // What it takes beside the identities, with everything it has ever done in it.
    let beside = pipeline.roles().process(Role::Fanout, 1).unwrap().resident();
    pipeline.roles().stop(Role::Fanout, 1).await.unwrap();
    let started_ms = now_ms();
    fill(&pipeline, &application).await;
    report(&format!("{IDENTITIES} identities were written in {} ms", now_ms() - started_ms));

    let started_ms = now_ms();
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    pipeline.roles().process(Role::Fanout, 1).unwrap().ready(READY_AT_ALL).await.unwrap();
    let took_ms = now_ms() - started_ms;
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let all = f64::from(u32::try_from(IDENTITIES).unwrap()) + 2.0 + 1.0;
    let (ids, evicted) = restored(fanout, all).await;
    let resident = fanout.resident();
    let log = fanout.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("identities restored")).collect();
    report(&format!("{ids} are remembered, {evicted} left early\n{}", said.join("\n")));
    let events = ["known", "evicted"].map(|id| Event::new(id, "a.b"));
    pipeline.publish(&application, &events).await.unwrap();
    arrived(&pipeline, 2).await;
    let outcome = pipeline.finish(Expect { dropped: Some(1), ..Expect::default() }).await.unwrap();

    let of_ledger = outcome.books.memory.iter().find(|it| it.what == RESIDENT && it.process == "fanout-1").unwrap();
    let config = chassis::config::Config::for_tests();
    assert_eq!(config.fanout.dedup_ids, 10_000_000, "the default");
    let limit = beside + identities_limit(&config) + READ_AHEAD + FREED;
    report(&format!(
        "resident at most {} MiB: {} MiB beside the identities, limit {} MiB, margin {} MiB; the ledger's limit is {} MiB",
        resident / MIB,
        beside / MIB,
        limit / MIB,
        (i128::from(limit) - i128::from(resident)) / i128::from(MIB),
        of_ledger.limit / MIB
    ));
    assert!(resident <= limit, "{resident} bytes are resident, more than {limit}");
    within(&format!("80 million identities ({}): ready", profile()), took_ms, READY_MS);
}

/// `evicted` first, 80 million others as if they were accepted as they are written, `known` last.
async fn fill(pipeline: &Pipeline, application: &Application) {
    let topics = pipeline.topics();
    let mut filler = Filler::new(pipeline.connection(), &topics.seen, SEEN_PARTITIONS);
    let source = |partition| TopicPartition::new(Arc::clone(&topics.events), partition);
    // Where the gateway and the producer put an event of this id.
    let of = |id: &str| source(partition_for(id.as_bytes(), EVENT_PARTITIONS.into()));
    filler.write(&of("evicted"), now_ms(), &[identity(application, "evicted")]).await;
    for record in 0..IDENTITIES / IDENTITIES_OF_RECORD {
        let first = record * IDENTITIES_OF_RECORD;
        let ids: Vec<Hash> = (first..first + IDENTITIES_OF_RECORD).map(number).collect();
        let partition = i32::try_from(record % u64::from(EVENT_PARTITIONS)).unwrap();
        filler.write(&source(partition), now_ms(), &ids).await;
    }
    filler.write(&of("known"), now_ms(), &[identity(application, "known")]).await;
    filler.end().await;
}

/// How the binary was built that the test runs: what it measures depends on it.
fn profile() -> String {
    let binary = testkit::environment::hookbus_binary().unwrap();
    let folder = binary.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
    folder.to_string_lossy().into_owned()
}
