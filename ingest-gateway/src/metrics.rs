//! What the gateway counts.

use chassis::metrics::{
    Histogram, IntCounter, IntCounterVec, IntGauge, LATENCY_SECONDS, Metrics, MetricsError, Registry,
};

/// Metrics of the role, `hookbus_gateway_*`.
#[derive(Clone, Debug)]
pub(crate) struct GatewayMetrics {
    /// Events acknowledged by Kafka.
    pub(crate) accepted: IntCounter,
    /// Payload bytes of accepted events.
    pub(crate) accepted_bytes: IntCounter,
    /// Events and requests refused, by problem id.
    pub(crate) refused: IntCounterVec,
    /// From handing a record to the producer to its acknowledgement.
    pub(crate) produce_seconds: Histogram,
    /// Requests being served.
    pub(crate) requests: IntGauge,
    /// Open connections.
    pub(crate) connections: IntGauge,
    /// Bytes of bodies in memory.
    pub(crate) body_bytes: IntGauge,
    /// Times the catalog was brought up to date before a refusal.
    pub(crate) rechecks: IntCounter,
}

impl GatewayMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "gateway");
        Ok(Self {
            accepted: metrics.counter("accepted_total", "Events acknowledged by Kafka.")?,
            accepted_bytes: metrics.counter("accepted_bytes_total", "Payload bytes of accepted events.")?,
            refused: metrics.counters("refused_total", "Events and requests refused, by problem id.", &["problem"])?,
            produce_seconds: metrics.histogram(
                "produce_seconds",
                "From handing a record to the producer to its acknowledgement.",
                LATENCY_SECONDS,
            )?,
            requests: metrics.gauge("requests_in_flight", "Requests being served.")?,
            connections: metrics.gauge("connections", "Open connections.")?,
            body_bytes: metrics.gauge("body_bytes", "Bytes of bodies in memory.")?,
            rechecks: metrics
                .counter("rechecks_total", "Times the catalog was brought up to date before a refusal.")?,
        })
    }
}
