//! How much memory the objects of a snapshot take, whose they are, and how much an object would take.
//!
//! Every process holds all objects, and holds them again after a restart, so they are limited in bytes: a count says nothing of
//! an object that is a thousand times as large as the usual one. A weight is worked out from the object alone, so every process
//! comes to the same sum; it is near what was measured, rather above it.

use std::collections::HashMap;

use schemas::control::{ControlKey, ControlObject};
use schemas::ids::{ApplicationId, OrganizationId};

use super::Snapshot;

/// What every object takes beside its own bytes: the tables it stands in.
const OBJECT: usize = 300;
/// A pattern's place in the match index.
const PLACE: usize = 150;
/// A part of a pattern with stars: a node of the trie.
const NODE: usize = 900;
/// A compiled schema takes so many times the bytes of its text.
const COMPILED: usize = 16;

/// The sums.
#[derive(Debug, Default)]
pub(super) struct Weights {
    instance: u64,
    applications: HashMap<ApplicationId, u64>,
    /// Of the organizations themselves, their tokens, and all of their applications that are there.
    organizations: HashMap<OrganizationId, u64>,
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightOwner {
    /// An organization's own.
    Organization(OrganizationId),
    /// An application's.
    Application(ApplicationId),
}

/// What an object takes in memory, bytes. `encoded`: the bytes of its record's value.
#[must_use]
pub fn weight(object: &ControlObject, encoded: usize) -> u32 {
    let own = match object {
        ControlObject::Subscription(it) => {
            let places = it.event_types.iter().map(|pattern| {
                let text = pattern.as_str();
                if pattern.is_exact() { PLACE + text.len() } else { NODE * text.split('.').count() }
            });
            // The rest is kept compressed.
            encoded / 2 + places.sum::<usize>()
        }
        // They have limits of their own, and go before they refuse anything.
        ControlObject::KeptAnswer(_) | ControlObject::CancelledJob(_) => return 0,
        ControlObject::EventType(it) if it.schema.is_some() => encoded * COMPILED,
        ControlObject::Organization(_)
        | ControlObject::ServiceToken(_)
        | ControlObject::Application(_)
        | ControlObject::ApplicationSecret(_)
        | ControlObject::RetiredApplication(_)
        | ControlObject::Source(_)
        | ControlObject::SchemaRegistry(_)
        | ControlObject::EventType(_) => encoded,
    };
    u32::try_from(own + OBJECT).unwrap_or(u32::MAX)
}

// === impl WeightOwner ===

impl WeightOwner {
    /// Whose the object under a key is. `None`: the organization is not in the key.
    fn of(key: &ControlKey) -> Option<Self> {
        match key {
            ControlKey::Organization(id) | ControlKey::ServiceToken(id, _) | ControlKey::Source(id, _) => {
                Some(Self::Organization(*id))
            }
            ControlKey::Application(_, id)
            | ControlKey::ApplicationSecret(id, _)
            | ControlKey::EventType(id, _)
            | ControlKey::Subscription(id, _) => Some(Self::Application(*id)),
            ControlKey::RetiredApplication(_)
            | ControlKey::SchemaRegistry(_)
            | ControlKey::KeptAnswer(..)
            | ControlKey::CancelledJob(..) => None,
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Bytes of all objects.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.weights.instance
    }

    /// Bytes of what one has: an organization with its applications, or an application.
    #[must_use]
    pub fn weight_of(&self, owner: WeightOwner) -> u64 {
        let found = match owner {
            WeightOwner::Organization(id) => self.weights.organizations.get(&id),
            WeightOwner::Application(id) => self.weights.applications.get(&id),
        };
        found.copied().unwrap_or(0)
    }

    /// Bytes of the object under a key, 0 if there is none.
    #[must_use]
    pub fn weight_under(&self, key: &ControlKey) -> u32 {
        match key {
            ControlKey::Subscription(_, id) => self.subscriptions.get(id).map_or(0, |found| found.0.weight()),
            ControlKey::Organization(_)
            | ControlKey::ServiceToken(..)
            | ControlKey::Application(..)
            | ControlKey::ApplicationSecret(..)
            | ControlKey::RetiredApplication(_)
            | ControlKey::EventType(..)
            | ControlKey::Source(..)
            | ControlKey::SchemaRegistry(_)
            | ControlKey::KeptAnswer(..)
            | ControlKey::CancelledJob(..) => self.digest.weight(key),
        }
    }

    /// Whose the object under a key is.
    #[must_use]
    pub fn owner(&self, key: &ControlKey) -> Option<WeightOwner> {
        let retired =
            |id: &ApplicationId| self.retired_application(*id).map(|it| WeightOwner::Organization(it.organization_id));
        WeightOwner::of(key).or_else(|| if let ControlKey::RetiredApplication(id) = key { retired(id) } else { None })
    }

    /// An object has come or gone.
    pub(super) fn weigh(&mut self, owner: Option<WeightOwner>, bytes: u32, has_come: bool) {
        let change = |sum: &mut u64| {
            *sum = if has_come { sum.saturating_add(bytes.into()) } else { sum.saturating_sub(bytes.into()) };
        };
        change(&mut self.weights.instance);
        let organization = match owner {
            Some(WeightOwner::Application(id)) => {
                let sum = self.weights.applications.entry(id).or_default();
                change(sum);
                if *sum == 0 {
                    self.weights.applications.remove(&id);
                }
                self.application_by_id(id).map(|it| it.organization_id)
            }
            Some(WeightOwner::Organization(id)) => Some(id),
            None => None,
        };
        if let Some(id) = organization {
            self.weights.change(id, bytes.into(), has_come);
        }
    }

    /// All of an application counts for its organization while it is there.
    pub(super) fn weigh_application(&mut self, id: ApplicationId, has_come: bool) {
        let Some(organization) = self.application_by_id(id).map(|it| it.organization_id) else { return };
        let bytes = self.weight_of(WeightOwner::Application(id));
        self.weights.change(organization, bytes, has_come);
    }
}

// === impl Weights ===

impl Weights {
    fn change(&mut self, organization: OrganizationId, bytes: u64, has_come: bool) {
        let sum = self.organizations.entry(organization).or_default();
        *sum = if has_come { sum.saturating_add(bytes) } else { sum.saturating_sub(bytes) };
        if *sum == 0 {
            self.organizations.remove(&organization);
        }
    }
}
