//! A subscription that is changed while its deliveries wait here.

use std::sync::Arc;

use schemas::control;
use schemas::delivery::{Delivery, Hop};
use schemas::ids::JobId;
use uuid::Uuid;

use super::super::{Arrival, Engine, Left, Rules};
use super::world::{Endpoint, LOOK_AHEAD, MINUTE, Subscriptions, World, rules};
use crate::settle::End;
use crate::testing;
use kafka::Epoch;

/// The object of the only subscription, changed.
fn change(world: &mut World, offset: i64, change: impl FnOnce(&mut control::Subscription)) {
    let vault = testing::vault();
    let mut object = testing::object(0, &testing::url(0), &vault);
    change(&mut object);
    world.subscriptions.put(testing::subscription(object, offset, &vault));
    world.review();
}

#[test]
fn a_paused_subscription_waits_without_a_write_and_goes_at_once_when_it_is_resumed() {
    let mut world = World::new(1, &[Endpoint::Fast, Endpoint::Fast]);
    change(&mut world, 2, |object| object.is_paused = true);
    for number in 0..3_000 {
        world.event(number, 0);
    }
    world.event(3_000, 1);
    let begin = world.now;
    while world.read < world.log.len() || !world.outbox.is_empty() {
        world.step();
    }
    assert!(world.started[&testing::subscription_id(1)] - begin < MINUTE, "its neighbour is served");
    world.run_until_settled(1);
    assert!(world.engine.queued().paused > 2_900, "{:?}", world.engine.queued());
    let written = (world.kafka.lane_records, world.kafka.lane_bytes, world.scheduler.writes);
    assert!(world.kafka.lane_bytes < 80_000, "{} bytes for 3,000 that wait", world.kafka.lane_bytes);
    world.wait_until(world.now + 24 * 60 * MINUTE, MINUTE);
    assert_eq!(
        written,
        (world.kafka.lane_records, world.kafka.lane_bytes, world.scheduler.writes),
        "nothing is written"
    );
    world.restart();
    let resumed = world.now;
    change(&mut world, 3, |_| {});
    while !world.started.contains_key(&testing::subscription_id(0)) {
        world.step();
    }
    assert!(world.now - resumed < 200, "{} ms to the first", world.now - resumed);
    world.run_until_settled(3_001);
    assert!(world.now - resumed < MINUTE, "{} ms for all", world.now - resumed);
}

#[test]
fn a_subscription_that_was_disabled_once_is_swept_once() {
    let mut world = World::new(4, &[Endpoint::Fast]);
    change(&mut world, 2, |object| (object.is_paused, object.cancel_before) = (true, Some(1)));
    for number in 0..2_000 {
        world.event(number, 0);
        world.alarm = world.now + 1_000;
        world.step();
    }
    world.restart();
    world.wait_until(world.now + 60 * MINUTE, 1_000);
    let bytes = world.kafka.lane_bytes;
    assert!(bytes < 100 * 2_000, "{bytes} bytes for 2,000 that wait");
    let lists = world.kafka.values.values().filter(|value| value.len() > 20).count();
    assert!(lists < 30, "{lists} records of one lane");
}

#[test]
fn what_waits_in_the_lists_of_a_disabled_subscription_is_cancelled_and_fresh_deliveries_pass_it() {
    let mut world = World::new(2, &[Endpoint::Fast]);
    change(&mut world, 2, |object| object.is_paused = true);
    for number in 0..1_000 {
        world.event(number, 0);
    }
    while world.read < world.log.len() {
        world.step();
    }
    change(&mut world, 3, |object| (object.is_paused, object.is_enabled) = (true, false));
    // Enabled again: what was matched before is cancelled, record by record.
    change(&mut world, 20, |object| object.cancel_before = Some(10));
    let begin = world.now;
    world.run_until_settled(1_000);
    assert_eq!(world.flown, 0, "none of them is sent");
    assert!(world.now - begin < MINUTE);
}

/// Retries and first tries that wait in lists are set aside together, and what waits after that has lists of its own: four of one
/// lane, by one change. (Which lists a lane may have, the ledger says with every commit.)
#[test]
fn what_one_change_sets_aside_stays_in_as_many_lists_as_it_was_in() {
    let mut world = World::new(2, &[Endpoint::Fast]);
    let mut written = 0;
    let mut wait = |world: &mut World| {
        for number in written..written + 400 {
            if number % 2 == 0 { world.event(number, 0) } else { world.retry(number, 0, world.now + 60 * MINUTE) }
        }
        written += 400;
        while world.read < world.log.len() || !world.outbox.is_empty() {
            world.step();
        }
    };
    world.operate(0, true, true);
    wait(&mut world);
    // What is read back to be swept comes late: fresh ones wait beside it.
    world.operate(0, true, false);
    world.operate(0, true, true);
    wait(&mut world);
    let lists = world.kafka.lists_of(testing::subscription_id(0));
    assert_eq!(lists, 4, "lists of one lane");
    world.operate(0, false, true);
    world.run_until_settled(800);
}

