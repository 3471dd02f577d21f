//! What was rejected and is planned again: as what it is now, as what it would have been, and once.

use schema_registry::{CacheLimits, RegistryAnswer, SchemaCache};
use schemas::control::{SourceFormat, TopicSource};
use schemas::ids::{PositionId, SchemaRegistryId, SourceId};
use schemas::rejected::RejectedRecord;
use schemas::retried::RetriedRecord;
use schemas::seen::Hash;
use sources::schema::{SchemaId, SchemaKey};

use super::*;
use crate::queue::Queue;
use crate::retried::RetriedIntake;

const THEIRS: u128 = 9;
const RETRIED: &str = "hookbus.retried";

/// A worker that owns a partition of `retried`, and a source of CloudEvents from the topic `crm`.
struct Retrying {
    world: World,
    seen: Seen,
    retried: RetriedIntake,
    source: TopicSource,
    offset: i64,
}

impl Retrying {
    fn new() -> Self {
        let (id, position) = (SourceId(Uuid::from_u128(1)), PositionId(Uuid::from_u128(2)));
        let owner = OrganizationId(Uuid::from_u128(THEIRS));
        let mut source = TopicSource::new(id, owner, "orders", SourceFormat::Json, position, 0);
        source.topics = vec!["crm".to_owned()];
        (source.application, source.event_type) = (Some("shop".to_owned()), Some("{value:/type}".to_owned()));
        let world = World::of(with([ControlObject::Source(Box::new(source.clone()))]));
        let topics = (Arc::from(RETRIED), Arc::from("hookbus.events"));
        let cache = SchemaCache::new(CacheLimits::default());
        let retried = RetriedIntake::new(topics, world.catalog.clone(), cache, 1_000);
        Self { seen: world.identities.partition(), world, retried, source, offset: 0 }
    }

    /// With five subscriptions to orders: slices of two, two and one.
    fn wide() -> Self {
        let mut retrying = Self::new();
        let five = (21..26).map(|number| subscription(number, "order.*", &[]));
        retrying.world.catalog.feed(five.map(|object| on_control(&object)));
        retrying.world.planner.limits.matches = 10;
        retrying.world.planner.limits.slice_records = 2;
        retrying
    }

    /// The next record on `retried`: one that stood on a topic.
    fn next(&mut self, topic: &str, organization: u128, record: Record, written: Option<SliceCursor>) -> Record {
        let (from, organization) = (TopicPartition::new(topic, 3), Some(OrganizationId(Uuid::from_u128(organization))));
        let out = RetriedRecord { record, from, organization, retries: 2, written }.to_record(Arc::from(RETRIED), 8);
        self.offset += 1;
        let (key, value, headers) = (out.key, out.value, out.headers);
        Record { offset: self.offset, timestamp_ms: NOW_MS, key, value, headers }
    }

    /// What becomes of a record that stood on a topic.
    fn plan(&mut self, topic: &str, organization: u128, record: Record) -> Note {
        let record = self.next(topic, organization, record, None);
        let Planned::Done(note) = self.step(record, None) else { panic!("it holds up nobody") };
        assert_eq!(note.record.offset, self.offset, "its own place is committed");
        note
    }

    /// Plans it until it is done, a commit for each slice; before the second one `meanwhile` may do something. Its types and receivers.
    fn fan_out(&mut self, record: Record, meanwhile: impl FnOnce(&mut Self)) -> (EventVerdict, Vec<(String, u128)>) {
        let (mut record, mut committed, mut meanwhile, mut all) = (record, None, Some(meanwhile), Vec::new());
        loop {
            let planned = self.step(record, committed);
            for out in self.world.planner.outputs().iter().filter(|out| &*out.topic == "hookbus.deliveries") {
                let receiver = Uuid::try_parse_ascii(out.key.as_ref().unwrap()).unwrap().as_u128();
                all.push((out.headers.text(header::CE_TYPE).unwrap().to_owned(), receiver));
            }
            match planned {
                Planned::Done(note) => return (note.verdict, all),
                Planned::Slice(note) => {
                    let EventVerdict::Sliced(written) = note.verdict else { panic!("{note:?}") };
                    (record, committed) = (note.record, written);
                    self.world.planner.slice_committed(Epoch(7));
                    if let Some(meanwhile) = meanwhile.take() {
                        meanwhile(self);
                    }
                }
                planned @ (Planned::Aside(_)
                | Planned::Later(_)
                | Planned::UnderWay(_)
                | Planned::NoRoom(..)
                | Planned::Held(..)
                | Planned::Awaits(..)) => panic!("{planned:?}"),
            }
        }
    }

