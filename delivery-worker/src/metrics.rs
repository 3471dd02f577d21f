//! The metrics of this worker.

mod endpoints;

use chassis::metrics::{Gauge, Histogram, IntCounter, IntGauge, LATENCY_SECONDS, Metrics, MetricsError};
use prometheus::Registry;
use schemas::dead_letter::{DeathReason, REASONS};

use crate::classify::AttemptVerdict;

pub(crate) use self::endpoints::EndpointMetrics;

/// The metrics, under `hookbus_delivery_`; what every stage counts comes beside them.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryMetrics {
    /// Attempts by outcome.
    attempts: [IntCounter; 6],
    /// Dead letters by reason.
    dead_letters: Vec<IntCounter>,
    /// Deliveries that went from the window to their lane's list.
    pub(crate) listed: IntCounter,
    /// Listed deliveries that were read back.
    pub(crate) read_back: IntCounter,
    /// Listed deliveries whose record was not there any more.
    pub(crate) lost: IntCounter,
    /// Retries scheduled.
    pub(crate) retries: IntCounter,
    /// Deliveries cancelled.
    pub(crate) cancelled: IntCounter,
    /// Endpoints reported to be failing for longer than their subscription allows.
    pub(crate) failing: IntCounter,
    /// Records that are no delivery.
    pub(crate) rejected: IntCounter,
    /// Seconds from an event's acceptance to its delivery, by whether the first attempt delivered it or a later one.
    latency: [Histogram; 2],
    /// Seconds from an event's acceptance to the start of its first attempt; not of what was sent again.
    pub(crate) pickup: Histogram,
    /// Seconds that the delivery has waited that waits longest for its turn: it is due, its lane sends, and it is not in flight.
    pub(crate) waiting: Gauge,
    /// Requests that may be in flight.
    pub(crate) in_flight_limit: IntGauge,
    /// Seconds of one attempt.
    pub(crate) attempt: Histogram,
    /// Requests in flight.
    pub(crate) in_flight: IntGauge,
    /// Connections to endpoints, those being made included.
    pub(crate) connections: IntGauge,
    /// Deliveries in memory that stand in no list.
    pub(crate) live: IntGauge,
    /// Payloads of listed deliveries that are in memory, in bytes.
    pub(crate) queue_bytes: IntGauge,
    /// Subscriptions that are being served or were lately.
    pub(crate) lanes: IntGauge,
    /// Subscriptions whose circuit is open.
    pub(crate) open_circuits: IntGauge,
    /// Origins (scheme, host, port) whose circuit is open.
    pub(crate) open_origins: IntGauge,
    /// 1 while everything fails at once and intake holds.
    pub(crate) held: IntGauge,
    /// Records of deliveries that are not committed as done.
    pub(crate) lag_records: IntGauge,
    /// Age of the oldest record that is not committed as done, in seconds.
    pub(crate) lag_seconds: Gauge,
    /// Deliveries that wait in their lanes' lists: of busy lanes, of open circuits, of paused subscriptions.
    pub(crate) queued: [IntGauge; 3],
    /// Age of the oldest record that waits in a list, in seconds; 0 if none does.
    pub(crate) queued_seconds: Gauge,
}

