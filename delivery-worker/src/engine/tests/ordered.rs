//! Deliveries with ordering keys: one of each key at a time and in order, through failures, lists, restarts and moves; what fails
//! holds back its key alone. Who overtakes is found by the ledger, with each request.

use rand::Rng;
use schemas::ordering::OrderingKey;

use super::world::{Endpoint, MINUTE, World};
use crate::testing;

/// One small world of lanes with keys, which are disabled, paused and moved as others are.
pub(super) fn ordered(seed: u64) -> World {
    let all = [Endpoint::Fast, Endpoint::Slow, Endpoint::Flaky, Endpoint::Down, Endpoint::Busy];
    let mut world = World::new(seed, &all);
    let lanes = world.rng.random_range(1..3);
    for number in 0..lanes {
        let kind = all[world.rng.random_range(0..all.len())];
        world.endpoints.insert(testing::subscription_id(u128::try_from(number).unwrap()), kind);
    }
    let (keys, count) = (world.rng.random_range(1..12), world.rng.random_range(40..250));
    world.refused_percent = world.rng.random_range(0..20);
    let mut written = 0;
    for _ in 0..world.rng.random_range(60..400) {
        let matching: Vec<usize> = (0..lanes).filter(|of| world.state(*of).is_enabled).collect();
        if written < count && !matching.is_empty() && world.rng.random_bool(0.4) {
            for _ in 0..world.rng.random_range(1..60).min(count - written) {
                let subscription = matching[world.rng.random_range(0..matching.len())];
                let key = world.rng.random_range(0..keys);
                world.ordered(written, subscription, key);
                written += 1;
            }
        }
        world.step();
        match world.rng.random_range(0..150) {
            0..=2 => world.restart(),
            3 => world.revoke(true),
            4 => world.revoke(false),
            5..=8 => super::change(&mut world, lanes),
            9..=11 => give_one_up(&mut world, lanes),
            12..=20 => hurry_one_up(&mut world, lanes),
            _ => {}
        }
    }
    for of in 0..lanes {
        world.operate(of, false, true);
    }
    world.heal();
    world.refused_percent = 0;
    world.run_until_settled(written);
    drain(&mut world);
    assert_eq!(world.settled().len(), written, "seed {seed}");
    world
}

/// Whatever it does: waits, is in flight, is on its way back, or has ended.
fn give_one_up(world: &mut World, lanes: usize) {
    let (of, draw) = (world.rng.random_range(0..lanes), world.rng.random_range(0..1_000));
    let lane = testing::subscription_id(u128::try_from(of).unwrap());
    if let Some(delivery) = world.ledger.any_keyed(lane, draw) {
        world.skip(of, delivery);
    }
}

/// One that a key waits for, as its lane's record says by now.
fn hurry_one_up(world: &mut World, lanes: usize) {
    let of = world.rng.random_range(0..lanes);
    let held = world.kafka.held_of(testing::subscription_id(u128::try_from(of).unwrap()));
    if let Some(held) = held.get(world.rng.random_range(0..held.len().max(1))) {
        world.hurry_up(of, held.delivery, held.retry.as_ref().unwrap().due_ms);
    }
}

/// Until nothing is on its way: what was superseded came, and was dropped.
fn drain(world: &mut World) {
    while world.scheduler.next_ms() < i64::MAX {
        world.step();
    }
    world.wait_until(world.now + 10_000, 1_000);
}

#[test]
fn of_each_key_one_is_sent_at_a_time_and_in_order_whatever_happens() {
    let (mut listed, mut dropped) = (0, 0);
    for seed in 0..200 {
        let world = ordered(seed);
        assert!(world.settled().values().all(|times| *times == 1), "seed {seed}");
        assert_eq!(world.kafka.listing(), [], "seed {seed}: nothing waits, nothing is listed on the topic");
        assert_eq!(world.kafka.held_keys(), 0, "seed {seed}: no key waits for anything");
        for of in 0..2 {
            let left = world.kafka.superseded_of(testing::subscription_id(of));
            assert_eq!(left, 0, "seed {seed}: what another one went in the place of is back and forgotten");
        }
        (listed, dropped) = (listed + world.ledger.listed, dropped + world.ledger.dropped);
    }
    assert!(listed > 2_000, "the worlds are too small to list anything: {listed}");
    assert!(dropped > 100, "nothing is hurried in these worlds: {dropped}");
}

