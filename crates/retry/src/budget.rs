//! Rates: a token bucket that is one number, and a bounded table of buckets by key.
//!
//! The bucket is kept as the time at which it will be full again (the generic cell rate algorithm): no timer refills it, and a
//! clock that jumps back cannot lock it for longer than a full refill.

use std::collections::HashMap;
use std::hash::Hash;

use crate::error::RetryError;

const NS_PER_MS: i64 = 1_000_000;
const NS_PER_S: f64 = 1e9;

/// Rates that can be counted: one in about three hours, up to one per microsecond.
const RATES: std::ops::RangeInclusive<f64> = 0.0001..=1_000_000.0;

/// A full table looks for idle keys at most this often.
const SWEEP_EVERY_MS: i64 = 1_000;

/// Lets `burst` pass at once and `rate` per second in the long run. Times are any one clock's milliseconds.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    /// Between two tokens.
    interval_ns: i64,
    /// What a full bucket holds, as time.
    capacity_ns: i64,
    /// When it will be full again.
    full_at_ns: i64,
}

/// One bucket per key, all with the same rate and burst, never more than a number of them.
#[derive(Debug)]
pub struct Budget<K> {
    fresh: TokenBucket,
    buckets: HashMap<K, TokenBucket>,
    max_keys: usize,
    next_sweep_ms: i64,
    untracked: u64,
}

// === impl TokenBucket ===

impl TokenBucket {
    /// A full bucket.
    ///
    /// # Errors
    /// A rate outside 0.0001..=1,000,000, or a burst of 0.
    pub fn new(rate_per_second: f64, burst: u32) -> Result<Self, RetryError> {
        if !RATES.contains(&rate_per_second) {
            return Err(RetryError::RateRange { rate: rate_per_second });
        }
        if burst == 0 {
            return Err(RetryError::BurstZero);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the rate is in range: 1,000 to 10^13 ns")]
        let interval_ns = (NS_PER_S / rate_per_second).ceil() as i64;
        Ok(Self { interval_ns, capacity_ns: interval_ns.saturating_mul(i64::from(burst)), full_at_ns: i64::MIN })
    }

    /// Takes a token if there is one.
    pub fn try_take(&mut self, now_ms: i64) -> bool {
        self.try_take_many(1, now_ms)
    }

    /// Takes so many tokens if there are so many, or none. More than the burst is taken for the burst: a full bucket.
    pub fn try_take_many(&mut self, count: u32, now_ms: i64) -> bool {
        let now = ns(now_ms);
        let full_at = self.full_at(now).saturating_add(self.time_of(count));
        let taken = full_at.saturating_sub(now) <= self.capacity_ns;
        if taken {
            self.full_at_ns = full_at;
        }
        taken
    }

    /// When the next token is there: now, or later.
    #[must_use]
    pub fn next_ms(&self, now_ms: i64) -> i64 {
        self.next_many_ms(1, now_ms)
    }

    /// When so many tokens are there: now, or later.
    #[must_use]
    pub fn next_many_ms(&self, count: u32, now_ms: i64) -> i64 {
        let now = ns(now_ms);
        let full_at = self.full_at(now).saturating_add(self.time_of(count));
        let wait_ns = full_at.saturating_sub(now).saturating_sub(self.capacity_ns).max(0);
        let whole_ms = wait_ns / NS_PER_MS + i64::from(wait_ns % NS_PER_MS > 0);
        now_ms.saturating_add(whole_ms)
    }

    /// Whether nothing was taken that has not come back: such a bucket can be forgotten.
    #[must_use]
    pub fn is_full(&self, now_ms: i64) -> bool {
        self.full_at_ns <= ns(now_ms)
    }

    /// Takes another rate and burst and keeps what is used up, as far as the new burst allows.
    ///
    /// # Errors
    /// As [`TokenBucket::new`].
    pub fn set_rate(&mut self, rate_per_second: f64, burst: u32) -> Result<(), RetryError> {
        let full_at_ns = self.full_at_ns;
        *self = Self::new(rate_per_second, burst)?;
        self.full_at_ns = full_at_ns;
        Ok(())
    }

    /// What so many tokens are, as time.
    fn time_of(&self, count: u32) -> i64 {
        self.interval_ns.saturating_mul(i64::from(count)).min(self.capacity_ns)
    }

    /// Never before now (a bucket holds no more than its burst) and never later than an empty bucket needs (a clock that jumped
    /// back).
    fn full_at(&self, now: i64) -> i64 {
        self.full_at_ns.clamp(now, now.saturating_add(self.capacity_ns))
    }
}

// === impl Budget ===

impl<K: Eq + Hash + Clone> Budget<K> {
    /// A budget per key, remembered for at most `max_keys` keys that are not idle.
    ///
    /// # Errors
    /// As [`TokenBucket::new`].
    pub fn new(rate_per_second: f64, burst: u32, max_keys: usize) -> Result<Self, RetryError> {
        Ok(Self {
            fresh: TokenBucket::new(rate_per_second, burst)?,
            buckets: HashMap::new(),
            max_keys,
            next_sweep_ms: i64::MIN,
            untracked: 0,
        })
    }

    /// Takes a token of a key if there is one. A key that the full table has no place for passes: a budget smooths, and holding
    /// back what nobody counts would stop it for ever.
    pub fn try_take(&mut self, key: &K, now_ms: i64) -> bool {
        self.try_take_many(key, 1, now_ms)
    }

