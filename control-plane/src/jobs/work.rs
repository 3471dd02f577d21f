//! The runner's part of the stage: knows the jobs of its partitions, has their next parts made, and writes each part with how far its
//! job is then, in one transaction with the lease's own progress: whoever has lost a partition writes nothing more of it.
//!
//! Records of jobs are passed as they are read: what they say is known, from the whole partition, before a lease begins
//! (`queue.rs`). So nothing waits for credit, however many jobs there are.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::limited::Limited;
use chassis::status::Facts;
use futures_util::future::select_all;
use kafka::{Epoch, KafkaError, Lease, Ownership, PositionClaim, ReadingWatch, Restored};
use schemas::ids::JobId;
use schemas::jobs::JobKey;
use schemas::record::{Headers, OutRecord, Record};
use stage::{Entry, Measured, NextTurn, Now, Refused, Restoring, Turn, Waiting, Work, WorkError};
use tracing::{error, warn};

use super::known::KnownJob;
use super::queue::{JobQueue, PartRoom, next_parts};
use super::step::{StepOutcome, Steps};
use super::view::{JobsRestorer, RestoredJobs};

/// Parts that are made at once; a partition has one in any case, however busy others are.
const UNDER_WAY: usize = 8;
/// Of these of jobs that may take long, likewise: while they wait for the log, retries and replays go on.
const LONG_UNDER_WAY: usize = 4;
/// After a part could not be made.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at which jobs ended long ago.
const SWEEP_MS: i64 = 60_000;
/// Until the next look where there is more than one of them removes.
const SWEEP_AGAIN_MS: i64 = 1_000;
/// Jobs that are removed at one look.
const SWEPT: usize = 500;
/// One line about the same trouble per that.
const LINE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct ResendsWork {
    steps: Arc<Steps>,
    restorer: JobsRestorer,
    partitions: BTreeMap<Epoch, OwnedJobs>,
    under_way: Vec<StepUnderWay>,
    made: Vec<MadeStep>,
    swept_ms: i64,
    /// Counts up, so that another partition is first each time.
    turns: usize,
    unreadable: Limited<()>,
    put_off: Limited<JobId>,
}

struct OwnedJobs {
    lease: Lease,
    queue: JobQueue,
    /// Records that were read: they are done.
    passed: Vec<PassedRecord>,
}

/// What a record is resolved by.
struct PassedRecord {
    offset: i64,
    timestamp_ms: i64,
    size: usize,
}

/// Whose part: of which lease, at which place of its line.
type PartPlace = (Epoch, u64);

/// A part that is being made.
struct StepUnderWay {
    at: PartPlace,
    job: KnownJob,
    step: Pin<Box<dyn Future<Output = StepOutcome> + Send>>,
}

/// A part that was made.
struct MadeStep {
    at: PartPlace,
    job: KnownJob,
    outcome: StepOutcome,
}

/// Whose part an entry is; `None`: it is a record that was read, or what removes one.
type PartNote = Option<JobId>;

// === impl ResendsWork ===

impl ResendsWork {
    pub(super) fn new(steps: Steps, restorer: JobsRestorer) -> Self {
        Self {
            steps: Arc::new(steps),
            restorer,
            partitions: BTreeMap::new(),
            under_way: Vec::new(),
            made: Vec::new(),
            swept_ms: 0,
            turns: 0,
            unreadable: Limited::new(LINE),
            put_off: Limited::new(LINE),
        }
    }

    /// Resolves records that were read, and writes the parts that were made.
    fn resolve(&mut self, turn: &mut Turn<'_, PartNote>) -> Result<(), WorkError> {
        let now = turn.now;
        for (epoch, owned) in &mut self.partitions {
            for PassedRecord { offset, timestamp_ms, size } in std::mem::take(&mut owned.passed) {
                turn.resolve(Entry::new(*epoch, (offset, timestamp_ms), size, now.boot_ms, None), &mut Vec::new());
            }
        }
        for MadeStep { at: (epoch, place), job, outcome } in std::mem::take(&mut self.made) {
            let (id, Some(owned)) = (job.definition.job_id, self.partitions.get_mut(&epoch)) else { continue };
            match outcome {
                StepOutcome::Later(reason) => {
                    if let Some(swallowed) = self.put_off.permit(&id) {
                        warn!(job.id = %id, reason, swallowed, "a job cannot go on now, it is tried again");
                    }
                    if let Some(progress) = owned.queue.put_off(place, &reason, (now.instant, now.instant + AGAIN)) {
                        let mut outputs = vec![self.steps.progress_record(&owned.lease, &progress)?];
                        let offset = owned.queue.known_below();
                        turn.resolve(Entry::beside(epoch, (offset, now.wall_ms), now.boot_ms, Some(id)), &mut outputs);
                    }
                }
                StepOutcome::Made { mut outputs, progress, pause } => {
                    if !owned.queue.made(place, &progress, (pause, now.instant)) {
                        continue;
                    }
                    self.steps.count(&job, &progress);
                    outputs.push(self.steps.progress_record(&owned.lease, &progress)?);
                    // No record is done by it: the next one goes on from what is known to be committed.
                    let offset = owned.queue.known_below();
                    turn.resolve(Entry::beside(epoch, (offset, now.wall_ms), now.boot_ms, Some(id)), &mut outputs);
                }
            }
        }
        Ok(())
    }

