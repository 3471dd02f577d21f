//! The runner's part of the stage: takes the records of jobs, has their next parts made, and resolves each record with what its part
//! writes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::limited::Limited;
use chassis::status::Facts;
use futures_util::future::select_all;
use kafka::{Epoch, KafkaError, Lease, Ownership, ReadingWatch, Restored};
use schemas::ids::JobId;
use schemas::jobs::{JobKey, JobProgress, JobState};
use schemas::record::{Headers, OutRecord, Record};
use stage::{Entry, Measured, NextTurn, Now, Refused, Restoring, Turn, Waiting, Work, WorkError};
use tracing::{error, warn};

use super::known::KnownJobs;
use super::queue::{JobQueue, PassedRecord};
use super::step::{StepOutcome, Steps};
use super::view::JobsRestorer;

/// Parts that are made at once.
const UNDER_WAY: usize = 8;
/// After a part could not be made.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at which jobs ended long ago.
const SWEEP_MS: i64 = 60_000;
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
    unreadable: Limited<()>,
    put_off: Limited<JobId>,
}

struct OwnedJobs {
    lease: Lease,
    queue: JobQueue,
    /// Jobs whose parts keep a rate: until when the next one waits, once it is read back.
    paced: BTreeMap<JobId, std::time::Instant>,
}

/// A part that is being made.
struct StepUnderWay {
    of: (Epoch, i64, JobId),
    step: Pin<Box<dyn Future<Output = StepOutcome> + Send>>,
}

/// A part that was made.
struct MadeStep {
    of: (Epoch, i64, JobId),
    outcome: StepOutcome,
}

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
            unreadable: Limited::new(LINE),
            put_off: Limited::new(LINE),
        }
    }

    /// Resolves records that say nothing new, and those whose part was made.
    fn resolve(&mut self, turn: &mut Turn<'_, ()>) -> Result<(), WorkError> {
        for (epoch, owned) in &mut self.partitions {
            for record in owned.queue.take_passed() {
                turn.resolve(entry(*epoch, record, turn.now), &mut Vec::new());
            }
        }
        for MadeStep { of: (epoch, offset, job), outcome } in std::mem::take(&mut self.made) {
            let Some(owned) = self.partitions.get_mut(&epoch) else { continue };
            match outcome {
                StepOutcome::Later(reason) => {
                    if let Some(swallowed) = self.put_off.permit(&job) {
                        warn!(job.id = %job, reason, swallowed, "a job cannot go on now, it is tried again");
                    }
                    owned.queue.put_off(offset, turn.now.instant + AGAIN);
                }
                StepOutcome::Made { mut outputs, progress, pause } => {
                    let Some(token) = owned.queue.end(offset) else { continue };
                    outputs.push(self.steps.progress_record(&owned.lease, &progress)?);
                    if !pause.is_zero() && !progress.state.has_ended() {
                        owned.paced.insert(job, turn.now.instant + pause);
                    }
                    owned.queue.known.advance(job, progress);
                    turn.resolve(entry(epoch, token.record, turn.now), &mut outputs);
                }
            }
        }
        Ok(())
    }

    /// Has the next parts made of those that may go on.
    fn begin(&mut self, now: Now) {
        for (epoch, owned) in &mut self.partitions {
            for (offset, job) in owned.queue.ready(now.instant) {
                if self.under_way.len() >= UNDER_WAY {
                    return;
                }
                owned.queue.begin(offset);
                let of = (*epoch, offset, job.definition.job_id);
                if job.definition.cancelled_ms.is_some() {
                    let begun = || JobProgress::begun(job.definition.job_id, now.wall_ms);
                    let progress = job.progress.unwrap_or_else(begun).ended(JobState::Cancelled, now.wall_ms);
                    let outcome = StepOutcome::Made { outputs: Vec::new(), progress, pause: Duration::ZERO };
                    self.made.push(MadeStep { of, outcome });
                    continue;
                }
                let steps = Arc::clone(&self.steps);
                self.under_way.push(StepUnderWay { of, step: Box::pin(async move { steps.next(job).await }) });
            }
        }
    }

    /// Removes the records of jobs that ended long ago.
    fn sweep(&mut self, turn: &mut Turn<'_, ()>) {
        let now = turn.now;
        if now.wall_ms - self.swept_ms < SWEEP_MS {
            return;
        }
        self.swept_ms = now.wall_ms;
        for (epoch, owned) in &mut self.partitions {
            let ids = owned.queue.known.outdated(now.wall_ms, SWEPT);
            let keys = ids.into_iter().flat_map(|id| [JobKey::Progress(id), JobKey::Definition(id)]);
            let mut removed: Vec<OutRecord> = keys.map(|key| self.steps.removal(&owned.lease, key)).collect();
            if !removed.is_empty() {
                turn.resolve(Entry::beside(*epoch, (0, now.wall_ms), now.boot_ms, ()), &mut removed);
            }
        }
    }

    fn drop_lease(&mut self, lease: &Lease) {
        self.partitions.remove(&lease.epoch);
        // They only read: what was not resolved is made again by whoever owns it then.
        self.under_way.retain(|step| step.of.0 != lease.epoch);
        self.made.retain(|step| step.of.0 != lease.epoch);
    }
}

