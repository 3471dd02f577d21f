//! What the role tells `status` beside what every stage measures: how much it makes, and whether it stands still for `control`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chassis::status::Facts;
use schemas::status::FanoutHealth;

/// The end of `control` is known in milliseconds; a question that is open for longer is worth telling.
const SLOW_ANSWER: Duration = Duration::from_secs(1);

/// What has to be remembered between two measurements. Pure.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// When the question for the end of `control` that is under way was asked.
    pub(crate) asked: Option<Instant>,
    /// When Kafka failed to answer it last, on the clock that counts suspension, ms: nothing could move before.
    pub(crate) failed_boot_ms: Arc<AtomicI64>,
    /// When it was measured last, and how many deliveries had been made by then.
    looked: Option<(Instant, u64)>,
}

/// What is measured once a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seconds {
    /// Partitions owned.
    pub(crate) partitions: usize,
    /// Records read and not committed.
    pub(crate) live: usize,
    /// Records that were not committed yet.
    pub(crate) lag_records: i64,
    /// Age of the oldest record read and not committed, ms.
    pub(crate) lag_ms: i64,
    /// Deliveries made since the start.
    pub(crate) matched: u64,
    /// When a transaction was committed last, Unix ms.
    pub(crate) last_commit_ms: Option<i64>,
    /// Position of the snapshot.
    pub(crate) position: i64,
}

/// What is told before the snapshot has caught up.
pub(crate) fn waiting_for_control() -> Facts {
    let fanout = Some(FanoutHealth { waiting_for_control: true, ..FanoutHealth::default() });
    Facts { fanout, ..Facts::default() }
}

/// What is told while there is no source.
pub(crate) fn reads_nothing() -> Facts {
    Facts { fanout: Some(FanoutHealth::default()), ..Facts::default() }
}

// === impl Pulse ===

impl Pulse {
    /// Since when a record could have been planned, if the last one was at `planned_boot_ms`, on the clock that counts suspension, ms.
    pub(crate) fn waits_since(&self, planned_boot_ms: i64) -> i64 {
        planned_boot_ms.max(self.failed_boot_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn facts(&mut self, measured: Seconds, now: Instant) -> Facts {
        let matched_per_second = self.looked.map_or(0, |(at, before)| {
            let made = u128::from(measured.matched.saturating_sub(before));
            let elapsed_ms = now.saturating_duration_since(at).as_millis().max(1);
            u64::try_from(made * 1_000 / elapsed_ms).unwrap_or(u64::MAX)
        });
        self.looked = Some((now, measured.matched));
        let waits = self.asked.is_some_and(|since| now.saturating_duration_since(since) >= SLOW_ANSWER);
        Facts {
            partitions: u32::try_from(measured.partitions).unwrap_or(u32::MAX),
            live: measured.live as u64,
            fanout: Some(FanoutHealth {
                lag_records: u64::try_from(measured.lag_records).unwrap_or(0),
                lag_ms: measured.lag_ms.max(0),
                matched_per_second,
                last_commit_ms: measured.last_commit_ms,
                waiting_for_control: waits,
                position: measured.position,
            }),
            ..Facts::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock;

    use super::*;

    #[test]
    fn a_question_that_stays_open_is_told_and_a_quick_one_is_not() {
        let (mut pulse, begin) = (Pulse::default(), clock::instant());
        let waits = |pulse: &mut Pulse, after| {
            pulse.facts(Seconds::default(), begin + after).fanout.is_some_and(|it| it.waiting_for_control)
        };
        pulse.asked = Some(begin);
        assert!(!waits(&mut pulse, Duration::from_millis(5)));
        assert!(waits(&mut pulse, SLOW_ANSWER));
        pulse.asked = None;
        assert!(!waits(&mut pulse, SLOW_ANSWER * 2));
    }

    #[test]
    fn what_kafka_does_not_answer_counts_from_when_it_failed_last() {
        let pulse = Pulse::default();
        assert_eq!(pulse.waits_since(1_000), 1_000);
        pulse.failed_boot_ms.store(600_000, Ordering::Relaxed);
        assert_eq!(pulse.waits_since(1_000), 600_000, "`control` has no leader: no new process would plan it either");
        assert_eq!(pulse.waits_since(700_000), 700_000);
    }

    #[test]
    fn deliveries_are_told_per_second_whenever_it_looks() {
        let (mut pulse, begin) = (Pulse::default(), clock::instant());
        let mut rate = |matched, seconds| {
            let measured = Seconds { matched, lag_records: -1, ..Seconds::default() };
            let fanout = pulse.facts(measured, begin + Duration::from_secs(seconds)).fanout.unwrap();
            assert_eq!(fanout.lag_records, 0, "an end that is not known yet is no lag");
            fanout.matched_per_second
        };
        assert_eq!((rate(500, 0), rate(800, 1), rate(1_000, 3), rate(1_000, 4)), (0, 300, 100, 0));
    }
}
