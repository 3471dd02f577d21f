//! The state of the catalog at one position of `control`: tables and the match index.
//!
//! Compaction lets an object's record stand before its parent's, so the tables of an application (`Scope`) do not need the
//! application itself; what belongs to an application that is not there is simply not found.

mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use schemas::control::{Application, ApplicationSecret, ControlKey, Organization, ServiceToken};
use schemas::event::StringMap;
use schemas::ids::{ApplicationId, OrganizationId, SecretId, ServiceTokenId, SubscriptionId};
use uuid::Uuid;
use vault::LookupHash;

use crate::change::{Change, ChangeKind};
use crate::digest::Digest;
use crate::event_type::EventType;
use crate::handles::{ById, ByUid};
use crate::index::MatchIndex;
use crate::shared::Shared;
use crate::subscription::Subscription;
use crate::writes::Writes;

pub use tokens::{TokenEntry, TokenScope};

/// An object as the snapshot keeps it.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Organization(Arc<Organization>),
    ServiceToken(LookupHash, Arc<ServiceToken>),
    Application(Arc<Application>),
    ApplicationSecret(LookupHash, Arc<ApplicationSecret>),
    EventType(Arc<EventType>),
    Subscription(Arc<Subscription>),
}

/// One consistent state.
#[derive(Debug, Default)]
pub struct Snapshot {
    position: i64,
    applied: Option<i64>,
    undecodable: u64,
    writes: Writes,
    digest: Digest,
    organizations: BTreeMap<OrganizationId, Arc<Organization>>,
    applications: BTreeMap<ApplicationId, Arc<Application>>,
    /// Applications by uid; more than one in different organizations is possible.
    application_uids: HashMap<String, BTreeSet<ApplicationId>>,
    scopes: HashMap<ApplicationId, Scope>,
    /// Service tokens with the hashes they are found by.
    service_tokens: BTreeMap<ServiceTokenId, (LookupHash, Arc<ServiceToken>)>,
    tokens: HashMap<LookupHash, Arc<TokenEntry>>,
    subscriptions: HashSet<ById>,
    shared: Shared,
}

/// What belongs to one application.
#[derive(Debug, Default)]
struct Scope {
    secrets: BTreeMap<SecretId, (LookupHash, Arc<ApplicationSecret>)>,
    event_types: BTreeMap<String, Arc<EventType>>,
    subscriptions: BTreeSet<ById>,
    subscription_uids: HashSet<ByUid>,
    index: MatchIndex<Subscription>,
}

// === impl Snapshot: reading ===

impl Snapshot {
    /// Next offset of `control`: everything below it is applied.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The offset of the last control record that was applied, -1 before the first: what a delivery carries.
    #[must_use]
    pub fn applied(&self) -> i64 {
        self.applied.unwrap_or(-1)
    }

