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

use crate::ffi::GroupMetadata;

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
    group: Option<Arc<GroupMetadata>>,
    version: u64,
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
                }
            }
            if lost {
                state.group = None;
            }
        });
    }

    fn change(&self, apply: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        apply(&mut state);
        state.version += 1;
        self.0.changed.notify_all();
    }
}

impl std::fmt::Debug for Ownership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Ownership").field("live", &state.live.len()).field("group", &state.group).finish()
    }
}