/// More than are swept before the first fetch of a new owner.
const CANCELLED: usize = 8_000;

/// Thousands wait, are cancelled while their partition moves, and one that is fresh comes.
pub(super) fn moved() -> World {
    let mut world = World::new(3, &[Endpoint::Fast]);
    change(&mut world, 6, |object| object.is_paused = true);
    for number in 0..CANCELLED {
        world.event(number, 0);
    }
    while world.read < world.log.len() || !world.outbox.is_empty() {
        world.step();
    }
    // Disabled and enabled again, and no owner has looked in between.
    let vault = testing::vault();
    let object = control::Subscription { cancel_before: Some(10), ..testing::object(0, &testing::url(0), &vault) };
    world.subscriptions.put(testing::subscription(object, 20, &vault));
    let before = world.demands.0 + world.demands.1;
    world.restart();
    world.append(testing::matched("evt_fresh", 0, world.now + 60 * MINUTE, 20));
    while world.flown == 0 {
        world.step();
    }
    let read = world.demands.0 + world.demands.1 - before;
    assert!(read < CANCELLED as u64 / 4 * 3, "it waited until {read} that were cancelled had been read");
    world.run_until_settled(CANCELLED + 1);
    assert_eq!(world.flown, 1, "none of the others is sent");
    world
}

#[test]
fn what_was_cancelled_while_its_partition_moved_holds_up_nothing_fresh() {
    moved();
}

#[test]
fn what_is_paused_for_longer_than_it_may_live_dies_before_its_record_is_deleted() {
    let rules = Rules { keep_ms: Some(10 * MINUTE), ..rules() };
    let mut world = World::with(1, &[Endpoint::Fast], rules);
    change(&mut world, 2, |object| object.is_paused = true);
    for number in 0..500 {
        world.event(number, 0);
    }
    world.wait_until(world.now + 9 * MINUTE, 1_000);
    assert_eq!(world.settled().len(), 0, "they live");
    world.wait_until(world.now + 5 * MINUTE, 1_000);
    assert_eq!((world.settled().len(), world.flown), (500, 0), "none of them was sent");
}

/// Of which one stays in the window.
const RETRIES: usize = 5;

/// A paused lane whose order begins with retries that live, and what waits behind them.
fn behind_a_retry(waiting: usize, deadline_ms: impl Fn(usize) -> i64) -> World {
    let mut world = World::with(1, &[Endpoint::Fast], Rules { keep_ms: Some(10 * MINUTE), ..rules() });
    world.deletes_after = Some(12 * MINUTE);
    change(&mut world, 2, |object| object.is_paused = true);
    for number in 0..waiting {
        let deadline_ms = world.now + deadline_ms(number);
        world.event_until(number, 0, deadline_ms);
    }
    world.wait_until(world.now + 8 * MINUTE, 1_000);
    let deadline_ms = world.now + 60 * MINUTE;
    for number in waiting..waiting + RETRIES {
        world.retry(number, 0, deadline_ms);
    }
    for number in waiting + RETRIES..waiting + RETRIES + LOOK_AHEAD {
        world.event(number, 0);
    }
    world
}

/// All of it dies before retention deletes it, behind what lives.
pub(super) fn aged() -> World {
    let mut world = behind_a_retry(700, |_| 60 * MINUTE);
    world.wait_until(world.now + MINUTE, 1_000);
    assert_eq!(world.settled().len(), 0, "they live");
    world.wait_until(world.now + 3 * MINUTE, 1_000);
    assert_eq!((world.settled().len(), world.flown), (700, 0), "none of them was sent");
    world
}

#[test]
fn what_waits_behind_one_that_lives_dies_before_its_record_is_deleted_too() {
    aged();
}

#[test]
fn a_deadline_in_the_middle_of_what_is_paused_is_kept_and_what_lives_around_it_costs_nothing_more() {
    let mut world = behind_a_retry(2_000, |number| if number % 100 == 50 { 3 * MINUTE } else { 60 * MINUTE });
    assert_eq!(world.settled().len(), 20, "those whose time is over, and no others");
    let read = world.demands;
    world.wait_until(world.now + MINUTE, 1_000);
    assert_eq!((world.settled().len(), world.demands), (20, read), "what lives is not read again and again");
    world.restart();
    change(&mut world, 3, |_| {});
    world.run_until_settled(2_000 + RETRIES + LOOK_AHEAD);
}

