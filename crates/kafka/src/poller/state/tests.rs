//! Credit: a role never holds more than it may, nothing is skipped, repeated or reordered, and memory stays bounded.

use bytes::Bytes;
use proptest::prelude::*;
use schemas::record::Headers;

use super::*;
use crate::lease::Epoch;

mod budget;
mod ends;
mod membership;
mod quiet;

const MIB: usize = 1024 * 1024;

/// Limits of a poller whose budget is no concern.
fn limits(live_records: usize, live_bytes: usize) -> Limits {
    Limits { live_records, live_bytes, budget_bytes: 256 * MIB }
}

/// Accepts records as read under the ownership of now.
fn accept(state: &mut State, lease: &Lease, records: Vec<Record>) -> bool {
    let stamp = state.stamp(&lease.partition).unwrap();
    state.accept(&lease.partition, stamp, records) == Some(true)
}

fn record(offset: i64, size: usize) -> Record {
    Record { offset, timestamp_ms: 0, key: None, value: Some(Bytes::from(vec![0; size])), headers: Headers::default() }
}

fn lease(partition: i32, epoch: u64) -> Lease {
    Lease { partition: TopicPartition::new("t", partition), epoch: Epoch(epoch) }
}

fn begun(limits: Limits) -> (State, Lease) {
    let mut state = State::new(limits);
    let lease = lease(0, 1);
    state.assign(std::slice::from_ref(&lease));
    assert!(matches!(state.next_event(), Some(PollerEvent::Assigned { .. })));
    state.begin(&lease, 0, Uuid::nil());
    (state, lease)
}

fn drain(state: &mut State) -> Vec<(i64, usize)> {
    let mut all = Vec::new();
    while let Some(event) = state.next_event() {
        let PollerEvent::Records { records, .. } = event else { panic!("only records are expected: {event:?}") };
        assert!(!records.is_empty());
        all.extend(records.iter().map(|record| (record.offset, record.size())));
    }
    all
}

#[test]
fn nothing_flows_before_begin_and_nothing_older_after_it() {
    let mut state = State::new(limits(10, 100));
    let lease = lease(0, 1);
    state.assign(std::slice::from_ref(&lease));
    state.next_event();
    assert!(!accept(&mut state, &lease, vec![record(0, 1)]));
    assert_eq!(state.change(&lease), None);
    state.begin(&lease, 5, Uuid::nil());
    assert_eq!(state.change(&lease), Some(true));
    assert!(accept(&mut state, &lease, (3..8).map(|offset| record(offset, 1)).collect()));
    assert!(!accept(&mut state, &lease, vec![record(6, 1), record(7, 1)]));
    let offsets: Vec<i64> = drain(&mut state).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [5, 6, 7]);
}

#[test]
fn one_record_larger_than_the_credit_still_comes_alone() {
    let (mut state, lease) = begun(limits(10, 100));
    accept(&mut state, &lease, vec![record(0, 500), record(1, 1)]);
    assert_eq!(drain(&mut state), [(0, 500)]);
    assert!(state.is_sated());
    assert!(state.release(&lease, 1, 500));
    assert_eq!(drain(&mut state), [(1, 1)]);
    assert!(!state.is_sated());
}

#[test]
fn a_revoked_lease_gets_nothing_more_not_even_what_was_queued() {
    let (mut state, lease) = begun(limits(2, 100));
    accept(&mut state, &lease, (0..5).map(|offset| record(offset, 1)).collect());
    assert_eq!(state.start_revoke(std::slice::from_ref(&lease.partition)), std::slice::from_ref(&lease));
    assert!(state.next_event().is_none());
    assert!(!state.release(&lease, 2, 2));
    assert!(!accept(&mut state, &lease, vec![record(5, 1)]));
    state.end_revoke(std::slice::from_ref(&lease));
    assert!(!state.is_live(&lease));
}

#[test]
fn what_belongs_to_an_older_epoch_changes_nothing() {
    let (mut state, old) = begun(limits(2, 100));
    let new = lease(0, 2);
    state.assign(std::slice::from_ref(&new));
    state.next_event();
    state.begin(&old, 7, Uuid::nil());
    state.set_paused(&old, true);
    state.end_revoke(std::slice::from_ref(&old));
    assert!(state.is_live(&new));
    assert!(!accept(&mut state, &new, vec![record(7, 1)]), "the new lease has not begun");
}

#[test]
fn a_stopped_intake_hands_out_nothing() {
    let (mut state, lease) = begun(limits(2, 100));
    assert_eq!(state.change(&lease), Some(true));
    state.stopped = true;
    assert_eq!(state.change(&lease), Some(false));
    assert!(!accept(&mut state, &lease, vec![record(0, 1)]));
    assert!(!state.release(&lease, 1, 1));
}

proptest! {
    #[test]
    fn whatever_happens_records_come_in_order_within_credit(
        live in 1_usize..20,
        bytes in 1_usize..400,
        steps in prop::collection::vec((0_u8..6, 1_usize..30), 1..300),
    ) {
        let limits = limits(live, bytes);
        let (mut state, lease) = begun(limits);
        let (mut fetched, mut expected, mut out) = (0, 0, VecDeque::new());
        let mut flowing = false;
        for (kind, amount) in steps {
            if let Some(flow) = state.change(&lease) { flowing = flow; }
            match kind {
                0 | 1 if flowing => {
                    let batch: Vec<Record> = (0..i64::try_from(amount).unwrap()).map(|i| record(fetched + i, amount)).collect();
                    fetched += i64::try_from(amount).unwrap();
                    accept(&mut state, &lease, batch);
                }
                2 | 3 => for _ in 0..amount {
                    let Some((_, size)) = out.pop_front() else { break };
                    state.release(&lease, 1, size);
                },
                4 => { state.set_paused(&lease, amount % 2 == 0); }
                _ => {}
            }
            for (offset, size) in drain(&mut state) {
                prop_assert_eq!(offset, expected);
                expected += 1;
                out.push_back((offset, size));
            }
            let sum: usize = out.iter().map(|(_, size)| size).sum();
            let last = out.back().map_or(0, |(_, size)| *size);
            prop_assert!(out.len() <= live && (out.len() == 1 || sum - last < bytes.max(1)));
            let waiting = usize::try_from(fetched - expected).unwrap();
            prop_assert!(waiting < live * 16 + 30, "{} records wait", waiting);
        }
        // Safety first, then heal: everything fetched comes out in the end.
        state.set_paused(&lease, false);
        while expected < fetched {
            for (offset, size) in drain(&mut state) {
                prop_assert_eq!(offset, expected);
                expected += 1;
                out.push_back((offset, size));
            }
            if let Some((_, size)) = out.pop_front() { state.release(&lease, 1, size); }
        }
    }
}
