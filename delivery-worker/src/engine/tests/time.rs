//! A wall clock that jumps, while the engine's own time does not.

use std::sync::Arc;

use super::super::Arrival;
use super::wire::Wire;
use super::world::{Endpoint, World};
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::settle::End;
use crate::steady::Wall;
use crate::testing;
use kafka::Epoch;

const HOUR: i64 = 3_600_000;

fn taken(_: schemas::ids::SubscriptionId, _: i64) -> (AttemptVerdict, i64) {
    (AttemptVerdict::Delivered, 5)
}

fn gone(_: schemas::ids::SubscriptionId, _: i64) -> (AttemptVerdict, i64) {
    (unanswered(NoAnswer::Connect), 5)
}

#[test]
fn rates_circuits_and_the_egress_hold_do_not_notice_a_jump() {
    for jump in [-HOUR, HOUR] {
        let mut wire = Wire::new(|_| {});
        for number in 0..4 {
            wire.subscribe(number, &format!("https://{number}.example/"), 1, |_| {});
            wire.event(number);
        }
        wire.subscribe(9, "https://limited.example/", 1, |object| object.rate_per_second = Some(2.0));
        wire.run(50, &mut taken);
        (0..40).for_each(|number| wire.event(number % 4));
        wire.run(3_000, &mut gone);
        assert!(wire.engine.is_held());
        (0..10).for_each(|_| wire.event(9));
        wire.engine.set_wall(Wall { ahead_ms: jump });
        wire.run(6_000, &mut taken);
        assert!(!wire.engine.is_held(), "probed within its 200 ms");
        let all: usize = (0..4).map(|number| wire.taken_of(number)).sum();
        assert_eq!((all, wire.taken_of(9)), (44, 10), "{jump}");
        let sent = wire.sent_to(9);
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= 490), "{sent:?}");
    }
}

#[test]
fn an_open_circuit_probes_when_its_time_has_passed_whatever_the_wall_shows() {
    for jump in [-HOUR, HOUR] {
        let mut wire = Wire::new(|_| {});
        wire.subscribe(0, "https://dead.example/", 1, |_| {});
        (0..40).for_each(|_| wire.event(0));
        while wire.engine.open_circuits() == 0 {
            wire.step(&mut gone);
        }
        let opened = wire.now;
        wire.run(10, &mut gone);
        let before = wire.sent_to(0).len();
        wire.engine.set_wall(Wall { ahead_ms: jump });
        wire.run(6_000, &mut taken);
        let waited = wire.sent_to(0)[before] - opened;
        assert!((3_500..=5_001).contains(&waited), "{jump}: {waited}");
    }
}

#[test]
fn due_times_and_deadlines_are_the_walls() {
    let delivery = |due_ms, deadline_ms| {
        let mut delivery = testing::delivery("evt_1", 0);
        delivery.hop.due_ms = due_ms;
        delivery.deadline_ms = deadline_ms;
        Arrival { lease: Epoch(1), offset: 1, size: 1, timestamp_ms: 0, delivery: Arc::new(delivery) }
    };
    let sent_after = |jump: i64| {
        let mut wire = Wire::new(|_| {});
        wire.subscribe(0, "https://a.example/", 1, |_| {});
        wire.admit(delivery(wire.now + 3_000, i64::MAX));
        wire.run(1_000, &mut taken);
        wire.engine.set_wall(Wall { ahead_ms: jump });
        wire.run(10_000, &mut taken);
        wire.sent_to(0).first().map(|at| at - 1_000_000)
    };
    assert_eq!(sent_after(0), Some(3_000));
    assert_eq!(sent_after(1_500), Some(1_500), "the wall shows its time earlier");
    assert_eq!(sent_after(-2_000), Some(5_000), "never early");

    let mut wire = Wire::new(|_| {});
    wire.subscribe(0, "https://a.example/", 1, |_| {});
    wire.engine.set_wall(Wall { ahead_ms: HOUR });
    wire.admit(delivery(0, wire.now + HOUR));
    let left = wire.engine.take_left();
    assert!(matches!(left[0].end, End::Died { .. }), "{left:?}");
}

/// Two payload writes for each lap between `deliveries` and a delay topic, as fast as they are committed. The world's ledger finds the
/// first of them.
#[test]
fn a_clock_that_is_behind_passes_no_retry_back() {
    let run = |behind_ms: i64| {
        let mut world = World::new(5, &[Endpoint::Flaky]);
        world.engine.set_wall(Wall { ahead_ms: -behind_ms });
        (0..60).for_each(|number| world.event(number, 0));
        world.run_until_settled(60);
        world.scheduler.writes
    };
    let writes = run(0);
    for behind_ms in [5_000, HOUR] {
        let skewed = run(behind_ms);
        assert!(skewed <= 2 * writes, "{behind_ms}: {skewed} payloads instead of {writes}");
    }
}
