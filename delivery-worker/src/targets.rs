//! Targets: what requests of a subscription have in common, prepared once per change of it and kept for those that are served.

use std::num::NonZeroUsize;
use std::sync::Arc;

use catalog::Subscription;
use lru::LruCache;
use schemas::ids::SubscriptionId;
use target::TargetPolicy;

use crate::client::Tls;
use crate::request::{Prepared, Target};

/// Targets kept; the one that was not used for longest goes first, and is prepared again when its turn comes.
pub(crate) const TARGETS: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not 0");

/// The targets of the subscriptions that are served.
#[derive(Debug)]
pub(crate) struct Targets {
    policy: TargetPolicy,
    tls: Tls,
    /// With the `control` offset of the subscription they were prepared from.
    kept: LruCache<SubscriptionId, (i64, Prepared)>,
}

impl Targets {
    pub(crate) fn new(most: NonZeroUsize, policy: TargetPolicy, tls: Tls) -> Self {
        Self { policy, tls, kept: LruCache::new(most) }
    }

    /// The target of a subscription.
    pub(crate) fn of(&mut self, subscription: &Subscription) -> Prepared {
        let (id, offset) = (subscription.id(), subscription.offset());
        if let Some((of, target)) = self.kept.get(&id)
            && *of == offset
        {
            return Arc::clone(target);
        }
        let target = Arc::new(Target::new(subscription, &self.policy, &self.tls));
        self.kept.put(id, (offset, Arc::clone(&target)));
        target
    }

    /// Drops targets whose subscription is no longer what it was, and with them its secrets.
    pub(crate) fn keep_current(&mut self, offset_of: impl Fn(SubscriptionId) -> Option<i64>) {
        let gone: Vec<SubscriptionId> =
            self.kept.iter().filter(|(id, (of, _))| offset_of(**id) != Some(*of)).map(|(id, _)| *id).collect();
        for id in gone {
            self.kept.pop(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

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
