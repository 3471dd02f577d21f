//! What a lane does per second: measured, limited by its subscription, and slowed by its endpoint ([`Throttle`]).
//!
//! **Measured** is the better one of two: `cap / mean duration` (Little's law: what the lane could do, also while it has little to
//! do or the worker has no room for it), and the ends per second while all places were taken. A fast lane looks slow to one
//! of them now and then, to both only if it is. While nothing moves for long, no request is faster than that has lasted. What is
//! turned away in a millisecond says nothing of how long the work takes, and is not measured.

use retry::RetryError;

use super::throttle::{PacedRate, Refusing, Throttle};

/// Weight of the newest duration in the mean.
const WEIGHT: f64 = 0.1;

/// A lane's rate.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    mean_ms: f64,
    measured: u64,
    outcomes: u64,
    asked: Option<PacedRate>,
    throttle: Throttle,
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
                *none = Some(PacedRate::new(per_second)?);
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
        self.mean_ms = if self.measured == 0 { elapsed } else { self.mean_ms + WEIGHT * (elapsed - self.mean_ms) };
        self.measured += 1;
        self.outcomes += 1;
    }

    /// The endpoint took the request of this number; the lane has so many places.
    pub(crate) fn on_success(&mut self, number: u64, cap: u32, now_ms: i64) {
        self.throttle.on_success(number, places_per_second(cap, self.mean_ms), now_ms);
    }

    /// The endpoint turned the request of this number away; the next one that begins has the number `next`.
    pub(crate) fn on_refusal(&mut self, how: Refusing, (number, next): (u64, u64), now_ms: i64) {
        self.outcomes += 1;
        self.throttle.on_refusal(how, (number, next), now_ms);
    }

    /// Requests per second with `cap` places, of which `busy` end per second, or none for `stalled_ms`.
    pub(crate) fn per_second(&self, cap: u32, busy: Option<f64>, stalled_ms: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 ms")]
        let stalled = places_per_second(cap, stalled_ms as f64);
        let measured = places_per_second(cap, self.mean_ms).max(busy.unwrap_or(0.0)).min(stalled);
        self.limits().fold(measured, |rate, limit| rate.min(limit.per_second()))
    }

    /// Takes the right to send one now.
    ///
    /// # Errors
    /// When to ask again, ms.
    pub(crate) fn try_take(&mut self, now_ms: i64) -> Result<(), i64> {
        let next_ms = self.limits().map(|limit| limit.bucket().next_ms(now_ms)).max().unwrap_or(now_ms);
        if next_ms > now_ms {
            return Err(next_ms);
        }
        for limit in self.asked.iter_mut().chain(self.throttle.rate_mut()) {
            limit.bucket_mut().try_take(now_ms);
        }
        Ok(())
    }

    /// Whether everything its subscription's limit allows is there: a new one would allow no more.
    pub(crate) fn is_rested(&self, now_ms: i64) -> bool {
        self.asked.as_ref().is_none_or(|limit| limit.bucket().is_full(now_ms))
    }

    /// Whether its endpoint asked for less and has not had enough successes since.
    pub(crate) fn is_slowed(&self) -> bool {
        self.throttle.rate().is_some()
    }

    /// Its circuit has closed: it grows by that from now on.
    pub(crate) fn forget_refusals(&mut self) {
        self.throttle.forget();
    }

    /// What was measured was another endpoint.
    pub(crate) fn forget_measured(&mut self) {
        *self = Self { asked: self.asked.take(), ..Self::default() };
    }

    fn limits(&self) -> impl Iterator<Item = &PacedRate> {
        self.asked.iter().chain(self.throttle.rate())
    }
}

/// The clock ticks in milliseconds: what took 0 took less than one.
fn places_per_second(places: u32, ms: f64) -> f64 {
    f64::from(places) * 1_000.0 / ms.max(0.2)
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
    fn what_is_turned_away_at_once_makes_a_lane_no_faster() {
        let mut rate = Rate::default();
        rate.observe(100);
        for number in 0..100 {
            rate.on_refusal(Refusing::TooMany, (number, number + 1), 0);
        }
        rate.forget_refusals();
        assert!((rate.per_second(10, None, 0) - 100.0).abs() < 1e-9);
        assert_eq!(rate.outcomes(), 101);
    }

    #[test]
    fn another_endpoint_keeps_the_subscriptions_limit_and_nothing_else() {
        let mut rate = Rate::default();
        rate.set_limit(Some(10.0)).unwrap();
        rate.observe(5_000);
        rate.on_refusal(Refusing::TooMany, (0, 1), 0);
        assert!(rate.is_slowed() && rate.try_take(0).is_ok());
        rate.forget_measured();
        assert!(!rate.is_slowed() && rate.outcomes() == 0);
        assert_eq!(rate.try_take(0), Err(100), "what was taken of it is taken");
    }
}
