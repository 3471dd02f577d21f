//! Which targets were told lately: what the attempts of a subscription have in common is written with the first of them, and again
//! once a day, so that whoever reads an attempt finds it among the records of about the same age. Pure.

use lru::LruCache;
use schemas::ids::SubscriptionId;

/// It is told again after this time.
const AGAIN_MS: i64 = 24 * 3_600_000;
/// Subscriptions that are known; the one that was not used for longest is told once more when its turn comes. 8 MB.
const MOST: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct ToldTargets {
    /// Offset on `control` of what was told, and when, Unix ms.
    told: LruCache<SubscriptionId, (i64, i64)>,
}

// === impl ToldTargets ===

impl ToldTargets {
    /// Whether this subscription as it stood at an offset of `control` is to be told. From here on it counts as told.
    pub(crate) fn is_news(&mut self, id: SubscriptionId, offset: i64, now_ms: i64) -> bool {
        if let Some((of, at_ms)) = self.told.get(&id)
            && *of == offset
            && now_ms - at_ms < AGAIN_MS
        {
            return false;
        }
        self.told.put(id, (offset, now_ms));
        // Bounded here: a cache that is made with its bound makes room for all of it.
        if self.told.len() > MOST {
            self.told.pop_lru();
        }
        true
    }

    /// Forgets all: a transaction that told of them may not have come about.
    pub(crate) fn forget(&mut self) {
        self.told.clear();
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
        let news = asked.map(|(id, offset, now_ms)| told.is_news(id, offset, now_ms));
        assert_eq!(news, [true, false, true, true, false, true, false, false]);
        told.forget();
        assert!(told.is_news(one, 6, AGAIN_MS + 4), "what may not have been written is written again");
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let mut told = ToldTargets::default();
        let id = |number: usize| SubscriptionId(Uuid::from_u128(number as u128));
        for number in 0..MOST + 10 {
            assert!(told.is_news(id(number), 1, 0));
            assert!(!told.is_news(id(0), 1, 0), "one that is in use stays");
        }
        assert_eq!(told.told.len(), MOST);
    }
}
