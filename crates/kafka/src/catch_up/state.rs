//! How far reading is, and what follows from Kafka's answers where it does not move. Pure.

use std::collections::BTreeMap;

use crate::error::KafkaError;

/// Where nothing moves for so long, Kafka is asked for the ends.
const ASK_AFTER_MS: i64 = 5_000;

/// Whether Kafka told the end of each partition that was asked for.
pub(super) type EndAnswers = BTreeMap<i32, Result<(), KafkaError>>;

/// How far the partitions are that have not reached their ends. Pure.
#[derive(Debug)]
pub(super) struct CatchUpState {
    /// Position and end of each.
    pub(super) open: BTreeMap<i32, (i64, i64)>,
    /// How many others have reached theirs.
    done: usize,
    /// When one of them moved last.
    pub(super) moved_ms: i64,
    /// When the last look was.
    pub(super) looked_ms: i64,
    /// When Kafka was asked for the ends last.
    asked_ms: i64,
    /// Beyond this no transaction lives.
    longest_open_ms: i64,
}

/// What follows from Kafka's answer about partitions that stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CatchUpVerdict {
    /// It may still move.
    Wait,
    /// Kafka does not answer: an outage, whose time does not count.
    Outage,
    /// These have no leader, or Kafka answers for others and not for them.
    LeaveOut,
    /// This one is held by a transaction that never ends.
    Held { partition: i32, position: i64, end: i64, waited_ms: i64 },
}

// === impl CatchUpState ===

impl CatchUpState {
    pub(super) fn new(ranges: BTreeMap<i32, (i64, i64)>, longest_open_ms: i64, now_ms: i64) -> Self {
        let all = ranges.len();
        let open: BTreeMap<i32, (i64, i64)> = ranges.into_iter().filter(|(_, (from, end))| from < end).collect();
        let done = all - open.len();
        Self { open, done, moved_ms: now_ms, looked_ms: now_ms, asked_ms: now_ms, longest_open_ms }
    }

    pub(super) fn wants(&self, partition: i32, offset: i64) -> bool {
        self.open.get(&partition).is_some_and(|(_, end)| offset < *end)
    }

    /// Notes a position. What is read of partitions that have reached their ends says nothing about the others.
    pub(super) fn reached(&mut self, partition: i32, to: i64, now_ms: i64) {
        let Some((position, end)) = self.open.get_mut(&partition).filter(|(position, _)| to > *position) else {
            return;
        };
        (*position, self.moved_ms) = (to, now_ms);
        if to >= *end {
            self.open.remove(&partition);
            self.done += 1;
        }
    }

    /// Looks: whether nothing has moved for so long that Kafka is to be asked for the ends.
    pub(super) fn look(&mut self, now_ms: i64) -> bool {
        if now_ms - self.looked_ms >= ASK_AFTER_MS {
            // Nobody looked for so long: this process stood still, and what came meanwhile is yet to be taken.
            self.moved_ms = now_ms;
        }
        self.looked_ms = now_ms;
        now_ms - self.moved_ms.max(self.asked_ms) >= ASK_AFTER_MS
    }

    /// Kafka was asked for the ends, and this is its answer.
    pub(super) fn answered(&mut self, answers: &EndAnswers, asked_ms: i64, now_ms: i64) -> CatchUpVerdict {
        // As of the question: who is suspended meanwhile has waited for nothing.
        let verdict = self.judge(answers, asked_ms);
        (self.looked_ms, self.asked_ms) = (now_ms, now_ms);
        if verdict == CatchUpVerdict::Outage || now_ms - asked_ms >= ASK_AFTER_MS {
            self.moved_ms = now_ms;
        }
        verdict
    }

