//! How long an endpoint has been failing without one success, over restarts and takeovers. Pure.
//!
//! ```text
//! failure --> streak begins (since) --carried by every retry it writes--> next owner's first failure goes on with it
//! success --> streak ends; what was carried from before that success counts no more
//! longer than disable_after --> one report, again after every further disable_after
//! ```
//!
//! **Why the retries carry it.** A streak is a fact about time that no single process sees whole, and the retries are what
//! outlives a process: while an endpoint fails there is a retry under way or the next delivery begins a new one, and each is
//! stamped anew with what its lane knows. When nothing is under way any more there is nothing left to protect by disabling.
//!
//! **What the stamp cannot know** is a success between its own attempt and the takeover. So a carried streak counts only once
//! the new owner has itself seen nothing but failures for a while ([`Limit::confirm_ms`]): an endpoint that works says so long
//! before. A change of the subscription begins anew: its owner may just have mended it.
//!
//! What it leaves to others: which failures are the endpoint's (the engine), and disabling (the control plane).

/// Of `disable_after` so much must be seen by the present owner, at most an hour.
const CONFIRM_SHARE: i64 = 24;
/// Longest confirmation.
const CONFIRM_AT_MOST_MS: i64 = 3_600_000;
/// Reports are never closer together, however short `disable_after` is.
const REPORT_EVERY_MS: i64 = 60_000;

/// Failures in a row of one lane, in time.
#[derive(Debug, Default)]
pub(crate) struct Streak {
    /// Newest success seen here, Unix ms.
    succeeded_ms: Option<i64>,
    failing: Option<Failing>,
    /// A retry with a stamp was seen here, or written: more of them may be under way, and a success outlaws them.
    is_stamped: bool,
    /// Failing since, as another owner's record of the lane said, Unix ms: a stamp that counts with the first failure here.
    known_ms: Option<i64>,
}

#[derive(Debug)]
struct Failing {
    /// First failure of the streak, whoever saw it, Unix ms.
    since_ms: i64,
    /// First failure of the streak that was seen here, Unix ms.
    seen_ms: i64,
    reported_ms: Option<i64>,
    /// Failures seen here, one after the other.
    in_a_row: u32,
}

/// What a subscription allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Failing for longer is reported; `None`: never.
    pub(crate) after_ms: Option<i64>,
    /// When the subscription was last changed, Unix ms: what was before does not count.
    pub(crate) changed_ms: i64,
}

/// What one more failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Failing since, Unix ms: the retry carries it.
    pub(crate) since_ms: i64,
    /// It is time to report the endpoint.
    pub(crate) is_due: bool,
}

impl Limit {
    fn confirm_ms(after_ms: i64) -> i64 {
        (after_ms / CONFIRM_SHARE).min(CONFIRM_AT_MOST_MS)
    }
}

impl Streak {
    /// A delivery came that carries a stamp.
    pub(crate) fn on_stamp(&mut self) {
        self.is_stamped = true;
    }

    /// Whether a new one would decide as this one does: its endpoint has never failed, as far as anybody here knows.
    pub(crate) fn is_fresh(&self) -> bool {
        self.failing.is_none() && !self.is_stamped
    }

    /// Newest success, Unix ms: it outlaws older stamps for as long as one can come, also when its lane is forgotten.
    pub(crate) fn succeeded_ms(&self) -> Option<i64> {
        self.succeeded_ms
    }

    /// The success a forgotten lane had.
    pub(crate) fn remember(&mut self, succeeded_ms: i64) {
        self.succeeded_ms = Some(succeeded_ms);
    }

    /// The endpoint took one. Returns since when every attempt had failed, if that is what it ends, Unix ms.
    pub(crate) fn on_success(&mut self, now_ms: i64) -> Option<i64> {
        self.succeeded_ms = Some(now_ms);
        let here_ms = self.failing.take().map(|failing| failing.since_ms);
        [here_ms, self.known_ms.take()].into_iter().flatten().min()
    }

