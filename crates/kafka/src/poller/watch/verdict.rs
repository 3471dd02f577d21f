//! What a refused position means. Pure.

use super::Begun;

/// A position that a broker refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::poller) struct Refused {
    /// The position; negative if it was not told.
    pub(in crate::poller) offset: i64,
    /// The broker's leader epochs prove that the log was cut below the position.
    pub(in crate::poller) is_cut: bool,
    /// An earlier look found the log cut.
    pub(in crate::poller) is_confirmed: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchdogAction {
    /// The log begins above what is due: reading goes on at its start. `lost` offsets were never read.
    Skip { to: i64, lost: i64 },
    /// The log was cut below what was read.
    Truncated { log_end: i64 },
    /// What is due exists: the fetcher was somewhere else.
    Reposition,
}

/// Judges a refused position by where the log begins and ends now.
pub(super) fn judge(begun: &Begun, refused: &Refused, (log_start, log_end): (i64, i64)) -> WatchdogAction {
    let due = begun.next;
    if due < log_start {
        // What is due lies behind the end as it was last seen, markers included: whatever stood from there on came later.
        return WatchdogAction::Skip { to: log_start, lost: log_start - due };
    }
    // A log never grows shorter by itself. What was refused and exists now was cut off and has grown again.
    if due > log_end || refused.is_cut || refused.offset == due {
        return WatchdogAction::Truncated { log_end };
    }
    WatchdogAction::Reposition
}

#[cfg(test)]
mod tests {
    use schemas::record::TopicPartition;
    use uuid::Uuid;

    use super::*;
    use crate::lease::{Epoch, Lease};

    fn begun(next: i64) -> Begun {
        let lease = Lease { partition: TopicPartition::new("t", 0), epoch: Epoch(1) };
        Begun { lease, topic_id: Uuid::nil(), next }
    }

    #[test]
    fn a_refused_position_is_below_the_log_beyond_it_or_somebody_elses() {
        let refused = |offset| Refused { offset, is_cut: false, is_confirmed: false };
        let cut = Refused { offset: -1, is_cut: true, is_confirmed: false };
        let cases = [
            // Retention: five were never read, also where the end had been reached before they came.
            (begun(5), refused(5), (10, 20), WatchdogAction::Skip { to: 10, lost: 5 }),
            (begun(5), refused(5), (10, 10), WatchdogAction::Skip { to: 10, lost: 5 }),
            // Cut below what was read: still so, grown again, or told by its leader epochs.
            (begun(15), refused(15), (0, 12), WatchdogAction::Truncated { log_end: 12 }),
            (begun(15), refused(15), (0, 15), WatchdogAction::Truncated { log_end: 15 }),
            (begun(15), refused(15), (0, 40), WatchdogAction::Truncated { log_end: 40 }),
            (begun(15), cut, (0, 40), WatchdogAction::Truncated { log_end: 40 }),
            // The fetcher was somewhere else.
            (begun(5), refused(10_000), (0, 10), WatchdogAction::Reposition),
            (begun(5), refused(-1), (0, 10), WatchdogAction::Reposition),
            (begun(5), refused(3), (5, 5), WatchdogAction::Reposition),
        ];
        for (begun, refused, range, expected) in cases {
            assert_eq!(judge(&begun, &refused, range), expected, "{begun:?} {refused:?} {range:?}");
        }
    }
}
