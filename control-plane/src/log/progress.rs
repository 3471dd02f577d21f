//! How far the log is: behind the topic, and from when on it is whole.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LogProgress(Mutex<KnownProgress>);

#[derive(Debug, Default)]
struct KnownProgress {
    /// None before the first reader has begun: then nothing is known.
    partitions: BTreeMap<i32, ReachedTo>,
    whole_from_ms: Option<i64>,
    /// Offsets that were deleted before they had been read.
    lost: u64,
    /// Everything below these offsets that is of the newest part is in the log.
    stored: BTreeMap<i32, i64>,
}

/// Where the reader of a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReachedTo {
    /// Everything that was written is in the log.
    End,
    /// The record that was taken last has this Kafka timestamp, Unix ms.
    Time(i64),
}

// === impl LogProgress ===

impl LogProgress {
    /// A reader begins: nothing is reached since this time, Unix ms, and days before it have yet to be looked at.
    pub(super) fn begin(&self, partitions: impl Iterator<Item = i32>, since_ms: i64) {
        let mut known = self.0.lock();
        let before = std::mem::take(&mut known.partitions);
        // A reader that begins anew is where the one before it was.
        known.partitions = partitions
            .map(|partition| {
                let was = match before.get(&partition) {
                    Some(ReachedTo::Time(ms)) => *ms,
                    Some(ReachedTo::End) | None => since_ms,
                };
                (partition, ReachedTo::Time(was))
            })
            .collect();
        known.whole_from_ms = Some(since_ms);
        known.stored.clear();
    }

    /// Everything below this offset is in the log, of the days that are read last apart.
    pub(super) fn stored(&self, partition: i32, below: i64) {
        self.0.lock().stored.insert(partition, below);
    }

    /// Whether everything below these offsets is in the log, of all days. Of a partition that ends at 0 there is nothing to read.
    pub(super) fn has(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let known = self.0.lock();
        let is_stored =
            |(partition, end): (&i32, &i64)| *end == 0 || known.stored.get(partition).is_some_and(|below| below >= end);
        known.whole_from_ms.is_none() && ends.iter().all(is_stored)
    }

    /// The reader failed at this time, Unix ms: what is written from then on is not in the log.
    pub(super) fn failed(&self, now_ms: i64) {
        for reached in self.0.lock().partitions.values_mut() {
            if *reached == ReachedTo::End {
                *reached = ReachedTo::Time(now_ms);
            }
        }
    }

    pub(super) fn reached(&self, partition: i32, reached: ReachedTo) {
        self.0.lock().partitions.insert(partition, reached);
    }

    /// Days are whole from this time on, Unix ms; `None`: all of them.
    pub(super) fn whole_from(&self, ms: Option<i64>) {
        self.0.lock().whole_from_ms = ms;
    }

    /// How old the oldest record is that may be missing, ms; `None`: no reader has begun, and nobody knows.
    pub(super) fn behind_ms(&self, now_ms: i64) -> Option<i64> {
        let known = self.0.lock();
        let behind = known.partitions.values().map(|reached| match reached {
            ReachedTo::End => 0,
            ReachedTo::Time(ms) => now_ms.saturating_sub(*ms).max(0),
        });
        behind.max()
    }

    /// So many offsets were deleted before they had been read.
    pub(super) fn lost(&self, offsets: u64) {
        self.0.lock().lost += offsets;
    }

    /// All that were.
    pub(super) fn all_lost(&self) -> u64 {
        self.0.lock().lost
    }

    /// Where the reader of each partition is.
    pub(super) fn partitions(&self) -> BTreeMap<i32, ReachedTo> {
        self.0.lock().partitions.clone()
    }

    pub(super) fn whole_from_ms(&self) -> Option<i64> {
        self.0.lock().whole_from_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_as_far_behind_as_its_slowest_partition() {
        let progress = LogProgress::default();
        assert_eq!(progress.behind_ms(5_000), None, "nothing is known yet");
        progress.begin(0..2, 1_000);
        assert_eq!(progress.behind_ms(5_000), Some(4_000));
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::Time(4_500));
        assert_eq!(progress.behind_ms(5_000), Some(500));
        progress.reached(1, ReachedTo::End);
        assert_eq!(progress.behind_ms(5_000), Some(0));
    }

    #[test]
    fn a_reader_that_begins_anew_is_where_it_was() {
        let progress = LogProgress::default();
        progress.begin(0..2, 1_000);
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::Time(3_000));
        progress.begin(0..3, 4_000);
        assert_eq!(progress.behind_ms(5_000), Some(2_000));
    }

    #[test]
    fn after_a_failure_the_age_grows_from_then() {
        let progress = LogProgress::default();
        progress.failed(1_000);
        assert_eq!(progress.behind_ms(5_000), None, "a reader that never began");
        progress.begin(0..2, 1_000);
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::End);
        progress.failed(6_000);
        progress.failed(7_000);
        assert_eq!(progress.behind_ms(9_000), Some(3_000), "the second failure is of the same age");
        progress.begin(0..2, 1_000);
        assert_eq!(progress.behind_ms(9_000), Some(3_000), "and the next reader goes on there");
    }

    #[test]
    fn everything_is_there_once_all_of_the_newest_part_and_all_days_are() {
        // Nothing was ever written to the second, and nobody has said where its reader is.
        let (progress, ends) = (LogProgress::default(), BTreeMap::from([(0, 7), (1, 0)]));
        progress.begin(0..2, 1_000);
        progress.stored(0, 6);
        progress.whole_from(None);
        assert!(!progress.has(&ends));
        progress.stored(0, 7);
        assert!(progress.has(&ends));
        progress.begin(0..2, 1_000);
        assert!(!progress.has(&ends), "a reader that begins anew knows nothing");
    }

    #[test]
    fn older_days_are_not_whole_before_they_were_looked_at() {
        let progress = LogProgress::default();
        progress.begin(0..2, 1_000);
        assert_eq!(progress.whole_from_ms(), Some(1_000));
        progress.whole_from(None);
        assert_eq!(progress.whole_from_ms(), None);
        progress.begin(0..2, 4_000);
        assert_eq!(progress.whole_from_ms(), Some(4_000), "the next reader has to look again");
    }
}
