//! When a record of a delay topic may move on. Pure.
//!
//! A record waits for its tier's delay from the time Kafka wrote it, or until it is due, whichever comes first, so that a hop that is
//! longer than what remains makes nothing late. What remains below every tier that may follow waits here, so that nothing comes early.
//!
//! What was parked by a version before lists of lanes (its lane was busy, its circuit open, its subscription paused) waits for
//! nothing any more: it joins its lane at once.

use std::str::FromStr;

use schemas::delivery::Wait;
use schemas::header;
use schemas::ids::SubscriptionId;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::Record;

/// A record that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// As it was read.
    pub(crate) record: Record,
    /// Not moved before this time, Unix ms.
    pub(crate) ready_ms: i64,
    /// The delay of its tier, ms.
    pub(crate) delay_ms: i64,
    /// What it is, or why it is no delivery.
    pub(crate) what: Result<Due, String>,
}

/// What the scheduler needs to know of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Not attempted before this time, Unix ms; 0 is at once.
    pub(crate) due_ms: i64,
    /// Whose it is: its key on `deliveries`.
    pub(crate) subscription: SubscriptionId,
    /// It waits for its lane, as an older version made it.
    pub(crate) was_parked: bool,
}

// === impl Waiting ===

impl Waiting {
    /// Reads a record of a tier with this delay. What is no delivery is ready at once.
    pub(crate) fn new(record: Record, delay_ms: i64, rest_ms: i64) -> Self {
        let what = Due::decode(&record);
        if is_planted(PlantedBug::BeforeDue) {
            let what = what.map(|due| Due { due_ms: 0, ..due });
            return Self { ready_ms: record.timestamp_ms, delay_ms, record, what };
        }
        let ready_ms =
            what.as_ref().map_or(record.timestamp_ms, |due| due.ready_ms(record.timestamp_ms, delay_ms, rest_ms));
        Self { record, ready_ms, delay_ms, what }
    }
}

impl Waiting {
    /// When it is due, if that is ahead and no tier fits what remains: it is waited out.
    pub(crate) fn rest_until(&self, now_ms: i64, rest_ms: i64) -> Option<i64> {
        let due_ms = self.what.as_ref().ok()?.due_ms;
        (due_ms > now_ms && due_ms - now_ms < rest_ms).then_some(due_ms)
    }
}

// === impl Due ===

impl Due {
    fn decode(record: &Record) -> Result<Self, String> {
        if record.value.is_none() {
            return Err("the record has no value".to_owned());
        }
        let subscription = parse(record, header::SUBSCRIPTION, "a UUID")?;
        let subscription = subscription.ok_or_else(|| format!("header `{}` is missing", header::SUBSCRIPTION))?;
        let wait: Option<Wait> = parse(record, header::WAIT, "a wait reason")?;
        let was_parked = matches!(wait, Some(Wait::Lane | Wait::Circuit | Wait::Paused));
        let due_ms = parse(record, header::DUE, "Unix ms")?.unwrap_or(0);
        Ok(Self { due_ms: if was_parked { 0 } else { due_ms }, subscription, was_parked })
    }

    /// When it moves: at its tier's end if another tier follows, else when it is due.
    fn ready_ms(self, written_ms: i64, delay_ms: i64, rest_ms: i64) -> i64 {
        let end_ms = written_ms.saturating_add(delay_ms);
        let is_last = self.due_ms.saturating_sub(end_ms) < rest_ms;
        if is_last { self.due_ms.max(written_ms) } else { end_ms }
    }
}

fn parse<T: FromStr>(record: &Record, name: &str, expected: &str) -> Result<Option<T>, String> {
    let Some(value) = record.headers.get(name) else { return Ok(None) };
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    let shown = || String::from_utf8_lossy(value).chars().take(80).collect::<String>();
    parsed.map(Some).ok_or_else(|| format!("header `{name}` holds `{}`, which is not {expected}", shown()))
}

#[cfg(test)]
mod tests {
    use schemas::record::Headers;

    use super::*;

    fn record(headers: &[(&str, &str)]) -> Record {
        let headers: Headers = headers.iter().copied().collect();
        Record { offset: 1, timestamp_ms: 1_000, key: None, value: Some(bytes::Bytes::new()), headers }
    }

    fn ready_ms(due_ms: i64, written_ms: i64, delay_ms: i64) -> i64 {
        let subscription = SubscriptionId(uuid::Uuid::nil());
        Due { due_ms, subscription, was_parked: false }.ready_ms(written_ms, delay_ms, 1_000)
    }

    #[test]
    fn the_tier_ends_the_wait_where_another_follows_and_else_the_due_time() {
        assert_eq!(ready_ms(9_000, 1_000, 5_000), 6_000);
        assert_eq!(ready_ms(7_000, 1_000, 5_000), 6_000, "a second is a tier");
        assert_eq!(ready_ms(6_999, 1_000, 5_000), 6_999, "less is waited out");
        assert_eq!(ready_ms(5_990, 1_000, 5_000), 5_990);
        assert_eq!(ready_ms(500, 1_000, 5_000), 1_000, "overdue when it was written");
        assert_eq!(ready_ms(i64::MAX, 1_000, i64::MAX), i64::MAX);
    }

    #[test]
    fn what_an_older_version_has_parked_is_due_at_once() {
        let id = "00000000-0000-0000-0000-000000000002";
        for (wait, ready) in [("lane", 1_000), ("circuit", 1_000), ("paused", 1_000), ("retry", 6_000)] {
            let parked = record(&[(header::SUBSCRIPTION, id), (header::DUE, "90000"), (header::WAIT, wait)]);
            assert_eq!(Waiting::new(parked, 5_000, 1_000).ready_ms, ready, "{wait}");
        }
    }

    #[test]
    fn what_is_no_delivery_says_why_and_waits_for_nothing() {
        let id = "00000000-0000-0000-0000-000000000002";
        let good = Waiting::new(record(&[(header::SUBSCRIPTION, id), (header::DUE, "7000")]), 5_000, 1_000);
        assert_eq!((good.ready_ms, good.what.unwrap().due_ms), (6_000, 7_000));
        let soon = Waiting::new(record(&[(header::SUBSCRIPTION, id), (header::DUE, "soon")]), 5_000, 1_000);
        assert_eq!(soon.ready_ms, 1_000);
        assert_eq!(soon.what.unwrap_err(), "header `hookbus-due` holds `soon`, which is not Unix ms");
        assert_eq!(Waiting::new(record(&[]), 0, 1_000).what.unwrap_err(), "header `hookbus-subscription` is missing");
        let tombstone = Record { value: None, ..record(&[]) };
        assert_eq!(Waiting::new(tombstone, 0, 1_000).what.unwrap_err(), "the record has no value");
    }
}
