//! What is limited: memory, requests at once and per second, and what may still arrive.

use super::*;
use crate::ledger::books::{Overlap, TierWrite};
use crate::ledger::memory::{Measure, RESIDENT};

fn overlap(from_ms: i64, until_ms: i64, frozen: bool) -> Overlap {
    Overlap { from_ms, until_ms, frozen }
}

fn unclean() -> Expect {
    Expect { unclean: true, ..Expect::default() }
}

#[test]
fn a_process_above_its_memory_is_seen() {
    let measure = |most| Measure { process: "delivery-1".into(), what: RESIDENT, most, limit: 100 };
    assert_eq!(after(|books| books.memory = vec![measure(100)]), []);
    assert_eq!(after(|books| books.memory = vec![measure(7), measure(101)]), [Some(Invariant::BoundedMemory)]);
}

/// Three at once at 1,300 ms, where two may be.
fn crowded(books: &mut Books) {
    for request in &mut books.requests {
        request.arrived_ms = 1_300;
        request.answered = Some((request.answered.unwrap().0, 1_400));
    }
}

#[test]
fn the_cap_holds_whenever_no_other_owners_requests_may_overlap() {
    let elsewhere = |books: &mut Books| {
        crowded(books);
        books.overlaps.push(overlap(1_000, 1_200, false));
    };
    assert_eq!(after_with(&unclean(), elsewhere), [Some(Invariant::LaneCap)], "not at that time");
    let there = |books: &mut Books| {
        crowded(books);
        books.overlaps.push(overlap(1_000, 1_350, false));
    };
    assert_eq!(after_with(&unclean(), there), []);
}

#[test]
fn requests_that_are_never_answered_count_until_they_are_over() {
    let hang = |books: &mut Books, ended_ms: Option<i64>| {
        for attempt in [3, 4] {
            let hangs = Request { answered: None, ended_ms, ..request("a", attempt, 1_300, 0) };
            books.requests.push(hangs);
        }
        books.requests[2].arrived_ms = 2_000;
        books.requests[2].answered = Some((204, 2_005));
    };
    assert_eq!(after(|books| hang(books, None)), [Some(Invariant::LaneCap)], "they hang still");
    assert_eq!(after(|books| hang(books, Some(9_000))), [Some(Invariant::LaneCap)]);
    assert_eq!(after(|books| hang(books, Some(2_900))), [], "within the skew they were over");
}

/// So many requests from 10,000 ms on, evenly over so long.
fn at_ten_per_second(books: &mut Books, count: u32, over_ms: i64) {
    books.subscriptions[0].per_second = Some(10.0);
    for number in 0..count {
        let arrived_ms = 10_000 + i64::from(number) * over_ms / i64::from(count);
        let attempt = u32::try_from(books.requests.len()).unwrap() + 10;
        books.requests.push(request("a", attempt, arrived_ms, 204));
        books.requests.last_mut().unwrap().answered = Some((204, arrived_ms));
    }
}

#[test]
fn more_requests_than_the_rate_allows_are_seen() {
    // In 4 s: 40, one at once, and 10 for the skew.
    assert_eq!(after(|books| at_ten_per_second(books, 40, 4_000)), []);
    assert_eq!(after(|books| at_ten_per_second(books, 100, 4_000)), [Some(Invariant::LaneCap)]);
    let burst = |books: &mut Books| {
        at_ten_per_second(books, 20, 4_000);
        at_ten_per_second(books, 14, 14);
    };
    assert_eq!(after(burst), [Some(Invariant::LaneCap)], "too fast in between is too fast");
    let two_owners = |books: &mut Books| {
        at_ten_per_second(books, 20, 40);
        books.overlaps.push(overlap(9_900, 11_000, false));
    };
    assert_eq!(after_with(&unclean(), two_owners), []);
}

#[test]
fn what_arrives_after_its_outcome_was_written_is_seen() {
    let written = |books: &mut Books, at: usize, written_ms: i64| books.facts[at].written_ms = written_ms;
    assert_eq!(after(|books| written(books, 2, 210)), [], "the failed attempt was over");
    assert_eq!(after(|books| written(books, 2, 199)), [Some(Invariant::CommitBelowUnresolved)]);
    assert_eq!(after(|books| written(books, 3, 1_199)), [Some(Invariant::CommitBelowUnresolved)]);
    let by_frozen = |books: &mut Books, frozen| {
        written(books, 3, 1_199);
        books.overlaps.push(overlap(1_100, 1_300, frozen));
    };
    assert_eq!(after_with(&unclean(), |books| by_frozen(books, true)), []);
    assert_eq!(after_with(&unclean(), |books| by_frozen(books, false)), [Some(Invariant::CommitBelowUnresolved)]);
    assert_eq!(after_with(&unclean(), |books| written(books, 3, 1_199)), [], "nobody knows when it went wrong");
}

#[test]
fn what_was_parked_or_told_a_time_does_not_come_before_it() {
    let parked = |books: &mut Books, due_ms| {
        let mut park = hop("b", 1, due_ms);
        park.hop.wait = Wait::Lane;
        park.hop.parks = park.hop.parks.parked(100);
        books.hops.push(park);
    };
    assert_eq!(after(|books| parked(books, 210)), []);
    assert_eq!(after(|books| parked(books, 211)), [Some(Invariant::NeverEarly)]);
    assert_eq!(after(|books| books.facts[2].due_ms = Some(1_200)), []);
    assert_eq!(after(|books| books.facts[2].due_ms = Some(1_201)), [Some(Invariant::NeverEarly)]);
}

#[test]
fn what_is_told_of_a_delivery_that_no_event_has_is_seen() {
    let foreign = of_delivery(Kind::Parked, "zzz", 1);
    assert_eq!(after(|books| books.facts.push(foreign.clone())), [Some(Invariant::PureDeliveryId)]);
}

/// A retry of `a` that is due so late after it was first written, and was written so often.
fn waits(books: &mut Books, wait_ms: i64, times: i64) {
    books.tiers_ms = vec![1_000, 5_000, 20_000];
    for at in 0..times {
        let hop = Hop { attempt: 2, due_ms: 300 + wait_ms, wait: Wait::Retry, ..Hop::first() };
        books.tier_writes.push(TierWrite { delivery: delivery("a"), hop, written_ms: 300 + at });
    }
}

#[test]
fn a_payload_that_is_written_to_delay_topics_more_often_than_its_wait_needs_is_seen() {
    for (wait_ms, most) in [(500, 1), (1_050, 2), (5_400, 2), (21_000, 2), (45_000, 3), (3_200, 4)] {
        assert_eq!(after(|books| waits(books, wait_ms, most)), [], "{wait_ms}");
        assert_eq!(after(|books| waits(books, wait_ms, most + 1)), [None], "{wait_ms}");
    }
}
