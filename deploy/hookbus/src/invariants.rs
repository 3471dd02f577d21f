//! `hookbus_invariant_violations_total{invariant}`: what production could see of broken promises.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts, Registry};
use schemas::invariants::ALL;

/// Reads the counters of `schemas::invariants` whenever metrics are scraped.
#[derive(Debug)]
struct Violations;

/// Adds the metric to a registry.
///
/// # Errors
/// When the name is taken.
pub(crate) fn register(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(Violations))
}

impl Violations {
    fn counters() -> prometheus::Result<IntCounterVec> {
        let opts = Opts::new("hookbus_invariant_violations_total", "Violations of the numbered invariants seen here.");
        let counters = IntCounterVec::new(opts, &["invariant"])?;
        for invariant in ALL {
            counters.with_label_values(&[&invariant.number().to_string()]).inc_by(invariant.violations());
        }
        Ok(counters)
    }
}

impl Collector for Violations {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        Self::counters().map(|counters| counters.collect()).unwrap_or_default()
    }
}