/// One of a hundred keys fails for minutes: the others are served meanwhile, though far more waits for it than a window holds, and it
/// comes in order when its retry succeeds.
#[test]
fn a_key_that_fails_holds_back_nothing_else() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    let mut written = 0;
    world.refuse_key(100);
    for _ in 0..40 {
        for key in 0..20 {
            world.ordered(written, 0, if key % 2 == 0 { 100 } else { key });
            written += 1;
        }
    }
    world.wait_until(world.now + MINUTE, 1_000);
    assert_eq!(world.settled().len(), written / 2, "all others have come");
    let reads = world.demands.0 + world.demands.1;
    assert!(reads < 3 * written as u64, "{reads} were read back for {written}");
    world.restart();
    world.wait_until(world.now + MINUTE, 1_000);
    assert_eq!(world.settled().len(), written / 2);
    world.heal();
    world.run_until_settled(written);
}

/// The first of a key fails for hours, and 20 wait for it. Given up, it lets them go at once, whatever its worker knows of it by then:
/// it is on its way back, and its own end is written when it is there.
#[test]
fn one_that_is_given_up_holds_back_nobody_and_is_cancelled() {
    for restarts in [false, true] {
        let mut world = World::new(1, &[Endpoint::Fast]);
        let (lane, key) = (testing::subscription_id(0), OrderingKey(7));
        world.refuse_key(7);
        for number in 0..21 {
            world.ordered(number, 0, 7);
        }
        world.wait_until(world.now + MINUTE, 1_000);
        assert_eq!(world.settled().len(), 0, "all wait for the first");
        world.heal();
        let head = world.ledger.head_of(lane, key).unwrap();
        if restarts {
            world.restart();
        }
        world.skip(0, head);
        world.wait_until(world.now + 10_000, 100);
        assert_eq!(world.settled().len(), 20, "restarts: {restarts}");
        assert!(!world.settled().contains_key(&head));
        world.run_until_settled(21);
        assert_eq!(world.kafka.held_keys(), 0);
    }
}

/// It is given up while its request is in flight, which fails: nobody waits for its retry.
#[test]
fn one_that_is_given_up_in_flight_holds_back_nobody_when_it_fails() {
    let mut world = World::new(1, &[Endpoint::Slow]);
    let (lane, key) = (testing::subscription_id(0), OrderingKey(7));
    world.refuse_key(7);
    for number in 0..3 {
        world.ordered(number, 0, 7);
    }
    while world.flying.is_empty() {
        world.step();
    }
    let head = world.ledger.head_of(lane, key).unwrap();
    world.skip(0, head);
    // What it is answered is certain by now.
    world.heal();
    world.wait_until(world.now + 2_000, 100);
    assert_eq!(world.settled().len(), 2, "its retry is not due yet");
    world.run_until_settled(3);
}

/// It is given up while its request is in flight, which is taken: then it was delivered, and the others follow it.
#[test]
fn one_that_is_given_up_in_flight_and_is_taken_was_delivered() {
    let mut world = World::new(1, &[Endpoint::Slow]);
    let (lane, key) = (testing::subscription_id(0), OrderingKey(7));
    for number in 0..3 {
        world.ordered(number, 0, 7);
    }
    while world.flying.is_empty() {
        world.step();
    }
    let head = world.ledger.head_of(lane, key).unwrap();
    world.skip(0, head);
    world.run_until_settled(3);
    assert!(world.settled().values().all(|times| *times == 1));
    assert_eq!(world.kafka.held_keys(), 0);
}

/// It is given up while its subscription is paused: the others go once that is resumed, and at once.
#[test]
fn one_that_is_given_up_in_a_pause_lets_the_others_go_when_it_ends() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    let (lane, key) = (testing::subscription_id(0), OrderingKey(7));
    world.refuse_key(7);
    for number in 0..3 {
        world.ordered(number, 0, 7);
    }
    world.wait_until(world.now + MINUTE, 1_000);
    world.heal();
    world.operate(0, true, true);
    let head = world.ledger.head_of(lane, key).unwrap();
    world.skip(0, head);
    world.wait_until(world.now + 10_000, 100);
    let others = |world: &World| world.settled().keys().filter(|id| **id != head).count();
    assert_eq!(others(&world), 0, "it is paused");
    world.operate(0, false, true);
    world.wait_until(world.now + 10_000, 100);
    assert_eq!(others(&world), 2);
    world.run_until_settled(3);
}

