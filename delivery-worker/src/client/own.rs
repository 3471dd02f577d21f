//! The clients of this worker: one for everybody, and one of its own for each subscription that shows a certificate, because
//! a connection that was made with one subscription's certificate must never carry another's request.

use std::num::NonZeroUsize;

use lru::LruCache;
use schemas::ids::SubscriptionId;

use super::{Client, ClientLimits};
use crate::auth::Auth;

/// Clients of their own kept; the one that was not used for longest goes first. Its requests in flight end as they would.
const OWN_CLIENTS: NonZeroUsize = NonZeroUsize::new(256).expect("it is not 0");
/// Idle connections kept per host by a client of one subscription.
const OWN_IDLE: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Clients {
    shared: Client,
    limits: ClientLimits,
    /// With the `control` offset of the subscription they were made for.
    own: LruCache<SubscriptionId, (i64, Client)>,
}

impl Clients {
    /// No client of its own yet.
    pub(crate) fn new(shared: Client) -> Self {
        let limits = shared.limits;
        let limits = ClientLimits { idle_per_host: limits.idle_per_host.min(OWN_IDLE), ..limits };
        Self { shared, limits, own: LruCache::new(OWN_CLIENTS) }
    }

    /// The client for everybody.
    pub(crate) fn shared(&self) -> Client {
        self.shared.clone()
    }

    /// The client for a subscription as it stood at an offset of `control`.
    pub(crate) fn of(&mut self, id: SubscriptionId, offset: i64, auth: &Auth) -> Client {
        let Auth::Certificate(config) = auth else { return self.shared.clone() };
        if let Some((of, client)) = self.own.get(&id)
            && *of == offset
        {
            return client.clone();
        }
        let client = Client::new(self.shared.resolver.clone(), self.limits, config.as_ref().clone());
        self.own.put(id, (offset, client.clone()));
        client
    }

    /// How many subscriptions have their own.
    #[cfg(test)]
    pub(crate) fn own(&self) -> usize {
        self.own.len()
    }

    /// Drops clients whose subscription is no longer what it was.
    pub(crate) fn keep_current(&mut self, offset_of: impl Fn(SubscriptionId) -> Option<i64>) {
        let gone: Vec<SubscriptionId> =
            self.own.iter().filter(|(id, (of, _))| offset_of(**id) != Some(*of)).map(|(id, _)| *id).collect();
        for id in gone {
            self.own.pop(&id);
        }
    }
}
