//! Targets: what requests of a subscription have in common, prepared once per change of it and kept for those that are served.

use std::num::NonZeroUsize;
use std::sync::Arc;

use catalog::Subscription;
use lru::LruCache;
use schemas::ids::SubscriptionId;
use target::TargetPolicy;

use crate::auth::token::TokenSource;
use crate::client::Tls;
use crate::request::{Prepared, Target};

/// Targets kept; the one that was not used for longest goes first, and is prepared again when its turn comes.
pub(crate) const TARGETS: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not 0");

/// Sources of tokens kept: a token that is thrown away with its target would be fetched anew for each delivery of a worker with
/// more targets than are kept.
const SOURCES: usize = 100_000;

/// The targets of the subscriptions that are served.
#[derive(Debug)]
pub(crate) struct Targets {
    policy: TargetPolicy,
    tls: Tls,
    /// With the `control` offset of the subscription they were prepared from.
    kept: LruCache<SubscriptionId, (i64, Prepared)>,
    /// The same of where tokens come from.
    sources: LruCache<SubscriptionId, (i64, Arc<TokenSource>)>,
}

impl Targets {
    pub(crate) fn new(most: NonZeroUsize, policy: TargetPolicy, tls: Tls) -> Self {
        Self { policy, tls, kept: LruCache::new(most), sources: LruCache::unbounded() }
    }

    /// The target of a subscription.
    pub(crate) fn of(&mut self, subscription: &Subscription) -> Prepared {
        let (id, offset) = (subscription.id(), subscription.offset());
        if let Some((of, target)) = self.kept.get(&id)
            && *of == offset
        {
            return Arc::clone(target);
        }
        let source = self.sources.get(&id).filter(|(of, _)| *of == offset).map(|(_, source)| Arc::clone(source));
        let target = Arc::new(Target::new(subscription, source, &self.policy, &self.tls));
        if let Some(source) = target.as_ref().as_ref().ok().and_then(|target| target.auth().source()) {
            self.sources.put(id, (offset, Arc::clone(source)));
            // Bounded here: a cache that is made with its bound makes room for all of it.
            if self.sources.len() > SOURCES {
                self.sources.pop_lru();
            }
        }
        self.kept.put(id, (offset, Arc::clone(&target)));
        target
    }

    /// Drops targets whose subscription is no longer what it was, and with them its secrets.
    pub(crate) fn keep_current(&mut self, offset_of: impl Fn(SubscriptionId) -> Option<i64>) {
        drop_old(&mut self.kept, &offset_of);
        drop_old(&mut self.sources, &offset_of);
    }
}

fn drop_old<T>(from: &mut LruCache<SubscriptionId, (i64, T)>, offset_of: &impl Fn(SubscriptionId) -> Option<i64>) {
    let is_old = |id: &SubscriptionId, of: i64| offset_of(*id) != Some(of);
    let gone: Vec<SubscriptionId> = from.iter().filter(|(id, (of, _))| is_old(id, *of)).map(|(id, _)| *id).collect();
    for id in gone {
        from.pop(&id);
    }
}

#[cfg(test)]
mod tests {
    use schemas::control;

    use super::*;
    use crate::testing;

    #[test]
    fn a_source_of_tokens_outlives_its_target_until_its_subscription_changes() {
        let vault = testing::vault();
        let with_tokens = |offset| {
            let client_secret = testing::seal(&vault, testing::subscription_id(1), "secret");
            let auth = control::Auth::Oauth2 {
                token_url: "https://example.com/token".to_owned(),
                client_id: "client".to_owned(),
                client_secret,
                scopes: Vec::new(),
            };
            let object =
                control::Subscription { auth: Some(auth), ..testing::object(1, "https://example.com/", &vault) };
            testing::subscription(object, offset, &vault)
        };
        let other = testing::subscription(testing::object(2, "https://example.com/", &vault), 1, &vault);
        let most = NonZeroUsize::new(1).unwrap();
        let mut targets = Targets::new(most, TargetPolicy::default(), Tls::new(None).unwrap());
        let mut source = |offset| {
            targets.of(&other);
            let target = targets.of(&with_tokens(offset));
            let target = Result::as_ref(&target).unwrap();
            Arc::clone(target.auth().source().unwrap())
        };
        let first = source(1);
        assert!(Arc::ptr_eq(&first, &source(1)));
        assert!(!Arc::ptr_eq(&first, &source(2)));
        targets.keep_current(|_| None);
        assert_eq!(targets.sources.len(), 0);
    }

    #[test]
    fn as_many_as_allowed_are_kept_and_none_of_what_is_gone_or_changed() {
        let vault = testing::vault();
        let at = |number: u128, offset| {
            testing::subscription(testing::object(number, "https://example.com/", &vault), offset, &vault)
        };
        let most = NonZeroUsize::new(3).unwrap();
        let mut targets = Targets::new(most, TargetPolicy::default(), Tls::new(None).unwrap());
        let first = targets.of(&at(0, 1));
        for number in 1..50 {
            targets.of(&at(number, 1));
            assert!(Arc::ptr_eq(&first, &targets.of(&at(0, 1))), "one that is in use stays");
        }
        assert_eq!(targets.kept.len(), 3);
        let edited = targets.of(&at(0, 2));
        assert!(!Arc::ptr_eq(&first, &edited));
        // 48 is deleted, 49 was changed since.
        let offset_of = |id| [(0, 2), (49, 2)].into_iter().find(|(number, _)| testing::subscription_id(*number) == id);
        targets.keep_current(|id| offset_of(id).map(|(_, offset)| offset));
        assert_eq!(targets.kept.len(), 1);
        assert!(Arc::ptr_eq(&edited, &targets.of(&at(0, 2))));
    }
}
