//! A seeded simulation of the pure parts together: engine, lanes, settlement, reports and outbox, driven through virtual time
//! against endpoints that are fast, slow, dead or rate-limited; the worker is restarted and loses its leases at any step.
//!
//! First safety while things go wrong, then everything heals and every delivery has to settle, exactly once.

mod changes;
mod failing;
mod forget;
mod limits;
mod network;
mod origins;
mod room;
mod takeover;
mod time;
mod wire;
mod world;

use rand::Rng;

use self::world::{Endpoint, MINUTE, World};
use crate::testing;

#[test]
fn every_delivery_settles_once_whatever_endpoints_and_restarts_do() {
    for seed in 0..20 {
        let kinds = [Endpoint::Fast, Endpoint::Slow, Endpoint::Dead, Endpoint::Busy, Endpoint::Flaky];
        let mut world = World::new(seed, &kinds);
        let count = 400;
        for number in 0..count {
            let subscription = world.rng.random_range(0..kinds.len());
            world.event(number, subscription);
        }
        for _ in 0..2_000 {
            world.step();
            match world.rng.random_range(0..400) {
                0 => world.restart(),
                1 => world.revoke(true),
                2 => world.revoke(false),
                _ => {}
            }
        }
        world.heal();
        world.run_until_settled(count);
        assert!(world.settled.values().all(|times| *times == 1), "seed {seed}");
    }
}

#[test]
fn a_fast_lane_is_never_parked_and_no_neighbour_holds_it_up() {
    for seed in 0..6 {
        let kinds = [Endpoint::Fast, Endpoint::Slow, Endpoint::Dead, Endpoint::Busy];
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
        assert!(world.parked_lanes.iter().all(|(id, _)| *id != fast), "seed {seed}: the fast lane was parked");
        let last = world.started[&fast] - begin;
        assert!(last < 2 * MINUTE, "seed {seed}: the fast lane waited {last} ms for its neighbours");
    }
}
