//! Metrics: one struct per role, its fields registered through [`Metrics`], the field's doc repeated as HELP.
//!
//! # Naming
//! `hookbus_<role>_<what>_<unit>`, with `_total` on counters and base units (`seconds`, `bytes`, `records`).
//! Label values come from enums, never from a request, a URL or an id: their number is known at compile time.

use prometheus::core::Collector;
pub use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};
use prometheus::{HistogramOpts, Opts};

/// Upper bounds in seconds for spans between one request and one day's backlog: 1 ms to 1 h, about 2.5 x apart.
pub const LATENCY_SECONDS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0];

/// Upper bounds for how many things went together (records of a transaction, matches of an event).
pub const SIZES: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0];

/// A metric that could not be registered: a name that is taken or not a name.
#[derive(Debug, thiserror::Error)]
#[error("cannot register metric {name}")]
pub struct MetricsError {
    /// The full name.
    pub name: String,
    /// What the registry said.
    #[source]
    pub source: prometheus::Error,
}

/// Registers the metrics of one role under `hookbus_<role>_`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    role: &'static str,
    /// A label that every metric carries, with its value.
    label: Option<(&'static str, &'static str)>,
}

impl Metrics {
    /// Metrics of this role in this registry.
    #[must_use]
    pub fn new(registry: &Registry, role: &'static str) -> Self {
        Self { registry: registry.clone(), role, label: None }
    }

    /// Metrics of a part that several roles of one process have: under the part's name, told apart by the label `role`.
    #[must_use]
    pub fn of_role(registry: &Registry, part: &'static str, role: &'static str) -> Self {
        Self { registry: registry.clone(), role: part, label: Some(("role", role)) }
    }

    /// A number that only grows; `name` ends with `_total`.
    ///
    /// # Errors
    /// When the name is taken or not a name; so for all of these.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricsError> {
        self.register(name, IntCounter::with_opts(self.opts(name, help)))
    }

    /// Growing numbers told apart by labels.
    ///
    /// # Errors
    /// As [`Metrics::counter`].
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        self.register(name, IntCounterVec::new(self.opts(name, help), labels))
    }

    /// Growing numbers told apart by a label whose values are known: all are there with 0 from the start, so that the first one
    /// counted is seen as an increase.
    ///
    /// # Errors
    /// As [`Metrics::counter`].
    pub fn counters_of<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<IntCounterVec, MetricsError> {
        let counters = self.counters(name, help, &[label])?;
        values.into_iter().for_each(|value| counters.with_label_values(&[value]).inc_by(0));
        Ok(counters)
    }

    /// A number that rises and falls.
    ///
    /// # Errors
    /// As [`Metrics::counter`].
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        self.register(name, IntGauge::with_opts(self.opts(name, help)))
    }

    /// A rising and falling number with fractions (seconds of lag).
    ///
    /// # Errors
    /// As [`Metrics::counter`].
    pub fn fraction(&self, name: &str, help: &str) -> Result<Gauge, MetricsError> {
        self.register(name, Gauge::with_opts(self.opts(name, help)))
    }

    /// Rising and falling numbers told apart by labels.
    ///
    /// # Errors
    /// As [`Metrics::counter`].
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        self.register(name, IntGaugeVec::new(self.opts(name, help), labels))
    }

    /// Rising and falling numbers with fractions, told apart by labels.
    ///
    /// # Errors
    /// As [`Metrics::counter`].
    pub fn fractions(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, MetricsError> {
        self.register(name, GaugeVec::new(self.opts(name, help), labels))
    }

    /// A distribution; `buckets` is [`LATENCY_SECONDS`] or [`SIZES`] unless there is a reason.
    ///
    /// # Errors
    /// As [`Metrics::counter`].
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, MetricsError> {
        self.register(name, Histogram::with_opts(self.histogram_opts(name, help, buckets)))
    }

    /// Distributions told apart by labels.
    ///
    /// # Errors
    /// As [`Metrics::counter`].
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        self.register(name, HistogramVec::new(self.histogram_opts(name, help, buckets), labels))
    }

    fn opts(&self, name: &str, help: &str) -> Opts {
        let opts = Opts::new(name, help).namespace("hookbus").subsystem(self.role);
        match self.label {
            Some((label, value)) => opts.const_label(label, value),
            None => opts,
        }
    }

    fn histogram_opts(&self, name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
        HistogramOpts::new(name, help).namespace("hookbus").subsystem(self.role).buckets(buckets.to_vec())
    }

    fn register<C: Collector + Clone + 'static>(
        &self,
        name: &str,
        metric: Result<C, prometheus::Error>,
    ) -> Result<C, MetricsError> {
        let registered = metric.and_then(|metric| self.registry.register(Box::new(metric.clone())).map(|()| metric));
        registered.map_err(|source| MetricsError { name: format!("hookbus_{}_{name}", self.role), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_product_and_role() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry, "gateway");
        metrics.counter("accepted_total", "Events accepted.").unwrap().inc();
        metrics.counters("refused_total", "Events refused.", &["reason"]).unwrap().with_label_values(&["size"]).inc();
        metrics.gauge("in_flight", "Requests in flight.").unwrap().set(3);
        metrics.fraction("lag_seconds", "Age of the oldest record.").unwrap().set(0.5);
        metrics.gauges("lag_records", "Records behind.", &["topic"]).unwrap().with_label_values(&["events"]).set(1);
        metrics.histogram("produce_seconds", "Time to the ack.", LATENCY_SECONDS).unwrap().observe(0.003);
        metrics.histograms("matches", "Matches.", &["kind"], SIZES).unwrap().with_label_values(&["http"]).observe(2.0);
        let names: Vec<String> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(
            names,
            [
                "hookbus_gateway_accepted_total",
                "hookbus_gateway_in_flight",
                "hookbus_gateway_lag_records",
                "hookbus_gateway_lag_seconds",
                "hookbus_gateway_matches",
                "hookbus_gateway_produce_seconds",
                "hookbus_gateway_refused_total"
            ]
        );
    }

    #[test]
    fn a_taken_name_is_an_error_that_names_it() {
        let metrics = Metrics::new(&Registry::new(), "gateway");
        metrics.counter("accepted_total", "Events accepted.").unwrap();
        let error = metrics.counter("accepted_total", "Again.").unwrap_err();
        assert_eq!(error.to_string(), "cannot register metric hookbus_gateway_accepted_total");
    }

    #[test]
    fn buckets_rise() {
        for buckets in [LATENCY_SECONDS, SIZES] {
            assert!(buckets.is_sorted());
        }
    }
}
