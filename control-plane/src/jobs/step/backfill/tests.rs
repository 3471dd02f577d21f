//! What is decided without Kafka: what is noted, when reading may begin, and what a record of the past is.

use catalog::Catalog;
use schemas::control::{ControlObject, SourceFormat, Target, UnknownEventTypes};
use schemas::delivery::Origin;
use schemas::event_type::EventTypePattern;
use schemas::header;
use schemas::ids::{ApplicationId, DeliveryId, Generation, PositionId, SourceId, SubscriptionId};
use schemas::record::{Headers, Record};
use uuid::Uuid;

use super::cursor::NextRange;
use super::look::{LookedAt, PastRules, SchemasAtHand};
use super::*;

const DAY_MS: i64 = 86_400_000;
const OURS: u128 = 9;
const THEIRS: u128 = 8;

fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition::new(topic, number)
}

fn cursor() -> BackfillCursor {
    BackfillCursor::noted(vec![
        TopicRanges { topic: "events".to_owned(), ranges: vec![(0, 10), (5, 5), (7, 9)] },
        TopicRanges { topic: "idle".to_owned(), ranges: vec![(3, 3)] },
        TopicRanges { topic: "orders".to_owned(), ranges: vec![(100, 200)] },
    ])
}

#[test]
fn one_partition_is_read_after_the_other_and_the_empty_ones_are_passed_over() {
    let mut cursor = cursor();
    assert_eq!((cursor.is_waiting(), cursor.next()), (true, None), "not before the fan-out has passed it");
    assert_eq!(cursor.topics().collect::<Vec<_>>(), ["events", "orders"], "the fan-out is not asked for idle ones");
    let ends = [("events", 0), ("events", 1), ("orders", 0), ("orders", 1), ("x", 0)];
    let ends = ends.map(|(topic, number)| cursor.end_of(&partition(topic, number)));
    assert_eq!(ends, [Some(10), None, Some(200), None, None]);
    cursor.passed();
    let mut read = Vec::new();
    while let Some(NextRange { partition, from, end }) = cursor.next() {
        read.push((partition.to_string(), from, end));
        // In two steps, and it goes on where it was written that it is.
        let to = if end - from > 4 { from + 4 } else { end };
        cursor.advance(&partition, to);
        cursor = BackfillCursor::decode(&cursor.encode()).unwrap();
    }
    let of = |topic: &str, from, end| (topic.to_owned(), from, end);
    assert_eq!(read[..4], [of("events/0", 0, 10), of("events/0", 4, 10), of("events/0", 8, 10), of("events/2", 7, 9)]);
    assert_eq!(
        (read.len(), read[4].clone(), read[28].clone()),
        (29, of("orders/0", 100, 200), of("orders/0", 196, 200))
    );
}

#[test]
fn how_much_is_read_is_told_of_all_partitions_together() {
    use crate::jobs::known::tests::definition;
    let job = |cursor: Option<&BackfillCursor>| {
        let definition = schemas::jobs::JobDefinition { kind: schemas::jobs::JobKind::Backfill, ..definition(1, 1) };
        let job = KnownJob::asked(definition);
        match cursor {
            None => job.percent(),
            Some(cursor) => job.at(cursor.encode()).percent(),
        }
    };
    let mut cursor = cursor();
    assert_eq!((job(None), job(Some(&cursor))), (Some(0), Some(0)));
    cursor.passed();
    cursor.advance(&partition("events", 0), 6);
    assert_eq!(job(Some(&cursor)), Some(5), "6 of 112");
    cursor.advance(&partition("orders", 0), 144);
    assert_eq!(job(Some(&cursor)), Some(50));
}

fn lag(committed: Option<i64>, log: (i64, i64), records: Option<i64>) -> PartitionLag {
    let (log_start, log_end) = log;
    PartitionLag { partition: partition("t", 0), committed, metadata: String::new(), log_start, log_end, records }
}

