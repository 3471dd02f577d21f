//! What the filters of a wide event may cost together, however many steps they are asked in.

use super::slices::{fan_out, order, world};
use super::*;

/// So many subscriptions to `order.*` with a filter each.
fn filtered(count: u128, filter: impl Fn(u128) -> String) -> Vec<ControlObject> {
    let subscription = |number| {
        let ControlObject::Subscription(mut object) = subscription(number, "order.*", &[]) else { unreachable!() };
        object.filter = Some(filter(number));
        ControlObject::Subscription(object)
    };
    (100..100 + count).map(subscription).collect()
}

fn with_payload(record: Record, payload: String) -> Record {
    Record { value: Some(payload.into()), ..record }
}

#[test]
fn filters_that_cost_too_much_together_do_so_in_one_step_and_in_many() {
    let numbers: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    let payload = format!("{{\"xs\":[{}]}}", numbers.join(","));
    for hurry in [false, true] {
        let costly = |number| format!("data.xs.all(a, data.xs.all(b, a + b + {number} > 0))");
        let mut world = world(filtered(60, costly));
        world.hurry = hurry;
        let (verdict, _) = fan_out(&mut world, with_payload(order(7, 1), payload.clone()), |_, _| {});
        assert_eq!(verdict, EventVerdict::Matched(0));
        let failed = world.planner.take_failed_filters();
        let (alone, together) = (failed.get("too_costly"), failed.get("event_too_costly"));
        // Each takes a tenth of what all of them have.
        assert_eq!((alone, together), (Some(&10), Some(&50)), "{hurry}: {failed:?}");
    }
}

/// Reading the record and parsing its payload may take a step's whole time: what was done by then has to be worth it.
#[test]
fn a_step_asks_more_than_one_filter_though_its_time_is_over_when_it_begins() {
    let mut world = world(filtered(3_000, |number| format!("data.n == {}", number % 300)));
    world.hurry = true;
    let (mut record, mut steps) = (with_payload(order(7, 1), "{\"n\":7}".to_owned()), 0);
    world.outbox.open(&lease(0), Window::restore(7, 7, Vec::new()), 7);
    let verdict = loop {
        match world.try_plan(0, record) {
            Tried::Done(verdict) => break verdict,
            Tried::Later(again) => (record, steps) = (again, steps + 1),
            tried @ (Tried::Slice(_) | Tried::Aside(_)) => panic!("{tried:?}"),
        }
    };
    assert_eq!(verdict, EventVerdict::Matched(10));
    assert!(steps < 100, "3,000 filters in {steps} steps");
    // Compiled, they are a step's worth together.
    assert!(matches!(world.try_plan(0, with_payload(order(8, 1), "{\"n\":8}".to_owned())), Tried::Done(_)));
}

#[test]
fn each_thousand_has_a_budget_of_its_own() {
    let numbers: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    let payload = format!("{{\"xs\":[{}]}}", numbers.join(","));
    let matched = |count, hurry| {
        let mut world = world(filtered(count, |_| "data.xs.all(a, a >= 0)".to_owned()));
        world.hurry = hurry;
        let (verdict, _) = fan_out(&mut world, with_payload(order(7, 1), payload.clone()), |_, _| {});
        let EventVerdict::Matched(matched) = verdict else { panic!("{verdict:?}") };
        matched
    };
    let of_one = matched(1_000, false);
    assert!((1..500).contains(&of_one), "{of_one} of them are what all together may take");
    assert_eq!([matched(2_000, false), matched(2_000, true)], [2 * of_one, 2 * of_one]);
}
