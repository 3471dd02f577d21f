//! Lanes that say nothing any more are forgotten, and what is forgotten is never missed.

use std::sync::Arc;

use retry::MAX_DELAY;
use schemas::control;

use super::super::forget::LOOK_EVERY_MS;
use super::super::{Arrival, Dispatch, Engine};
use super::world::{Endpoint, MINUTE, Subscriptions, World, rules};
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::steady::Wall;
use crate::testing;
use kafka::Epoch;

const DAY: i64 = 24 * 60 * MINUTE;

/// One worker, and what it is told to do when.
struct Bench {
    engine: Engine<Subscriptions>,
    subscriptions: Subscriptions,
    vault: Arc<vault::Vault>,
    sent: i64,
}

impl Bench {
    fn new() -> Self {
        let subscriptions = Subscriptions::default();
        let engine = Engine::new(rules(), subscriptions.clone());
        Self { engine, subscriptions, vault: testing::vault(), sent: 0 }
    }

    fn put(&self, number: u128, change: impl FnOnce(&mut control::Subscription)) {
        let mut object = testing::object(number, "https://example.com/", &self.vault);
        change(&mut object);
        self.subscriptions.put(testing::subscription(object, 1, &self.vault));
    }

    fn admit(&mut self, number: u128, failing_since_ms: Option<i64>, now: i64) {
        self.sent += 1;
        let mut delivery = testing::delivery(&format!("evt_{}", self.sent), number);
        delivery.hop.failing_since_ms = failing_since_ms;
        let (offset, delivery) = (self.sent, Arc::new(delivery));
        self.engine.admit(Arrival { lease: Epoch(1), offset, size: 1, timestamp_ms: 0, delivery }, now);
    }

    fn dispatch(&mut self, now: i64) -> Option<Dispatch> {
        self.engine.tick(now);
        self.engine.dispatch(now)
    }

    /// One delivery, sent and answered at once. Since when its endpoint has been failing.
    fn deliver(&mut self, number: u128, carried: Option<i64>, verdict: &AttemptVerdict, now: i64) -> Option<i64> {
        self.admit(number, carried, now);
        let ticket = self.dispatch(now).unwrap().ticket;
        self.engine.outcome(ticket, verdict, 5, now).unwrap().failed.map(|failed| failed.since_ms)
    }

    /// Nothing comes, time passes. The stage never sleeps for longer than half a second; for days a few turns will do.
    fn rest(&mut self, from: i64, to: i64) {
        let step = if to - from < DAY / 24 { 500 } else { 30_000 };
        for now in (from..to).step_by(step) {
            self.engine.tick(now);
        }
        self.engine.tick(to);
    }
}

fn fails() -> AttemptVerdict {
    unanswered(NoAnswer::Timeout)
}

#[test]
fn a_worker_that_has_served_ten_thousand_subscriptions_that_are_gone_holds_no_lane() {
    let mut bench = Bench::new();
    let mut now = 1_000_000;
    for number in 0..10_000 {
        bench.put(number, |object| object.rate_per_second = (number % 2 == 0).then_some(1.0));
        // Whatever was known of them goes too.
        let verdict = if number % 3 == 0 { fails() } else { AttemptVerdict::Delivered };
        bench.deliver(number, None, &verdict, now);
        bench.subscriptions.remove(number);
        now += 10;
        assert!(bench.engine.lanes() <= 8_000, "they do not wait for the end");
    }
    bench.rest(now, now + 2 * LOOK_EVERY_MS);
    assert_eq!(bench.engine.lanes(), 0);
    assert!(bench.engine.room() < 2_048, "the room is given back: {}", bench.engine.room());
}

#[test]
fn what_was_served_once_is_forgotten_and_what_is_served_stays() {
    let mut bench = Bench::new();
    let begin = 1_000_000;
    for number in 0..3_000 {
        bench.put(number, |_| {});
        bench.deliver(number, None, &AttemptVerdict::Delivered, begin);
    }
    for minute in 0..12 {
        let now = begin + minute * MINUTE;
        bench.deliver(7, None, &AttemptVerdict::Delivered, now);
        bench.rest(now, now + MINUTE);
    }
    assert_eq!(bench.engine.lanes(), 1, "the one that is served");
}

#[test]
fn a_lane_with_work_stays_whatever_happens_to_its_subscription() {
    let mut bench = Bench::new();
    bench.put(0, |object| object.concurrency = Some(1));
    bench.admit(0, None, 0);
    let flying = bench.dispatch(0).unwrap();
    bench.subscriptions.remove(0);
    bench.rest(0, DAY);
    assert_eq!(bench.engine.lanes(), 1);
    bench.put(0, |object| object.concurrency = Some(1));
    bench.admit(0, None, DAY);
    assert!(bench.dispatch(DAY).is_none(), "its cap is taken");
    bench.engine.outcome(flying.ticket, &AttemptVerdict::Delivered, 5, DAY);
    assert!(bench.dispatch(DAY).is_some());
}

#[test]
fn a_rate_is_kept_over_rests_of_any_length() {
    for (rate, rest) in [(0.000_5, 20 * MINUTE), (0.001, 12 * MINUTE), (0.001, 30 * MINUTE), (0.5, 12 * MINUTE)] {
        let mut bench = Bench::new();
        bench.put(0, |object| object.rate_per_second = Some(rate));
        #[expect(clippy::cast_possible_truncation, reason = "a thousand seconds or so")]
        let interval = (1_000.0 / rate) as i64;
        let mut now = 1_000_000;
        let mut sent: Vec<i64> = Vec::new();
        let mut was_forgotten = false;
        for _ in 0..6 {
            bench.admit(0, None, now);
            let until = now + rest;
            while now < until {
                while let Some(dispatch) = bench.dispatch(now) {
                    sent.push(now);
                    bench.engine.outcome(dispatch.ticket, &AttemptVerdict::Delivered, 5, now);
                }
                now += 1_000;
                was_forgotten |= bench.engine.lanes() == 0;
            }
        }
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= interval), "{rate}: {sent:?}");
        assert!(sent.len() >= 3, "{rate}: {sent:?}");
        assert!(was_forgotten || interval > rest, "{rate} is not held for longer than it needs");
    }
}

