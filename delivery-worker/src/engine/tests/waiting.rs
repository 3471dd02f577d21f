//! Waiting ends when its reason ends: the rows of what was measured before lanes had lists, in virtual time.

use rand::Rng;

use super::pause;
use super::world::{CAP, Endpoint, LOOK_AHEAD, MINUTE, World, rules};
use crate::book::checkpoint::CheckpointBounds;
use crate::engine::{LookAhead, Rules};
use crate::testing;

/// A worker of default size.
fn large() -> Rules {
    Rules {
        concurrency: 1_024,
        lane_concurrency: CAP,
        look_ahead: LookAhead { records: LOOK_AHEAD, bytes: 16 << 20, budget: 16 << 20, span: 16_000 },
        queue_bytes: 64 << 20,
        ..rules()
    }
}

/// An event every 10 ms until then; returns how many there are.
fn stream(world: &mut World, mut written: usize, until: i64) -> usize {
    let mut next = world.now;
    while world.now < until {
        while world.now >= next {
            world.event(written, 0);
            written += 1;
            next += 10;
        }
        world.alarm = next.min(until);
        world.step();
    }
    written
}

#[test]
fn a_slow_minute_is_caught_up_within_seconds_and_nothing_is_late_after_it() {
    let mut world = World::with(3, &[Endpoint::Takes(20)], large());
    let id = testing::subscription_id(0);
    let until = world.now + 5_000;
    let mut written = stream(&mut world, 0, until);
    world.endpoints.insert(id, Endpoint::Takes(5_000));
    let until = world.now + MINUTE;
    written = stream(&mut world, written, until);
    assert!(world.ledger.listed > 1_000, "it was behind: {}", world.ledger.listed);
    world.endpoints.insert(id, Endpoint::Takes(20));
    let until = world.now + 25_000;
    written = stream(&mut world, written, until);
    world.latest = 0;
    let until = world.now + 20_000;
    written = stream(&mut world, written, until);
    assert!(world.latest < 1_000, "{} ms late", world.latest);
    world.run_until_settled(written);
    assert_eq!(world.scheduler.writes, 0, "no payload was written");
}

/// As many lanes that answer at once, with more than fits their window.
fn all_fast(lanes: u64) {
    let kinds = vec![Endpoint::Fast; usize::try_from(lanes).unwrap()];
    let mut world = World::with(4, &kinds, large());
    for number in 0..3_000 {
        let of = world.rng.random_range(0..kinds.len());
        world.event(number, of);
    }
    world.run_until_settled(3_000);
    assert_eq!(world.ledger.listed, 0, "{lanes} lanes");
}

/// A lane with an event now and then, and suddenly more than fits its window.
pub(super) fn burst() -> World {
    let mut world = World::with(4, &[Endpoint::Fast], large());
    let until = world.now + 2_000;
    let written = stream(&mut world, 0, until);
    (written..written + 600).for_each(|number| world.event(number, 0));
    world.run_until_settled(written + 600);
    assert_eq!(world.ledger.listed, 0);
    world
}

#[test]
fn fast_lanes_list_nothing_however_much_they_have() {
    for lanes in [1, 2, 12] {
        all_fast(lanes);
    }
    burst();
}

/// A lane whose first requests wait until their connections are made, and that answers at once from there.
pub(super) fn late_start(seed: u64) -> World {
    let mut world = World::with(seed, &[Endpoint::Takes(400)], large());
    (0..600).for_each(|number| world.event(number, 0));
    world.run_until(1);
    world.endpoints.insert(testing::subscription_id(0), Endpoint::Fast);
    world.run_until_settled(600);
    assert_eq!(world.ledger.listed, 0, "seed {seed}");
    world
}

#[test]
fn what_the_first_requests_of_a_lane_take_is_not_its_speed() {
    for seed in 0..5 {
        late_start(seed);
    }
}

/// More than a thousand are paused for some minutes and resumed, and the worker dies again and again while they go.
pub(super) fn deep(seed: u64) -> World {
    deep_in(World::with(seed, &[Endpoint::Fast], large()))
}

/// The same where `lanes` is written once more again and again.
pub(super) fn worn(seed: u64) -> World {
    let mut world = World::with(seed, &[Endpoint::Fast], large());
    world.bounds = Some(CheckpointBounds { floor: 1_024, times: 1, portion: 4 });
    world.restart();
    deep_in(world)
}

/// Retries and first tries, both in chunks, that go while the worker dies again and again.
fn wide(seed: u64) -> World {
    let mut world = World::with(seed, &[Endpoint::Fast], large());
    world.operate(0, true, true);
    for number in 0..1_800 {
        if number == 200 {
            world.wait_until(world.now + MINUTE, 1_000);
        }
        if number > 200 && number % 3 == 0 { world.retry(number, 0, i64::MAX) } else { world.event(number, 0) }
    }
    world.wait_until(world.now + 4 * MINUTE, 1_000);
    world.operate(0, false, true);
    for settled in [300, 900, 1_500] {
        world.run_until(settled);
        world.restart();
    }
    world.run_until_settled(1_800);
    world
}

