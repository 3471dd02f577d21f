//! Subscriptions in sets, by what they are called: a table of a million holds a pointer per entry and nothing twice.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use schemas::ids::SubscriptionId;

use crate::subscription::Subscription;

/// A subscription, found by its id.
#[derive(Clone, Debug)]
pub(crate) struct ById(pub(crate) Arc<Subscription>);

/// A subscription, found by its uid. Only those with one stand in such a set.
#[derive(Clone, Debug)]
pub(crate) struct ByUid(pub(crate) Arc<Subscription>);

// === impl ById ===

impl Borrow<SubscriptionId> for ById {
    fn borrow(&self) -> &SubscriptionId {
        self.0.id_ref()
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id().cmp(&other.0.id())
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

// === impl ByUid ===

impl Borrow<str> for ByUid {
    fn borrow(&self) -> &str {
        self.0.uid().unwrap_or_default()
    }
}

impl PartialEq for ByUid {
    fn eq(&self, other: &Self) -> bool {
        self.0.uid() == other.0.uid()
    }
}

impl Eq for ByUid {}

impl Hash for ByUid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.uid().unwrap_or_default().hash(state);
    }
}