#[test]
fn what_waits_for_a_dead_endpoint_dies_before_its_record_is_deleted() {
    let rules = Rules { keep_ms: Some(40 * MINUTE), ..rules() };
    let mut world = World::with(1, &[Endpoint::Dead], rules);
    world.deletes_after = Some(42 * MINUTE);
    for number in 0..1_500 {
        world.event(number, 0);
    }
    world.wait_until(world.now + 44 * MINUTE, 1_000);
    assert!(world.settled().len() > 1_400, "{} are settled", world.settled().len());
}

#[test]
fn a_deleted_subscription_cancels() {
    let mut world = World::new(1, &[Endpoint::Fast]);
    world.subscriptions.remove(0);
    world.event(0, 0);
    world.run_until_settled(1);
    assert_eq!(world.flown, 0);
}

/// Jobs whose deliveries wait.
const GONE: JobId = JobId(Uuid::from_u128(11));
const STAYS: JobId = JobId(Uuid::from_u128(12));

#[test]
fn what_waits_of_a_cancelled_job_leaves_at_once_and_whatever_comes_of_it_later() {
    let ends = |left: Vec<Left>| left.into_iter().map(|left| (left.arrival.offset, left.end)).collect::<Vec<_>>();
    let arrival = |offset: i64, record| {
        let delivery = Arc::new(Delivery::decode(&record).unwrap());
        Arrival { lease: Epoch(1), offset, size: 1, timestamp_ms: 0, delivery }
    };
    let (mut engine, subscriptions) = busy(1);
    for (offset, job) in [(10, GONE), (11, STAYS), (12, GONE)] {
        engine.admit(arrival(offset, testing::sent_again(&format!("evt_{offset}"), 0, job)), 0);
    }
    subscriptions.cancel(GONE);
    engine.review(5);
    let cancelled = |offset| (offset, End::Cancelled("job_cancelled"));
    assert_eq!(ends(engine.take_left()), [cancelled(10), cancelled(12)]);
    engine.review(6);
    assert!(engine.take_left().is_empty(), "others wait");
    // What was in flight has failed, and comes back.
    let first = testing::sent_again("evt_20", 0, GONE);
    let delivery = Delivery::decode(&first).unwrap();
    let hop = Hop { attempt: 2, ..delivery.hop };
    let headers = delivery.to_hop(Arc::from("hookbus.deliveries"), None, hop, None).headers;
    engine.admit(arrival(20, schemas::record::Record { headers, ..first }), 7);
    engine.admit(arrival(21, testing::sent_again("evt_21", 0, STAYS)), 7);
    assert_eq!(ends(engine.take_left()), [cancelled(20)]);
    assert_eq!(engine.len(), 4, "one on the wire, and three that wait");
}

#[test]
fn what_is_listed_of_a_cancelled_job_is_not_sent_when_its_turn_comes() {
    let mut world = World::new(3, &[Endpoint::Fast]);
    change(&mut world, 2, |object| object.is_paused = true);
    for number in 0..1_000 {
        if number % 4 == 0 {
            world.event(number, 0);
        } else {
            world.append(testing::sent_again(&format!("evt_{number}"), 0, GONE));
        }
    }
    while world.read < world.log.len() || !world.outbox.is_empty() {
        world.step();
    }
    world.subscriptions.cancel(GONE);
    world.review();
    let resumed = world.now;
    change(&mut world, 3, |_| {});
    world.run_until_settled(1_000);
    assert_eq!(world.flown, 250, "those that no job has made");
    assert!(world.now - resumed < MINUTE, "{} ms", world.now - resumed);
}

/// An engine whose one lane is full and has more waiting.
fn busy(waiting: u32) -> (Engine<Subscriptions>, Subscriptions) {
    let (subscriptions, vault) = (Subscriptions::default(), testing::vault());
    let object = control::Subscription { concurrency: Some(1), ..testing::object(0, &testing::url(0), &vault) };
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
fn what_waits_for_a_disabled_or_deleted_subscription_leaves_at_once_and_a_pause_keeps_it() {
    let ends = |left: Vec<Left>| left.into_iter().map(|left| left.end).collect::<Vec<_>>();
    let vault = testing::vault();
    let changed = |change: fn(&mut control::Subscription)| {
        let mut object = testing::object(0, &testing::url(0), &vault);
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
    assert!(engine.take_left().is_empty());
    assert_eq!(engine.len(), 4, "the one on the wire may end, the others stand");
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