    fn judge(&self, answers: &EndAnswers, now_ms: i64) -> CatchUpVerdict {
        let is_told = |partition: &i32| answers.get(partition).is_some_and(Result::is_ok);
        let Some((&partition, &(position, end))) = self.open.iter().find(|(partition, _)| is_told(partition)) else {
            // Whoever needs none of these must not wait for them. Where nobody answers for anything that is no fact of theirs.
            let is_leaderless =
                |answer: &Result<(), KafkaError>| answer.as_ref().is_err_and(KafkaError::is_without_leader);
            let are_alone = self.done > 0 || (!answers.is_empty() && answers.values().all(is_leaderless));
            return if are_alone { CatchUpVerdict::LeaveOut } else { CatchUpVerdict::Outage };
        };
        // One that waits for its turn behind others is not held: none of them has moved.
        let waited_ms = now_ms - self.moved_ms;
        if waited_ms < self.longest_open_ms {
            return CatchUpVerdict::Wait;
        }
        CatchUpVerdict::Held { partition, position, end, waited_ms }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaErrorCode as Code;

    use super::*;

    fn standing() -> CatchUpState {
        CatchUpState::new(BTreeMap::from([(0, (4, 9)), (1, (0, 3)), (2, (7, 7))]), 30_000, 1_000)
    }

    #[test]
    fn a_position_at_or_behind_the_end_is_the_end() {
        let mut standing = standing();
        assert_eq!((standing.open.len(), standing.done), (2, 1), "what is empty is read");
        assert!(standing.wants(0, 8) && !standing.wants(0, 9) && !standing.wants(2, 0));
        standing.reached(0, 6, 2_000);
        standing.reached(0, 6, 3_000);
        assert_eq!((standing.open[&0], standing.moved_ms), ((6, 9), 2_000), "one that stands keeps its time");
        standing.reached(0, 12, 4_000);
        standing.reached(1, 3, 5_000);
        standing.reached(1, 8, 6_000);
        assert_eq!((standing.open.len(), standing.done, standing.moved_ms), (0, 3, 5_000));
    }

    /// Kafka tells the ends of these.
    fn told(partitions: &[i32]) -> EndAnswers {
        partitions.iter().map(|partition| (*partition, Ok(()))).collect()
    }

    fn all() -> EndAnswers {
        told(&[0, 1, 2])
    }

    #[test]
    fn what_never_ends_is_named_and_what_may_still_move_is_waited_for() {
        let mut standing = standing();
        assert_eq!(standing.judge(&all(), 30_999), CatchUpVerdict::Wait);
        let held = CatchUpVerdict::Held { partition: 1, position: 0, end: 3, waited_ms: 30_000 };
        assert_eq!(standing.judge(&told(&[1]), 31_000), held, "the one that Kafka answers for");
        standing.reached(0, 5, 20_000);
        assert_eq!(standing.judge(&all(), 49_999), CatchUpVerdict::Wait, "partition 1 may wait for its turn");
        assert!(matches!(standing.judge(&all(), 50_000), CatchUpVerdict::Held { partition: 0, .. }));
    }

    #[test]
    fn partitions_without_a_leader_hold_up_no_others_and_an_outage_is_waited_for() {
        let mut standing = standing();
        let silent = || Err(KafkaError::call("list offsets", Code::OperationTimedOut));
        let leaderless = || Err(KafkaError::without_leader("list offsets of seen/0"));
        let outage = EndAnswers::from([(0, silent()), (1, silent())]);
        assert_eq!(standing.judge(&outage, 90_000), CatchUpVerdict::LeaveOut, "partition 2 is read");
        standing.done = 0;
        let one = EndAnswers::from([(0, leaderless()), (1, silent())]);
        assert_eq!(standing.judge(&one, 90_000), CatchUpVerdict::Outage);
        assert_eq!(standing.answered(&outage, 90_000, 91_000), CatchUpVerdict::Outage);
        assert_eq!(standing.moved_ms, 91_000, "its time does not count");
        let none = EndAnswers::from([(0, leaderless()), (1, leaderless())]);
        assert_eq!(standing.judge(&none, 92_000), CatchUpVerdict::LeaveOut, "each waits for its leader by itself");
    }

    /// Looks every second up to this time. The verdict of the last question, if any.
    fn looks(standing: &mut CatchUpState, until_ms: i64) -> Option<CatchUpVerdict> {
        let mut last = None;
        for now_ms in (standing.looked_ms + 1_000..=until_ms).step_by(1_000) {
            if standing.look(now_ms) {
                last = Some(standing.answered(&all(), now_ms, now_ms));
            }
        }
        last
    }

    #[test]
    fn who_looks_all_the_time_finds_what_is_held() {
        let mut standing = standing();
        assert_eq!(looks(&mut standing, 5_000), None, "nothing is asked at once");
        assert_eq!(looks(&mut standing, 30_000), Some(CatchUpVerdict::Wait));
        assert!(matches!(looks(&mut standing, 31_000), Some(CatchUpVerdict::Held { waited_ms: 30_000, .. })));
    }

    #[test]
    fn a_process_that_stood_still_does_not_take_its_pause_for_an_open_transaction() {
        let mut standing = standing();
        looks(&mut standing, 3_000);
        assert!(!standing.look(90_000), "what came meanwhile is yet to be taken");
        assert_eq!(looks(&mut standing, 119_000), Some(CatchUpVerdict::Wait));
        assert!(matches!(looks(&mut standing, 120_000), Some(CatchUpVerdict::Held { .. })), "it stands since");
    }

    #[test]
    fn a_process_that_stood_still_while_it_asked_has_waited_for_nothing() {
        let mut standing = standing();
        assert!(!standing.look(5_000) && standing.look(6_000));
        assert_eq!(standing.answered(&all(), 6_000, 90_000), CatchUpVerdict::Wait);
        assert_eq!(looks(&mut standing, 119_000), Some(CatchUpVerdict::Wait), "nor afterwards");
        assert!(matches!(looks(&mut standing, 120_000), Some(CatchUpVerdict::Held { .. })));
    }
}
