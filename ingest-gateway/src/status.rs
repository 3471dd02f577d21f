//! What the role tells `status`: whether it takes events, why not, and how many.
//!
//! A gateway that is asked nothing answers nothing, so what it says about its refusals is what it did in the last seconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use catalog::Catalog;
use chassis::clock;
use chassis::config::Role;
use chassis::shutdown::Shutdown;
use chassis::status::{Facts, Teller, TellerOptions};
use schemas::status::GatewayHealth;

use crate::Deps;
use crate::metrics::GatewayMetrics;

/// Between two looks: as often as `status` is told.
const EVERY: Duration = Duration::from_secs(5);
/// The first look comes soon after the start, so that a gateway that waits says so.
const FIRST: Duration = Duration::from_millis(500);

/// Tells until the gateway has ended.
pub(crate) struct StatusReporter {
    teller: Teller,
    metrics: GatewayMetrics,
    catalog: Catalog,
    shutdown: Shutdown,
}

/// What the counters said at the last look. Pure.
#[derive(Debug, Default)]
struct GatewayPulse {
    looked: Option<Instant>,
    counted: Totals,
}

/// What is counted, since the start.
#[derive(Clone, Debug, Default)]
struct Totals {
    accepted: u64,
    refused: u64,
    /// Answers with a 503, by reason.
    unavailable: BTreeMap<&'static str, u64>,
}

/// Where the gateway is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The catalog has not caught up: everything is a 503.
    Starting,
    /// Events are taken.
    Serving,
    /// What is in flight is answered, nothing new is taken.
    Draining,
}

// === impl StatusReporter ===

impl StatusReporter {
    /// Makes the teller, which tells until it ends.
    pub(crate) fn new(deps: &Deps, metrics: GatewayMetrics, shutdown: Shutdown) -> Self {
        let teller = Teller::start(TellerOptions::of(Role::Gateway, &deps.connection, &deps.topics, &deps.kafka));
        Self { teller, metrics, catalog: deps.catalog.clone(), shutdown }
    }

    /// Tells while `serving` goes on, and takes it back at its end.
    pub(crate) async fn during(self, serving: impl Future<Output = ()>) {
        let mut pulse = GatewayPulse::default();
        let mut serving = std::pin::pin!(serving);
        let mut caught_up = std::pin::pin!(self.catalog.caught_up());
        let mut phase = Phase::Starting;
        let mut wait = FIRST;
        loop {
            tokio::select! {
                biased;
                () = serving.as_mut() => break,
                () = self.shutdown.requested(), if phase != Phase::Draining => phase = Phase::Draining,
                () = caught_up.as_mut(), if phase == Phase::Starting => phase = Phase::Serving,
                () = tokio::time::sleep(wait) => wait = EVERY,
            }
            let facts = pulse.health(self.counted(), phase, clock::instant());
            let gateway = GatewayHealth {
                connections: count(self.metrics.server.connections.get()),
                position: self.catalog.position(),
                ..facts
            };
            self.teller.tell(Facts {
                in_flight: count(self.metrics.server.requests.get()),
                gateway: Some(gateway),
                ..Facts::default()
            });
        }
        self.teller.end().await;
    }

    fn counted(&self) -> Totals {
        Totals {
            accepted: self.metrics.accepted.get(),
            refused: self.metrics.refused(),
            unavailable: self.metrics.unavailable(),
        }
    }
}

// === impl GatewayPulse ===

impl GatewayPulse {
    /// What happened since the last look.
    fn health(&mut self, counted: Totals, phase: Phase, now: Instant) -> GatewayHealth {
        let before = std::mem::replace(&mut self.counted, counted);
        let elapsed_ms = self.looked.replace(now).map_or(0, |at| now.saturating_duration_since(at).as_millis()).max(1);
        let per_second = |now: u64, before: u64| {
            u64::try_from(u128::from(now.saturating_sub(before)) * 1_000 / elapsed_ms).unwrap_or(u64::MAX)
        };
        let (accepted, refused) = (self.counted.accepted, self.counted.refused);
        let reasons = self.counted.unavailable.iter();
        let lately = reasons.filter(|(reason, count)| **count > before.unavailable.get(*reason).copied().unwrap_or(0));
        let lately: Vec<String> = lately.map(|(reason, _)| (*reason).to_owned()).collect();
        let (accepting, why) = match phase {
            Phase::Starting => (false, vec!["starting".to_owned()]),
            Phase::Draining => (false, vec!["draining".to_owned()]),
            // Some refused beside some accepted: it takes events, and not all is well.
            Phase::Serving => (lately.is_empty() || accepted > before.accepted, lately),
        };
        GatewayHealth {
            accepting,
            why,
            accepted_per_second: per_second(accepted, before.accepted),
            refused_per_second: per_second(refused, before.refused),
            ..GatewayHealth::default()
        }
    }
}

fn count(gauge: i64) -> u64 {
    u64::try_from(gauge).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepted, refused, of these for Kafka's sake.
    fn counted(accepted: u64, refused: u64, kafka: u64) -> Totals {
        Totals { accepted, refused, unavailable: BTreeMap::from([("kafka_unavailable", kafka), ("overloaded", 0)]) }
    }

    #[test]
    fn it_accepts_until_all_it_is_asked_is_refused_for_a_reason_of_its_own() {
        let (mut pulse, begin) = (GatewayPulse::default(), clock::instant());
        let mut looks = 0;
        let mut look = |counted, phase| {
            looks += 1;
            pulse.health(counted, phase, begin + EVERY * looks)
        };
        let starting = look(counted(0, 0, 0), Phase::Starting);
        assert_eq!((starting.accepting, starting.why), (false, vec!["starting".to_owned()]));
        assert!(look(counted(0, 0, 0), Phase::Serving).accepting, "who is asked nothing refuses nothing");
        let busy = look(counted(50, 10, 0), Phase::Serving);
        assert_eq!((busy.accepting, busy.why.len()), (true, 0), "a client's mistake is not its own");
        assert_eq!((busy.accepted_per_second, busy.refused_per_second), (10, 2));
        let why = vec!["kafka_unavailable".to_owned()];
        let mixed = look(counted(51, 15, 5), Phase::Serving);
        assert_eq!((mixed.accepting, &mixed.why), (true, &why));
        let refusing = look(counted(51, 20, 10), Phase::Serving);
        assert_eq!((refusing.accepting, &refusing.why), (false, &why));
        let again = look(counted(52, 20, 10), Phase::Serving);
        assert_eq!((again.accepting, again.why.len()), (true, 0), "what is over is not told any more");
        assert_eq!(look(counted(52, 20, 10), Phase::Draining).why, ["draining"]);
    }
}
