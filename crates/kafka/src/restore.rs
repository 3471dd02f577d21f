//! What a new owner finds: where to start, what is done above it, and whether the topic is still the same one.

use uuid::Uuid;

use crate::error::KafkaError;
use crate::lease::Lease;
use crate::metadata::{ListsClaim, PositionClaim, SliceCursor};
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
    /// What the previous owner said about its lists; of a topic that was recreated, too.
    pub lists: Option<ListsClaim>,
    /// Which positions of a source the committed offset belongs to, where that was said; not of a topic that was recreated.
    pub position: Option<PositionClaim>,
    /// How far the record at the committed offset is written, where a part of it is, see [`Restored::goes_on`].
    pub slices: Option<SliceCursor>,
    /// Kafka's id of the topic now; nil if it is not known.
    pub topic_id: Uuid,
    /// First available offset.
    pub log_start: i64,
    /// High watermark: records of open transactions count.
    pub log_end: i64,
    /// The committed offset belongs to a topic of the same name that was deleted since.
    pub recreated: bool,
    /// The log was cut below what was read, and has grown again.
    pub cut: Option<LogCut>,
}

/// Kafka has dropped the end of a log (an unclean leader election) and appended other records since: those below the former
/// read-up-to offset were never read, whatever the committed offset says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCut {
    /// The first offset seen that was written later than the offsets were committed; the cut is there or below.
    pub at: i64,
    /// Leader epoch of the last record that was read.
    pub read_epoch: i32,
    /// Leader epoch of the record that stands at [`Self::at`] now.
    pub found_epoch: i32,
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
    /// [`KafkaError::NoCommittedOffset`]: nothing is committed and there are records, or were (rule W8).
    /// [`KafkaError::OffsetOutOfRange`]: read or committed above the log's end.
    /// [`KafkaError::LogCut`]: the log lost what was read there and has grown again.
    pub fn start(&self) -> Result<i64, KafkaError> {
        let partition = || self.lease.partition.clone();
        if self.recreated {
            return Ok(self.log_start);
        }
        if let Some(LogCut { at, read_epoch, found_epoch }) = self.cut {
            let (partition, read_up_to) = (partition(), self.read_up_to);
            return Err(KafkaError::LogCut { partition, read_up_to, read_epoch, at, found_epoch });
        }
        match self.committed {
            // What is above the end and said to be done would be skipped when other records come to stand there.
            Some(offset) if offset.max(self.read_up_to) > self.log_end => Err(KafkaError::OffsetOutOfRange {
                partition: partition(),
                offset: offset.max(self.read_up_to),
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

    /// Offsets that are gone before they were done: what retention has deleted below the log's start, less what was done above
    /// the committed offset; and what was cut off and overwritten, see [`LogCut`].
    ///
    /// From offsets alone nobody can tell whether one held a record or a transaction's marker. Up to the read-up-to offset
    /// it is known; what is deleted above it counts. So whoever is idle commits the position its reading has
    /// reached, which is behind the markers: then an emptied log begins where the position stands, and a gap is a loss.
    #[must_use]
    pub fn lost(&self) -> i64 {
        let Some(committed) = self.committed.filter(|_| !self.recreated) else { return 0 };
        let read_up_to = self.read_up_to.max(committed);
        let not_done = self.not_done.iter().filter(|offset| **offset < self.log_start).count();
        let never_read = (self.log_start - read_up_to).max(0);
        let cut = self.cut.map_or(0, |cut| (read_up_to - cut.at).max(0));
        never_read + cut + i64::try_from(not_done).unwrap_or(i64::MAX)
    }

    /// Nothing that was committed counts: reading begins anew, under this position.
    pub fn begin_anew(&mut self, position: PositionClaim) {
        (self.committed, self.position, self.slices) = (None, Some(position), None);
    }

    /// How far the first record is written when reading begins at `start`: nothing of it where that is not the committed offset, because
    /// retention has taken the record that was under way.
    #[must_use]
    pub fn goes_on(&self, start: i64) -> Option<SliceCursor> {
        self.slices.filter(|_| self.committed == Some(start) && !self.recreated)
    }

    /// The window to go on with when reading begins at `start`. Where what was committed cannot be gone on with (see
    /// [`Self::start`]), nothing above it is done: other records stand there.
    #[must_use]
    pub fn window(&self, start: i64) -> Window {
        if self.recreated || self.committed.is_none() || self.start().is_err() {
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
            lists: None,
            position: None,
            slices: None,
            topic_id: Uuid::nil(),
            log_start,
            log_end,
            recreated: false,
            cut: None,
        }
    }

    /// New jobs were taken for done after their log had lost its end.
    #[test]
    fn nothing_is_done_where_the_log_ends_before_what_was_read() {
        let mut cut = restored(Some(5), 0, 50);
        cut.read_up_to = 100;
        assert!(cut.start().is_err());
        let mut window = cut.window(0);
        assert!(window.admit(0) && window.admit(50));
    }

    #[test]
    fn a_partition_starts_where_it_was_committed_or_at_its_first_record() {
        assert_eq!(restored(Some(5), 0, 10).start().unwrap(), 5);
        assert_eq!(restored(None, 0, 0).start().unwrap(), 0);
        assert!(matches!(restored(Some(11), 0, 10).start(), Err(KafkaError::OffsetOutOfRange { offset: 15, .. })));
        assert!(restored(Some(6), 0, 10).start().is_ok());
    }

    #[test]
    fn a_log_that_ends_below_what_was_read_does_not_begin() {
        // Committed is 7, and everything below 11 was read: what comes to stand at 10 must not pass for done.
        let short = restored(Some(7), 0, 10);
        assert!(matches!(short.start(), Err(KafkaError::OffsetOutOfRange { offset: 11, log_end: 10, .. })));
    }

    #[test]
    fn a_log_that_was_cut_and_has_grown_again_does_not_begin() {
        let mut restored = restored(Some(5), 0, 20);
        restored.cut = Some(LogCut { at: 7, read_epoch: 3, found_epoch: 5 });
        let refused = restored.start().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "HB-021: t/0 was read up to offset 9 in leader epoch 3, but offset 7 was written in epoch 5: kafka dropped the end of the log \
             (an unclean leader election); what is there now was never read. Choose where to begin with `hookbus offsets`"
        );
        assert_eq!(restored.lost(), 2);
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
        // 5 and 7 are not done, 6 and 8 are.
        let restored = |log_start| restored(Some(5), log_start, 20);
        assert_eq!((restored(7).start().unwrap(), restored(7).lost()), (7, 1));
        assert_eq!(restored(7).window(7).progress(), (7, 9, vec![7]));
        assert_eq!([5, 6, 7, 8, 9, 10, 12].map(|start| restored(start).lost()), [0, 1, 1, 2, 2, 3, 5]);
    }

    #[test]
    fn a_log_that_is_empty_up_to_the_committed_position_has_lost_nothing() {
        let mut idle = restored(Some(12), 12, 12);
        (idle.read_up_to, idle.not_done) = (12, Vec::new());
        assert_eq!((idle.start().unwrap(), idle.lost()), (12, 0));
    }

    #[test]
    fn a_recreated_topic_starts_at_its_beginning_with_nothing_done() {
        let mut restored = restored(Some(5), 0, 2);
        restored.recreated = true;
        assert_eq!((restored.start().unwrap(), restored.lost()), (0, 0));
        assert_eq!(restored.window(0).progress(), (0, 0, vec![]));
    }

    #[test]
    fn a_record_goes_on_only_where_it_stood() {
        let cursor = SliceCursor { last: Uuid::from_u128(9), count: 2_000 };
        let begun = |log_start| Restored { slices: Some(cursor), ..restored(Some(5), log_start, 50) };
        assert_eq!((begun(0).goes_on(5), begun(7).goes_on(7)), (Some(cursor), None), "retention took it");
        assert_eq!(Restored { recreated: true, ..begun(0) }.goes_on(5), None);
        let mut moved = begun(0);
        moved.begin_anew(PositionClaim::default());
        assert_eq!(moved.goes_on(5), None, "another record stands where it begins, or the same is to be done anew");
    }

    #[test]
    fn whoever_begins_anew_has_nothing_done_wherever_that_is() {
        for start in [0, 5, 9, 40] {
            let mut moved = restored(Some(5), 0, 50);
            moved.begin_anew(PositionClaim::default());
            assert_eq!((moved.window(start).progress(), moved.committed), ((start, start, vec![]), None));
        }
    }
}