    /// The same with so many tokens, all or none. More than the burst is taken for the burst.
    pub fn try_take_many(&mut self, key: &K, count: u32, now_ms: i64) -> bool {
        if let Some(bucket) = self.buckets.get_mut(key) {
            return bucket.try_take_many(count, now_ms);
        }
        if self.buckets.len() >= self.max_keys {
            self.sweep(now_ms);
        }
        if self.buckets.len() >= self.max_keys {
            self.untracked = self.untracked.saturating_add(1);
            return true;
        }
        let mut bucket = self.fresh.clone();
        let taken = bucket.try_take_many(count, now_ms);
        self.buckets.insert(key.clone(), bucket);
        taken
    }

    /// When a key's next token is there: now, or later.
    #[must_use]
    pub fn next_ms(&self, key: &K, now_ms: i64) -> i64 {
        self.next_many_ms(key, 1, now_ms)
    }

    /// When so many tokens of a key are there: now, or later.
    #[must_use]
    pub fn next_many_ms(&self, key: &K, count: u32, now_ms: i64) -> i64 {
        self.buckets.get(key).map_or(now_ms, |bucket| bucket.next_many_ms(count, now_ms))
    }

    /// Keys that are remembered now.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.buckets.len()
    }

    /// How often a key passed because the table was full. For a metric.
    #[must_use]
    pub const fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Forgets idle keys: a full bucket and a fresh one are the same.
    fn sweep(&mut self, now_ms: i64) {
        if now_ms < self.next_sweep_ms {
            return;
        }
        self.next_sweep_ms = now_ms.saturating_add(SWEEP_EVERY_MS);
        self.buckets.retain(|_, bucket| !bucket.is_full(now_ms));
    }
}

fn ns(ms: i64) -> i64 {
    ms.saturating_mul(NS_PER_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let mut bucket = TokenBucket::new(10.0, 3).unwrap();
        let taken = (0..5).filter(|_| bucket.try_take(1_000)).count();
        assert_eq!(taken, 3);
        assert_eq!(bucket.next_ms(1_000), 1_100);
        assert!(!bucket.try_take(1_099));
        assert!(bucket.try_take(1_100));
        assert!(!bucket.is_full(1_399));
        assert!(bucket.is_full(1_400));
    }

    #[test]
    fn a_clock_that_jumps_back_locks_for_one_refill_at_most() {
        let mut bucket = TokenBucket::new(10.0, 3).unwrap();
        assert!((0..3).all(|_| bucket.try_take(1_000_000)));
        assert_eq!(bucket.next_ms(0), 100);
    }

    #[test]
    fn a_new_rate_keeps_what_is_used_up() {
        let mut bucket = TokenBucket::new(1.0, 2).unwrap();
        assert!(bucket.try_take(0) && bucket.try_take(0));
        bucket.set_rate(1_000.0, 1).unwrap();
        assert!(!bucket.try_take(0));
        assert!(bucket.try_take(2_000));
        assert!(bucket.set_rate(0.0, 1).is_err());
    }

    #[test]
    fn bad_rates_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9, 1e9] {
            assert!(matches!(TokenBucket::new(rate, 1), Err(RetryError::RateRange { .. })), "{rate}");
        }
        assert_eq!(TokenBucket::new(1.0, 0).unwrap_err(), RetryError::BurstZero);
    }

    #[test]
    fn keys_have_budgets_of_their_own_and_idle_ones_are_forgotten() {
        let mut budget = Budget::new(1.0, 1, 2).unwrap();
        assert!(budget.try_take(&"a", 0) && !budget.try_take(&"a", 0));
        assert!(budget.try_take(&"b", 0) && !budget.try_take(&"b", 0));
        assert_eq!((budget.next_ms(&"a", 0), budget.next_ms(&"new", 0)), (1_000, 0));
        assert!(budget.try_take(&"c", 0) && budget.try_take(&"c", 0), "no place: it passes");
        assert_eq!((budget.tracked(), budget.untracked()), (2, 2));
        assert!(budget.try_take(&"c", 1_000) && !budget.try_take(&"c", 1_000), "the others are idle by now");
        assert_eq!(budget.tracked(), 1);
    }

    proptest! {
        #[test]
        fn no_window_lets_more_pass_than_burst_and_rate(
            rate in 0.1_f64..5_000.0,
            burst in 1_u32..50,
            steps in proptest::collection::vec((0_i64..500, 1_usize..60), 1..40),
        ) {
            let mut bucket = TokenBucket::new(rate, burst).unwrap();
            let mut now = 1_700_000_000_000_i64;
            let mut passed: Vec<i64> = Vec::new();
            for (wait, tries) in steps {
                now += wait;
                for _ in 0..tries {
                    let next = bucket.next_ms(now);
                    let taken = bucket.try_take(now);
                    prop_assert_eq!(taken, next == now, "next_ms tells what try_take does");
                    if taken { passed.push(now) }
                }
            }
            for (index, from) in passed.iter().enumerate() {
                let in_window = passed.len() - index;
                let elapsed = (now - from) as f64 / 1_000.0;
                prop_assert!(in_window as f64 <= f64::from(burst) + rate * elapsed + 1e-6);
            }
        }

        #[test]
        fn a_token_is_there_when_it_was_promised(rate in 0.01_f64..100_000.0, burst in 1_u32..10, takes in 0_usize..30) {
            let mut bucket = TokenBucket::new(rate, burst).unwrap();
            for _ in 0..takes { bucket.try_take(5_000); }
            let next = bucket.next_ms(5_000);
            prop_assert!(bucket.try_take(next));
        }
    }
}
