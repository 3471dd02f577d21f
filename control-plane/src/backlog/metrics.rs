//! What the control plane tells Prometheus of the other roles.

use std::collections::BTreeMap;

use chassis::config::Role;
use chassis::metrics::{GaugeVec, IntGaugeVec, Metrics, MetricsError, Registry};

use crate::health::InstanceCounts;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct BacklogMetrics {
    /// Processes that say on `status` that they run, or have been silent for two minutes, by role.
    instances: IntGaugeVec,
    /// Records that the role has not done yet, by its committed offsets, lists of lanes apart; NaN where Kafka does not say.
    pub(super) records: GaugeVec,
    /// How long the oldest of them has waited, in seconds, to within a tenth; NaN where Kafka does not say.
    pub(super) seconds: GaugeVec,
    /// The same as a share of how long its topic keeps records: at 1 they are deleted unread.
    pub(super) share: GaugeVec,
}

impl BacklogMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "control");
        Ok(Self {
            instances: metrics.gauges(
                "instances",
                "Processes that say on `status` that they run, or have been silent for two minutes, by role.",
                &["role", "state"],
            )?,
            records: metrics.fractions(
                "backlog_records",
                "Records that the role has not done yet, by its committed offsets, lists of lanes apart; NaN where Kafka does not say.",
                &["role"],
            )?,
            seconds: metrics.fractions(
                "backlog_seconds",
                "How long the oldest of them has waited, in seconds, to within a tenth; NaN where Kafka does not say.",
                &["role"],
            )?,
            share: metrics.fractions(
                "backlog_share",
                "The same as a share of how long its topic keeps records: at 1 they are deleted unread.",
                &["topic"],
            )?,
        })
    }

    /// Who runs, of every role: one of which nobody says anything has 0.
    pub(super) fn count(&self, counts: &BTreeMap<String, InstanceCounts>) {
        // The control plane itself tells nothing there.
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Control) {
            let of = counts.get(role.name()).copied().unwrap_or_default();
            for (state, count) in [("running", of.running), ("silent", of.silent)] {
                self.instances.with_label_values(&[role.name(), state]).set(count.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_which_nobody_says_anything_has_0() {
        let metrics = BacklogMetrics::new(&Registry::new()).unwrap();
        metrics.count(&BTreeMap::from([("retry".to_owned(), InstanceCounts { running: 2, silent: 1 })]));
        let of = |role: &str, state: &str| metrics.instances.with_label_values(&[role, state]).get();
        assert_eq!((of("retry", "running"), of("retry", "silent"), of("gateway", "running")), (2, 1, 0));
    }
}
