//! What the role counts. A transaction's records are counted when it is committed, so a restart counts nothing twice.

use std::collections::BTreeMap;

use chassis::metrics::{
    Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Metrics, MetricsError, Registry, SIZES,
};
use filter::EvaluationError;
use schemas::ids::SchemaRegistryId;
use schemas::rejected::{REASONS, RejectReason};
use sources::SkipReason;

use crate::plan::EventVerdict;

/// The metrics, under `hookbus_fanout_`.
#[derive(Clone, Debug)]
pub(crate) struct FanoutMetrics {
    /// Events accepted: not repeated, not rejected.
    pub(crate) accepted: IntCounter,
    /// Deliveries made.
    pub(crate) matched: IntCounter,
    /// Repeats of an identity inside the dedup window.
    pub(crate) repeats: IntCounter,
    /// Records rejected, by reason.
    pub(crate) rejected: IntCounterVec,
    /// Records of sources that are none of their events, by reason.
    pub(crate) skipped: IntCounterVec,
    /// Topics that sources name, whoever reads them.
    pub(crate) source_topics: IntGauge,
    /// Partitions of sources that this worker owns.
    pub(crate) source_partitions: IntGauge,
    /// Partitions of sources that this worker owns and cannot read or plan for now; they are tried again by themselves.
    pub(crate) source_failing: IntGauge,
    /// Partitions of sources that this worker owns and whose next record needs a schema that is not here.
    pub(crate) source_waiting: IntGauge,
    /// Whether a schema registry gave its last answer, by its id: 1 or 0.
    pub(crate) registry_up: IntGaugeVec,
    /// Age of the oldest record of a source read and not committed.
    pub(crate) source_lag_seconds: Gauge,
    /// Filters that failed at run time, by reason: no match.
    pub(crate) filters_failed: IntCounterVec,
    /// Subscriptions an event matched.
    pub(crate) matches: Histogram,
    /// Records that were not committed yet, by topic.
    pub(crate) lag_records: IntGaugeVec,
    /// Age of the oldest record read and not committed.
    pub(crate) lag_seconds: Gauge,
    /// Identities remembered.
    pub(crate) ids: IntGauge,
    /// Identities forgotten before the window's end because the budget was full.
    pub(crate) evicted: IntCounter,
}

impl FanoutMetrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "fanout");
        let reasons = REASONS.iter().map(|reason| reason.as_str());
        let skips = SkipReason::ALL.iter().map(|reason| reason.as_str());
        Ok(Self {
            accepted: metrics.counter("accepted_total", "Events accepted: not repeated, not rejected.")?,
            matched: metrics.counter("matched_total", "Deliveries made.")?,
            repeats: metrics.counter("repeats_total", "Repeats of an identity inside the dedup window.")?,
            rejected: metrics.counters_of("rejected_total", "Records rejected, by reason.", "reason", reasons)?,
            skipped: {
                let help = "Records of sources that are none of their events, by reason.";
                metrics.counters_of("sources_skipped_total", help, "reason", skips)?
            },
            source_topics: metrics.gauge("sources_topics", "Topics that sources name, whoever reads them.")?,
            source_partitions: metrics.gauge("sources_partitions", "Partitions of sources that this worker owns.")?,
            source_failing: metrics.gauge(
                "sources_failing",
                "Partitions of sources that this worker owns and cannot read or plan for now; they are tried again by themselves.",
            )?,
            source_waiting: metrics.gauge(
                "sources_waiting",
                "Partitions of sources that this worker owns and whose next record needs a schema that is not here.",
            )?,
            registry_up: metrics.gauges(
                "registry_up",
                "Whether a schema registry gave its last answer, by its id: 1 or 0.",
                &["registry"],
            )?,
            source_lag_seconds: metrics
                .fraction("sources_lag_seconds", "Age of the oldest record of a source read and not committed.")?,
            filters_failed: {
                let help = "Filters that failed at run time, by reason: no match.";
                metrics.counters_of("filters_failed_total", help, "reason", EvaluationError::WORDS)?
            },
            matches: metrics.histogram("matches", "Subscriptions an event matched.", SIZES)?,
            lag_records: metrics.gauges("lag_records", "Records that were not committed yet, by topic.", &["topic"])?,
            lag_seconds: metrics.fraction("lag_seconds", "Age of the oldest record read and not committed.")?,
            ids: metrics.gauge("dedup_ids", "Identities remembered.")?,
            evicted: metrics.counter(
                "dedup_evicted_total",
                "Identities forgotten before the window's end because the budget was full.",
            )?,
        })
    }

    /// Says which registries answer; one that is gone is none of them.
    pub(crate) fn registries(&self, up: &BTreeMap<SchemaRegistryId, bool>) {
        self.registry_up.reset();
        for (id, is_up) in up {
            self.registry_up.with_label_values(&[id.to_string().as_str()]).set(i64::from(*is_up));
        }
    }

    /// Counts what became of one committed record, or of a part of one.
    pub(crate) fn count(&self, verdict: EventVerdict) {
        match verdict {
            EventVerdict::Matched(matches) => {
                self.accepted.inc();
                self.matched.inc_by(matches as u64);
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a histogram's value; matches are capped far below 2^53"
                )]
                self.matches.observe(matches as f64);
            }
            EventVerdict::Repeat => self.repeats.inc(),
            EventVerdict::Skipped(reason) => self.skipped.with_label_values(&[reason]).inc(),
            EventVerdict::Rejected(reason) => self.rejected(reason).inc(),
            // Its event is counted with its end.
            EventVerdict::Sliced(_) => {}
        }
    }

    fn rejected(&self, reason: RejectReason) -> IntCounter {
        self.rejected.with_label_values(&[reason.as_str()])
    }
}
