//! A source whose definition changes while an event of it is written in slices.

use catalog::SourceMap;
use kafka::{FoundTopics, Handled};
use schema_registry::{CacheLimits, RegistryAnswer, SchemaCache};
use schemas::control::source::{OnNull, TopicStart};
use schemas::control::{Application, SourceFormat, TopicSource};
use schemas::delivery::Origin;
use schemas::header;
use schemas::ids::{ApplicationId, OrganizationId, PositionId, SchemaRegistryId, SourceId};
use schemas::rejected::RejectedRecord;
use sources::schema::{SchemaId, SchemaKey};
use tokio::sync::watch;
use uuid::Uuid;

use super::slices::{SHOP, filtered, of_topic, wide};
use super::*;
use crate::intake::{RouteLimits, SourceRoutes};

const TOPIC: &str = "crm";
const TOPIC_ID: Uuid = Uuid::from_u128(70);

/// A worker that reads partitions of a source, whose events are for five: slices of two, two and one.
struct Reading {
    world: World,
    newest: watch::Sender<Arc<SourceRoutes>>,
    source: TopicSource,
    schemas: SchemaCache,
    /// Partitions that were asked to be taken over anew.
    restarts: usize,
    /// Deliveries as they were committed: offset, type and receiver.
    delivered: Vec<(i64, String, u128)>,
    /// What the last commit says of the partition.
    said: Claimed,
    committed: i64,
}

fn theirs(partition: i32) -> Lease {
    let epoch = Epoch(7 + u64::try_from(partition).unwrap());
    Lease { partition: TopicPartition::new(TOPIC, partition), epoch }
}

/// A record without a value.
fn null(offset: i64) -> Record {
    Record { offset, timestamp_ms: NOW_MS, key: None, value: None, headers: Headers::default() }
}

fn another_application() -> ControlObject {
    let id = ApplicationId(Uuid::from_u128(2));
    ControlObject::Application(Application::new(id, OrganizationId(Uuid::nil()), "other", 0))
}

fn on_control(object: &ControlObject) -> OutRecord {
    let (key, value) = (Some(object.key().to_string().into()), Some(object.encode().unwrap().into()));
    OutRecord { topic: Arc::from("control"), partition: None, key, value, headers: Headers::default() }
}

fn source() -> TopicSource {
    let (id, position) = (SourceId(Uuid::from_u128(1)), PositionId(Uuid::from_u128(5)));
    let mut source = TopicSource::new(id, OrganizationId(Uuid::nil()), "orders", SourceFormat::Json, position, 0);
    source.topics = vec![TOPIC.to_owned()];
    (source.application, source.event_type) = (Some(SHOP.to_string()), Some("a.b".to_owned()));
    source.on_null = OnNull::Deliver;
    source
}

fn found(committed: Option<i64>) -> Restored {
    Restored {
        lease: theirs(0),
        committed,
        read_up_to: committed.unwrap_or(0),
        not_done: Vec::new(),
        lists: None,
        position: None,
        slices: None,
        topic_id: TOPIC_ID,
        log_start: 0,
        log_end: 100,
        recreated: false,
        cut: None,
    }
}

impl Reading {
    /// Its partition begins at 7.
    fn new() -> Self {
        let mut reading = Self::before();
        reading.begin_at(7);
        reading.take_over(found(None));
        reading
    }

    /// Nothing is read yet.
    fn before() -> Self {
        let mut world = wide();
        let ((newest, routes), (health, _)) = (watch::channel(Arc::default()), watch::channel(Arc::default()));
        let schemas = SchemaCache::new(CacheLimits::default());
        world.work.intake = Some(SourcesIntake::new(routes, health, schemas.clone(), 7));
        let (delivered, said) = (Vec::new(), Claimed::Nothing);
        Self { world, newest, source: source(), schemas, restarts: 0, delivered, said, committed: -1 }
    }

    /// It is to begin there, under a position of its own.
    fn begin_at(&mut self, offset: i64) {
        let before = self.source.starts.get(TOPIC).map_or(100, |start| start.position_id.0.as_u128());
        let position_id = PositionId(Uuid::from_u128(before + 1));
        let start = TopicStart { topic_id: TOPIC_ID, position_id, again: false, offsets: vec![offset, offset] };
        self.source.starts.insert(TOPIC.to_owned(), start);
        self.publish();
    }

