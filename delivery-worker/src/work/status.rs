//! How the worker is doing: its gauges, and what it tells to `status`.

use chassis::status::Facts;
use schemas::status::DeliveryHealth;
use stage::{Measured, Now};

use super::DeliveryWork;

impl DeliveryWork {
    /// Sets the gauges; returns what is told to `status`.
    pub(super) fn measure(&mut self, measured: &Measured, now: Now) -> Facts {
        self.engine.set_behind(measured.behind.values().sum());
        self.engine.set_queued(self.books.queued());
        if self.engine.is_full_of_lists() && self.full.permit(&()).is_some() {
            tracing::warn!(
                queued = self.books.queued(),
                "as many deliveries wait for their lanes as `delivery.queue_entries` allows: nothing more is read where lanes are behind"
            );
        }
        let oldest =
            [self.engine.oldest_timestamp_ms(), self.intake.oldest_timestamp_ms(), measured.oldest_timestamp_ms];
        let oldest_ms = oldest.into_iter().flatten().min().map_or(0, |at_ms| (now.wall_ms - at_ms).max(0));
        self.set_gauges(measured, oldest_ms, now.wall_ms);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let now_ms = self.engine_ms(now);
        let failing = self.engine.failing(self.endpoints.most(), now_ms);
        self.endpoints.show(&failing);
        let since = [self.engine.waiting_since_ms(now_ms), self.intake.oldest_timestamp_ms()];
        let waiting_ms = since.into_iter().flatten().min().map_or(0, |since_ms| (now.wall_ms - since_ms).max(0));
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
        self.metrics.waiting.set(waiting_ms as f64 / 1_000.0);
        let lanes = self.engine.lanes_health(self.books.partitions(), now_ms);
        Facts {
            partitions: count(measured.partitions),
            live: measured.live as u64,
            in_flight: self.engine.in_flight() as u64,
            delivery: Some(DeliveryHealth {
                open_circuits: count(self.engine.open_circuits()),
                paused: count(self.engine.paused()),
                backlog_ms: oldest_ms,
                held: self.engine.is_held(),
                queued: self.books.queued() as u64,
                queued_ms: self.books.oldest_ms().map_or(0, |at_ms| (now.wall_ms - at_ms).max(0)),
            }),
            lanes: Some(lanes),
            ..Facts::default()
        }
    }

    fn set_gauges(&self, measured: &Measured, oldest_ms: i64, now_ms: i64) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.in_flight.set(count(self.engine.in_flight()));
        self.metrics.connections.set(count(self.attempts.connections()));
        self.metrics.live.set(count(self.engine.unlisted()));
        self.metrics.queue_bytes.set(count(self.engine.queue_bytes()));
        self.metrics.lanes.set(count(self.engine.lanes()));
        self.metrics.open_circuits.set(count(self.engine.open_circuits()));
        self.metrics.open_origins.set(count(self.engine.open_origins()));
        self.metrics.held.set(i64::from(self.engine.is_held()));
        self.metrics.lag_records.set(measured.behind.values().sum());
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
        self.metrics.lag_seconds.set(oldest_ms as f64 / 1_000.0);
        let queued = self.engine.queued();
        for (gauge, entries) in self.metrics.queued.iter().zip([queued.busy, queued.circuit, queued.paused]) {
            gauge.set(count(entries));
        }
        let oldest_ms = self.books.oldest_ms().map_or(0, |at_ms| (now_ms - at_ms).max(0));
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
        self.metrics.queued_seconds.set(oldest_ms as f64 / 1_000.0);
    }
}