impl Work for ResendsWork {
    const ROLE: &'static str = "runner of jobs";
    type State = KnownJobs;
    type Note = ();

    /// Whatever is read again is known, so a lost position is no reason to stop, unlike elsewhere (rule W8).
    fn start(&self, found: &Restored) -> Result<i64, KafkaError> {
        Ok(found.start().unwrap_or(found.log_start))
    }

    fn restore(&self, found: Vec<(Restored, i64)>, _ownership: Ownership, watch: ReadingWatch) -> Restoring<KnownJobs> {
        let (restorer, leases) = (self.restorer.clone(), found.into_iter().map(|(found, _)| found.lease).collect());
        Box::pin(async move { Ok(restorer.restore(leases, watch).await) })
    }

    fn opened(&mut self, lease: &Lease, known: KnownJobs, _now: Now) {
        let owned = OwnedJobs { lease: lease.clone(), queue: JobQueue::new(known), paced: BTreeMap::new() };
        self.partitions.insert(lease.epoch, owned);
    }

    fn records(&mut self, lease: &Lease, records: Vec<Record>, _now: Now) -> Result<(), WorkError> {
        let Some(owned) = self.partitions.get_mut(&lease.epoch) else { return Ok(()) };
        for record in records {
            if let Err(error) = owned.queue.take(&record)
                && let Some(swallowed) = self.unreadable.permit(&())
            {
                let (partition, offset) = (&lease.partition, record.offset);
                warn!(%partition, offset, %error, swallowed, "a record is no job's: it is passed over");
            }
        }
        let queue = &mut owned.queue;
        owned.paced.retain(|job, until| !queue.pace(*job, *until));
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn<'_, ()>) -> Result<NextTurn, WorkError> {
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
        let (outcome, at, _) = select_all(steps).await;
        let of = self.under_way.swap_remove(at).of;
        self.made.push(MadeStep { of, outcome });
    }

    /// What Kafka never takes is left out: the job goes on, and says that it does not fit.
    fn replace(&mut self, refused: Refused<'_, ()>, _now: Now) -> Result<Vec<OutRecord>, WorkError> {
        let Refused { lease, offset, outputs, refusals, .. } = refused;
        error!(partition = %lease.partition, offset, ?refusals, "kafka does not take a delivery that is sent again; it is left out");
        let is_refused = |at: usize| {
            refusals.iter().any(|refusal| match refusal {
                stage::Refusal::Unwritable { index, .. } => *index == at,
                stage::Refusal::TooSlow { .. } => false,
            })
        };
        let jobs = self.steps.jobs_topic();
        let kept = outputs.into_iter().enumerate();
        Ok(kept.filter(|(at, output)| output.topic == *jobs || !is_refused(*at)).map(|(_, output)| output).collect())
    }

    fn committed<'a>(&mut self, _entries: impl Iterator<Item = &'a Entry<()>>, _now: Now) {}

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
            live: self.partitions.values().map(|owned| owned.queue.live() as u64).sum(),
            ..Facts::default()
        }
    }
}

fn entry(epoch: Epoch, record: PassedRecord, now: Now) -> Entry<()> {
    Entry::new(epoch, (record.offset, record.timestamp_ms), record.size, now.boot_ms, ())
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