    /// It did not take one that came with this stamp.
    pub(crate) fn on_failure(&mut self, carried_ms: Option<i64>, limit: Limit, now_ms: i64) -> Failed {
        let floor_ms = self.succeeded_ms.map_or(limit.changed_ms, |success_ms| limit.changed_ms.max(success_ms + 1));
        if self.failing.as_ref().is_some_and(|failing| failing.since_ms < floor_ms) {
            self.failing = None;
        }
        // Another host's clock may be ahead of this one.
        let stamps = [carried_ms, self.known_ms].into_iter().flatten();
        let carried_ms = stamps.map(|at_ms| at_ms.min(now_ms)).filter(|at_ms| *at_ms >= floor_ms).min();
        let failing =
            self.failing.get_or_insert(Failing { since_ms: now_ms, seen_ms: now_ms, reported_ms: None, in_a_row: 0 });
        failing.in_a_row = failing.in_a_row.saturating_add(1);
        failing.since_ms = failing.since_ms.min(carried_ms.unwrap_or(now_ms));
        self.is_stamped = true;
        Failed { since_ms: failing.since_ms, is_due: failing.report(limit.after_ms, now_ms) }
    }

    /// Since then nothing could be known of any endpoint: what began to fail before goes on failing, what began then may not.
    pub(crate) fn forget_since(&mut self, at_ms: i64) {
        if self.failing.as_ref().is_some_and(|failing| failing.since_ms >= at_ms) {
            self.failing = None;
        }
    }

    /// Failing since, as far as is known here, Unix ms.
    pub(crate) fn failing_since_ms(&self) -> Option<i64> {
        self.failing.as_ref().map(|failing| failing.since_ms)
    }

    /// How often in a row it failed, as seen here; 0 while it works.
    pub(crate) fn in_a_row(&self) -> u32 {
        self.failing.as_ref().map_or(0, |failing| failing.in_a_row)
    }

    /// Goes on from what another owner knew, which is a stamp like those of retries.
    pub(crate) fn restore(&mut self, failing_since_ms: Option<i64>, succeeded_ms: Option<i64>) {
        self.is_stamped |= failing_since_ms.is_some();
        self.known_ms = failing_since_ms;
        self.succeeded_ms = self.succeeded_ms.max(succeeded_ms);
    }

    /// For some time nothing could be known of any endpoint: what was seen here before is no evidence any more.
    pub(crate) fn forget(&mut self) {
        self.failing = None;
    }
}

