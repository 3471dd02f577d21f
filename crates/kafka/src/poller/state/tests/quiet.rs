//! A backlog beside partitions that have nothing more: it is read as it is taken, and never paused for their sake.

use super::*;

const NEIGHBOURS: i32 = 15;
const CREDIT: usize = 1_000;

/// One lease that has used its credit up and has more, beside others that are at the end of their logs.
fn backlog() -> (State, Lease) {
    let mut state = State::new(limits(CREDIT, 16 * MIB));
    let leases: Vec<Lease> = (0..=NEIGHBOURS).map(|partition| lease(partition, 1)).collect();
    state.assign(&leases);
    state.next_event();
    for lease in &leases {
        state.begin(lease, 0, Uuid::nil());
        assert_eq!(state.change(lease), Some(true));
    }
    state.next_round(false);
    for neighbour in &leases[1..] {
        assert!(state.reach_end(&neighbour.partition, 7));
    }
    let busy = leases[0].clone();
    accept(&mut state, &busy, (0..1_500).map(|offset| record(offset, 1_700)).collect());
    (state, busy)
}

#[test]
fn neighbours_without_anything_more_make_nobody_read_a_backlog_that_has_to_wait() {
    let (mut state, busy) = backlog();
    assert!(state.is_any_full() && !state.is_sated(), "nobody has looked at the logs of the others");
    assert_eq!(state.at_end().len(), 15);
    (1..=NEIGHBOURS).for_each(|partition| state.look_at_end(&lease(partition, 1).partition, 7));
    assert!(state.is_sated());
    assert!(!state.wants_change(&busy));
    // Once it is fed up it is hungry like anybody.
    drain(&mut state);
    assert!(state.release(&busy, CREDIT, CREDIT * 1_700));
    assert!(!state.is_sated());
}

#[test]
fn a_neighbour_whose_log_has_grown_is_read_and_the_backlog_is_paused_for_it() {
    let (mut state, busy) = backlog();
    (1..=NEIGHBOURS).for_each(|partition| state.look_at_end(&lease(partition, 1).partition, 7));
    let neighbour = lease(3, 1);
    state.look_at_end(&neighbour.partition, 9);
    assert!(!state.is_sated(), "what it has stands behind the backlog");
    let mut next = 1_500;
    while !state.wants_change(&busy) {
        accept(&mut state, &busy, vec![record(next, 1_700)]);
        next += 1;
    }
    assert!((9_000..12_000).contains(&next), "{next}: 16 MiB are buffered beyond the credit");
    assert_eq!(state.change(&busy), Some(false));
    accept(&mut state, &neighbour, vec![record(7, 1)]);
    assert!(state.reach_end(&neighbour.partition, 9));
    // What is paused has nothing in the queue: everybody else is waited for there.
    assert!(!state.is_any_full() && !state.is_sated());
}

#[test]
fn a_backlog_is_fetched_again_while_three_quarters_of_what_was_buffered_are_left() {
    let (mut state, busy) = backlog();
    accept(&mut state, &busy, (1_500..12_000).map(|offset| record(offset, 1_700)).collect());
    assert_eq!(state.change(&busy), Some(false));
    drain(&mut state);
    let mut released = 0;
    while !state.wants_change(&busy) {
        state.release(&busy, 1, 1_700);
        drain(&mut state);
        released += 1;
    }
    let left = 11_000 - released;
    assert!((7_000..7_500).contains(&left), "{left} records of 1,700 bytes are three quarters of 16 MiB");
}

#[test]
fn a_log_that_was_read_further_than_it_was_looked_at_is_quiet() {
    let (mut state, _) = backlog();
    (1..=NEIGHBOURS).for_each(|partition| state.look_at_end(&lease(partition, 1).partition, 7));
    let neighbour = lease(3, 1);
    accept(&mut state, &neighbour, vec![record(7, 1)]);
    assert!(!state.is_sated(), "where it ends now is not known");
    while state.next_event().is_some() {}
    assert!(state.reach_end(&neighbour.partition, 9));
    assert!(state.is_sated(), "its log was seen to end before that");
}
