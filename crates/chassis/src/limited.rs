//! Rate-limited logging: one line per key and period, and the next line says how many were swallowed.
//!
//! For hot paths where one broken endpoint or broker would write a line per record:
//!
//! ```
//! # use std::time::Duration;
//! # let limited = chassis::limited::Limited::new(Duration::from_secs(10));
//! # let (topic, partition, offset) = ("events", 0, 7);
//! if let Some(swallowed) = limited.permit("undecodable") {
//!     tracing::warn!(topic, partition, offset, swallowed, "record cannot be decoded");
//! }
//! ```

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;

/// Keys that are remembered at once. Beyond it new keys share one slot: logging must not grow with the traffic.
const MAX_KEYS: usize = 1024;

/// Decides which lines are written. `K` is what lines are counted by: a name, a subscription id.
#[derive(Debug)]
pub struct Limited<K = String> {
    period: Duration,
    slots: Mutex<LogQuotas<K>>,
}

#[derive(Debug)]
struct LogQuotas<K> {
    by_key: HashMap<K, LogQuota>,
    /// Earliest time at which an entry can expire while the map is full: no look through all of them before it.
    full_until: Option<Instant>,
    overflow: Option<LogQuota>,
}

#[derive(Debug)]
struct LogQuota {
    since: Instant,
    swallowed: u64,
}

// === impl Limited ===

impl<K: Hash + Eq> Limited<K> {
    /// One line per key in each `period`.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self { period, slots: Mutex::new(LogQuotas { by_key: HashMap::new(), full_until: None, overflow: None }) }
    }

    /// `Some(lines swallowed since the last one)` when this line may be written.
    pub fn permit<Q>(&self, key: &Q) -> Option<u64>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.permit_at(key, clock::instant())
    }

    /// [`Limited::permit`] at a given time.
    pub fn permit_at<Q>(&self, key: &Q, now: Instant) -> Option<u64>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.by_key.get_mut(key) {
            return slot.permit(now, self.period);
        }
        if slots.by_key.len() >= MAX_KEYS && slots.full_until.is_none_or(|until| now >= until) {
            slots.by_key.retain(|_, slot| now.saturating_duration_since(slot.since) < self.period);
            slots.full_until = slots.by_key.values().map(|slot| slot.since + self.period).min();
        }
        if slots.by_key.len() < MAX_KEYS {
            slots.by_key.insert(key.to_owned(), LogQuota { since: now, swallowed: 0 });
            return Some(0);
        }
        match &mut slots.overflow {
            Some(slot) => slot.permit(now, self.period),
            none @ None => {
                *none = Some(LogQuota { since: now, swallowed: 0 });
                Some(0)
            }
        }
    }
}

// === impl LogQuota ===

impl LogQuota {
    fn permit(&mut self, now: Instant, period: Duration) -> Option<u64> {
        if now.saturating_duration_since(self.since) < period {
            self.swallowed += 1;
            return None;
        }
        self.since = now;
        Some(std::mem::take(&mut self.swallowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    #[test]
    fn one_line_per_period_and_it_counts_the_others() {
        let limited: Limited<String> = Limited::new(PERIOD);
        let start = clock::instant();
        assert_eq!(limited.permit_at("a", start), Some(0));
        assert_eq!(limited.permit_at("a", start), None);
        assert_eq!(limited.permit_at("a", start + PERIOD - Duration::from_nanos(1)), None);
        assert_eq!(limited.permit_at("b", start), Some(0));
        assert_eq!(limited.permit_at("a", start + PERIOD), Some(2));
        assert_eq!(limited.permit_at("a", start + PERIOD * 2), Some(0));
    }

    #[test]
    fn keys_beyond_the_limit_share_one_slot_until_others_expire() {
        let limited: Limited<u64> = Limited::new(PERIOD);
        let start = clock::instant();
        for key in 0..1024 {
            assert_eq!(limited.permit_at(&key, start), Some(0));
        }
        assert_eq!(limited.permit_at(&5000, start), Some(0));
        assert_eq!(limited.permit_at(&5001, start), None);
        assert_eq!(limited.permit_at(&5002, start + PERIOD), Some(0), "expired keys make room");
        assert!(limited.slots.lock().by_key.len() < MAX_KEYS);
    }
}
