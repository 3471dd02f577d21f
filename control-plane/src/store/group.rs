//! Group commit: the writes that wait are decided one after the other over one snapshot, each over what those before it decided,
//! and go into one transaction. Each keeps its own write id, its own audit and its own refusal.
//!
//! What one refuses is as certain as what another writes: the transaction proves that nobody else has written meanwhile. Only a
//! group in which nobody has anything to write asks for the topic's end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Rehearsed, Snapshot};
use chassis::clock;
use kafka::{ExclusiveError, KafkaError};
use schemas::control::ControlKey;
use schemas::record::OutRecord;
use tracing::{debug, error, warn};
use uuid::Uuid;

use crate::problem::{Problem, internal};
use crate::store::audit::Audited;
use crate::store::line::WriteOwner;
use crate::store::log::{Encoded, Entry, encode};
use crate::store::pending::{Decided, PendingWrite};
use crate::store::refuse::{denied, too_large, unreadable};
use crate::store::{Change, Moment, PAUSE, StoreInner, Turn};

/// Writes of one transaction.
const WRITES: usize = 256;
/// A transaction takes no more writes when it has so many changes.
const CHANGES: usize = 1_024;
/// How long a group may keep readers of the snapshot waiting; what is left then is in the next one.
pub(super) const HOLD: Duration = Duration::from_millis(5);

/// A write and whose it is.
pub(super) type QueuedWrite = (WriteOwner, Box<dyn PendingWrite>);

/// What is to be written, and what stands there.
pub(super) struct DecidedWrite {
    decided: Decided,
    audited: Audited,
}

/// How one try ended.
enum Tried {
    /// What it had to say stands as it was decided; the snapshot has it.
    Done,
    /// It is committed. The last record of `control` stands at this offset, if Kafka says so.
    Committed(Option<i64>),
    Again,
    /// Nothing was written: Kafka does not let the control plane write to one of the topics.
    Denied(KafkaError),
}

// === impl DecidedWrite ===

impl DecidedWrite {
    fn writes(&self) -> bool {
        let Decided { changes, beside, used } = &self.decided;
        !(changes.is_empty() && beside.is_empty() && used.is_empty())
    }

    /// Subscriptions that it changes or does something with.
    fn subscriptions(&self) -> impl Iterator<Item = ControlKey> {
        let changed = self.decided.changes.iter().filter_map(Change::subscription);
        changed.chain(self.decided.used.iter().cloned())
    }
}

// === impl StoreInner ===

impl StoreInner {
    /// Serves the line until it is empty. One task at a time does.
    pub(super) async fn serve(self: Arc<Self>) {
        let mut serving = LineServer { store: Arc::clone(&self), is_over: false };
        let mut turn = self.turn.lock().await;
        loop {
            let group = {
                let mut line = self.line.lock();
                let group = line.writes.take(WRITES);
                if group.is_empty() {
                    // Under the same lock: whoever comes next starts the next task.
                    line.is_served = false;
                    serving.is_over = true;
                    return;
                }
                group
            };
            self.write_group(&mut turn, group).await;
        }
    }

    /// Writes a group and tells each of it what came of it.
    async fn write_group(&self, turn: &mut Turn, mut group: Vec<QueuedWrite>) {
        loop {
            group = self.living(group);
            let Some(deadline) = group.iter().map(|(_, write)| write.deadline()).max() else { return };
            match self.try_once(turn, &mut group, deadline).await {
                Ok(Tried::Done | Tried::Committed(_)) => return self.settle(group, None),
                Ok(Tried::Again) => {}
                Ok(Tried::Denied(_)) if group.len() > 1 => break,
                Ok(Tried::Denied(error)) => return self.settle(group, Some(&denied(&error))),
                Err(problem) if problem.status == 413 && group.len() > 1 => break,
                Err(problem) => return self.settle(group, Some(&problem)),
            }
        }
        // One of them is too large for the topic, or goes where the control plane may not write: it shows alone, and the others do
        // not pay for it.
        for write in group {
            Box::pin(self.write_group(turn, vec![write])).await;
        }
    }

