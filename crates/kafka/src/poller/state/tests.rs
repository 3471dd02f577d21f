//! Credit: a role never holds more than it may, nothing is skipped, repeated or reordered, and memory stays bounded.

use bytes::Bytes;
use proptest::prelude::*;
use schemas::record::Headers;

use super::*;
use crate::lease::Epoch;

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

#[test]
fn a_denied_topic_ends_a_role_that_has_nothing_else_to_read() {
    let topics = ["t".to_owned(), "u".to_owned()];
    let mut state = State::new(limits(1, 1));
    let other = Lease { partition: TopicPartition::new("u", 0), epoch: Epoch(9) };
    state.assign(&[lease(0, 1), other.clone()]);
    assert!(!state.deny(Some("t".into()), &topics), "u is still read");
    assert!(state.deny(Some("u".into()), &topics));
    assert_eq!(state.denied(), ["t".into(), "u".into()]);
    // Whatever is read from it clears it.
    state.reach_end(&other.partition, 0);
    assert_eq!(state.denied(), ["t".into()]);
    // Nothing is ours: what may be read of the subscription decides.
    let mut spare = State::new(limits(1, 1));
    assert!(!spare.deny(Some("t".into()), &topics) && spare.deny(Some("u".into()), &topics));
    assert!(!spare.deny(None, &["^retry".to_owned()]), "what the pattern matches is not known");
}

#[test]
fn an_empty_assignment_is_known_from_none() {
    let mut state = State::new(limits(1, 1));
    assert_eq!(state.membership(), (false, 0));
    state.assign(&[]);
    assert_eq!(state.membership(), (true, 0));
    assert!(state.next_event().is_none(), "nothing to do for the role");
    state.assign(&[lease(0, 1)]);
    assert_eq!(state.membership(), (true, 1));
    state.lose_membership();
    assert!(!state.membership().0);
}

/// A poll thread and librdkafka's queue around the pure state: what flows comes in any order, in batches of one partition.
struct Pump {
    state: State,
    leases: Vec<Lease>,
    flowing: Vec<bool>,
    next: Vec<i64>,
    /// What the role has, by lease.
    out: Vec<VecDeque<usize>>,
    largest: Vec<usize>,
}

impl Pump {
    fn new(limits: Limits, leases: usize) -> Self {
        let leases: Vec<Lease> = (0..leases).map(|index| lease(i32::try_from(index).unwrap(), 1)).collect();
        let mut state = State::new(limits);
        state.assign(&leases);
        state.next_event();
        let count = leases.len();
        for lease in &leases {
            state.begin(lease, 0, Uuid::nil());
        }
        let (out, largest) = (vec![VecDeque::new(); count], vec![0; count]);
        Self { state, leases, flowing: vec![false; count], next: vec![0; count], out, largest }
    }

    fn reconcile(&mut self, index: usize) {
        if let Some(flow) = self.state.change(&self.leases[index]) {
            self.flowing[index] = flow;
        }
    }

    /// One round of the poll thread: records of the flowing leases that `picks` names.
    fn poll(&mut self, picks: &[(usize, usize)]) {
        for lease in self.state.recovered() {
            self.reconcile(usize::try_from(lease.partition.partition).unwrap());
        }
        let sated = self.state.is_sated();
        let intake = self.state.next_round(sated);
        let (mut records, mut bytes) = (0, 0);
        for (pick, size) in picks {
            let index = pick % self.leases.len();
            if !self.flowing[index] || records >= intake.records || (records > 0 && bytes >= intake.bytes) {
                continue;
            }
            records += 1;
            bytes += size;
            self.largest[index] = self.largest[index].max(*size);
            let lease = self.leases[index].clone();
            accept(&mut self.state, &lease, vec![record(self.next[index], *size)]);
            self.next[index] += 1;
            self.reconcile(index);
        }
    }

