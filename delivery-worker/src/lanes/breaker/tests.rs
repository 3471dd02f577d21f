//! Circuits in virtual time.

use super::*;

const TRIP: Trip = Trip { failures: 3, by_share: true };

fn fails(breaker: &mut Breaker, now_ms: i64) -> bool {
    let turn = breaker.turn;
    breaker.on_failure(FailedRequest { turn, in_share: true, may_open: true }, now_ms)
}

fn takes(breaker: &mut Breaker, now_ms: i64) {
    breaker.on_success(breaker.turn, now_ms);
}

fn until(breaker: &Breaker, now_ms: i64) -> i64 {
    match breaker.admission(now_ms) {
        Admission::Wait(until_ms) => until_ms,
        other @ (Admission::Send | Admission::Probing) => panic!("{other:?} at {now_ms}"),
    }
}

fn opened() -> Breaker {
    let mut breaker = Breaker::new(TRIP, 7);
    assert!(!fails(&mut breaker, 0));
    assert!(!fails(&mut breaker, 900));
    assert!(fails(&mut breaker, 1_000));
    breaker
}

#[test]
fn failures_in_one_moment_do_not_open_it() {
    let mut breaker = Breaker::new(TRIP, 7);
    for _ in 0..100 {
        assert!(!fails(&mut breaker, 7));
    }
    assert_eq!(breaker.admission(7), Admission::Send);
}

#[test]
fn a_success_between_failures_starts_the_run_again() {
    let mut breaker = Breaker::new(Trip { by_share: false, ..TRIP }, 7);
    fails(&mut breaker, 0);
    takes(&mut breaker, 1);
    assert!(!fails(&mut breaker, 9_000));
    assert!(!fails(&mut breaker, 9_001));
    assert!(fails(&mut breaker, 10_000));
}

#[test]
fn a_quiet_endpoint_that_fails_for_half_a_minute_needs_a_quarter_of_the_failures() {
    let mut breaker = Breaker::new(Trip { failures: 20, by_share: true }, 7);
    let opened = (0..20).position(|number| fails(&mut breaker, number * 15_000));
    assert_eq!(opened, Some(4), "the fifth, after a minute");
}

#[test]
fn one_success_in_twenty_does_not_keep_it_closed_and_every_other_one_does() {
    let run = |takes_every: i64| {
        let mut breaker = Breaker::new(Trip { failures: 20, by_share: true }, 7);
        (1..2_000_i64).find(|number| {
            let now_ms = number * 20;
            if number % takes_every == 0 {
                takes(&mut breaker, now_ms);
                return false;
            }
            fails(&mut breaker, now_ms)
        })
    };
    assert!(run(19).is_some_and(|number| number * 20 < 3_000), "within three seconds");
    assert_eq!(run(2), None);
}

#[test]
fn what_only_asked_to_come_later_is_not_in_the_share() {
    let mut breaker = Breaker::new(Trip { failures: 20, by_share: true }, 7);
    for number in 1..1_000 {
        let fault = FailedRequest { turn: 0, in_share: false, may_open: true };
        assert!(!breaker.on_failure(fault, number * 10));
        if number % 10 == 0 {
            takes(&mut breaker, number * 10);
        }
    }
}

#[test]
fn the_wait_begins_at_five_seconds_doubles_and_ends_at_five_minutes_each_a_little_less() {
    let mut breaker = opened();
    let mut now_ms = 1_000;
    let mut waits = Vec::new();
    for _ in 0..9 {
        let until_ms = until(&breaker, now_ms);
        waits.push(until_ms - now_ms);
        now_ms = until_ms;
        assert_eq!(breaker.admission(now_ms), Admission::Send);
        breaker.on_send();
        assert_eq!(breaker.admission(now_ms), Admission::Probing, "one at first");
        assert!(fails(&mut breaker, now_ms));
    }
    let whole = [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000];
    let jittered = waits.iter().zip(whole).all(|(wait, whole)| (whole * 4 / 5..=whole).contains(wait));
    assert!(jittered, "{waits:?}");
    let other = Breaker::new(TRIP, 8);
    let mut other = Breaker { state: State::Closed { failures: 2, since_ms: 0 }, ..other };
    fails(&mut other, 1_000);
    assert_ne!(until(&other, 1_000), until(&opened(), 1_000), "another lane's probe goes at another time");
    assert_eq!(until(&opened(), 1_000), until(&opened(), 1_000), "and its own always at the same");
}

