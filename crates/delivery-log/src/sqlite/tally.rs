//! What new rows of a day add to its counts: the minutes of subscriptions, and the events of applications.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::fact::{Fact, FactKind, Kinds};
use crate::histogram::Histogram;

/// What new rows add to the minutes of subscriptions and to the events of applications.
#[derive(Default)]
pub(super) struct NewCounts {
    /// By subscription or application, and minute.
    minutes: BTreeMap<(i64, i64), Minute>,
    events: BTreeMap<i64, i64>,
}

#[derive(Default)]
struct Minute {
    application: i64,
    delivered: i64,
    retried: i64,
    dead_lettered: i64,
    cancelled: i64,
    settled: i64,
    latency: Histogram,
}

// === impl NewCounts ===

impl NewCounts {
    /// An event of an application.
    pub(super) fn event(&mut self, application: i64) {
        *self.events.entry(application).or_default() += 1;
    }

    /// A fact of a subscription of an application, in a minute of the day.
    pub(super) fn fact(&mut self, (subscription, application): (i64, i64), minute: i64, fact: &Fact) {
        if !Kinds::ATTEMPTS.has(fact.kind) && !Kinds::SETTLED.has(fact.kind) {
            return;
        }
        for owner in [subscription, application] {
            let counts = self.minutes.entry((owner, minute)).or_default();
            counts.application = application;
            counts.fact(fact);
        }
    }

    /// Adds all of it to what the file has.
    pub(super) fn write(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut find = transaction.prepare_cached("SELECT latency FROM buckets WHERE owner = ?1 AND minute = ?2")?;
        let mut add = transaction.prepare_cached(
            "INSERT INTO buckets VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET
                delivered = delivered + ?4, retried = retried + ?5, dead_lettered = dead_lettered + ?6,
                cancelled = cancelled + ?7, settled = settled + ?8, latency = ?9",
        )?;
        for ((owner, minute), mut new) in self.minutes {
            let known: Option<Vec<u8>> = find.query_row([owner, minute], |row| row.get(0)).optional()?;
            if let Some(known) = known.as_deref().and_then(Histogram::decode) {
                new.latency.merge(&known);
            }
            let Minute { application, delivered, retried, dead_lettered, cancelled, settled, latency } = new;
            let counts = params![
                owner,
                minute,
                application,
                delivered,
                retried,
                dead_lettered,
                cancelled,
                settled,
                latency.encode()
            ];
            add.execute(counts)?;
        }
        let mut add = transaction
            .prepare_cached("INSERT INTO accepted VALUES(?1, ?2) ON CONFLICT DO UPDATE SET events = events + ?2")?;
        for (application, events) in self.events {
            add.execute([application, events])?;
        }
        Ok(())
    }
}

// === impl Minute ===

impl Minute {
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
