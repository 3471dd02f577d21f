//! What jobs tell Prometheus.

use chassis::metrics::{IntCounterVec, IntGauge, Metrics, MetricsError, Registry};
use schemas::jobs::JobProgress;

use super::known::KnownJob;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct JobsMetrics {
    /// Jobs that have not ended, of the partitions that are run here.
    pub(super) open: IntGauge,
    /// What jobs sent again or decided, by kind of job and what came of it.
    deliveries: IntCounterVec,
}

impl JobsMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "control");
        Ok(Self {
            open: metrics.gauge("jobs_open", "Jobs that have not ended, of the partitions that are run here.")?,
            deliveries: metrics.counters(
                "job_deliveries_total",
                "What jobs sent again or decided, by kind of job and what came of it.",
                &["kind", "outcome"],
            )?,
        })
    }

    /// A part of a job was made, after which it is so far.
    pub(super) fn count(&self, job: &KnownJob, progress: &JobProgress) {
        let kind = job.definition.kind.as_str();
        let before = job.progress.as_ref().map(|before| &before.counts);
        let written = progress.counts.written - before.map_or(0, |before| before.written);
        self.deliveries.with_label_values(&[kind, "written"]).inc_by(written);
        for (why, count) in &progress.counts.skipped {
            let before = before.and_then(|before| before.skipped.get(why)).copied().unwrap_or(0);
            self.deliveries.with_label_values(&[kind, why.as_str()]).inc_by(count - before);
        }
    }
}
