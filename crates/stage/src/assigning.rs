//! A partition that was assigned and has not begun: for how long it has waited, and for what. Pure.
//!
//! ```text
//! assigned --taken over--> restoring --begins--> begun
//!    ^            |            |
//!    +--a wait----+--left out--+      its topic is gone or denied, or what it needs has no leader
//! ```

use std::time::{Duration, Instant};

use kafka::{Lease, ReadingStand, ReadingWatch};

use crate::work::{Now, Waiting};

/// How long until a partition that was left out is looked for again, at first and at most: an election takes a moment, an
/// operator longer, and longest the owner of a topic that is not ours.
const TAKE_OVER_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
const HELD_AT_MOST: Duration = Duration::from_secs(30);

/// A lease that is ours and has not begun.
pub(crate) struct Assigning {
    lease: Lease,
    since_boot_ms: i64,
    /// Its state is being read, which may take long: how far that is.
    restoring: Option<ReadingWatch>,
    /// Since when it has been left out, and how often.
    left_out: Option<(Instant, u32)>,
}

// === impl Assigning ===

impl Assigning {
    pub(crate) fn new(lease: Lease, now: Now) -> Self {
        Self { lease, since_boot_ms: now.boot_ms, restoring: None, left_out: None }
    }

    /// Another step begins.
    pub(crate) fn begin_step(&mut self, restoring: Option<ReadingWatch>, now: Now) {
        (self.restoring, self.since_boot_ms) = (restoring, now.boot_ms);
    }

    /// A step was taken without it. How long until it is taken over again.
    pub(crate) fn leave_out(&mut self, is_others: bool, now: Now) -> Duration {
        let (_, times) = self.left_out.get_or_insert((now.instant, 0));
        *times += 1;
        let (first, longest) = TAKE_OVER_AGAIN;
        let longest = if is_others { HELD_AT_MOST } else { longest };
        let wait = first.saturating_mul(2_u32.saturating_pow(*times - 1)).min(longest);
        // Kafka answered, and what is wrong was logged: waiting for an operator is no stall.
        self.begin_step(None, now);
        self.since_boot_ms += i64::try_from(wait.as_millis()).unwrap_or(0);
        wait
    }

    /// Whether it has been left out for so long, without a pause.
    pub(crate) fn is_left_out_for(&self, at_least: Duration, now: Instant) -> bool {
        self.left_out.is_some_and(|(since, _)| now.saturating_duration_since(since) >= at_least)
    }

    /// What it waits for. How long restoring takes grows with what is read: that waits only where nothing is read any more.
    pub(crate) fn waiting(&self) -> Waiting {
        let (partition, since_boot_ms) = (self.lease.partition.clone(), self.since_boot_ms);
        let takeover = Waiting { reason: "its takeover", partition, offset: -1, since_boot_ms };
        let Some(ReadingStand { at, moved_ms }) = self.restoring.as_ref().map(ReadingWatch::stand) else {
            return takeover;
        };
        let since_boot_ms = since_boot_ms.max(moved_ms);
        match at {
            Some((partition, offset)) => {
                Waiting { reason: "what its takeover reads", partition, offset, since_boot_ms }
            }
            None => Waiting { since_boot_ms, ..takeover },
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka::{Epoch, KafkaError};
    use schemas::record::TopicPartition;

    use super::*;

    fn at(seconds: u64) -> Now {
        let now = Now::read();
        Now {
            boot_ms: i64::try_from(seconds).unwrap() * 1_000,
            instant: now.instant + Duration::from_secs(seconds),
            ..now
        }
    }

    fn assigning() -> Assigning {
        Assigning::new(Lease { partition: TopicPartition::new("events", 3), epoch: Epoch(1) }, at(0))
    }

    #[test]
    fn restoring_waits_since_it_moved_last_for_what_it_reads() {
        let mut assigning = assigning();
        assert_eq!((assigning.waiting().reason, assigning.waiting().since_boot_ms), ("its takeover", 0));
        let watch = ReadingWatch::default();
        assigning.begin_step(Some(watch.clone()), at(5));
        assert_eq!(assigning.waiting().since_boot_ms, 5_000, "nothing was read yet");
        let seen = TopicPartition::new("seen", 7);
        watch.note(ReadingStand { at: Some((seen.clone(), 40)), moved_ms: 90_000 });
        let waiting = assigning.waiting();
        assert_eq!((waiting.partition, waiting.offset, waiting.since_boot_ms), (seen, 40, 90_000));
        watch.note(ReadingStand { at: None, moved_ms: 95_000 });
        let waiting = assigning.waiting();
        assert_eq!((&*waiting.partition.topic, waiting.since_boot_ms), ("events", 95_000), "it is at the end");
        watch.note(ReadingStand { at: Some((TopicPartition::new("seen", 7), 40)), moved_ms: 96_000 });
        watch.read_again(KafkaError::without_leader("list offsets of seen/7"), 180_000).unwrap();
        let waiting = assigning.waiting();
        let is_read_again = ("events", "its takeover", 180_000);
        assert_eq!((&*waiting.partition.topic, waiting.reason, waiting.since_boot_ms), is_read_again, "no stall");
    }

    #[test]
    fn what_is_left_out_is_asked_for_ever_more_seldom_and_is_no_stall() {
        let mut assigning = assigning();
        let mut waits = |is_others, seconds: std::ops::RangeInclusive<u64>| -> Vec<u128> {
            seconds.map(|second| assigning.leave_out(is_others, at(second)).as_millis()).collect()
        };
        assert_eq!(waits(false, 1..=6), [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(waits(true, 7..=7), [30_000], "a topic that is not ours");
        assert_eq!(assigning.waiting().since_boot_ms, 37_000, "until then nothing is to move");
        let is_left_out = |seconds| assigning.is_left_out_for(Duration::from_secs(15), at(seconds).instant);
        assert!(!is_left_out(15) && is_left_out(17), "since the first time");
    }
}
