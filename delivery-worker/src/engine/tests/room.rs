//! Windows, refusals, probes, and who gets the worker's requests.

use std::sync::Arc;

use schemas::control;
use schemas::header;
use schemas::ids::Generation;
use schemas::record::Headers;

use super::super::{Arrival, LaneChange, LookAhead};
use super::wire::Wire;
use crate::classify::{AttemptVerdict, NoAnswer, answered, unanswered};
use crate::testing::{self, subscription_id};
use kafka::Epoch;

fn refusing(retry_after: Option<&'static str>) -> AttemptVerdict {
    let after = retry_after.map(|value| (http::header::RETRY_AFTER, http::HeaderValue::from_static(value)));
    answered(http::StatusCode::TOO_MANY_REQUESTS, &http::HeaderMap::from_iter(after), 0)
}

fn hangs() -> (AttemptVerdict, i64) {
    (unanswered(NoAnswer::Timeout), 15_000)
}

/// One subscription whose circuit is open.
fn opened() -> Wire {
    let mut wire = Wire::new(|_| {});
    wire.subscribe(0, "https://dead.example/", 1, |_| {});
    (0..40).for_each(|_| wire.event(0));
    while wire.engine.open_circuits() == 0 {
        wire.step(&mut |_, _| (unanswered(NoAnswer::Connect), 5));
    }
    wire.run(100, &mut |_, _| (unanswered(NoAnswer::Connect), 5));
    wire
}

#[test]
fn a_new_lane_begins_with_four_and_reaches_its_cap_within_a_few_round_trips() {
    let mut wire = Wire::new(|_| {});
    wire.subscribe(0, "https://new.example/", 1, |_| {});
    (0..500).for_each(|_| wire.event(0));
    let mut widths = Vec::new();
    for _ in 0..5 {
        wire.step(&mut |_, _| (AttemptVerdict::Delivered, 50));
        widths.push(wire.in_flight(0));
        wire.run(49, &mut |_, _| (AttemptVerdict::Delivered, 50));
    }
    assert_eq!(widths, [4, 8, 16, 32, 32]);
}

/// The endpoint of a report: it took 10 a second and turned the rest away in a millisecond; of 300 deliveries 820 to 1,249
/// answers were 429, each a step of its schedule.
#[test]
fn an_endpoint_that_takes_ten_a_second_gets_ten_a_second() {
    let mut wire = Wire::new(|_| {});
    wire.subscribe(0, "https://limited.example/", 1, |_| {});
    (0..300).for_each(|_| wire.event(0));
    let begin = wire.now;
    let (mut second, mut taken) = (-1, 0);
    let mut answers = |_, now: i64| {
        if now / 1_000 != second {
            (second, taken) = (now / 1_000, 0);
        }
        taken += 1;
        if taken <= 10 { (AttemptVerdict::Delivered, 20) } else { (refusing(None), 1) }
    };
    while wire.taken_of(0) < 300 {
        wire.step(&mut answers);
        assert!(wire.now < begin + 120_000, "{} of 300", wire.taken_of(0));
    }
    let (took, refused) = (wire.now - begin, wire.failed[&subscription_id(0)].len());
    assert!(took < 40_000, "{took} ms for 300");
    assert!(refused <= 30, "{refused} refusals");
}

