//! What an event may become at most, and that planning a wide one gives way.

use super::*;
use crate::weigh::delivery_bytes;

/// A catalog in which `order.placed` matches this many subscriptions.
fn matching(subscriptions: usize) -> World {
    let objects = (0..subscriptions).map(|number| subscription(1_000 + number as u128, "order.*", &[]));
    let mut world = World::of(with(objects));
    world.planner.limits =
        EventLimits { matches: 100_000, bytes: 16_777_216, slice_records: 10_000, slice_bytes: 16_777_216 };
    world
}

fn order(offset: i64, payload: usize, extra: &[(&str, &str)]) -> Record {
    let record = event(offset, &format!("evt_{offset}"), &[&[(header::CE_TYPE, "order.placed")], extra].concat());
    Record { value: Some(vec![b'1'; payload].into()), ..record }
}

fn rejected_detail(world: &mut World) -> String {
    let (outputs, _) = world.commit();
    assert!(!outputs.contains_key("hookbus.deliveries"));
    outputs["hookbus.rejected"][0].headers.text(header::DETAIL).unwrap().to_owned()
}

#[test]
fn an_event_whose_deliveries_are_more_than_may_be_written_is_rejected_with_the_numbers() {
    let mut world = matching(30);
    world.planner.limits.bytes = 2_000_000;
    assert_eq!(world.plan(0, order(0, 60_000, &[])), EventVerdict::Matched(30));
    world.commit();
    assert_eq!(world.plan(0, order(1, 100_000, &[])), EventVerdict::Rejected(RejectReason::TooManyMatches));
    let detail = rejected_detail(&mut world);
    for part in ["30 matching subscriptions", "fanout.max_expansion_bytes allows 2000000", "send a link", "raise it"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    // Its identity was not accepted: sent again with a smaller payload it passes.
    assert_eq!(world.plan(0, Record { offset: 2, ..order(1, 100, &[]) }), EventVerdict::Matched(30));
}

#[test]
fn one_delivery_always_passes() {
    let mut world = matching(1);
    world.planner.limits.bytes = 1;
    assert_eq!(world.plan(0, order(0, 600_000, &[])), EventVerdict::Matched(1));
}

#[test]
fn nothing_is_made_of_an_event_that_becomes_too_much() {
    let mut world = matching(20_000);
    world.planner.limits.bytes = 16_777_216;
    assert_eq!(world.plan(0, order(0, 100_000, &[])), EventVerdict::Rejected(RejectReason::TooManyMatches));
    assert!(world.planner.outputs.capacity() < 100, "{} outputs had room", world.planner.outputs.capacity());
}

#[test]
fn a_wide_event_is_made_in_steps_and_is_judged_once() {
    let mut world = matching(2_000);
    world.hurry = true;
    let mut record = order(0, 10, &[(header::LABELS, r#"{"env":"live"}"#)]);
    let mut steps = 0;
    loop {
        match world.try_plan(0, record) {
            Tried::Done(verdict) => {
                // 13 of the usual catalog matches too.
                assert_eq!(verdict, EventVerdict::Matched(2_001));
                break;
            }
            Tried::Aside(again) => record = again,
            tried @ (Tried::Later(_) | Tried::Slice(_)) => panic!("{tried:?}"),
        }
        assert_eq!(world.outbox.len(), 0, "an event is in the batch whole or not at all");
        steps += 1;
    }
    assert_eq!(steps, 2_001 / EXPANDED_AT_ONCE);
    assert_eq!(world.plan(0, Record { offset: 1, ..order(0, 10, &[]) }), EventVerdict::Repeat);
    let (outputs, _) = world.commit();
    let receivers: BTreeSet<_> = outputs["hookbus.deliveries"].iter().map(|out| out.key.clone()).collect();
    assert_eq!((receivers.len(), outputs["hookbus.deliveries"].len()), (2_001, 2_001));
    assert_eq!(outputs["hookbus.attempts"].len(), 2);
}

#[test]
fn a_wide_event_whose_partition_went_and_came_back_begins_anew() {
    let mut world = matching(2_000);
    world.hurry = true;
    let Tried::Aside(record) = world.try_plan(0, order(0, 10, &[])) else { panic!("2,000 deliveries in one step") };
    // Another record of another partition is planned between, as after a revoke.
    assert_eq!(world.plan(1, event(7, "other", &[])), EventVerdict::Matched(1));
    world.planner.forget_aside();
    world.hurry = false;
    assert_eq!(world.plan(0, record), EventVerdict::Matched(2_000));
    let (outputs, _) = world.commit();
    assert_eq!(outputs["hookbus.deliveries"].len(), 2_001);
}

proptest! {
    #[test]
    fn what_is_expected_is_never_less_than_what_is_made(
        payload in 0_usize..5_000,
        (id, source) in ("[a-z]{1,200}", "[a-z]{0,200}"),
        (note, labels) in ("[a-z]{0,100}", 0_usize..3),
        (partition, offset) in (0_i32..1_000, 0_i64..i64::MAX),
    ) {
        let mut world = matching(3);
        let labels = ["{}", r#"{"env":"live"}"#, r#"{"env":"live","region":"eu"}"#][labels];
        let extra = [(header::CE_ID, id.as_str()), (header::CE_SOURCE, &source), ("ce_note", &note), (header::LABELS, labels)];
        let headers: Headers = [(header::CE_TYPE, "order.placed"), (header::APPLICATION, "shop")].iter().chain(&extra).copied().collect();
        let record = Record { headers, ..order(offset, payload, &[]) };
        let at = lease(partition).partition;
        let event = sources::decode(&record, &at).unwrap();
        let expected = delivery_bytes(&event, Place { record: &record, partition: &at, now_ms: NOW_MS, retries: 0 });
        drop(event);
        world.plan(partition, record);
        let (outputs, _) = world.commit();
        for made in &outputs["hookbus.deliveries"] {
            prop_assert!(made.size() <= expected, "{} of {expected}", made.size());
            // Nor so much more that what would pass is refused.
            prop_assert!(expected < made.size() + 200, "{} of {expected}", made.size());
        }
    }
}
