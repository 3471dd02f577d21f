//! The counts by themselves: shares, days, two limits at once, bounded memory.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const NOON: i64 = 20_000 * DAY_MS + DAY_MS / 2;

fn senders(application: Allowance, organization: Allowance) -> Senders {
    Senders {
        application: ApplicationId(Uuid::from_u128(1)),
        application_allowance: application,
        organization: OrganizationId(Uuid::from_u128(2)),
        organization_allowance: organization,
        shared_allowance: Allowance::default(),
    }
}

fn rate(per_second: u32) -> Allowance {
    Allowance { per_second: Some(per_second), per_day: None }
}

fn quota(per_day: u64) -> Allowance {
    Allowance { per_second: None, per_day: Some(per_day) }
}

fn passed(limits: &SendLimits, senders: Senders, tries: usize, now_ms: i64) -> usize {
    (0..tries).filter(|_| limits.take(senders, now_ms).is_ok()).count()
}

#[test]
fn without_a_limit_nothing_is_remembered() {
    let limits = SendLimits::new(1);
    let free = senders(Allowance::default(), Allowance::default());
    assert_eq!(limits.take(free, NOON), Ok(None));
    assert!(limits.shards.iter().all(|shard| shard.lock().organizations.is_empty()));
}

#[test]
fn a_second_lets_its_rate_pass_and_says_when_to_come_back() {
    let limits = SendLimits::new(1);
    let ten = senders(rate(10), Allowance::default());
    assert_eq!(passed(&limits, ten, 50, NOON), 10);
    let over = limits.take(ten, NOON).unwrap_err();
    assert_eq!(over, Over::Rate { whose: Whose::Application, per_second: 10, retry_after_s: 1 });
    assert_eq!(passed(&limits, ten, 50, NOON + 500), 5);
    assert_eq!(passed(&limits, ten, 50, NOON + 60_000), 10, "what was not used is not saved up");
}

#[test]
fn a_slow_rate_on_many_replicas_waits_for_whole_seconds() {
    let limits = SendLimits::new(4);
    let one = senders(rate(1), Allowance::default());
    assert_eq!(passed(&limits, one, 3, NOON), 1);
    let over = limits.take(one, NOON + 1).unwrap_err();
    assert_eq!(over, Over::Rate { whose: Whose::Application, per_second: 1, retry_after_s: 4 });
}

#[test]
fn a_limit_of_0_lets_nothing_pass() {
    let limits = SendLimits::new(3);
    let shut = limits.take(senders(rate(0), Allowance::default()), NOON).unwrap_err();
    assert_eq!(shut, Over::Rate { whose: Whose::Application, per_second: 0, retry_after_s: 60 });
    assert!(limits.take(senders(Allowance::default(), quota(0)), NOON).is_err());
}

#[test]
fn a_replica_enforces_its_share() {
    let limits = SendLimits::new(3);
    assert_eq!(passed(&limits, senders(rate(30), Allowance::default()), 100, NOON), 10);
    assert_eq!(passed(&limits, senders(quota(10), Allowance::default()), 100, NOON), 0, "10 are used already today");
    let other = SendLimits::new(3);
    assert_eq!(passed(&other, senders(quota(10), Allowance::default()), 100, NOON), 4, "a third of 10, rounded up");
}

#[test]
fn a_day_goes_on_from_where_all_replicas_are_when_their_number_changes() {
    let hundred = senders(quota(100), Allowance::default());
    let limits = SendLimits::new(4);
    assert_eq!(passed(&limits, hundred, 20, NOON), 20, "80 of all, where each of the four took as many");
    limits.share(2);
    assert_eq!(passed(&limits, hundred, 99, NOON), 10, "two share the 20 that are left");
    let grown = SendLimits::new(1);
    assert_eq!(passed(&grown, hundred, 60, NOON), 60);
    grown.share(4);
    assert_eq!(
        passed(&grown, hundred, 99, NOON),
        10,
        "it is not shut for having had more than the part of one of four"
    );
    grown.share(0);
    assert!(grown.take(hundred, NOON).is_err());
}

