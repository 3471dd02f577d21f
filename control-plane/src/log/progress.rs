//! How far the log is: behind the topic, and from when on it is whole.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LogProgress(Mutex<KnownProgress>);

#[derive(Debug, Default)]
struct KnownProgress {
    partitions: BTreeMap<i32, ReachedTo>,
    whole_from_ms: Option<i64>,
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
    /// A reader begins: nothing is reached since this time, Unix ms.
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
    }

    pub(super) fn reached(&self, partition: i32, reached: ReachedTo) {
        self.0.lock().partitions.insert(partition, reached);
    }

    /// Days are whole from this time on, Unix ms; `None`: all of them.
    pub(super) fn whole_from(&self, ms: Option<i64>) {
        self.0.lock().whole_from_ms = ms;
    }

    /// How old the oldest record is that may be missing, ms.
    pub(super) fn behind_ms(&self, now_ms: i64) -> i64 {
        let known = self.0.lock();
        let behind = known.partitions.values().map(|reached| match reached {
            ReachedTo::End => 0,
            ReachedTo::Time(ms) => now_ms.saturating_sub(*ms).max(0),
        });
        behind.max().unwrap_or(0)
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
        assert_eq!(progress.behind_ms(5_000), 0);
        progress.begin(0..2, 1_000);
        assert_eq!(progress.behind_ms(5_000), 4_000);
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::Time(4_500));
        assert_eq!(progress.behind_ms(5_000), 500);
        progress.reached(1, ReachedTo::End);
        assert_eq!(progress.behind_ms(5_000), 0);
    }

    #[test]
    fn a_reader_that_begins_anew_is_where_it_was() {
        let progress = LogProgress::default();
        progress.begin(0..2, 1_000);
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::Time(3_000));
        progress.begin(0..3, 4_000);
        assert_eq!(progress.behind_ms(5_000), 2_000);
    }
}
