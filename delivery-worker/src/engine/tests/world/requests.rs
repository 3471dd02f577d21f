//! Requests, and what endpoints answer.

use std::cmp::Reverse;
use std::sync::Arc;

use ::kafka::Epoch;
use catalog::Subscription;
use rand::Rng;
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::lanes::PendingRetry;
use schemas::ordering::OrderingKey;

use super::{CAP, World};
use crate::classify::{AttemptVerdict, NoAnswer, answered, unanswered};
use crate::engine::{Dispatch, KeyEnd, Landed};
use crate::flaws::{self, Flaw};
use crate::lanes::streak::Failed;
use crate::slots::Ticket;
use crate::work::LaneNote;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Endpoint {
    Fast,
    /// Answers after as many ms.
    Takes(i64),
    Slow,
    Dead,
    /// Fails at once.
    Down,
    Busy,
    Flaky,
    /// This worker lacks a key of the vault.
    Unsigned,
    /// This worker lacks what a connection needs.
    Unconnected,
    /// Nobody is there.
    Unreachable,
}

/// A request under way.
pub(in super::super) struct Flight {
    pub(in super::super) ticket: Ticket,
    pub(in super::super) subscription: Arc<Subscription>,
    pub(in super::super) delivery: DeliveryId,
    lease: Epoch,
    pub(in super::super) verdict: AttemptVerdict,
    pub(in super::super) elapsed: i64,
}

impl World {
    pub(super) fn verdict(&mut self, id: SubscriptionId) -> (AttemptVerdict, i64) {
        let status = |code: u16| answered(http::StatusCode::from_u16(code).unwrap(), &http::HeaderMap::new(), 0);
        match self.endpoints[&id] {
            Endpoint::Fast => (AttemptVerdict::Delivered, self.rng.random_range(1..8)),
            Endpoint::Takes(ms) => (AttemptVerdict::Delivered, ms),
            Endpoint::Slow => (AttemptVerdict::Delivered, self.rng.random_range(1_500..4_000)),
            Endpoint::Dead => (unanswered(NoAnswer::Timeout), 15_000),
            Endpoint::Down => (status(503), 5),
            Endpoint::Busy if self.rng.random_bool(0.5) => (status(429), 20),
            Endpoint::Busy => (AttemptVerdict::Delivered, 20),
            Endpoint::Flaky if self.rng.random_bool(0.3) => (status(500), 30),
            Endpoint::Flaky => (AttemptVerdict::Delivered, 30),
            Endpoint::Unsigned => (unanswered(NoAnswer::Unsigned), 1),
            Endpoint::Unconnected => (unanswered(NoAnswer::Local), 1),
            Endpoint::Unreachable => (unanswered(NoAnswer::Connect), 20),
        }
    }

    pub(super) fn fly(&mut self, dispatch: Dispatch) {
        let Dispatch { ticket, delivery, subscription } = dispatch;
        let id = delivery.subscription;
        let offset = self.engine.offset_of(ticket).unwrap();
        assert!(delivery.hop.due_ms <= self.now, "seed {}: early", self.seed);
        assert!(!subscription.is_paused(), "seed {}: sent while paused", self.seed);
        assert!(!subscription.cancels(delivery.control_offset), "seed {}: sent though cancelled", self.seed);
        assert!(!subscription.skips(delivery.id), "seed {}: sent though given up", self.seed);
        assert!(delivery.deadline_ms > self.now, "seed {}: sent though too old", self.seed);
        let in_lane = self.flying.values().filter(|flight| flight.subscription.id() == id).count();
        assert!(in_lane < CAP as usize, "seed {}: cap exceeded", self.seed);
        // What an owner that lost its lease had begun is nobody's any more, and may be sent again.
        let own = self.flying.values().filter(|flight| flight.lease == self.epoch);
        let flying = own.map(|flight| flight.delivery);
        self.ledger.check_order(&delivery, &subscription, flying);
        self.ledger.sent(&delivery, offset);
        if delivery.hop.attempt == 1 {
            self.started.insert(id, self.now);
            self.latest = self.latest.max(self.now - self.ledger.written_ms(offset));
        }
        let (verdict, elapsed) = match self.refused_key {
            Some(key) if delivery.ordering_key == Some(key) => {
                (answered(http::StatusCode::INTERNAL_SERVER_ERROR, &http::HeaderMap::new(), 0), 5)
            }
            _ => self.verdict(id),
        };
        self.flown += 1;
        self.flights.push(Reverse((self.now + elapsed, self.flown)));
        self.flying.insert(
            self.flown,
            Flight { ticket, subscription, delivery: delivery.id, lease: self.epoch, verdict, elapsed },
        );
    }

    pub(super) fn land(&mut self) {
        while let Some(Reverse((at, flight))) = self.flights.peek().copied() {
            if at > self.now {
                return;
            }
            self.flights.pop();
            let Some(flight) = self.flying.remove(&flight) else { continue };
            // The worker is short of CPU now and then; what it measures must be the endpoint's time alone.
            let lag = if flaws::has(Flaw::WorkersLagMeasured) { 20_000 } else { 0 };
            let landed = self.engine.outcome(flight.ticket, &flight.verdict, flight.elapsed + lag, self.now);
            let Some(Landed { arrival, failed, is_listed, is_cut_off, .. }) = landed else { continue };
            self.reported.extend(failed.filter(|failed| failed.is_due).map(|_| self.now));
            let since = failed.map(|failed: Failed| failed.since_ms).or(arrival.delivery.hop.failing_since_ms);
            let end = if is_cut_off {
                self.rules.deferred(&arrival.delivery, self.now)
            } else {
                self.rules.after(&flight.verdict, &arrival.delivery, since, &flight.subscription, self.now)
            };
            self.ledger.attempted(&arrival.delivery, &end);
            let retry = end.retry().map(|hop| PendingRetry::new(arrival.offset, hop.attempt, hop.due_ms));
            let of_key = self.engine.end_of_key(&arrival, retry, self.now);
            if of_key != KeyEnd::Untold {
                self.put_changes();
            }
            let note = LaneNote::sent(arrival.delivery.subscription, is_listed, of_key.held());
            self.resolve(&arrival, note, &end);
        }
    }

    /// Every endpoint refuses this key until it is healed.
    pub(in super::super) fn refuse_key(&mut self, key: u64) {
        self.refused_key = Some(OrderingKey(key));
    }

    pub(in super::super) fn heal(&mut self) {
        self.refused_key = None;
        for endpoint in self.endpoints.values_mut() {
            *endpoint = Endpoint::Fast;
        }
    }
}
