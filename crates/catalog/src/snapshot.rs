//! The state of the catalog at one position of `control`: tables and the match index.
//!
//! Compaction lets an object's record stand before its parent's, so the tables of an application (`Scope`) do not need the
//! application itself; what belongs to an application that is not there is simply not found.

mod answers;
mod cancelled;
mod held;
mod newer;
mod orphans;
mod pages;
mod registries;
mod sources;
mod tenants;
mod tokens;
pub mod weights;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use schemas::control::{ApplicationSecret, ControlKey, ServiceToken};
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
use crate::stored::Object;
use crate::subscription::Subscription;
use crate::transactions::Transactions;

use self::answers::AnswerTable;
use self::cancelled::CancelledTable;
use self::registries::RegistryTable;
use self::sources::SourceTable;
use self::tenants::Tenants;
use self::weights::Weights;

pub use answers::KeptAmount;
pub use registries::RegistryMap;
pub use sources::{SourceMap, source_of_topic};
pub use tokens::{TokenEntry, TokenScope};

/// One consistent state.
#[derive(Debug, Default)]
pub struct Snapshot {
    position: i64,
    applied: Option<i64>,
    undecodable: u64,
    /// What a newer release wrote, and what of it is not known here.
    newer: BTreeMap<ControlKey, String>,
    transactions: Transactions,
    digest: Digest,
    weights: Weights,
    tenants: Tenants,
    scopes: HashMap<ApplicationId, Scope>,
    /// Scopes of applications that are not there.
    orphans: BTreeSet<ApplicationId>,
    /// Service tokens with the hashes they are found by.
    service_tokens: BTreeMap<ServiceTokenId, (LookupHash, Arc<ServiceToken>)>,
    /// The same by organization.
    service_tokens_of: HashMap<OrganizationId, BTreeSet<ServiceTokenId>>,
    /// Application secrets by their ids alone.
    secrets: HashMap<SecretId, ApplicationId>,
    tokens: HashMap<LookupHash, Arc<TokenEntry>>,
    subscriptions: HashSet<ById>,
    shared: Shared,
    sources: SourceTable,
    registries: RegistryTable,
    answers: AnswerTable,
    cancelled: CancelledTable,
    /// Answers that are kept are not held: this process gives none.
    passes_answers: bool,
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

    /// Whether a transaction with this id was applied, among the last 10,000. A write that was alone in its transaction gave it its id.
    #[must_use]
    pub fn transaction_seen(&self, id: Uuid) -> bool {
        self.transactions.contains(&id)
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
        self.tenants.has_application(found.application()).then_some(found)
    }

    /// Whether a subscription has this id, also one that a deleted application has left behind.
    #[must_use]
    pub fn has_subscription(&self, id: SubscriptionId) -> bool {
        self.subscriptions.contains(&id)
    }

    /// A subscription of an application by its uid.
    #[must_use]
    pub fn subscription_by_uid(&self, application: ApplicationId, uid: &str) -> Option<&Arc<Subscription>> {
        self.scope(application)?.subscription_uids.get(uid).map(|ByUid(found)| found)
    }

    /// The same, whether or not the application is there.
    pub(crate) fn held_uid(&self, application: ApplicationId, uid: &str) -> Option<&Arc<Subscription>> {
        self.scopes.get(&application)?.subscription_uids.get(uid).map(|ByUid(found)| found)
    }

    /// Number of event types of an application.
    #[must_use]
    pub fn event_type_count(&self, application: ApplicationId) -> usize {
        self.scope(application).map_or(0, |scope| scope.event_types.len())
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

    /// What an object that is no subscription adds to the digest.
    pub(crate) fn digest_under(&self, key: &ControlKey) -> u64 {
        self.digest.digest(key)
    }

    fn scope(&self, application: ApplicationId) -> Option<&Scope> {
        if self.tenants.has_application(application) { self.scopes.get(&application) } else { None }
    }
}

// === impl Snapshot: applying ===

impl Snapshot {
    /// Applies one record.
    pub(crate) fn apply(&mut self, change: Change) {
        if let Some(write) = change.write {
            self.transactions.remember(write.transaction);
        }
        self.note_newer(change.newer, &change.kind);
        self.change(change.kind);
        self.applied = Some(change.offset);
        self.pass(change.offset + 1);
    }

