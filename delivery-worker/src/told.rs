//! Which targets were told lately: what the attempts of a subscription have in common is written with the first of them, and again
//! once a day, so that whoever reads an attempt finds it among the records of about the same age. Pure.
//!
//! A transaction that told of a target may never come about: its lease may end before. So what was told counts under its lease only. A
//! partition that comes back has another one and is told anew, and none of the others is.

use kafka::Epoch;
use lru::LruCache;
use schemas::ids::SubscriptionId;

/// It is told again after this time.
const AGAIN_MS: i64 = 24 * 3_600_000;
/// Subscriptions that are known, of all leases; the one that was not used for longest is told once more when its turn comes. 9 MB.
const MOST: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct ToldTargets {
    told: LruCache<SubscriptionId, ToldTarget>,
}

/// What was told of a subscription.
#[derive(Clone, Copy, Debug)]
struct ToldTarget {
    /// With the progress of this lease.
    lease: Epoch,
    /// Offset of its version on `control`.
    offset: i64,
    /// When, Unix ms.
    at_ms: i64,
}

// === impl ToldTargets ===

impl ToldTargets {
    /// Whether this subscription as it stood at an offset of `control` is to be told with the progress of a lease. From here on it counts
    /// as told, as long as that lease lasts.
    pub(crate) fn is_news(&mut self, id: SubscriptionId, lease: Epoch, offset: i64, now_ms: i64) -> bool {
        if let Some(told) = self.told.get(&id)
            && (told.lease, told.offset) == (lease, offset)
            && now_ms - told.at_ms < AGAIN_MS
        {
            return false;
        }
        self.told.put(id, ToldTarget { lease, offset, at_ms: now_ms });
        // Bounded here: a cache that is made with its bound makes room for all of it.
        if self.told.len() > MOST {
            self.told.pop_lru();
        }
        true
    }
}

impl Default for ToldTargets {
    fn default() -> Self {
        Self { told: LruCache::unbounded() }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LEASE: Epoch = Epoch(1);

    #[test]
    fn each_version_of_a_subscription_is_told_once_a_day() {
        let (one, other) = (SubscriptionId(Uuid::from_u128(1)), SubscriptionId(Uuid::from_u128(2)));
        let mut told = ToldTargets::default();
        let asked: [(SubscriptionId, i64, i64); 8] = [
            (one, 5, 0),
            (one, 5, 1),
            (other, 5, 1),
            (one, 6, 2),
            (one, 6, AGAIN_MS + 1),
            (one, 6, AGAIN_MS + 2),
            (one, 6, AGAIN_MS + 3),
            (other, 5, AGAIN_MS),
        ];
        let news = asked.map(|(id, offset, now_ms)| told.is_news(id, LEASE, offset, now_ms));
        assert_eq!(news, [true, false, true, true, false, true, false, false]);
    }

    #[test]
    fn a_partition_that_comes_back_is_told_anew_and_no_other_is() {
        let id = |number: u128| SubscriptionId(Uuid::from_u128(number));
        let (moved, again) = (Epoch(2), Epoch(3));
        let mut told = ToldTargets::default();
        assert!(told.is_news(id(1), LEASE, 5, 0) && told.is_news(id(2), moved, 5, 0));
        assert!(told.is_news(id(2), again, 5, 1), "what may not have been written is written again");
        assert!(!told.is_news(id(2), again, 5, 2) && !told.is_news(id(1), LEASE, 5, 2));
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let mut told = ToldTargets::default();
        let id = |number: usize| SubscriptionId(Uuid::from_u128(number as u128));
        for number in 0..MOST + 10 {
            assert!(told.is_news(id(number), LEASE, 1, 0));
            assert!(!told.is_news(id(0), LEASE, 1, 0), "one that is in use stays");
        }
        assert_eq!(told.told.len(), MOST);
    }
}
