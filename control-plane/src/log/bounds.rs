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
    fn days_are_taken_from_the_newest_to_the_oldest() {
        let newest = Day::of(1_795_960_799_999);
        let mut days = days_between(newest.minus(2), newest);
        assert_eq!(std::iter::from_fn(|| days.pop()).collect::<Vec<_>>(), [newest, newest.minus(1), newest.minus(2)]);
        assert_eq!(days_between(newest, newest), [newest]);
    }
}
