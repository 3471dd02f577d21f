//! Group commit that adapts: a full batch starts at once, a partial one waits in proportion to what the last transaction
//! took, so that a slow cluster gets fewer and fuller transactions. Who says how full a batch was waits less after a small one:
//! while there is little to do, waiting for company only adds to everybody's latency.

use std::time::{Duration, Instant};

/// A batch that was filled to this part waits the whole factor. Below, the wait grows with the root of the filling: a tenth
/// of that load waits a third, a hundredth a tenth. So the rate of transactions, which is what they cost the brokers, rises
/// gently as latency falls, and where batches hold a handful of records they start almost at once.
const WHOLE_FACTOR_FROM: f64 = 0.125;

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
        self.finished_filled(now, duration, 1.0);
    }

    /// A transaction ended at `now` after `duration`; its batch had been filled to this part of its limits (0 to 1).
    pub fn finished_filled(&mut self, now: Instant, duration: Duration, filled: f64) {
        let share = (filled / WHOLE_FACTOR_FROM).clamp(0.0, 1.0).sqrt();
        let wait = Duration::try_from_secs_f64(duration.as_secs_f64() * self.factor * share).unwrap_or(self.cap);
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
    fn the_emptier_the_last_batch_the_shorter_the_wait_down_to_the_floor() {
        let mut pace = Pace::new(1.0, 2 * MS, 200 * MS);
        let end = instant();
        let mut wait = |filled| {
            pace.finished_filled(end, 12 * MS, filled);
            pace.next_start(end) - end
        };
        // Three events of two outputs each, of four thousand: 200 events/s.
        assert_eq!(wait(6.0 / 4_000.0), 2 * MS);
        assert_eq!(wait(0.0), 2 * MS);
        let waits = [0.01, 0.05, 0.1, 0.125, 0.5, 1.0].map(&mut wait);
        assert!(waits.is_sorted());
        assert_eq!(waits[3..], [12 * MS; 3]);
        assert!((3 * MS..4 * MS).contains(&waits[0]));
        assert_eq!(wait(f64::NAN), 200 * MS, "nonsense waits the longest");
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