    /// Its source is another from now on.
    fn change(&mut self, change: impl FnOnce(&mut TopicSource)) {
        change(&mut self.source);
        self.world.catalog.feed([on_control(&ControlObject::Source(Box::new(self.source.clone())))]);
    }

    /// Another process, which has the catalog and what was accepted.
    fn restart(&mut self) {
        let topics = (Arc::from(RETRIED), Arc::from("hookbus.events"));
        let (catalog, limits) = (self.world.catalog.clone(), self.world.planner.limits);
        self.retried = RetriedIntake::new(topics, catalog.clone(), SchemaCache::new(CacheLimits::default()), 1_000);
        self.world = World::of(catalog);
        self.world.planner.limits = limits;
    }

    /// One step of a record of `retried`, which is written so far by the commits.
    fn step(&mut self, record: Record, committed: Option<SliceCursor>) -> Planned {
        let lease = Lease { partition: TopicPartition::new(RETRIED, 0), epoch: Epoch(7) };
        let turn = self.retried.read(&lease, &record, committed.is_some()).unwrap();
        let World { catalog, planner, now, .. } = &mut self.world;
        let (source, now, retried) = (self.retried.source(&turn, *now), *now, Some(&turn));
        let mut turn = Turn {
            catalog,
            seen: &mut self.seen,
            source,
            retried,
            written: committed.or_else(|| retried?.written()),
            now_ms: NOW_MS,
            now,
            is_over: &|| false,
        };
        planner.plan(&mut turn, &lease, record)
    }

    fn written(&mut self, topic: &str) -> Record {
        let outputs = std::mem::take(self.world.planner.outputs());
        let out = outputs.into_iter().find(|out| &*out.topic == topic).unwrap();
        Record { offset: 0, timestamp_ms: NOW_MS, key: out.key, value: out.value, headers: out.headers }
    }
}

fn on_control(object: &ControlObject) -> OutRecord {
    let (key, value) = (Some(object.key().to_string().into()), Some(object.encode().unwrap().into()));
    OutRecord { topic: "control".into(), partition: None, key, value, headers: Headers::default() }
}

fn order(value: &'static str) -> Record {
    let value = Some(bytes::Bytes::from_static(value.as_bytes()));
    Record { offset: 70, timestamp_ms: NOW_MS - 60_000, key: None, value, headers: Headers::default() }
}

