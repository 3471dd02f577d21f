//! What the role counts. A record is counted when its move is committed, so a restart counts nothing twice.

use chassis::metrics::{
    Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, LATENCY_SECONDS, Metrics, MetricsError,
    Registry, SIZES,
};
use kafka::WriterStats;

use crate::promote::Move;

/// The metrics, under `hookbus_retry_`.
#[derive(Clone, Debug)]
pub(crate) struct RetryMetrics {
    moved: IntCounterVec,
    /// Time between ready and committed.
    pub(crate) lateness: Histogram,
    /// Records of a transaction.
    pub(crate) batch: Histogram,
    /// Duration of a transaction.
    pub(crate) transaction: Histogram,
    /// Records that wait in a delay topic.
    pub(crate) waiting: IntGaugeVec,
    /// Records held in memory.
    pub(crate) held_records: IntGauge,
    /// Their bytes.
    pub(crate) held_bytes: IntGauge,
    /// How long the head that is ready longest has been.
    pub(crate) overdue: Gauge,
    /// Promotions that no budget was kept for.
    pub(crate) unbudgeted: IntGauge,
    /// Records that retention deleted before they moved.
    pub(crate) lost: IntCounter,
    /// Partitions owned.
    pub(crate) partitions: IntGauge,
    /// Transactions committed.
    transactions: IntCounter,
    /// Output partitions they touched: what they cost the brokers.
    output_partitions: IntCounter,
    /// Transactions aborted and made again.
    aborted: IntCounter,
    /// Transactions whose outcome was unknown and then settled.
    settled: IntCounter,
}

impl RetryMetrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "retry");
        Ok(Self {
            moved: metrics.counters("moved_total", "Records moved, by where they went.", &["to"])?,
            lateness: metrics.histogram("lateness_seconds", "Time between ready and committed.", LATENCY_SECONDS)?,
            batch: metrics.histogram("batch_records", "Records of a transaction.", SIZES)?,
            transaction: metrics.histogram("transaction_seconds", "Duration of a transaction.", LATENCY_SECONDS)?,
            waiting: metrics.gauges(
                "waiting_records",
                "Offsets between the committed one and the end, by delay topic: what waits, and some markers.",
                &["topic"],
            )?,
            held_records: metrics.gauge("held_records", "Records held in memory.")?,
            held_bytes: metrics.gauge("held_bytes", "Bytes held in memory.")?,
            overdue: metrics.fraction("overdue_seconds", "How long the head that is ready longest has been.")?,
            unbudgeted: metrics.gauge("unbudgeted", "Promotions that no budget was kept for.")?,
            lost: metrics.counter("lost_records_total", "Records that retention deleted before they moved.")?,
            partitions: metrics.gauge("partitions", "Partitions owned.")?,
            transactions: metrics.counter("transactions_total", "Transactions committed.")?,
            output_partitions: metrics.counter(
                "transaction_partitions_total",
                "Output partitions they touched: what they cost the brokers.",
            )?,
            aborted: metrics.counter("transactions_aborted_total", "Transactions aborted and made again.")?,
            settled: metrics
                .counter("transactions_settled_total", "Transactions whose outcome was unknown and then settled.")?,
        })
    }

    /// Takes over what the writer counted.
    pub(crate) fn writer(&self, stats: WriterStats) {
        let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        raise(&self.transactions, stats.transactions);
        raise(&self.output_partitions, stats.partitions);
        raise(&self.aborted, stats.aborted);
        raise(&self.settled, stats.settled);
    }

    /// Counts one committed move.
    pub(crate) fn count(&self, moved: Move) {
        self.moved(moved).inc();
    }

    /// Moves that were put off because a budget was used up.
    pub(crate) fn over_budget(&self) -> u64 {
        self.moved(Move::Deferred).get()
    }

    fn moved(&self, moved: Move) -> IntCounter {
        let to = match moved {
            Move::Promoted => "deliveries",
            Move::Hopped => "tier",
            Move::Deferred => "smallest_tier",
            Move::Rejected => "rejected",
        };
        self.moved.with_label_values(&[to])
    }
}
