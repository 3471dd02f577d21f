//! An endpoint that fails for days, and what of that is known after a restart.

use std::sync::Arc;

use schemas::control;

use super::super::{Arrival, Engine, FailingEndpoints, Landed};
use super::wire::Wire;
use super::world::{Endpoint, MINUTE, Subscriptions, World, rules};
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::slots::Ticket;
use crate::testing;
use kafka::Epoch;

const DAY: i64 = 24 * 60 * MINUTE;

/// A world in which deliveries come all the time and one subscription is to be disabled after so many days.
fn world(endpoint: Endpoint, days: u64) -> World {
    let world = World::new(7, &[endpoint]);
    let vault = testing::vault();
    let disable_after_ms = Some(days * 86_400_000);
    let object = control::Subscription { disable_after_ms, ..testing::object(0, &testing::url(0), &vault) };
    world.subscriptions.put(testing::subscription(object, 2, &vault));
    world
}

/// An event every half hour until then.
fn live(world: &mut World, until: i64, restarts_every: Option<i64>) {
    let mut next = world.now;
    let mut restart = restarts_every.map_or(i64::MAX, |every| world.now + every);
    while world.now < until {
        if world.now >= next {
            world.event(usize::try_from(world.now).unwrap(), 0);
            next = world.now + 30 * MINUTE;
        }
        if world.now >= restart {
            world.restart();
            restart = world.now + restarts_every.unwrap_or(i64::MAX);
        }
        world.alarm = next.min(restart);
        world.step();
    }
}

#[test]
fn an_endpoint_that_fails_for_longer_than_allowed_is_reported_also_over_restarts() {
    for restarts in [None, Some(13 * 60 * MINUTE)] {
        let mut world = world(Endpoint::Dead, 3);
        let begin = world.now;
        live(&mut world, begin + 4 * DAY, restarts);
        let reported = world.reported.first().copied();
        let after = reported.map(|at| at - begin).unwrap_or_default();
        assert!((3 * DAY..3 * DAY + DAY / 2).contains(&after), "{restarts:?}: {after} ms");
        assert!(restarts.is_some() || world.reported.len() == 1, "once per ownership and period");
    }
}

#[test]
fn an_endpoint_that_works_now_and_then_is_not_reported() {
    let mut world = world(Endpoint::Flaky, 1);
    let begin = world.now;
    live(&mut world, begin + 4 * DAY, Some(5 * 60 * MINUTE));
    assert_eq!(world.reported, Vec::<i64>::new());
}

#[test]
fn what_was_seen_before_the_partition_was_elsewhere_does_not_count() {
    let subscriptions = Subscriptions::default();
    let vault = testing::vault();
    subscriptions.put(testing::subscription(testing::object(0, &testing::url(0), &vault), 1, &vault));
    let mut engine = Engine::new(rules(), subscriptions);
    let send = |engine: &mut Engine<Subscriptions>, lease, offset: i64, now| -> Ticket {
        let delivery = Arc::new(testing::delivery(&format!("evt_{offset}"), 0));
        engine.admit(Arrival { lease: Epoch(lease), offset, size: 1, timestamp_ms: 0, delivery }, now);
        engine.dispatch(now).unwrap().ticket
    };
    let fails = unanswered(NoAnswer::Timeout);
    let first = send(&mut engine, 1, 0, 1_000);
    let since = |landed: Option<Landed>| landed.unwrap().failed.unwrap().since_ms;
    assert_eq!(since(engine.outcome(first, &fails, 1, 1_000)), 1_000);
    // This one keeps the lane while the partition is elsewhere, where nobody knows what happens.
    let _under_way = send(&mut engine, 1, 1, 2_000);
    engine.revoke(&[Epoch(1)], false);
    let second = send(&mut engine, 2, 2, 3_000);
    assert_eq!(since(engine.outcome(second, &fails, 1, 3_000)), 3_000);
}

#[test]
fn ten_thousand_endpoints_that_fail_are_counted_and_only_the_worst_are_named() {
    const MANY: u128 = 10_000;
    let mut wire = Wire::new(|_| {});
    for number in 0..MANY {
        wire.subscribe(number, &format!("https://host{number}.example/"), 1, |_| {});
        wire.event(number);
    }
    let worst = testing::subscription_id(7);
    // What fails comes again; this one is quicker than the others, so that it has failed more often.
    wire.run(2_000, &mut |id, _| (unanswered(NoAnswer::Reset), if id == worst { 1 } else { 100 }));
    let told = wire.engine.failing(100, wire.now);
    assert_eq!((told.count, told.worst.len()), (10_000, 100));
    let most = told.worst.iter().map(|endpoint| endpoint.in_a_row).max();
    assert_eq!(most, Some(told.worst[0].in_a_row), "the worst first");
    assert!(told.worst[0].in_a_row >= 2, "{:?}", told.worst[0]);
    assert!(told.worst.iter().all(|endpoint| endpoint.application == testing::delivery("evt", 0).application));
    assert!(wire.engine.failing(0, wire.now).worst.is_empty());
    wire.run(3_600_000, &mut |_, _| (AttemptVerdict::Delivered, 1));
    assert_eq!(wire.engine.failing(100, wire.now), FailingEndpoints::default(), "one success is enough");
}

#[test]
fn what_waits_for_its_turn_is_told_and_what_its_endpoint_holds_back_is_not() {
    let mut wire = Wire::new(|rules| rules.lane_concurrency = 1);
    wire.subscribe(1, "https://example.com/", 1, |_| {});
    assert_eq!(wire.engine.waiting_since_ms(wire.now), None);
    wire.event(1);
    wire.run(10, &mut |_, _| (AttemptVerdict::Delivered, 60_000));
    assert_eq!(wire.engine.waiting_since_ms(wire.now), None, "it is in flight");
    wire.event(1);
    wire.run(10, &mut |_, _| (AttemptVerdict::Delivered, 60_000));
    assert_eq!(wire.engine.waiting_since_ms(wire.now), Some(0), "since Kafka has its record");
    wire.run(200_000, &mut |_, _| (unanswered(NoAnswer::Reset), 1));
    assert!(wire.engine.is_closed(testing::subscription_id(1), wire.now), "its circuit is open");
    assert_eq!(wire.engine.waiting_since_ms(wire.now), None);
}