#[test]
fn reading_begins_where_the_fan_out_has_read_all_that_was_noted() {
    for (told, end, begins, passed) in [
        (lag(Some(10), (0, 12), Some(2)), 10, None, true),
        (lag(Some(9), (0, 12), Some(3)), 10, None, false),
        // What follows are markers.
        (lag(Some(9), (0, 10), Some(0)), 10, None, true),
        // A transaction is open there, or too many follow to be counted.
        (lag(Some(9), (0, 10), None), 10, None, false),
        // It was never read: it begins where its source says, else with its first record.
        (lag(None, (0, 10), Some(10)), 10, None, false),
        (lag(None, (0, 12), Some(12)), 10, Some(10), true),
        (lag(None, (0, 12), Some(12)), 10, Some(4), false),
        // Retention took all of it.
        (lag(None, (10, 12), Some(2)), 10, None, true),
        (lag(Some(3), (10, 12), Some(2)), 10, None, true),
    ] {
        assert_eq!(has_passed(&told, end, begins), passed, "{told:?} {begins:?}");
    }
}

#[test]
fn what_a_subscription_got_before_deliveries_are_kept_is_not_guessed() {
    let now = 100 * DAY_MS;
    let kept = Some(8 * DAY_MS);
    // It is younger than what is kept, or what is asked for is.
    assert_eq!(forgotten_before(kept, (now - 7 * DAY_MS, None), now), None);
    assert_eq!(forgotten_before(kept, (0, Some(now - 7 * DAY_MS)), now), None);
    let known = Some(now - 8 * DAY_MS + CLOCK_MARGIN_MS);
    assert_eq!(forgotten_before(kept, (0, None), now), known);
    assert_eq!(forgotten_before(kept, (now - 8 * DAY_MS, Some(0)), now), known, "clocks may differ");
    assert_eq!(forgotten_before(None, (0, None), now), None, "they are kept for ever");
}

fn organization(number: u128) -> OrganizationId {
    OrganizationId(Uuid::from_u128(number))
}

fn application(id: u128, owner: u128) -> Application {
    Application {
        uid: Some("shop".to_owned()),
        unknown_event_types: UnknownEventTypes::Accept,
        ..Application::new(ApplicationId(Uuid::from_u128(id)), organization(owner), "shop", 0)
    }
}

/// The rules for a subscription of `shop` that listens to paid invoices with a label, by a filter.
fn rules(source: Option<u128>) -> PastRules {
    let vault = Arc::new(vault::Vault::new(&[vault::EncryptionKey::new("k1", [1; 32])], &[2; 32]).unwrap());
    let (id, ours) = (SubscriptionId(Uuid::from_u128(11)), application(1, OURS));
    let subscription = schemas::control::Subscription {
        event_types: vec![EventTypePattern::parse("invoice.*").unwrap()],
        labels: [("env".to_owned(), "live".to_owned())].into(),
        filter: Some("data.a > 1".to_owned()),
        target: Target { method: "POST".into(), url: "https://example.com/".into(), ..Target::default() },
        ..schemas::control::Subscription::new(id, ours.application_id, 0)
    };
    let objects = [
        ControlObject::Application(ours.clone()),
        ControlObject::Application(application(2, THEIRS)),
        ControlObject::Subscription(Box::new(subscription)),
    ];
    let catalog = Catalog::of(objects, vault);
    let subscription = Arc::clone(catalog.read().subscription(id).unwrap());
    let to = PastReceiver { application: Arc::new(ours), subscription, control_offset: 3 };
    let source = source.map(|owner| {
        let (id, position) = (SourceId(Uuid::from_u128(1)), PositionId(Uuid::from_u128(2)));
        let source = TopicSource::new(id, organization(owner), "orders", SourceFormat::Cloudevents, position, 0);
        (organization(owner), Mapping::compile(&source).unwrap())
    });
    let topic = if source.is_some() { "orders" } else { "events" };
    let (installation, partition) = (organization(OURS), partition(topic, 1));
    PastRules {
        catalog,
        to,
        installation,
        source,
        decoded_limit: 1 << 20,
        partition,
        times: (Some(1_000), Some(9_000)),
    }
}

