//! What the delivery log tells Prometheus.

use std::time::Instant;

use chassis::clock;
use chassis::metrics::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, LATENCY_SECONDS, Metrics, MetricsError, Registry,
};

/// Metrics of the log.
#[derive(Clone, Debug)]
pub(super) struct LogMetrics {
    /// How old the oldest record of `attempts` is that the delivery log may not have yet.
    pub(super) behind: IntGauge,
    /// Records of `attempts` taken into the delivery log, by kind.
    pub(super) projected: IntCounterVec,
    /// Offsets of `attempts` that were deleted before the delivery log had read them.
    pub(super) lost: IntCounter,
    /// Bytes of the delivery log's files.
    pub(super) bytes: IntGauge,
    /// Days that the delivery log has rows of.
    pub(super) days: IntGauge,
    /// Dead letters that were neither redriven nor discarded, of the days that the delivery log keeps.
    pub(super) letters: IntGauge,
    /// How long an answer out of the delivery log takes, by route, its turn apart.
    pub(super) query_seconds: HistogramVec,
    /// 1 while the delivery log has no open store: its routes answer 503.
    pub(super) closed: IntGauge,
}

/// Counts how long an answer takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct QueryTimer {
    began: Instant,
    seconds: Histogram,
}

// === impl QueryTimer ===

impl QueryTimer {
    pub(super) fn new(seconds: Histogram) -> Self {
        Self { began: clock::instant(), seconds }
    }
}

impl Drop for QueryTimer {
    fn drop(&mut self) {
        self.seconds.observe(clock::instant().saturating_duration_since(self.began).as_secs_f64());
    }
}

// === impl LogMetrics ===

impl LogMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "control");
        Ok(Self {
            behind: metrics.gauge(
                "log_behind_seconds",
                "How old the oldest record of `attempts` is that the delivery log may not have yet.",
            )?,
            projected: metrics.counters(
                "log_projected_total",
                "Records of `attempts` taken into the delivery log, by kind.",
                &["kind"],
            )?,
            lost: metrics.counter(
                "log_lost_records_total",
                "Offsets of `attempts` that were deleted before the delivery log had read them.",
            )?,
            bytes: metrics.gauge("log_store_bytes", "Bytes of the delivery log's files.")?,
            days: metrics.gauge("log_days", "Days that the delivery log has rows of.")?,
            letters: metrics.gauge(
                "dead_letters_unprocessed",
                "Dead letters that were neither redriven nor discarded, of the days that the delivery log keeps.",
            )?,
            query_seconds: metrics.histograms(
                "log_query_seconds",
                "How long an answer out of the delivery log takes, by route, its turn apart.",
                &["route"],
                LATENCY_SECONDS,
            )?,
            closed: metrics
                .gauge("log_closed", "1 while the delivery log has no open store: its routes answer 503.")?,
        })
    }
}