#[test]
fn a_rate_is_shared_anew_and_what_was_taken_stays_taken() {
    let limits = SendLimits::new(1);
    let ten = senders(rate(10), Allowance::default());
    assert_eq!(passed(&limits, ten, 50, NOON), 10);
    limits.share(5);
    assert_eq!(passed(&limits, ten, 50, NOON), 0, "nobody has a second twice");
    assert_eq!(passed(&limits, ten, 50, NOON + 60_000), 2);
    limits.share(1);
    assert_eq!(passed(&limits, ten, 50, NOON + 120_000), 10);
}

#[test]
fn what_is_given_back_is_what_it_stood_for() {
    let limits = SendLimits::new(4);
    let eight = senders(quota(8), Allowance::default());
    let counted = limits.take(eight, NOON).unwrap().unwrap();
    assert_eq!(passed(&limits, eight, 9, NOON), 1);
    limits.share(1);
    limits.give_back(counted);
    assert_eq!(passed(&limits, eight, 9, NOON), 4, "the other one still stands for four");
}

#[test]
fn the_day_ends_at_midnight_utc() {
    let limits = SendLimits::new(1);
    let three = senders(Allowance::default(), quota(3));
    assert_eq!(passed(&limits, three, 5, NOON), 3);
    let last = 20_001 * DAY_MS - 1;
    assert_eq!(limits.take(three, last), Err(Over::Quota { whose: Whose::Organization, per_day: 3 }));
    assert_eq!(passed(&limits, three, 5, last + 1), 3);
}

#[test]
fn what_one_refuses_is_not_used_up_at_the_other() {
    let limits = SendLimits::new(1);
    let both = senders(quota(100), quota(2));
    assert_eq!(passed(&limits, both, 50, NOON), 2);
    let alone = senders(quota(3), Allowance::default());
    assert_eq!(passed(&limits, alone, 5, NOON), 1, "the application has used 2 of its 3");
}

#[test]
fn what_was_not_accepted_is_given_back_to_its_day() {
    let limits = SendLimits::new(1);
    let one = senders(quota(1), Allowance::default());
    let counted = limits.take(one, NOON).unwrap().unwrap();
    assert!(limits.take(one, NOON).is_err());
    limits.give_back(counted);
    let again = limits.take(one, NOON).unwrap().unwrap();
    assert!(limits.take(one, NOON + DAY_MS).is_ok());
    limits.give_back(again);
    assert!(limits.take(one, NOON + DAY_MS).is_err(), "yesterday's event is nothing to today");
}

#[test]
fn a_changed_limit_counts_at_once() {
    let limits = SendLimits::new(1);
    assert_eq!(passed(&limits, senders(rate(2), quota(9)), 9, NOON), 2);
    assert_eq!(passed(&limits, senders(rate(1_000), quota(9)), 20, NOON + 1_000), 7);
    assert_eq!(passed(&limits, senders(Allowance::default(), Allowance::default()), 20, NOON), 20);
}

fn application(number: u128, organization: u128, application: Allowance) -> Senders {
    Senders {
        application: ApplicationId(Uuid::from_u128(number)),
        organization: OrganizationId(Uuid::from_u128(organization)),
        ..senders(application, Allowance::default())
    }
}

#[test]
fn one_organizations_keys_take_no_place_of_anothers() {
    let mut limits = SendLimits::new(1);
    limits.application_keys = 2;
    // Of the same shard.
    let (greedy, other) = (0x10, 0x20);
    assert!((1..=3).all(|number| limits.take(application(number, greedy, quota(9)), NOON).is_ok()));
    assert_eq!(passed(&limits, application(4, other, quota(1)), 5, NOON), 1);
    let organization = Senders { organization_allowance: quota(2), ..application(5, greedy, Allowance::default()) };
    assert_eq!(passed(&limits, organization, 5, NOON), 2, "its own key has a place however many applications it has");
    assert!(limits.shards.iter().all(|shard| shard.lock().organizations.values().all(|it| it.places() <= 2)));
}

#[test]
fn applications_beyond_the_places_of_their_organization_are_counted_together() {
    let mut limits = SendLimits::new(1);
    limits.application_keys = 2;
    let of = |number| application(number, 1, quota(2));
    assert!([of(1), of(2)].into_iter().all(|one| limits.take(one, NOON).is_ok()));
    assert_eq!(passed(&limits, of(3), 1, NOON) + passed(&limits, of(4), 5, NOON), 2, "nobody passes uncounted");
    assert_eq!(passed(&limits, of(1), 5, NOON), 1, "who has a place keeps it");
    let tomorrow = NOON + DAY_MS;
    assert_eq!(
        (passed(&limits, of(3), 5, tomorrow), passed(&limits, of(4), 5, tomorrow)),
        (2, 2),
        "there is room again"
    );
}

