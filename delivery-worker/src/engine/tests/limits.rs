//! What limits a lane: its circuit, its cap and rate, and due times.

use std::sync::Arc;

use schemas::control;
use schemas::delivery::Wait;
use schemas::record::Record;

use super::world::{Endpoint, MINUTE, World};
use crate::testing;

#[test]
fn a_dead_endpoint_opens_its_circuit_and_its_deliveries_wait_in_long_tiers() {
    let mut world = World::new(1, &[Endpoint::Dead]);
    for number in 0..300 {
        world.event(number, 0);
    }
    let until = world.now + 3 * MINUTE;
    while world.now < until {
        world.step();
    }
    assert_eq!(world.engine.open_circuits(), 1);
    assert!(world.parked_lanes.iter().any(|(_, wait)| *wait == Wait::Circuit));
    assert!(world.flying.len() <= 1, "one probe at a time");
}

#[test]
fn a_subscriptions_cap_and_rate_hold() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    let vault = testing::vault();
    let limited = control::Subscription {
        concurrency: Some(2),
        rate_per_second: Some(20.0),
        ..testing::object(0, "https://example.com/", &vault)
    };
    world.subscriptions.0.borrow_mut().insert(limited.subscription_id, testing::subscription(limited, 2, &vault));
    for number in 0..200 {
        world.event(number, 0);
    }
    let mut sent = Vec::new();
    while world.settled.len() < 200 {
        let before = world.flown;
        world.step();
        assert!(world.flying.len() <= 2);
        sent.extend((before..world.flown).map(|_| world.now));
    }
    assert!(sent.windows(22).all(|window| window[21] - window[0] >= 1_000), "more than 20 in a second");
}

#[test]
fn what_is_due_later_waits_and_what_is_due_much_later_goes_back() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    let base = testing::delivery("evt_1", 0);
    for (number, wait) in [(1, 3_000), (2, 600_000)] {
        let mut delivery = testing::delivery(&format!("evt_{number}"), 0);
        delivery.hop.due_ms = world.now + wait;
        let record = delivery.to_hop(Arc::clone(&world.topics.deliveries), None, delivery.hop);
        world.append(Record { offset: 0, timestamp_ms: 0, key: None, value: record.value, headers: record.headers });
    }
    let begin = world.now;
    while world.settled.is_empty() {
        world.step();
    }
    assert!(world.now >= begin + 3_000);
    assert!(world.settled.contains_key(&base.id));
    assert_eq!(world.waiting.len(), 1);
}
