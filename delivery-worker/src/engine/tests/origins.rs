//! Many subscriptions of one origin.

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::{Arrival, Timer};
use super::wire::Wire;
use crate::classify::{AttemptVerdict, NoAnswer, answered, unanswered};
use crate::testing::{self, subscription_id};
use kafka::Epoch;

const MINUTE: i64 = 60_000;

fn status(code: u16) -> AttemptVerdict {
    answered(http::StatusCode::from_u16(code).unwrap(), &http::HeaderMap::new(), 0)
}

/// So many subscriptions of one origin, each with a path of its own, and one elsewhere with the number 1,000.
fn wire(lanes: u128) -> Wire {
    let wire = Wire::new(|_| {});
    for number in 0..lanes {
        wire.subscribe(number, &format!("https://shared.example/{number}"), 1, |_| {});
    }
    wire.subscribe(1_000, "https://elsewhere.example/", 1, |_| {});
    wire
}

#[test]
fn an_origin_with_five_hundred_dead_subscriptions_is_discovered_dead_once() {
    let mut wire = wire(500);
    for _ in 0..2 {
        (0..500).for_each(|number| wire.event(number));
    }
    let elsewhere = subscription_id(1_000);
    let mut answers = |id, _| {
        if id == elsewhere { (AttemptVerdict::Delivered, 20) } else { (unanswered(NoAnswer::Timeout), 15_000) }
    };
    for _ in 0..300 {
        wire.event(1_000);
        wire.run(1_000, &mut answers);
    }
    let sent: usize = (0..500).map(|number| wire.sent_to(number).len()).sum();
    assert!(sent <= 130, "{sent} requests hung in five minutes");
    assert_eq!((wire.engine.open_origins(), wire.taken_of(1_000)), (1, 300));
    // It heals: everything is delivered soon, whoever's probe it was that found out.
    wire.run(5 * MINUTE + 60_000, &mut |_, _| (AttemptVerdict::Delivered, 20));
    let taken: usize = (0..500).map(|number| wire.taken_of(number)).sum();
    assert_eq!((taken, wire.engine.open_origins()), (1_000, 0));
}

#[test]
fn a_path_that_answers_500_closes_no_other_out() {
    let mut wire = wire(20);
    let healthy = subscription_id(0);
    let mut answers = |id, _| if id == healthy { (AttemptVerdict::Delivered, 20) } else { (status(500), 5) };
    for _ in 0..50 {
        (1..20).for_each(|number| wire.event(number));
    }
    for _ in 0..60 {
        wire.event(0);
        wire.run(1_000, &mut answers);
    }
    assert_eq!((wire.engine.open_origins(), wire.engine.open_circuits()), (0, 19));
    assert_eq!(wire.taken_of(0), 60);
}

#[test]
fn paths_that_hang_never_take_the_share_of_one_that_works() {
    let run = |hanging: u128| {
        let mut wire = wire(1 + hanging);
        let healthy = subscription_id(0);
        let mut answers = |id, _| {
            if id == healthy { (AttemptVerdict::Delivered, 20) } else { (unanswered(NoAnswer::Timeout), 15_000) }
        };
        for _ in 0..5 {
            (1..=hanging).for_each(|number| wire.event(number));
        }
        // It is one of those that come back a moment later.
        wire.run(5_000, &mut answers);
        for _ in 0..12_000 {
            wire.event(0);
            wire.step(&mut answers);
        }
        wire.taken_of(0)
    };
    let (alone, beside) = (run(0), run(40));
    assert!(beside * 100 >= alone * 85, "{beside} beside forty that hang, {alone} alone");
}

/// Sixteen lanes of one dead origin, of two partitions: all of them wait for it but the one whose turn has just come.
fn with_a_turn() -> (Wire, u128) {
    let mut wire = wire(16);
    for offset in 0..32 {
        let number = u128::try_from(offset % 16).unwrap();
        let delivery = Arc::new(testing::delivery(&format!("evt_{offset}"), number));
        let lease = Epoch(u64::try_from(1 + offset % 2).unwrap());
        wire.admit(Arrival { lease, offset, size: 100, timestamp_ms: 0, delivery });
    }
    // Until no timer of before is left that would call the next one by chance.
    let is_origin = |Reverse((_, _, timer)): &Reverse<(i64, u64, Timer)>| matches!(timer, Timer::Origin(_));
    loop {
        while wire.engine.open_origins() == 0 || wire.engine.in_flight() > 0 {
            wire.step(&mut |_, _| (unanswered(NoAnswer::Timeout), 15));
        }
        wire.now = wire.engine.next_wake_ms().unwrap().max(wire.now + 1);
        wire.engine.tick(wire.now);
        if wire.engine.ready.len() == 1 && !wire.engine.timers.iter().any(is_origin) {
            break;
        }
        wire.step(&mut |_, _| (unanswered(NoAnswer::Timeout), 15));
        assert!(wire.now < 1_000_000 + 600 * MINUTE, "no such turn in ten hours");
    }
    let turn: Vec<u128> = wire.engine.ready.iter().map(|id| id.0.as_u128() - subscription_id(0).0.as_u128()).collect();
    assert_eq!(turn.len(), 1, "one at a time");
    (wire, turn[0])
}

#[test]
fn a_turn_that_goes_with_its_lease_is_the_next_lanes() {
    let (mut wire, number) = with_a_turn();
    let gone = wire.engine.lanes[&subscription_id(number)].lease;
    wire.engine.revoke(&[gone], true);
    wire.run(10 * MINUTE, &mut |_, _| (AttemptVerdict::Delivered, 20));
    let taken: Vec<usize> = (0..16).filter(|of| of % 2 != number % 2).map(|of| wire.taken_of(of)).collect();
    assert_eq!(taken, [2; 8], "of the other partition");
}

#[test]
fn a_turn_of_a_lane_that_moves_to_another_origin_is_the_next_lanes() {
    let (mut wire, number) = with_a_turn();
    wire.subscribe(number, "https://moved.example/", 2, |_| {});
    wire.engine.review(wire.now);
    wire.run(10 * MINUTE, &mut |_, _| (AttemptVerdict::Delivered, 20));
    let taken: Vec<usize> = (0..16).map(|of| wire.taken_of(of)).collect();
    assert_eq!(taken, [2; 16]);
}
