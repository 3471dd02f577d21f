//! Events about Hookbus itself, for the application that the operator names; none where none is named.
//!
//! ```text
//! a write that disables a subscription,
//! or deprecates an event type ----------store: in the write's transaction----------+
//! [attempts] recovered, dead_lettered --reports: with the progress on `attempts` --+--> [events] --> fan-out, like any other event
//! ```
//!
//! Each stands in one transaction with what it follows from, so it is there exactly once. **Never recursive**: nothing is told of
//! the subscriptions of the application that is told. **Bounded**: what may come in numbers has a budget, per subscription, per
//! organization and in all, so that none floods the operator or takes what is told of others; what happened long ago is not told.

use std::sync::Arc;

use catalog::Snapshot;
use chassis::config::ControlConfig;
use parking_lot::Mutex;
use retry::Budget;
use schemas::attempt::{Kind, Lifecycle};
use schemas::control::{ControlObject, EventType, Subscription};
use schemas::dead_letter::DeathReason;
use schemas::ids::{ApplicationId, OrganizationId, SubscriptionId};
use schemas::operational::{OperationalEvent, OperationalKind, OperationalSubject};
use schemas::record::OutRecord;
use schemas::topics::Topics;
use serde_json::{Map, Value, json};
use tracing::warn;
use uuid::Uuid;

use crate::api::time;
use crate::store::Change;

/// Events of one kind about one subscription: so many at once, then one a minute.
const BURST: u32 = 5;
const PER_SECOND: f64 = 1.0 / 60.0;
/// Of one replica's reports in all.
const TOTAL_BURST: u32 = 50;
const TOTAL_PER_SECOND: f64 = 10.0;
/// Of those, of one organization: half, so that what happens to others is told too.
const SHARE_BURST: u32 = 25;
const SHARE_PER_SECOND: f64 = 5.0;
/// Of what the tokens of one organization change, of each kind.
const CHANGED_BURST: u32 = 100;
const CHANGED_PER_SECOND: f64 = 1.0;
/// Subscriptions or organizations that are counted at once.
const MAX_COUNTED: usize = 10_000;
/// What happened so long ago is no news: reports may be read again. Repeats are known for as long.
const OLD_MS: i64 = 24 * 3_600_000;

/// See the module. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    application: ApplicationId,
    topic: Arc<str>,
    budgets: Arc<Mutex<Budgets>>,
}

#[derive(Debug)]
struct Budgets {
    of_one: Budget<(SubscriptionId, OperationalKind)>,
    of_organization: Budget<OrganizationId>,
    total: Budget<()>,
    changed: Budget<(OrganizationId, OperationalKind)>,
}

/// Who made a write, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteFacts {
    /// Its id, which tells it from another one of the same moment.
    pub(crate) id: Uuid,
    /// When it was made, Unix ms.
    pub(crate) at_ms: i64,
    /// With a token of an organization.
    pub(crate) is_tenants: bool,
}

/// What a report leads to.
#[derive(Clone, Debug)]
pub(crate) enum ToldOperator {
    /// An event.
    Event(OutRecord),
    /// None: there were too many.
    TooMany,
}

// === impl Budgets ===

impl Budgets {
    /// Takes one of each or none.
    fn pay(&mut self, key: (SubscriptionId, OperationalKind), organization: OrganizationId, at_ms: i64) -> bool {
        let is_there = self.total.next_ms(&(), at_ms) <= at_ms;
        let has_share = self.of_organization.next_ms(&organization, at_ms) <= at_ms;
        is_there
            && has_share
            && self.of_one.try_take(&key, at_ms)
            && self.of_organization.try_take(&organization, at_ms)
            && self.total.try_take(&(), at_ms)
    }
}

// === impl Operations ===

impl Operations {
    /// `None`: the operator names no application.
    pub(crate) fn of(config: &ControlConfig, topics: &Topics) -> Option<Self> {
        Some(Self::new(config.operational_application?, Arc::clone(&topics.events)))
    }

