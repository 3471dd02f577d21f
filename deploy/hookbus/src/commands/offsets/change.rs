//! What `hookbus offsets set` is about to do, decided and put into words before anything is done. Pure.

use anyhow::Result;
use kafka::group::{PartitionState, Standing};
use kafka::lag::PartitionLag;
use schemas::record::TopicPartition;

use crate::cli::offsets::{GroupRole, To};

/// One offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    lag: PartitionLag,
    to: i64,
    at: To,
    /// What the role has read or may have read, and reads again.
    again: i64,
    /// What the role would have read, and never does.
    skipped: i64,
}

/// The offsets to commit: of the named partitions, or of all at which the role stops, for it has none, or one of a log that lost its
/// end.
///
/// # Errors
/// A partition or an offset that is not there.
pub(super) fn plan(states: &[PartitionState], named: &[i32], at: To) -> Result<Vec<Change>> {
    let number = |state: &PartitionState| state.lag.partition.partition;
    if let Some(missing) = named.iter().find(|named| !states.iter().any(|state| number(state) == **named)) {
        let (last, topic) = (states.len().saturating_sub(1), states.first().map(|state| &*state.lag.partition.topic));
        let topic = topic.unwrap_or_default();
        return Err(crate::usage(format!("{topic} has no partition {missing}; it has 0 to {last}")));
    }
    let is_meant = |state: &&PartitionState| match named {
        // A new one is read from its beginning without anybody's help.
        [] => state.standing.stops(),
        named => named.contains(&number(state)),
    };
    states.iter().filter(is_meant).map(|state| one(state, at)).collect()
}

fn one(state: &PartitionState, at: To) -> Result<Change> {
    let PartitionLag { partition, log_start, log_end, .. } = &state.lag;
    let to = match at {
        To::Start => *log_start,
        To::End => *log_end,
        To::Offset(offset) if (*log_start..=*log_end).contains(&offset) => offset,
        To::Offset(offset) => {
            return Err(crate::usage(format!(
                "nothing was changed: {partition} begins at offset {log_start} and ends at {log_end}; {offset} is not in it"
            )));
        }
    };
    // Without a committed offset, or with one of a former topic or a log that lost its end, nobody knows what was done.
    let (again, skipped) = match state.lag.committed.filter(|_| is_known(state.standing)) {
        Some(committed) => {
            let next = committed.max(*log_start);
            (state.done_in(to..*log_end), (to - next).max(0) - state.done_in(next..to))
        }
        None => (log_end - to, to - log_start),
    };
    Ok(Change { lag: state.lag.clone(), to, at, again, skipped })
}

fn is_known(standing: Standing) -> bool {
    match standing {
        Standing::Committed | Standing::Lost(_) => true,
        Standing::New | Standing::Missing | Standing::Beyond | Standing::Cut(_) | Standing::Recreated => false,
    }
}

/// The first partition whose committed offset is no longer the one these changes were planned from.
pub(super) fn moved<'a>(changes: &[Change], now: &'a [PartitionState]) -> Option<&'a PartitionLag> {
    let is_moved = |lag: &&PartitionLag| {
        let planned = changes.iter().map(|change| &change.lag).find(|planned| planned.partition == lag.partition);
        planned.is_some_and(|planned| (planned.committed, &planned.metadata) != (lag.committed, &lag.metadata))
    };
    now.iter().map(|state| &state.lag).find(is_moved)
}

/// A line per change, then what they mean for the role's work.
pub(super) fn explain(role: GroupRole, changes: &[Change]) -> Vec<String> {
    let mut lines: Vec<String> = changes.iter().map(Change::describe).collect();
    if changes.iter().any(|change| change.again > 0) {
        lines.push(match role {
            GroupRole::Fanout => {
                "Read again: events are matched again. Deduplication drops those it still remembers (fanout.dedup_window_hours, and only \
                 events that their sender gave an id); the others, also those whose id the gateway made, are sent to their endpoints \
                 once more, with the same `webhook-id`."
            }
            GroupRole::Delivery => {
                "Read again: deliveries that ended already are sent once more, with the same `webhook-id`, unless they are \
                 too old (max_age) or their subscription is gone."
            }
            GroupRole::Retry => {
                "Read again: retries that were promoted already are promoted and sent once more, with the same `webhook-id`."
            }
            GroupRole::Resends => "Read again: what is known of jobs is known once more, and nothing is done twice.",
        }
        .to_owned());
    }
    if changes.iter().any(|change| change.skipped > 0) {
        lines.push(
            match role {
                GroupRole::Fanout => "Skipped: events that were not matched yet never will be. They are lost to every subscriber, and no record says so.",
                GroupRole::Delivery => "Skipped: deliveries that were not sent yet never will be. They are lost, and no record says so.",
                GroupRole::Retry => "Skipped: deliveries that wait here for their next attempt never get it. They are lost, and no record says so.",
                GroupRole::Resends => "Skipped: nothing, for all jobs are read whenever a partition is taken over.",
            }
            .to_owned(),
        );
        lines.push("Until retention deletes them, an earlier offset brings them back.".to_owned());
    }
    lines
}

// === impl Change ===

impl Change {
    /// What to commit.
    pub(super) fn offset(&self) -> (TopicPartition, i64) {
        (self.lag.partition.clone(), self.to)
    }