    fn publish(&self) {
        let source = Arc::new(self.source.clone());
        let sources: SourceMap = Arc::new([(source.source_id, source)].into_iter().collect());
        let there = [(Arc::from(TOPIC), 2)].into();
        let limits = RouteLimits { own_prefix: "hookbus.".to_owned(), partitions: 10, decoded: 1_000 };
        let found = FoundTopics { there, missing: BTreeMap::new() };
        let routes = SourceRoutes::of_sources(&sources, &found, &limits, &self.newest.borrow());
        self.newest.send_replace(Arc::new(routes));
    }

    /// The definition changes, and the worker hears of it.
    async fn change(&mut self, change: impl FnOnce(&mut TopicSource)) {
        change(&mut self.source);
        self.publish();
        self.world.work.input().await;
        self.turn();
    }

    async fn moved_to(&mut self, offset: i64) {
        self.begin_at(offset);
        self.world.work.input().await;
        self.turn();
    }

    fn take_over(&mut self, mut found: Restored) {
        let (start, anew) = self.world.work.begins(&found, now()).unwrap();
        if let Some(anew) = anew {
            found.begin_anew(anew);
        }
        let lease = found.lease.clone();
        self.world.outbox.open(&lease, found.window(start), start);
        let seen = self.world.work.restorer.identities.partition();
        let written = found.goes_on(start).map(|cursor| (start, cursor));
        let place = Some(SourcePlace::of(&found, start));
        self.world.work.opened(&lease, BegunWith { seen, place, written }, now());
        self.committed = start;
        self.turn();
    }

    /// Another process finds what the commits say.
    fn killed(&mut self) {
        let mut found = found(Some(self.committed));
        (found.slices, found.position) = match self.said.clone() {
            Claimed::Slices(cursor, position) => (Some(cursor), position),
            Claimed::Position(position) => (None, Some(position)),
            said @ (Claimed::Nothing | Claimed::Lists(_) | Claimed::AsFound) => panic!("{said:?}"),
        };
        let (source, delivered) = (self.source.clone(), std::mem::take(&mut self.delivered));
        *self = Self { source, delivered, ..Self::before() };
        self.publish();
        self.take_over(found);
    }

    fn turn(&mut self) {
        let mut turn = Turn::new(&mut self.world.outbox, now());
        self.world.work.turn(&mut turn).unwrap();
        self.restarts += turn.asked().1.len();
    }

    /// Records without a value come.
    fn read(&mut self, offsets: std::ops::Range<i64>) {
        self.read_all(offsets.map(null).collect());
    }

    fn read_record(&mut self, record: Record) {
        self.read_all(vec![record]);
    }

    /// Records come, and the snapshot covers them.
    fn read_all(&mut self, records: Vec<Record>) {
        assert!(records.iter().all(|record| self.world.outbox.admit(theirs(0).epoch, record.offset)));
        self.world.work.records(&theirs(0), records, now()).unwrap();
        self.turn();
        (self.world.work.index, self.world.work.is_answered) = (None, true);
        self.turn();
    }

    /// The next transaction is committed, and a turn follows. Whether there was one; its outputs.
    fn commit(&mut self) -> Option<Transaction> {
        let (batch, mut transaction) = self.world.outbox.cut(0)?;
        let claims = self.world.work.seal(&batch, &mut transaction.outputs);
        let part = batch.parts().iter().position(|part| part.lease == theirs(0));
        if let Some(at) = part {
            (self.said, self.committed) = (claims[at].clone(), transaction.progress[at].committed);
        }
        self.world.work.committed(batch.entries().iter(), now());
        for out in of_topic(&transaction, "hookbus.deliveries") {
            let text = |name| out.headers.text(name).unwrap();
            let origin: Origin = text(header::ORIGIN).parse().unwrap();
            let receiver: Uuid = text(header::SUBSCRIPTION).parse().unwrap();
            self.delivered.push((origin.offset, text(header::CE_TYPE).to_owned(), receiver.as_u128()));
        }
        self.turn();
        Some(transaction)
    }

