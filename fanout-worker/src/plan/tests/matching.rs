//! Filters, schemas and types to be declared.

use serde_json::json;

use super::*;
use crate::config::{ASIDE_AT_MOST, COMPILED_AT_ONCE, FAILURE_PERIOD, FAILURES_AT_ONCE, UNDECLARED_PERIOD};

const SHOP: ApplicationId = ApplicationId(Uuid::from_u128(1));

fn filtered(number: u128, filter: &str) -> ControlObject {
    let ControlObject::Subscription(mut object) = subscription(number, "order.*", &[]) else { unreachable!() };
    object.filter = Some(filter.to_owned());
    ControlObject::Subscription(object)
}

fn demanding(application: ApplicationId) -> ControlObject {
    let name = EventTypeName::parse("order.placed").unwrap();
    let schema = Some(json!({"properties": {"lines": {"items": {"required": ["sku"]}}}}));
    ControlObject::EventType(EventType { schema, ..EventType::new(application, name, 0) })
}

fn order(offset: i64, payload: &str, extra: &[(&str, &str)]) -> Record {
    let id = format!("evt_{offset}");
    let own = [(header::CE_ID, id.as_str()), (header::CE_SOURCE, "/shop"), (header::APPLICATION, "shop")];
    let headers = [(header::CE_TYPE, "order.placed")].iter().chain(&own).chain(extra).copied().collect();
    Record { offset, timestamp_ms: NOW_MS, key: None, value: Some(payload.to_owned().into()), headers }
}

/// The record that puts an object.
fn control_record(object: &ControlObject) -> OutRecord {
    OutRecord {
        topic: Arc::from("control"),
        partition: None,
        key: Some(object.key().to_string().into()),
        value: Some(object.encode().unwrap().into()),
        headers: Headers::default(),
    }
}

/// A lifecycle record: kind, reason, detail.
type Said = (Kind, Option<String>, Option<String>);

/// Who the deliveries of a commit are for, and its lifecycle records but the matched ones.
fn said(world: &mut World) -> (Vec<u128>, Vec<Said>) {
    let (outputs, _) = world.commit();
    let key = |record: &OutRecord| Uuid::try_parse_ascii(record.key.as_ref().unwrap()).unwrap().as_u128();
    let mut receivers: Vec<u128> = outputs.get("hookbus.deliveries").into_iter().flatten().map(key).collect();
    receivers.sort_unstable();
    let others = outputs["hookbus.attempts"].iter().map(lifecycle).filter(|record| record.kind != Kind::Matched);
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map(|text| text.to_string());
    (receivers, others.map(|record| (record.kind, text(&record.reason), text(&record.detail))).collect())
}

