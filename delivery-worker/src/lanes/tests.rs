//! A lane as a whole, in virtual time.

use super::breaker::{Admission, Trip};
use super::egress::WORKED_LATELY_MS;
use super::learn::MOVING_MS;
use super::throttle::Refusing;
use super::*;
use crate::classify::{NoAnswer, unanswered};

/// A lane of 32 places that nothing is known of.
pub(super) fn lane() -> Lane {
    let mut lane = Lane::new(Epoch(1), Breaker::new(Trip { failures: 20, by_share: true }, 7));
    lane.set_limits(Limits { concurrency: 32, per_second: None }, 1).unwrap();
    lane
}

/// One request that begins and ends at once.
pub(super) fn end(lane: &mut Lane, sign: Sign, now_ms: i64) -> bool {
    let sent = lane.on_send(now_ms);
    lane.on_end(&RequestEnd { sign, sent, elapsed_ms: 1, asked_ms: None }, now_ms)
}

fn ends_asking(lane: &mut Lane, asked_ms: i64, now_ms: i64) {
    let sent = lane.on_send(now_ms);
    let sign = Sign::Refusing(Refusing::TooMany);
    lane.on_end(&RequestEnd { sign, sent, elapsed_ms: 1, asked_ms: Some(asked_ms) }, now_ms);
}

#[test]
fn what_is_failing_slowed_held_or_paused_is_known_for_as_long_as_anything_can_come_back() {
    let mut slowed = lane();
    end(&mut slowed, Sign::Refusing(Refusing::TooMany), 0);
    let mut paused = lane();
    paused.is_paused = true;
    let mut failing = lane();
    end(&mut failing, Sign::Failed, 0);
    let mut lost = lane();
    end(&mut lost, Sign::Silent, 0);
    end(&mut lost, Sign::Taken, 0);
    for lane in [failing, slowed, paused, lost] {
        assert!(!lane.is_blank(LEARNED_MS - 1) && lane.is_blank(LEARNED_MS));
    }
    let mut held = lane();
    ends_asking(&mut held, 20 * 60_000, 0);
    assert!(!held.is_blank(15 * 60_000));
}

#[test]
fn a_hanging_endpoint_costs_few_places_and_then_one_probe() {
    let mut lane = lane();
    let (mut now_ms, mut costs) = (0, Vec::new());
    for _ in 0..8 {
        let mut flying = Vec::new();
        while lane.admission(now_ms) == Admission::Send && lane.cap.has_room() {
            flying.push(lane.on_send(now_ms));
        }
        costs.push(flying.len());
        now_ms += 15_000;
        for sent in flying {
            let end = RequestEnd { sign: Sign::Silent, sent, elapsed_ms: 15_000, asked_ms: None };
            lane.on_end(&end, now_ms);
        }
    }
    // Four, two, one; then the circuit is open and a probe goes now and then.
    assert_eq!(costs[..3], [4, 2, 1]);
    assert!(costs[3..].iter().all(|cost| *cost <= 1), "{costs:?}");
    assert!(lane.breaker.is_open());
}

#[test]
fn an_endpoint_that_comes_back_is_sent_one_two_four_eight_and_soon_everything() {
    let mut lane = lane();
    let mut now_ms = 0;
    while !lane.breaker.is_open() {
        end(&mut lane, Sign::Unavailable, now_ms);
        now_ms += 50;
    }
    now_ms = lane.closed_until(now_ms).unwrap();
    assert_eq!(lane.next_probe(), Some(now_ms));
    let mut rounds = Vec::new();
    for _ in 0..7 {
        let mut flying = Vec::new();
        while lane.admission(now_ms) == Admission::Send && lane.cap.has_room() && lane.rate.try_take(now_ms).is_ok() {
            flying.push(lane.on_send(now_ms));
        }
        rounds.push(flying.len());
        now_ms += 50;
        for sent in flying {
            lane.on_end(&RequestEnd { sign: Sign::Taken, sent, elapsed_ms: 50, asked_ms: None }, now_ms);
        }
    }
    assert_eq!(rounds[..4], [1, 2, 4, 8]);
    assert_eq!(rounds[6], 32, "{rounds:?}");
}

#[test]
fn what_an_endpoint_asks_to_wait_holds_its_whole_lane() {
    let mut lane = lane();
    end(&mut lane, Sign::Taken, 0);
    ends_asking(&mut lane, 30_000, 10);
    ends_asking(&mut lane, 1_000, 20);
    assert_eq!((lane.admission(20), lane.closed_until(20)), (Admission::Wait(30_010), Some(30_010)));
    assert_eq!(lane.admission(30_010), Admission::Send);
    assert!(!lane.breaker.is_open(), "it works, it only asked to come later");
    // A resume, or other credentials: at once, once.
    ends_asking(&mut lane, 30_000, 40_000);
    lane.probe_now();
    assert_eq!(lane.admission(40_001), Admission::Send);
}

#[test]
fn another_endpoint_is_sent_to_at_once_and_nothing_of_the_old_one_counts() {
    let mut lane = lane();
    let hanging = lane.on_send(0);
    for at_ms in 0..40 {
        end(&mut lane, Sign::Silent, at_ms * 100);
    }
    assert!(lane.breaker.is_open());
    lane.start_anew();
    assert_eq!(lane.admission(4_000), Admission::Send);
    assert_eq!((lane.cap.places(), lane.rate.outcomes()), (congestion::FIRST, 0));
    let probe = lane.on_send(4_000);
    // What still hangs at the old one ends.
    let end_of = |sent, sign| RequestEnd { sign, sent, elapsed_ms: 1, asked_ms: None };
    lane.on_end(&end_of(hanging, Sign::Silent), 4_010);
    assert_eq!(lane.admission(4_010), Admission::Probing, "the probe decides");
    lane.on_end(&end_of(probe, Sign::Taken), 4_020);
    assert_eq!(lane.admission(4_020), Admission::Send);
}

#[test]
fn only_what_worked_lately_and_has_no_open_circuit_is_evidence_of_a_dead_network() {
    let mut lane = lane();
    assert!(!lane.is_evidence(0, 0), "it never worked");
    end(&mut lane, Sign::Taken, 0);
    assert!(lane.is_evidence(0, WORKED_LATELY_MS) && !lane.is_evidence(0, WORKED_LATELY_MS + 1));
    for at_ms in 0..40 {
        end(&mut lane, Sign::Silent, at_ms * 100);
    }
    assert!(!lane.is_evidence(3_000, 4_000), "its circuit was open before");
    assert!(lane.is_evidence(0, 4_000), "it opened in the same outage");
}

#[test]
fn the_reserve_is_for_first_requests_and_for_lanes_whose_requests_come_back() {
    let mut lane = lane();
    assert!(lane.may_use_reserve(0));
    lane.on_send(0);
    assert!(!lane.may_use_reserve(0), "nothing came back yet");
    end(&mut lane, Sign::Taken, 10);
    assert!(lane.may_use_reserve(10 + MOVING_MS) && !lane.may_use_reserve(11 + MOVING_MS));
}

#[test]
fn own_lack_says_nothing() {
    let mut lane = lane();
    for at_ms in 0..100 {
        let verdict = unanswered(NoAnswer::Unsigned);
        assert!(!end(&mut lane, Sign::of(&verdict, false), at_ms * 100));
    }
    assert!(lane.breaker.is_fresh() && !lane.cap.window().is_shrunk());
    assert_eq!(sign::asked_ms(&unanswered(NoAnswer::Timeout), 1_000), None);
}
