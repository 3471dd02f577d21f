//! A seeded simulation of the parts together: engine, lanes, lists and book, settlement, reports and outbox, the scheduler and what
//! Kafka holds, driven through virtual time against endpoints that are fast, slow, dead or rate-limited. Batches are refused, the
//! worker is restarted and loses its leases, subscriptions are paused, resumed, disabled and enabled, at any step; some deliveries
//! are retries, and some die of age.
//!
//! First safety while things go wrong, then everything heals and every delivery has to settle, exactly once. What must hold is
//! looked at with every commit, takeover and request (`world/ledger.rs`). The flaws of [`crate::flaws`] show that it looks.

mod changes;
mod failing;
mod flaws;
mod forget;
mod lack;
mod limits;
mod listed;
mod network;
mod ordered;
mod origins;
mod recent;
mod room;
mod takeover;
mod time;
mod waiting;
mod wire;
mod world;

use std::ops::Range;

use rand::Rng;
use schemas::control;

use self::world::{Endpoint, MINUTE, World};
use crate::book::checkpoint::CheckpointBounds;
use crate::testing;

/// Small worlds of the test, and of the long one.
const SEEDS: u64 = 200;
const MANY_SEEDS: u64 = 10_000;

/// One small world from its seed.
fn live(seed: u64) -> World {
    let all = [Endpoint::Fast, Endpoint::Slow, Endpoint::Dead, Endpoint::Busy, Endpoint::Flaky, Endpoint::Down];
    let mut world = World::new(seed, &all);
    let kinds: Vec<Endpoint> =
        (0..world.rng.random_range(1..4)).map(|_| all[world.rng.random_range(0..all.len())]).collect();
    for (number, kind) in (0_u128..).zip(&kinds) {
        world.endpoints.insert(testing::subscription_id(number), *kind);
    }
    world.refused_percent = world.rng.random_range(0..20);
    if seed.is_multiple_of(3) {
        world.bounds = Some(CheckpointBounds { floor: 2_048, times: 2, portion: 4 });
        world.restart();
    }
    if seed.is_multiple_of(5) {
        world.share_an_origin();
    }
    let count = world.rng.random_range(40..250);
    let mut written = 0;
    for _ in 0..world.rng.random_range(60..400) {
        let matching: Vec<usize> = (0..kinds.len()).filter(|of| world.state(*of).is_enabled).collect();
        if written < count && !matching.is_empty() && world.rng.random_bool(0.4) {
            for _ in 0..world.rng.random_range(1..60).min(count - written) {
                let subscription = matching[world.rng.random_range(0..matching.len())];
                happen(&mut world, written, subscription);
                written += 1;
            }
        }
        world.step();
        match world.rng.random_range(0..250) {
            0..=2 => world.restart(),
            3 => world.revoke(true),
            4 => world.revoke(false),
            5..=10 => change(&mut world, kinds.len()),
            _ => {}
        }
    }
    for of in 0..kinds.len() {
        world.operate(of, false, true);
    }
    world.heal();
    world.refused_percent = 0;
    world.run_until_settled(written);
    world
}

/// Somebody changes one of so many subscriptions: now and then one is disabled and enabled again before anybody looks, and its partition
/// may move in between.
fn change(world: &mut World, lanes: usize) {
    let of = world.rng.random_range(0..lanes);
    let (is_paused, is_enabled) = (world.rng.random_bool(0.5), world.rng.random_bool(0.7));
    world.operate(of, is_paused, is_enabled);
    if !is_enabled && world.rng.random_bool(0.3) {
        world.operate(of, is_paused, true);
        if world.rng.random_bool(0.3) {
            world.restart();
        }
    }
}

/// A first try, a retry now and then, and some that die soon.
fn happen(world: &mut World, number: usize, subscription: usize) {
    match world.rng.random_range(0..20) {
        0..=2 => world.retry(number, subscription, world.now + 30 * 86_400_000),
        3 => {
            let deadline_ms = world.now + world.rng.random_range(100..20_000);
            world.event_until(number, subscription, deadline_ms);
        }
        _ => world.event(number, subscription),
    }
}

fn pause(world: &mut World, of: usize, is_paused: bool, offset: i64) {
    let vault = testing::vault();
    let number = u128::try_from(of).unwrap();
    let object = control::Subscription { is_paused, ..testing::object(number, &world.url(number), &vault) };
    world.subscriptions.put(testing::subscription(object, offset, &vault));
    world.review();
}

#[test]
fn every_delivery_settles_once_whatever_happens() {
    settle(0..SEEDS);
}

#[test]
#[ignore = "long: make faults"]
fn every_delivery_settles_once_in_ten_thousand_worlds() {
    settle(SEEDS..MANY_SEEDS);
}

fn settle(seeds: Range<u64>) {
    let count = seeds.end - seeds.start;
    let (mut listed, mut told, mut records) = (0, 0, 0);
    for seed in seeds {
        let world = live(seed);
        assert!(world.settled().values().all(|times| *times == 1), "seed {seed}");
        assert_eq!(world.kafka.listing(), [], "seed {seed}: nothing waits, nothing is listed on the topic");
        (listed, told) = (listed + world.ledger.listed, told + world.ledger.told);
        records += world.kafka.lane_records;
    }
    assert!(listed > 10 * count, "the worlds are too small to list anything: {listed}");
    let most = 2 * listed + told + 100 * count;
    assert!(records <= most, "{records} lane records for {listed} that were listed and {told} changes of circuits (8)");
}

#[test]
fn a_fast_lane_is_never_held_up_by_its_neighbours() {
    for seed in 0..6 {
        let kinds = [Endpoint::Fast, Endpoint::Slow, Endpoint::Dead, Endpoint::Down];
        let mut world = World::new(seed, &kinds);
        let fast = testing::subscription_id(0);
        // The look-ahead is full of others before the first delivery of the fast lane comes.
        for number in 0..2_000 {
            world.event(number, 1 + number % 3);
        }
        for number in 2_000..2_500 {
            world.event(number, 0);
        }
        let begin = world.now;
        while world.read < world.log.len() && world.now < begin + 10 * MINUTE {
            world.step();
        }
        world.step();
        let last = world.started[&fast] - begin;
        assert!(last < MINUTE, "seed {seed}: the fast lane waited {last} ms for its neighbours");
    }
}
