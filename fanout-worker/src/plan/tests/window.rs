//! How long an id is a repeat where its application says so itself.

use super::*;

/// `shop` with a window of its own.
fn world(window_ms: u32) -> World {
    let ControlObject::Application(shop) = application(1, "shop", UnknownEventTypes::Accept) else { unreachable!() };
    World::of(with([ControlObject::Application(Application { dedup_window_ms: Some(window_ms), ..shop })]))
}

fn at(offset: i64, id: &str, at_ms: i64) -> Record {
    Record { timestamp_ms: NOW_MS + at_ms, ..event(offset, id, &[]) }
}

#[test]
fn an_applications_window_ends_when_it_says() {
    let mut world = world(1_000);
    let verdicts = [(0, -9_000), (1, -8_000), (2, -7_999)].map(|(offset, at_ms)| world.plan(0, at(offset, "a", at_ms)));
    assert_eq!(verdicts, [EventVerdict::Matched(1), EventVerdict::Repeat, EventVerdict::Matched(1)]);
    // From then on the second one counts.
    assert_eq!(world.plan(0, at(3, "a", -7_000)), EventVerdict::Repeat);
    let (outputs, _) = world.commit();
    let seen = &outputs["hookbus.seen"][0];
    let kept: Vec<u32> = seen::decode(seen.value.as_ref().unwrap()).unwrap().map(|(_, age_ms)| age_ms).collect();
    assert_eq!(kept, [1_001, 0], "each with its own time, so that a successor decides the same");
}

#[test]
fn what_is_longer_than_the_installations_window_is_that() {
    let mut world = world(u32::MAX);
    let day = 86_400_000;
    assert_eq!(world.plan(0, at(0, "a", -2 * day)), EventVerdict::Matched(1));
    assert_eq!(world.plan(0, at(1, "a", -day - 3_600_000)), EventVerdict::Repeat);
    assert_eq!(world.plan(0, at(2, "b", 0)), EventVerdict::Matched(1));
    assert_eq!(world.plan(0, at(3, "a", 0)), EventVerdict::Matched(1));
}

#[test]
fn without_a_window_every_event_is_a_new_one_and_nothing_is_remembered() {
    let mut world = world(0);
    for offset in 0..3 {
        assert_eq!(world.plan(0, at(offset, "a", -9_000)), EventVerdict::Matched(1));
    }
    let (outputs, _) = world.commit();
    assert_eq!((outputs["hookbus.deliveries"].len(), outputs.contains_key("hookbus.seen")), (3, false));
    assert_eq!(world.identities.len(), 0);
}
