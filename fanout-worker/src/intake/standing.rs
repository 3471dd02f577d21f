//! Partitions that stand still, because their source is paused, or because a record of theirs cannot be planned or needs a schema of a
//! registry that gives no answer. Pure.
//!
//! ```text
//! flows --paused, failing--> stands still --it has read something--> taken over anew, and stands still from its beginning
//!   ^                            |                                       |
//!   +--resumed, changed, tried---+---------------------------------------+
//! ```
//!
//! What stands still may do so for months. It gives back what it has read, or its share of the budget would be missing to the others.

use std::sync::Arc;
use std::time::Instant;

use kafka::Epoch;
use schemas::status::SourceFailure;
use stage::{Fetching, Now, Turn};

use super::waiting::AwaitedSchema;
use super::{OpenPartition, SourceRoute, SourcesIntake};
use crate::config::{HELD_DOUBLINGS, HELD_FOR};
use crate::queue::Queue;

/// A record that cannot be planned, whatever it says.
#[derive(Clone, Debug)]
pub(super) struct FailingRecord {
    pub(super) failure: SourceFailure,
    /// Which one: those before it were planned and say nothing of it.
    pub(super) offset: i64,
    /// When it is tried again; none: it is being tried.
    until: Option<Instant>,
    /// How often it was tried in vain.
    tries: u32,
}

/// What is known of a partition that stands still, while it is taken over anew.
#[derive(Debug)]
pub(super) struct StillPartition {
    route: Arc<SourceRoute>,
    is_paused: bool,
    failing: Option<FailingRecord>,
    awaits: Option<AwaitedSchema>,
    oldest_ms: Option<i64>,
    since_ms: i64,
}

// === impl SourcesIntake ===

impl SourcesIntake {
    /// Nothing of a partition from this record on can be planned, whatever it says: it stands still, and is tried again.
    pub(crate) fn fail(&mut self, epoch: Epoch, offset: i64, failure: SourceFailure, now: Now) {
        let Some(open) = self.open.get_mut(&epoch) else { return };
        tracing::warn!(
            partition = %open.lease.partition, offset, code = failure.code, detail = failure.detail,
            "a source cannot be planned: its partition waits and is tried again"
        );
        if open.failing.is_none() {
            open.since_ms = now.wall_ms;
        }
        let before = open.failing.as_ref().filter(|before| before.offset == offset);
        let tries = before.map_or(0, |before| before.tries + 1);
        // Each try takes the partition over anew, which reads `seen`.
        let wait = HELD_FOR * 2_u32.pow(tries.min(HELD_DOUBLINGS));
        open.failing = Some(FailingRecord { failure, offset, until: Some(now.instant + wait), tries });
    }

    /// Lets what is to stand still do so, and what is to flow.
    pub(super) fn settle<N>(&mut self, turn: &mut Turn<'_, N>, queue: &mut Queue) {
        for open in self.open.values_mut().filter(|open| !open.is_over && !open.is_gone) {
            open.try_again(turn.now);
            open.settle(turn, queue);
            if let Some(standing) = open.give_back(turn, queue) {
                self.standing.insert(open.lease.partition.clone(), standing);
            }
        }
    }
}

// === impl OpenPartition ===

impl OpenPartition {
    /// It was taken over anew to stand still.
    pub(super) fn stand(&mut self, standing: StillPartition) {
        if !standing.is_of(&self.route) {
            return;
        }
        self.is_paused = standing.is_paused;
        self.failing = standing.failing;
        self.awaits = standing.awaits;
        self.oldest_ms = standing.oldest_ms;
        self.since_ms = standing.since_ms;
    }

    /// Kafka's time of the oldest record that it does not have in memory because it stands still.
    pub(super) fn oldest_still_ms(&self) -> Option<i64> {
        self.oldest_ms.filter(|_| self.is_still)
    }

    fn try_again(&mut self, now: Now) {
        if let Some(failing) = self.failing.as_mut().filter(|_| !self.is_paused) {
            failing.until.take_if(|until| *until <= now.instant);
        }
    }

    fn settle<N>(&mut self, turn: &mut Turn<'_, N>, queue: &mut Queue) {
        let stands_still = self.is_paused
            || self.failing.as_ref().is_some_and(|failing| failing.until.is_some())
            || self.awaits.is_some_and(|awaited| awaited.is_for_long);
        if stands_still == self.is_still {
            return;
        }
        self.is_still = stands_still;
        if stands_still {
            queue.hold(&self.lease);
            turn.fetch(self.lease.clone(), Fetching::Paused);
        } else {
            queue.release(&self.lease);
            turn.fetch(self.lease.clone(), Fetching::Flowing);
        }
    }

    /// What was read and waits goes with the lease, and the next one begins without.
    fn give_back<N>(&mut self, turn: &mut Turn<'_, N>, queue: &Queue) -> Option<StillPartition> {
        let oldest_ms = queue.oldest_of(self.lease.epoch).filter(|_| self.is_still)?;
        self.is_over = true;
        turn.restart(self.lease.clone());
        Some(StillPartition {
            route: Arc::clone(&self.route),
            is_paused: self.is_paused,
            failing: self.failing.clone(),
            // Else it is seen anew when the record comes again.
            awaits: self.awaits.filter(|awaited| awaited.is_for_long),
            oldest_ms: Some(oldest_ms),
            since_ms: self.since_ms,
        })
    }
}

// === impl StillPartition ===

impl StillPartition {
    /// Whether that is still by the rules that it has.
    pub(super) fn is_of(&self, route: &Arc<SourceRoute>) -> bool {
        Arc::ptr_eq(&self.route, route)
    }
}
