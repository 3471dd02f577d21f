//! What the steps of a takeover bring back, and what follows: partitions begin, or are left out and asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka::{Claimed, Epoch, KafkaError, Lease, Progress, ReadingWatch, Restored, Transaction, Writer};
use schemas::invariants::Invariant;
use tracing::{debug, error, info, warn};

use super::{MembershipStep, Stepped};
use crate::error::StageError;
use crate::turn::Stage;
use crate::work::{Now, Restoring, Work};

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
            Ok(Ok(MembershipStep::NotBegun(lease, error))) => {
                if self.members.assigning.contains_key(&lease.epoch) {
                    self.close(&lease);
                    self.hold(vec![(lease, error)], now);
                }
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
        if self.fails_alone {
            let reasons = self.writer.left_out_topics();
            for lease in &asked {
                if let Some(why) = reasons.get(&lease.partition.topic) {
                    self.work.held(lease, why, now);
                }
            }
        }
        // Each at its own pace: what was left out for the first time does not wait as long as what has been for an hour.
        let mut by_wait: BTreeMap<Duration, Vec<Lease>> = BTreeMap::new();
        for lease in asked {
            let wait = self.members.leave_out(&lease, self.fails_alone, now);
            by_wait.entry(wait).or_default().push(lease);
        }
        for (wait, leases) in by_wait {
            self.take_over(leases, wait);
        }
    }

    /// These cannot be read now, which ends nothing: they are taken over again later.
    fn hold(&mut self, held: Vec<(Lease, KafkaError)>, now: Now) {
        for (lease, why) in &held {
            let partition = &lease.partition;
            warn!(role = W::ROLE, %partition, error = %why, "the partition cannot be read: it is held and tried again");
            self.work.held(lease, why, now);
        }
        let leases = held.into_iter().map(|(lease, _)| lease).collect();
        self.take_over_again(leases, |_| false, now);
    }

    /// Finds where each partition begins, commits that where nothing was committed, and restores what the role needs.
    fn on_taken_over(&mut self, found: Vec<Restored>, now: Now) -> Result<(), StageError> {
        let (mut starts, mut held) = (Vec::with_capacity(found.len()), Vec::new());
        let watch = ReadingWatch::default();
        for mut restored in found {
            let Some(assigning) = self.members.assigning.get_mut(&restored.lease.epoch) else { continue };
            assigning.begin_step(Some(watch.clone()), now);
            let partition = &restored.lease.partition;
            let doing = || format!("finding where {partition} begins");
            let (start, anew) = match self.work.begins(&restored, now) {
                Ok(begins) => begins,
                Err(source) if self.fails_alone => {
                    held.push((restored.lease.clone(), source));
                    continue;
                }
                Err(source) => {
                    if matches!(source, KafkaError::LogCut { .. }) {
                        Invariant::NeverLost.violated();
                    }
                    return Err(StageError::kafka(W::ROLE, doing())(source));
                }
            };
            if restored.recreated {
                warn!(role = W::ROLE, %partition, offset = start, "the topic was created anew: it is read from its beginning");
            }
            match anew {
                Some(position) => {
                    info!(role = W::ROLE, %partition, offset = start, "reading begins where its source says");
                    restored.begin_anew(position);
                }
                // Only what may begin: a log that was cut has lost records too, and not to retention.
                None => self.note_lost(&restored.lease, restored.lost(), restored.log_start),
            }
            starts.push((restored, start));
        }
        if !held.is_empty() {
            self.hold(held, now);
        }
        if starts.is_empty() {
            return Ok(());
        }
        let restoring = self.work.restore(starts.clone(), self.poller.ownership(), watch);
        self.members.steps.spawn(restore::<W>(self.writer.clone(), starts, restoring));
        Ok(())
    }

    /// Retention deleted records before anybody read them: that is loss, and is counted as such (invariant 10). What becomes of other
    /// people's topics is theirs to decide: counted, and no promise of ours that was broken.
    pub(super) fn note_lost(&self, lease: &Lease, lost: i64, log_start: i64) {
        if lost <= 0 {
            return;
        }
        if !self.fails_alone {
            Invariant::NeverLost.violated();
        }
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
            let (poller, fails_alone) = (self.poller.clone(), self.fails_alone);
            // `begin` waits for the poll thread.
            self.members.steps.spawn_blocking(move || match poller.begin(&lease, start) {
                Ok(()) | Err(KafkaError::NotOwned { .. }) => Ok(MembershipStep::Begun(lease)),
                Err(why) if fails_alone && !matches!(why, KafkaError::Closed) => {
                    Ok(MembershipStep::NotBegun(lease, why))
                }
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
            claim: restored.position.clone().map_or(Claimed::Nothing, Claimed::Position),
        })
        .collect();
    let mut dropped = Vec::new();
    if !progress.is_empty() {
        let (partitions, first) = (progress.len(), progress[0].lease.to_string());
        info!(role = W::ROLE, partitions, first, "partitions are read for the first time");
        let transaction = Transaction { outputs: Vec::new(), progress };
        let committed = writer.commit(transaction).await;
        dropped = committed.map_err(StageError::kafka(W::ROLE, "committing where partitions begin"))?.dropped;
    }
    let mut states = restoring.await.map_err(|source| StageError::Work { role: W::ROLE, source })?;
    // The writer leaves out leases that are over by now, and those of topics that may not be read: they do not begin either.
    states.retain(|(lease, _)| !dropped.contains(lease));
    Ok(MembershipStep::Ready { found, states })
}
