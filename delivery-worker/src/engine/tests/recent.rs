//! What is told of lanes one by one.

use schemas::status::{LanesHealth, MAX_LANES};

use super::wire::Wire;
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::testing;

const AN_AGE: i64 = 600_001;

fn told(wire: &mut Wire) -> LanesHealth {
    wire.engine.lanes_health(vec![0, 2], wire.now)
}

#[test]
fn what_waits_and_flies_and_how_it_ended_is_told_until_nothing_happens_for_a_while() {
    let mut wire = Wire::new(|rules| rules.lane_concurrency = 2);
    let id = testing::subscription_id(1);
    wire.subscribe(1, "https://example.com/", 1, |_| {});
    (0..5).for_each(|_| wire.event(1));
    // The first succeeds, the others fail, each after a second.
    let mut count = 0;
    let mut answers = |_, _| {
        count += 1;
        (if count == 1 { AttemptVerdict::Delivered } else { unanswered(NoAnswer::Reset) }, 1_000)
    };
    wire.run(500, &mut answers);
    let health = told(&mut wire);
    assert_eq!((&health.partitions[..], health.is_cut), (&[0, 2][..], false));
    let lane = health.of[&id];
    assert_eq!((lane.in_flight, lane.waiting, lane.ended, lane.window), (2, 3, 0, 2));
    assert_eq!(lane.oldest_ms, Some(0), "Kafka's time of what waits");
    wire.run(1_000, &mut answers);
    let lane = told(&mut wire).of[&id];
    assert_eq!((lane.ended, lane.succeeded), (2, 1));
    assert!(lane.failing_since_ms.is_some() && lane.success_ms.is_some(), "{lane:?}");
    wire.run(60_000, &mut |_, _| (AttemptVerdict::Delivered, 1));
    let lane = told(&mut wire).of[&id];
    assert_eq!((lane.in_flight, lane.waiting, lane.failing_since_ms), (0, 0, None), "{lane:?}");
    assert!(lane.ended > lane.succeeded && lane.succeeded >= 5, "{lane:?}");
    wire.now += AN_AGE;
    wire.event(1);
    let lane = told(&mut wire).of[&id];
    assert_eq!((lane.ended, lane.waiting), (0, 1), "what ended two periods ago is forgotten");
    wire.run(100, &mut |_, _| (AttemptVerdict::Delivered, 1));
    wire.now += AN_AGE;
    assert!(!told(&mut wire).of.contains_key(&id), "it is at rest");
}

#[test]
fn more_lanes_than_there_is_room_for_are_cut_and_found_once_there_is() {
    let mut wire = Wire::new(|_| {});
    let count = u128::try_from(MAX_LANES).unwrap() + 1;
    for number in 0..count {
        wire.subscribe(number, "https://example.com/", 1, |_| {});
        wire.event(number);
    }
    let last = testing::subscription_id(count - 1);
    let health = told(&mut wire);
    assert_eq!((health.of.len(), health.is_cut), (MAX_LANES, true));
    assert!(!health.of.contains_key(&last));
    // All but the last one end; it goes on.
    wire.run(2_000, &mut |id, _| (AttemptVerdict::Delivered, if id == last { 2_000_000 } else { 1 }));
    wire.now += AN_AGE;
    let health = told(&mut wire);
    assert_eq!((health.of.keys().copied().collect::<Vec<_>>(), health.is_cut), (vec![last], false));
}
