//! CEL filters: `expression;;payload`. What compiles is within its limits, evaluates without a panic, and says the same twice.

use std::collections::BTreeMap;

use filter::{EvaluationError, Event, Facts, Filter, limits};

use crate::two_texts;

pub(crate) fn run(data: &[u8]) -> bool {
    let Some((expression, payload)) = two_texts(data) else { return false };
    let filter = match Filter::compile(expression) {
        Ok(filter) => filter,
        Err(error) => {
            let lines = expression.lines().count().max(1);
            assert!((1..=lines + 1).contains(&error.line), "{error} has no place in {lines} lines");
            assert!(!error.message.is_empty() && error.message.len() < 4_096);
            return false;
        }
    };
    assert!(expression.len() <= limits::TEXT_BYTES);
    let labels = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
    let facts = Facts::new(Event {
        event_type: "invoice.paid",
        id: "evt_1",
        labels: &labels,
        time: Some("2026-11-22T04:00:00+01:00"),
        accepted_ms: 1_700_000_000_000,
        payload: payload.as_bytes(),
    });
    let first = filter.matches(&facts);
    assert_ne!(first, Err(EvaluationError::Panicked));
    // One evaluation cannot have taken what an event has for all.
    assert_ne!(first, Err(EvaluationError::EventTooCostly));
    assert_eq!(filter.matches(&facts), first, "the same event, the same answer");
    if first == Err(EvaluationError::TooCostly) {
        spend(&filter, &facts);
    }
    true
}

/// A filter at its limit takes a limited share: after so many there is nothing left of what an event has, and no sooner.
fn spend(filter: &Filter, facts: &Facts<'_>) {
    let share = limits::EVENT_UNITS / limits::FILTER_UNITS;
    for evaluation in 2..=share + 2 {
        match filter.matches(facts) {
            Err(EvaluationError::TooCostly) => assert!(evaluation <= share + 1, "an event has no bound"),
            Err(EvaluationError::EventTooCostly) => return assert!(evaluation + 1 >= share, "others pay for it"),
            other => panic!("what was too costly became {other:?}"),
        }
    }
    panic!("{share} evaluations at their limit left something over");
}
