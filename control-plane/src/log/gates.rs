//! Which partitions are read back from at once: each by one thread for all who ask it, and one that did not answer lately by none. So a
//! partition without a leader holds one thread for a moment, not all of them for as long as anybody asks; and what is asked of one while
//! something of it is being read is read in one go behind that. Decides; reads nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kafka::{Epoch, Lease};
use parking_lot::Mutex;
use schemas::record::TopicPartition;
use tokio::sync::Semaphore;

/// How long a partition that did not answer is not asked again.
const SILENT: Duration = Duration::from_secs(5);
/// Questions of one partition at a time: half of all.
const OF_ONE: usize = super::fetch::AT_ONCE / 2;
/// Partitions that are remembered though nobody asks them.
const REMEMBERED: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ReadGates {
    gates: Mutex<HashMap<TopicPartition, ReadGate>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct ReadGate {
    turn: Arc<Semaphore>,
    /// Questions that have the turn or wait for it.
    users: usize,
    silent_until: Option<Instant>,
    /// What all who ask it at once are answered by.
    lease: Option<Lease>,
}

/// A question's place at its partition, until it is dropped.
#[derive(Debug)]
pub(super) struct GatePass<'a> {
    gates: &'a ReadGates,
    partition: TopicPartition,
    /// Some questions at a time have it.
    pub(super) turn: Arc<Semaphore>,
    /// Whoever else asks the partition now has the same.
    pub(super) lease: Lease,
    has_left: bool,
}

// === impl ReadGates ===

impl ReadGates {
    /// Waits at a partition; `None`: it did not answer lately.
    pub(super) fn enter(&self, partition: TopicPartition, now: Instant) -> Option<GatePass<'_>> {
        let mut gates = self.gates.lock();
        if gates.len() >= REMEMBERED {
            gates.retain(|_, gate| gate.users > 0 || gate.is_silent(now));
        }
        let new = || ReadGate { turn: Arc::new(Semaphore::new(OF_ONE)), users: 0, silent_until: None, lease: None };
        let gate = gates.entry(partition.clone()).or_insert_with(new);
        if gate.is_silent(now) {
            return None;
        }
        gate.users += 1;
        let epoch = || Epoch(self.next.fetch_add(1, Ordering::Relaxed));
        let lease = gate.lease.get_or_insert_with(|| Lease { partition: partition.clone(), epoch: epoch() }).clone();
        let turn = Arc::clone(&gate.turn);
        drop(gates);
        Some(GatePass { gates: self, partition, turn, lease, has_left: false })
    }

    fn change(&self, partition: &TopicPartition, change: impl FnOnce(&mut ReadGate)) {
        if let Some(gate) = self.gates.lock().get_mut(partition) {
            change(gate);
        }
    }
}

// === impl ReadGate ===

impl ReadGate {
    fn is_silent(&self, now: Instant) -> bool {
        self.silent_until.is_some_and(|until| now < until)
    }
}

// === impl GatePass ===

impl GatePass<'_> {
    /// Whether the question before this one has waited for nothing.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.gates.gates.lock().get(&self.partition).is_some_and(|gate| gate.is_silent(now))
    }

    /// Gives its place back. Returns whether nobody else asks under its lease: then nobody will.
    pub(super) fn leave(&mut self) -> bool {
        self.has_left = true;
        let mut gates = self.gates.gates.lock();
        let Some(gate) = gates.get_mut(&self.partition) else { return true };
        gate.users = gate.users.saturating_sub(1);
        let is_last = gate.users == 0;
        if is_last {
            gate.lease = None;
        }
        is_last
    }

    /// The partition did not answer: whoever asks in the next seconds is told so at once.
    pub(super) fn failed(&self, now: Instant) {
        self.gates.change(&self.partition, |gate| gate.silent_until = Some(now + SILENT));
    }
}

impl Drop for GatePass<'_> {
    fn drop(&mut self) {
        if !self.has_left {
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock;

    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new("events", number)
    }

    #[test]
    fn a_partition_that_does_not_answer_is_not_asked_for_a_while_and_keeps_no_other_waiting() {
        let (gates, now) = (ReadGates::default(), clock::instant());
        let (first, second) = (gates.enter(partition(0), now).unwrap(), gates.enter(partition(0), now).unwrap());
        let all = u32::try_from(OF_ONE).unwrap();
        let _turns = Arc::clone(&first.turn).try_acquire_many_owned(all).unwrap();
        assert!(Arc::clone(&second.turn).try_acquire_owned().is_err(), "so many at a time");
        let other = gates.enter(partition(1), now).unwrap();
        assert!(Arc::clone(&other.turn).try_acquire_owned().is_ok(), "and another partition at the same time");
        first.failed(now);
        assert!(second.is_silent(now), "who waited behind it is told at once");
        assert!(gates.enter(partition(0), now).is_none());
        assert!(!other.is_silent(now));
        let later = now + SILENT;
        assert!(!second.is_silent(later) && gates.enter(partition(0), later).is_some(), "then it is asked again");
    }

    #[test]
    fn who_asks_a_partition_at_the_same_time_is_answered_by_one_lease_and_who_comes_later_by_another() {
        let (gates, now) = (ReadGates::default(), clock::instant());
        let (mut one, mut two) = (gates.enter(partition(0), now).unwrap(), gates.enter(partition(0), now).unwrap());
        let other = gates.enter(partition(1), now).unwrap();
        assert_eq!(one.lease, two.lease);
        assert_ne!(one.lease.epoch, other.lease.epoch);
        assert!(!one.leave());
        drop(one);
        assert!(two.leave(), "each is counted once");
        // What was asked under it is forgotten from here on.
        let late = gates.enter(partition(0), now).unwrap();
        assert_ne!(late.lease.epoch, two.lease.epoch);
        drop(two);
        assert!(
            gates.enter(partition(0), now).is_some_and(|it| it.lease == late.lease),
            "nor is another one's place given back"
        );
    }

    #[test]
    fn partitions_are_forgotten_when_nobody_asks_them() {
        let (gates, now) = (ReadGates::default(), clock::instant());
        let kept = gates.enter(partition(-1), now).unwrap();
        let silent = gates.enter(partition(-2), now).unwrap();
        silent.failed(now);
        drop(silent);
        (0..5_000).for_each(|number| drop(gates.enter(partition(number), now)));
        assert!(gates.gates.lock().len() <= REMEMBERED);
        assert!(gates.enter(partition(-2), now).is_none(), "what did not answer is remembered");
        drop(kept);
    }
}
