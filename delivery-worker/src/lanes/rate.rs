//! What a lane does per second: measured, limited by its subscription, and slowed by its endpoint.
//!
//! **Measured** is the better one of two: `cap / mean duration` (Little's law: what the lane could do, also while it has little to
//! do or the worker has no room for it), and the ends per second while all places were taken. A fast lane looks slow to one
//! of them now and then, to both only if it is. While nothing moves for long, no request is faster than that has lasted.
//!
//! **Slowed**: 429, 502 and 504 halve the rate, at most once a second (requests in flight fail together); each success adds a
//! share, so that the rate comes back in about 20 s, and at its old value the limit goes.

use retry::{RetryError, TokenBucket};

/// Weight of the newest duration in the mean.
const WEIGHT: f64 = 0.1;
/// Shortest time between two halvings.
const HALVE_EVERY_MS: i64 = 1_000;
/// The slowest a lane is slowed to, per second.
const SLOWEST: f64 = 0.1;
/// Seconds of unbroken success after which a halved rate is back.
const RECOVERY_S: f64 = 20.0;
/// A bucket holds what comes in this share of a second: timers tick in milliseconds, faster lanes need a few at once.
const BURST_S: f64 = 0.02;
/// Rates the bucket can count.
const COUNTABLE: std::ops::RangeInclusive<f64> = 0.0001..=1_000_000.0;

/// A lane's rate.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    mean_ms: f64,
    outcomes: u64,
    asked: Option<Limit>,
    slowed: Option<Slowed>,
}

#[derive(Debug)]
struct Limit {
    per_second: f64,
    bucket: TokenBucket,
}

#[derive(Debug)]
struct Slowed {
    limit: Limit,
    /// What it was before.
    before: f64,
    halved_ms: i64,
}

impl Rate {
    /// Takes the subscription's limit.
    ///
    /// # Errors
    /// A rate that cannot be counted; the former limit stays.
    pub(crate) fn set_limit(&mut self, per_second: Option<f64>) -> Result<(), RetryError> {
        let Some(per_second) = per_second else {
            self.asked = None;
            return Ok(());
        };
        match &mut self.asked {
            Some(limit) => limit.set(per_second),
            none @ None => {
                *none = Some(Limit::new(per_second)?);
                Ok(())
            }
        }
    }

    /// How many outcomes are known.
    pub(crate) fn outcomes(&self) -> u64 {
        self.outcomes
    }

    /// An attempt ended after this long.
    pub(crate) fn observe(&mut self, elapsed_ms: i64) {
        #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 ms")]
        let elapsed = elapsed_ms.max(0) as f64;
        self.mean_ms = if self.outcomes == 0 { elapsed } else { self.mean_ms + WEIGHT * (elapsed - self.mean_ms) };
        self.outcomes += 1;
    }

    /// Requests per second with `cap` places, of which `busy` end per second, or none for `stalled_ms`.
    pub(crate) fn per_second(&self, cap: u32, busy: Option<f64>, stalled_ms: i64) -> f64 {
        // The clock ticks in milliseconds: what took 0 took less than one.
        let per_second = |ms: f64| f64::from(cap) * 1_000.0 / ms.max(0.2);
        #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 ms")]
        let stalled = per_second(stalled_ms as f64);
        let measured = per_second(self.mean_ms).max(busy.unwrap_or(0.0)).min(stalled);
        let limits = self.asked.iter().chain(self.slowed.iter().map(|slowed| &slowed.limit));
        limits.fold(measured, |rate, limit| rate.min(limit.per_second))
    }

    /// Takes the right to send one now.
    ///
    /// # Errors
    /// When to ask again, Unix ms.
    pub(crate) fn try_take(&mut self, now_ms: i64) -> Result<(), i64> {
        let buckets = self.asked.iter().chain(self.slowed.iter().map(|slowed| &slowed.limit));
        let next_ms = buckets.map(|limit| limit.bucket.next_ms(now_ms)).max().unwrap_or(now_ms);
        if next_ms > now_ms {
            return Err(next_ms);
        }
        for limit in self.asked.iter_mut().chain(self.slowed.iter_mut().map(|slowed| &mut slowed.limit)) {
            limit.bucket.try_take(now_ms);
        }
        Ok(())
    }