#[test]
fn a_circuit_stays_open_between_retries_however_far_apart() {
    let mut bench = Bench::new();
    bench.put(0, |_| {});
    let mut now = 1_000_000;
    while bench.engine.open_circuits() == 0 {
        bench.deliver(0, None, &fails(), now);
        now += 1_000;
    }
    let back = now + i64::try_from(MAX_DELAY.as_millis()).unwrap();
    bench.rest(now, back);
    for _ in 0..3 {
        bench.admit(0, None, back);
    }
    assert!(bench.dispatch(back).is_some());
    assert!(bench.dispatch(back).is_none(), "one probe at a time, as if it had never rested");
    assert!(bench.engine.take_left().is_empty());
}

#[test]
fn a_success_outlaws_older_stamps_however_long_ago_it_was() {
    let mut bench = Bench::new();
    bench.put(0, |_| {});
    let since = bench.deliver(0, None, &fails(), MINUTE);
    assert_eq!(since, Some(MINUTE));
    bench.deliver(0, None, &AttemptVerdict::Delivered, 2 * MINUTE);
    bench.rest(2 * MINUTE, 7 * DAY);
    assert_eq!(bench.deliver(0, since, &fails(), 7 * DAY), Some(7 * DAY), "the stamp is from before a success");

    // Its retry was written by another owner, and nothing here ever failed.
    let mut bench = Bench::new();
    bench.put(2, |_| {});
    bench.deliver(2, None, &AttemptVerdict::Delivered, 2 * MINUTE);
    bench.rest(2 * MINUTE, 20 * MINUTE);
    assert!(bench.engine.lanes() < 2, "it is forgotten, its success is not");
    assert_eq!(bench.deliver(2, Some(MINUTE), &fails(), DAY), Some(DAY));
    bench.engine.tick(9 * DAY);
    bench.engine.tick(10 * DAY);
    assert!(bench.engine.successes.is_empty());

    // One that comes with a stamp says that others may come.
    bench.put(1, |_| {});
    bench.deliver(1, Some(MINUTE), &AttemptVerdict::Delivered, 7 * DAY);
    bench.rest(7 * DAY, 8 * DAY);
    assert_eq!(bench.deliver(1, Some(MINUTE), &fails(), 8 * DAY), Some(8 * DAY));
}

#[test]
fn even_an_endpoint_that_failed_is_forgotten_when_nothing_can_come_back_to_it() {
    let mut bench = Bench::new();
    bench.put(0, |_| {});
    bench.deliver(0, None, &fails(), MINUTE);
    bench.rest(MINUTE, 8 * DAY - MINUTE);
    assert_eq!(bench.engine.lanes(), 1);
    bench.rest(8 * DAY - MINUTE, 8 * DAY + 3 * MINUTE);
    assert_eq!(bench.engine.lanes(), 0);
}

#[test]
fn a_lane_is_looked_at_in_one_place_however_often_it_goes_and_comes_back() {
    let mut bench = Bench::new();
    bench.put(0, |_| {});
    for round in 0..50 {
        let now = 1_000_000 + round * 20 * MINUTE;
        bench.deliver(0, None, &AttemptVerdict::Delivered, now);
        bench.engine.revoke(&[Epoch(1)], false);
        bench.deliver(0, None, &AttemptVerdict::Delivered, now + 1);
        bench.rest(now, now + 2 * MINUTE);
        assert_eq!((bench.engine.lanes(), bench.engine.looks.len()), (1, 1));
    }
    // A wall clock that is set back by an hour does not stop it.
    let now = 1_000_000 + 49 * 20 * MINUTE + 2 * MINUTE;
    bench.engine.set_wall(Wall { ahead_ms: -60 * MINUTE });
    bench.subscriptions.remove(0);
    bench.rest(now, now + 2 * LOOK_EVERY_MS);
    assert_eq!(bench.engine.lanes(), 0);
}

#[test]
fn a_limited_lane_keeps_its_pace_however_much_of_it_is_listed() {
    let mut world = World::new(5, &[Endpoint::Fast, Endpoint::Fast]);
    let vault = testing::vault();
    let slow =
        control::Subscription { rate_per_second: Some(0.02), ..testing::object(0, "https://example.com/", &vault) };
    world.subscriptions.put(testing::subscription(slow, 2, &vault));
    for number in 0..150 {
        world.event(number, 0);
    }
    world.event(150, 1);
    let begin = world.now;
    let mut flown = Vec::new();
    while world.settled().len() < 151 {
        let (before, now) = (world.flown, world.now);
        world.step();
        flown.extend((before..world.flown).map(|_| now));
    }
    flown.sort_unstable();
    assert!(world.started[&testing::subscription_id(1)] < begin + MINUTE, "its neighbour does not wait for it");
    assert!(flown.windows(3).all(|pair| pair[2] - pair[0] >= 50_000), "{flown:?}");
    assert!(world.now < begin + 130 * MINUTE, "two hours of deliveries took {} ms", world.now - begin);
    assert!(world.ledger.listed > 50);
}