#[test]
fn a_filter_decides_after_type_and_labels() {
    let mut world = World::of(with([
        filtered(21, "data.total > 100"),
        filtered(22, "data.total > 100 && labels.region == 'eu'"),
        filtered(23, "type == 'order.placed' && id.startsWith('evt_') && time > timestamp(1700000000)"),
        filtered(24, "data.total <= 100"),
    ]));
    world.planner.limits.matches = 10;
    assert_eq!(
        world.plan(0, order(0, r#"{"total":150}"#, &[(header::LABELS, r#"{"region":"eu"}"#)])),
        EventVerdict::Matched(3)
    );
    assert_eq!(said(&mut world), (vec![21, 22, 23], vec![]));
    assert_eq!(
        world.plan(0, order(1, r#"{"total":50}"#, &[(header::LABELS, r#"{"region":"us"}"#)])),
        EventVerdict::Matched(2)
    );
    assert_eq!(said(&mut world), (vec![23, 24], vec![]));
    assert!(world.planner.take_failed_filters().is_empty());
}

#[test]
fn a_deprecated_type_says_so_in_each_of_its_deliveries_whatever_the_record_says() {
    let deprecated = |number: u128| {
        let ControlObject::EventType(object) = demanding(ApplicationId(Uuid::from_u128(number))) else {
            unreachable!()
        };
        let moments = (Some(1_790_000_000_000), Some(1_805_000_000_000));
        ControlObject::EventType(EventType {
            deprecated: true,
            deprecated_ms: moments.0,
            sunset_ms: moments.1,
            ..object
        })
    };
    let said = |world: &mut World| -> Vec<Option<String>> {
        let (outputs, _) = world.commit();
        let deliveries = outputs["hookbus.deliveries"].iter();
        deliveries.map(|it| it.headers.text(header::DEPRECATION).map(str::to_owned)).collect()
    };
    let strangers = [(header::DEPRECATION, "1/2")];
    let subscriptions = || (21..621).map(|number| subscription(number, "order.*", &[]));
    let planned = |object| {
        let mut world = World::of(with(subscriptions().chain([object])));
        world.planner.limits.matches = 600;
        // The deliveries are made in several steps.
        world.hurry = true;
        assert_eq!(world.plan(0, order(0, r#"{"lines":[]}"#, &strangers)), EventVerdict::Matched(600));
        said(&mut world)
    };
    assert_eq!(planned(deprecated(1)), vec![Some("1790000000000/1805000000000".to_owned()); 600]);
    assert_eq!(planned(deprecated(2)), vec![None; 600], "another application's type of that name");
}

#[test]
fn the_cap_counts_what_the_filters_left() {
    let mut world = World::of(with((21..40).map(|number| filtered(number, &format!("data.total == {number}")))));
    assert_eq!(world.plan(0, order(0, r#"{"total":30}"#, &[])), EventVerdict::Matched(1));
    assert_eq!(said(&mut world), (vec![30], vec![]));
}

#[test]
fn an_event_that_meets_many_new_filters_is_put_aside_and_they_are_compiled_in_steps() {
    let filters = |total: u128| (21..121).map(move |number| filtered(number, &format!("data.total == {total}")));
    let mut world = World::of(with(filters(1).take(COMPILED_AT_ONCE)));
    world.planner.limits.matches = 100;
    let few = order(0, r#"{"total":1}"#, &[]);
    assert!(matches!(world.try_plan(0, few), Tried::Done(EventVerdict::Matched(COMPILED_AT_ONCE))), "a few pass");
    world.commit();

    let mut world = World::of(with(filters(1)));
    world.planner.limits.matches = 100;
    let Tried::Aside(record) = world.try_plan(0, order(1, r#"{"total":1}"#, &[])) else { panic!("not put aside") };
    assert_eq!((world.outbox.len(), world.seen[&0].len()), (0, 0), "nothing has happened");
    assert_eq!(world.compile(), 100, "it may give way after each");
    // What changes meanwhile counts: the event is matched with what is there when it is planned.
    let changed = filters(2).take(1).map(|object| control_record(&object));
    world.catalog.feed(changed);
    assert!(matches!(world.try_plan(0, record), Tried::Done(EventVerdict::Matched(99))));
    assert_eq!(said(&mut world).0, (22..121).collect::<Vec<_>>());
}

#[test]
fn filters_that_change_as_fast_as_they_are_compiled_do_not_stop_a_partition() {
    let filters = |total: u128| (21..121).map(move |number| filtered(number, &format!("data.total < {total}")));
    let mut world = World::of(with(filters(5)));
    world.planner.limits.matches = 100;
    let mut record = order(0, r#"{"total":1}"#, &[]);
    let (mut asides, mut total) = (0, 5);
    loop {
        record = match world.try_plan(0, record) {
            Tried::Done(verdict) => break assert_eq!(verdict, EventVerdict::Matched(100)),
            Tried::Aside(record) => record,
            tried @ (Tried::Later(_) | Tried::Slice(_)) => panic!("{tried:?}"),
        };
        (asides, total) = (asides + 1, total + 1);
        world.compile();
        world.catalog.feed(filters(total).map(|object| control_record(&object)));
    }
    assert_eq!(asides, ASIDE_AT_MOST);
}

#[test]
fn a_filter_that_fails_is_no_match_and_says_so_once_in_a_while() {
    let mut world = World::of(with([filtered(21, "data.total > 100"), filtered(22, "true")]));
    let fails = |world: &mut World, offset| {
        assert_eq!(world.plan(0, order(offset, r#"{"sum":150}"#, &[])), EventVerdict::Matched(1));
        let (receivers, said) = said(world);
        assert_eq!(receivers, [22]);
        said
    };
    let first = fails(&mut world, 0);
    let told = |detail: &str| vec![(Kind::FilterFailed, Some("failed".to_owned()), Some(detail.to_owned()))];
    assert_eq!(first, told("there is no key `total`"));
    assert_eq!(fails(&mut world, 1), []);
    assert_eq!(fails(&mut world, 2), []);
    world.now += FAILURE_PERIOD;
    assert_eq!(fails(&mut world, 3), told("there is no key `total` (and 2 more failures before)"));
    assert_eq!(world.planner.take_failed_filters(), BTreeMap::from([("failed", 4)]));
    assert!(world.planner.take_failed_filters().is_empty());
    // Another subscription's failures are told whatever this one's did; no JSON is no data.
    assert_eq!(world.plan(0, order(4, "no json", &[])), EventVerdict::Matched(1));
    assert_eq!(world.planner.take_failed_filters(), BTreeMap::from([("no_data", 1)]));
}

#[test]
fn a_filter_of_a_newer_build_is_no_match_and_says_so() {
    let mut world = World::of(with([filtered(21, "data.total.frobnicate()")]));
    assert_eq!(world.plan(0, order(0, r#"{"total":1}"#, &[])), EventVerdict::Matched(0));
    let (receivers, said) = said(&mut world);
    assert_eq!((receivers.len(), said.len()), (0, 1));
    assert_eq!(said[0].1.as_deref(), Some("uncompilable"));
}

#[test]
fn a_payload_that_does_not_fit_is_rejected_with_the_place_and_its_identity_stays_free() {
    let mut world = World::of(with([demanding(SHOP), subscription(21, "order.*", &[])]));
    let bad = r#"{"lines":[{"sku":"a"},{}]}"#;
    for (offset, payload) in [(0, bad), (1, "no json")] {
        assert_eq!(world.plan(0, order(offset, payload, &[])), EventVerdict::Rejected(RejectReason::SchemaMismatch));
    }
    let (outputs, _) = world.commit();
    let rejected = &outputs["hookbus.rejected"];
    assert_eq!(rejected[0].headers.text(header::REASON), Some("schema_mismatch"));
    assert!(rejected[0].headers.text(header::DETAIL).unwrap().contains("at `/lines/1`"));
    assert_eq!(rejected[0].value.as_deref(), Some(bad.as_bytes()));
    assert_eq!(lifecycle(&outputs["hookbus.attempts"][0]).kind, Kind::Rejected);
    let fitting = Record { offset: 2, ..order(0, r#"{"lines":[{"sku":"a"}]}"#, &[]) };
    assert_eq!(world.plan(0, fitting), EventVerdict::Matched(1));
    // What the gateway said 201 to is not refused afterwards, and a repeat needs no second look.
    let source = identity::gateway_source(SHOP);
    assert_eq!(world.plan(0, order(3, bad, &[(header::CE_SOURCE, &source)])), EventVerdict::Matched(1));
    assert_eq!(world.plan(0, Record { offset: 4, ..order(0, bad, &[]) }), EventVerdict::Repeat);
}

#[test]
fn a_type_is_told_to_be_declared_once_in_a_while_until_it_is() {
    let catalog = with([application(3, "open", UnknownEventTypes::Declare)]);
    let mut world = World::of(catalog.clone());
    let open =
        |offset, event_type| order(offset, "{}", &[(header::APPLICATION, "open"), (header::CE_TYPE, event_type)]);
    let undeclared = |world: &mut World, record| {
        assert_eq!(world.plan(0, record), EventVerdict::Matched(0));
        said(world).1.iter().filter(|(kind, ..)| *kind == Kind::Undeclared).count()
    };
    assert_eq!(undeclared(&mut world, open(0, "order.placed")), 1);
    assert_eq!(undeclared(&mut world, open(1, "order.placed")), 0);
    assert_eq!(undeclared(&mut world, open(2, "order.paid")), 1, "every type is told");
    assert_eq!(undeclared(&mut world, open(3, "not/a:name")), 0, "what cannot be declared is only accepted");
    world.now += UNDECLARED_PERIOD;
    assert_eq!(undeclared(&mut world, open(4, "order.placed")), 1);
    let declared = EventType::new(ApplicationId(Uuid::from_u128(3)), EventTypeName::parse("order.placed").unwrap(), 0);
    let declared = ControlObject::EventType(declared);
    catalog.feed([control_record(&declared)]);
    world.now += UNDECLARED_PERIOD;
    assert_eq!(undeclared(&mut world, open(5, "order.placed")), 0);
    assert_eq!(undeclared(&mut world, order(6, "{}", &[])), 0, "an application that accepts declares nothing");
}

#[test]
fn more_failing_filters_than_one_event_tells_are_told_by_the_next_ones() {
    let failing = (0..250).map(|number| filtered(1_000 + number, "data.missing > 1"));
    let mut world = World::of(with(failing));
    let told = [0, 1, 2, 3].map(|offset| {
        world.plan(0, order(offset, "{}", &[]));
        said(&mut world).1.len()
    });
    assert_eq!(told, [FAILURES_AT_ONCE, FAILURES_AT_ONCE, 50, 0]);
    assert_eq!(world.planner.take_failed_filters().values().sum::<u64>(), 1_000, "each is counted");
}

#[test]
fn a_payload_whose_check_would_stop_the_others_is_rejected_unread() {
    let ControlObject::EventType(mut costly) = demanding(SHOP) else { unreachable!() };
    let values: Vec<f64> = (0..8_000).map(|number| f64::from(number) + 0.5).collect();
    costly.schema = Some(serde_json::json!({"items": {"enum": values}}));
    let mut world = World::of(with([ControlObject::EventType(costly)]));
    let payload = format!("[{}]", vec!["7.5"; 20_000].join(","));
    assert_eq!(world.plan(0, order(0, &payload, &[])), EventVerdict::Rejected(RejectReason::SchemaTooCostly));
    assert_eq!(world.plan(0, order(1, "[7.5]", &[])), EventVerdict::Matched(0));
    let (outputs, _) = world.commit();
    let detail = outputs["hookbus.rejected"][0].headers.text(header::DETAIL).unwrap();
    assert!(detail.contains("at most 20 are allowed"), "{detail}");
}
