//! What the control plane tells Prometheus.

use chassis::metrics::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, LATENCY_SECONDS, Metrics, MetricsError,
    Registry,
};
use chassis::server::ServerMetrics;

/// Metrics of the role.
#[derive(Clone, Debug)]
pub(crate) struct ControlMetrics {
    /// Of the listener.
    pub(crate) server: ServerMetrics,
    /// Requests by route and status.
    pub(crate) requests: IntCounterVec,
    /// Time to the answer by route.
    pub(crate) request_seconds: HistogramVec,
    /// Writes to the control topic by outcome.
    pub(crate) writes: IntCounterVec,
    /// Time of one write, waiting for its turn included.
    pub(crate) write_seconds: Histogram,
    /// Transactions on the control topic: writes that wait together share one.
    pub(crate) transactions: IntCounter,
    /// Times another writer had taken the control topic.
    pub(crate) fenced: IntCounter,
    /// Times a write listed the end of the control topic: after a takeover, and before a refusal.
    pub(crate) listed: IntCounter,
    /// Writes whose outcome had to be looked up.
    pub(crate) unknown: IntCounter,
    /// Operational events that were not written, because Kafka does not let the control plane write them.
    pub(crate) not_told: IntCounter,
    /// Answers that are kept for repeats of their requests.
    pub(crate) kept_answers: IntGauge,
    /// Worker reports by kind and what was done; `unknown` are those of a newer build.
    pub(crate) reports: IntCounterVec,
    /// Objects with secrets by the id of the encryption key that sealed them; a key whose number is 0 may be removed.
    pub(crate) sealed: IntGaugeVec,
    /// Objects whose secrets had to be sealed again with the current key, by outcome.
    pub(crate) resealed: IntCounterVec,
}

impl ControlMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "control");
        Ok(Self {
            server: ServerMetrics::new(&metrics)?,
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
            transactions: metrics.counter(
                "write_transactions_total",
                "Transactions on the control topic: writes that wait together share one.",
            )?,
            fenced: metrics.counter("fenced_total", "Times another writer had taken the control topic.")?,
            listed: metrics.counter(
                "listed_ends_total",
                "Times a write listed the end of the control topic: after a takeover, and before a refusal.",
            )?,
            unknown: metrics.counter("unknown_outcomes_total", "Writes whose outcome had to be looked up.")?,
            not_told: metrics.counter(
                "not_told_events_total",
                "Operational events that were not written, because Kafka does not let the control plane write them.",
            )?,
            kept_answers: metrics.gauge("kept_answers", "Answers that are kept for repeats of their requests.")?,
            sealed: metrics.gauges(
                "sealed_objects",
                "Objects with secrets by the id of the encryption key that sealed them; a key whose number is 0 may be removed.",
                &["key"],
            )?,
            resealed: metrics.counters(
                "resealed_objects_total",
                "Objects whose secrets had to be sealed again with the current key, by outcome.",
                &["outcome"],
            )?,
            reports: metrics.counters(
                "reports_total",
                "Worker reports by kind and what was done; `unknown` are those of a newer build.",
                &["kind", "outcome"],
            )?,
        })
    }
}
