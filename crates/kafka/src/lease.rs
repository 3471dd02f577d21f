//! Which partitions are ours, since when, and under which generation of the group.
//!
//! The poller writes it inside the rebalance callbacks, the writer reads it at the begin of each transaction: the set of
//! live leases and the group's metadata are always taken together, under one lock. That is what keeps offsets of a
//! partition that is no longer ours out of a transaction (a broker would accept them with newer metadata).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use schemas::record::TopicPartition;
use uuid::Uuid;

use crate::ffi::GroupMetadata;

/// Changes of leadership that are remembered of a partition: more than happen between two commits.
const MAX_LEADER_EPOCHS: usize = 16;

/// One ownership of one partition by this process. Never reused within a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Epoch(pub u64);

/// A partition we own, and since which epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Lease {
    /// Which partition.
    pub partition: TopicPartition,
    /// Which ownership of it.
    pub epoch: Epoch,
}

/// What is ours right now. Cheap to clone; shared by the poller (writes) and the writer (reads).
#[derive(Clone, Default)]
pub struct Ownership(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    live: HashMap<TopicPartition, Epoch>,
    leader_epochs: HashMap<TopicPartition, LeaderEpochs>,
    /// The ids of the topics whose offsets a takeover found.
    topic_ids: HashMap<TopicPartition, Uuid>,
    group: Option<Arc<GroupMetadata>>,
    version: u64,
    losses: u64,
}

/// In which leader epochs the records of a partition were written.
#[derive(Default)]
struct LeaderEpochs {
    /// What the previous owner said: up to which offset it had read, and the epoch of the last record below.
    inherited: Option<(i64, i32)>,
    /// Of what was read under this lease: from which offset on, ascending.
    read: Vec<(i64, i32)>,
}

/// What the writer needs at the begin of a transaction, taken under one lock.
pub(crate) struct Snapshot {
    /// For each lease asked about: whether it is still ours.
    pub(crate) live: Vec<bool>,
    /// The generation they are owned under; `None` between generations.
    pub(crate) group: Option<Arc<GroupMetadata>>,
    /// Counts changes, for [`Ownership::wait_change`].
    pub(crate) version: u64,
}

// === impl Lease ===

impl std::fmt::Display for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (epoch {})", self.partition, self.epoch.0)
    }
}

// === impl Ownership ===

impl Ownership {
    /// Whether this epoch is not over. For decisions outside a transaction; the writer asks by itself.
    #[must_use]
    pub fn is_live(&self, lease: &Lease) -> bool {
        self.0.state.lock().live.get(&lease.partition) == Some(&lease.epoch)
    }

    pub(crate) fn snapshot<'a>(&self, leases: impl Iterator<Item = &'a Lease>) -> Snapshot {
        let state = self.0.state.lock();
        let live = leases.map(|lease| state.live.get(&lease.partition) == Some(&lease.epoch)).collect();
        Snapshot { live, group: state.group.clone(), version: state.version }
    }

    /// Waits until something changed since `version`, at most `timeout`.
    pub(crate) fn wait_change(&self, version: u64, timeout: Duration) {
        let mut state = self.0.state.lock();
        if state.version == version {
            self.0.changed.wait_for(&mut state, timeout);
        }
    }

    /// Adds leases together with the metadata they are owned under.
    pub(crate) fn add(&self, leases: &[Lease], group: Option<Arc<GroupMetadata>>) {
        self.change(|state| {
            state.live.extend(leases.iter().map(|lease| (lease.partition.clone(), lease.epoch)));
            if group.is_some() {
                state.group = group;
            }
        });
    }

    /// Removes leases. `lost`: the whole membership is gone, and the metadata with it.
    pub(crate) fn remove(&self, leases: &[Lease], lost: bool) {
        self.change(|state| {
            for lease in leases {
                if state.live.get(&lease.partition) == Some(&lease.epoch) {
                    state.live.remove(&lease.partition);
                    state.leader_epochs.remove(&lease.partition);
                    state.topic_ids.remove(&lease.partition);
                }
            }
            if lost && state.group.take().is_some() {
                state.losses += 1;
            }
        });
    }

    /// How often the whole membership was lost.
    pub(crate) fn losses(&self) -> u64 {
        self.0.state.lock().losses
    }

    /// Records of this partition were read that a leader of this epoch wrote, this offset first. No-op for a partition that is not ours.
    pub(crate) fn note_leader_epoch(&self, partition: &TopicPartition, offset: i64, leader_epoch: i32) {
        let mut state = self.0.state.lock();
        if state.live.contains_key(partition) {
            state.leader_epochs.entry(partition.clone()).or_default().note(offset, leader_epoch);
        }
    }

    /// The previous owner had read up to this offset, and the last record below it was written in this epoch. No-op for a lease
    /// that is over: its successor may have found more.
    pub(crate) fn inherit_leader_epoch(&self, lease: &Lease, read_up_to: i64, leader_epoch: i32) {
        let mut state = self.0.state.lock();
        if state.live.get(&lease.partition) == Some(&lease.epoch) {
            state.leader_epochs.entry(lease.partition.clone()).or_default().inherited =
                Some((read_up_to, leader_epoch));
        }
    }

    /// What a takeover found of this lease is true of the topic with this id. No-op for a lease that is over.
    pub(crate) fn note_topic_id(&self, lease: &Lease, id: Uuid) {
        let mut state = self.0.state.lock();
        if state.live.get(&lease.partition) == Some(&lease.epoch) {
            state.topic_ids.insert(lease.partition.clone(), id);
        }
    }

    /// Whether the topic with this id is another one than that which the takeover of this lease has found: it was deleted and created
    /// again in between.
    pub(crate) fn is_of_other_topic(&self, lease: &Lease, id: Uuid) -> bool {
        let state = self.0.state.lock();
        let found = state.topic_ids.get(&lease.partition);
        let is_live = state.live.get(&lease.partition) == Some(&lease.epoch);
        is_live && !id.is_nil() && found.is_some_and(|found| !found.is_nil() && *found != id)
    }

    /// The leader epoch of the last record below an offset, if that was read under this lease or is known from its predecessor.
    pub(crate) fn leader_epoch(&self, lease: &Lease, read_up_to: i64) -> Option<i32> {
        let state = self.0.state.lock();
        if state.live.get(&lease.partition) != Some(&lease.epoch) {
            return None;
        }
        state.leader_epochs.get(&lease.partition)?.below(read_up_to)
    }

    fn change(&self, apply: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        apply(&mut state);
        state.version += 1;
        self.0.changed.notify_all();
    }
}

