//! Deliveries with ordering keys: one of each key at a time and in order, through failures, lists, restarts and moves; what fails
//! holds back its key alone. Who overtakes is found by the ledger, with each request.

use rand::Rng;

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
            _ => {}
        }
    }
    for of in 0..lanes {
        world.operate(of, false, true);
    }
    world.heal();
    world.refused_percent = 0;
    world.run_until_settled(written);
    world
}

#[test]
fn of_each_key_one_is_sent_at_a_time_and_in_order_whatever_happens() {
    let mut listed = 0;
    for seed in 0..200 {
        let world = ordered(seed);
        assert!(world.settled().values().all(|times| *times == 1), "seed {seed}");
        assert_eq!(world.kafka.listing(), [], "seed {seed}: nothing waits, nothing is listed on the topic");
        assert_eq!(world.kafka.held_keys(), 0, "seed {seed}: no key waits for anything");
        listed += world.ledger.listed;
    }
    assert!(listed > 2_000, "the worlds are too small to list anything: {listed}");
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
