//! What deleted applications have left behind: those whose id is retired. It is found nowhere any more (nothing matches, no token opens anything), and the
//! control plane removes it bit by bit.

use schemas::control::ControlKey;
use schemas::ids::ApplicationId;

use super::Snapshot;
use crate::handles::ById;

impl Snapshot {
    /// Whether something of an application that was deleted is still to be removed.
    #[must_use]
    pub fn is_orphaned(&self, application: ApplicationId) -> bool {
        self.orphans.contains(&application)
    }

    /// Objects of applications that were deleted, at most so many.
    #[must_use]
    pub fn orphans(&self, limit: usize) -> Vec<ControlKey> {
        let scopes = self.orphans.iter().filter_map(|id| Some((*id, self.scopes.get(id)?)));
        let keys = scopes.flat_map(|(application, scope)| {
            let secrets = scope.secrets.keys().map(move |id| ControlKey::ApplicationSecret(application, *id));
            let types = scope.event_types.values();
            let types = types.map(move |it| ControlKey::EventType(application, it.name.clone()));
            let subscriptions = scope.subscriptions.iter();
            let subscriptions = subscriptions.map(move |ById(it)| ControlKey::Subscription(application, it.id()));
            secrets.chain(types).chain(subscriptions)
        });
        keys.take(limit).collect()
    }

    /// Number of subscriptions of applications that were deleted.
    #[must_use]
    pub fn orphaned_subscriptions(&self) -> usize {
        self.orphans.iter().filter_map(|id| self.scopes.get(id)).map(|scope| scope.subscriptions.len()).sum()
    }
}