    fn describe(&self) -> String {
        let from = self.lag.committed.map_or_else(|| "none".to_owned(), |committed| committed.to_string());
        let place = match self.at {
            To::Start => " (log start)",
            To::End => " (log end)",
            To::Offset(_) => "",
        };
        let partition = self.lag.partition.partition;
        let mut line = format!("  partition {partition}: {from} -> {}{place}", self.to);
        let mut add = |count: i64, what: &str| {
            if count > 0 {
                line.push_str(&format!(", up to {count} records {what}"));
            }
        };
        add(self.again, "read again");
        add(self.skipped, "SKIPPED");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(partition: i32, committed: Option<i64>, (log_start, log_end): (i64, i64)) -> PartitionState {
        let partition = TopicPartition::new("t", partition);
        let lag = PartitionLag { partition, committed, metadata: String::new(), log_start, log_end, records: None };
        let none = if log_start > 0 { Standing::Missing } else { Standing::New };
        let standing = match committed {
            Some(committed) if committed > log_end => Standing::Beyond,
            Some(_) => Standing::Committed,
            None => none,
        };
        PartitionState { lag, standing }
    }

    fn told(states: &[PartitionState], named: &[i32], at: To) -> Vec<String> {
        plan(states, named, at).unwrap().iter().map(Change::describe).collect()
    }

    #[test]
    fn without_a_number_only_partitions_at_which_the_role_stops_are_meant() {
        let states = [state(0, None, (3, 9)), state(1, Some(5), (3, 9)), state(2, None, (0, 4))];
        assert_eq!(told(&states, &[], To::Start), ["  partition 0: none -> 3 (log start), up to 6 records read again"]);
        assert_eq!(told(&states, &[], To::End), ["  partition 0: none -> 9 (log end), up to 6 records SKIPPED"]);
        assert_eq!(told(&states, &[2], To::End), ["  partition 2: none -> 4 (log end), up to 4 records SKIPPED"]);
        assert!(plan(&states[1..2], &[], To::Start).unwrap().is_empty());
        let beyond = [state(3, Some(12), (3, 9)), state(1, Some(5), (3, 9))];
        assert_eq!(told(&beyond, &[], To::Start), ["  partition 3: 12 -> 3 (log start), up to 6 records read again"]);
    }

    #[test]
    fn a_log_that_was_cut_is_meant_without_its_number_and_nobody_knows_what_was_done() {
        let cut = PartitionState { standing: Standing::Cut(4), ..state(2, Some(5), (3, 9)) };
        let lines = ["  partition 2: 5 -> 4, up to 5 records read again, up to 1 records SKIPPED"];
        assert_eq!(told(&[cut, state(1, Some(5), (3, 9))], &[], To::Offset(4)), lines);
    }

    #[test]
    fn what_is_between_the_old_place_and_the_new_one_is_said() {
        let both = [state(0, None, (3, 9))];
        assert_eq!(
            told(&both, &[0], To::Offset(5)),
            ["  partition 0: none -> 5, up to 4 records read again, up to 2 records SKIPPED"]
        );
        let back = [state(0, Some(7), (3, 9))];
        assert_eq!(told(&back, &[0], To::Offset(5)), ["  partition 0: 7 -> 5, up to 2 records read again"]);
        assert_eq!(told(&back, &[0], To::End), ["  partition 0: 7 -> 9 (log end), up to 2 records SKIPPED"]);
        let beyond = [state(0, Some(20), (3, 9))];
        assert_eq!(told(&beyond, &[0], To::End)[0], "  partition 0: 20 -> 9 (log end), up to 6 records SKIPPED");
        assert_eq!(told(&beyond, &[0], To::Start), ["  partition 0: 20 -> 3 (log start), up to 6 records read again"]);
        let lost = [state(0, Some(1), (3, 9))];
        assert_eq!(told(&lost, &[0], To::Start), ["  partition 0: 1 -> 3 (log start)"]);
    }

    #[test]
    fn a_group_that_went_on_since_the_plan_was_shown_is_noticed() {
        let changes = plan(&[state(0, Some(5), (3, 9)), state(1, Some(5), (3, 9))], &[0], To::Start).unwrap();
        assert_eq!(moved(&changes, &[state(0, Some(5), (4, 12)), state(1, Some(6), (3, 9))]), None, "ends may move");
        let now = [state(0, Some(6), (3, 9))];
        assert_eq!(moved(&changes, &now).map(|lag| lag.committed), Some(Some(6)));
    }

    #[test]
    fn every_role_says_what_is_sent_again_and_what_is_lost() {
        let states = [state(0, None, (3, 9))];
        for role in [GroupRole::Fanout, GroupRole::Delivery, GroupRole::Retry] {
            let again = explain(role, &plan(&states, &[], To::Start).unwrap()).join("\n");
            assert!(again.contains("once more") && !again.contains("lost"), "{again}");
            let lost = explain(role, &plan(&states, &[], To::End).unwrap()).join("\n");
            assert!(lost.contains("lost") && !lost.contains("once more"), "{lost}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused_as_wrong_usage() {
        let states = [state(0, None, (3, 9)), state(1, None, (1, 2))];
        for (named, to) in
            [(vec![2], To::End), (vec![0], To::Offset(2)), (vec![], To::Offset(10)), (vec![], To::Offset(1))]
        {
            let error = plan(&states, &named, to).unwrap_err();
            assert!(error.is::<crate::Usage>(), "{named:?} {to:?}: {error}");
        }
    }
}