#[test]
fn what_one_request_was_asked_to_wait_holds_the_whole_lane_and_ends() {
    let mut wire = Wire::new(|_| {});
    wire.subscribe(0, "https://limited.example/", 1, |_| {});
    wire.subscribe(1, "https://limited.example/other", 1, |_| {});
    (0..20).for_each(|_| wire.event(0));
    wire.run(2, &mut |_, _| (refusing(Some("30")), 1));
    let before = wire.sent_to(0).len();
    for _ in 0..29 {
        wire.event(1);
        wire.run(1_000, &mut |_, _| (AttemptVerdict::Delivered, 5));
    }
    assert_eq!((wire.sent_to(0).len(), wire.taken_of(1)), (before, 29), "it alone is held");
    wire.run(30_000, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert_eq!(wire.taken_of(0), 20);
}

/// A ping of the first subscription.
fn ping(offset: i64) -> Arrival {
    let mut ping = testing::delivery("evt_ping", 0);
    ping.generation = Generation(Some(uuid::Uuid::from_u128(7)));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let all = ping.headers.iter().map(|(name, value)| (text(name), text(value)));
    let kept: Vec<(String, String)> = all.filter(|(name, _)| name != header::ORIGIN).collect();
    ping.headers = kept.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Headers>();
    Arrival { lease: Epoch(1), offset, size: 1, timestamp_ms: 0, delivery: Arc::new(ping) }
}

#[test]
fn a_ping_leaves_no_window_that_is_short_of_room_but_that_of_a_paused_lane() {
    for is_paused in [false, true] {
        let mut wire = Wire::new(|rules| {
            rules.look_ahead = LookAhead { records: 20, bytes: 1 << 20, budget: 1 << 20, span: 16_000 };
            rules.lane_concurrency = 2;
        });
        wire.subscribe(0, "https://hanging.example/", 1, |object| object.is_paused = is_paused);
        (0..10).for_each(|_| wire.event(0));
        wire.admit(ping(45));
        wire.run(100, &mut |_, _| hangs());
        (0..30).for_each(|_| wire.event(0));
        wire.admit(ping(50));
        wire.run(10_000, &mut |_, _| hangs());
        let changes = wire.engine.take_changes();
        let listed = |change: &LaneChange| if let LaneChange::Listed(it) = change { Some(it.offset) } else { None };
        let listed: Vec<i64> = changes.iter().filter_map(listed).collect();
        assert!(listed.len() > 20, "{listed:?}");
        assert_eq!([45, 50].map(|offset| listed.contains(&offset)), [is_paused; 2], "{listed:?}");
    }
}

#[test]
fn a_ping_passes_an_open_circuit_as_a_probe() {
    let mut wire = opened();
    let before = wire.sent_to(0).len();
    wire.admit(ping(9_999));
    wire.run(25, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert!(wire.sent_to(0).len() > before, "it was sent at once");
    assert!(wire.taken_of(0) >= 2, "and as it went well, so is what waits");
}

/// One attempt that was asked for is made whatever the state of its subscription; what waits there goes on waiting.
#[test]
fn one_attempt_that_was_asked_for_passes_a_pause_a_circuit_and_a_disabled_subscription() {
    type Change = fn(&mut control::Subscription);
    let states: [Change; 3] = [|object| object.is_paused = true, |object| object.is_enabled = false, |_| {}];
    for change in states {
        let mut wire = opened();
        wire.subscribe(0, "https://dead.example/", 2, change);
        wire.engine.review(wire.now);
        wire.engine.take_left();
        let before = wire.sent_to(0).len();
        let delivery = Arc::new(testing::once("evt_again", 0));
        wire.admit(Arrival { lease: Epoch(1), offset: 9_999, size: 1, timestamp_ms: 0, delivery });
        wire.run(5, &mut |_, _| (AttemptVerdict::Delivered, 60_000));
        assert_eq!(wire.sent_to(0).len(), before + 1, "it was sent at once, and nothing else");
    }
}

#[test]
fn resume_other_credentials_and_another_origin_probe_at_once() {
    let header = |wire: &Wire, value: &str| {
        let sealed = testing::seal(&wire.vault, subscription_id(0), value);
        move |object: &mut control::Subscription| {
            object.target.headers.insert("x-key".to_owned(), sealed);
        }
    };
    let mut wire = opened();
    let before = wire.sent_to(0).len();
    wire.subscribe(0, "https://dead.example/", 2, header(&wire, "new"));
    wire.engine.review(wire.now);
    wire.run(25, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert!(wire.taken_of(0) >= 2 && wire.sent_to(0).len() > before, "other credentials");

    let mut wire = opened();
    wire.subscribe(0, "https://dead.example/path", 2, |object| object.rate_per_second = Some(100.0));
    wire.engine.review(wire.now);
    wire.run(25, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert_eq!(wire.taken_of(0), 0, "another path is the same receiver");
    wire.subscribe(0, "https://mended.example/", 3, |_| {});
    wire.engine.review(wire.now);
    wire.run(25, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert!(wire.taken_of(0) >= 2, "another origin");

    let mut wire = opened();
    wire.subscribe(0, "https://dead.example/", 2, |object| object.is_paused = true);
    wire.engine.review(wire.now);
    wire.event(0);
    wire.engine.take_left();
    assert_eq!(wire.engine.paused(), 1);
    wire.subscribe(0, "https://dead.example/", 3, |_| {});
    assert_eq!(wire.engine.paused(), 0);
    (0..9).for_each(|_| wire.event(0));
    wire.run(30, &mut |_, _| (AttemptVerdict::Delivered, 5));
    assert!(wire.taken_of(0) >= 9, "resumed");
}

#[test]
fn lanes_that_hang_cost_places_and_never_a_neighbours_share() {
    let run = |hanging: u128| {
        let mut wire = Wire::new(|rules| rules.concurrency = 256);
        wire.subscribe(0, "https://healthy.example/", 1, |_| {});
        for number in 1..=hanging {
            wire.subscribe(number, &format!("https://{number}.example/"), 1, |_| {});
            (0..40).for_each(|_| wire.event(number));
        }
        let healthy = subscription_id(0);
        let mut answers = |id, _| if id == healthy { (AttemptVerdict::Delivered, 20) } else { hangs() };
        wire.run(100, &mut answers);
        for _ in 0..12_000 {
            wire.event(0);
            wire.step(&mut answers);
        }
        wire.taken_of(0)
    };
    let (alone, beside) = (run(0), run(150));
    assert!(beside * 100 >= alone * 90, "{beside} beside 150 that hang, {alone} alone");
}

#[test]
fn bytes_in_flight_are_bounded_and_one_delivery_always_goes() {
    let mut wire = Wire::new(|rules| rules.in_flight_bytes = 1_000);
    for number in 0..12 {
        wire.subscribe(number, &format!("https://{number}.example/"), 1, |_| {});
        (0..4).for_each(|_| wire.event(number));
    }
    wire.step(&mut |_, _| (AttemptVerdict::Delivered, 50));
    let in_flight: usize = (0..12).map(|number| wire.in_flight(number)).sum();
    assert_eq!(in_flight, 10, "of 100 bytes each, in 1,000");
    let mut wire = Wire::new(|rules| rules.in_flight_bytes = 10);
    wire.subscribe(0, "https://large.example/", 1, |_| {});
    (0..3).for_each(|_| wire.event(0));
    wire.run(200, &mut |_, _| (AttemptVerdict::Delivered, 50));
    assert_eq!(wire.taken_of(0), 3, "one after another");
}

/// A thousand lanes with one record each fill a window in which nothing is surplus: a look at all of them a hundred times a second is
/// a third of the loop's time where sixteen partitions are like that.
#[test]
fn a_full_window_of_many_lanes_is_looked_at_less_often_while_nothing_is_found() {
    let pause = |lanes: u128| {
        let mut wire = Wire::new(|rules| {
            rules.look_ahead.records = usize::try_from(lanes).unwrap();
            rules.concurrency = 1;
        });
        for number in 0..lanes {
            wire.subscribe(number, &testing::url(number), 1, |_| {});
            wire.event(number);
        }
        wire.engine.tick(wire.now);
        wire.engine.windows.look_ms(Epoch(1)).unwrap() - wire.now
    };
    assert_eq!([pause(20), pause(500)], [10, 50]);
}
