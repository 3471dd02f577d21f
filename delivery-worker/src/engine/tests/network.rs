//! A network that is gone, and endpoints that only look like it.

use super::super::LaneChange;
use super::wire::Wire;
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::testing::subscription_id;

fn wire(origins: u128) -> Wire {
    let wire = Wire::new(|_| {});
    for number in 0..origins {
        wire.subscribe(number, &format!("https://{number}.example/"), 1, |_| {});
    }
    wire
}

fn unreachable() -> (AttemptVerdict, i64) {
    (unanswered(NoAnswer::Connect), 20)
}

#[test]
fn everything_failing_at_once_holds_intake_and_lists_nothing() {
    let mut wire = wire(4);
    (0..4).for_each(|number| wire.event(number));
    wire.run(100, &mut |_, _| (AttemptVerdict::Delivered, 20));
    for number in 0..400 {
        wire.event(number % 4);
    }
    let gone_ms = wire.now;
    wire.run(3_000, &mut |_, _| unreachable());
    assert!(wire.engine.is_held());
    assert_eq!(wire.engine.len(), 400, "nothing leaves while the network is down");
    let is_listing = |change: &LaneChange| matches!(change, LaneChange::Listed(_));
    assert!(!wire.engine.take_changes().iter().any(is_listing), "and nothing is listed");
    let before: usize = wire.sent.values().map(Vec::len).sum();
    wire.run(10_000, &mut |_, _| unreachable());
    let probes = wire.sent.values().map(Vec::len).sum::<usize>() - before;
    assert!((40..=51).contains(&probes), "five a second, of all lanes together: {probes}");
    wire.run(2_000, &mut |_, _| (AttemptVerdict::Delivered, 20));
    assert!(!wire.engine.is_held());
    let all: usize = (0..4).map(|number| wire.taken_of(number)).sum();
    assert!(all >= 404, "{all}: nobody is held to be dead after {} ms", wire.now - gone_ms);
    assert_eq!(wire.engine.open_circuits(), 0);
}

#[test]
fn endpoints_that_were_dead_before_are_no_evidence() {
    let mut wire = wire(6);
    let mut answers = |id, _| {
        let is_dead = (0..5).any(|number| subscription_id(number) == id);
        if is_dead { unreachable() } else { (AttemptVerdict::Delivered, 20) }
    };
    for number in (0..200).map(|number| number % 5) {
        wire.event(number);
    }
    // Their circuits open; the worker's network never looks gone, and the healthy one comes seldom.
    for _ in 0..60 {
        wire.run(1_000, &mut answers);
        assert!(!wire.engine.is_held());
    }
    wire.event(5);
    wire.run(100, &mut answers);
    assert_eq!((wire.taken_of(5), wire.engine.open_circuits()), (1, 5));
}

#[test]
fn an_outage_of_our_own_changes_nothing_for_whom_was_dead_before() {
    let mut wire = wire(5);
    let dead = subscription_id(4);
    let mut before = |id, _| if id == dead { unreachable() } else { (AttemptVerdict::Delivered, 20) };
    for number in 0..50 {
        wire.event(if number % 5 == 0 { 4 } else { number % 4 });
    }
    wire.run(60_000, &mut before);
    assert_eq!(wire.engine.open_circuits(), 1);
    let failing_since = |wire: &Wire| wire.engine.lanes[&dead].streak.failing_since_ms();
    let before_outage = failing_since(&wire);
    assert!(before_outage.is_some());
    for number in 0..400 {
        wire.event(number % 4);
    }
    wire.run(3_000, &mut |_, _| unreachable());
    assert!(wire.engine.is_held());
    wire.run(300, &mut before);
    assert!(!wire.engine.is_held());
    wire.run(100, &mut before);
    assert_eq!(failing_since(&wire), before_outage, "it has been failing all the time");
    assert_eq!(wire.engine.open_circuits(), 1, "only the dead one's circuit is open");
}

#[test]
fn a_probe_that_cannot_go_now_wakes_nobody() {
    let mut wire = wire(4);
    (0..4).for_each(|number| wire.event(number));
    wire.run(100, &mut |_, _| (AttemptVerdict::Delivered, 20));
    (0..400).for_each(|number| wire.event(number % 4));
    wire.run(3_000, &mut |_, _| unreachable());
    assert!(wire.engine.is_held() && !wire.engine.ready.is_empty());
    let now = wire.now + 1_000;
    wire.engine.tick(now);
    assert!(wire.engine.next_wake_ms().unwrap() <= now, "its time has come");
    assert!(wire.engine.next_tick_ms().is_none_or(|at_ms| at_ms > now), "nothing may be sent");
    wire.engine.rules.concurrency = wire.engine.in_flight();
    assert!(wire.engine.dispatch(now).is_none());
    assert!(wire.engine.next_wake_ms().is_none_or(|at_ms| at_ms > now), "everything is in use");
}
