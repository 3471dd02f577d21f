//! Which of the matching subscriptions let an event through: their filters, evaluated. Pure.
//!
//! A subscription without a filter costs nothing here. With one it is evaluated against the event's facts, which all filters
//! of the event share: the payload is parsed once, and what all of them may cost together is bounded (crates/filter). A
//! filter that fails at run time is no match; that is counted, and said in a lifecycle record, at most one per subscription
//! and [`FAILURE_PERIOD`], and at most [`FAILURES_AT_ONCE`] per event: what is told of an event is one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use catalog::Subscription;
use chassis::limited::Limited;
use filter::Facts;
use filter::limits::EVENT_UNITS;
use schemas::event::StringMap;
use schemas::ids::SubscriptionId;

use crate::config::{COMPILE_UNITS, FAILURE_PERIOD, FAILURES_AT_ONCE};
use sources::Event;

/// What a filter's text that does not compile counts as: a newer build wrote it.
const UNCOMPILABLE: &str = "uncompilable";

/// Evaluates filters, and remembers whose failures were told lately.
#[derive(Debug)]
pub(crate) struct Filters {
    told: Limited<SubscriptionId>,
    failed: BTreeMap<&'static str, u64>,
}

/// A filter that failed, to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Whose it is.
    pub(crate) subscription: SubscriptionId,
    /// The word.
    pub(crate) reason: &'static str,
    /// The sentence, with how many more failed since the last one that was told.
    pub(crate) detail: String,
}

/// Filters that are evaluated together: what they may cost is bounded for all of them.
#[derive(Debug)]
pub(crate) struct FiltersAsked<'f, 'a> {
    filters: &'f mut Filters,
    now: Instant,
    facts: Facts<'a>,
    /// Units that compiling took.
    compiling: u64,
}

/// An event with what its filters see beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filtered<'a> {
    pub(crate) event: &'a Event<'a>,
    pub(crate) labels: &'a StringMap,
    /// When it was accepted, Unix ms.
    pub(crate) accepted_ms: i64,
    /// Now.
    pub(crate) now: Instant,
}

// === impl Filters ===

impl Filters {
    pub(crate) fn new() -> Self {
        Self { told: Limited::new(FAILURE_PERIOD), failed: BTreeMap::new() }
    }

    /// Keeps the subscriptions that let the event through. Returns the failures to tell.
    pub(crate) fn apply(&mut self, of: Filtered<'_>, subscriptions: &mut Vec<Arc<Subscription>>) -> Vec<Failure> {
        let (mut asked, mut failures) = (self.ask(of, EVENT_UNITS), Vec::new());
        subscriptions.retain(|subscription| asked.lets_through(subscription, &mut failures));
        failures
    }

    /// Asks filters one by one, with so many units left to all of them together.
    pub(crate) fn ask<'a>(&mut self, of: Filtered<'a>, units: u64) -> FiltersAsked<'_, 'a> {
        FiltersAsked { filters: self, now: of.now, facts: of.facts().with_units(units), compiling: 0 }
    }

    /// The failure to tell, if none of this subscription was told lately.
    fn failure(
        &mut self,
        subscription: SubscriptionId,
        reason: &'static str,
        detail: String,
        now: Instant,
    ) -> Option<Failure> {
        let untold = self.told.permit_at(&subscription, now)?;
        let detail = if untold == 0 { detail } else { format!("{detail} (and {untold} more failures before)") };
        Some(Failure { subscription, reason, detail })
    }

    /// How many filters failed since the last call, by reason.
    pub(crate) fn take_failed(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.failed)
    }
}

// === impl FiltersAsked ===

impl FiltersAsked<'_, '_> {
    /// Whether a subscription lets the event through. A failure is told, unless so many are.
    pub(crate) fn lets_through(&mut self, subscription: &Subscription, failures: &mut Vec<Failure>) -> bool {
        if subscription.is_filter_uncompiled() {
            self.compiling += COMPILE_UNITS;
        }
        let Some(filter) = subscription.filter() else { return true };
        let result = match filter {
            Ok(filter) => filter.matches(&self.facts).map_err(|error| (error.as_str(), error.to_string())),
            Err(error) => Err((UNCOMPILABLE, error.to_string())),
        };
        result.unwrap_or_else(|(reason, detail)| {
            *self.filters.failed.entry(reason).or_default() += 1;
            // What is not told now is told by one of the next events.
            if failures.len() < FAILURES_AT_ONCE {
                failures.extend(self.filters.failure(subscription.id(), reason, detail, self.now));
            }
            false
        })
    }

    /// The next filters are bounded anew, together.
    pub(crate) fn renew(&mut self) {
        self.facts.renew_units();
    }

    /// Units left to all filters together.
    pub(crate) fn left(&self) -> u64 {
        self.facts.units()
    }

    /// Units that all of it has taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.compiling.saturating_add(self.facts.taken())
    }
}

// === impl Filtered ===

impl<'a> Filtered<'a> {
    fn facts(&self) -> Facts<'a> {
        Facts::new(filter::Event {
            event_type: &self.event.event_type,
            id: &self.event.id,
            labels: self.labels,
            time: self.event.time.as_deref(),
            accepted_ms: self.accepted_ms,
            payload: &self.event.payload,
        })
    }
}
