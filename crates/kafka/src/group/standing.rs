//! What a role makes of a partition's committed offset when it starts, told beforehand. Pure; it decides as
//! [`Restored::start`] does.

use std::ops::Range;

use uuid::Uuid;

use crate::error::KafkaError;
use crate::lag::{PartitionLag, UntoldLag};
use crate::lease::{Epoch, Lease};
use crate::metadata::{self, ListsClaim};
use crate::restore::{LogCut, Restored};

/// One partition of a group, and what the role will make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The offsets.
    pub lag: PartitionLag,
    /// What they mean.
    pub standing: Standing,
}

/// A group's partitions.
#[derive(Clone, Debug)]
pub struct GroupState {
    /// In the order of topics and partitions.
    pub partitions: Vec<PartitionState>,
    /// Of what nothing is told now, or not all.
    pub untold: Vec<UntoldLag>,
}

/// What a role makes of a partition's committed offset when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on from there.
    Committed,
    /// Nothing is committed and there never was a record: it begins at offset 0.
    New,
    /// Nothing is committed and there are records, or were: the role stops.
    Missing,
    /// Retention has deleted so many offsets that were not done: it goes on at the log's start.
    Lost(i64),
    /// Read or committed above the log's end: the role stops.
    Beyond,
    /// The log was cut below what was read and has grown again: other records stand from this offset on, or from below it, and the
    /// role stops.
    Cut(i64),
    /// The topic was deleted and created again: it begins at the log's start.
    Recreated,
}

// === impl PartitionState ===

impl PartitionState {
    /// What the metadata claim about lists of records that wait.
    #[must_use]
    pub fn lists(&self) -> Option<ListsClaim> {
        metadata::decode(self.lag.committed?, &self.lag.metadata)?.lists
    }

    /// How many of these offsets are done: what is below the committed offset, and above it what its metadata say.
    #[must_use]
    pub fn done_in(&self, offsets: Range<i64>) -> i64 {
        let Some(committed) = self.lag.committed else { return 0 };
        let metadata = metadata::decode(committed, &self.lag.metadata);
        let (read_up_to, not_done) =
            metadata.map_or((committed, Vec::new()), |found| (found.read_up_to, found.not_done));
        let read = (offsets.end.min(read_up_to) - offsets.start).max(0);
        let open = not_done.iter().filter(|offset| offsets.contains(offset)).count();
        read - i64::try_from(open).unwrap_or(i64::MAX)
    }
}

// === impl Standing ===

impl Standing {
    /// Whether the role refuses to start.
    #[must_use]
    pub fn stops(self) -> bool {
        match self {
            Self::Missing | Self::Beyond | Self::Cut(_) => true,
            Self::Committed | Self::New | Self::Lost(_) | Self::Recreated => false,
        }
    }

    pub(super) fn of(lag: &PartitionLag, topic_id: Option<Uuid>, cut: Option<LogCut>) -> Self {
        let Some(committed) = lag.committed else {
            return if lag.log_end == 0 { Self::New } else { Self::Missing };
        };
        let restored = Restored { cut, ..restored(lag, committed, topic_id) };
        if restored.recreated {
            return Self::Recreated;
        }
        match (restored.start(), restored.lost()) {
            (Err(KafkaError::LogCut { at, .. }), _) => Self::Cut(at),
            (Err(_), _) => Self::Beyond,
            (Ok(_), 0) => Self::Committed,
            (Ok(_), lost) => Self::Lost(lost),
        }
    }
}

/// What the role finds when it takes the partition over, but for a log that was cut and has grown again: that only its records
/// tell.
pub(super) fn restored(lag: &PartitionLag, committed: i64, topic_id: Option<Uuid>) -> Restored {
    let metadata = metadata::decode(committed, &lag.metadata);
    let former = metadata.as_ref().map(|metadata| metadata.topic_id);
    let recreated = match (former, topic_id) {
        (Some(former), Some(now)) => !former.is_nil() && !now.is_nil() && former != now,
        _ => false,
    };
    let lists = metadata.as_ref().and_then(|metadata| metadata.lists);
    let position = metadata.as_ref().and_then(|metadata| metadata.position.clone());
    let slices = metadata.as_ref().and_then(|metadata| metadata.slices);
    let (read_up_to, not_done) =
        metadata.map_or((committed, Vec::new()), |metadata| (metadata.read_up_to, metadata.not_done));
    Restored {
        lease: Lease { partition: lag.partition.clone(), epoch: Epoch(0) },
        committed: Some(committed),
        read_up_to,
        not_done,
        lists,
        position,
        slices,
        topic_id: topic_id.unwrap_or_default(),
        log_start: lag.log_start,
        log_end: lag.log_end,
        recreated,
        cut: None,
    }
}

