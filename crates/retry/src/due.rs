//! Due times in unix milliseconds, as they stand in headers.

use std::time::Duration;

use crate::duration::ms;
use crate::jitter::jittered;
use crate::tiers::Tiers;

/// What a receiver asked for, and the most that is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    /// The wait in a `Retry-After` header, if there was one.
    pub asked: Option<Duration>,
    /// A longer one counts as this (24 h by default).
    pub cap: Duration,
}

/// When the next attempt is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The whole wait from now.
    pub wait: Duration,
    /// Its end in unix milliseconds.
    pub due_ms: i64,
}

/// When to try again: after the schedule's delay or what the receiver asked for, whichever is longer, and jitter on top.
///
/// So it is never before either. `unit` in 0..1 chooses the jitter, see [`crate::unit`].
#[must_use]
pub fn next(now_ms: i64, delay: Duration, retry_after: RetryAfter, unit: f64, tiers: &Tiers) -> Next {
    let asked = retry_after.asked.unwrap_or_default().min(retry_after.cap);
    let wait = jittered(delay.max(asked), unit, tiers);
    Next { wait, due_ms: due_ms(now_ms, wait) }
}

/// The end of a wait that begins now. Parts of a millisecond count as a whole one: never early.
#[must_use]
pub fn due_ms(now_ms: i64, wait: Duration) -> i64 {
    let whole = ms(wait.saturating_add(Duration::from_nanos(999_999)));
    now_ms.saturating_add(i64::try_from(whole).unwrap_or(i64::MAX))
}

/// What is left until a due time: zero once it has come.
#[must_use]
pub fn remaining(now_ms: i64, due_ms: i64) -> Duration {
    let left = due_ms.saturating_sub(now_ms);
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn retry_after(asked: Option<Duration>) -> RetryAfter {
        RetryAfter { asked, cap: 24 * HOUR }
    }

    #[test]
    fn the_longer_of_schedule_and_receiver_counts() {
        let wait = |delay, asked| next(0, delay, retry_after(asked), 0.0, &Tiers::default()).wait;
        assert_eq!(wait(HOUR, None), HOUR);
        assert_eq!(wait(HOUR, Some(Duration::from_secs(1))), HOUR);
        assert_eq!(wait(Duration::from_secs(5), Some(HOUR)), HOUR);
        let capped = wait(Duration::from_secs(5), Some(1000 * HOUR));
        assert!((24 * HOUR..25 * HOUR).contains(&capped), "{capped:?}");
    }

    #[test]
    fn due_times_round_up_and_saturate() {
        assert_eq!(due_ms(10, Duration::from_micros(1)), 11);
        assert_eq!(due_ms(10, Duration::from_millis(5)), 15);
        assert_eq!(due_ms(10, Duration::MAX), i64::MAX);
        assert_eq!(remaining(10, 15), Duration::from_millis(5));
        assert_eq!(remaining(15, 10), Duration::ZERO);
        assert_eq!(remaining(i64::MAX, i64::MIN), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn the_next_attempt_is_never_early(
            now in 0_i64..4_000_000_000_000,
            delay in 0_u64..1_000_000_000,
            asked in proptest::option::of(0_u64..86_400_000),
            unit in 0.0_f64..1.0,
        ) {
            let asked = asked.map(Duration::from_millis);
            let delay = Duration::from_millis(delay);
            let next = next(now, delay, retry_after(asked), unit, &Tiers::default());
            prop_assert!(next.wait >= delay && next.wait >= asked.unwrap_or_default());
            prop_assert_eq!(remaining(now, next.due_ms), next.wait);
        }
    }
}
