//! The core against the real catalog: every record leaves one lifecycle record, every identity fans out once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use catalog::Catalog;
use kafka::{Epoch, Output, Window};
use proptest::prelude::*;
use schemas::attempt::{Kind, Lifecycle};
use schemas::control::{Application, ControlObject, EventType, Target, UnknownEventTypes};
use schemas::delivery::Delivery;
use schemas::event_type::{EventTypeName, EventTypePattern};
use schemas::header;
use schemas::ids::{ApplicationId, Generation, OrganizationId, SubscriptionId};
use schemas::record::{Headers, TopicPartition};
use schemas::seen;
use schemas::topics::{TopicSettings, Topics};
use stage::{BatchLimits, Entry, Order, Outbox};
use uuid::Uuid;

use super::*;
use crate::deduplicate::{Identities, Limits};
use crate::remember::add_seen;

mod filtered;
mod matching;
mod moved;
mod retried;
mod slices;
mod tenants;
mod weight;
mod window;

const NOW_MS: i64 = 1_790_000_000_000;
/// A delivery's life where nobody says otherwise.
const MAX_AGE: Duration = Duration::from_secs(7_200);

fn application(number: u128, uid: &str, unknown_event_types: UnknownEventTypes) -> ControlObject {
    let (id, organization) = (ApplicationId(Uuid::from_u128(number)), OrganizationId(Uuid::from_u128(9)));
    ControlObject::Application(Application {
        uid: Some(uid.to_owned()),
        unknown_event_types,
        ..Application::new(id, organization, uid, 0)
    })
}

fn subscription(number: u128, pattern: &str, labels: &[(&str, &str)]) -> ControlObject {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let (id, application) = (SubscriptionId(Uuid::from_u128(number)), ApplicationId(Uuid::from_u128(1)));
    ControlObject::Subscription(Box::new(schemas::control::Subscription {
        event_types: vec![EventTypePattern::parse(pattern).unwrap()],
        labels: labels.iter().map(owned).collect(),
        target: Target { method: "POST".into(), url: "https://example.com/".into(), ..Target::default() },
        signing: Vec::new(),
        max_age_ms: Some(60_000),
        ..schemas::control::Subscription::new(id, application, 0)
    }))
}

/// `events` names uids of organization 9.
fn owners() -> Owners {
    Owners::new(OrganizationId(Uuid::from_u128(9)))
}

fn catalog() -> Catalog {
    with([])
}

/// The usual catalog with these objects.
fn with(more: impl IntoIterator<Item = ControlObject>) -> Catalog {
    let vault = vault::Vault::new(&[vault::EncryptionKey::new("k1", [1; 32])], &[2; 32]).unwrap();
    let declared = EventType::new(ApplicationId(Uuid::from_u128(2)), EventTypeName::parse("order.placed").unwrap(), 0);
    let objects = [
        application(1, "shop", UnknownEventTypes::Accept),
        application(2, "strict", UnknownEventTypes::Reject),
        ControlObject::EventType(declared),
        subscription(11, "invoice.paid", &[]),
        subscription(12, "invoice.*", &[("env", "live")]),
        subscription(13, "**", &[("env", "live")]),
    ];
    Catalog::of(objects.into_iter().chain(more), Arc::new(vault))
}

/// A worker without Kafka: one catalog, one outbox, `seen` per partition.
struct World {
    catalog: Catalog,
    topics: Topics,
    planner: Planner,
    identities: Identities,
    seen: BTreeMap<i32, Seen>,
    expander: Expander,
    outbox: Outbox<Note>,
    now: Instant,
    /// Planning gives way whenever it asks.
    hurry: bool,
    /// How far the record that is planned is written, as the commits say.
    written: Option<SliceCursor>,
}

impl World {
    fn new() -> Self {
        Self::of(catalog())
    }