/// The first of a key fails, and its retry is due in some minutes: hurried, it comes at once, whatever its worker knows of it by then,
/// and those behind it follow. What comes back when it was due is dropped.
#[test]
fn one_that_is_hurried_goes_at_once_and_its_former_retry_is_dropped() {
    for restarts in [[false, false], [true, false], [false, true], [true, true]] {
        let mut world = World::new(1, &[Endpoint::Fast]);
        let lane = testing::subscription_id(0);
        world.refuse_key(7);
        for number in 0..21 {
            world.ordered(number, 0, 7);
        }
        world.wait_until(world.now + MINUTE, 1_000);
        assert_eq!(world.settled().len(), 0, "all wait for the first");
        world.heal();
        let all = world.kafka.held_of(lane);
        let [held] = &all[..] else { panic!("one key is held") };
        let due_ms = held.retry.as_ref().unwrap().due_ms;
        assert!(due_ms > world.now + 20_000, "{due_ms}");
        if restarts[0] {
            world.restart();
        }
        world.hurry_up(0, held.delivery, due_ms);
        world.wait_until(world.now + 10_000, 100);
        assert_eq!(world.settled().len(), 21, "restarts: {restarts:?}");
        assert_eq!(
            (world.kafka.superseded_of(lane), world.kafka.held_keys()),
            (1, 0),
            "it is remembered until it is back"
        );
        if restarts[1] {
            world.restart();
        }
        drain(&mut world);
        assert_eq!((world.settled().len(), world.ledger.dropped), (21, 1), "restarts: {restarts:?}");
        assert_eq!(world.kafka.superseded_of(lane), 0);
    }
}

/// What is wanted is the retry that was due then: it failed again meanwhile, and the next one goes when it is due.
#[test]
fn a_wish_is_of_one_retry_and_of_no_later_one() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    let lane = testing::subscription_id(0);
    world.refuse_key(7);
    world.ordered(0, 0, 7);
    world.wait_until(world.now + MINUTE, 1_000);
    let first = world.kafka.held_of(lane).remove(0);
    world.hurry_up(0, first.delivery, first.retry.as_ref().unwrap().due_ms);
    world.wait_until(world.now + 10_000, 100);
    let next = world.kafka.held_of(lane).remove(0).retry.unwrap();
    assert_eq!(next.attempt, first.retry.as_ref().unwrap().attempt + 1, "it went, and failed");
    assert!(next.due_ms > world.now);
    let flown = world.flown;
    world.review();
    world.wait_until(world.now + 10_000, 100);
    assert_eq!(world.flown, flown, "the next one waits for its time");
    world.heal();
    world.run_until_settled(1);
    drain(&mut world);
    assert_eq!((world.settled().len(), world.ledger.dropped), (1, 1));
}

/// It is wanted now and then given up, or its subscription is disabled: its end is written once, and what was superseded is dropped in silence.
#[test]
fn one_that_is_hurried_and_given_up_ends_once() {
    for disables in [false, true] {
        let mut world = World::new(1, &[Endpoint::Fast]);
        let lane = testing::subscription_id(0);
        world.refuse_key(7);
        (0..3).for_each(|number| world.ordered(number, 0, 7));
        world.wait_until(world.now + MINUTE, 1_000);
        let held = world.kafka.held_of(lane).remove(0);
        // It waits in its lane.
        world.operate(0, true, true);
        world.hurry_up(0, held.delivery, held.retry.as_ref().unwrap().due_ms);
        world.wait_until(world.now + 10_000, 100);
        assert_eq!(world.kafka.superseded_of(lane), 1);
        if disables {
            world.operate(0, false, false);
        } else {
            world.skip(0, held.delivery);
            world.operate(0, false, true);
        }
        world.heal();
        world.wait_until(world.now + 10_000, 100);
        world.restart();
        drain(&mut world);
        assert_eq!((world.settled().len(), world.ledger.dropped), (3, 1), "disables: {disables}");
    }
}
