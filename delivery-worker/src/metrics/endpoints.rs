//! Endpoints that fail, with their ids: the one exception to "no ids in labels". The worst of a worker at most, so that a scrape
//! stays small however many fail.

use std::collections::BTreeSet;

use chassis::metrics::{GaugeVec, IntGauge, IntGaugeVec, Metrics, MetricsError};
use prometheus::Registry;

use crate::engine::FailingEndpoints;

/// Labels of an endpoint's series.
const LABELS: [&str; 2] = ["application", "subscription"];

/// See the module.
#[derive(Debug)]
pub(crate) struct EndpointMetrics {
    /// How many endpoints have series at most.
    most: usize,
    /// Those that have them.
    shown: BTreeSet<[String; 2]>,
    /// Failures in a row of an endpoint, of the endpoints that failed most often.
    in_a_row: IntGaugeVec,
    /// How much of what a failing endpoint was sent in the last ten minutes was sent again, from 0 to 1.
    repeated: GaugeVec,
    /// Endpoints whose last requests failed.
    count: IntGauge,
}

impl EndpointMetrics {
    /// Registers them; at most so many endpoints have series of their own.
    ///
    /// # Errors
    /// When a name is taken.
    pub(crate) fn new(registry: &Registry, most: usize) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "delivery");
        Ok(Self {
            most,
            shown: BTreeSet::new(),
            in_a_row: metrics.gauges(
                "endpoint_consecutive_failures",
                "Failures in a row of an endpoint, of the endpoints that failed most often.",
                &LABELS,
            )?,
            repeated: metrics.fractions(
                "endpoint_retry_ratio",
                "How much of what a failing endpoint was sent in the last ten minutes was sent again, from 0 to 1.",
                &LABELS,
            )?,
            count: metrics.gauge("failing_endpoints", "Endpoints whose last requests failed.")?,
        })
    }

    /// How many endpoints have series at most.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// Shows these, and the others no longer. A series that stays is never gone in between.
    pub(crate) fn show(&mut self, failing: &FailingEndpoints) {
        self.count.set(i64::try_from(failing.count).unwrap_or(i64::MAX));
        let mut shown = BTreeSet::new();
        for endpoint in failing.worst.iter().take(self.most) {
            let labels = [endpoint.application.to_string(), endpoint.subscription.to_string()];
            let [application, subscription] = &labels;
            self.in_a_row.with_label_values(&[application, subscription]).set(endpoint.in_a_row.into());
            if let Some(repeated) = endpoint.repeated {
                self.repeated.with_label_values(&[application, subscription]).set(repeated);
            }
            shown.insert(labels);
        }
        for [application, subscription] in self.shown.difference(&shown) {
            // One that has no ratio has no such series either.
            drop(self.in_a_row.remove_label_values(&[application, subscription]));
            drop(self.repeated.remove_label_values(&[application, subscription]));
        }
        self.shown = shown;
    }
}

#[cfg(test)]
mod tests {
    use schemas::ids::{ApplicationId, SubscriptionId};
    use uuid::Uuid;

    use super::*;
    use crate::engine::FailingEndpoint;

    fn endpoint(number: u128, in_a_row: u32, repeated: Option<f64>) -> FailingEndpoint {
        let (application, subscription) = (ApplicationId(Uuid::nil()), SubscriptionId(Uuid::from_u128(number)));
        FailingEndpoint { application, subscription, in_a_row, repeated }
    }

    fn series(registry: &Registry, name: &str) -> usize {
        let families = registry.gather();
        families.iter().find(|family| family.name() == name).map_or(0, |family| family.get_metric().len())
    }

    #[test]
    fn what_has_worked_again_has_no_series_and_no_more_than_the_most_have_them() {
        let registry = Registry::new();
        let mut metrics = EndpointMetrics::new(&registry, 2).unwrap();
        let (rows, shares) =
            ("hookbus_delivery_endpoint_consecutive_failures", "hookbus_delivery_endpoint_retry_ratio");
        let worst = (0..5).map(|number| endpoint(number, 9, Some(0.5))).collect();
        metrics.show(&FailingEndpoints { count: 5, worst });
        assert_eq!((series(&registry, rows), series(&registry, shares), metrics.count.get()), (2, 2, 5));
        metrics.show(&FailingEndpoints { count: 1, worst: vec![endpoint(1, 10, None)] });
        assert_eq!((series(&registry, rows), series(&registry, shares)), (1, 1), "its ratio is the one before");
        metrics.show(&FailingEndpoints::default());
        assert_eq!((series(&registry, rows), series(&registry, shares), metrics.count.get()), (0, 0, 0));
    }
}
