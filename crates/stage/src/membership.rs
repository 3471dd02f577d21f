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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::health::Latch;
use kafka::{
    Claimed, Epoch, KafkaError, Lease, PollerEvent, Progress, ReadingWatch, Restored, RevokeDone, Transaction, Writer,
};
use schemas::invariants::Invariant;
use schemas::record::Record;
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use crate::assigning::Assigning;
use crate::error::StageError;
use crate::turn::Stage;
use crate::work::{Now, Restoring, Waiting, Work};

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

/// Partitions that are given away, and the revoke that waits for them.
struct Handover {
    leases: Vec<Lease>,
    done: RevokeDone,
    until: Instant,
}

/// What a task beside the loop brings back.
pub(crate) enum MembershipStep<S> {
    TakenOver { asked: Vec<Lease>, found: Vec<Restored> },
    Ready { found: Vec<(Restored, i64)>, states: Vec<(Lease, S)> },
    Begun(Lease),
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

    /// These leases were left out. How long until they are taken over again.
    fn leave_out(&mut self, leases: &[Lease], now: Now) -> Duration {
        let waits = leases.iter().filter_map(|lease| Some(self.assigning.get_mut(&lease.epoch)?.leave_out(now)));
        waits.max().unwrap_or_default()
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
            self.members.assigning.remove(&lease.epoch);
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
        self.members.handovers.push_back(Handover { leases: open, done, until });
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
            handover.done.done();
        }
    }
}

// === impl Stage: steps ===

impl<W: Work> Stage<W> {
    pub(crate) fn on_step(&mut self, stepped: Stepped<W::State>, now: Now) -> Result<(), StageError> {
        match stepped {
            Ok(Ok(MembershipStep::TakenOver { asked, found })) => {
                self.take_over_again(asked, |lease| found.iter().any(|restored| restored.lease == *lease), now);
                self.on_taken_over(found, now)
            }
            Ok(Ok(MembershipStep::Ready { found, states })) => {
                self.on_ready(found, states, now);
                Ok(())
            }
            Ok(Ok(MembershipStep::Begun(lease))) => {
                self.members.has_begun |= self.members.assigning.remove(&lease.epoch).is_some();
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(cancelled) if cancelled.is_cancelled() => Ok(()),
            Err(panic) => {
                let reason = panic.to_string();
                Err(StageError::Ended { role: W::ROLE, part: "taking over partitions", reason })
            }
        }
    }

    /// What was left out of an answer, though it is still ours, is asked for again: the others begin meanwhile.
    fn take_over_again(&mut self, mut asked: Vec<Lease>, is_found: impl Fn(&Lease) -> bool, now: Now) {
        asked.retain(|lease| !is_found(lease) && self.members.assigning.contains_key(&lease.epoch));
        let denied = self.writer.denied_topics();
        let topics: BTreeSet<&Arc<str>> = asked.iter().map(|lease| &lease.partition.topic).collect();
        for topic in topics.into_iter().filter(|topic| denied.contains(*topic)) {
            self.poller.deny(topic);
        }
        if !asked.is_empty() {
            let after = self.members.leave_out(&asked, now);
            self.take_over(asked, after);
        }
    }

    /// Finds where each partition begins, commits that where nothing was committed, and restores what the role needs.
    fn on_taken_over(&mut self, found: Vec<Restored>, now: Now) -> Result<(), StageError> {
        let mut starts = Vec::with_capacity(found.len());
        let watch = ReadingWatch::default();
        for restored in found {
            let Some(assigning) = self.members.assigning.get_mut(&restored.lease.epoch) else { continue };
            assigning.begin_step(Some(watch.clone()), now);
            let partition = &restored.lease.partition;
            let doing = || format!("finding where {partition} begins");
            let start = self.work.start(&restored).map_err(|source| {
                if matches!(source, KafkaError::LogCut { .. }) {
                    Invariant::NeverLost.violated();
                }
                StageError::kafka(W::ROLE, doing())(source)
            })?;
            // Only what may begin: a log that was cut has lost records too, and not to retention.
            self.note_lost(&restored.lease, restored.lost(), restored.log_start);
            if restored.recreated {
                warn!(role = W::ROLE, %partition, offset = start, "the topic was created anew: it is read from its beginning");
            }
            starts.push((restored, start));
        }
        if starts.is_empty() {
            return Ok(());
        }
        let restoring = self.work.restore(starts.clone(), self.poller.ownership(), watch);
        self.members.steps.spawn(restore::<W>(self.writer.clone(), starts, restoring));
        Ok(())
    }

    /// Retention deleted records before anybody read them: that is loss, and is counted as such (invariant 10).
    fn note_lost(&self, lease: &Lease, lost: i64, log_start: i64) {
        if lost <= 0 {
            return;
        }
        Invariant::NeverLost.violated();
        self.metrics.lost.inc_by(u64::try_from(lost).unwrap_or(0));
        let partition = &lease.partition;
        error!(role = W::ROLE, %partition, lost, log_start, "retention deleted records before they were read");
    }

    /// Restored partitions begin; what was revoked meanwhile does not.
    fn on_ready(&mut self, found: Vec<(Restored, i64)>, states: Vec<(Lease, W::State)>, now: Now) {
        let mut states: BTreeMap<Epoch, W::State> =
            states.into_iter().map(|(lease, state)| (lease.epoch, state)).collect();
        let asked = found.iter().map(|(restored, _)| restored.lease.clone()).collect();
        self.take_over_again(asked, |lease| states.contains_key(&lease.epoch), now);
        for (restored, start) in found {
            let lease = restored.lease.clone();
            let Some(state) = states.remove(&lease.epoch) else { continue };
            let Some(assigning) = self.members.assigning.get_mut(&lease.epoch) else { continue };
            assigning.begin_step(None, now);
            self.outbox.open(&lease, restored.window(start), start);
            self.work.opened(&lease, state, now);
            debug!(role = W::ROLE, partition = %lease.partition, offset = start, "partition taken over");
            let poller = self.poller.clone();
            // `begin` waits for the poll thread.
            self.members.steps.spawn_blocking(move || match poller.begin(&lease, start) {
                Ok(()) | Err(KafkaError::NotOwned { .. }) => Ok(MembershipStep::Begun(lease)),
                Err(source) => Err(StageError::kafka(W::ROLE, format!("beginning {lease}"))(source)),
            });
        }
    }
}

/// A partition that was never read commits its start before its first record: after a restart it must not begin at a later
/// one, and a successor finds our id there to fence by.
async fn restore<W: Work>(
    writer: Writer,
    found: Vec<(Restored, i64)>,
    restoring: Restoring<W::State>,
) -> Result<MembershipStep<W::State>, StageError> {
    let new = found.iter().filter(|(restored, _)| restored.committed.is_none());
    let progress: Vec<Progress> = new
        .map(|(restored, start)| Progress {
            lease: restored.lease.clone(),
            committed: *start,
            read_up_to: *start,
            not_done: Vec::new(),
            claim: Claimed::Nothing,
        })
        .collect();
    if !progress.is_empty() {
        let (partitions, first) = (progress.len(), progress[0].lease.to_string());
        info!(role = W::ROLE, partitions, first, "partitions are read for the first time");
        let transaction = Transaction { outputs: Vec::new(), progress };
        // The writer leaves out leases that are over by now; they do not begin either.
        writer.commit(transaction).await.map_err(StageError::kafka(W::ROLE, "committing where partitions begin"))?;
    }
    let states = restoring.await.map_err(|source| StageError::Work { role: W::ROLE, source })?;
    Ok(MembershipStep::Ready { found, states })
}

#[cfg(test)]
mod tests;
