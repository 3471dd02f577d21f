//! What the catalog tells Prometheus.

use chassis::metrics::{IntCounter, IntGauge, Metrics, MetricsError, Registry};

/// Metrics of the reader.
#[derive(Clone, Debug)]
pub(crate) struct CatalogMetrics {
    /// Next offset of the control topic.
    pub(crate) position: IntGauge,
    /// Digest of the snapshot's objects: equal in every process whose snapshot is the same.
    pub(crate) digest: IntGauge,
    /// Subscriptions in the snapshot.
    pub(crate) subscriptions: IntGauge,
    /// Control records applied since the start.
    pub(crate) applied: IntCounter,
    /// Control records that could not be decoded since the start.
    pub(crate) undecodable: IntCounter,
    /// Control records since the start that a newer release wrote, with something that this one does not know.
    pub(crate) newer: IntCounter,
    /// Times the reader was started again after a failure.
    pub(crate) restarts: IntCounter,
}

impl CatalogMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "catalog");
        Ok(Self {
            position: metrics.gauge("position_offset", "Next offset of the control topic.")?,
            digest: metrics.gauge(
                "digest",
                "Digest of the snapshot's objects: equal in every process whose snapshot is the same.",
            )?,
            subscriptions: metrics.gauge("subscriptions", "Subscriptions in the snapshot.")?,
            applied: metrics.counter("records_applied_total", "Control records applied since the start.")?,
            undecodable: metrics
                .counter("records_undecodable_total", "Control records that could not be decoded since the start.")?,
            newer: metrics.counter(
                "records_newer_total",
                "Control records since the start that a newer release wrote, with something that this one does not know.",
            )?,
            restarts: metrics
                .counter("reader_restarts_total", "Times the reader was started again after a failure.")?,
        })
    }
}