#[test]
fn half_open_lets_through_one_two_four_eight_and_then_everything() {
    let mut breaker = opened();
    let now_ms = until(&breaker, 1_000);
    let mut rounds = Vec::new();
    while breaker.is_open() {
        let mut sent = 0;
        while breaker.is_open() && breaker.admission(now_ms) == Admission::Send {
            breaker.on_send();
            sent += 1;
        }
        rounds.push(sent);
        for _ in 0..sent {
            takes(&mut breaker, now_ms);
        }
    }
    assert_eq!(rounds, [1, 2, 4], "and the next is 8, or as many as the window allows");
    assert!(breaker.is_fresh());
}

#[test]
fn a_failure_after_some_successes_waits_as_long_as_before_and_not_longer() {
    let mut breaker = opened();
    let now_ms = until(&breaker, 1_000);
    breaker.on_send();
    takes(&mut breaker, now_ms);
    breaker.on_send();
    breaker.on_send();
    assert!(fails(&mut breaker, now_ms));
    assert!((4_000..=5_000).contains(&(until(&breaker, now_ms) - now_ms)));
}

#[test]
fn a_late_failure_of_a_request_from_before_the_opening_ends_no_half_open_state() {
    let mut breaker = opened();
    let before = FailedRequest { turn: 0, in_share: true, may_open: true };
    let now_ms = until(&breaker, 1_000);
    let turn = breaker.on_send();
    assert!(!breaker.on_failure(before, now_ms));
    assert_eq!(breaker.admission(now_ms), Admission::Probing, "its probe is still out");
    breaker.on_success(turn, now_ms);
    assert_eq!(breaker.admission(now_ms), Admission::Send);
    assert!(!breaker.on_failure(before, now_ms));
    assert_eq!(breaker.admission(now_ms), Admission::Send);
    // Two probes that fail together open it once.
    let both = [breaker.on_send(), breaker.on_send()];
    let opened = both.map(|turn| breaker.on_failure(FailedRequest { turn, in_share: true, may_open: true }, now_ms));
    assert_eq!(opened, [true, false]);
}

#[test]
fn a_late_success_brings_the_next_probe_at_once() {
    let mut breaker = opened();
    breaker.on_success(0, 2_000);
    assert_eq!(breaker.admission(2_000), Admission::Send);
}

#[test]
fn a_probe_before_its_time_may_close_it_and_its_failure_changes_nothing() {
    let mut breaker = opened();
    let until_ms = until(&breaker, 1_000);
    let turn = breaker.on_send();
    assert!(!breaker.on_failure(FailedRequest { turn, in_share: true, may_open: true }, 1_500));
    assert_eq!(until(&breaker, 1_500), until_ms);
    let turn = breaker.on_send();
    breaker.on_success(turn, 1_600);
    assert_eq!(breaker.admission(1_600), Admission::Send);
}

#[test]
fn a_reset_probes_at_once_and_one_that_says_nothing_lets_another_go() {
    let mut breaker = opened();
    let late = breaker.turn;
    breaker.reset();
    assert_eq!(breaker.admission(1_001), Admission::Send);
    let turn = breaker.on_send();
    breaker.on_failure(FailedRequest { turn: late, in_share: true, may_open: true }, 1_002);
    assert_eq!(breaker.admission(1_002), Admission::Probing, "what was sent before the reset says nothing");
    breaker.on_nothing(turn, 1_002);
    assert_eq!(breaker.admission(1_002), Admission::Send);
    let turn = breaker.on_send();
    assert!(breaker.on_failure(FailedRequest { turn, in_share: true, may_open: true }, 1_003));
    assert!(until(&breaker, 1_003) <= 1_003 + FIRST_MS, "and waits as the first time");
    let mut closed = Breaker::new(TRIP, 7);
    fails(&mut closed, 0);
    closed.reset();
    assert!(closed.is_fresh());
}

#[test]
fn who_asks_before_its_time_and_hears_nothing_changes_nothing() {
    let mut breaker = opened();
    let until_ms = until(&breaker, 1_000);
    let turn = breaker.on_send();
    breaker.on_nothing(turn, 1_100);
    assert_eq!(breaker.admission(1_100), Admission::Wait(until_ms));
    // Of two that ask the first end says nothing yet.
    let turn = breaker.on_send();
    breaker.on_send();
    breaker.on_nothing(turn, 1_200);
    assert_eq!(breaker.admission(1_200), Admission::Probing);
    breaker.on_nothing(turn, 1_300);
    assert_eq!(breaker.admission(1_300), Admission::Wait(until_ms));
    let turn = breaker.on_send();
    breaker.on_nothing(turn, until_ms);
    assert_eq!(breaker.admission(until_ms), Admission::Send, "its time has come");
}
