//! What is listed and comes back: a lane goes on with it whatever became of it, and whoever told it of a change.

use std::sync::Arc;

use schemas::control;
use schemas::delivery::Delivery;
use schemas::lanes::{HeldKey, ListRole};
use schemas::ordering::OrderingKey;
use schemas::record::Record;

use super::super::{Arrival, Engine, LaneChange};
use super::world::{Subscriptions, rules};
use crate::lists::{Age, List};
use crate::testing;
use kafka::Epoch;

const LEASE: Epoch = Epoch(1);

/// A lane of which these offsets are listed, as the next owner of its partition finds it.
fn found(listed: &[i64], change: impl FnOnce(&mut control::Subscription)) -> (Engine<Subscriptions>, Subscriptions) {
    found_in(ListRole::FirstTries, listed, change)
}

fn found_in(
    role: ListRole,
    listed: &[i64],
    change: impl FnOnce(&mut control::Subscription),
) -> (Engine<Subscriptions>, Subscriptions) {
    let subscriptions = Subscriptions::default();
    let mut engine = Engine::new(rules(), subscriptions.clone());
    put(&subscriptions, 1, change);
    let mut list = List::new(role, 1);
    for offset in listed {
        list.insert(*offset, Age { oldest_ms: 0, dead_ms: 0 }, &mut Vec::new());
    }
    engine.restore(LEASE, testing::subscription_id(0), (&[list], None), 0);
    (engine, subscriptions)
}

fn put(subscriptions: &Subscriptions, offset: i64, change: impl FnOnce(&mut control::Subscription)) {
    let vault = testing::vault();
    let mut object = testing::object(0, &testing::url(0), &vault);
    change(&mut object);
    subscriptions.put(testing::subscription(object, offset, &vault));
}

fn arrival(offset: i64, deadline_ms: i64) -> Arrival {
    arrival_of(&testing::record(&format!("evt_{offset}"), 0, deadline_ms), offset)
}

fn arrival_of(record: &Record, offset: i64) -> Arrival {
    let delivery = Arc::new(Delivery::decode(record).unwrap());
    Arrival { lease: LEASE, offset, size: 1, timestamp_ms: 0, delivery }
}

/// Offsets that go now.
fn sent(engine: &mut Engine<Subscriptions>, now_ms: i64) -> Vec<i64> {
    std::iter::from_fn(|| engine.dispatch(now_ms)).map(|it| engine_offset(&it.delivery)).collect()
}

fn engine_offset(delivery: &Delivery) -> i64 {
    delivery.event_id().trim_start_matches("evt_").parse().unwrap()
}

fn demanded(engine: &mut Engine<Subscriptions>) -> Vec<i64> {
    engine.take_demands().into_iter().map(|demand| demand.offset).collect()
}

#[test]
fn a_lane_goes_on_where_what_was_read_back_has_died_or_is_gone() {
    let ends: [fn(&mut Engine<Subscriptions>); 4] = [
        |engine| engine.read_back(arrival_of(&testing::record("evt_0", 1, 1_000), 0), 10),
        |engine| engine.read_back(arrival(0, 5), 10),
        |engine| engine.not_there(LEASE, 0, 10),
        |engine| assert!(engine.withdraw(LEASE, 0, 10)),
    ];
    for end in ends {
        let (mut engine, _) = found(&[0], |_| {});
        assert_eq!(demanded(&mut engine), [0]);
        engine.admit(arrival(7, 1_000), 1);
        assert!(sent(&mut engine, 1).is_empty(), "what is older goes first");
        end(&mut engine);
        assert_eq!(sent(&mut engine, 10), [7]);
    }
}

#[test]
fn a_delivery_that_tells_its_lane_of_a_resume_before_the_review_did_waits_for_nobody() {
    let (mut engine, subscriptions) = found(&[0], |object| object.is_paused = true);
    engine.admit(arrival(6, 1_000), 1);
    assert!(demanded(&mut engine).is_empty() && sent(&mut engine, 1).is_empty(), "it is paused");
    put(&subscriptions, 2, |_| {});
    engine.admit(arrival(7, 1_000), 2);
    assert_eq!(demanded(&mut engine), [0], "the oldest is asked for at once");
    engine.read_back(arrival(0, 1_000), 3);
    assert_eq!(sent(&mut engine, 3), [0, 6, 7]);
}