#[test]
fn what_an_organization_does_not_need_any_more_is_forgotten() {
    let limits = SendLimits::new(1);
    let organizations = u128::try_from(SHARD_ORGANIZATIONS).unwrap();
    let count = || limits.shards.iter().map(|shard| shard.lock().organizations.len()).sum::<usize>();
    // All of one shard.
    let of = |number: u128| application(1, number * 16, quota(1));
    assert!((0..=organizations).all(|number| limits.take(of(number), NOON).is_ok()));
    assert_eq!(count(), SHARD_ORGANIZATIONS + 1, "each has a place");
    assert!(limits.take(of(organizations + 1), NOON + DAY_MS).is_ok());
    assert_eq!(count(), 1, "yesterday's say nothing");
}

#[test]
fn a_rate_that_only_some_who_share_it_have_is_kept_between_them() {
    let limits = SendLimits::new(1);
    let free = Senders { shared_allowance: Allowance { per_day: Some(100), ..rate(1) }, ..application(1, 1, rate(50)) };
    let paced = Senders { shared_allowance: quota(100), ..free };
    assert_eq!(passed(&limits, free, 5, NOON), 1);
    assert_eq!(passed(&limits, paced, 5, NOON), 5);
    assert_eq!(passed(&limits, free, 5, NOON), 0, "the others gave nobody a new second");
}

proptest! {
    #[test]
    fn a_day_never_lets_more_pass_than_the_shares_of_all(
        per_day in 1_u64..200,
        replicas in 1_u32..6,
        tries in proptest::collection::vec((0_usize..6, 0_i64..DAY_MS / 2), 1..400),
    ) {
        let all: Vec<SendLimits> = (0..replicas).map(|_| SendLimits::new(replicas)).collect();
        let one = senders(quota(per_day), Allowance::default());
        let taken = |(at, ms): &(usize, i64)| all[at % all.len()].take(one, NOON + ms).is_ok();
        let passed = tries.iter().filter(|one| taken(one)).count();
        prop_assert!((passed as u64) < per_day + u64::from(replicas), "overshoot is below one event per replica");
    }
}

#[test]
fn what_is_refused_takes_no_place_of_what_is_accepted_and_as_much_of_it_may_be() {
    let limits = SendLimits::new(1);
    let ten = senders(rate(10), rate(100));
    limits.count_refused(ten, 9, NOON);
    assert_eq!((limits.ask_refused(ten, NOON), passed(&limits, ten, 50, NOON)), (Ok(()), 10));
    limits.count_refused(ten, 1, NOON);
    let over = Over::Refused { whose: Whose::Application, per_second: 10, retry_after_s: 1 };
    assert_eq!(limits.ask_refused(ten, NOON), Err(over));
    assert_eq!(limits.ask_refused(ten, NOON + 99), Err(over));
    assert_eq!(limits.ask_refused(ten, NOON + 100), Ok(()));
    let free = senders(Allowance::default(), quota(1));
    limits.count_refused(free, 1_000, NOON);
    assert_eq!(limits.ask_refused(free, NOON), Ok(()), "without a rate there is none of what is refused");
}

#[test]
fn what_a_request_had_refused_beyond_its_rate_is_owed_for_ten_seconds_at_most() {
    let limits = SendLimits::new(1);
    let ten = senders(rate(10), Allowance::default());
    let over = |retry_after_s| Err(Over::Refused { whose: Whose::Application, per_second: 10, retry_after_s });
    // One request with so many events: ten are its second's, thirty it owes.
    limits.count_refused(ten, 40, NOON);
    assert_eq!(limits.ask_refused(ten, NOON), over(4));
    assert_eq!(limits.ask_refused(ten, NOON + 3_099), over(1));
    assert_eq!(limits.ask_refused(ten, NOON + 3_100), Ok(()));
    limits.count_refused(ten, u32::MAX, NOON + 3_100);
    assert_eq!(limits.ask_refused(ten, NOON + 3_100), over(11), "more than ten seconds are not owed");
    assert_eq!(passed(&limits, ten, 50, NOON + 3_100), 10, "what is accepted owes nothing");
    let later = NOON + 3_100 + 10_100;
    assert_eq!((limits.ask_refused(ten, later - 1), limits.ask_refused(ten, later)), (over(1), Ok(())));
    // A hundredth of it, one of ten replicas: the same time.
    let shared = SendLimits::new(10);
    shared.count_refused(ten, 1_000, NOON);
    assert_eq!(shared.ask_refused(ten, NOON), over(11));
    let slow = SendLimits::new(100);
    slow.count_refused(ten, 1_000, NOON);
    assert_eq!(slow.ask_refused(ten, NOON), over(20), "its second is ten of them, and it owes one more");
}

