//! What a role reads from its poller, and how it answers a revoke.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use schemas::record::Record;
use tracing::warn;

use super::shared::Shared;
use crate::error::KafkaError;
use crate::lease::Lease;

/// What happened.
#[derive(Debug)]
pub enum PollerEvent {
    /// New partitions: take over, then [`crate::Poller::begin`] each.
    Assigned {
        /// Never empty.
        leases: Vec<Lease>,
    },
    /// Records of one begun lease, in order.
    Records {
        /// Whose.
        lease: Lease,
        /// At least one.
        records: Vec<Record>,
    },
    /// Partitions go: drop what is queued, wait for what is in flight, commit, then `done`.
    Revoked {
        /// Which.
        leases: Vec<Lease>,
        /// Nothing can be committed any more.
        lost: bool,
        /// The poll thread waits for it, at most the hand-over wait.
        done: RevokeDone,
    },
    /// The log begins above the position: retention, or somebody, deleted what was due. Reading goes on at its start.
    Skipped {
        /// Whose log.
        lease: Lease,
        /// The offset that was due.
        from: i64,
        /// The log's start.
        to: i64,
        /// Offsets that were never read; 0 if only transaction markers were deleted.
        lost: i64,
    },
    /// The role must stop with this error.
    Failed {
        /// Why.
        error: KafkaError,
    },
}

/// Tells the poll thread that a revoke is handled; dropping it does too.
#[derive(Debug)]
pub struct RevokeDone(Arc<Gate>);

#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) open: Mutex<bool>,
    pub(super) changed: Condvar,
}

/// The events of a poller; one reader. Dropping it closes the poller.
pub struct PollerEvents(Arc<Shared>);

// === impl RevokeDone ===

impl RevokeDone {
    pub(super) fn pair() -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        (Self(Arc::clone(&gate)), gate)
    }

    /// The revoked partitions may go.
    pub fn done(self) {}
}

impl Drop for RevokeDone {
    fn drop(&mut self) {
        *self.0.open.lock() = true;
        self.0.changed.notify_all();
    }
}

// === impl PollerEvents ===

impl PollerEvents {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The next event, everything else before records. Cancel safe. `None` after [`crate::Poller::close`].
    pub async fn next(&mut self) -> Option<PollerEvent> {
        loop {
            {
                let mut state = self.0.state.lock();
                if let Some(event) = state.next_event() {
                    return Some(event);
                }
                if state.ended {
                    return None;
                }
            }
            self.0.events.notified().await;
        }
    }

    /// Leaves the group: closes the poller and lets every partition go. For a role that is done with all it was given.
    pub async fn leave(&mut self) {
        self.0.close();
        while let Some(event) = self.next().await {
            match event {
                PollerEvent::Revoked { done, .. } => done.done(),
                PollerEvent::Failed { error } => warn!(%error, "the poller failed while leaving the group"),
                PollerEvent::Assigned { .. } | PollerEvent::Records { .. } | PollerEvent::Skipped { .. } => {}
            }
        }
    }
}

impl Drop for PollerEvents {
    fn drop(&mut self) {
        self.0.state.lock().end_reading();
        self.0.close();
    }
}

impl std::fmt::Debug for PollerEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollerEvents").field("group", &self.0.options.group).finish_non_exhaustive()
    }
}
