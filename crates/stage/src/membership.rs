//! Partitions come and go: what is assigned is taken over, restored and begun beside the loop; what is revoked is handed over
//! when nothing of it is under way any more.
//!
//! ```text
//! Assigned --take over--> TakenOver --commit first starts, restore--> Ready --open, begin--> Begun
//! Revoked  --drop what has not begun--> in flight ended, outcomes committed, or the wait is over --> done
//! ```
//!
//! A lease that is revoked leaves the list of the assigned at once, so that a step that ends later opens nothing. What a step
//! leaves out of its answer is asked for again, and holds up nothing else.

mod steps;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use chassis::health::Latch;
use kafka::{Epoch, KafkaError, Lease, PollerEvent, Restored, RevokeDone};
use schemas::invariants::Invariant;
use schemas::record::Record;
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, info, warn};

use crate::assigning::Assigning;
use crate::error::StageError;
use crate::turn::Stage;
use crate::work::{Now, Waiting, Work};

/// A member of the group that owns nothing by then is a spare worker, ready to take over.
const SPARE_AFTER: Duration = Duration::from_secs(15);

/// The partitions that are being taken over or handed over.
pub(crate) struct Membership<S> {
    /// Leases that are ours and have not begun.
    assigning: BTreeMap<Epoch, Assigning>,
    steps: JoinSet<Result<MembershipStep<S>, StageError>>,
    handovers: VecDeque<Handover>,
    /// Released when what was assigned has begun, or nothing was assigned. None where the process serves without it.
    latch: Option<Latch>,
    spare_at: Instant,
    has_begun: bool,
}

/// Partitions that are given away, and the revoke that waits for them; or that are only to begin anew.
struct Handover {
    leases: Vec<Lease>,
    done: Option<RevokeDone>,
    until: Instant,
}

/// What a task beside the loop brings back.
pub(crate) enum MembershipStep<S> {
    TakenOver {
        asked: Vec<Lease>,
        found: Vec<Restored>,
    },
    Ready {
        found: Vec<(Restored, i64)>,
        states: Vec<(Lease, S)>,
    },
    Begun(Lease),
    /// Its topic is gone or may not be read.
    NotBegun(Lease, KafkaError),
}

/// A step that ended.
pub(crate) type Stepped<S> = Result<Result<MembershipStep<S>, StageError>, JoinError>;

// === impl Membership ===

impl<S: Send + 'static> Membership<S> {
    pub(crate) fn new(latch: Option<Latch>, now: Instant) -> Self {
        Self {
            assigning: BTreeMap::new(),
            steps: JoinSet::new(),
            handovers: VecDeque::new(),
            latch,
            spare_at: now + SPARE_AFTER,
            has_begun: false,
        }
    }

    /// The next step that ends. Cancel safe; never if none is under way.
    pub(crate) async fn stepped(&mut self) -> Stepped<S> {
        match self.steps.join_next().await {
            Some(stepped) => stepped,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn is_handing_over(&self) -> bool {
        !self.handovers.is_empty()
    }

    /// When the oldest hand-over stops waiting.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.handovers.front().map(|handover| handover.until)
    }

    /// How many leases are ours and have not begun.
    pub(crate) fn unbegun(&self) -> usize {
        self.assigning.len()
    }

    pub(crate) fn abort_steps(&mut self) {
        self.steps.abort_all();
        self.assigning.clear();
    }

    /// Releases the latch where it is time. Rule W7: what was assigned has begun before a role is ready. What was left out for
    /// longer than an election takes waits for an operator, and nobody waits for it.
    pub(crate) fn check_ready(&self, now: Instant, membership: impl FnOnce() -> kafka::Membership) {
        let Some(latch) = &self.latch else { return };
        if !self.assigning.values().all(|it| it.is_left_out_for(SPARE_AFTER, now)) {
            return;
        }
        // A group may give its partitions a moment after it was joined.
        let is_spare = || {
            let kafka::Membership { joined, partitions } = membership();
            now >= self.spare_at && joined && partitions == self.assigning.len()
        };
        if self.has_begun || is_spare() {
            latch.release();
        }
    }

    /// The lease that waits longest for its takeover. How long restoring takes grows with what is read: it waits only where nothing
    /// is read any more.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        self.assigning.values().map(Assigning::waiting).min_by_key(|it| it.since_boot_ms)
    }

    /// This lease was left out, `is_others`: of a topic that is not ours. How long until it is taken over again.
    fn leave_out(&mut self, lease: &Lease, is_others: bool, now: Now) -> Duration {
        self.assigning.get_mut(&lease.epoch).map(|it| it.leave_out(is_others, now)).unwrap_or_default()
    }
}

// === impl Stage: signals of the poller ===

