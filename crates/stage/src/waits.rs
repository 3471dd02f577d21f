//! Tells what a new process might do from what it would try in vain as this one does: a transaction that Kafka fails again and
//! again, and whatever else Kafka holds.

use std::collections::BTreeMap;

use kafka::FailedTry;

use crate::work::Waiting;

/// What Kafka holds a stage by, though it answers. No new process would come further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HeldBy {
    /// A transaction that never ends keeps what follows it from being read.
    OpenTransaction,
    /// A transaction of ours is failed again and again.
    FailingTransaction,
    /// The transactional id is not given to us: nothing could be written.
    OwnId,
    /// The group does not have us as a member: nothing is ours.
    Group,
}

/// What is held, by what. Each is told of by itself: one that has been held for longer hides no other.
pub(crate) type HeldWaits = BTreeMap<HeldBy, Waiting>;

// === impl HeldBy ===

impl HeldBy {
    pub(crate) const ALL: [Self; 4] = [Self::OpenTransaction, Self::FailingTransaction, Self::OwnId, Self::Group];

    /// What lines of the log call it.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::OpenTransaction => "an open transaction",
            Self::FailingTransaction => "a transaction that is tried again and again",
            Self::OwnId => "the transactional id",
            Self::Group => "the membership of its group",
        }
    }
}

/// The oldest thing of each kind that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// What a new process might do, since when. Since the last failed try at the earliest: until then it was Kafka's.
    pub(crate) work: Option<Waiting>,
    /// What waits for a transaction that Kafka fails, since it began to wait. None once one was committed.
    pub(crate) held: Option<Waiting>,
}

impl Waits {
    /// Sorts what waits. `writes`: for the outcome of a transaction; `other`: for anything else, which may wait behind those.
    pub(crate) fn sort(writes: [Option<Waiting>; 2], other: Option<Waiting>, failed: Option<&FailedTry>) -> Self {
        let failed_ms = failed.map_or(i64::MIN, |failed| failed.boot_ms);
        let oldest = |all: &mut dyn Iterator<Item = Waiting>| all.min_by_key(|waiting| waiting.since_boot_ms);
        let failing = |waiting: &Waiting| waiting.since_boot_ms <= failed_ms;
        let is_last = failed.is_some_and(|failed| failed.is_last);
        let held = oldest(&mut writes.iter().flatten().filter(|it| is_last && failing(it)).cloned());
        let work = oldest(&mut writes.into_iter().flatten().chain(other));
        Self {
            work: work.map(|it| Waiting { since_boot_ms: it.since_boot_ms.max(failed_ms), ..it }),
            held: held.map(|it| Waiting { reason: HeldBy::FailingTransaction.reason(), ..it }),
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka::KafkaError;
    use schemas::record::TopicPartition;

    use super::*;

    const FAILING: &str = HeldBy::FailingTransaction.reason();

    fn waiting(reason: &'static str, since_boot_ms: i64) -> Option<Waiting> {
        Some(Waiting { reason, partition: TopicPartition::new("retry.20s", 3), offset: 7, since_boot_ms })
    }

    fn failed(boot_ms: i64, is_last: bool) -> FailedTry {
        FailedTry { boot_ms, is_last, error: KafkaError::without_leader("writing to lanes/3") }
    }

    #[test]
    fn a_transaction_whose_tries_end_is_held_by_kafka_and_no_stall() {
        let sort = |failed: Option<&FailedTry>| Waits::sort([waiting("its outcome", 1_000), None], None, failed);
        let alone = Waits { work: waiting("its outcome", 1_000), held: None };
        assert_eq!(sort(None), alone, "one try that never ends");
        assert_eq!(sort(Some(&failed(900, true))), alone, "it was another one's");
        let failing = Waits { work: waiting("its outcome", 600_000), held: waiting(FAILING, 1_000) };
        assert_eq!(sort(Some(&failed(600_000, true))), failing);
    }

    #[test]
    fn what_waits_behind_it_counts_from_when_it_failed_last_also_once_something_was_committed() {
        let sort = |failed: &FailedTry| {
            Waits::sort([None, waiting("its takeover", 2_000)], waiting("being matched", 1_000), Some(failed))
        };
        let behind = |held| Waits { work: waiting("being matched", 600_000), held };
        assert_eq!(sort(&failed(600_000, true)), behind(waiting(FAILING, 2_000)));
        assert_eq!(sort(&failed(600_000, false)), behind(None), "its turn comes now");
    }
}