#[cfg(test)]
mod tests {
    use schemas::record::TopicPartition;

    use super::super::by_hand;
    use super::*;
    use crate::metadata::CommitMetadata;

    const NOW: Uuid = Uuid::from_u128(7);

    fn lag(committed: Option<i64>, (log_start, log_end): (i64, i64), topic_id: Uuid) -> PartitionLag {
        let metadata = committed.map(|at| by_hand(at, topic_id)).unwrap_or_default();
        PartitionLag { partition: TopicPartition::new("t", 0), committed, metadata, log_start, log_end, records: None }
    }

    #[test]
    fn what_is_shown_is_what_the_role_will_do() {
        let cases = [
            (lag(None, (0, 0), NOW), Standing::New),
            (lag(None, (0, 9), NOW), Standing::Missing),
            (lag(None, (9, 9), NOW), Standing::Missing),
            (lag(None, (3, 9), NOW), Standing::Missing),
            (lag(Some(5), (3, 9), NOW), Standing::Committed),
            (lag(Some(9), (3, 9), NOW), Standing::Committed),
            (lag(Some(10), (3, 9), NOW), Standing::Beyond),
            (lag(Some(1), (3, 9), NOW), Standing::Lost(2)),
            (lag(Some(5), (0, 2), Uuid::from_u128(6)), Standing::Recreated),
            (lag(Some(5), (0, 9), Uuid::nil()), Standing::Committed),
        ];
        for (lag, expected) in cases {
            assert_eq!(Standing::of(&lag, Some(NOW), None), expected, "{lag:?}");
        }
        let cut = Some(LogCut { at: 4, read_epoch: 1, found_epoch: 2 });
        let of = |lag: PartitionLag| Standing::of(&lag, Some(NOW), cut);
        assert_eq!(of(lag(Some(5), (3, 9), NOW)), Standing::Cut(4));
        assert_eq!(of(lag(Some(5), (3, 9), Uuid::from_u128(6))), Standing::Recreated, "another log");
        assert!(Standing::Cut(4).stops());
    }

    #[test]
    fn what_was_read_above_the_committed_offset_counts_as_it_does_for_the_role() {
        let head = CommitMetadata {
            nonce: Uuid::from_u128(1),
            transactional_id: "hookbus-delivery-0".to_owned(),
            topic_id: NOW,
            read_up_to: 500,
            not_done: vec![100, 105],
            lists: None,
            position: None,
            slices: None,
        };
        let of = |log_start, log_end| {
            let mut lag = lag(Some(100), (log_start, log_end), NOW);
            lag.metadata = metadata::encode(100, &head).0;
            Standing::of(&lag, Some(NOW), None)
        };
        // Everything below 500 was read: what comes to stand at 400 must not pass for done, so the role stops.
        assert_eq!([of(0, 400), of(0, 500)], [Standing::Beyond, Standing::Committed]);
        assert!(of(0, 400).stops());
        // Of what retention took, only two were not done.
        assert_eq!(
            [of(100, 500), of(101, 500), of(200, 500)],
            [Standing::Committed, Standing::Lost(1), Standing::Lost(2)]
        );
    }

    #[test]
    fn what_is_done_above_the_committed_offset_counts() {
        let head = CommitMetadata {
            nonce: Uuid::from_u128(1),
            transactional_id: "hookbus-delivery-0".to_owned(),
            topic_id: NOW,
            read_up_to: 20,
            not_done: vec![10, 15],
            lists: Some(ListsClaim { queued: 4, sum: 1, topic_id: NOW, from: 0 }),
            position: None,
            slices: None,
        };
        let mut lag = lag(Some(10), (3, 30), NOW);
        lag.metadata = metadata::encode(10, &head).0;
        let state = PartitionState { lag, standing: Standing::Committed };
        assert_eq!(state.lists(), head.lists);
        let counts = [3..30, 3..10, 10..20, 11..15, 15..16, 20..30, 25..25].map(|offsets| state.done_in(offsets));
        assert_eq!(counts, [15, 7, 8, 4, 0, 0, 0]);
    }

    #[test]
    fn an_offset_set_by_hand_reads_as_one_of_ours_that_nobody_wrote() {
        let metadata = metadata::decode(41, &by_hand(41, NOW)).unwrap();
        assert_eq!((metadata.topic_id, metadata.read_up_to, metadata.not_done), (NOW, 41, vec![]));
        assert!(!metadata::is_valid_transactional_id(&metadata.transactional_id), "a takeover would fence it");
    }
}