fn record(changed: &[(&str, &str)]) -> Record {
    let usual = [
        (header::CE_ID, "evt_1"),
        (header::CE_SOURCE, "/billing"),
        (header::CE_TYPE, "invoice.paid"),
        (header::APPLICATION, "shop"),
        (header::LABELS, r#"{"env":"live"}"#),
        (header::CONTENT_TYPE, "application/json"),
    ];
    let is_kept = |(name, _): &&(&str, &str)| !changed.iter().any(|(other, _)| other == name);
    let headers: Headers = usual.iter().filter(is_kept).chain(changed).copied().collect();
    let value = Some(bytes::Bytes::from_static(b"{\"a\":2}"));
    Record { offset: 42, timestamp_ms: 5_000, key: None, value, headers }
}

fn delivery_of(rules: &PastRules, record: &Record) -> Option<DeliveryId> {
    match rules.look(record, &SchemasAtHand::default(), 0) {
        LookedAt::Nothing => None,
        LookedAt::Event(event) => Some(event.delivery),
        LookedAt::Needs(key) => panic!("{key:?}"),
    }
}

#[test]
fn a_record_of_the_past_is_what_the_fan_out_would_have_made_of_it() {
    let rules = rules(None);
    let LookedAt::Event(event) = rules.look(&record(&[]), &SchemasAtHand::default(), 0) else { panic!("it matches") };
    let (application, subscription) = (rules.to.application.application_id, rules.to.subscription.id());
    let id = schemas::identity::delivery_id(application, "/billing", "evt_1", subscription, Generation::default());
    assert_eq!((event.delivery, event.accepted_ms), (id, 5_000));
    assert_eq!(event.origin.parse::<Origin>().unwrap().to_string(), "events/1/42");
    let by_id = Uuid::from_u128(1).to_string();
    assert_eq!(delivery_of(&rules, &record(&[(header::APPLICATION, &by_id)])), Some(id));
}

#[test]
fn what_is_not_for_the_subscription_is_passed_over() {
    let rules = rules(None);
    let theirs = Uuid::from_u128(2).to_string();
    for (name, value) in [
        (header::CE_TYPE, "order.paid"),
        (header::LABELS, r#"{"env":"test"}"#),
        (header::LABELS, "[1]"),
        (header::APPLICATION, theirs.as_str()),
        (header::APPLICATION, "nobody"),
    ] {
        assert_eq!(delivery_of(&rules, &record(&[(name, value)])), None, "{name}: {value}");
    }
    for other in [
        Record { value: Some(bytes::Bytes::from_static(b"{\"a\":1}")), ..record(&[]) },
        Record { timestamp_ms: 999, ..record(&[]) },
        Record { timestamp_ms: 9_001, ..record(&[]) },
        Record { value: None, ..record(&[]) },
    ] {
        assert_eq!(delivery_of(&rules, &other), None, "{other:?}");
    }
    assert!(delivery_of(&rules, &Record { timestamp_ms: 1_000, ..record(&[]) }).is_some());
}

#[test]
fn a_source_gives_to_its_own_organization_alone_and_is_not_the_gateway() {
    let (ours, theirs) = (rules(Some(OURS)), rules(Some(THEIRS)));
    assert!(delivery_of(&ours, &record(&[])).is_some());
    assert_eq!(delivery_of(&theirs, &record(&[])), None, "their `shop` is another one");
    let source = format!("/applications/{}", Uuid::from_u128(1));
    assert_eq!(delivery_of(&ours, &record(&[(header::CE_SOURCE, &source)])), None);
    assert!(delivery_of(&rules(None), &record(&[(header::CE_SOURCE, &source)])).is_some());
}

#[test]
fn topics_of_sources_that_name_another_application_are_not_read() {
    let shop = application(1, OURS);
    let id = Uuid::from_u128(1).to_string();
    for (template, may) in [(None, true), (Some("shop"), true), (Some(id.as_str()), true), (Some("other"), false)] {
        assert_eq!(may_name(template, &shop), may, "{template:?}");
    }
    assert!(may_name(Some("{header:app}"), &shop));
}