    fn commit_all(&mut self) {
        while self.commit().is_some() {}
    }

    /// Whose deliveries of the record at an offset are committed, in their order.
    fn receivers(&self, offset: i64) -> Vec<u128> {
        let of = self.delivered.iter().filter(|(of, ..)| *of == offset);
        of.map(|(_, _, receiver)| *receiver).collect()
    }
}

const ALL: [u128; 5] = [11, 12, 13, 14, 15];

#[tokio::test]
async fn a_source_is_moved_once_its_event_is_done_though_the_next_record_is_wide_too() {
    let mut reading = Reading::new();
    reading.read(7..10);
    reading.moved_to(40).await;
    assert_eq!(reading.restarts, 0, "its event is on its way");
    reading.commit_all();
    assert_eq!((reading.receivers(7), reading.receivers(8)), (ALL.to_vec(), vec![]), "8 is moved past");
    assert_eq!((reading.restarts, reading.committed), (1, 8));
}

#[tokio::test]
async fn an_event_of_which_nothing_is_written_puts_off_no_move() {
    let mut reading = Reading::new();
    reading.read(7..8);
    let refused = "too large".to_owned();
    let (batch, transaction) = reading.world.cut();
    let work = &mut reading.world.work;
    reading.world.outbox.put_back_refused(batch, transaction, &[(0, refused)], work, now()).unwrap();
    reading.moved_to(40).await;
    assert_eq!(reading.restarts, 0, "it is not known yet that nothing is written");
    reading.commit_all();
    assert_eq!((reading.restarts, reading.receivers(7)), (1, vec![]));
}

#[tokio::test]
async fn a_pause_after_a_move_stops_between_two_slices_and_the_event_is_done_before_the_move_after_it() {
    let mut reading = Reading::new();
    reading.read(7..9);
    reading.moved_to(40).await;
    reading.change(|source| source.is_paused = true).await;
    assert_eq!(reading.restarts, 1, "what was read is given back");
    reading.commit_all();
    assert_eq!(reading.receivers(7), [11, 12], "the slice that was under way");
    reading.world.work.closed(&theirs(0));
    reading.killed();
    assert_eq!((reading.committed, reading.restarts), (7, 0));
    reading.change(|source| source.is_paused = false).await;
    reading.read(7..9);
    reading.commit_all();
    assert_eq!((reading.receivers(7), reading.receivers(8)), (ALL.to_vec(), vec![]));
    assert_eq!(reading.restarts, 1);
}

#[tokio::test]
async fn whoever_takes_over_after_a_move_does_the_event_first_that_is_written_in_part() {
    for to in [40, 7, 0] {
        let mut reading = Reading::new();
        reading.read(7..9);
        assert!(reading.commit().is_some());
        // It dies, and its source is moved before another one takes over.
        reading.begin_at(to + 1);
        reading.killed();
        assert_eq!(reading.committed, 7, "{to}");
        reading.read(7..9);
        reading.commit_all();
        assert_eq!((reading.receivers(7), reading.receivers(8)), (ALL.to_vec(), vec![]), "{to}");
        assert_eq!((reading.restarts, reading.committed), (1, 8), "{to}");
        // And begins where it was moved to.
        reading.killed();
        assert_eq!(reading.committed, to + 1);
    }
}

#[tokio::test]
async fn another_mapping_counts_from_the_next_event_on() {
    let mut reading = Reading::new();
    reading.read(7..9);
    reading.change(|source| source.event_type = Some("x.y".to_owned())).await;
    reading.commit_all();
    assert_eq!((reading.receivers(7), reading.receivers(8)), (ALL.to_vec(), ALL.to_vec()));
    let types: Vec<(i64, &str)> = reading.delivered.iter().map(|(at, of, _)| (*at, &**of)).collect();
    assert_eq!(types, [[(7, "a.b"); 5], [(8, "x.y"); 5]].concat());
    assert_eq!((reading.restarts, reading.committed), (0, 9));
}