impl DeliveryMetrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken.
    pub(crate) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let metrics = Metrics::new(registry, "delivery");
        let attempts = metrics.counters("attempts_total", "Attempts by outcome.", &["outcome"])?;
        let outcomes = ["delivered", "failed", "gone", "aborted", "refused", "unwritable"];
        let deaths = metrics.counters("dead_letters_total", "Dead letters by reason.", &["reason"])?;
        let queued = metrics.gauges(
            "queued",
            "Deliveries that wait in their lanes' lists, by what their lane does.",
            &["state"],
        )?;
        Ok(Self {
            attempts: outcomes.map(|outcome| attempts.with_label_values(&[outcome])),
            dead_letters: REASONS.map(|reason| deaths.with_label_values(&[reason.as_str()])).to_vec(),
            listed: metrics.counter("listed_total", "Deliveries that went from the window to their lane's list.")?,
            read_back: metrics.counter("read_back_total", "Listed deliveries that were read back.")?,
            lost: metrics.counter("queued_lost_total", "Listed deliveries whose record was not there any more.")?,
            queued: ["busy", "circuit", "paused"].map(|state| queued.with_label_values(&[state])),
            queued_seconds: metrics.fraction(
                "queued_seconds",
                "Age of the oldest record that waits in a list, in seconds; 0 if none does.",
            )?,
            retries: metrics.counter("retries_total", "Retries scheduled.")?,
            cancelled: metrics.counter("cancelled_total", "Deliveries cancelled.")?,
            failing: metrics.counter(
                "failing_total",
                "Endpoints reported to be failing for longer than their subscription allows.",
            )?,
            rejected: metrics.counter("rejected_total", "Records that are no delivery.")?,
            latency: {
                let help =
                    "Seconds from an event's acceptance to its delivery, by whether the first attempt delivered it or a later one.";
                let latency = metrics.histograms("latency_seconds", help, &["attempt"], LATENCY_SECONDS)?;
                ["first", "later"].map(|attempt| latency.with_label_values(&[attempt]))
            },
            pickup: metrics.histogram(
                "pickup_seconds",
                "Seconds from an event's acceptance to the start of its first attempt; not of what was sent again.",
                LATENCY_SECONDS,
            )?,
            waiting: metrics.fraction(
                "waiting_seconds",
                "Seconds that the delivery has waited that waits longest for its turn: it is due, its lane sends, and it is not in flight.",
            )?,
            in_flight_limit: metrics.gauge("in_flight_limit", "Requests that may be in flight.")?,
            attempt: metrics.histogram("attempt_seconds", "Seconds of one attempt.", LATENCY_SECONDS)?,
            in_flight: metrics.gauge("in_flight", "Requests in flight.")?,
            connections: metrics.gauge("connections", "Connections to endpoints, those being made included.")?,
            live: metrics.gauge("live_deliveries", "Deliveries in memory that stand in no list.")?,
            queue_bytes: metrics.gauge("queue_bytes", "Payloads of listed deliveries that are in memory, in bytes.")?,
            lanes: metrics.gauge("lanes", "Subscriptions that are being served or were lately.")?,
            open_circuits: metrics.gauge("open_circuits", "Subscriptions whose circuit is open.")?,
            open_origins: metrics.gauge("open_origins", "Origins (scheme, host, port) whose circuit is open.")?,
            held: metrics.gauge("egress_held", "1 while everything fails at once and intake holds.")?,
            lag_records: metrics.gauge("lag_records", "Records of deliveries that are not committed as done.")?,
            lag_seconds: metrics
                .fraction("lag_seconds", "Age of the oldest record that is not committed as done, in seconds.")?,
        })
    }

    /// An attempt ended.
    pub(crate) fn attempted(&self, verdict: &AttemptVerdict, seconds: f64) {
        let [delivered, failed, gone, aborted, refused, unwritable] = &self.attempts;
        let counter = match verdict {
            AttemptVerdict::Delivered => delivered,
            AttemptVerdict::Failed(_) => failed,
            AttemptVerdict::Gone(_) => gone,
            AttemptVerdict::Aborted => aborted,
            AttemptVerdict::Refused(_) => refused,
            AttemptVerdict::Unwritable(_) => unwritable,
        };
        counter.inc();
        self.attempt.observe(seconds);
    }

    /// A delivery got through at this attempt, so long after its event was accepted.
    pub(crate) fn delivered(&self, attempt: u32, seconds: f64) {
        let [first, later] = &self.latency;
        if attempt <= 1 { first } else { later }.observe(seconds);
    }

    /// A delivery died.
    pub(crate) fn died(&self, reason: DeathReason) {
        if let Some(at) = REASONS.iter().position(|known| *known == reason) {
            self.dead_letters[at].inc();
        }
    }
}