    fn read(&mut self) {
        while let Some(PollerEvent::Records { lease, records }) = self.state.next_event() {
            let index = usize::try_from(lease.partition.partition).unwrap();
            self.out[index].extend(records.iter().map(Record::size));
        }
    }

    fn release(&mut self, pick: usize, count: usize) {
        let index = pick % self.leases.len();
        for _ in 0..count {
            let Some(size) = self.out[index].pop_front() else { break };
            self.state.release(&self.leases[index], 1, size);
            self.reconcile(index);
        }
    }

    fn bound(&self, limits: Limits) -> usize {
        limits.budget_bytes + self.largest.iter().sum::<usize>()
    }
}

#[test]
fn many_partitions_share_the_budget_and_each_gets_at_least_one_record() {
    let limits = Limits { live_records: 1_000, live_bytes: 16 * 1024, budget_bytes: 64 * 1024 };
    let mut pump = Pump::new(limits, 100);
    (0..100).for_each(|index| pump.reconcile(index));
    let picks: Vec<(usize, usize)> = (0..50).flat_map(|_| (0..100).map(|index| (index, 1_024))).collect();
    for _ in 0..300 {
        pump.poll(&picks);
        pump.read();
    }
    assert!(pump.out.iter().all(|out| !out.is_empty()), "{:?}", pump.out);
    assert!(pump.state.used <= pump.bound(limits));
    // One that works alone may have its own limit.
    let mut pump = Pump::new(limits, 100);
    (0..100).for_each(|index| pump.reconcile(index));
    pump.poll(&[(7, 1_024); 100]);
    pump.read();
    assert_eq!(pump.out[7].len(), 16);
}

proptest! {
    #[test]
    fn many_leases_never_have_more_than_the_budget_and_one_record_each(
        leases in 1_usize..12,
        live in (1_usize..30, 1_usize..4_000),
        budget in 1_usize..8_000,
        steps in prop::collection::vec((0_u8..4, prop::collection::vec((0_usize..12, 1_usize..900), 1..40)), 1..150),
    ) {
        let limits = Limits { live_records: live.0, live_bytes: live.1, budget_bytes: budget };
        let mut pump = Pump::new(limits, leases);
        (0..leases).for_each(|index| pump.reconcile(index));
        for (kind, picks) in steps {
            match kind {
                0 | 1 => pump.poll(&picks),
                2 => pump.release(picks[0].0, picks[0].1 % 20),
                _ => {
                    let index = picks[0].0 % leases;
                    let lease = pump.leases[index].clone();
                    pump.state.set_paused(&lease, picks[0].1 % 3 == 0);
                    pump.reconcile(index);
                }
            }
            pump.read();
            prop_assert!(pump.state.used <= pump.bound(limits), "{} of {}", pump.state.used, pump.bound(limits));
        }
        // Nobody is starved: once everything is released and resumed, each lease gets a record again.
        for index in 0..leases {
            let lease = pump.leases[index].clone();
            pump.state.set_paused(&lease, false);
            pump.reconcile(index);
        }
        let before = pump.next.clone();
        let all: Vec<(usize, usize)> = (0..leases).map(|index| (index, 100)).collect();
        for _ in 0..leases * 20 {
            pump.read();
            (0..leases).for_each(|index| pump.release(index, usize::MAX));
            pump.read();
            for pick in &all {
                pump.poll(std::slice::from_ref(pick));
            }
        }
        prop_assert!(pump.next.iter().zip(before).all(|(now, then)| *now > then));
        pump.read();
        for index in 0..leases {
            pump.release(index, usize::MAX);
            pump.read();
        }
        let rest: usize = pump.out.iter().flatten().sum();
        prop_assert_eq!(pump.state.used, rest + pump.state.leases.values().map(|lease| lease.buffered_bytes).sum::<usize>());
    }
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
            prop_assert!(waiting < live * 4 + 30, "{} records wait", waiting);
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