    pub(crate) fn new(application: ApplicationId, topic: Arc<str>) -> Self {
        let fits = "a rate and a burst within the limits";
        let of_one = Budget::new(PER_SECOND, BURST, MAX_COUNTED).expect(fits);
        let of_organization = Budget::new(SHARE_PER_SECOND, SHARE_BURST, MAX_COUNTED).expect(fits);
        let total = Budget::new(TOTAL_PER_SECOND, TOTAL_BURST, 1).expect(fits);
        let changed = Budget::new(CHANGED_PER_SECOND, CHANGED_BURST, MAX_COUNTED).expect(fits);
        let budgets = Budgets { of_one, of_organization, total, changed };
        Self { application, topic, budgets: Arc::new(Mutex::new(budgets)) }
    }

    /// Where events go.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// What a write disables or deprecates, over what was there before it. What the operator or the control plane itself does is told
    /// in any case; tokens of an organization may do it as often as they write.
    pub(crate) fn of_write<'a>(
        &self,
        snapshot: &Snapshot,
        changes: impl Iterator<Item = (&'a Change, Option<ControlObject>)>,
        write: WriteFacts,
    ) -> Result<Vec<OutRecord>, serde_json::Error> {
        let mut records = Vec::new();
        for (change, before) in changes {
            let event = match (change, before) {
                (Change::Put(ControlObject::Subscription(after)), Some(ControlObject::Subscription(before))) => {
                    (before.is_enabled && !after.is_enabled).then(|| self.disabled(snapshot, after, write))
                }
                (Change::Put(ControlObject::EventType(after)), Some(ControlObject::EventType(before))) => {
                    let is_other = before.deprecated != after.deprecated || before.deprecation() != after.deprecation();
                    is_other.then(|| self.deprecated(snapshot, after, write))
                }
                _another => None,
            };
            if let Some((application, event)) = event
                && self.is_told_of(snapshot, application)
                && self.pays(snapshot, application, event.kind, write)
            {
                records.push(event.record(Arc::clone(&self.topic))?);
            }
        }
        Ok(records)
    }

    /// What is told of a worker's report; most say nothing.
    pub(crate) fn of_report(&self, snapshot: &Snapshot, report: &Lifecycle<'_>, now_ms: i64) -> Option<ToldOperator> {
        let (subscription, event) = self.reported(snapshot, report)?;
        let organization = snapshot.application_by_id(report.application_id?)?.organization_id;
        if now_ms.saturating_sub(event.at_ms) > OLD_MS {
            return None;
        }
        // Paid for the time it happened at, not for that of reading: reports that waited while nobody read are not too many.
        if !self.budgets.lock().pay((subscription, event.kind), organization, event.at_ms) {
            return Some(ToldOperator::TooMany);
        }
        match event.record(Arc::clone(&self.topic)) {
            Ok(record) => Some(ToldOperator::Event(record)),
            Err(error) => {
                warn!(%error, subscription.id = %subscription, "an operational event cannot be encoded");
                None
            }
        }
    }

    /// Whether a change has a budget left, or needs none.
    fn pays(&self, snapshot: &Snapshot, application: ApplicationId, kind: OperationalKind, write: WriteFacts) -> bool {
        let organization = snapshot.application_by_id(application).map(|it| it.organization_id);
        let Some(organization) = organization.filter(|_| write.is_tenants) else { return true };
        self.budgets.lock().changed.try_take(&(organization, kind), write.at_ms)
    }

    /// Nothing is told of the application that is told, nor to one that is not there.
    fn is_told_of(&self, snapshot: &Snapshot, application: ApplicationId) -> bool {
        application != self.application && snapshot.application_by_id(self.application).is_some()
    }