// === impl LeaderEpochs ===

impl LeaderEpochs {
    fn note(&mut self, offset: i64, leader_epoch: i32) {
        // Read again, from an offset below: what was read above it before is of no account.
        self.read.retain(|(from, _)| *from < offset);
        if self.read.last().is_none_or(|(_, last)| *last != leader_epoch) {
            if self.read.len() == MAX_LEADER_EPOCHS {
                self.read.remove(0);
            }
            self.read.push((offset, leader_epoch));
        }
    }

    /// The epoch of the last record below an offset. A new owner reads again what of its predecessor's window was not done; until
    /// it has come to the end of that, the last record is the predecessor's, whose epoch is the younger one.
    fn below(&self, read_up_to: i64) -> Option<i32> {
        let read = self.read.iter().rev().find(|(from, _)| *from < read_up_to).map(|(_, epoch)| *epoch);
        let inherited = self.inherited.filter(|(up_to, _)| read.is_none() || *up_to <= read_up_to);
        read.max(inherited.map(|(_, epoch)| epoch))
    }
}

impl std::fmt::Debug for Ownership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Ownership").field("live", &state.live.len()).field("group", &state.group).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_epoch_of_what_was_read_is_that_of_the_last_record_below() {
        let (ownership, partition) = (Ownership::default(), TopicPartition::new("t", 0));
        let lease = Lease { partition: partition.clone(), epoch: Epoch(1) };
        ownership.note_leader_epoch(&partition, 0, 1);
        assert_eq!(ownership.leader_epoch(&lease, 5), None, "not ours");
        ownership.add(std::slice::from_ref(&lease), None);
        ownership.inherit_leader_epoch(&lease, 10, 3);
        for (offset, epoch) in [(10, 3), (20, 4), (25, 4), (30, 7)] {
            ownership.note_leader_epoch(&partition, offset, epoch);
        }
        let at = |offset| ownership.leader_epoch(&lease, offset);
        assert_eq!([0, 20, 21, 30, 31, 99].map(at), [3, 3, 4, 4, 7, 7].map(Some));
        // Read once more from below, after a change of leadership that cut the log.
        ownership.note_leader_epoch(&partition, 22, 8);
        assert_eq!([21, 22, 23, 99].map(at), [4, 4, 8, 8].map(Some));
        let other = Lease { epoch: Epoch(2), ..lease.clone() };
        assert_eq!(ownership.leader_epoch(&other, 99), None);
        ownership.remove(std::slice::from_ref(&lease), false);
        ownership.add(std::slice::from_ref(&other), None);
        assert_eq!(ownership.leader_epoch(&other, 99), None, "another owner may have come between");
    }

    #[test]
    fn what_is_read_again_below_the_end_of_an_inherited_window_does_not_make_that_end_older() {
        let (ownership, partition) = (Ownership::default(), TopicPartition::new("t", 0));
        let lease = Lease { partition: partition.clone(), epoch: Epoch(1) };
        ownership.add(std::slice::from_ref(&lease), None);
        // The predecessor had read up to 500, the last of it in epoch 7; what is open begins at 100, in epoch 5.
        ownership.inherit_leader_epoch(&lease, 500, 7);
        ownership.note_leader_epoch(&partition, 100, 5);
        let at = |offset| ownership.leader_epoch(&lease, offset);
        assert_eq!([200, 500, 501].map(at), [5, 7, 7].map(Some));
        ownership.note_leader_epoch(&partition, 300, 7);
        ownership.note_leader_epoch(&partition, 510, 9);
        assert_eq!([300, 500, 510, 511].map(at), [5, 7, 7, 9].map(Some));
    }

    #[test]
    fn an_answer_that_comes_late_takes_nothing_from_the_lease_that_followed() {
        let (ownership, partition) = (Ownership::default(), TopicPartition::new("t", 0));
        let leases = [1, 2].map(|epoch| Lease { partition: partition.clone(), epoch: Epoch(epoch) });
        ownership.add(&leases[1..], None);
        ownership.inherit_leader_epoch(&leases[1], 500, 7);
        ownership.inherit_leader_epoch(&leases[0], 400, 5);
        assert_eq!(ownership.leader_epoch(&leases[1], 500), Some(7));
    }
}
