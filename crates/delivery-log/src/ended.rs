//! How many deliveries of a generation have ended, by subscription: what a job has under way is what it wrote without these.

use std::collections::BTreeMap;

use schemas::delivery::MadeBy;
use schemas::ids::{ApplicationId, SubscriptionId};
use uuid::Uuid;

use crate::day::Day;
use crate::fact::Fact;

/// Which ends are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedQuery {
    /// Whose.
    pub application: ApplicationId,
    /// Of this generation.
    pub generation: Uuid,
    /// Of these subscriptions each is told by itself.
    pub subscriptions: Vec<SubscriptionId>,
    /// Not before this day.
    pub since: Day,
}

/// What has ended of a generation on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedOnDay {
    /// The day of the records that say so.
    pub day: Day,
    /// Deliveries of all subscriptions.
    pub all: u64,
    /// Those of the subscriptions that were asked for.
    pub of: BTreeMap<SubscriptionId, u64>,
}

/// The generation whose end a fact tells, if it tells the end of a delivery that a job has made. Each ping is a generation of its own, and
/// nobody asks how many of it have ended.
pub(crate) fn generation(fact: &Fact) -> Option<Uuid> {
    let is_ping = fact.made_by.as_deref() == Some(MadeBy::Ping.as_str());
    fact.generation.filter(|_| fact.kind.is_terminal() && !is_ping)
}

// === impl EndedOnDay ===

impl EndedOnDay {
    /// A day of which nothing was counted yet.
    pub(crate) fn new(day: Day) -> Self {
        Self { day, all: 0, of: BTreeMap::new() }
    }

    /// So many of a subscription have ended.
    pub(crate) fn add(&mut self, subscription: SubscriptionId, count: i64, is_asked: bool) {
        self.all += count.unsigned_abs();
        if is_asked {
            *self.of.entry(subscription).or_default() += count.unsigned_abs();
        }
    }
}