    fn disabled(
        &self,
        snapshot: &Snapshot,
        subscription: &Subscription,
        write: WriteFacts,
    ) -> (ApplicationId, OperationalEvent) {
        let mut data = of_subscription(snapshot, subscription.application_id, subscription.uid.as_deref());
        data.insert("reason".to_owned(), json!(subscription.disabled_reason.as_deref().unwrap_or("request")));
        data.insert("detail".to_owned(), json!(subscription.disabled_detail));
        let event = OperationalEvent {
            kind: OperationalKind::SubscriptionDisabled,
            application: self.application,
            subject: OperationalSubject::Subscription(subscription.subscription_id),
            cause: write.id.to_string(),
            at_ms: write.at_ms,
            data,
        };
        (subscription.application_id, event)
    }

    /// A type that is deprecated, or is not any more.
    fn deprecated(
        &self,
        snapshot: &Snapshot,
        event_type: &EventType,
        write: WriteFacts,
    ) -> (ApplicationId, OperationalEvent) {
        let application = event_type.application_id;
        let mut data = facts(snapshot, application);
        data.insert("deprecated_at".to_owned(), json!(event_type.deprecated_ms.map(time)));
        data.insert("sunset_at".to_owned(), json!(event_type.sunset_ms.map(time)));
        let (deprecated, reinstated) = (OperationalKind::EventTypeDeprecated, OperationalKind::EventTypeReinstated);
        let event = OperationalEvent {
            kind: if event_type.deprecated { deprecated } else { reinstated },
            application: self.application,
            subject: OperationalSubject::EventType(application, event_type.name.clone()),
            cause: write.id.to_string(),
            at_ms: write.at_ms,
            data,
        };
        (application, event)
    }

    fn reported(&self, snapshot: &Snapshot, report: &Lifecycle<'_>) -> Option<(SubscriptionId, OperationalEvent)> {
        let (kind, cause) = if report.kind == Kind::Recovered {
            (OperationalKind::SubscriptionRecovered, report.failing_since_ms?.to_string())
        } else if report.kind == Kind::DeadLettered && is_exhausted(report) {
            (OperationalKind::AttemptsExhausted, report.delivery_id?.to_string())
        } else {
            return None;
        };
        let (subscription, application) = (report.subscription_id?, report.application_id?);
        if !self.is_told_of(snapshot, application) {
            return None;
        }
        // One that is gone since has no uid.
        let uid = snapshot.subscription(subscription).and_then(|found| found.object().uid);
        let mut data = of_subscription(snapshot, application, uid.as_deref());
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        if kind == OperationalKind::SubscriptionRecovered {
            put("failing_since", json!(report.failing_since_ms.map(time)));
        } else {
            put("delivery_id", json!(report.delivery_id));
            put("event_id", json!(report.event_id));
            put("event_type", json!(report.event_type));
            put("attempts", json!(report.attempt));
            put("reason", json!(report.reason));
            put("detail", json!(report.detail));
        }
        let (application, subject) = (self.application, OperationalSubject::Subscription(subscription));
        Some((subscription, OperationalEvent { kind, application, subject, cause, at_ms: report.at_ms, data }))
    }
}

/// Whether a delivery died because it was tried as often, or for as long, as it may be.
fn is_exhausted(report: &Lifecycle<'_>) -> bool {
    let reason = report.reason.as_deref().and_then(|reason| reason.parse().ok());
    matches!(reason, Some(DeathReason::Schedule | DeathReason::MaxAge))
}

/// Whose subscription it is, and what he calls it.
fn of_subscription(snapshot: &Snapshot, application: ApplicationId, uid: Option<&str>) -> Map<String, Value> {
    let mut data = facts(snapshot, application);
    data.insert("subscription_uid".to_owned(), json!(uid));
    data
}

/// Whose it is.
fn facts(snapshot: &Snapshot, application: ApplicationId) -> Map<String, Value> {
    let organization = snapshot.application_by_id(application).map(|found| found.organization_id);
    Map::from_iter([
        ("organization_id".to_owned(), json!(organization)),
        ("application_id".to_owned(), json!(application)),
    ])
}

#[cfg(test)]
mod tests;