#[test]
fn whose_quota_is_spent_is_told_that_also_where_too_much_was_refused() {
    let limits = SendLimits::new(1);
    let allowance = Allowance { per_second: Some(10), per_day: Some(2) };
    let spent = Over::Quota { whose: Whose::Application, per_day: 2 };
    let one = senders(allowance, rate(100));
    limits.count_refused(one, 10, NOON);
    let over = Over::Refused { whose: Whose::Application, per_second: 10, retry_after_s: 1 };
    assert_eq!(limits.ask_refused(one, NOON), Err(over), "there is a quota, and something is left of it");
    assert_eq!(passed(&limits, one, 3, NOON), 2);
    assert_eq!(limits.ask_refused(one, NOON), Err(spent));
    assert_eq!(limits.ask_refused(one, NOON + 60_000), Ok(()), "a repeat is still told that it is one");
    limits.count_refused(one, 1_000, NOON + DAY_MS - 1);
    let over = Over::Refused { whose: Whose::Application, per_second: 10, retry_after_s: 11 };
    assert_eq!(limits.ask_refused(one, NOON + DAY_MS), Err(over), "it is another day");
}

const MIDNIGHT: i64 = 20_001 * DAY_MS;

#[test]
fn events_of_both_days_around_midnight_begin_no_day_anew() {
    let limits = SendLimits::new(1);
    let three = senders(quota(3), quota(100));
    let (before, after) = (MIDNIGHT - 1, MIDNIGHT);
    assert_eq!(passed(&limits, three, 2, before), 2);
    let taken: Vec<bool> =
        [after, before, after, before, after, before].map(|now_ms| limits.take(three, now_ms).is_ok()).into();
    assert_eq!(taken, [true, true, true, false, false, false], "those of the day before count against the new one");
    assert_eq!(passed(&limits, three, 9, MIDNIGHT + DAY_MS), 3);
    assert_eq!(passed(&limits, three, 9, MIDNIGHT - DAY_MS), 3, "a clock that was wrong keeps no quota");
}

#[test]
fn an_event_is_given_back_to_the_day_it_was_counted_against() {
    let limits = SendLimits::new(1);
    let two = senders(quota(2), quota(100));
    assert!(limits.take(two, MIDNIGHT).is_ok());
    let late = limits.take(two, MIDNIGHT - 1).unwrap().unwrap();
    assert!(limits.take(two, MIDNIGHT).is_err());
    limits.give_back(late);
    assert_eq!(passed(&limits, two, 5, MIDNIGHT), 1);
}

#[test]
fn what_counts_for_the_new_day_is_not_forgotten_by_who_is_late() {
    let mut limits = SendLimits::new(1);
    limits.application_keys = 1;
    let of = |number| application(number, 1, quota(1));
    assert!(limits.take(of(1), MIDNIGHT).is_ok());
    // There is no place for it, so it looks for what can be forgotten.
    assert!(limits.take(of(2), MIDNIGHT - 1).is_ok());
    assert!(limits.take(of(1), MIDNIGHT).is_err());
}

proptest! {
    #[test]
    fn two_days_have_two_quotas_however_their_events_are_mixed(
        per_day in 1_u64..20,
        around in proptest::collection::vec(-3_i64..3, 1..200),
    ) {
        let limits = SendLimits::new(1);
        let one = senders(quota(per_day), quota(per_day));
        let (mut first, mut passed, mut since) = (false, 0, 0);
        for ms in around {
            let is_ok = limits.take(one, MIDNIGHT + ms).is_ok();
            first |= ms >= 0;
            passed += u64::from(is_ok);
            since += u64::from(is_ok && first);
        }
        prop_assert!(passed <= 2 * per_day, "{passed} of two days");
        prop_assert!(since <= per_day, "{since} since the first of the second day");
    }
}