    /// How many control records could not be decoded.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Digest of all objects: the same in every process whose snapshot holds the same, whatever way it came there.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.sum()
    }

    /// Whether a write with this id was applied, among the last 10,000.
    #[must_use]
    pub fn write_seen(&self, write_id: Uuid) -> bool {
        self.writes.contains(&write_id)
    }

    /// An organization.
    #[must_use]
    pub fn organization(&self, id: OrganizationId) -> Option<&Arc<Organization>> {
        self.organizations.get(&id)
    }

    /// All organizations, oldest id first.
    pub fn organizations(&self) -> impl Iterator<Item = &Arc<Organization>> {
        self.organizations.values()
    }

    /// An application by its id, or by its uid where only one has it.
    #[must_use]
    pub fn application(&self, id_or_uid: &str) -> Option<&Arc<Application>> {
        self.application_among(id_or_uid, |_any| true)
    }

    /// The same among those that are `seen`: a uid is unique in its organization only, and another's does not hide it.
    #[must_use]
    pub fn application_among(&self, id_or_uid: &str, seen: impl Fn(&Application) -> bool) -> Option<&Arc<Application>> {
        if let Some(found) = Uuid::parse_str(id_or_uid).ok().and_then(|id| self.applications.get(&ApplicationId(id))) {
            return Some(found).filter(|found| seen(found));
        }
        let ids = self.application_uids.get(id_or_uid)?.iter();
        let mut found = ids.filter_map(|id| self.applications.get(id)).filter(|found| seen(found));
        let first = found.next()?;
        if found.next().is_none() { Some(first) } else { None }
    }

    /// An application by its id.
    #[must_use]
    pub fn application_by_id(&self, id: ApplicationId) -> Option<&Arc<Application>> {
        self.applications.get(&id)
    }

    /// All applications, oldest id first.
    pub fn applications(&self) -> impl Iterator<Item = &Arc<Application>> {
        self.applications.values()
    }

    /// A declared event type.
    #[must_use]
    pub fn event_type(&self, application: ApplicationId, name: &str) -> Option<&Arc<EventType>> {
        self.scope(application)?.event_types.get(name)
    }

    /// The event types of an application, by name.
    pub fn event_types(&self, application: ApplicationId) -> impl Iterator<Item = &Arc<EventType>> {
        self.scope(application).into_iter().flat_map(|scope| scope.event_types.values())
    }

    /// A subscription by its id.
    #[must_use]
    pub fn subscription(&self, id: SubscriptionId) -> Option<&Arc<Subscription>> {
        let ById(found) = self.subscriptions.get(&id)?;
        self.applications.contains_key(&found.application()).then_some(found)
    }

    /// A subscription of an application by its uid.
    #[must_use]
    pub fn subscription_by_uid(&self, application: ApplicationId, uid: &str) -> Option<&Arc<Subscription>> {
        self.scope(application)?.subscription_uids.get(uid).map(|ByUid(found)| found)
    }

    /// The subscriptions of an application, oldest id first.
    pub fn subscriptions(&self, application: ApplicationId) -> impl Iterator<Item = &Arc<Subscription>> {
        self.scope(application).into_iter().flat_map(|scope| scope.subscriptions.iter().map(|ById(found)| found))
    }

    /// Number of subscriptions of an application.
    #[must_use]
    pub fn subscription_count(&self, application: ApplicationId) -> usize {
        self.scope(application).map_or(0, |scope| scope.subscriptions.len())
    }

    /// Number of subscriptions of the instance.
    #[must_use]
    pub fn subscriptions_total(&self) -> usize {
        self.subscriptions.len()
    }

    /// Appends the enabled subscriptions (paused ones too) of an application that match an event, each once.
    pub fn matches(
        &self,
        application: ApplicationId,
        event_type: &str,
        labels: &StringMap,
        out: &mut Vec<Arc<Subscription>>,
    ) {
        if let Some(scope) = self.scope(application) {
            scope.index.matches(event_type, labels, out);
        }
    }

    /// What stands under a key.
    pub(crate) fn held(&self, key: &ControlKey) -> Option<Object> {
        Some(match key {
            ControlKey::Organization(id) => Object::Organization(Arc::clone(self.organizations.get(id)?)),
            ControlKey::ServiceToken(_, id) => {
                let (lookup, token) = self.service_tokens.get(id)?;
                Object::ServiceToken(*lookup, Arc::clone(token))
            }
            ControlKey::Application(_, id) => Object::Application(Arc::clone(self.applications.get(id)?)),
            ControlKey::ApplicationSecret(application, id) => {
                let (lookup, secret) = self.scopes.get(application)?.secrets.get(id)?;
                Object::ApplicationSecret(*lookup, Arc::clone(secret))
            }
            ControlKey::EventType(application, name) => {
                Object::EventType(Arc::clone(self.scopes.get(application)?.event_types.get(name.as_str())?))
            }
            ControlKey::Subscription(_, id) => Object::Subscription(Arc::clone(&self.subscriptions.get(id)?.0)),
        })
    }

    fn scope(&self, application: ApplicationId) -> Option<&Scope> {
        if self.applications.contains_key(&application) { self.scopes.get(&application) } else { None }
    }
}

// === impl Snapshot: applying ===

impl Snapshot {
    /// Applies one record.
    pub(crate) fn apply(&mut self, change: Change) {
        if let Some(write) = change.write {
            self.writes.remember(write.id);
        }
        match change.kind {
            ChangeKind::Put(object, digest) => {
                if !matches!(object, Object::Subscription(_)) {
                    self.digest.put(object.key(), digest);
                }
                self.put(object);
            }
            ChangeKind::Remove(key) => {
                self.digest.remove(&key);
                self.remove(&key);
            }
            ChangeKind::Undecodable { .. } => self.undecodable += 1,
            ChangeKind::Unknown => {}
        }
        self.applied = Some(change.offset);
        self.pass(change.offset + 1);
    }

