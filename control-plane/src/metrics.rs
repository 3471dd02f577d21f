//! What the control plane tells Prometheus.

use chassis::metrics::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, LATENCY_SECONDS, Metrics, MetricsError,
    Registry,
};
use chassis::server::ServerMetrics;

/// What reports lead to, by kind and outcome: there from the start, so that the first of each is seen as an increase.
const REPORTS: [[&str; 2]; 9] = [
    ["gone", "disabled"],
    ["gone", "outdated"],
    ["failing", "disabled"],
    ["failing", "outdated"],
    ["undeclared", "declared"],
    ["undeclared", "outdated"],
    ["undeclared", "unfit"],
    ["undeclared", "limited"],
    ["unknown", "skipped"],
];

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
            writes: {
                let help = "Writes to the control topic by outcome.";
                let writes = metrics.counters("writes_total", help, &["outcome"])?;
                for outcome in ["written", "repeated", "refused", "failed"] {
                    writes.with_label_values(&[outcome]).inc_by(0);
                }
                writes
            },
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
            resealed: {
                let help = "Objects whose secrets had to be sealed again with the current key, by outcome.";
                let resealed = metrics.counters("resealed_objects_total", help, &["outcome"])?;
                for outcome in ["done", "failed"] {
                    resealed.with_label_values(&[outcome]).inc_by(0);
                }
                resealed
            },
            reports: {
                let help = "Worker reports by kind and what was done; `unknown` are those of a newer build.";
                let reports = metrics.counters("reports_total", help, &["kind", "outcome"])?;
                for kind_and_outcome in REPORTS {
                    reports.with_label_values(&kind_and_outcome).inc_by(0);
                }
                reports
            },
        })
    }
}
