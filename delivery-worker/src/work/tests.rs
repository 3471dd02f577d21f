//! The worker between a catalog and an outbox, without Kafka and without any endpoint.

use bytes::Bytes;
use chassis::config::Config;
use kafka::Window;
use schemas::attempt::{Kind, Lifecycle};
use schemas::control::{Application, ControlObject};
use schemas::ids::OrganizationId;
use schemas::record::{Headers, TopicPartition};
use schemas::topics::{TopicSettings, Topics};
use stage::{Batch as Transacted, BatchLimits, Order, Outbox, Refusal};

use super::*;
use crate::testing;

mod held;
mod unsettled;

const LIMITS: BatchLimits = BatchLimits { records: 100, bytes: 1 << 20 };

/// A worker that owns one partition.
struct Bench {
    work: DeliveryWork,
    outbox: Outbox<LaneNote>,
    topics: Topics,
    lease: Lease,
    now: Now,
}

impl Bench {
    /// With a catalog of these objects.
    fn new(objects: Vec<ControlObject>) -> Self {
        Self::with(objects, |_| {})
    }

    /// The same with other settings.
    fn with(objects: Vec<ControlObject>, change: impl FnOnce(&mut Settings)) -> Self {
        let config = Config::for_tests().delivery;
        let mut settings = Settings::new(&config, target::TargetPolicy::default()).unwrap();
        change(&mut settings);
        let tls = Tls::new(None).unwrap();
        let client = Client::new(testing::resolver(false, &[]), settings.client, tls.plain().unwrap());
        let registry = prometheus::Registry::new();
        let metrics = DeliveryMetrics::new(&registry).unwrap();
        let endpoints = EndpointMetrics::new(&registry, config.endpoint_metrics).unwrap();
        let topics = TopicSettings::default().topics();
        let catalog = Catalog::of(objects, testing::vault());
        let now = Now { wall_ms: 1_000_000, boot_ms: 5_000, instant: chassis::clock::instant() };
        let work = DeliveryWork::new(
            settings,
            catalog,
            (Books::new(topics.clone(), None), LaneEnds::default(), ReadBack::default()),
            (client, tls),
            (metrics, endpoints),
            now.instant,
        );
        let lease = Lease { partition: TopicPartition::new(&*topics.deliveries, 0), epoch: Epoch(1) };
        let mut outbox = Outbox::new(LIMITS, Order::AnyOrder);
        outbox.open(&lease, Window::restore(0, 0, Vec::new()), 0);
        Self { work, outbox, topics, lease, now }
    }

    /// These records come from Kafka, at offsets from 0.
    fn read(&mut self, records: impl IntoIterator<Item = Record>) {
        let at = |(offset, record): (i64, Record)| Record { offset, ..record };
        let records: Vec<Record> = (0..).zip(records).map(at).collect();
        for record in &records {
            assert!(self.outbox.admit(self.lease.epoch, record.offset));
        }
        self.work.records(&self.lease, records, self.now).unwrap();
    }

    fn turn(&mut self) -> NextTurn {
        let mut turn = Turn::new(&mut self.outbox, self.now);
        turn.may_send = false;
        self.work.turn(&mut turn).unwrap()
    }

    /// Topics of what the next transaction writes.
    fn written(&mut self) -> Vec<String> {
        let cut: Option<(Transacted<LaneNote>, _)> = self.outbox.cut(0);
        let outputs = cut.map(|(_, transaction)| transaction.outputs).unwrap_or_default();
        outputs.iter().map(|output| output.record.topic.to_string()).collect()
    }
}

fn delivery(event: &str) -> Record {
    testing::record(event, 1, i64::MAX)
}

/// An application with one subscription, written until the snapshot is where the deliveries were matched.
fn shop() -> Vec<ControlObject> {
    let organization = OrganizationId(uuid::Uuid::from_u128(1));
    let application = Application::new(testing::APPLICATION, organization, "shop", 0);
    let subscription = testing::object(1, "https://example.com/", &testing::vault());
    let mut objects = vec![ControlObject::Application(application); 5];
    objects.push(ControlObject::Subscription(Box::new(subscription)));
    objects
}

#[test]
fn a_record_that_is_not_a_valid_delivery_is_rejected_with_the_next_turn() {
    let mut bench = Bench::new(Vec::new());
    bench.read([Record { value: None, ..delivery("evt_1") }]);
    assert_eq!(bench.turn(), NextTurn::OnInput);
    assert_eq!(bench.written(), [bench.topics.rejected.to_string(), bench.topics.attempts.to_string()]);
    assert_eq!(bench.outbox.progress(bench.lease.epoch).unwrap().committed, 1);
}