    /// Without those whose time is over and those nobody waits for.
    fn living(&self, group: Vec<QueuedWrite>) -> Vec<QueuedWrite> {
        let now = clock::instant();
        let (living, over): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|(_, write)| now < write.deadline() && !write.is_abandoned());
        self.settle(over, Some(&Problem::outcome_unknown(false)));
        living
    }

    pub(super) fn settle(&self, group: Vec<QueuedWrite>, failure: Option<&Problem>) {
        for (_, write) in group {
            let started = write.started();
            let word = write.settle(failure.cloned());
            self.metrics.writes.with_label_values(&[word]).inc();
            self.metrics.write_seconds.observe(clock::instant().saturating_duration_since(started).as_secs_f64());
        }
    }

    async fn try_once(
        &self,
        turn: &mut Turn,
        group: &mut Vec<QueuedWrite>,
        deadline: Instant,
    ) -> Result<Tried, Problem> {
        let decided = self.decide(turn, group, deadline).await?;
        let writes = decided.iter().filter(|it| it.writes()).count();
        if writes == 0 {
            return Ok(Tried::Done);
        }
        let transaction = Uuid::now_v7();
        let Encoded { records, told } = self.encode(group, &decided, (transaction, writes))?;
        let sought = decided.iter().any(|it| !it.decided.changes.is_empty()).then_some(transaction);
        // Until the snapshot has these writes, it is not what the next ones will meet.
        turn.current = false;
        let tried = if told.is_empty() {
            self.commit(turn, sought, records, deadline).await?
        } else {
            let with_told = records.iter().cloned().chain(told.iter().cloned()).collect();
            match self.commit(turn, sought, with_told, deadline).await? {
                // Nobody's write waits for what only the operator would hear of.
                Tried::Denied(error) => {
                    self.not_told(told.len(), &error);
                    self.commit(turn, sought, records, deadline).await?
                }
                other @ (Tried::Done | Tried::Committed(_) | Tried::Again) => other,
            }
        };
        if let Tried::Committed(last) = tried {
            if sought.is_some() {
                self.applied(last, deadline).await?;
            }
            turn.current = true;
            turn.share.on_written(self.catalog.read().applied());
        }
        Ok(tried)
    }

    /// The records of a group, each write under an id of its own. A write that is alone in its transaction gives it its id.
    fn encode(
        &self,
        group: &[QueuedWrite],
        decided: &[DecidedWrite],
        (transaction, writes): (Uuid, usize),
    ) -> Result<Encoded, Problem> {
        let mut all = Encoded::default();
        for ((_, write), it) in group.iter().zip(decided).filter(|(_, it)| it.writes()) {
            let entry = Entry {
                write_id: if writes == 1 { transaction } else { Uuid::now_v7() },
                transaction: (writes > 1).then_some(transaction),
                at_ms: clock::now_ms(),
                actor: write.actor(),
                changes: &it.decided.changes,
                used: &it.decided.used,
            };
            let encoded = encode(&self.log, &self.catalog.read(), &entry, &it.audited);
            let encoded = encoded.map_err(|error| internal("a control record could not be encoded", &error))?;
            all.records.extend(encoded.records);
            all.records.extend(it.decided.beside.iter().cloned());
            all.told.extend(encoded.told);
        }
        Ok(all)
    }

    /// The operator is not told of what is written.
    fn not_told(&self, events: usize, error: &KafkaError) {
        self.metrics.not_told.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
        if let Some(swallowed) = self.lines.permit(&()) {
            error!(%error, swallowed, "operational events are not written: kafka does not let the control plane write them");
        }
    }

    /// Decides over a state that no other write can lie behind. What is not decided in time is back in the line.
    async fn decide(
        &self,
        turn: &mut Turn,
        group: &mut Vec<QueuedWrite>,
        deadline: Instant,
    ) -> Result<Vec<DecidedWrite>, Problem> {
        let writes = |decided: &[DecidedWrite]| decided.iter().any(DecidedWrite::writes);
        turn.current &= self.log.is_held();
        let decided = self.decide_in_turn(group, None);
        if !writes(&decided) {
            // Nothing would be written, so nothing would prove that this is how things stand: that takes a listed end, and
            // nobody's place as the writer.
            let end = self.catch_up(deadline).await?;
            turn.current = self.log.is_held();
            let decided = self.decide_in_turn(group, Some(end));
            if turn.current || !writes(&decided) {
                return Ok(decided);
            }
        } else if turn.current {
            return Ok(decided);
        }
        let is_acquired = !self.log.is_held();
        if is_acquired {
            self.leave_turn(&turn.share, deadline).await;
            self.acquire(deadline).await?;
        }
        let end = self.catch_up(deadline).await?;
        if is_acquired {
            turn.share.on_acquired(clock::instant(), self.catalog.read().applied());
        }
        turn.current = true;
        Ok(self.decide_in_turn(group, Some(end)))
    }

    fn decide_in_turn(&self, group: &mut Vec<QueuedWrite>, end: Option<i64>) -> Vec<DecidedWrite> {
        let decided = self.rehearse(group, end, None);
        if decided.len() < group.len() {
            self.line.lock().writes.put_back(group.split_off(decided.len()));
        }
        decided
    }

    /// Decides the first of a group, as many as fit: at least one. Who wants to go on with the others gives `before`: what those that
    /// were decided earlier have come to, and with these in it afterwards.
    pub(super) fn rehearse(
        &self,
        group: &mut [QueuedWrite],
        end: Option<i64>,
        before: Option<&mut Rehearsed>,
    ) -> Vec<DecidedWrite> {
        let decide = |snapshot: &Snapshot, write: &mut Box<dyn PendingWrite>| {
            let moment = Moment { end: end.unwrap_or_else(|| snapshot.position()), now_ms: clock::now_ms() };
            let decided = write.decide(snapshot, moment, &self.rules);
            let audited = Audited::take(snapshot, &decided.changes);
            DecidedWrite { decided, audited }
        };
        if let ([(_, only)], None) = (&mut *group, &before) {
            let mut decided = decide(&self.catalog.read(), only);
            let mut put = decided.decided.changes.iter().filter_map(Change::put);
            if let Err(reason) = put.try_for_each(|object| self.catalog.check_readable(object)) {
                decided = refuse_unreadable(only, &reason);
            }
            return vec![decided];
        }
        self.catalog.rehearse(|rehearsal| {
            if let Some(before) = &before {
                rehearsal.go_on_from(before);
            }
            let began = clock::instant();
            let (mut all, mut changes) = (Vec::with_capacity(group.len()), 0);
            let mut changed: BTreeSet<ControlKey> = BTreeSet::new();
            for (_, write) in group {
                let mut decided = decide(rehearsal.snapshot(), write);
                // What it cancels is said by an end of the topic, and that of an earlier write of the group is not known yet.
                if decided.subscriptions().any(|key| changed.contains(&key)) {
                    break;
                }
                changed.extend(decided.subscriptions());
                let mark = rehearsal.mark();
                let tried = decided.decided.changes.iter().try_for_each(|change| match change {
                    Change::Put(object) => rehearsal.put(object),
                    Change::Remove(key) => {
                        rehearsal.remove(key);
                        Ok(())
                    }
                });
                if let Err(reason) = &tried {
                    rehearsal.take_back(mark);
                    decided = refuse_unreadable(write, reason);
                }
                changes += decided.decided.changes.len();
                all.push(decided);
                if changes >= CHANGES || tried.is_err() || began.elapsed() >= self.hold {
                    break;
                }
            }
            if let Some(before) = before {
                *before = rehearsal.rehearsed();
            }
            all
        })
    }

    /// One transaction. `Again`: it is certain that nothing was written. `sought` is what it can be looked for by on `control`;
    /// one that has no record there cannot be.
    async fn commit(
        &self,
        turn: &mut Turn,
        sought: Option<Uuid>,
        records: Vec<OutRecord>,
        deadline: Instant,
    ) -> Result<Tried, Problem> {
        match self.log.write(records).await {
            Ok(last) => {
                self.metrics.transactions.inc();
                Ok(Tried::Committed(last))
            }
            Err(ExclusiveError::Fenced) => {
                debug!("another control plane wrote meanwhile, deciding again");
                self.metrics.fenced.inc();
                Ok(Tried::Again)
            }
            Err(ExclusiveError::Unknown(error)) => {
                warn!(%error, ?sought, "the outcome of a control write is unknown, looking for it");
                self.metrics.unknown.inc();
                // Until it is found nobody may say that it can be sent again.
                self.acquire(deadline).await.map_err(|_unavailable| Problem::outcome_unknown(false))?;
                self.catch_up(deadline).await.map_err(|_unavailable| Problem::outcome_unknown(false))?;
                turn.current = true;
                let Some(transaction) = sought else { return Err(Problem::outcome_unknown(false)) };
                // A transaction is there whole or not at all, and the snapshot has reached an end behind it.
                let written = self.catalog.read().transaction_seen(transaction);
                Ok(if written { Tried::Done } else { Tried::Again })
            }
            Err(ExclusiveError::Refused(error)) if error.is_unwritable() => Err(too_large(&error)),
            Err(ExclusiveError::Refused(error)) if error.is_denied() => Ok(Tried::Denied(error)),
            Err(ExclusiveError::Refused(error)) => {
                warn!(%error, ?sought, "a control write was refused, trying again");
                tokio::time::sleep(PAUSE).await;
                Ok(Tried::Again)
            }
        }
    }
}

/// Says that nobody serves the line any more, should serving it panic: the next write starts it again.
struct LineServer {
    store: Arc<StoreInner>,
    is_over: bool,
}

impl Drop for LineServer {
    fn drop(&mut self) {
        if !self.is_over {
            self.store.line.lock().is_served = false;
        }
    }
}

/// A write that would make an object that nobody could read makes nothing.
fn refuse_unreadable(write: &mut Box<dyn PendingWrite>, reason: &str) -> DecidedWrite {
    error!(reason, actor = %write.actor().name, "a write was to make an object that nobody could read");
    write.refuse(unreadable());
    DecidedWrite { decided: Decided::default(), audited: Audited::none() }
}

#[cfg(test)]
mod tests;
