//! What the role counts. A record is counted when its move is committed, so a restart counts nothing twice.

use chassis::metrics::{
    Gauge, Histogram, IntCounterVec, IntGauge, IntGaugeVec, LATENCY_SECONDS, Metrics, MetricsError, Registry,
};

use crate::promote::Move;

/// The metrics, under `hookbus_retry_`.
#[derive(Clone, Debug)]
pub(crate) struct RetryMetrics {
    moved: IntCounterVec,
    /// Time between ready and committed.
    pub(crate) lateness: Histogram,
    /// Records that wait in a delay topic.
    pub(crate) waiting: IntGaugeVec,
    /// Records held in memory.
    pub(crate) held_records: IntGauge,
    /// Bytes held in memory.
    pub(crate) held_bytes: IntGauge,
    /// How long the head that is ready longest has been.
    pub(crate) overdue: Gauge,
}

impl RetryMetrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "retry");
        Ok(Self {
            moved: {
                let to = [Move::Promoted, Move::Hopped, Move::Rejected].map(goes_to);
                metrics.counters_of("moved_total", "Records moved, by where they went.", "to", to)?
            },
            lateness: metrics.histogram("lateness_seconds", "Time between ready and committed.", LATENCY_SECONDS)?,
            waiting: metrics.gauges("waiting_records", "Records that wait in a delay topic.", &["topic"])?,
            held_records: metrics.gauge("held_records", "Records held in memory.")?,
            held_bytes: metrics.gauge("held_bytes", "Bytes held in memory.")?,
            overdue: metrics.fraction("overdue_seconds", "How long the head that is ready longest has been.")?,
        })
    }

    /// Counts one committed move.
    pub(crate) fn count(&self, moved: Move) {
        self.moved.with_label_values(&[goes_to(moved)]).inc();
    }
}

fn goes_to(moved: Move) -> &'static str {
    match moved {
        Move::Promoted => "deliveries",
        Move::Hopped => "tier",
        Move::Rejected => "rejected",
    }
}
