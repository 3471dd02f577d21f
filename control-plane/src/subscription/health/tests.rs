//! What is shown of what is known.

use schemas::lanes::LaneCircuit;
use schemas::status::LaneHealth;

use super::*;
use crate::health::WorkerWord;
use crate::subscription::ping::tests::subscription as a_subscription;

const NOW: i64 = 1_790_000_000_000;

fn shown(record: Option<LaneSeen>, word: Option<WorkerWord>) -> HealthShown {
    let subscription = a_subscription(|_| {});
    health(&subscription, LaneKnown { record, word }, None, NOW)
}

fn word(lane: Option<LaneWord>) -> Option<WorkerWord> {
    Some(WorkerWord { at_ms: NOW - 2_000, lane })
}

fn told() -> LaneHealth {
    LaneHealth {
        in_flight: 2,
        window: 4,
        waiting: 9,
        oldest_ms: Some(NOW - 40_000),
        failing_since_ms: None,
        success_ms: Some(NOW - 1_000),
        from_ms: NOW - 300_000,
        ended: 8,
        succeeded: 6,
    }
}

#[test]
fn what_nobody_tells_is_unknown_and_never_zero() {
    let shown = shown(None, None);
    assert_eq!((shown.circuit, shown.as_of.as_deref()), (CircuitShown::Unknown, None));
    assert_eq!((shown.in_flight, shown.waiting, shown.queued, shown.lane_window), (None, None, None, None));
    assert_eq!((shown.backlog_age_ms, &shown.failing_since, &shown.window), (None, &None, &None));
    let value = serde_json::to_value(&shown).unwrap();
    assert!(value["in_flight"].is_null() && value["queued"].is_null() && value["circuit"] == "unknown", "{value}");
}

#[test]
fn a_lane_at_rest_is_known_to_be_empty() {
    let shown = shown(Some(LaneSeen::default()), word(Some(LaneWord::AtRest)));
    assert_eq!(
        (shown.circuit, shown.in_flight, shown.waiting, shown.queued),
        (CircuitShown::Closed, Some(0), Some(0), Some(0))
    );
    assert_eq!((shown.as_of, shown.window), (Some(time(NOW - 2_000)), None));
}

#[test]
fn what_its_worker_and_its_record_say_stands_side_by_side() {
    let record = LaneSeen {
        queued: 5,
        oldest_ms: Some(NOW - 90_000),
        circuit: Some(LaneCircuit { until_ms: NOW + 7_000, wait_ms: 10_000 }),
        failing_since_ms: Some(NOW - 95_000),
        ..LaneSeen::default()
    };
    let shown = shown(Some(record), word(Some(LaneWord::Told(told()))));
    assert_eq!((shown.circuit, shown.circuit_until.clone()), (CircuitShown::Open, Some(time(NOW + 7_000))));
    assert_eq!((shown.in_flight, shown.waiting, shown.queued, shown.lane_window), (Some(2), Some(9), Some(5), Some(4)));
    assert_eq!((shown.backlog_age_ms, shown.oldest_waiting_at), (Some(90_000), Some(time(NOW - 90_000))));
    assert_eq!(shown.failing_since, Some(time(NOW - 95_000)));
    let window = shown.window.unwrap();
    assert_eq!((window.attempts, window.success_rate, window.to), (8, Some(0.75), time(NOW - 2_000)));
}

#[test]
fn a_dead_worker_leaves_what_stands_in_kafka_and_nothing_else() {
    let circuit = Some(LaneCircuit { until_ms: NOW + 7_000, wait_ms: 10_000 });
    let record = LaneSeen { queued: 5, oldest_ms: Some(NOW - 90_000), circuit, ..LaneSeen::default() };
    let shown = shown(Some(record), None);
    assert_eq!((shown.circuit, shown.circuit_until), (CircuitShown::Unknown, None), "nobody probes");
    assert_eq!((shown.queued, shown.waiting, shown.backlog_age_ms), (Some(5), None, Some(90_000)));
}

#[test]
fn a_lane_that_was_left_out_has_no_numbers_of_its_worker() {
    let shown = shown(Some(LaneSeen::default()), word(None));
    assert_eq!((shown.circuit, shown.in_flight, shown.waiting), (CircuitShown::Closed, None, None));
    assert!(shown.as_of.is_some());
}

#[test]
fn a_probe_that_is_due_or_under_way_is_half_open_and_a_hold_puts_it_off() {
    let of = |until_ms, hold_until_ms| {
        let circuit = Some(LaneCircuit { until_ms, wait_ms: 10_000 });
        let record = LaneSeen { circuit, hold_until_ms, ..LaneSeen::default() };
        let shown = shown(Some(record), word(Some(LaneWord::AtRest)));
        (shown.circuit, shown.circuit_until, shown.held_until)
    };
    assert_eq!(of(0, None), (CircuitShown::HalfOpen, None, None));
    assert_eq!(of(NOW - 1, Some(NOW - 5)), (CircuitShown::HalfOpen, None, None));
    let held = time(NOW + 60_000);
    assert_eq!(of(NOW - 1, Some(NOW + 60_000)), (CircuitShown::Open, Some(held.clone()), Some(held)));
}