/// What is listed dies just before it is resumed, and what waits behind it in memory goes.
pub(super) fn expired(seed: u64) -> World {
    let mut world = World::with(seed, &[Endpoint::Fast], large());
    world.operate(0, true, true);
    let deadline_ms = world.now + 5_000;
    (0..100).for_each(|number| world.event_until(number, 0, deadline_ms));
    world.wait_until(world.now + 2_000, 100);
    (100..110).for_each(|number| world.event(number, 0));
    world.wait_until(deadline_ms + 1, 100);
    world.operate(0, false, true);
    world.run_until_settled(110);
    assert_eq!(world.flown, 10, "seed {seed}");
    world
}

#[test]
fn a_lane_whose_listed_deliveries_died_while_it_was_paused_goes_on() {
    expired(1);
}

#[test]
fn two_long_lists_of_one_lane_go_side_by_side() {
    let world = wide(1);
    assert!(world.kafka.listing().is_empty());
}

fn deep_in(mut world: World) -> World {
    let seed = world.seed;
    pause(&mut world, 0, true, 2);
    for number in 0..1_200 {
        world.event(number, 0);
    }
    world.wait_until(world.now + 4 * MINUTE, 1_000);
    assert!(world.engine.queued().paused > 1_000 && world.kafka.values.len() > 5, "seed {seed}: in chunks");
    pause(&mut world, 0, false, 3);
    for settled in [200, 500, 900] {
        world.run_until(settled);
        world.restart();
    }
    world.run_until_settled(1_200);
    world
}

#[test]
fn probes_are_read_back_before_what_waits_for_its_turn() {
    let mut world = World::with(5, &[Endpoint::Down], large());
    (0..600).for_each(|number| world.event(number, 0));
    let until = world.now + 10 * MINUTE;
    while world.now < until {
        world.alarm = until;
        world.step();
    }
    assert!(world.demands.0 > 0, "a circuit that is open reads its probes at once: {:?}", world.demands);
    let (urgent, others) = deep(1).demands;
    assert!(urgent == 0 && others > 500, "{urgent} urgent of a lane that only was paused, {others} others");
}

#[test]
fn what_a_takeover_reads_of_lanes_is_bounded_by_what_counts() {
    for seed in 0..20 {
        let world = worn(seed);
        assert!(world.settled().values().all(|times| *times == 1), "seed {seed}");
        let (from, left) = world.kafka.lanes.read();
        let all = u64::try_from(world.kafka.lane_bytes).unwrap();
        assert!(from > 0 && left < all / 4, "seed {seed}: {left} of {all} bytes, from {from}");
    }
}

#[test]
fn a_long_list_goes_once_and_in_order_whenever_its_worker_dies() {
    for seed in 0..5 {
        deep(seed);
    }
}

/// Lanes that hang with as many requests as fill the window, and one that does not.
pub(super) fn hanging(seed: u64) -> World {
    let mut kinds = vec![Endpoint::Dead; 9];
    kinds.push(Endpoint::Fast);
    let mut world = World::with(seed, &kinds, large());
    for number in 0..900 {
        world.event(number, number % 9);
    }
    for number in 900..910 {
        world.event(number, 9);
    }
    let (begin, fast) = (world.now, testing::subscription_id(9));
    while !world.started.contains_key(&fast) {
        world.step();
    }
    assert!(world.now - begin < 8_000, "{} ms beside lanes that hang", world.now - begin);
    world
}

#[test]
fn requests_that_hang_do_not_keep_their_neighbours_from_being_read() {
    for seed in 0..5 {
        hanging(seed);
    }
}

#[test]
fn a_blip_of_503_is_over_when_it_is_over() {
    let mut world = World::with(5, &[Endpoint::Takes(20)], large());
    let id = testing::subscription_id(0);
    let until = world.now + 3_000;
    let mut written = stream(&mut world, 0, until);
    world.endpoints.insert(id, Endpoint::Down);
    let until = world.now + 10_000;
    written = stream(&mut world, written, until);
    world.endpoints.insert(id, Endpoint::Takes(20));
    let healed = world.now;
    world.run_until_settled(written);
    assert!(world.now - healed < 60_000, "{} ms after the blip", world.now - healed);
}

#[test]
fn what_waits_for_a_dead_endpoint_costs_bytes_and_goes_in_order_when_it_heals() {
    let mut world = World::with(6, &[Endpoint::Dead, Endpoint::Fast], large());
    let count = 8_000;
    for number in 0..count {
        world.event(number, usize::from(number % 50 == 0));
    }
    world.wait_until(world.now + 60 * MINUTE, MINUTE);
    assert_eq!(world.read, world.log.len(), "its look-ahead is free");
    let bytes = world.kafka.lane_bytes;
    assert!(bytes < 40 * count, "{bytes} bytes for {count}");
    let writes = world.scheduler.writes;
    world.heal();
    let healed = world.now;
    world.run_until_settled(count);
    assert!(world.now - healed < 15 * MINUTE, "{} ms after it healed", world.now - healed);
    assert!(world.scheduler.writes - writes < 500, "retries only");
}
