//! Keeps the gauges and the status current, once a second, and acts on changes of subscriptions.

use std::time::{Duration, Instant};

use chassis::status::Facts;
use kafka::LeaseLag;
use schemas::status::DeliveryHealth;

use super::Shell;

const EVERY: Duration = Duration::from_secs(1);
/// A change of a subscription is acted on this soon, however many there are.
const REVIEW_EVERY: Duration = Duration::from_millis(200);

impl Shell {
    /// Looks at what waits here again when the snapshot has moved: for a subscription that was disabled, deleted or paused.
    pub(super) fn review(&mut self, now: Instant, now_ms: i64) {
        let (position, at) = self.reviewed;
        let current = self.catalog.position();
        if current == position || now < at + REVIEW_EVERY {
            return;
        }
        self.reviewed = (current, now);
        self.engine.review(now_ms);
        self.attempts.review(&self.catalog);
    }

    pub(super) fn watch(&mut self, now: Instant, now_ms: i64) {
        if now < self.watched {
            return;
        }
        self.watched = now + EVERY;
        if now >= self.ready_at {
            self.latch.release();
        }
        let oldest_ms = self.engine.oldest_timestamp_ms().map_or(0, |at_ms| (now_ms - at_ms).max(0));
        self.set_gauges(oldest_ms);
        self.teller.tell(self.facts(oldest_ms));
    }

    fn facts(&self, oldest_ms: i64) -> Facts {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Facts {
            partitions: count(self.book.leases()),
            live: count(self.book.live()).into(),
            in_flight: count(self.engine.in_flight()).into(),
            delivery: Some(DeliveryHealth {
                open_circuits: count(self.engine.open_circuits()),
                paused: count(self.engine.paused()),
                backlog_ms: oldest_ms,
                held: self.engine.is_held(),
            }),
            ..Facts::default()
        }
    }

    fn set_gauges(&self, oldest_ms: i64) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.in_flight.set(count(self.engine.in_flight()));
        self.metrics.partitions.set(count(self.book.leases()));
        self.metrics.live.set(count(self.engine.len()));
        self.metrics.lanes.set(count(self.engine.lanes()));
        self.metrics.open_circuits.set(count(self.engine.open_circuits()));
        self.metrics.held.set(i64::from(self.engine.is_held()));
        // What is held in memory is not settled either; the high watermark is the end of what can be read.
        let behind = self.poller.lag().iter().map(LeaseLag::records_behind).sum::<i64>();
        self.metrics.lag_records.set(behind + count(self.book.live()));
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
        self.metrics.lag_seconds.set(oldest_ms as f64 / 1_000.0);
        self.metrics.set_violations();
    }
}
