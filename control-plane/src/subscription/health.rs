//! How a subscription is doing, as it is shown: what is known of its lane, put together. Pure.

use catalog::Subscription;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use schemas::lanes::HeldKey;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::time;
use crate::health::{LaneKnown, LaneSeen, LaneWord};
use crate::log::health::LoggedHealth;

/// How a subscription is doing. Null is unknown, or said to be so of nothing; a number is never a guess.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = SubscriptionHealth, example = json!({
    "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
    "subscription_id": "01a20186-21cb-7749-81d0-b27446f73332",
    "is_enabled": true,
    "is_paused": false,
    "disabled_reason": null,
    "as_of": "2026-11-22T10:30:00Z",
    "circuit": "open",
    "circuit_until": "2026-11-22T10:30:40Z",
    "held_until": null,
    "lane_window": 1,
    "in_flight": 0,
    "waiting": 1204,
    "queued": 1200,
    "held_deliveries": [],
    "oldest_waiting_at": "2026-11-22T10:20:00Z",
    "backlog_age_ms": 605_000,
    "failing_since": "2026-11-22T10:19:58Z",
    "last_success_at": "2026-11-22T10:19:57Z",
    "last_failure_at": "2026-11-22T10:29:57Z",
    "last_error": "timeout",
    "dead_letters_open": 3,
    "window": {
        "from": "2026-11-22T09:30:00Z", "to": "2026-11-22T10:30:00Z", "attempts": 12, "success_rate": 0.25,
        "retry_rate": 0.5, "latency_p50_ms": 21, "latency_p95_ms": 15_000,
    },
}))]
pub(crate) struct HealthShown {
    #[schema(value_type = Uuid)]
    application_id: ApplicationId,
    #[schema(value_type = Uuid)]
    subscription_id: SubscriptionId,
    /// Whether it matches events.
    is_enabled: bool,
    /// Whether its deliveries wait until it is resumed.
    is_paused: bool,
    /// Why it is disabled, where that is known.
    disabled_reason: Option<String>,
    /// When the delivery worker that sends for it last said how it is doing. Null: none has for two minutes, and what only a
    /// worker knows is unknown.
    as_of: Option<String>,
    /// Whether requests are sent. `half_open`: a probe is under way, or due.
    circuit: CircuitShown,
    /// When the next probe of an open circuit goes.
    circuit_until: Option<String>,
    /// Nothing is sent before, as the endpoint has asked with `Retry-After`.
    held_until: Option<String>,
    /// Requests it may have in flight now.
    lane_window: Option<u64>,
    /// Requests in flight.
    in_flight: Option<u64>,
    /// Deliveries that wait for their turn, `queued` included; not those that wait for the time of their retry.
    waiting: Option<u64>,
    /// Those of them that stand in its list on Kafka.
    queued: Option<u64>,
    /// Deliveries that have failed, and hold back those with the same ordering key until they have ended: the 256 that there may be. Each
    /// can be skipped, or its retry had at once.
    #[schema(value_type = Option<Vec<Uuid>>)]
    held_deliveries: Option<Vec<DeliveryId>>,
    /// When the oldest of those that wait was written. Null also where nothing waits.
    oldest_waiting_at: Option<String>,
    /// How long ago that was, ms.
    backlog_age_ms: Option<i64>,
    /// Since when every attempt has failed. Null also where the last one did not.
    failing_since: Option<String>,
    /// When the endpoint last took one, as far as that is remembered.
    last_success_at: Option<String>,
    /// When an attempt last failed. This and the next two are out of the delivery log, and absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure_at: Option<String>,
    /// What it failed with: a word such as `timeout`, or the status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// Deliveries that died, as far as the delivery log reaches back, and about which nobody has decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters_open: Option<u64>,
    /// How requests ended: in the last hour, or in what `window` says, as the delivery log has counted. Without one in the last
    /// minutes, as the worker tells; null where nothing was sent then.
    window: Option<EndsShown>,
}

/// How requests ended.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = SubscriptionHealthWindow)]
pub(crate) struct EndsShown {
    from: String,
    to: String,
    /// Requests that ended.
    attempts: u64,
    /// The share of them that delivered, 0 to 1. Null where none ended.
    success_rate: Option<f64>,
    /// The share of them after which another one follows. Absent, as the next two, without a delivery log, and where none ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_rate: Option<f64>,
    /// How long half of them took at most, within 5 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p50_ms: Option<i64>,
    /// How long 95 of 100 of them took at most, within 5 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p95_ms: Option<i64>,
}

