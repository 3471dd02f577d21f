//! Targets: what requests of a subscription have in common, prepared once per change of it and kept for those that are served.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use catalog::Subscription;
use lru::LruCache;
use schemas::ids::SubscriptionId;
use target::TargetPolicy;

use crate::auth::token::TokenSource;
use crate::client::Tls;
use crate::request::{Prepared, Target};

/// Targets kept; the one that was not used for longest goes first, and is prepared again when its turn comes.
/// With more of them being served each delivery would parse its URL, its headers, its keys.
pub(crate) const TARGETS: NonZeroUsize = NonZeroUsize::new(100_000).expect("it is not 0");

/// Sources of tokens kept: a token that is thrown away with its target would be fetched anew for each delivery of a worker with
/// more targets than are kept.
const SOURCES: usize = 100_000;

/// Between two looks at all that are kept, and so much for each thousand of them.
const LEAST_PAUSE: Duration = Duration::from_millis(200);
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// The targets of the subscriptions that are served.
#[derive(Debug)]
pub(crate) struct Targets {
    policy: TargetPolicy,
    tls: Tls,
    most: usize,
    /// With the `control` offset of the subscription they were prepared from.
    kept: LruCache<SubscriptionId, (i64, Prepared)>,
    /// The same of where tokens come from.
    sources: LruCache<SubscriptionId, (i64, Arc<TokenSource>)>,
}

impl Targets {
    pub(crate) fn new(most: NonZeroUsize, policy: TargetPolicy, tls: Tls) -> Self {
        Self { policy, tls, most: most.get(), kept: LruCache::unbounded(), sources: LruCache::unbounded() }
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
            put(&mut self.sources, id, (offset, Arc::clone(source)), SOURCES);
        }
        put(&mut self.kept, id, (offset, Arc::clone(&target)), self.most);
        target
    }

    /// How long a worker leaves between two looks at all of them: a look at 10,000 takes it about a millisecond.
    pub(crate) fn pause(&self) -> Duration {
        let thousands = u32::try_from(self.kept.len() / 1_000).unwrap_or(u32::MAX);
        LOOK_PAUSE.saturating_mul(thousands).max(LEAST_PAUSE)
    }

    /// Drops targets whose subscription is no longer what it was, and with them its secrets.
    pub(crate) fn keep_current(&mut self, offset_of: impl Fn(SubscriptionId) -> Option<i64>) {
        drop_old(&mut self.kept, &offset_of);
        drop_old(&mut self.sources, &offset_of);
    }
}

/// Keeps so many at most: a cache that is made with its bound makes room for all of it.
fn put<T>(to: &mut LruCache<SubscriptionId, (i64, T)>, id: SubscriptionId, kept: (i64, T), most: usize) {
    to.put(id, kept);
    if to.len() > most {
        to.pop_lru();
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
    fn what_is_served_in_turn_is_prepared_once_by_a_worker_with_many_subscriptions() {
        let (vault, tls) = (testing::vault(), Tls::new(None).unwrap());
        let object = testing::object(0, "https://example.com/", &vault);
        let all: Vec<Arc<Subscription>> = (0..10_100)
            .map(|number| {
                let id = testing::subscription_id(number);
                testing::subscription(control::Subscription { subscription_id: id, ..object.clone() }, 1, &vault)
            })
            .collect();
        let mut targets = Targets::new(TARGETS, TargetPolicy::default(), tls);
        let first: Vec<Prepared> = all.iter().map(|subscription| targets.of(subscription)).collect();
        let again = all.iter().zip(&first).filter(|(of, first)| !Arc::ptr_eq(&targets.of(of), first)).count();
        assert_eq!(again, 0, "prepared anew");
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
