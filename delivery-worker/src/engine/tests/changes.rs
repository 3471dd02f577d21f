//! A subscription that is changed while its deliveries wait here.

use std::sync::Arc;

use schemas::control;
use schemas::delivery::Wait;

use super::super::{Arrival, Engine, Left};
use super::world::{Endpoint, MINUTE, Subscriptions, World, rules};
use crate::settle::End;
use crate::testing;
use kafka::Epoch;

#[test]
fn a_paused_subscription_parks_and_a_deleted_one_cancels() {
    let mut world = World::new(1, &[Endpoint::Fast, Endpoint::Fast]);
    let vault = testing::vault();
    let paused = control::Subscription { is_paused: true, ..testing::object(0, "https://example.com/", &vault) };
    let id = paused.subscription_id;
    world.subscriptions.0.borrow_mut().insert(id, testing::subscription(paused, 2, &vault));
    world.subscriptions.0.borrow_mut().remove(&testing::subscription_id(1));
    world.event(0, 0);
    world.event(1, 1);
    let begin = world.now;
    world.step();
    assert_eq!(world.parked_lanes, [(id, Wait::Paused)]);
    assert_eq!(world.settled.len(), 1, "the deleted subscription's delivery is cancelled");
    let wait = world.waiting.iter().map(|(at, _)| *at).min().unwrap() - begin;
    assert!(wait > 9 * MINUTE, "{wait}");
}

/// An engine whose one lane is full and has more waiting.
fn busy(waiting: u32) -> (Engine<Subscriptions>, Subscriptions) {
    let (subscriptions, vault) = (Subscriptions::default(), testing::vault());
    let object = control::Subscription { concurrency: Some(1), ..testing::object(0, "https://example.com/", &vault) };
    subscriptions.put(testing::subscription(object, 1, &vault));
    let mut engine = Engine::new(rules(), subscriptions.clone());
    for number in 0..=waiting {
        let delivery = Arc::new(testing::delivery(&format!("evt_{number}"), 0));
        let offset = i64::from(number);
        engine.admit(Arrival { lease: Epoch(1), offset, size: 1, timestamp_ms: 0, delivery }, 0);
    }
    assert!(engine.dispatch(0).is_some() && engine.dispatch(0).is_none(), "one is on the wire, the rest waits");
    (engine, subscriptions)
}

#[test]
fn what_waits_for_a_disabled_deleted_or_paused_subscription_leaves_at_once() {
    let ends = |left: Vec<Left>| left.into_iter().map(|left| left.end).collect::<Vec<_>>();
    let vault = testing::vault();
    let changed = |change: fn(&mut control::Subscription)| {
        let mut object = testing::object(0, "https://example.com/", &vault);
        change(&mut object);
        testing::subscription(object, 2, &vault)
    };

    let (mut engine, subscriptions) = busy(3);
    engine.review(5);
    assert!(engine.take_left().is_empty(), "nothing was changed");
    subscriptions.put(changed(|object| object.is_enabled = false));
    engine.review(10);
    assert_eq!(ends(engine.take_left()), vec![End::Cancelled("disabled"); 3]);

    let (mut engine, subscriptions) = busy(3);
    subscriptions.remove(0);
    engine.review(10);
    assert_eq!(ends(engine.take_left()), vec![End::Cancelled("deleted"); 3]);

    let (mut engine, subscriptions) = busy(3);
    subscriptions.put(changed(|object| object.is_paused = true));
    engine.review(10);
    let parked = ends(engine.take_left());
    let is_paused = |end: &End| matches!(end, End::Parked { hop, .. } if hop.wait == Wait::Paused);
    assert!(parked.len() == 3 && parked.iter().all(is_paused), "{parked:?}");
    assert_eq!(engine.len(), 1, "the one on the wire may end");
}

#[test]
fn an_edited_subscription_keeps_what_waits_and_its_new_limits_count_at_once() {
    let (mut engine, subscriptions) = busy(3);
    let vault = testing::vault();
    let object = control::Subscription { concurrency: Some(3), ..testing::object(0, "https://new.example/", &vault) };
    subscriptions.put(testing::subscription(object, 2, &vault));
    engine.review(10);
    assert!(engine.take_left().is_empty());
    let next = [engine.dispatch(10), engine.dispatch(10)].map(|dispatch| dispatch.unwrap().subscription.offset());
    assert_eq!(next, [2, 2], "requests begin by what stands in the catalog now");
    assert!(engine.dispatch(10).is_none());
}

#[test]
fn everything_that_was_paused_is_back_within_one_park_of_the_resume() {
    let mut world = World::new(3, &[Endpoint::Fast]);
    let vault = testing::vault();
    let paused = control::Subscription { is_paused: true, ..testing::object(0, "https://example.com/", &vault) };
    world.subscriptions.put(testing::subscription(paused, 2, &vault));
    for number in 0..1_000 {
        world.event(number, 0);
    }
    while world.waiting.len() < 1_000 {
        world.step();
    }
    let resumed = world.now;
    world.subscriptions.put(testing::subscription(testing::object(0, "https://example.com/", &vault), 3, &vault));
    world.run_until_settled(1_000);
    let took = world.now - resumed;
    assert!(took < 11 * MINUTE, "{took} ms");
}
