//! A lane that goes to another owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::control;
use schemas::ids::SubscriptionId;

use super::super::LaneChange;
use super::wire::Wire;
use super::world::{Endpoint, MINUTE, World};
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::lanes::condition::{CircuitState, LaneCondition};
use crate::steady::Wall;
use crate::testing::{self, subscription_id};
use kafka::Epoch;

#[test]
fn a_deploy_does_not_discover_a_dead_endpoint_anew() {
    let id = subscription_id(0);
    let mut gone = |_, _| (unanswered(NoAnswer::Timeout), 15_000);
    let mut before = Wire::new(|_| {});
    before.subscribe(0, "https://dead.example/", 1, |_| {});
    (0..40).for_each(|_| before.event(0));
    while before.engine.open_circuits() == 0 {
        before.run(1_000, &mut gone);
    }
    let kept = before.engine.condition(id, before.now);
    assert!(kept.circuit.is_some() && kept.failing_since_ms.is_some());

    // The next owner's own clock began an hour later by the wall, and it has the lane before the first delivery.
    let mut after = Wire::new(|_| {});
    after.engine.set_wall(Wall { ahead_ms: before.now - after.now });
    after.engine.restore_condition(Epoch(1), id, &kept, after.now);
    assert_eq!(after.engine.open_circuits(), 1);
    after.subscribe(0, "https://dead.example/", 1, |_| {});
    (0..40).for_each(|_| after.event(0));
    after.run(60_000, &mut gone);
    assert!(after.sent_to(0).len() <= 4, "{:?}: a probe now and then", after.sent_to(0));
    after.run(60_000, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert_eq!((after.taken_of(0), after.engine.open_circuits()), (40, 0));
    assert_eq!(after.engine.condition(id, after.now), LaneCondition::default());
}

/// What stands in the lanes' records, as the engine has told it so far.
fn kept(wire: &mut Wire) -> BTreeMap<SubscriptionId, LaneCondition> {
    let mut kept = BTreeMap::new();
    for change in wire.engine.take_changes() {
        if let LaneChange::Condition { subscription, condition, .. } = change {
            kept.insert(subscription, condition);
        }
    }
    kept.retain(|_, condition| *condition != LaneCondition::default());
    kept
}

#[test]
fn a_deploy_does_not_discover_a_dead_host_anew_with_each_of_its_endpoints() {
    const LANES: u128 = 200;
    let mut gone = |_, _| (unanswered(NoAnswer::Timeout), 15_000);
    let fill = |wire: &mut Wire| {
        for number in 0..LANES {
            wire.subscribe(number, &format!("https://dead.example/{number}"), 1, |_| {});
            (0..3).for_each(|_| wire.event(number));
        }
    };
    let mut before = Wire::new(|_| {});
    fill(&mut before);
    before.run(10 * MINUTE, &mut gone);
    assert_eq!(before.engine.open_origins(), 1);
    let records = kept(&mut before);
    let of_origin = records.values().filter(|condition| condition.origin.is_some()).count();
    assert!((1..20).contains(&of_origin), "{of_origin} lanes keep it");

    let mut after = Wire::new(|_| {});
    after.engine.set_wall(Wall { ahead_ms: before.now - after.now });
    let all: Vec<u128> = (0..LANES).collect();
    for number in &all {
        after.subscribe(*number, &format!("https://dead.example/{number}"), 1, |_| {});
    }
    for (id, condition) in &records {
        after.engine.restore_condition(Epoch(1), *id, condition, after.now);
    }
    assert_eq!(after.engine.open_origins(), 1, "known before anything is sent");
    all.iter().for_each(|number| after.event(*number));
    after.run(MINUTE, &mut gone);
    let sent: usize = all.iter().map(|number| after.sent_to(*number).len()).sum();
    assert!(sent <= 14, "{sent} requests in a minute to a host that was known to be dead: one in five seconds");
    // It is back: all of them go, and no record keeps it once each lane has sent.
    after.run(10 * MINUTE, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert_eq!(after.engine.open_origins(), 0);
    assert!(all.iter().all(|number| after.taken_of(*number) >= 1));
    assert!(all.iter().all(|number| after.engine.condition(subscription_id(*number), after.now).origin.is_none()));
}

#[test]
fn what_was_known_of_a_dead_host_is_not_held_against_another() {
    const LANES: u128 = 40;
    let mut gone = |_, _| (unanswered(NoAnswer::Timeout), 15_000);
    let mut before = Wire::new(|_| {});
    for number in 0..LANES {
        before.subscribe(number, &format!("https://dead.example/{number}"), 1, |_| {});
        (0..3).for_each(|_| before.event(number));
    }
    before.run(10 * MINUTE, &mut gone);
    let records = kept(&mut before);
    assert!(records.values().any(|condition| condition.origin.is_some()), "{records:?}");

    // All of them move to a host that works, where others are, and no owner has looked in between.
    let mut after = Wire::new(|_| {});
    after.engine.set_wall(Wall { ahead_ms: before.now - after.now });
    (0..LANES).for_each(|number| after.subscribe(number, &format!("https://alive.example/{number}"), 2, |_| {}));
    after.subscribe(LANES, "https://alive.example/other", 1, |_| {});
    for (id, condition) in &records {
        after.engine.restore_condition(Epoch(1), *id, condition, after.now);
    }
    assert_eq!(after.engine.open_origins(), 0);
    (0..=LANES).for_each(|number| after.event(number));
    after.run(1_000, &mut |_, _| (AttemptVerdict::Delivered, 5));
    let taken: Vec<usize> = (0..=LANES).map(|number| after.taken_of(number)).collect();
    assert!(taken.iter().all(|count| *count == 1), "{taken:?}");
    after.run(MINUTE, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert!(kept(&mut after).values().all(|condition| condition.origin.is_none()), "nobody keeps it any more");
}

#[test]
fn an_endpoint_with_other_credentials_than_the_owner_before_knew_is_asked_at_once() {
    let id = subscription_id(0);
    let mut gone = |_, _| (unanswered(NoAnswer::Timeout), 15_000);
    let mut before = Wire::new(|_| {});
    before.subscribe(0, "https://dead.example/", 1, |_| {});
    (0..40).for_each(|_| before.event(0));
    let kept = loop {
        before.run(1_000, &mut gone);
        let kept = before.engine.condition(id, before.now);
        if kept.circuit.is_some_and(|it| it.state == CircuitState::Open && it.until_ms > before.now + 2_000) {
            break kept;
        }
    };
    for (version, sent) in [(1, 0), (2, 1)] {
        let mut after = Wire::new(|_| {});
        after.engine.set_wall(Wall { ahead_ms: before.now - after.now });
        let vault = Arc::clone(&after.vault);
        after.subscribe(0, "https://dead.example/", version, |object| {
            let token = testing::seal(&vault, id, "new");
            object.auth = (version > 1).then_some(control::Auth::Bearer { token });
        });
        after.engine.restore_condition(Epoch(1), id, &kept, after.now);
        after.event(0);
        after.run(100, &mut gone);
        assert_eq!(after.sent_to(0).len(), sent, "version {version}");
    }
}

#[test]
fn circuits_stand_in_the_lanes_records_and_survive_restarts() {
    let mut world = World::new(9, &[Endpoint::Dead]);
    (0..100).for_each(|number| world.event(number, 0));
    let run = |world: &mut World| {
        let until = world.now + 5 * MINUTE;
        while world.now < until {
            world.alarm = until;
            world.step();
        }
    };
    run(&mut world);
    assert_eq!(world.engine.open_circuits(), 1);
    for _ in 0..5 {
        let before = world.flown;
        world.restart();
        assert_eq!(world.engine.open_circuits(), 1, "known before anything is sent");
        run(&mut world);
        assert!(world.flown - before <= 3, "{} requests to a dead endpoint in five minutes", world.flown - before);
    }
    world.heal();
    world.run_until_settled(100);
    assert_eq!(world.engine.open_circuits(), 0);
}
