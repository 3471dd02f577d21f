//! What a source that is moved back does again, and what it does not.

use kafka::Handled;
use schemas::control::{DeliveryOrder, SourceFormat, TopicSource};
use schemas::ids::{PositionId, SourceId};
use schemas::ordering::OrderingKey;

use super::*;
use crate::intake::SourceRoute;

const DAY_MS: i64 = 86_400_000;

/// A source that has handled the first 50 records of its partition.
struct Moved {
    world: World,
    seen: Seen,
    route: SourceRoute,
    handled: Handled,
}

impl Moved {
    fn new() -> Self {
        Self::of(SourceFormat::Cloudevents, World::new())
    }

    fn of(format: SourceFormat, world: World) -> Self {
        let (id, position) = (SourceId(Uuid::from_u128(1)), PositionId(Uuid::from_u128(2)));
        let owner = OrganizationId(Uuid::from_u128(9));
        let source = TopicSource::new(id, owner, "orders", format, position, 0);
        let route = SourceRoute::new(Arc::new(source), 1_000);
        Self { seen: world.identities.partition(), world, route, handled: Handled::nothing().with(0, 50) }
    }

    /// What becomes of an event that is so old.
    fn plan(&mut self, offset: i64, id: &str, age_ms: i64) -> EventVerdict {
        self.plan_record(Record { timestamp_ms: NOW_MS - age_ms, ..event(offset, id, &[]) })
    }

    fn plan_record(&mut self, record: Record) -> EventVerdict {
        let lease = Lease { partition: TopicPartition::new("orders", 0), epoch: Epoch(0) };
        let source = Some(SourceTurn::after(&self.route, &self.handled));
        let World { catalog, planner, now, .. } = &mut self.world;
        let mut turn = Turn {
            catalog,
            seen: &mut self.seen,
            source,
            retried: None,
            written: None,
            now_ms: NOW_MS,
            now: *now,
            is_over: &|| false,
        };
        let Planned::Done(note) = planner.plan(&mut turn, &lease, record) else { panic!("no filters") };
        note.verdict
    }
}

/// An event whose id is its position.
fn unnamed(offset: i64, age_ms: i64) -> Record {
    let own = [(header::CE_SOURCE, "/billing"), (header::APPLICATION, "shop"), (header::CE_TYPE, "invoice.paid")];
    let value = Some(bytes::Bytes::from_static(b"{}"));
    Record { offset, timestamp_ms: NOW_MS - age_ms, key: None, value, headers: own.into_iter().collect() }
}

#[test]
fn what_a_source_without_ids_has_rejected_is_planned_again_and_what_it_has_fanned_out_is_not() {
    let mut moved = Moved::new();
    moved.handled.judge(7, true);
    assert_eq!(moved.plan_record(unnamed(6, DAY_MS / 2)), EventVerdict::Repeat);
    assert_eq!(moved.plan_record(unnamed(7, DAY_MS / 2)), EventVerdict::Matched(1));
    // It was retried, or read again, since: its identity is known by then.
    assert_eq!(moved.plan_record(unnamed(7, DAY_MS / 2)), EventVerdict::Repeat);
    assert_eq!(moved.plan_record(unnamed(50, 0)), EventVerdict::Matched(1));
}

#[test]
fn back_beyond_the_window_is_for_what_was_missed_and_repeats_what_was_handled() {
    let mut moved = Moved::new();
    assert_eq!(moved.plan(100, "newest", 0), EventVerdict::Matched(1));
    // It was moved back: the window knows of what is a day old, and no more.
    assert_eq!(moved.plan(5, "handled", 2 * DAY_MS), EventVerdict::Repeat);
    assert_eq!(moved.plan(60, "missed", 2 * DAY_MS), EventVerdict::Matched(1));
    assert_eq!(moved.plan(6, "rejected", DAY_MS / 2), EventVerdict::Matched(1), "inside it an accepted one is known");
    assert_eq!(moved.plan(7, "rejected", DAY_MS / 2), EventVerdict::Repeat);
}

#[test]
fn what_was_fanned_out_is_not_rejected_by_the_mapping_of_now_and_so_never_sent_twice() {
    let mut moved = Moved::new();
    let nothing_more = |record: Record| {
        let own = [(header::CE_SOURCE, "/billing"), (header::APPLICATION, "shop")];
        Record { headers: own.into_iter().collect(), ..record }
    };
    assert_eq!(moved.plan_record(nothing_more(unnamed(6, DAY_MS / 2))), EventVerdict::Repeat);
    assert!(moved.world.planner.outputs().is_empty(), "nothing is there to be retried");
    // What was rejected before, or was not there yet, is.
    moved.handled.judge(7, true);
    for offset in [7, 50] {
        let verdict = moved.plan_record(nothing_more(unnamed(offset, 0)));
        assert!(matches!(verdict, EventVerdict::Rejected(_)), "{offset}: {verdict:?}");
    }
}

#[test]
fn a_record_of_a_source_does_not_pass_for_what_came_over_http() {
    let mut moved = Moved::new();
    let says = |source: &str| Record { offset: 60, ..event(60, "evt_1", &[(header::CE_SOURCE, source)]) };
    let verdict = moved.plan_record(says(&identity::gateway_source(ApplicationId(Uuid::from_u128(1)))));
    assert_eq!(verdict, EventVerdict::Rejected(RejectReason::InvalidAttribute));
    let other = identity::gateway_source(ApplicationId(Uuid::from_u128(77)));
    assert_eq!(moved.plan_record(says(&other)), EventVerdict::Matched(1), "another installation's may be copied");
}

#[test]
fn what_a_body_says_it_is_in_order_with_counts_before_its_records_key() {
    let ControlObject::Subscription(mut ordered) = subscription(21, "a.b", &[]) else { panic!("a subscription") };
    ordered.ordering = DeliveryOrder::Key;
    let world = World::of(with([ControlObject::Subscription(ordered)]));
    let mut moved = Moved::of(SourceFormat::Hookbus, world);
    let mut key_of = |offset, body: &'static str| {
        let (key, value) = (Some("the record's".into()), Some(body.into()));
        let record = Record { offset, timestamp_ms: NOW_MS, key, value, headers: Headers::default() };
        assert_eq!(moved.plan_record(record), EventVerdict::Matched(1));
        let out = moved.world.planner.outputs().iter().find(|out| &*out.topic == "hookbus.deliveries").unwrap().clone();
        let record = Record { offset: 0, timestamp_ms: 0, key: out.key, value: out.value, headers: out.headers };
        Delivery::decode(&record).unwrap().ordering_key
    };
    let with = r#"{"application_id":"shop","event_type":"a.b","payload":1,"ordering_key":"customer 7"}"#;
    assert_eq!(key_of(60, with), Some(OrderingKey::of(b"customer 7")));
    let without = r#"{"application_id":"shop","event_type":"a.b","payload":1}"#;
    assert_eq!(key_of(61, without), Some(OrderingKey::of(b"the record's")));
}

#[test]
fn without_a_window_what_was_handled_is_known_by_its_place() {
    let ControlObject::Application(shop) = application(1, "shop", UnknownEventTypes::Accept) else { unreachable!() };
    let shop = ControlObject::Application(Application { dedup_window_ms: Some(0), ..shop });
    let mut moved = Moved::of(SourceFormat::Cloudevents, World::of(with([shop])));
    assert_eq!(moved.plan(49, "a", 1_000), EventVerdict::Repeat, "moved back: it was fanned out from there");
    assert_eq!([50, 51].map(|offset| moved.plan(offset, "a", 1_000)), [EventVerdict::Matched(1); 2]);
}
