//! What the control plane tells Prometheus.

use chassis::metrics::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, LATENCY_SECONDS, Metrics, MetricsError, Registry,
};

/// Metrics of the role.
#[derive(Clone, Debug)]
pub(crate) struct ControlMetrics {
    /// Requests by route (its template) and status.
    pub(crate) requests: IntCounterVec,
    /// Time to the answer by route.
    pub(crate) request_seconds: HistogramVec,
    /// Writes to `control` by outcome.
    pub(crate) writes: IntCounterVec,
    /// Time of one write, waiting for its turn included.
    pub(crate) write_seconds: Histogram,
    /// Times another writer had taken the topic.
    pub(crate) fenced: IntCounter,
    /// Writes whose outcome had to be looked up.
    pub(crate) unknown: IntCounter,
    /// Worker reports acted on.
    pub(crate) reports: IntCounterVec,
}

impl ControlMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "control");
        Ok(Self {
            requests: metrics.counters("requests_total", "Requests by route and status.", &["route", "status"])?,
            request_seconds: metrics.histograms(
                "request_seconds",
                "Time to the answer by route.",
                &["route"],
                LATENCY_SECONDS,
            )?,
            writes: metrics.counters("writes_total", "Writes to the control topic by outcome.", &["outcome"])?,
            write_seconds: metrics.histogram(
                "write_seconds",
                "Time of one write, waiting for its turn included.",
                LATENCY_SECONDS,
            )?,
            fenced: metrics.counter("fenced_total", "Times another writer had taken the control topic.")?,
            unknown: metrics.counter("unknown_outcomes_total", "Writes whose outcome had to be looked up.")?,
            reports: metrics.counters("reports_total", "Worker reports by what was done.", &["outcome"])?,
        })
    }
}