    fn of(catalog: Catalog) -> Self {
        let topics = TopicSettings::default().topics();
        let expander = Expander::new(topics.clone(), MAX_AGE);
        let planner = Planner::new(
            expander.clone(),
            EventLimits { matches: 2, bytes: 16_777_216, slice_records: 2_000, slice_bytes: 2_097_152 },
            owners(),
        );
        let now = chassis::clock::instant();
        let limits = BatchLimits { records: 1_000_000, bytes: 1 << 30 };
        let outbox = Outbox::new(limits, Order::InOrder);
        let identities = Identities::new(Limits::new(Duration::from_secs(86_400), 1_000_000));
        Self {
            catalog,
            topics,
            planner,
            identities,
            seen: BTreeMap::new(),
            expander,
            outbox,
            now,
            hurry: false,
            written: None,
        }
    }

    fn plan(&mut self, partition: i32, record: Record) -> EventVerdict {
        let mut record = record;
        loop {
            record = match self.try_plan(partition, record) {
                Tried::Done(verdict) => return verdict,
                Tried::Aside(record) | Tried::Later(record) => record,
                Tried::Slice(record) => {
                    self.planner.slice_committed(lease(partition).epoch);
                    record
                }
            };
            self.compile();
        }
    }

    fn try_plan(&mut self, partition: i32, record: Record) -> Tried {
        let seen = self.seen.entry(partition).or_insert_with(|| self.identities.partition());
        let (now, hurry, lease) = (self.now, self.hurry, lease(partition));
        let (source, written) = (None, self.written);
        let mut turn = Turn {
            catalog: &self.catalog,
            seen,
            source,
            retried: None,
            written,
            now_ms: NOW_MS,
            now,
            is_over: &|| hurry,
        };
        if !self.outbox.is_open(lease.epoch) {
            self.outbox.open(&lease, Window::restore(0, 0, Vec::new()), 0);
        }
        let note = match self.planner.plan(&mut turn, &lease, record) {
            Planned::Done(note) => note,
            Planned::Aside(record) => return Tried::Aside(record),
            Planned::Later(record) => return Tried::Later(record),
            Planned::Slice(note) => {
                let (at, record) = ((note.record.offset, note.record.timestamp_ms), note.record.clone());
                let EventVerdict::Sliced(written) = note.verdict else { panic!("{note:?}") };
                self.written = written;
                self.outbox.resolve(Entry::beside(lease.epoch, at, 0, note), self.planner.outputs());
                return Tried::Slice(record);
            }
            planned @ (Planned::Held(..) | Planned::Awaits(..) | Planned::UnderWay(_) | Planned::NoRoom(..)) => {
                panic!("{planned:?}")
            }
        };
        self.written = None;
        assert!(self.outbox.admit(lease.epoch, note.record.offset));
        let (verdict, at) = (note.verdict, (note.record.offset, note.record.timestamp_ms));
        self.outbox.resolve(Entry::new(lease.epoch, at, note.record.size(), 0, note), self.planner.outputs());
        Tried::Done(verdict)
    }

    /// What the record that was put aside waits for, one filter per step. Returns how many.
    fn compile(&mut self) -> usize {
        1 + std::iter::from_fn(|| (!self.planner.compile(|| true)).then_some(())).count()
    }

    /// The transaction's outputs by topic.
    fn commit(&mut self) -> (BTreeMap<String, Vec<OutRecord>>, Vec<kafka::Progress>) {
        let Some((batch, mut transaction)) = self.outbox.cut(0) else { return Default::default() };
        add_seen(&self.expander, 16, &batch, &mut transaction.outputs);
        let mut outputs: BTreeMap<String, Vec<OutRecord>> = BTreeMap::new();
        for Output { record, .. } in transaction.outputs {
            outputs.entry(record.topic.to_string()).or_default().push(record);
        }
        (outputs, transaction.progress)
    }
}

/// What came of one try.
#[derive(Debug)]
enum Tried {
    /// It is in the outbox.
    Done(EventVerdict),
    Aside(Record),
    /// It is planned again after others.
    Later(Record),
    /// A slice of it is in the outbox.
    Slice(Record),
}

fn lease(partition: i32) -> Lease {
    let epoch = Epoch(u64::try_from(partition).unwrap());
    Lease { partition: TopicPartition::new("hookbus.events", partition), epoch }
}

