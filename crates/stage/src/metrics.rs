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
    /// 1 while the cluster does not let the role run at all, by role: its group or its transactional id is denied; it is tried again by
    /// itself.
    shut_out: IntGauge,
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
            shut_out: Metrics::of_role(registry, "stage", name).gauge(
                "denied",
                "1 while the cluster does not let the role run at all, by role: its group or its transactional id is denied; it is tried again by itself.",
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

    /// The cluster did not let the stage run, which is to be tried again; until [`StageMetrics::let_in`].
    pub fn shut_out(&self) {
        self.shut_out.set(1);
    }

    /// The cluster lets it write, and its group has it as a member, or nothing is to be read.
    pub(crate) fn let_in(&self) {
        self.shut_out.set(0);
    }

    /// Adds what the writer counted since `before`. Each stage has a writer of its own, whose counts begin at 0.
    pub(crate) fn count_writer(&self, before: &WriterStats, now: &WriterStats) {
        let add = |counter: &IntCounter, before: u64, now: u64| counter.inc_by(now.saturating_sub(before));
        add(&self.transactions, before.transactions, now.transactions);
        add(&self.output_partitions, before.partitions, now.partitions);
        add(&self.aborted, before.aborted, now.aborted);
        add(&self.settled, before.settled, now.settled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_one_writer_after_another_add_up() {
        let metrics = StageMetrics::new(&Registry::new(), "sources").unwrap();
        let counted = |transactions| WriterStats { transactions, aborted: 1, ..WriterStats::default() };
        let none = WriterStats::default();
        metrics.count_writer(&none, &counted(5));
        metrics.count_writer(&counted(5), &counted(7));
        // The stage was tried again.
        metrics.count_writer(&none, &counted(2));
        metrics.count_writer(&counted(2), &counted(3));
        assert_eq!((metrics.transactions.get(), metrics.aborted.get()), (10, 2));
    }
}