#[test]
fn it_is_planned_by_the_mapping_of_now_with_the_identity_that_it_would_have_had_and_once() {
    let mut retrying = Retrying::new();
    let note = retrying.plan("crm", THEIRS, order(r#"{"type":"invoice.paid"}"#));
    assert_eq!(note.verdict, EventVerdict::Matched(1));
    let delivery = Delivery::decode(&retrying.written("hookbus.deliveries")).unwrap();
    assert_eq!(delivery.origin().unwrap().to_string(), "crm/3/70");
    assert_eq!(
        delivery.event_id(),
        format!("crm-3-70-{}", NOW_MS - 60_000),
        "its place and time, not those of the retry"
    );
    assert_eq!((delivery.accepted_ms, delivery.generation), (NOW_MS - 60_000, Generation::default()));
    let stood = note.stood.unwrap();
    assert_eq!((stood.0, stood.1), (TopicPartition::new("crm", 3), NOW_MS - 60_000));
    let again = retrying.plan("crm", THEIRS, order(r#"{"type":"invoice.paid"}"#));
    assert_eq!((again.verdict, again.id), (EventVerdict::Repeat, None));
}

#[test]
fn what_fails_again_is_rejected_again_with_its_place_its_source_and_a_count() {
    let mut retrying = Retrying::new();
    let note = retrying.plan("crm", THEIRS, order(r#"{"kind":"invoice.paid"}"#));
    assert!(matches!(note.verdict, EventVerdict::Rejected(_)), "{:?}", note.verdict);
    let said = RejectedRecord::decode(&retrying.written("hookbus.rejected")).unwrap();
    assert_eq!((said.retries, said.origin.unwrap().to_string().as_str()), (2, "crm/3/70"));
    assert_eq!(
        (said.source, said.organization.map(|id| id.0.as_u128())),
        (Some(retrying.source.source_id), Some(THEIRS))
    );
    assert_eq!((said.timestamp_ms, said.headers), (Some(NOW_MS - 60_000), Headers::default()));
}

#[test]
fn a_topic_that_another_organization_reads_now_or_nobody_is_rejected_again_and_stays_theirs() {
    let mut retrying = Retrying::new();
    for (topic, organization) in [("crm", 8), ("nobodys", THEIRS)] {
        // Names of ours in a stranger's headers are nothing of `events`.
        let headers = [(header::APPLICATION, "00000000-0000-0000-0000-000000000001")].into_iter().collect();
        let record = Record { headers, ..order(r#"{"type":"invoice.paid"}"#) };
        let note = retrying.plan(topic, organization, record);
        assert_eq!(note.verdict, EventVerdict::Rejected(RejectReason::Unmapped));
        let said = RejectedRecord::decode(&retrying.written("hookbus.rejected")).unwrap();
        assert_eq!(said.organization.map(|id| id.0.as_u128()), Some(organization));
        assert_eq!((said.application, said.source), (None, None));
    }
}

#[test]
fn a_source_that_names_no_application_holds_up_nobody_that_is_retried() {
    let mut retrying = Retrying::new();
    let mut source = retrying.source.clone();
    source.application = Some("gone".to_owned());
    retrying.world.catalog.feed([on_control(&ControlObject::Source(Box::new(source)))]);
    let note = retrying.plan("crm", THEIRS, order(r#"{"type":"invoice.paid"}"#));
    assert_eq!(note.verdict, EventVerdict::Rejected(RejectReason::UnknownApplication));
}

#[test]
fn a_record_of_events_is_planned_as_one_and_its_id_is_remembered_whoever_made_it() {
    let mut retrying = Retrying::new();
    let record = || event(70, "evt_1", &[(header::ID_MADE, "1")]);
    let note = retrying.plan("hookbus.events", THEIRS, record());
    assert_eq!(note.verdict, EventVerdict::Matched(1));
    assert_eq!(retrying.plan("hookbus.events", THEIRS, record()).verdict, EventVerdict::Repeat);
}

#[test]
fn where_it_stood_remembers_it_as_well() {
    let mut retrying = Retrying::new();
    let note = retrying.plan("crm", THEIRS, order(r#"{"type":"invoice.paid"}"#));
    let lease = Lease { partition: TopicPartition::new(RETRIED, 0), epoch: Epoch(7) };
    let World { outbox, planner, expander, .. } = &mut retrying.world;
    outbox.open(&lease, Window::restore(1, 1, Vec::new()), 0);
    assert!(outbox.admit(lease.epoch, 1));
    outbox.resolve(Entry::new(lease.epoch, (1, NOW_MS), 2, 0, note), planner.outputs());
    let (batch, mut transaction) = outbox.cut(0).unwrap();
    add_seen(expander, 16, &batch, &mut transaction.outputs);
    let seen = transaction.outputs.iter().map(|output| &output.record).filter(|out| &*out.topic == "hookbus.seen");
    let said: Vec<(String, Vec<Hash>, i64)> = seen
        .map(|out| {
            let key = String::from_utf8(out.key.as_ref().unwrap().to_vec()).unwrap();
            let ids = seen::decode(out.value.as_ref().unwrap()).unwrap().map(|(id, _)| id).collect();
            (key, ids, out.headers.text(header::ACCEPTED).unwrap().parse().unwrap())
        })
        .collect();
    assert_eq!((said[0].0.as_str(), said[1].0.as_str()), ("hookbus.retried/0", "crm/3"));
    assert_eq!((said[0].2, said[1].2), (NOW_MS, NOW_MS - 60_000), "each by its own time");
    assert!(said[0].1.len() == 1 && said[0].1 == said[1].1);
}

const ALL: [u128; 5] = [21, 22, 23, 24, 25];

fn receivers(all: &[(String, u128)]) -> Vec<u128> {
    all.iter().map(|(_, receiver)| *receiver).collect()
}

#[test]
fn what_is_written_in_part_stays_what_its_source_made_of_it() {
    let mut retrying = Retrying::wide();
    let record = retrying.next("crm", THEIRS, order(r#"{"type":"order.placed"}"#), None);
    let anew = |retrying: &mut Retrying| retrying.change(|source| source.event_type = Some("x.y".to_owned()));
    let (verdict, all) = retrying.fan_out(record, anew);
    assert_eq!((verdict, receivers(&all)), (EventVerdict::Matched(5), ALL.to_vec()));
    assert!(all.iter().all(|(of, _)| of == "order.placed"), "{all:?}");
    let record = retrying.next("crm", THEIRS, Record { offset: 71, ..order(r#"{"type":"order.placed"}"#) }, None);
    let (verdict, _) = retrying.fan_out(record, |_| {});
    assert_eq!(verdict, EventVerdict::Matched(0), "the next one is of the new type");
}

#[test]
fn what_was_rejected_half_written_goes_on_where_it_stood_when_it_is_retried_and_once() {
    let mut retrying = Retrying::wide();
    let record = retrying.next("crm", THEIRS, order(r#"{"type":"order.placed"}"#), None);
    // Whoever takes over finds that its source's application is not there any more, as a deletion by mistake makes it.
    let (verdict, first) = retrying.fan_out(record, |retrying| {
        retrying.change(|source| source.application = Some("gone".to_owned()));
        retrying.restart();
    });
    assert_eq!((verdict, receivers(&first)), (EventVerdict::Rejected(RejectReason::UnknownApplication), vec![21, 22]));
    let said = RejectedRecord::decode(&retrying.written("hookbus.rejected")).unwrap();
    let written = said.written.unwrap();
    assert_eq!((written.last.as_u128(), written.count), (22, 2));
    // In vain once: it says the same again.
    let record = retrying.next("crm", THEIRS, order(r#"{"type":"order.placed"}"#), Some(written));
    let (_, none) = retrying.fan_out(record, |_| {});
    let said = RejectedRecord::decode(&retrying.written("hookbus.rejected")).unwrap();
    assert_eq!((none, said.written), (vec![], Some(written)));
    retrying.change(|source| source.application = Some("shop".to_owned()));
    let record = retrying.next("crm", THEIRS, order(r#"{"type":"order.placed"}"#), said.written);
    let (verdict, rest) = retrying.fan_out(record, |_| {});
    assert_eq!((verdict, receivers(&rest)), (EventVerdict::Matched(5), vec![23, 24, 25]));
    let record = retrying.next("crm", THEIRS, order(r#"{"type":"order.placed"}"#), said.written);
    assert_eq!(retrying.fan_out(record, |_| {}), (EventVerdict::Repeat, vec![]), "retried twice");
}

#[test]
fn a_registry_that_was_waited_for_in_vain_is_not_waited_for_by_each_record() {
    let topics = (Arc::from(RETRIED), Arc::from("hookbus.events"));
    let cache = SchemaCache::new(CacheLimits::default());
    let mut retried = RetriedIntake::new(topics, World::new().catalog, cache.clone(), 1_000);
    let lease = Lease { partition: TopicPartition::new(RETRIED, 0), epoch: Epoch(7) };
    let key = |registry: u128, id| SchemaKey {
        registry: SchemaRegistryId(Uuid::from_u128(registry)),
        id: SchemaId::Number(id),
    };
    let mut now = chassis::clock::instant();
    // Seconds until the line goes on.
    let mut waits = |retried: &mut RetriedIntake, key: SchemaKey, answer: &str| {
        let (mut queue, began) = (Queue::default(), now);
        queue.push(lease.clone(), vec![order("{}")]);
        assert!(queue.ask());
        queue.answered();
        let (lease, record) = queue.pop().unwrap();
        queue.hold_with(&lease, record);
        retried.awaits(&lease, key, now);
        cache.plant(key, RegistryAnswer::Unavailable(answer.to_owned()), now);
        loop {
            retried.follow(now, &mut queue);
            if queue.pop().is_some() {
                break;
            }
            now += Duration::from_secs(1);
        }
        retried.passed(lease.epoch);
        now.saturating_duration_since(began).as_secs()
    };
    assert_eq!(waits(&mut retried, key(1, 1), "503"), 30);
    assert_eq!(waits(&mut retried, key(1, 2), "503"), 0, "nobody waits behind each of its records");
    assert_eq!(waits(&mut retried, key(2, 1), "503"), 30, "another registry has its own patience");
    assert_eq!(waits(&mut retried, key(1, 3), "503"), 0);
}
