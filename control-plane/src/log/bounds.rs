//! Where a reader begins in each partition, and through which days it goes. Pure.

use std::ops::Range;

use delivery_log::{Coverage, Day};

/// Where the newest part of a partition is read from: behind what is covered of today, else where today begins.
pub(super) fn live_start(coverage: &Coverage, partition: i32, today: Range<i64>) -> i64 {
    let covered = coverage.of(partition).last().map_or(today.start, |last| last.end);
    // Beyond the end nothing is covered: it was given up. Should it be, it was cut off the log meanwhile, and will be something else.
    covered.clamp(today.start, today.end.max(today.start))
}

/// Offsets between what was read and the log's start: they were deleted before they had been read.
pub(super) fn lost(coverage: &Coverage, partition: i32, first: i64) -> Option<Range<i64>> {
    let end = coverage.ends().get(&partition).copied()?;
    (end < first).then_some(end..first)
}

/// The offsets of a day in a partition, of `found`: where it and the day after it begin by the time. They and the newest part, from
/// `live_from` on, leave nothing out behind `first`.
pub(super) fn day_range(found: Range<i64>, is_newest: bool, (first, live_from): (i64, i64)) -> Range<i64> {
    let begin = found.start.clamp(first, live_from.max(first));
    // A clock that was ahead wrote records of days to come: behind them more of this day may stand.
    let end = if is_newest { live_from } else { found.end.min(live_from) };
    begin..end.max(begin)
}

/// The days of a log, the newest last, so that they are taken from the end.
pub(super) fn days_between(oldest: Day, newest: Day) -> Vec<Day> {
    let mut days: Vec<Day> = (0..).map(|back| newest.minus(back)).take_while(|day| *day > oldest).collect();
    days.push(oldest);
    days.reverse();
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_part_begins_behind_what_is_covered_of_today() {
        let mut coverage = Coverage::default();
        assert_eq!(live_start(&coverage, 0, 50..90), 50);
        coverage.add(0, 10..40);
        assert_eq!(live_start(&coverage, 0, 50..90), 50, "what is before it is an older day's");
        coverage.add(0, 60..80);
        assert_eq!(live_start(&coverage, 0, 50..90), 80);
        coverage.add(0, 80..200);
        assert_eq!(live_start(&coverage, 0, 50..90), 90, "the log was cut");
    }

    #[test]
    fn what_lies_between_the_log_and_the_topics_start_is_lost() {
        let mut coverage = Coverage::default();
        assert_eq!(lost(&coverage, 0, 50), None, "nothing was to be read of it");
        coverage.add(0, 10..40);
        assert_eq!(lost(&coverage, 0, 50), Some(40..50));
        assert_eq!((lost(&coverage, 0, 40), lost(&coverage, 1, 50)), (None, None));
    }

    #[test]
    fn days_and_the_newest_part_leave_nothing_out_whatever_the_clocks_said() {
        // By offset: the third was stamped by a clock that was two days ahead, the fifth by one that was a day behind.
        let days = [0, 1, 3, 1, 0, 1, 1].map(|day| Day::of(day * 86_400_000));
        let at = |day: Day| i64::try_from(days.iter().position(|it| *it >= day).unwrap_or(days.len())).unwrap();
        let today = Day::of(86_400_000);
        for live_from in 1..=7 {
            let mut read: Vec<i64> = (live_from..7).collect();
            for day in days_between(Day::of(0), today) {
                let found = at(day)..at(day.next());
                read.extend(day_range(found, day == today, (0, live_from)));
            }
            read.sort_unstable();
            assert_eq!(read, (0..7).collect::<Vec<_>>(), "{live_from}");
        }
        assert_eq!(day_range(2..5, false, (4, 9)), 4..5, "the log begins later");
        assert_eq!(day_range(2..3, true, (5, 4)), 5..5);
    }

    #[test]
    fn days_are_taken_from_the_newest_to_the_oldest() {
        let newest = Day::of(1_795_960_799_999);
        let mut days = days_between(newest.minus(2), newest);
        assert_eq!(std::iter::from_fn(|| days.pop()).collect::<Vec<_>>(), [newest, newest.minus(1), newest.minus(2)]);
        assert_eq!(days_between(newest, newest), [newest]);
    }
}