    /// Everything below is applied: the end was seen there.
    pub(crate) fn pass(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    fn put(&mut self, object: Object) {
        match object {
            Object::Organization(it) => {
                self.organizations.insert(it.organization_id, it);
            }
            Object::ServiceToken(lookup, it) => self.put_service_token(lookup, it),
            Object::Application(it) => self.put_application(it),
            Object::ApplicationSecret(lookup, it) => self.put_secret(lookup, it),
            Object::EventType(it) => {
                let scope = self.scopes.entry(it.application_id).or_default();
                scope.event_types.insert(it.name.as_str().to_owned(), it);
            }
            Object::Subscription(it) => self.put_subscription(it),
        }
    }

    fn remove(&mut self, key: &ControlKey) {
        match key {
            ControlKey::Organization(id) => {
                self.organizations.remove(id);
            }
            ControlKey::ServiceToken(_, id) => {
                if let Some((lookup, _)) = self.service_tokens.remove(id) {
                    self.forget_token(lookup, id.0);
                }
            }
            ControlKey::Application(_, id) => self.remove_application(*id),
            ControlKey::ApplicationSecret(application, id) => self.remove_secret(*application, *id),
            ControlKey::EventType(application, name) => {
                if let Some(scope) = self.scopes.get_mut(application) {
                    scope.event_types.remove(name.as_str());
                }
                self.forget_if_empty(*application);
            }
            ControlKey::Subscription(application, id) => {
                self.remove_subscription(*id);
                self.forget_if_empty(*application);
            }
        }
    }

    fn put_application(&mut self, application: Arc<Application>) {
        self.remove_application(application.application_id);
        if let Some(uid) = &application.uid {
            self.application_uids.entry(uid.clone()).or_default().insert(application.application_id);
        }
        self.applications.insert(application.application_id, application);
    }

    fn remove_application(&mut self, id: ApplicationId) {
        let Some(former) = self.applications.remove(&id) else { return };
        let Some(uid) = &former.uid else { return };
        if let Some(ids) = self.application_uids.get_mut(uid) {
            ids.remove(&id);
            if ids.is_empty() {
                self.application_uids.remove(uid);
            }
        }
    }

    fn put_subscription(&mut self, mut subscription: Arc<Subscription>) {
        let id = subscription.id();
        // Nobody else has it yet.
        if let Some(fresh) = Arc::get_mut(&mut subscription) {
            fresh.share(&mut self.shared);
        }
        self.remove_subscription(id);
        let scope = self.scopes.entry(subscription.application()).or_default();
        scope.subscriptions.insert(ById(Arc::clone(&subscription)));
        if subscription.uid().is_some() {
            scope.subscription_uids.replace(ByUid(Arc::clone(&subscription)));
        }
        if subscription.is_enabled() {
            scope.index.insert(&subscription);
        }
        self.digest.swap(None, Some(subscription.digest()));
        self.subscriptions.insert(ById(subscription));
    }

    fn remove_subscription(&mut self, id: SubscriptionId) {
        let Some(ById(former)) = self.subscriptions.take(&id) else { return };
        self.digest.swap(Some(former.digest()), None);
        let Some(scope) = self.scopes.get_mut(&former.application()) else { return };
        scope.subscriptions.remove(&id);
        if let Some(uid) = former.uid()
            && scope.subscription_uids.get(uid).is_some_and(|ByUid(found)| found.id() == id)
        {
            scope.subscription_uids.remove(uid);
        }
        if former.is_enabled() {
            scope.index.remove(&former);
        }
    }

    fn forget_if_empty(&mut self, application: ApplicationId) {
        if self.scopes.get(&application).is_some_and(Scope::is_empty) {
            self.scopes.remove(&application);
        }
    }
}

// === impl Scope ===

impl Scope {
    fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.event_types.is_empty() && self.subscriptions.is_empty()
    }
}

#[cfg(test)]
mod tests;