    /// Has the next parts made of those that may go on.
    fn begin(&mut self, now: Now) {
        let is_long =
            |job: &KnownJob| job.definition.cancelled_ms.is_none() && self.steps.may_take_long(&job.definition);
        let mut under_way: BTreeMap<Epoch, (usize, usize)> = BTreeMap::new();
        for step in &self.under_way {
            let (all, long) = under_way.entry(step.at.0).or_default();
            (*all, *long) = (*all + 1, *long + usize::from(is_long(&step.job)));
        }
        self.turns = self.turns.wrapping_add(1);
        let limit = PartRoom { all: UNDER_WAY, long: LONG_UNDER_WAY };
        let queues = self.partitions.iter().map(|(epoch, owned)| (*epoch, &owned.queue));
        for (epoch, place, job) in next_parts(queues, &under_way, (self.turns, limit, now.instant), is_long) {
            if let Some(owned) = self.partitions.get_mut(&epoch) {
                owned.queue.begin(place);
            }
            let at = (epoch, place);
            let (steps, asked, is_cancelled) =
                (Arc::clone(&self.steps), job.clone(), job.definition.cancelled_ms.is_some());
            let step =
                Box::pin(
                    async move { if is_cancelled { steps.cancelled(asked).await } else { steps.next(asked).await } },
                );
            self.under_way.push(StepUnderWay { at, job, step });
        }
    }

    /// Removes the records of jobs that ended long ago.
    fn sweep(&mut self, turn: &mut Turn<'_, PartNote>) {
        let now = turn.now;
        if now.wall_ms - self.swept_ms < SWEEP_MS {
            return;
        }
        self.swept_ms = now.wall_ms;
        for (epoch, owned) in &mut self.partitions {
            let ids = owned.queue.known.outdated(now.wall_ms, SWEPT, |application| self.steps.owner(application));
            if ids.len() == SWEPT {
                self.swept_ms = now.wall_ms - SWEEP_MS + SWEEP_AGAIN_MS;
            }
            let keys = ids.into_iter().flat_map(JobKey::removed);
            let mut removed: Vec<OutRecord> = keys.map(|key| self.steps.removal(&owned.lease, key)).collect();
            if !removed.is_empty() {
                turn.resolve(Entry::beside(*epoch, (0, now.wall_ms), now.boot_ms, None), &mut removed);
            }
        }
    }

    fn drop_lease(&mut self, lease: &Lease) {
        self.partitions.remove(&lease.epoch);
        // They only read: what was not resolved is made again by whoever owns it then.
        self.under_way.retain(|step| step.at.0 != lease.epoch);
        self.made.retain(|step| step.at.0 != lease.epoch);
    }
}

impl Work for ResendsWork {
    const ROLE: &'static str = "runner of jobs";
    type State = RestoredJobs;
    type Note = PartNote;

    /// Whatever stands there is known, so a lost position is no reason to stop, unlike elsewhere (rule W8).
    fn begins(&self, found: &Restored, _now: Now) -> Result<(i64, Option<PositionClaim>), KafkaError> {
        Ok((found.start().unwrap_or(found.log_start), None))
    }

    fn restore(
        &self,
        found: Vec<(Restored, i64)>,
        _ownership: Ownership,
        watch: ReadingWatch,
    ) -> Restoring<RestoredJobs> {
        let (restorer, leases) = (self.restorer.clone(), found.into_iter().map(|(found, _)| found.lease).collect());
        Box::pin(async move { Ok(restorer.restore(leases, watch).await) })
    }

    fn opened(&mut self, lease: &Lease, restored: RestoredJobs, _now: Now) {
        let queue = JobQueue::new(restored.known, restored.end);
        self.partitions.insert(lease.epoch, OwnedJobs { lease: lease.clone(), queue, passed: Vec::new() });
    }

