//! Keeps the gauges current, once a second.

use std::time::{Duration, Instant};

use super::Shell;

const EVERY: Duration = Duration::from_secs(1);

impl Shell {
    pub(super) fn watch(&mut self, now: Instant, now_ms: i64) {
        if now < self.watched {
            return;
        }
        self.watched = now + EVERY;
        if now >= self.ready_at {
            self.latch.release();
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.in_flight.set(count(self.engine.in_flight()));
        self.metrics.live.set(count(self.engine.len()));
        self.metrics.open_circuits.set(count(self.engine.open_circuits()));
        self.metrics.held.set(i64::from(self.engine.is_held()));
        // What is held in memory is not settled either; the high watermark is the end of what can be read.
        let behind = self.poller.lag().iter().map(|lease| (lease.high_watermark - lease.position).max(0)).sum::<i64>();
        self.metrics.lag_records.set(behind + count(self.book.live()));
        let oldest_ms = self.engine.oldest_timestamp_ms().map_or(0, |at_ms| (now_ms - at_ms).max(0));
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
        self.metrics.lag_seconds.set(oldest_ms as f64 / 1_000.0);
        self.metrics.set_violations();
    }
}