fn event(offset: i64, id: &str, extra: &[(&str, &str)]) -> Record {
    let own = [(header::CE_ID, id), (header::CE_SOURCE, "/billing"), (header::APPLICATION, "shop")];
    let with_type = [(header::CE_TYPE, "invoice.paid")];
    let headers: Headers = with_type.iter().chain(&own).chain(extra).copied().collect();
    let value = Some(bytes::Bytes::from_static(b"{ \"a\":1 }"));
    Record { offset, timestamp_ms: NOW_MS - 5_000, key: None, value, headers }
}

fn lifecycle(record: &OutRecord) -> Lifecycle<'_> {
    Lifecycle::decode(record.value.as_ref().unwrap()).unwrap()
}

#[test]
fn an_event_becomes_one_delivery_per_subscription_and_one_lifecycle_record() {
    let mut world = World::new();
    let record = event(42, "evt_1", &[(header::LABELS, r#"{"env":"live"}"#), (header::CONTENT_TYPE, "text/plain")]);
    world.planner.limits.matches = 3;
    assert_eq!(world.plan(0, record), EventVerdict::Matched(3));
    let (outputs, progress) = world.commit();
    assert_eq!((progress[0].committed, progress[0].read_up_to), (43, 43));
    let mut subscriptions = BTreeSet::new();
    for out in &outputs["hookbus.deliveries"] {
        let (value, headers) = (out.value.clone(), out.headers.clone());
        let delivery = Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key: None, value, headers }).unwrap();
        assert_eq!(out.key.as_deref(), Some(delivery.subscription.to_string().as_bytes()));
        assert_eq!(&delivery.payload[..], b"{ \"a\":1 }");
        assert_eq!((delivery.accepted_ms, delivery.deadline_ms), (NOW_MS - 5_000, NOW_MS + 60_000));
        assert_eq!((delivery.control_offset, delivery.hop.attempt), (5, 1));
        assert_eq!(delivery.origin().unwrap().to_string(), "hookbus.events/0/42");
        subscriptions.insert(delivery.subscription.0.as_u128());
    }
    assert_eq!(subscriptions, BTreeSet::from([11, 12, 13]));
    let matched = lifecycle(&outputs["hookbus.attempts"][0]);
    assert_eq!((matched.kind, matched.event_id.as_deref()), (Kind::Matched, Some("evt_1")));
    let facts = matched.event.unwrap();
    assert_eq!((facts.matched, facts.payload_bytes, facts.control_offset), (3, 9, Some(5)));
    let named = facts.subscription_ids().unwrap().into_iter().map(|id| id.0.as_u128()).collect::<BTreeSet<_>>();
    assert_eq!(named, subscriptions);
    assert_eq!(
        (matched.origin.as_deref(), matched.event_source.as_deref()),
        (Some("hookbus.events/0/42"), Some("/billing"))
    );
    assert_eq!(facts.labels.map(|labels| labels.get()), Some(r#"{"env":"live"}"#));
    let seen_record = &outputs["hookbus.seen"][0];
    assert_eq!(seen_record.key.as_deref(), Some(b"hookbus.events/0".as_slice()));
    assert_eq!(seen_record.partition, Some(schemas::murmur2::partition_for(b"hookbus.events/0", 16)));
    assert_eq!(seen::decode(seen_record.value.as_ref().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_delivery_lives_as_long_as_its_subscription_says_else_its_schedule_else_the_operator() {
    let aged = |number: u128, max_age_ms: Option<u64>, retry: Option<&str>| {
        let ControlObject::Subscription(mut object) = subscription(number, "order.*", &[]) else { unreachable!() };
        (object.max_age_ms, object.retry) = (max_age_ms, retry.map(Into::into));
        ControlObject::Subscription(object)
    };
    let objects = [aged(21, Some(1_000), Some("quick")), aged(22, None, Some("quick")), aged(23, None, None)];
    let mut world = World::of(with(objects));
    world.planner.limits.matches = 3;
    world.plan(0, event(0, "a", &[(header::CE_TYPE, "order.placed")]));
    let (outputs, _) = world.commit();
    let deadlines: BTreeMap<u128, i64> = outputs["hookbus.deliveries"]
        .iter()
        .map(|out| {
            let (value, headers) = (out.value.clone(), out.headers.clone());
            let delivery = Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key: None, value, headers }).unwrap();
            (delivery.subscription.0.as_u128(), delivery.deadline_ms - NOW_MS)
        })
        .collect();
    assert_eq!((deadlines[&21], deadlines[&23]), (1_000, 7_200_000));
    assert!(deadlines[&22] > 86_400_000, "its schedule's span and a day");
}

#[test]
fn a_repeat_fires_nothing_and_says_so_also_inside_one_batch() {
    let mut world = World::new();
    let verdicts = [0, 1, 2].map(|offset| world.plan(0, event(offset, "evt_1", &[])));
    assert_eq!(verdicts, [EventVerdict::Matched(1), EventVerdict::Repeat, EventVerdict::Repeat]);
    // Another partition knows nothing of it: order and identity are per source partition.
    assert_eq!(world.plan(1, event(0, "evt_1", &[])), EventVerdict::Matched(1));
    let (outputs, progress) = world.commit();
    assert_eq!(outputs["hookbus.deliveries"].len(), 2);
    let repeat = lifecycle(&outputs["hookbus.attempts"][1]);
    assert_eq!((repeat.kind, repeat.origin.as_deref()), (Kind::Repeat, Some("hookbus.events/0/1")));
    assert!(repeat.detail.is_some());
    assert_eq!(progress.iter().map(|progress| progress.committed).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn what_cannot_be_used_is_rejected_with_its_reason_and_is_not_remembered() {
    let mut world = World::new();
    let large = "x".repeat(1_100_000);
    let cases = [
        (event(0, "a", &[(header::APPLICATION, "nobody")]), RejectReason::UnknownApplication),
        (event(1, "a", &[(header::APPLICATION, "strict")]), RejectReason::UnknownEventType),
        (event(2, "a", &[(header::LABELS, "[1]")]), RejectReason::InvalidAttribute),
        (event(3, "a", &[(header::METADATA, "{\"a\":1}")]), RejectReason::InvalidAttribute),
        (event(4, "a", &[("ce_note", &large)]), RejectReason::TooLarge),
        (event(5, "a", &[(header::LABELS, r#"{"env":"live"}"#)]), RejectReason::TooManyMatches),
        (Record { value: None, ..event(6, "a", &[]) }, RejectReason::NullValue),
    ];
    let count = cases.len();
    for (record, reason) in cases {
        assert_eq!(world.plan(0, record), EventVerdict::Rejected(reason));
    }
    assert_eq!(world.plan(0, event(7, "a", &[])), EventVerdict::Matched(1), "the identity was never accepted");
    let (outputs, progress) = world.commit();
    assert_eq!((outputs["hookbus.rejected"].len(), outputs["hookbus.deliveries"].len()), (count, 1));
    assert!(outputs.values().flatten().all(|out| out.batch_size() <= world.topics.max_message_bytes));
    let told = outputs["hookbus.attempts"].iter().map(lifecycle).filter(|told| told.kind == Kind::Rejected);
    let applications: Vec<Option<u128>> = told.map(|told| told.application_id.map(|id| id.0.as_u128())).collect();
    // Named by uid; nobody knows the first one.
    assert_eq!(applications, [None, Some(2), Some(1), Some(1), Some(1), Some(1), Some(1)]);
    assert_eq!(applications.len(), count);
    assert_eq!(progress[0].committed, 8);
}

#[test]
fn a_declared_type_passes_where_others_are_rejected_and_an_event_without_matches_is_accepted() {
    let mut world = World::new();
    let record = event(0, "a", &[(header::APPLICATION, "strict"), (header::CE_TYPE, "order.placed")]);
    assert_eq!(world.plan(0, record), EventVerdict::Matched(0));
    let (outputs, _) = world.commit();
    let facts = lifecycle(&outputs["hookbus.attempts"][0]).event.unwrap();
    assert_eq!((facts.matched, facts.subscriptions), (0, None));
    assert!(!outputs.contains_key("hookbus.deliveries"));
}

#[test]
fn records_without_id_are_events_of_their_own() {
    let mut world = World::new();
    for offset in 0..3 {
        assert_eq!(world.plan(0, event(offset, "", &[])), EventVerdict::Matched(1));
    }
    let (outputs, _) = world.commit();
    assert_eq!(outputs["hookbus.deliveries"].len(), 3);
    assert!(!outputs.contains_key("hookbus.seen"), "the offset commit already makes them exactly once");
}

/// Nobody can repeat an id that was made for this record: remembering it would cost a restart its time for nothing.
#[test]
fn ids_that_the_gateway_made_are_delivered_and_not_remembered() {
    let mut world = World::new();
    for (offset, id) in [(0, "made_1"), (1, "made_2")] {
        let verdict = world.plan(0, event(offset, id, &[("hookbus-id-made", "1")]));
        assert_eq!(verdict, EventVerdict::Matched(1));
    }
    let (outputs, _) = world.commit();
    assert!(!outputs.contains_key("hookbus.seen"), "{:?}", outputs.keys());
    let matched: Vec<_> = outputs["hookbus.attempts"].iter().map(lifecycle).collect();
    assert!(matched.iter().all(|fact| fact.kind == Kind::Matched));
    let application = ApplicationId(Uuid::from_u128(1));
    for (out, id) in outputs["hookbus.deliveries"].iter().zip(["made_1", "made_2"]) {
        assert_eq!(out.headers.get("hookbus-id-made"), None, "it says nothing to whoever delivers");
        let subscription = SubscriptionId(Uuid::from_u128(11));
        let expected = identity::delivery_id(application, "/billing", id, subscription, Generation::default());
        assert_eq!(out.headers.text(header::DELIVERY), Some(expected.to_string().as_str()), "its id is as any other's");
    }
    // Whoever writes it once more, with its mark, means it. Any other value of the header is no mark.
    assert_eq!(world.plan(0, event(2, "made_1", &[("hookbus-id-made", "1")])), EventVerdict::Matched(1));
    for (offset, verdict) in [(3, EventVerdict::Matched(1)), (4, EventVerdict::Repeat)] {
        assert_eq!(world.plan(0, event(offset, "own", &[("hookbus-id-made", "0")])), verdict);
    }
    assert!(world.commit().0.contains_key("hookbus.seen"));
}

proptest! {
    #[test]
    fn every_record_leaves_one_lifecycle_record_and_every_identity_fans_out_once(
        records in proptest::collection::vec((0_i32..3, 0_u8..20, 0_u8..8, 0_u8..10), 1..200),
    ) {
        let mut world = World::new();
        let mut offsets = [0_i64; 3];
        let (mut fanned_out, mut lifecycles, mut accepted) = (BTreeMap::new(), 0, BTreeSet::new());
        for (partition, id, kind, commit) in &records {
            let id = format!("evt_{id}");
            let offset = &mut offsets[usize::try_from(*partition).unwrap()];
            let mut record = event(*offset, &id, &[]);
            match kind {
                0 => record.value = None,
                1 => record = event(*offset, &id, &[(header::APPLICATION, "nobody")]),
                _ => {
                    accepted.insert((*partition, id.clone()));
                }
            }
            // Markers and other holes.
            *offset += 1 + i64::from(*kind);
            world.plan(*partition, record);
            if *commit > 0 { continue }
            tally(&mut world, &mut fanned_out, &mut lifecycles);
        }
        tally(&mut world, &mut fanned_out, &mut lifecycles);
        prop_assert_eq!(lifecycles, records.len());
        prop_assert!(fanned_out.values().all(|count| *count == 1));
        prop_assert_eq!(fanned_out.into_keys().collect::<BTreeSet<_>>(), accepted);
    }
}

fn tally(world: &mut World, fanned_out: &mut BTreeMap<(i32, String), usize>, lifecycles: &mut usize) {
    let last = world.outbox.len();
    let (outputs, progress) = world.commit();
    assert!(progress.iter().all(|progress| progress.committed > 0) || last == 0);
    *lifecycles += outputs.get("hookbus.attempts").map_or(0, Vec::len);
    for out in outputs.get("hookbus.deliveries").into_iter().flatten() {
        let origin: schemas::delivery::Origin = out.headers.text(header::ORIGIN).unwrap().parse().unwrap();
        let id = out.headers.text(header::CE_ID).unwrap().to_owned();
        *fanned_out.entry((origin.partition, id)).or_default() += 1;
    }
}