    /// Changes the objects alone, not what the snapshot knows of the topic.
    pub(crate) fn change(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::Put(Object::KeptAnswer(answer), ..) => {
                if !self.passes_answers {
                    self.answers.put(answer);
                }
            }
            ChangeKind::Remove(ControlKey::KeptAnswer(_, id)) => self.answers.remove(id),
            ChangeKind::Put(Object::CancelledJob(job), ..) => self.cancelled.put(job),
            ChangeKind::Remove(ControlKey::CancelledJob(application, id)) => self.cancelled.remove(application, id),
            ChangeKind::Put(object, digest, weight) => {
                let key = object.key();
                self.weigh(self.owner(&key), self.weight_under(&key), false);
                if !matches!(object, Object::Subscription(_)) {
                    self.digest.put(key.clone(), digest, weight);
                }
                self.put(object);
                self.weigh(self.owner(&key), weight, true);
            }
            ChangeKind::Remove(key) => {
                self.weigh(self.owner(&key), self.weight_under(&key), false);
                self.digest.remove(&key);
                self.remove(&key);
            }
            ChangeKind::Undecodable { .. } => self.undecodable += 1,
            ChangeKind::Unknown => {}
        }
    }

    /// Everything below is applied: the end was seen there.
    pub(crate) fn pass(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    fn put(&mut self, object: Object) {
        match object {
            Object::Organization(it) => self.tenants.put_organization(it),
            Object::ServiceToken(lookup, it) => self.put_service_token(lookup, it),
            Object::Application(it) => {
                let id = it.application_id;
                self.weigh_application(id, false);
                self.tenants.put_application(it);
                self.weigh_application(id, true);
                self.settle(id);
            }
            Object::ApplicationSecret(lookup, it) => self.put_secret(lookup, it),
            Object::RetiredApplication(it) => {
                let id = it.application_id;
                self.tenants.put_retired(it);
                self.settle(id);
            }
            Object::EventType(mut it) => {
                let id = it.application_id;
                let scope = self.scopes.entry(id).or_default();
                let former = scope.event_types.get(it.name.as_str());
                // One that is put back after a rehearsal is held by others too, and has what it had.
                if let (Some(former), Some(new)) = (former, Arc::get_mut(&mut it)) {
                    new.share(former);
                }
                scope.event_types.insert(it.name.as_str().to_owned(), it);
                self.settle(id);
            }
            Object::Subscription(it) => self.put_subscription(it),
            Object::Source(it) => self.sources.put(it),
            Object::SchemaRegistry(it) => self.registries.put(it),
            Object::KeptAnswer(it) => self.answers.put(it),
            Object::CancelledJob(it) => self.cancelled.put(it),
        }
    }

    fn remove(&mut self, key: &ControlKey) {
        match key {
            ControlKey::Organization(id) => self.tenants.remove_organization(*id),
            ControlKey::ServiceToken(_, id) => self.remove_service_token(*id),
            ControlKey::Application(_, id) => {
                self.weigh_application(*id, false);
                self.tenants.remove_application(*id);
                self.settle(*id);
            }
            ControlKey::RetiredApplication(id) => {
                self.tenants.remove_retired(*id);
                self.settle(*id);
            }
            ControlKey::ApplicationSecret(application, id) => self.remove_secret(*application, *id),
            ControlKey::EventType(application, name) => {
                if let Some(scope) = self.scopes.get_mut(application) {
                    scope.event_types.remove(name.as_str());
                }
                self.settle(*application);
            }
            ControlKey::Subscription(application, id) => {
                self.remove_subscription(*id);
                self.settle(*application);
            }
            ControlKey::Source(_, id) => self.sources.remove(*id),
            ControlKey::SchemaRegistry(id) => self.registries.remove(*id),
            ControlKey::KeptAnswer(_, id) => self.answers.remove(*id),
            ControlKey::CancelledJob(application, id) => self.cancelled.remove(*application, *id),
        }
    }

    /// Notes whether an application that was deleted has left something behind. One that is merely not there may be one that
    /// this build cannot read: what is in it stays.
    fn settle(&mut self, application: ApplicationId) {
        if self.scopes.get(&application).is_some_and(Scope::is_empty) {
            self.scopes.remove(&application);
        }
        let is_deleted = self.tenants.is_retired(application) && !self.tenants.has_application(application);
        let is_orphaned = is_deleted && self.scopes.contains_key(&application);
        if is_orphaned {
            self.orphans.insert(application);
        } else {
            self.orphans.remove(&application);
        }
    }

    fn put_subscription(&mut self, mut subscription: Arc<Subscription>) {
        let (id, application) = (subscription.id(), subscription.application());
        // Nobody else has it yet.
        if let Some(fresh) = Arc::get_mut(&mut subscription) {
            fresh.share(&mut self.shared);
        }
        self.remove_subscription(id);
        let scope = self.scopes.entry(application).or_default();
        scope.subscriptions.insert(ById(Arc::clone(&subscription)));
        if subscription.uid().is_some() {
            scope.subscription_uids.replace(ByUid(Arc::clone(&subscription)));
        }
        if subscription.is_enabled() {
            scope.index.insert(&subscription);
        }
        self.digest.swap(None, Some(subscription.digest()));
        self.subscriptions.insert(ById(subscription));
        self.settle(application);
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
}

// === impl Scope ===

impl Scope {
    fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.event_types.is_empty() && self.subscriptions.is_empty()
    }
}

#[cfg(test)]
mod tests;
