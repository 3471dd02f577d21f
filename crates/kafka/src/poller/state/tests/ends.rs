//! Positions: where a log ends, what stands before a seek, and what was deleted unread.

use super::*;

#[test]
fn markers_at_the_end_are_passed_once_the_end_is_known() {
    let (mut state, lease) = begun(limits(10, 1_000));
    assert_eq!(state.change(&lease), Some(true));
    state.next_round(false);
    let now = |state: &State| state.positions().pop().map(|found| (found.position, found.at_end)).unwrap();
    accept(&mut state, &lease, vec![record(0, 1), record(1, 1)]);
    assert_eq!(now(&state), (0, false), "nothing was read by the role yet");
    // A fetch at 4 found nothing: 2 and 3 are markers.
    assert!(state.reach_end(&lease.partition, 4));
    assert_eq!(now(&state), (0, false), "the records still wait for the role");
    drain(&mut state);
    assert_eq!(now(&state), (4, true));
    // One that was queued before, and records that come again, change nothing.
    assert!(state.reach_end(&lease.partition, 3));
    assert!(!accept(&mut state, &lease, vec![record(3, 1)]));
    assert_eq!(now(&state), (4, true));
    accept(&mut state, &lease, vec![record(4, 1)]);
    drain(&mut state);
    assert_eq!(now(&state), (5, false), "something has come since");
    assert!(state.reach_end(&lease.partition, 6));
    assert_eq!(now(&state), (6, true));
}

#[test]
fn an_end_that_is_not_the_logs_stands_before_an_open_transaction() {
    let (mut state, lease) = begun(limits(10, 1_000));
    state.change(&lease);
    state.next_round(false);
    let mut since = |high, now_ms| state.stands_before_open(&lease, high, now_ms);
    assert_eq!(since(9, 1_000), None, "the end is not known yet");
    state.reach_end(&lease.partition, 4);
    let mut since = |high, now_ms| state.stands_before_open(&lease, high, now_ms);
    assert_eq!([since(9, 2_000), since(12, 3_000)], [Some(2_000); 2], "more comes behind it");
    state.reach_end(&lease.partition, 7);
    let mut since = |high, now_ms| state.stands_before_open(&lease, high, now_ms);
    assert_eq!(since(12, 4_000), Some(4_000), "that one is over, the next one is open");
    assert_eq!([since(7, 5_000), since(-1, 5_000)], [None; 2], "the log ends there");
    assert_eq!(since(8, 6_000), Some(6_000));
    accept(&mut state, &lease, vec![record(7, 1)]);
    assert_eq!(state.stands_before_open(&lease, 9, 7_000), None, "something was read");
}

#[test]
fn nobody_is_at_the_end_of_what_is_not_fetched() {
    let (mut state, lease) = begun(limits(10, 1_000));
    state.change(&lease);
    state.next_round(false);
    assert!(state.reach_end(&lease.partition, 9));
    let at_end = |state: &State| state.positions()[0].at_end;
    assert!(at_end(&state));
    state.set_paused(&lease, true);
    assert_eq!(state.change(&lease), Some(false));
    assert!(!at_end(&state), "something may come meanwhile");
    state.set_paused(&lease, false);
    assert_eq!(state.change(&lease), Some(true));
    assert!(!at_end(&state), "the next fetch tells");
    state.reach_end(&lease.partition, 9);
    assert!(at_end(&state));
}

#[test]
fn an_end_of_before_a_seek_skips_nothing() {
    let (mut state, lease) = begun(limits(10, 1_000));
    state.change(&lease);
    state.next_round(false);
    state.begin(&lease, 5, Uuid::nil());
    assert!(!state.reach_end(&lease.partition, 100), "of the round in which reading began: to be told again");
    assert_eq!(state.begun()[0].next, 5);
    assert!(state.reach_end(&lease.partition, 5), "it skips nothing");
    state.next_round(false);
    assert!(state.reach_end(&lease.partition, 100));
    assert_eq!(state.begun()[0].next, 100);
}

#[test]
fn what_was_read_before_a_begin_or_a_seek_is_dropped() {
    let (mut state, old) = begun(limits(10, 1_000));
    let before = state.stamp(&old.partition).unwrap();
    // The partition went and came back while a batch of it was in the poll thread's hands.
    state.start_revoke(std::slice::from_ref(&old.partition));
    state.end_revoke(std::slice::from_ref(&old));
    let new = lease(0, 2);
    state.assign(std::slice::from_ref(&new));
    let unbegun = state.stamp(&new.partition).unwrap();
    state.begin(&new, 3, Uuid::nil());
    for stamp in [before, unbegun] {
        assert_eq!(state.accept(&new.partition, stamp, vec![record(50, 1)]), None);
    }
    let begun = state.stamp(&new.partition).unwrap();
    assert_eq!(state.reposition(&new), Some(3));
    assert_eq!(state.accept(&new.partition, begun, vec![record(60, 1)]), None);
    assert!(accept(&mut state, &new, vec![record(3, 1)]));
}

#[test]
fn what_the_log_has_lost_is_skipped_and_told_and_what_was_read_still_comes() {
    let (mut state, lease) = begun(limits(2, 1_000));
    accept(&mut state, &lease, (0..5).map(|offset| record(offset, 1)).collect());
    assert!(!state.skip(&lease, (4, 20), 16), "reading has moved on");
    assert!(state.skip(&lease, (5, 20), 15));
    assert!(matches!(state.next_event(), Some(PollerEvent::Skipped { from: 5, to: 20, lost: 15, .. })));
    assert_eq!(drain(&mut state), [(0, 1), (1, 1)]);
    state.release(&lease, 2, 2);
    accept(&mut state, &lease, vec![record(20, 1)]);
    assert_eq!(drain(&mut state), [(2, 1), (3, 1)]);
}
