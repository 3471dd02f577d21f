//! What a new owner finds: where to start, what is done above it, and whether the topic is still the same one.

use crate::error::KafkaError;
use crate::lease::Lease;
use crate::window::Window;

/// The state of one partition at takeover.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Whose state it is.
    pub lease: Lease,
    /// The stable committed offset; `None`: never committed.
    pub committed: Option<i64>,
    /// Everything below this that is not listed in `not_done` is done.
    pub read_up_to: i64,
    /// What is not done in `[committed, read_up_to)`, ascending.
    pub not_done: Vec<i64>,
    /// First available offset.
    pub log_start: i64,
    /// High watermark: records of open transactions count.
    pub log_end: i64,
    /// The committed offset belongs to a topic of the same name that was deleted since.
    pub recreated: bool,
}

// === impl Restored ===

impl Restored {
    /// Where to begin reading: the committed offset (the log's start if retention has passed it, see [`Self::lost`]), the
    /// start of a recreated topic, 0 for a partition that never had a record.
    ///
    /// Whoever creates a topic commits offset 0 for its reader ([`crate::group::begin`]). So records without a committed offset
    /// mean that the offset was lost, also where the log begins at 0: a mirrored topic without its group, a deleted group.
    ///
    /// # Errors
    /// [`KafkaError::NoCommittedOffset`]: nothing is committed and there are records, or were (rule 8).
    /// [`KafkaError::OffsetOutOfRange`]: committed above the log's end.
    pub fn start(&self) -> Result<i64, KafkaError> {
        let partition = || self.lease.partition.clone();
        if self.recreated {
            return Ok(self.log_start);
        }
        match self.committed {
            Some(offset) if offset > self.log_end => Err(KafkaError::OffsetOutOfRange {
                partition: partition(),
                offset,
                log_start: self.log_start,
                log_end: self.log_end,
            }),
            Some(offset) => Ok(offset.max(self.log_start)),
            None if self.log_end == 0 => Ok(0),
            None => Err(KafkaError::NoCommittedOffset {
                partition: partition(),
                log_start: self.log_start,
                log_end: self.log_end,
            }),
        }
    }

    /// Offsets that retention deleted before they were read: from the committed offset to the log's start.
    #[must_use]
    pub fn lost(&self) -> i64 {
        match self.committed {
            Some(committed) if !self.recreated => (self.log_start - committed).max(0),
            Some(_) | None => 0,
        }
    }

    /// The window to go on with when reading begins at `start`.
    #[must_use]
    pub fn window(&self, start: i64) -> Window {
        if self.recreated || self.committed.is_none() {
            return Window::restore(start, start, Vec::new());
        }
        let not_done = self.not_done.iter().copied().filter(|offset| *offset >= start).collect();
        Window::restore(start, self.read_up_to.max(start), not_done)
    }
}

#[cfg(test)]
mod tests {
    use schemas::record::TopicPartition;

    use super::*;
    use crate::lease::Epoch;

    fn restored(committed: Option<i64>, log_start: i64, log_end: i64) -> Restored {
        Restored {
            lease: Lease { partition: TopicPartition::new("t", 0), epoch: Epoch(1) },
            committed,
            read_up_to: committed.unwrap_or(log_start) + 4,
            not_done: committed.into_iter().flat_map(|at| [at, at + 2]).collect(),
            log_start,
            log_end,
            recreated: false,
        }
    }

    #[test]
    fn a_partition_starts_where_it_was_committed_or_at_its_first_record() {
        assert_eq!(restored(Some(5), 0, 10).start().unwrap(), 5);
        assert_eq!(restored(None, 0, 0).start().unwrap(), 0);
        assert!(matches!(restored(Some(11), 0, 10).start(), Err(KafkaError::OffsetOutOfRange { offset: 11, .. })));
        assert!(restored(Some(10), 0, 10).start().is_ok());
    }

    #[test]
    fn records_without_a_committed_offset_stop_a_role_wherever_the_log_begins() {
        for (log_start, log_end) in [(0, 10), (3, 10), (10, 10)] {
            let error = restored(None, log_start, log_end).start().unwrap_err();
            assert!(matches!(error, KafkaError::NoCommittedOffset { .. }), "{error}");
        }
        // A topic that was made anew under a running role is read from its beginning all the same.
        let recreated = Restored { recreated: true, ..restored(None, 0, 10) };
        assert_eq!(recreated.start().unwrap(), 0);
    }

    #[test]
    fn what_retention_took_is_counted_and_skipped() {
        let restored = restored(Some(5), 7, 10);
        assert_eq!((restored.start().unwrap(), restored.lost()), (7, 2));
        assert_eq!(restored.window(7).progress(), (7, 9, vec![7]));
    }

    #[test]
    fn a_recreated_topic_starts_at_its_beginning_with_nothing_done() {
        let mut restored = restored(Some(5), 0, 2);
        restored.recreated = true;
        assert_eq!((restored.start().unwrap(), restored.lost()), (0, 0));
        assert_eq!(restored.window(0).progress(), (0, 0, vec![]));
    }
}