/// Matched at offset 5 of `control`; the snapshot is at 0. It is no delivery of a deleted subscription, not yet.
#[tokio::test]
async fn what_came_before_its_subscription_waits_for_it() {
    let mut bench = Bench::new(Vec::new());
    bench.read([delivery("evt_1"), Record { value: None, ..delivery("evt_2") }]);
    bench.turn();
    assert!(bench.written().is_empty(), "what comes behind it waits, too");
    assert_eq!(bench.work.waiting(bench.now).map(|it| (it.offset, it.since_boot_ms)), Some((0, 5_000)));

    // The end of `control` is reached, and no such offset exists: it is taken as it is.
    bench.work.input().await;
    bench.turn();
    assert_eq!(bench.work.waiting(bench.now), None);
    let attempts = bench.topics.attempts.to_string();
    assert_eq!(bench.written(), [attempts.clone(), bench.topics.rejected.to_string(), attempts]);
}

#[test]
fn a_revoked_partition_takes_along_what_waits_for_its_turn_or_the_snapshot() {
    let mut bench = Bench::new(shop());
    bench.read([delivery("evt_1")]);
    bench.turn();
    assert_eq!((bench.work.engine.len(), bench.work.in_flight_of_all()), (1, 0), "nothing may be sent");
    bench.work.revoking(&[bench.lease.clone()]);
    assert_eq!(bench.work.engine.len(), 0);

    let mut bench = Bench::new(Vec::new());
    bench.read([delivery("evt_1")]);
    bench.work.closed(&bench.lease.clone());
    assert_eq!(bench.work.waiting(bench.now), None);
}

fn output(topic: &Arc<str>, value: &Bytes) -> OutRecord {
    let (topic, value) = (Arc::clone(topic), Some(value.clone()));
    OutRecord { topic, partition: None, key: None, value, headers: Headers::default() }
}

fn replaced(bench: &mut Bench, outputs: Vec<OutRecord>, indices: &[usize]) -> Vec<OutRecord> {
    let unwritable = |index: &usize| Refusal::Unwritable { index: *index, reason: "topic: too large".to_owned() };
    let refusals: Vec<Refusal> = indices.iter().map(unwritable).collect();
    let (lease, now) = (bench.lease.clone(), bench.now);
    let refused =
        Refused { lease: &lease, offset: 7, note: &mut LaneNote::Done, outputs, refusals: &refusals, before: 0 };
    bench.work.replace(refused, now).unwrap()
}

#[test]
fn what_was_refused_is_replaced_in_its_place_and_its_neighbours_stay() {
    let mut bench = Bench::new(Vec::new());
    let (retry, attempts, rejected) =
        (bench.topics.retry("5s"), Arc::clone(&bench.topics.attempts), Arc::clone(&bench.topics.rejected));
    let record = delivery("evt_1");
    let hop = OutRecord {
        topic: Arc::clone(&retry),
        partition: None,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers,
    };
    let (first, last) = (Bytes::from_static(b"first"), Bytes::from_static(b"last"));
    let outputs = vec![output(&attempts, &first), hop, output(&attempts, &last), output(&attempts, &first)];
    let written = replaced(&mut bench, outputs, &[1, 3]);
    let topics: Vec<&Arc<str>> = written.iter().map(|output| &output.topic).collect();
    assert_eq!(topics, [&attempts, &rejected, &attempts, &attempts, &rejected]);
    assert_eq!((&written[0].value, &written[3].value), (&Some(first), &Some(last)));
    let lifecycle = Lifecycle::decode(written[2].value.as_ref().unwrap()).unwrap();
    assert_eq!(lifecycle.kind, Kind::DeadLettered, "its delivery has an end");
}

#[test]
fn a_rejection_that_is_refused_itself_comes_back_without_its_content() {
    let mut bench = Bench::new(Vec::new());
    let rejected = Arc::clone(&bench.topics.rejected);
    let written = replaced(&mut bench, vec![output(&rejected, &Bytes::from_static(b"content"))], &[0]);
    assert_eq!((written.len(), &written[0].topic, &written[0].value), (1, &rejected, &None));
}

