//! What every stage counts, under the name of its role.

use chassis::metrics::{Histogram, IntCounter, IntGauge, LATENCY_SECONDS, Metrics, MetricsError, Registry, SIZES};
use kafka::WriterStats;

/// The metrics, under `hookbus_<role>_`.
#[derive(Clone, Debug)]
pub struct StageMetrics {
    /// Records of a transaction.
    pub(crate) batch: Histogram,
    /// Duration of a transaction.
    pub(crate) transaction: Histogram,
    /// Records that retention deleted before they were read.
    pub(crate) lost: IntCounter,
    /// Partitions owned.
    pub(crate) partitions: IntGauge,
    /// Seconds that a record or a transaction has stood still while Kafka answers, by role; 0 while everything moves.
    pub(crate) stalled: IntGauge,
    /// Topics that the cluster does not let the role read, by role; they are tried again by themselves.
    pub(crate) denied: IntGauge,
    /// Partitions that are assigned and have not begun, by role: they are being taken over, or wait for what their takeover needs.
    pub(crate) unbegun: IntGauge,
    transactions: IntCounter,
    output_partitions: IntCounter,
    aborted: IntCounter,
    settled: IntCounter,
}

impl StageMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A stage of this name has registered them already.
    pub fn new(registry: &Registry, name: &'static str) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, name);
        Ok(Self {
            batch: metrics.histogram("batch_records", "Records of a transaction.", SIZES)?,
            transaction: metrics.histogram("transaction_seconds", "Duration of a transaction.", LATENCY_SECONDS)?,
            lost: metrics.counter("lost_records_total", "Records that retention deleted before they were read.")?,
            partitions: metrics.gauge("partitions", "Partitions owned.")?,
            stalled: Metrics::of_role(registry, "stage", name).gauge(
                "stalled_seconds",
                "Seconds that a record or a transaction has stood still while Kafka answers, by role; 0 while everything moves.",
            )?,
            denied: Metrics::of_role(registry, "stage", name).gauge(
                "denied_topics",
                "Topics that the cluster does not let the role read, by role; they are tried again by themselves.",
            )?,
            unbegun: Metrics::of_role(registry, "stage", name).gauge(
                "unbegun_partitions",
                "Partitions that are assigned and have not begun, by role: they are being taken over, or wait for what their takeover needs.",
            )?,
            transactions: metrics.counter("transactions_total", "Transactions committed.")?,
            output_partitions: metrics.counter(
                "transaction_partitions_total",
                "Output partitions that transactions touched: what they cost the brokers.",
            )?,
            aborted: metrics.counter("transactions_aborted_total", "Transactions aborted and made again.")?,
            settled: metrics
                .counter("transactions_settled_total", "Transactions whose outcome was unknown and was found out.")?,
        })
    }

    /// Takes over what the writer counted.
    pub(crate) fn set_writer(&self, stats: WriterStats) {
        let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        raise(&self.transactions, stats.transactions);
        raise(&self.output_partitions, stats.partitions);
        raise(&self.aborted, stats.aborted);
        raise(&self.settled, stats.settled);
    }
}
