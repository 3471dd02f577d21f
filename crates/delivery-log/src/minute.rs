//! What is counted of a subscription's or an application's deliveries: minutes, and what longer times add up to.

use schemas::ids::{ApplicationId, SubscriptionId};

use crate::histogram::Histogram;
use crate::query::Times;

/// Milliseconds of a minute.
pub(crate) const MINUTE: i64 = 60_000;

/// How deliveries went in one minute, or in a time that begins so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinuteBucket {
    /// When it begins, Unix ms.
    pub from_ms: i64,
    /// Deliveries that ended well.
    pub delivered: u64,
    /// Attempts that failed and are repeated.
    pub retried: u64,
    /// Deliveries that died.
    pub dead_lettered: u64,
    /// Deliveries that were cancelled.
    pub cancelled: u64,
    /// Dead letters that were sent again, or that somebody decided not to send again.
    pub settled: u64,
    /// Requests that were made, whatever came of them.
    pub attempts: u64,
    /// How long they took.
    pub latency: Histogram,
}

/// Which counts.
#[derive(Clone, Copy, Debug)]
pub struct BucketQuery {
    /// Of which application.
    pub application: ApplicationId,
    /// Of which subscription of it; else of all of them together.
    pub subscription: Option<SubscriptionId>,
    /// Minutes that begin within these times.
    pub times: Times,
    /// How much time each answer covers, ms: a multiple of a minute. They begin at multiples of it.
    pub step_ms: i64,
}

// === impl MinuteBucket ===

impl MinuteBucket {
    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.retried += other.retried;
        self.dead_lettered += other.dead_lettered;
        self.cancelled += other.cancelled;
        self.settled += other.settled;
        self.attempts += other.attempts;
        self.latency.merge(&other.latency);
    }

    /// Requests that did not deliver.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.attempts.saturating_sub(self.delivered)
    }

    /// The share of the requests that delivered; `None`: none was made.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        share(self.delivered, self.attempts)
    }

    /// The share of the requests that failed and are repeated; `None`: none was made.
    #[must_use]
    pub fn retry_rate(&self) -> Option<f64> {
        share(self.retried, self.attempts)
    }
}

// === impl BucketQuery ===

impl BucketQuery {
    /// Counts a minute, or not. `minutes` come in order, and so do the answers.
    pub(crate) fn take(&self, minute: &MinuteBucket, into: &mut Vec<MinuteBucket>) {
        if !self.times.has(minute.from_ms) {
            return;
        }
        let from_ms = minute.from_ms - minute.from_ms.rem_euclid(self.step_ms.max(MINUTE));
        if into.last().is_none_or(|last| last.from_ms != from_ms) {
            into.push(MinuteBucket { from_ms, ..MinuteBucket::default() });
        }
        if let Some(last) = into.last_mut() {
            last.add(minute);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of some days are far below 2^53")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn minutes_add_up_to_the_times_they_are_of() {
        let minute = |number: i64, attempts, delivered| {
            let mut latency = Histogram::default();
            (0..attempts).for_each(|_| latency.record(number));
            MinuteBucket { from_ms: number * MINUTE, attempts, delivered, latency, ..MinuteBucket::default() }
        };
        let times = Times { from_ms: Some(2 * MINUTE), to_ms: Some(11 * MINUTE) };
        let application = ApplicationId(Uuid::nil());
        let query = BucketQuery { application, subscription: None, times, step_ms: 5 * MINUTE };
        let mut found = Vec::new();
        for made in [minute(1, 9, 9), minute(2, 4, 1), minute(4, 6, 4), minute(11, 1, 0), minute(12, 5, 5)] {
            query.take(&made, &mut found);
        }
        let told: Vec<_> = found.iter().map(|it| (it.from_ms / MINUTE, it.attempts, it.success_rate())).collect();
        assert_eq!(told, [(0, 10, Some(0.5)), (10, 1, Some(0.0))]);
        assert_eq!((found[0].latency.count(), found[0].failed()), (10, 5));
        assert_eq!(MinuteBucket::default().retry_rate(), None);
    }
}