/// More than the look-ahead holds of a subscription that is paused: all but one of it is listed, and the claim says so.
#[test]
fn what_waits_beyond_the_look_ahead_is_completed_listed_and_claimed() {
    let mut objects = shop();
    if let Some(ControlObject::Subscription(subscription)) = objects.last_mut() {
        subscription.is_paused = true;
    }
    let mut bench = Bench::new(objects);
    let found =
        FoundBook::of(crate::book::Book::new(Arc::clone(&bench.topics.lanes), 0), std::collections::BTreeSet::new());
    bench.work.opened(&bench.lease.clone(), found, bench.now);
    bench.read((0..1_000).map(|number| delivery(&format!("evt_{number}"))));
    bench.turn();
    let mut listed = 0;
    while let Some((batch, mut transaction)) = bench.outbox.cut(0) {
        listed += batch.entries().len();
        let claims = bench.work.seal(&batch, &mut transaction.outputs);
        let lanes = transaction.outputs.iter().filter(|output| output.record.topic == bench.topics.lanes);
        assert!(lanes.clone().count() >= 1 && lanes.clone().all(|output| output.record.partition == Some(0)));
        let [Claimed::Lists(claim)] = claims[..] else { panic!("one claim: {claims:?}") };
        assert_eq!(claim.queued, u64::try_from(listed).unwrap());
        bench.work.committed(batch.entries().iter(), bench.now);
    }
    let progress = bench.outbox.progress(bench.lease.epoch).unwrap();
    assert_eq!((listed, progress.committed, progress.read_up_to, progress.not_done), (999, 0, 1_000, vec![0]));
}

/// A worker whose lists hold as many deliveries of its only subscription.
fn with_lists(objects: Vec<ControlObject>, count: i64) -> Bench {
    listing(Bench::new(objects), count)
}

fn listing(mut bench: Bench, count: i64) -> Bench {
    let mut book = crate::book::Book::new(Arc::clone(&bench.topics.lanes), 0);
    let age = crate::lists::Age { oldest_ms: 0, dead_ms: i64::MAX };
    book.begin();
    for offset in 0..count {
        book.list(testing::subscription_id(1), schemas::lanes::ListRole::FirstTries, offset, age);
    }
    book.encode();
    book.keep();
    bench.work.opened(&bench.lease.clone(), FoundBook::of(book, std::collections::BTreeSet::new()), bench.now);
    bench
}

impl Bench {
    /// What is near its turn comes back like this.
    fn fetched(&mut self, offset: i64, outcome: kafka::FetchOutcome) {
        let lease = self.lease.clone();
        self.work.read_back.put(kafka::Fetched { lease, offset, outcome });
    }

    fn asked(&self) -> Vec<(i64, kafka::Urgency)> {
        self.work.read_back.asking(self.lease.epoch)
    }
}

/// What has not begun is its next owner's: the hand-over waits for what is in flight, and for nothing else.
#[test]
fn what_is_handed_over_or_stopped_begins_no_sweep_and_no_checkpoint() {
    let ends: [fn(&mut Bench); 2] =
        [|bench| bench.work.revoking(std::slice::from_ref(&bench.lease)), |bench| bench.work.stopping(bench.now)];
    for end in ends {
        // Its subscription does not exist: everything is to be swept.
        let mut bench = with_lists(Vec::new(), 1_000);
        bench.work.books.rewrite_above(bench.lease.epoch, 7);
        end(&mut bench);
        bench.fetched(0, kafka::FetchOutcome::Found(delivery("evt_1")));
        bench.turn();
        assert!(bench.outbox.is_empty(), "nothing has begun");
        assert_eq!(bench.asked(), [], "nothing is read back");
        bench.work.books.rewrite_above(bench.lease.epoch, 7);
        bench.turn();
        assert!(bench.outbox.is_empty(), "the end of `lanes` is told too late");
    }
}

#[test]
fn a_read_back_that_fails_is_repeated_after_a_pause_as_urgent_as_it_was() {
    let mut bench = with_lists(shop(), 1);
    bench.turn();
    let asked = bench.asked();
    assert_eq!(asked.len(), 1);
    bench.work.read_back.forget(bench.lease.epoch);
    let error = || kafka::KafkaError::Client { purpose: "reading back", reason: "no leader".into() };
    bench.fetched(0, kafka::FetchOutcome::Failed(error()));
    assert_ne!(bench.turn(), NextTurn::OnInput);
    assert_eq!(bench.asked(), [], "not at once");
    bench.now = Now { wall_ms: bench.now.wall_ms + 2_000, boot_ms: bench.now.boot_ms + 2_000, ..bench.now };
    bench.turn();
    assert_eq!(bench.asked(), asked);
}