impl<W: Work> Stage<W> {
    pub(crate) fn on_signal(&mut self, signal: PollerEvent, now: Now) -> Result<(), StageError> {
        match signal {
            PollerEvent::Assigned { leases } if self.drain.is_some() => {
                debug!(role = W::ROLE, partitions = leases.len(), "assigned while stopping: left to others");
                Ok(())
            }
            PollerEvent::Assigned { leases } => {
                self.on_assigned(leases, now);
                Ok(())
            }
            PollerEvent::Records { lease, records } => self.on_records(&lease, records, now),
            PollerEvent::Revoked { leases, lost, done } => {
                self.on_revoked(&leases, lost, done, now);
                Ok(())
            }
            PollerEvent::Skipped { lease, from, to, lost } => {
                debug!(role = W::ROLE, %lease, from, to, "the log begins above the position");
                self.note_lost(&lease, lost, to);
                Ok(())
            }
            PollerEvent::Failed { error } => {
                if matches!(error, KafkaError::Truncated { .. }) {
                    Invariant::NeverLost.violated();
                }
                Err(StageError::kafka(W::ROLE, "reading")(error))
            }
        }
    }

    fn on_assigned(&mut self, leases: Vec<Lease>, now: Now) {
        for lease in &leases {
            self.members.assigning.insert(lease.epoch, Assigning::new(lease.clone(), now));
        }
        self.take_over(leases, Duration::ZERO);
    }

    fn take_over(&mut self, leases: Vec<Lease>, after: Duration) {
        let writer = self.writer.clone();
        self.members.steps.spawn(async move {
            tokio::time::sleep(after).await;
            let found = writer.take_over(leases.clone()).await;
            let found = found.map_err(StageError::kafka(W::ROLE, "taking over partitions"))?;
            Ok(MembershipStep::TakenOver { asked: leases, found })
        });
    }

    fn on_records(&mut self, lease: &Lease, mut records: Vec<Record>, now: Now) -> Result<(), StageError> {
        if self.drain.is_some() || !self.outbox.is_open(lease.epoch) {
            debug!(role = W::ROLE, %lease, records = records.len(), "records of a partition that is not ours any more");
            return Ok(());
        }
        let (mut done, mut done_bytes) = (0, 0);
        records.retain(|record| {
            let is_new = self.outbox.admit(lease.epoch, record.offset);
            if !is_new {
                done += 1;
                done_bytes += record.size();
            }
            is_new
        });
        if done > 0 {
            self.poller.release(lease, done, done_bytes);
        }
        if records.is_empty() {
            return Ok(());
        }
        self.work.records(lease, records, now).map_err(|source| StageError::Work { role: W::ROLE, source })
    }

    fn on_revoked(&mut self, leases: &[Lease], lost: bool, done: RevokeDone, now: Now) {
        info!(role = W::ROLE, partitions = leases.len(), lost, "partitions revoked");
        for lease in leases {
            if self.members.assigning.remove(&lease.epoch).is_some() && self.fails_alone {
                // The role may have been told that it is held.
                self.work.closed(lease);
            }
        }
        let open: Vec<Lease> = leases.iter().filter(|lease| self.outbox.is_open(lease.epoch)).cloned().collect();
        if lost || open.is_empty() {
            for lease in &open {
                self.close(lease);
            }
            done.done();
            return;
        }
        self.work.revoking(&open);
        let until = now.instant + self.handover_wait;
        self.members.handovers.push_back(Handover { leases: open, done: Some(done), until });
    }

    /// The role wants a partition taken over anew: what is under way of it ends as for a revoke.
    pub(crate) fn restart(&mut self, lease: Lease, now: Now) {
        if self.members.assigning.contains_key(&lease.epoch) {
            self.poller.restart(vec![lease]);
        } else if self.outbox.is_open(lease.epoch) {
            let leases = vec![lease];
            self.work.revoking(&leases);
            let until = now.instant + self.handover_wait;
            self.members.handovers.push_back(Handover { leases, done: None, until });
        }
    }

    /// Hands over what has nothing under way any more; what has not ended in time is done again by the next owner.
    pub(crate) fn finish_handovers(&mut self, now: Now) {
        while let Some(handover) = self.members.handovers.front() {
            let epochs: Vec<Epoch> = handover.leases.iter().map(|lease| lease.epoch).collect();
            let in_flight = self.work.in_flight(&epochs);
            let is_committing = self.commit.as_ref().is_some_and(|commit| commit.batch.touches(&handover.leases));
            // When a drain is over, what is in flight has had its time; what is done is still committed.
            let is_answered = in_flight == 0 || self.is_leaving();
            let is_over = is_answered && !is_committing && !self.outbox.has_pending(&handover.leases);
            if !is_over && now.instant < handover.until {
                return;
            }
            let Some(handover) = self.members.handovers.pop_front() else { return };
            if !is_over {
                warn!(
                    role = W::ROLE,
                    in_flight,
                    "partitions go before everything in flight has ended: it is done again by their next owner"
                );
            }
            for lease in &handover.leases {
                self.close(lease);
            }
            match handover.done {
                Some(done) => done.done(),
                None => self.poller.restart(handover.leases),
            }
        }
    }
}

#[cfg(test)]
mod tests;
