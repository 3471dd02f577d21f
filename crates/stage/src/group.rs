//! Whether the group has us as a member, as of the last measurement, and since when it has not.
//!
//! Who is no member owns nothing, so that nothing of its waits and nobody would notice. A group takes seconds to let somebody in;
//! what takes longer than anything may stand still is told: its coordinator is gone, or refuses.

use schemas::record::TopicPartition;

use crate::waits::HeldBy;
use crate::work::Waiting;

/// Who has had nothing to read for so long is let in as far as that goes. At a start the list of topics comes a moment later.
const IDLE_MS: i64 = 60_000;

/// Pure.
#[derive(Debug)]
pub(crate) struct GroupWatch {
    /// Kafka is away while it does not answer about this partition.
    asked: TopicPartition,
    /// Since when there is nothing to read, on the clock that counts suspension, ms: only who reads joins its group.
    idle_ms: Option<i64>,
    /// Since when it should be a member and is none.
    apart_ms: Option<i64>,
}

// === impl GroupWatch ===

impl GroupWatch {
    pub(crate) fn new(asked: TopicPartition, reads: bool, boot_ms: i64) -> Self {
        let (idle_ms, apart_ms) = if reads { (None, Some(boot_ms)) } else { (Some(boot_ms), None) };
        Self { asked, idle_ms, apart_ms }
    }

    /// From now on there is something to read, or there is not.
    pub(crate) fn subscribed(&mut self, reads: bool, boot_ms: i64) {
        self.idle_ms = if reads { None } else { Some(self.idle_ms.unwrap_or(boot_ms)) };
    }

    /// The group has us as a member, or has not. Returns whether it surely lets us in, or nothing is asked of it.
    pub(crate) fn look(&mut self, joined: bool, boot_ms: i64) -> bool {
        let is_apart = self.idle_ms.is_none() && !joined;
        self.apart_ms = is_apart.then(|| self.apart_ms.unwrap_or(boot_ms));
        joined || self.idle_ms.is_some_and(|since_ms| boot_ms - since_ms >= IDLE_MS)
    }

    /// What it waits for, if it is no member.
    pub(crate) fn held(&self) -> Option<Waiting> {
        let since_boot_ms = self.apart_ms?;
        let (reason, partition) = (HeldBy::Group.reason(), self.asked.clone());
        Some(Waiting { reason, partition, offset: -1, since_boot_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(watch: &GroupWatch) -> Option<i64> {
        watch.held().map(|held| held.since_boot_ms)
    }

    #[test]
    fn who_is_no_member_of_its_group_waits_since_it_is_none() {
        let mut watch = GroupWatch::new(TopicPartition::new("control", 0), true, 1_000);
        assert!(!watch.look(false, 2_000));
        assert_eq!(since(&watch), Some(1_000), "it was never let in");
        assert!(watch.look(true, 3_000));
        assert_eq!(since(&watch), None);
        assert!(!watch.look(false, 60_000), "the membership is lost");
        assert!(!watch.look(false, 61_000));
        assert_eq!(since(&watch), Some(60_000));
    }

    #[test]
    fn who_reads_nothing_needs_no_group() {
        let mut watch = GroupWatch::new(TopicPartition::new("control", 0), false, 1_000);
        assert!(!watch.look(false, 2_000), "what it reads may come yet");
        assert!(watch.look(false, 61_000));
        assert_eq!(since(&watch), None);
        watch.subscribed(true, 62_000);
        assert!(!watch.look(false, 63_000));
        assert_eq!(since(&watch), Some(63_000), "not since it read nothing");
        watch.subscribed(false, 64_000);
        assert!(!watch.look(false, 65_000));
        assert_eq!(since(&watch), None, "it reads nothing any more");
    }
}