    fn records(&mut self, lease: &Lease, records: Vec<Record>, _now: Now) -> Result<(), WorkError> {
        let Some(owned) = self.partitions.get_mut(&lease.epoch) else { return Ok(()) };
        for record in records {
            let (offset, timestamp_ms, size) = (record.offset, record.timestamp_ms, record.size());
            if let Err(error) = owned.queue.take(&record)
                && let Some(swallowed) = self.unreadable.permit(&())
            {
                let partition = &lease.partition;
                warn!(%partition, offset, %error, swallowed, "a record is no job's: it is passed over");
            }
            owned.passed.push(PassedRecord { offset, timestamp_ms, size });
        }
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn<'_, PartNote>) -> Result<NextTurn, WorkError> {
        self.resolve(turn)?;
        if turn.is_stopping || turn.is_full() {
            return Ok(NextTurn::OnInput);
        }
        self.begin(turn.now);
        if !self.made.is_empty() {
            return Ok(NextTurn::AtOnce);
        }
        self.sweep(turn);
        let waits = self.partitions.values().filter_map(|owned| owned.queue.next_in(turn.now.instant));
        Ok(waits.min().map_or(NextTurn::OnInput, NextTurn::After))
    }

    async fn input(&mut self) {
        if self.under_way.is_empty() {
            return std::future::pending().await;
        }
        let steps = self.under_way.iter_mut().map(|under_way| under_way.step.as_mut());
        let (outcome, index, _) = select_all(steps).await;
        let StepUnderWay { at, job, .. } = self.under_way.swap_remove(index);
        self.made.push(MadeStep { at, job, outcome });
    }

    /// What Kafka never takes is left out, with what would say that it was sent: the job goes on, and counts it as too large.
    fn replace(&mut self, refused: Refused<'_, PartNote>, _now: Now) -> Result<Vec<OutRecord>, WorkError> {
        let Refused { lease, note, outputs, refusals, .. } = refused;
        let job = note.map(|id| id.to_string()).unwrap_or_default();
        error!(partition = %lease.partition, job.id = job, ?refusals, "kafka does not take a delivery that is sent again; it is left out");
        let is_refused = |at: usize| {
            refusals.iter().any(|refusal| match refusal {
                stage::Refusal::Unwritable { index, .. } => *index == at,
                stage::Refusal::TooSlow { .. } => false,
            })
        };
        let Some(id) = *note else {
            let outputs = outputs.into_iter().enumerate().filter(|(at, _)| !is_refused(*at));
            return Ok(outputs.map(|(_, output)| output).collect());
        };
        let (mut kept, left_out) = self.steps.without(outputs, is_refused);
        if let Some(owned) = self.partitions.get_mut(&lease.epoch)
            && let Some(progress) = owned.queue.leave_out(id, &left_out)
        {
            kept.push(self.steps.progress_record(lease, &progress)?);
        }
        Ok(kept)
    }

    fn committed<'a>(&mut self, entries: impl Iterator<Item = &'a Entry<PartNote>>, _now: Now) {
        for Entry { epoch, note, .. } in entries {
            if let (Some(job), Some(owned)) = (note, self.partitions.get_mut(epoch)) {
                owned.queue.committed(*job);
            }
        }
    }

    fn revoking(&mut self, leases: &[Lease]) {
        for lease in leases {
            self.drop_lease(lease);
        }
    }

    fn closed(&mut self, lease: &Lease) {
        self.drop_lease(lease);
    }

    /// A job may wait for its rate, its turn or its log as long as it takes: nothing should have been done.
    fn waiting(&self, _now: Now) -> Option<Waiting> {
        None
    }

    fn facts(&mut self, measured: &Measured, _now: Now) -> Facts {
        self.steps.open(self.partitions.values().map(|owned| owned.queue.len()).sum());
        Facts {
            partitions: u32::try_from(measured.partitions).unwrap_or(u32::MAX),
            live: self.partitions.values().map(|owned| owned.passed.len() as u64).sum(),
            ..Facts::default()
        }
    }
}

/// A record of `jobs` in the partition of a lease.
pub(super) fn job_record(lease: &Lease, key: JobKey, value: Option<Vec<u8>>) -> OutRecord {
    OutRecord {
        topic: Arc::clone(&lease.partition.topic),
        partition: Some(lease.partition.partition),
        key: Some(key.encode()),
        value: value.map(bytes::Bytes::from),
        headers: Headers::default(),
    }
}