#[test]
fn what_a_delivery_told_its_lane_is_reviewed_nevertheless() {
    let (mut engine, subscriptions) = found(&[0, 1], |object| object.is_paused = true);
    engine.admit(arrival(6, 1_000), 1);
    put(&subscriptions, 20, |object| object.cancel_before = Some(10));
    // It was matched later, and is not cancelled.
    engine.admit(arrival_of(&testing::matched("evt_7", 0, 1_000, 20), 7), 2);
    engine.review(2);
    let is_aside = |change: &LaneChange| matches!(change, LaneChange::SetAside { .. });
    assert_eq!(engine.take_changes().iter().filter(|change| is_aside(change)).count(), 1);
}

#[test]
fn what_the_owner_before_set_aside_is_not_set_aside_again() {
    let is_aside = |change: &LaneChange| matches!(change, LaneChange::SetAside { .. });
    for (role, count) in [(ListRole::SetAside, 0), (ListRole::Retries, 1), (ListRole::FirstTries, 1)] {
        let (mut engine, _) = found_in(role, &[0, 1], |object| object.is_enabled = false);
        engine.review(1);
        assert_eq!(engine.take_changes().iter().filter(|change| is_aside(change)).count(), count, "{role:?}");
    }
}

#[test]
fn what_came_after_a_change_that_found_nothing_here_is_not_set_aside_for_it() {
    let (mut engine, subscriptions) = found(&[], |_| {});
    engine.admit(arrival(5, 1_000), 1);
    assert_eq!(sent(&mut engine, 1), [5]);
    put(&subscriptions, 20, |object| object.cancel_before = Some(10));
    engine.review(2);
    // Nothing waits, so nobody looks; what comes now was matched after the change.
    for offset in 6..9 {
        engine.admit(arrival_of(&testing::matched(&format!("evt_{offset}"), 0, 1_000, 20), offset), 3);
    }
    let mut list = List::new(ListRole::FirstTries, 1);
    list.insert(9, Age { oldest_ms: 0, dead_ms: 0 }, &mut Vec::new());
    engine.restore(LEASE, testing::subscription_id(0), (&[list], Some(20)), 3);
    put(&subscriptions, 30, |object| (object.cancel_before, object.is_paused) = (Some(10), true));
    engine.review(4);
    let is_aside = |change: &LaneChange| matches!(change, LaneChange::SetAside { .. });
    assert!(!engine.take_changes().iter().any(is_aside));
}

/// A key waits for a retry that is back and listed, and the next of it is here.
#[test]
fn a_key_goes_on_where_what_it_waits_for_is_lost_in_its_list() {
    let ends: [fn(&mut Engine<Subscriptions>); 3] = [
        |engine| engine.read_back(arrival_of(&testing::record("evt_0", 1, 1_000), 0), 10),
        |engine| engine.not_there(LEASE, 0, 10),
        |engine| assert!(engine.withdraw(LEASE, 0, 10)),
    ];
    let id = testing::subscription_id(0);
    for (listed_at, goes) in [(Some(0), true), (Some(1), false), (None, false)] {
        for end in ends {
            let (mut engine, _) = found_in(ListRole::Retries, &[0], |_| {});
            let delivery = arrival(0, 1_000).delivery.id;
            let key = OrderingKey(7);
            let held = HeldKey { key, delivery, matched_at: 1, until_ms: 2_000, retry: None, listed_at };
            engine.restore_keys(LEASE, id, &[held], 0);
            assert_eq!(demanded(&mut engine), [0]);
            engine.admit(arrival_of(&testing::ordered("evt_7", 0, 7, 5), 7), 1);
            end(&mut engine);
            assert_eq!(sent(&mut engine, 10), if goes { vec![7] } else { Vec::new() }, "{listed_at:?}");
            let freed = engine.take_changes().iter().any(|change| matches!(change, LaneChange::Freed { .. }));
            assert_eq!(freed, goes);
        }
    }
}
