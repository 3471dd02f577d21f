//! What is asked of a log: filters, pages, and what an answer may cost.

use std::ops::RangeInclusive;

use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use uuid::Uuid;

use crate::day::Day;
use crate::fact::{Fact, Kinds, LoggedEvent};
use crate::position::RowPosition;

/// Entries of an index that a page looks at before it ends, wherever it is.
pub const PAGE_ENTRIES: usize = 20_000;
/// How long a page is looked for, ms, before it ends, wherever it is.
pub const PAGE_MS: u64 = 250;

/// Which way a list goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// Newest first.
    #[default]
    Descending,
    /// Oldest first.
    Ascending,
}

/// The part of a list that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOf {
    /// Which way.
    pub order: ListOrder,
    /// The row that it comes behind.
    pub after: Option<RowPosition>,
    /// Most rows.
    pub limit: usize,
}

/// Rows of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage<T> {
    /// In the list's order.
    pub rows: Vec<T>,
    /// What the next page comes behind; there is none behind the last. A page may be short, and empty, and have a next one: it
    /// ended because it had looked at too much.
    pub next: Option<RowPosition>,
}

/// From and to, Unix ms, both included. Times without a row are no error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The first.
    pub from_ms: Option<i64>,
    /// The last.
    pub to_ms: Option<i64>,
}

/// What a list of facts is about, inside its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Everything.
    All,
    /// One subscription.
    Subscription(SubscriptionId),
    /// One event, by the UUID of its identity.
    Event(Uuid),
    /// One delivery.
    Delivery(DeliveryId),
}

/// Which facts; sorted by the Kafka timestamp of their records.
#[derive(Clone, Debug)]
pub struct FactQuery {
    /// Of which application.
    pub application: ApplicationId,
    /// About what.
    pub subject: Subject,
    /// Of this subscription, whatever they are about.
    pub subscription: Option<SubscriptionId>,
    /// Of which kinds.
    pub kinds: Kinds,
    /// With a type that one of these matches; empty is any.
    pub types: Vec<EventTypePattern>,
    /// With an answer whose status is one of these.
    pub status: Option<RangeInclusive<u16>>,
    /// With this error word.
    pub error: Option<String>,
    /// With this reason.
    pub reason: Option<String>,
    /// Of a generation that was made by this.
    pub made_by: Option<String>,
    /// Stored within these times.
    pub times: Times,
    /// Which part of the list.
    pub page: PageOf,
}

/// Which events; sorted by when they were accepted within the day in which they were matched.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// Of which application.
    pub application: ApplicationId,
    /// With a type that one of these matches; empty is any.
    pub types: Vec<EventTypePattern>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// With this source.
    pub source: Option<String>,
    /// Accepted within these times.
    pub times: Times,
    /// Which part of the list.
    pub page: PageOf,
}

/// How one event is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventName {
    /// By the UUID of its identity.
    Uuid(Uuid),
    /// By its id, from a source that is not the gateway.
    Id(String),
}

/// One day of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySummary {
    /// Which.
    pub day: Day,
    /// Rows that it has.
    pub rows: u64,
    /// Bytes that its files take.
    pub bytes: u64,
}

// === impl PageOf ===

impl PageOf {
    /// The first page of the newest rows.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self { order: ListOrder::Descending, after: None, limit }
    }
}

// === impl Times ===

impl Times {
    /// Whether a time is within them.
    #[must_use]
    pub fn has(&self, ms: i64) -> bool {
        self.from_ms.is_none_or(|from| ms >= from) && self.to_ms.is_none_or(|to| ms <= to)
    }
}

// === impl FactQuery ===

impl FactQuery {
    /// All facts of an application, newest first.
    #[must_use]
    pub fn of(application: ApplicationId, limit: usize) -> Self {
        Self {
            application,
            subject: Subject::All,
            subscription: None,
            kinds: Kinds::ALL,
            types: Vec::new(),
            status: None,
            error: None,
            reason: None,
            made_by: None,
            times: Times::default(),
            page: PageOf::newest(limit),
        }
    }

    /// Whether a fact is one of these, wherever it stands: what every store has to agree with.
    #[must_use]
    pub fn matches(&self, fact: &Fact) -> bool {
        let is_subject = match self.subject {
            Subject::All => true,
            Subject::Subscription(id) => fact.subscription == Some(id),
            Subject::Event(id) => fact.event == Some(id),
            Subject::Delivery(id) => fact.delivery == Some(id),
        };
        fact.application == Some(self.application) && is_subject && self.admits(fact)
    }

    /// As [`Self::matches`] for a fact that is known to be of the application and the subject.
    #[must_use]
    pub fn admits(&self, fact: &Fact) -> bool {
        let exchange = fact.exchange.as_ref();
        let status = exchange.and_then(|it| it.status);
        self.kinds.has(fact.kind)
            && self.subscription.is_none_or(|id| fact.subscription == Some(id))
            && self.times.has(fact.stored_ms)
            && (self.types.is_empty() || fact.event_type.as_ref().is_some_and(|name| matches(&self.types, name)))
            && self.status.as_ref().is_none_or(|wanted| status.is_some_and(|status| wanted.contains(&status)))
            && self.error.as_ref().is_none_or(|wanted| exchange.and_then(|it| it.error.as_ref()) == Some(wanted))
            && self.reason.as_ref().is_none_or(|wanted| fact.reason.as_ref() == Some(wanted))
            && self.made_by.as_ref().is_none_or(|wanted| fact.made_by.as_ref() == Some(wanted))
    }
}

// === impl EventQuery ===

impl EventQuery {
    /// All events of an application, newest first.
    #[must_use]
    pub fn of(application: ApplicationId, limit: usize) -> Self {
        Self {
            application,
            types: Vec::new(),
            labels: Vec::new(),
            source: None,
            times: Times::default(),
            page: PageOf::newest(limit),
        }
    }

    /// Whether an event is one of these: what every store has to agree with.
    #[must_use]
    pub fn matches(&self, event: &LoggedEvent) -> bool {
        event.application == self.application
            && self.times.has(event.accepted_ms)
            && (self.types.is_empty() || matches(&self.types, &event.event_type))
            && self.source.as_ref().is_none_or(|wanted| self.has_source(event, wanted))
            && self.has_labels(event)
    }

    fn has_source(&self, event: &LoggedEvent, wanted: &str) -> bool {
        match &event.source {
            Some(source) => source == wanted,
            None => schemas::identity::gateway_source(self.application) == wanted,
        }
    }

    fn has_labels(&self, event: &LoggedEvent) -> bool {
        if self.labels.is_empty() {
            return true;
        }
        let text = event.labels.as_deref().unwrap_or("{}");
        // What is no map of texts has no labels that could be asked for.
        let labels: schemas::event::StringMap = serde_json::from_str(text).unwrap_or_default();
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

fn matches(patterns: &[EventTypePattern], event_type: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(event_type))
}