impl Failing {
    fn report(&mut self, after_ms: Option<i64>, now_ms: i64) -> bool {
        let Some(after_ms) = after_ms else { return false };
        let is_long = now_ms - self.since_ms >= after_ms && now_ms - self.seen_ms >= Limit::confirm_ms(after_ms);
        let is_told = self.reported_ms.is_some_and(|at_ms| now_ms - at_ms < after_ms.max(REPORT_EVERY_MS));
        let is_due = is_long && !is_told;
        if is_due {
            self.reported_ms = Some(now_ms);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const LIMIT: Limit = Limit { after_ms: Some(5 * DAY), changed_ms: 0 };

    #[test]
    fn five_days_without_a_success_are_reported_once_and_again_after_five_more() {
        let mut streak = Streak::default();
        let due: Vec<i64> = (0..12 * 24)
            .map(|hour| 1_000_000 + hour * HOUR)
            .filter(|now| streak.on_failure(None, LIMIT, *now).is_due)
            .collect();
        assert_eq!(due, [1_000_000 + 5 * DAY, 1_000_000 + 10 * DAY]);
    }

    #[test]
    fn one_success_begins_anew_and_outlaws_older_stamps() {
        let mut streak = Streak::default();
        let since = streak.on_failure(None, LIMIT, DAY).since_ms;
        streak.on_success(5 * DAY);
        let failed = streak.on_failure(Some(since), LIMIT, 7 * DAY);
        assert_eq!(failed, Failed { since_ms: 7 * DAY, is_due: false });
        assert!(!streak.on_failure(Some(since), LIMIT, 11 * DAY).is_due);
        assert!(streak.on_failure(Some(since), LIMIT, 12 * DAY).is_due);
    }

    #[test]
    fn a_streak_goes_on_at_the_next_owner_once_it_has_seen_failures_itself() {
        let mut before = Streak::default();
        let carried = Some(before.on_failure(None, LIMIT, DAY).since_ms);
        let mut after = Streak::default();
        // A fresh delivery fails first: the stamp of an older one still counts when it comes.
        assert_eq!(after.on_failure(None, LIMIT, 6 * DAY).since_ms, 6 * DAY);
        let failed = after.on_failure(carried, LIMIT, 6 * DAY + 1);
        assert_eq!(failed, Failed { since_ms: DAY, is_due: false }, "not on the word of the stamp alone");
        assert!(after.on_failure(None, LIMIT, 6 * DAY + HOUR).is_due);
        // An endpoint that had worked meanwhile says so within that hour.
        let mut healthy = Streak::default();
        healthy.on_failure(carried, LIMIT, 6 * DAY);
        healthy.on_success(6 * DAY + HOUR / 2);
        assert!(!healthy.on_failure(carried, LIMIT, 6 * DAY + 2 * HOUR).is_due);
    }

    #[test]
    fn a_changed_subscription_gets_its_whole_time_again() {
        let mut streak = Streak::default();
        streak.on_failure(None, LIMIT, DAY);
        let changed = Limit { changed_ms: 6 * DAY, ..LIMIT };
        let failed = streak.on_failure(Some(DAY), changed, 6 * DAY + 5);
        assert_eq!(failed, Failed { since_ms: 6 * DAY + 5, is_due: false });
        assert!(streak.on_failure(Some(DAY), changed, 11 * DAY + 5).is_due);
    }

    #[test]
    fn what_another_owner_knew_counts_like_a_stamp_until_a_success() {
        let mut after = Streak::default();
        after.restore(Some(DAY), Some(DAY / 2));
        assert_eq!((after.failing_since_ms(), after.succeeded_ms()), (None, Some(DAY / 2)));
        assert_eq!(after.on_failure(None, LIMIT, 6 * DAY), Failed { since_ms: DAY, is_due: false });
        assert!(after.on_failure(None, LIMIT, 6 * DAY + HOUR).is_due);
        after.on_success(6 * DAY + 2 * HOUR);
        assert_eq!(after.on_failure(None, LIMIT, 7 * DAY).since_ms, 7 * DAY);
    }

    #[test]
    fn the_success_that_ends_a_row_of_failures_tells_how_long_it_was() {
        let mut streak = Streak::default();
        assert_eq!(streak.on_success(DAY), None);
        streak.on_failure(None, LIMIT, 2 * DAY);
        streak.on_failure(None, LIMIT, 3 * DAY);
        assert_eq!((streak.on_success(4 * DAY), streak.on_success(5 * DAY)), (Some(2 * DAY), None), "once");
        // What another owner knew counts, with or without a failure seen here.
        streak.restore(Some(6 * DAY), None);
        assert_eq!(streak.on_success(7 * DAY), Some(6 * DAY));
        streak.restore(Some(8 * DAY), None);
        streak.on_failure(None, LIMIT, 9 * DAY);
        assert_eq!(streak.on_success(10 * DAY), Some(8 * DAY));
    }

    #[test]
    fn an_outage_of_our_own_takes_back_only_what_began_in_it() {
        let [mut dead, mut healthy] = [Streak::default(), Streak::default()];
        dead.on_failure(None, LIMIT, DAY);
        healthy.on_failure(None, LIMIT, 2 * DAY + 1);
        for streak in [&mut dead, &mut healthy] {
            streak.forget_since(2 * DAY);
        }
        assert_eq!((dead.failing_since_ms(), healthy.failing_since_ms()), (Some(DAY), None));
    }

    #[test]
    fn never_means_never_and_an_outage_of_our_own_is_no_evidence() {
        let mut streak = Streak::default();
        let never = Limit { after_ms: None, changed_ms: 0 };
        assert!((0..100).all(|day| !streak.on_failure(None, never, day * DAY).is_due));
        streak.forget();
        assert!(!streak.on_failure(None, LIMIT, 200 * DAY).is_due);
    }

    proptest! {
        /// Whatever happens, a report needs `disable_after` without a success and since the last change.
        #[test]
        fn no_report_without_the_whole_time(steps in proptest::collection::vec((0..3_u8, 1..DAY, 0..20 * DAY), 1..200)) {
            let (mut streak, mut now, mut clean_since) = (Streak::default(), 100 * DAY, 0);
            let mut changed_ms = 0;
            for (what, passed, back) in steps {
                now += passed;
                match what {
                    0 => {
                        streak.on_success(now);
                        clean_since = now;
                    }
                    1 => changed_ms = now,
                    _fails => {
                        let limit = Limit { changed_ms, ..LIMIT };
                        let failed = streak.on_failure(Some(now - back), limit, now);
                        let since = clean_since.max(changed_ms);
                        prop_assert!(failed.since_ms >= since && failed.since_ms <= now);
                        prop_assert!(!failed.is_due || now - since >= 5 * DAY);
                    }
                }
            }
        }
    }
}
