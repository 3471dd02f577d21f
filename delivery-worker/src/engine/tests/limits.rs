//! What limits a lane: its circuit, its cap and rate, and due times.

use std::sync::Arc;

use schemas::control;

use super::super::{Arrival, Engine, Settled};
use super::wire::Wire;
use super::world::{Endpoint, MINUTE, Subscriptions, World, rules};
use crate::classify::AttemptVerdict;
use crate::settle::End;
use crate::testing;
use kafka::Epoch;

#[test]
fn a_dead_endpoint_opens_its_circuit_and_its_deliveries_wait_in_its_list() {
    let mut world = World::new(1, &[Endpoint::Dead]);
    for number in 0..300 {
        world.event(number, 0);
    }
    let until = world.now + 3 * MINUTE;
    while world.now < until {
        world.step();
    }
    assert_eq!(world.engine.open_circuits(), 1);
    assert!(world.flying.len() <= 1, "one probe at a time");
    assert_eq!(world.read, world.log.len(), "its look-ahead is free");
    assert!(world.engine.queued().circuit > 200);
}

#[test]
fn a_subscriptions_cap_and_rate_hold() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    let vault = testing::vault();
    let limited = control::Subscription {
        concurrency: Some(2),
        rate_per_second: Some(20.0),
        ..testing::object(0, &testing::url(0), &vault)
    };
    world.subscriptions.0.borrow_mut().insert(limited.subscription_id, testing::subscription(limited, 2, &vault));
    for number in 0..200 {
        world.event(number, 0);
    }
    let mut sent = Vec::new();
    while world.settled().len() < 200 {
        let before = world.flown;
        world.step();
        assert!(world.flying.len() <= 2);
        sent.extend((before..world.flown).map(|_| world.now));
    }
    assert!(sent.windows(22).all(|window| window[21] - window[0] >= 1_000), "more than 20 in a second");
}

#[test]
fn nothing_more_is_sent_of_a_partition_with_a_window_of_outcomes_that_are_not_committed() {
    let mut wire = Wire::new(|rules| rules.look_ahead.records = 10);
    wire.subscribe(0, "https://one.example/", 1, |_| {});
    let mut fast = |_, _| (AttemptVerdict::Delivered, 5);
    (0..10).for_each(|_| wire.engine.resolved(Epoch(1)));
    (0..3).for_each(|_| wire.event(0));
    wire.run(10_000, &mut fast);
    assert_eq!(wire.sent_to(0).len(), 0, "all of it would be sent again");
    wire.engine.settled(Epoch(1), Settled { sent: 1, ..Settled::default() });
    wire.run(1_000, &mut fast);
    assert_eq!(wire.taken_of(0), 3, "a commit makes room at once");

    wire.engine.resolved(Epoch(1));
    wire.event(0);
    wire.run(1_000, &mut fast);
    assert_eq!(wire.sent_to(0).len(), 3);
    wire.engine.revoke(&[Epoch(1)], false);
    wire.event(0);
    wire.run(1_000, &mut fast);
    assert_eq!(wire.sent_to(0).len(), 4, "what a lost lease owed holds nobody");
}

#[test]
fn requests_that_hang_hold_no_neighbour_up_and_lanes_that_wait_for_a_commit_are_served_in_turn() {
    let mut wire = Wire::new(|rules| rules.look_ahead.records = 10);
    for number in 0..4 {
        wire.subscribe(number, &format!("https://{number}.example/"), 1, |_| {});
    }
    let hangs = testing::subscription_id(0);
    let mut answers = |id, _| (AttemptVerdict::Delivered, if id == hangs { 1_000_000 } else { 5 });
    (0..40).for_each(|_| wire.event(0));
    (0..4).for_each(|_| wire.event(1));
    wire.run(1_000, &mut answers);
    assert_eq!(wire.taken_of(1), 4, "beside more that hang than a window holds");

    (0..10).for_each(|_| wire.engine.resolved(Epoch(1)));
    for number in [3, 2, 1] {
        wire.event(number);
        wire.run(100, &mut answers);
    }
    wire.engine.settled(Epoch(1), Settled { sent: 10, ..Settled::default() });
    wire.run(100, &mut answers);
    let first = |number| wire.sent_to(number).last().copied().unwrap();
    assert!(first(3) <= first(2) && first(2) <= first(1), "in the order in which they asked");
}

#[test]
fn what_is_due_in_a_moment_waits_and_what_is_due_later_goes_back() {
    let subscriptions = Subscriptions::default();
    subscriptions.put(testing::shared_subscription(0));
    let mut engine = Engine::new(rules(), subscriptions);
    for (offset, wait) in [(1, 800), (2, 600_000), (3, 30_000)] {
        let mut delivery = testing::delivery(&format!("evt_{offset}"), 0);
        delivery.hop.due_ms = 1_000 + wait;
        let arrival = Arrival { lease: Epoch(1), offset, size: 1, timestamp_ms: 0, delivery: Arc::new(delivery) };
        engine.admit(arrival, 1_000);
    }
    let left: Vec<(i64, End)> = engine.take_left().into_iter().map(|left| (left.arrival.offset, left.end)).collect();
    assert_eq!(left, [(2, End::PassedOn)]);
    engine.tick(1_799);
    assert!(engine.dispatch(1_799).is_none());
    engine.tick(1_800);
    assert!(engine.dispatch(1_800).is_some());
    // A scheduler whose clock is half a minute ahead: it is waited out here, and not brought back again and again.
    engine.tick(30_999);
    assert!(engine.dispatch(30_999).is_none());
    engine.tick(31_000);
    assert!(engine.dispatch(31_000).is_some());
}