/// What a circuit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SubscriptionCircuit)]
pub(crate) enum CircuitShown {
    Closed,
    Open,
    HalfOpen,
    Unknown,
}

/// What is known of a subscription's lane, put together. `held`: what its ordering keys wait for, where that is known.
pub(crate) fn health(
    subscription: &Subscription,
    known: LaneKnown,
    held: Option<Vec<HeldKey>>,
    now_ms: i64,
) -> HealthShown {
    let LaneKnown { record, word } = known;
    let lane = word.and_then(|word| word.lane);
    let told = match lane {
        Some(LaneWord::Told(told)) => Some(told),
        Some(LaneWord::AtRest) | None => None,
    };
    let is_at_rest = lane == Some(LaneWord::AtRest);
    let seen = record.unwrap_or_default();
    let queued = record.map(|seen| seen.queued);
    let (circuit, circuit_until) = circuit(record.filter(|_| word.is_some()), now_ms);
    // What a worker has in memory and what stands in the lists overlap; what stands there is surely waiting.
    let waiting = told.map(|told| told.waiting.max(seen.queued)).or_else(|| queued.filter(|_| is_at_rest));
    let oldest_ms = [told.and_then(|told| told.oldest_ms), seen.oldest_ms].into_iter().flatten().min();
    let failing_ms = told.and_then(|told| told.failing_since_ms).or(seen.failing_since_ms);
    let success_ms = told.and_then(|told| told.success_ms).max(seen.success_ms);
    let object = subscription.object();
    HealthShown {
        application_id: subscription.application(),
        subscription_id: subscription.id(),
        is_enabled: subscription.is_enabled(),
        is_paused: subscription.is_paused(),
        disabled_reason: object.disabled_reason,
        as_of: word.map(|word| time(word.at_ms)),
        circuit,
        circuit_until: circuit_until.map(time),
        held_until: seen.hold_until_ms.filter(|until_ms| *until_ms > now_ms).map(time),
        lane_window: told.map(|told| told.window).or(seen.window).map(u64::from),
        in_flight: told.map(|told| told.in_flight).or_else(|| is_at_rest.then_some(0)),
        waiting,
        queued,
        held_deliveries: held.map(|held| held.into_iter().map(|held| held.delivery).collect()),
        oldest_waiting_at: oldest_ms.map(time),
        backlog_age_ms: oldest_ms.map(|at_ms| (now_ms - at_ms).max(0)),
        failing_since: failing_ms.map(time),
        last_success_at: success_ms.map(time),
        last_failure_at: None,
        last_error: None,
        dead_letters_open: None,
        window: told.zip(word).map(|(told, word)| EndsShown {
            from: time(told.from_ms),
            to: time(word.at_ms),
            attempts: told.ended,
            success_rate: rate(told.succeeded, told.ended),
            retry_rate: None,
            latency_p50_ms: None,
            latency_p95_ms: None,
        }),
    }
}

impl HealthShown {
    /// With what the delivery log has counted, which reaches back further than a worker remembers.
    pub(crate) fn with_log(self, logged: LoggedHealth) -> Self {
        let window = logged.window;
        Self {
            last_success_at: logged.success_ms.map(time).or(self.last_success_at),
            last_failure_at: logged.failure_ms.map(time),
            last_error: logged.error,
            dead_letters_open: Some(logged.dead_letters),
            window: Some(EndsShown {
                from: time(logged.from_ms),
                to: time(logged.to_ms),
                attempts: window.attempts,
                success_rate: window.success_rate(),
                retry_rate: window.retry_rate(),
                latency_p50_ms: window.latency.quantile(500),
                latency_p95_ms: window.latency.quantile(950),
            }),
            ..self
        }
    }
}

/// What the record of a lane says of its circuit, and when the next probe goes.
fn circuit(record: Option<LaneSeen>, now_ms: i64) -> (CircuitShown, Option<i64>) {
    let Some(seen) = record else { return (CircuitShown::Unknown, None) };
    match seen.circuit {
        None => (CircuitShown::Closed, None),
        // A hold is waited for as well.
        Some(circuit) => match circuit.until_ms.max(seen.hold_until_ms.unwrap_or(0)) {
            until_ms if until_ms > now_ms => (CircuitShown::Open, Some(until_ms)),
            _ => (CircuitShown::HalfOpen, None),
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^52")]
fn rate(succeeded: u64, ended: u64) -> Option<f64> {
    (ended > 0).then(|| succeeded as f64 / ended as f64)
}

#[cfg(test)]
mod tests;