#[tokio::test]
async fn what_is_written_in_part_and_left_out_by_the_mapping_of_now_is_rejected_with_how_far_it_is() {
    let mut reading = Reading::new();
    reading.read(7..9);
    assert!(reading.commit().is_some());
    reading.source.on_null = OnNull::Skip;
    reading.killed();
    reading.read(7..9);
    let transaction = reading.commit().unwrap();
    let out = of_topic(&transaction, "hookbus.rejected").next().unwrap();
    let record = Record {
        offset: 0,
        timestamp_ms: 0,
        key: out.key.clone(),
        value: out.value.clone(),
        headers: out.headers.clone(),
    };
    let said = RejectedRecord::decode(&record).unwrap();
    assert_eq!((&*said.reason, said.written.map(|cursor| cursor.count)), ("unmapped", Some(2)));
    assert!(said.detail.ends_with("; 2 of its deliveries were written before"), "{}", said.detail);
    reading.commit_all();
    assert_eq!((reading.receivers(7), reading.committed), (vec![11, 12], 9));
    let Claimed::Position(claim) = &reading.said else { panic!("{:?}", reading.said) };
    assert!(
        !claim.handled.was_rejected(7) && claim.handled != Handled::nothing(),
        "a move back does not begin it anew"
    );
}

#[tokio::test]
async fn an_event_that_waits_for_a_silent_registry_half_written_is_moved_past_and_says_how_many_have_it() {
    let mut reading = Reading::new();
    reading.read(7..9);
    assert!(reading.commit().is_some());
    let Claimed::Slices(cursor, position) = reading.said.clone() else { panic!("{:?}", reading.said) };
    // Whoever takes over needs a schema that nobody gives.
    let registry = SchemaRegistryId(Uuid::from_u128(6));
    (reading.source.format, reading.source.registry) = (SourceFormat::Avro, Some(registry));
    reading.killed();
    let key = SchemaKey { registry, id: SchemaId::Number(9) };
    let value = Some(bytes::Bytes::from_static(&[0, 0, 0, 0, 9, 2]));
    let record = Record { value, ..null(7) };
    reading.read_record(record.clone());
    let silent = RegistryAnswer::Unavailable("503".to_owned());
    reading.schemas.plant(key, silent, now().instant);
    reading.world.work.input().await;
    reading.turn();
    assert_eq!(reading.restarts, 1, "it stands still");
    reading.world.work.closed(&theirs(0));
    reading.world.outbox.close(theirs(0).epoch);
    let mut again = found(Some(7));
    (again.slices, again.position) = (Some(cursor), position);
    reading.take_over(again);
    reading.moved_to(40).await;
    reading.read_record(record);
    let transaction = reading.commit().expect("it is rejected");
    let rejected = of_topic(&transaction, "hookbus.rejected").next().unwrap();
    assert_eq!(rejected.headers.text(header::REASON), Some("schema_not_found"));
    assert_eq!(rejected.headers.text(header::WRITTEN), Some(&*cursor.to_string()));
    assert_eq!((reading.restarts, reading.committed), (2, 8), "and begins elsewhere");
}

#[tokio::test]
async fn a_partition_that_begins_throws_nothing_away_that_is_known_of_anothers_event() {
    for is_own in [false, true] {
        let mut reading = Reading::new();
        reading.world.work.catalog = Catalog::of(filtered(400), vault());
        reading.read_record(Record { value: Some(bytes::Bytes::from_static(b"{\"n\":1}")), ..null(7) });
        assert!(reading.world.outbox.is_empty(), "400 filters are compiled in more than 10 ms");
        let judged_at = reading.world.work.catalog.read().applied();
        reading.world.work.catalog.feed([on_control(&another_application())]);
        if is_own {
            reading.change(|source| source.name = "two".to_owned()).await;
        } else {
            reading.take_over(Restored { lease: theirs(1), ..found(None) });
        }
        while reading.world.outbox.is_empty() {
            reading.turn();
        }
        let transaction = reading.commit().unwrap();
        let delivery = of_topic(&transaction, "hookbus.deliveries").next().unwrap();
        let control_offset: i64 = delivery.headers.text(header::CONTROL_OFFSET).unwrap().parse().unwrap();
        assert_eq!(control_offset > judged_at, is_own, "it was judged by the snapshot at {judged_at}");
    }
}
