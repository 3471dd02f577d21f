//! What new rows of a day add to its counts: the minutes of subscriptions, and the events of applications.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::fact::{Fact, FactKind};
use crate::histogram::Histogram;

/// What new rows add to the minutes of subscriptions and to the events of applications.
#[derive(Default)]
pub(super) struct NewCounts {
    minutes: BTreeMap<(i64, i64), Minute>,
    events: BTreeMap<i64, i64>,
}

#[derive(Default)]
struct Minute {
    delivered: i64,
    retried: i64,
    dead_lettered: i64,
    cancelled: i64,
    latency: Histogram,
}

// === impl NewCounts ===

impl NewCounts {
    /// An event of an application.
    pub(super) fn event(&mut self, application: i64) {
        *self.events.entry(application).or_default() += 1;
    }

    /// A fact of a subscription, in a minute of the day.
    pub(super) fn fact(&mut self, subscription: i64, minute: i64, fact: &Fact) {
        let mut count = |add: fn(&mut Minute) -> &mut i64| {
            *add(self.minutes.entry((subscription, minute)).or_default()) += 1;
        };
        match fact.kind {
            FactKind::Delivered => count(|it| &mut it.delivered),
            FactKind::Attempted => count(|it| &mut it.retried),
            FactKind::DeadLettered => count(|it| &mut it.dead_lettered),
            FactKind::Cancelled => count(|it| &mut it.cancelled),
            // Its request is counted below, and that it did not deliver follows.
            FactKind::TriedOnce => {}
            FactKind::Repeat
            | FactKind::Rejected
            | FactKind::FilterFailed
            | FactKind::Parked
            | FactKind::EndpointGone
            | FactKind::Failing
            | FactKind::Recovered
            | FactKind::Undeclared => return,
        }
        if let Some(exchange) = &fact.exchange {
            self.minutes.entry((subscription, minute)).or_default().latency.record(exchange.elapsed_ms);
        }
    }

    /// Adds all of it to what the file has.
    pub(super) fn write(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut find =
            transaction.prepare_cached("SELECT latency FROM buckets WHERE subscription = ?1 AND minute = ?2")?;
        let mut add = transaction.prepare_cached(
            "INSERT INTO buckets VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
                delivered = delivered + ?3, retried = retried + ?4, dead_lettered = dead_lettered + ?5,
                cancelled = cancelled + ?6, latency = ?7",
        )?;
        for ((subscription, minute), mut new) in self.minutes {
            let known: Option<Vec<u8>> = find.query_row([subscription, minute], |row| row.get(0)).optional()?;
            if let Some(known) = known.as_deref().and_then(Histogram::decode) {
                new.latency.merge(&known);
            }
            let counts = (new.delivered, new.retried, new.dead_lettered, new.cancelled);
            let latency = new.latency.encode();
            add.execute(params![subscription, minute, counts.0, counts.1, counts.2, counts.3, latency])?;
        }
        let mut add = transaction
            .prepare_cached("INSERT INTO accepted VALUES(?1, ?2) ON CONFLICT DO UPDATE SET events = events + ?2")?;
        for (application, events) in self.events {
            add.execute([application, events])?;
        }
        Ok(())
    }
}
