//! What new rows of a day add to its counts: the minutes of subscriptions, the events of applications, and what has ended of generations.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::ended;
use crate::fact::{Fact, FactKind, Kinds};
use crate::histogram::Histogram;

/// What new rows add to the minutes of subscriptions and to the events of applications.
#[derive(Default)]
pub(crate) struct NewCounts {
    /// By subscription or application, and minute.
    pub(crate) minutes: BTreeMap<(i64, i64), NewMinute>,
    /// By application.
    pub(crate) events: BTreeMap<i64, i64>,
    /// By generation and subscription: the application, and how many deliveries have ended.
    pub(crate) ended: BTreeMap<(Uuid, i64), (i64, i64)>,
}

/// What a minute has counted.
#[derive(Default)]
pub(crate) struct NewMinute {
    pub(crate) application: i64,
    pub(crate) delivered: i64,
    pub(crate) retried: i64,
    pub(crate) dead_lettered: i64,
    pub(crate) cancelled: i64,
    pub(crate) settled: i64,
    pub(crate) latency: Histogram,
}

// === impl NewCounts ===

impl NewCounts {
    /// An event of an application.
    pub(crate) fn event(&mut self, application: i64) {
        *self.events.entry(application).or_default() += 1;
    }

    /// A fact of a subscription of an application, in a minute of the day.
    pub(crate) fn fact(&mut self, (subscription, application): (i64, i64), minute: i64, fact: &Fact) {
        if let Some(generation) = ended::generation(fact) {
            self.ended.entry((generation, subscription)).or_insert((application, 0)).1 += 1;
        }
        if !Kinds::ATTEMPTS.has(fact.kind) && !Kinds::SETTLED.has(fact.kind) {
            return;
        }
        for owner in [subscription, application] {
            let counts = self.minutes.entry((owner, minute)).or_default();
            counts.application = application;
            counts.fact(fact);
        }
    }
}

// === impl NewMinute ===

impl NewMinute {
    fn fact(&mut self, fact: &Fact) {
        let is = |kind| i64::from(fact.kind == kind);
        self.delivered += is(FactKind::Delivered);
        self.retried += is(FactKind::Attempted);
        self.dead_lettered += is(FactKind::DeadLettered);
        self.cancelled += is(FactKind::Cancelled);
        self.settled += i64::from(Kinds::SETTLED.has(fact.kind));
        // Of one that was tried once its request is counted, and that it did not deliver follows.
        if let Some(exchange) = &fact.exchange {
            self.latency.record(exchange.elapsed_ms);
        }
    }
}