    /// Whether everything its subscription's limit allows is there: a new one would allow no more.
    pub(crate) fn is_rested(&self, now_ms: i64) -> bool {
        self.asked.as_ref().is_none_or(|limit| limit.bucket.is_full(now_ms))
    }

    /// Whether its endpoint asked for less and has not had enough successes since.
    pub(crate) fn is_slowed(&self) -> bool {
        self.slowed.is_some()
    }

    /// The endpoint asked for less.
    pub(crate) fn slow_down(&mut self, cap: u32, now_ms: i64) {
        if self.slowed.as_ref().is_some_and(|slowed| now_ms - slowed.halved_ms < HALVE_EVERY_MS) {
            return;
        }
        let now = self.per_second(cap, None, 0);
        let before = self.slowed.as_ref().map_or(now, |slowed| slowed.before);
        if let Ok(limit) = Limit::new((now / 2.0).max(SLOWEST)) {
            self.slowed = Some(Slowed { limit, before, halved_ms: now_ms });
        }
    }

    /// The endpoint took one.
    pub(crate) fn speed_up(&mut self) {
        let Some(slowed) = &mut self.slowed else { return };
        let rate = slowed.limit.per_second;
        let next = rate + slowed.before / RECOVERY_S / rate.max(1.0);
        if next >= slowed.before || slowed.limit.set(next).is_err() {
            self.slowed = None;
        }
    }
}

impl Limit {
    fn new(per_second: f64) -> Result<Self, RetryError> {
        Ok(Self { per_second, bucket: TokenBucket::new(countable(per_second), burst(per_second))? })
    }

    fn set(&mut self, per_second: f64) -> Result<(), RetryError> {
        self.bucket.set_rate(countable(per_second), burst(per_second))?;
        self.per_second = per_second;
        Ok(())
    }
}

/// NaN stays NaN and is refused by the bucket.
fn countable(per_second: f64) -> f64 {
    per_second.clamp(*COUNTABLE.start(), *COUNTABLE.end())
}

fn burst(per_second: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 20,000 by the clamp")]
    let burst = (countable(per_second) * BURST_S) as u32;
    burst.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_rate_is_cap_over_duration_and_falls_while_nothing_moves() {
        let mut rate = Rate::default();
        rate.observe(100);
        assert!((rate.per_second(10, None, 0) - 100.0).abs() < 1e-9);
        assert!((rate.per_second(10, Some(300.0), 0) - 300.0).abs() < 1e-9);
        assert!((rate.per_second(10, Some(70.0), 5_000) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_rate_is_never_exceeded() {
        let mut rate = Rate::default();
        rate.set_limit(Some(10.0)).unwrap();
        let sent = (0..5_000).filter(|now| rate.try_take(*now).is_ok()).count();
        assert!((49..=51).contains(&sent), "{sent}");
        assert!(rate.set_limit(Some(f64::NAN)).is_err());
    }

    #[test]
    fn slowing_halves_once_a_second_and_success_brings_the_rate_back() {
        let mut rate = Rate::default();
        rate.observe(10);
        let full = rate.per_second(4, None, 0);
        rate.slow_down(4, 0);
        rate.slow_down(4, 10);
        assert!((rate.per_second(4, None, 0) - full / 2.0).abs() < 1e-9);
        rate.slow_down(4, 1_000);
        assert!((rate.per_second(4, None, 0) - full / 4.0).abs() < 1e-9);
        let needed = (1..100_000).find(|_| {
            rate.speed_up();
            rate.slowed.is_none()
        });
        assert!(needed.is_some_and(|successes| successes < 8_000), "{needed:?}");
        assert!((rate.per_second(4, None, 0) - full).abs() < 1e-9);
    }
}
