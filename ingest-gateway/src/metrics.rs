//! What the gateway counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chassis::metrics::{
    Histogram, IntCounter, IntCounterVec, IntGauge, LATENCY_SECONDS, Metrics, MetricsError, Registry,
};
use chassis::server::ServerMetrics;
use schemas::problem::{Code, Problem, ProblemId};

/// Why a 503 is answered, as labels.
const UNAVAILABLE: [&str; 4] = ["catalog_behind", "kafka_unavailable", "overloaded", "other"];

/// Ids that the gateway refuses with most often: their counters are there from the start, so that their first refusal is seen
/// as an increase.
const REFUSED: [ProblemId; 16] = [
    ProblemId::EventTypeDoesNotExist,
    ProblemId::EventInvalidPayloadContentType,
    ProblemId::EventInvalidBase64Payload,
    ProblemId::EventInvalidJsonPayload,
    ProblemId::LabelsAmbiguity,
    ProblemId::AuthInvalidAuthorizationHeader,
    ProblemId::JsonPayload,
    ProblemId::AuthNoAuthorizationHeader,
    ProblemId::AuthInvalidBiscuit,
    ProblemId::Forbidden,
    ProblemId::NotFound,
    ProblemId::Validation,
    ProblemId::EventAlreadyIngested,
    ProblemId::TooManyEventsToday,
    ProblemId::RateLimited,
    ProblemId::ServiceUnavailable,
];

/// Metrics of the role, `hookbus_gateway_*`.
#[derive(Clone, Debug)]
pub(crate) struct GatewayMetrics {
    /// Events acknowledged by Kafka.
    pub(crate) accepted: IntCounter,
    /// Payload bytes of accepted events.
    pub(crate) accepted_bytes: IntCounter,
    /// Events and requests refused, by problem id.
    refused: IntCounterVec,
    /// All of them together.
    refusals: Arc<AtomicU64>,
    /// Events and requests answered with a 503, by reason.
    unavailable: IntCounterVec,
    /// From handing a record to the producer to its acknowledgement.
    pub(crate) produce_seconds: Histogram,
    /// Of the listener.
    pub(crate) server: ServerMetrics,
    /// Clients of Kafka that failed for good and were replaced.
    pub(crate) producers_replaced: IntCounter,
    /// Times the catalog was brought up to date before a refusal.
    pub(crate) rechecks: IntCounter,
    /// Requests passed on to the control plane, by what came of it.
    forwarded: IntCounterVec,
    /// Gateways that share the limits: as configured, or as this one counts them.
    pub(crate) replicas: IntGauge,
}

/// What came of a request that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForwardOutcome {
    /// The control plane answered, whatever.
    Answered,
    /// Nobody took it.
    Unreachable,
    /// No answer came in time.
    TimedOut,
    /// Too many were under way.
    Overloaded,
}

// === impl ForwardOutcome ===

impl ForwardOutcome {
    const ALL: [Self; 4] = [Self::Answered, Self::Unreachable, Self::TimedOut, Self::Overloaded];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Overloaded => "overloaded",
        }
    }
}

// === impl GatewayMetrics ===

impl GatewayMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "gateway");
        Ok(Self {
            accepted: metrics.counter("accepted_total", "Events acknowledged by Kafka.")?,
            accepted_bytes: metrics.counter("accepted_bytes_total", "Payload bytes of accepted events.")?,
            refused: {
                let help = "Events and requests refused, by problem id.";
                metrics.counters_of("refused_total", help, "problem", REFUSED.iter().map(|problem| problem.as_str()))?
            },
            refusals: Arc::default(),
            unavailable: {
                let help = "Events and requests answered with a 503, by reason.";
                metrics.counters_of("unavailable_total", help, "reason", UNAVAILABLE)?
            },
            produce_seconds: metrics.histogram(
                "produce_seconds",
                "From handing a record to the producer to its acknowledgement.",
                LATENCY_SECONDS,
            )?,
            server: ServerMetrics::new(&metrics)?,
            producers_replaced: metrics
                .counter("producers_replaced_total", "Clients of Kafka that failed for good and were replaced.")?,
            rechecks: metrics
                .counter("rechecks_total", "Times the catalog was brought up to date before a refusal.")?,
            replicas: metrics
                .gauge("replicas", "Gateways that share the limits: as configured, or as this one counts them.")?,
            forwarded: {
                let help = "Requests passed on to the control plane, by what came of it.";
                metrics.counters_of(
                    "forwarded_total",
                    help,
                    "outcome",
                    ForwardOutcome::ALL.map(ForwardOutcome::name),
                )?
            },
        })
    }

    /// Counts a refusal.
    pub(crate) fn refuse(&self, refused: &Problem) {
        self.refused.with_label_values(&[refused.id]).inc();
        self.refusals.fetch_add(1, Ordering::Relaxed);
        if refused.status == 503 {
            self.unavailable.with_label_values(&[reason(refused.code)]).inc();
        }
    }

    /// Counts a request that was passed on. What is answered there with a 503 is no event that was refused.
    pub(crate) fn forwarded(&self, outcome: ForwardOutcome) {
        self.forwarded.with_label_values(&[outcome.name()]).inc();
    }

    /// Events and requests answered with a 503 since the start, by reason.
    pub(crate) fn unavailable(&self) -> BTreeMap<&'static str, u64> {
        UNAVAILABLE.map(|reason| (reason, self.unavailable.with_label_values(&[reason]).get())).into()
    }

    /// Everything refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }
}

fn reason(code: Option<Code>) -> &'static str {
    match code {
        Some(Code::CatalogBehind) => "catalog_behind",
        Some(Code::KafkaUnavailable) => "kafka_unavailable",
        Some(Code::Overloaded) => "overloaded",
        // Only the ones above stand beside a 503 today; another one is counted all the same.
        _other => "other",
    }
}
