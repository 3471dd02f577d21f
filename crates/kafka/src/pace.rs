//! Group commit that adapts: a full batch starts at once, a partial one waits in proportion to what the last transaction
//! took, so that a slow cluster gets fewer and fuller transactions.

use std::time::{Duration, Instant};

/// When the next transaction may begin. Pure: the caller passes the time.
#[derive(Clone, Debug)]
pub struct Pace {
    factor: f64,
    floor: Duration,
    cap: Duration,
    next: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    /// Waits `factor` times the last transaction's duration, within `floor..=cap`, counted from its end.
    #[must_use]
    pub fn new(factor: f64, floor: Duration, cap: Duration) -> Self {
        Self { factor, floor, cap: cap.max(floor), next: None }
    }

    /// Whether a transaction may begin now. `full`: the batch reached its limits.
    #[must_use]
    pub fn ready(&self, now: Instant, full: bool) -> bool {
        full || self.next.is_none_or(|next| now >= next)
    }

    /// When a partial batch may begin; not before `now`.
    #[must_use]
    pub fn next_start(&self, now: Instant) -> Instant {
        self.next.map_or(now, |next| next.max(now))
    }

    /// A transaction ended at `now` after `duration`.
    pub fn finished(&mut self, now: Instant, duration: Duration) {
        let wait = Duration::try_from_secs_f64(duration.as_secs_f64() * self.factor).unwrap_or(self.cap);
        self.next = Some(now + wait.clamp(self.floor, self.cap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::instant;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_transaction_starts_at_once() {
        let pace = Pace::new(1.0, 2 * MS, 200 * MS);
        let now = instant();
        assert!(pace.ready(now, false));
        assert_eq!(pace.next_start(now), now);
    }

    #[test]
    fn a_partial_batch_waits_in_proportion_within_floor_and_cap() {
        let mut pace = Pace::new(4.0, 2 * MS, 200 * MS);
        let end = instant();
        for (took, wait) in [(10 * MS, 40 * MS), (MS / 10, 2 * MS), (Duration::from_secs(9), 200 * MS)] {
            pace.finished(end, took);
            assert_eq!(pace.next_start(end), end + wait);
            assert!(!pace.ready(end + wait - MS, false));
            assert!(pace.ready(end + wait, false));
        }
    }

    #[test]
    fn a_full_batch_never_waits() {
        let mut pace = Pace::new(4.0, 2 * MS, 200 * MS);
        let end = instant();
        pace.finished(end, 10 * MS);
        assert!(pace.ready(end, true));
    }

    #[test]
    fn nonsense_factors_are_capped() {
        let mut pace = Pace::new(f64::NAN, 2 * MS, 200 * MS);
        let end = instant();
        pace.finished(end, 10 * MS);
        assert_eq!(pace.next_start(end), end + 200 * MS);
    }
}
