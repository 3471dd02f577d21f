//! What a job may have under way, by what was written and what has ended.

use schemas::jobs::MAX_GOALS;
use uuid::Uuid;

use super::*;

/// 2026-11-25, noon.
const NOON_MS: i64 = 1_795_608_000_000;
const DAY_MS: i64 = 86_400_000;

fn goal(number: u128) -> SubscriptionId {
    SubscriptionId(Uuid::from_u128(number))
}

fn written(to: u128, count: usize) -> JobWritten {
    let mut written = JobWritten::default();
    (0..count).for_each(|_| written.add(goal(to)));
    written
}

fn ended(at_ms: i64, of: u128, count: u64) -> EndedOnDay {
    EndedOnDay { day: Day::of(at_ms), all: count, of: BTreeMap::from([(goal(of), count)]) }
}

/// How many more for a subscription may be written.
fn room(under_way: &JobBound, written: &JobWritten, of: u128) -> usize {
    let (mut all, mut room) = (written.clone(), 0);
    loop {
        let before = all.clone();
        all.add(goal(of));
        if under_way.admits(&before, &all, &[goal(of)]).is_err() {
            return room;
        }
        room += 1;
    }
}

#[test]
fn a_subscription_has_so_much_under_way_as_is_allowed_and_no_other_is_held_for_it() {
    for (rate, allowed) in [(1, 500), (100, 500), (125, 500), (126, 504), (10_000, 40_000)] {
        let mut all = JobWritten::default();
        let under_way = JobBound::new(&mut all, Vec::new(), rate, NOON_MS);
        assert_eq!(room(&under_way, &all, 1), allowed, "at {rate} a second");
        under_way.has_room(&all, Some(goal(1))).unwrap();
    }
    let mut all = written(1, 500);
    let under_way = JobBound::new(&mut all, Vec::new(), 100, NOON_MS);
    let why = under_way.has_room(&all, Some(goal(1))).unwrap_err();
    assert_eq!(why, format!("500 of its deliveries to subscription {} are under way: it goes on as they end", goal(1)));
    assert_eq!((room(&under_way, &all, 1), room(&under_way, &all, 2)), (0, 500));
    under_way.has_room(&all, None).unwrap();
    let under_way = JobBound::new(&mut all, vec![ended(NOON_MS, 1, 30)], 100, NOON_MS);
    assert_eq!(room(&under_way, &all, 1), 30, "it goes on as they end");
}

#[test]
fn one_event_for_many_is_written_as_a_whole_where_nothing_else_is_under_way() {
    let wide: Vec<SubscriptionId> = (0..2_000).map(goal).collect();
    let add = |written: &JobWritten| {
        let mut all = written.clone();
        wide.iter().for_each(|goal| all.add(*goal));
        all
    };
    let mut before = JobWritten::default();
    let under_way = JobBound::new(&mut before, Vec::new(), 100, NOON_MS);
    let after = add(&before);
    assert!(after.together().is_some(), "more than {MAX_GOALS} are not told apart");
    under_way.admits(&before, &after, &wide).unwrap();
    let why = under_way.admits(&after, &add(&after), &wide).unwrap_err();
    assert_eq!(why, "500 of its deliveries are under way: it goes on as they end");
    assert_eq!(under_way.has_room(&after, None).unwrap_err(), why);
    under_way.admits(&after, &after, &[]).unwrap();
    let mut all = after;
    let day = EndedOnDay { day: Day::of(NOON_MS), all: 2_000, of: BTreeMap::new() };
    let under_way = JobBound::new(&mut all, vec![day], 100, NOON_MS);
    under_way.admits(&all, &add(&all), &wide).unwrap();
}

#[test]
fn what_ended_on_a_day_that_is_over_is_taken_off_once_so_that_the_day_may_go() {
    let days = || vec![ended(NOON_MS - 2 * DAY_MS, 1, 100), ended(NOON_MS - DAY_MS, 1, 50), ended(NOON_MS, 1, 7)];
    let mut all = written(1, 600);
    let under_way = JobBound::new(&mut all, days(), 100, NOON_MS);
    assert_eq!((all.total(), room(&under_way, &all, 1)), (450, 57));
    assert_eq!(all.ended_to_day(), Some(Day::of(NOON_MS).minus(1).number()));
    // The days are told again, are told no more, or are given up: it is the same.
    for kept in 0..3 {
        let mut again = all.clone();
        let under_way = JobBound::new(&mut again, days().split_off(kept), 100, NOON_MS);
        assert_eq!((&again, room(&under_way, &again, 1)), (&all, 57), "without {kept} days");
    }
    // Just after midnight more may be said of the day that is over.
    let midnight = Day::of(NOON_MS).next().start_ms();
    let mut late = all.clone();
    let under_way = JobBound::new(&mut late, days(), 100, midnight + OVER_MS - 1);
    assert_eq!((&late, room(&under_way, &late, 1)), (&all, 57));
    let under_way = JobBound::new(&mut late, days(), 100, midnight + OVER_MS);
    assert_eq!((late.total(), room(&under_way, &late, 1)), (443, 57));
}

#[test]
fn a_job_that_an_older_build_ran_counts_as_having_written_for_all_together() {
    let mut all = JobWritten::untold(2_000);
    let under_way = JobBound::new(&mut all, vec![ended(NOON_MS, 1, 1_499)], 100, NOON_MS);
    under_way.has_room(&all, Some(goal(1))).unwrap_err();
    let under_way = JobBound::new(&mut all, vec![ended(NOON_MS, 1, 1_600)], 100, NOON_MS);
    assert_eq!(room(&under_way, &all, 1), 100);
}
