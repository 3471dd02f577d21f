//! The shell: one task that waits for events, for the next ready head and for the commit under way.
//!
//! ```text
//! Assigned --take over (own task)--> open line --> Records --> line --head ready--> batch --> commit --> credit
//! Revoked  --close line--> outstanding commit known --> done
//! shutdown --> outstanding commit known --> leave the group; what waits is left to others
//! ```

mod measure;
mod start;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chassis::clock::{instant, now_ms};
use chassis::health::Latch;
use chassis::pending::{Pending, finished, sleep_until};
use chassis::shutdown::Shutdown;
use chassis::status::Teller;
use kafka::{
    KafkaError, Lease, Pace, Poller, PollerEvent, PollerEvents, Progress, Refusal, Restored, RevokeDone, Transaction,
    Writer,
};
use schemas::invariants::Invariant;
use schemas::topics::Topics;
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use crate::batch::{Batch, BatchLimits};
use crate::config::TICK;
use crate::error::{Error, doing};
use crate::metrics::RetryMetrics;
use crate::promote::Promoter;
use crate::tiers::Tiers;
use crate::wait::{Fetching, Lines};

/// The running role.
pub(crate) struct Worker {
    limits: BatchLimits,
    /// Tiers up to this delay are always fetched.
    look_ahead_ms: i64,
    topics: Topics,
    tiers: Tiers,
    promoter: Promoter,
    metrics: RetryMetrics,
    poller: Poller,
    events: PollerEvents,
    writer: Writer,
    partitions: Latch,
    lines: Lines,
    pace: Pace,
    /// The commit under way.
    commit: Pending<Result<Done, Error>>,
    /// Takeovers and begins under way.
    steps: JoinSet<Result<Step, Error>>,
    /// Revokes that wait for the commit under way.
    revokes: Vec<RevokeDone>,
    started: Instant,
    /// What waited when it was measured last, by delay topic.
    waiting: BTreeMap<String, u64>,
    /// Tells `status`.
    teller: Teller,
    /// When something was committed last, Unix ms.
    last_commit_ms: Option<i64>,
    stopping: bool,
}

/// A batch whose outcome is known.
struct Done {
    batch: Batch,
    dropped: Vec<Lease>,
    duration: Duration,
}

/// What a task beside the loop brings back.
enum Step {
    /// What was found, and where each partition begins.
    Restored(Vec<(Restored, i64)>),
    Begun,
}

/// What the loop waits for.
enum Wake {
    Committed(Result<Done, Error>),
    Event(Option<PollerEvent>),
    Step(Result<Result<Step, Error>, JoinError>),
    Tick,
    Ready,
    Stop,
}

// === impl Worker: running ===

impl Worker {
    /// Runs until shutdown is requested and what was begun is committed.
    pub(crate) async fn run(mut self, shutdown: Shutdown) -> Result<(), Error> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.advance();
            if self.stopping && self.commit.is_none() {
                break;
            }
            let wake = self.wait(&mut tick, &shutdown).await;
            self.on(wake)?;
        }
        self.leave().await
    }

    async fn wait(&mut self, tick: &mut tokio::time::Interval, shutdown: &Shutdown) -> Wake {
        let next = self.next_start();
        tokio::select! {
            biased;
            done = finished(&mut self.commit) => Wake::Committed(done),
            event = self.events.next() => Wake::Event(event),
            Some(step) = self.steps.join_next() => Wake::Step(step),
            _ = tick.tick() => Wake::Tick,
            () = sleep_until(next) => Wake::Ready,
            () = shutdown.requested(), if !self.stopping => Wake::Stop,
        }
    }

    fn on(&mut self, wake: Wake) -> Result<(), Error> {
        match wake {
            Wake::Committed(done) => self.committed(&done?),
            Wake::Event(Some(event)) => return self.on_event(event),
            Wake::Event(None) => {
                let reason = "its events ended".to_owned();
                return Err(Error::Ended { part: "the poller", reason });
            }
            Wake::Step(Ok(Ok(Step::Restored(restored)))) => self.open(&restored),
            Wake::Step(Ok(Ok(Step::Begun))) => self.partitions.release(),
            Wake::Step(Ok(Err(error))) => return Err(error),
            Wake::Step(Err(panic)) => {
                return Err(Error::Ended { part: "taking over partitions", reason: panic.to_string() });
            }
            Wake::Tick => self.tick(),
            Wake::Ready => {}
            Wake::Stop => {
                self.stopping = true;
                self.poller.stop_intake();
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: PollerEvent) -> Result<(), Error> {
        match event {
            PollerEvent::Assigned { leases } if self.stopping => {
                debug!(partitions = leases.len(), "assigned while stopping: left to others");
            }
            PollerEvent::Assigned { leases } => {
                self.steps.spawn(take_over(self.writer.clone(), leases));
            }
            PollerEvent::Records { lease, records } => {
                let count = records.len();
                if !self.lines.push(&lease, records) {
                    debug!(%lease, records = count, "records of a partition that is not held any more");
                }
            }
            PollerEvent::Revoked { leases, lost, done } => self.revoke(&leases, lost, done),
            PollerEvent::Failed { error } => return Err(doing("polling")(error)),
        }
        Ok(())
    }

    /// Moves what is ready, and tells the poller what need not be fetched.
    fn advance(&mut self) {
        let now_ms = now_ms();
        if self.commit.is_none() && !self.stopping {
            let full = self.lines.ready(now_ms, self.limits.records) >= self.limits.records;
            if self.pace.ready(instant(), full) {
                self.submit(now_ms);
            }
        }
        for change in self.lines.fetching(now_ms) {
            match change {
                Fetching::Pause(lease) => self.poller.pause(&lease),
                Fetching::Resume(lease) => self.poller.resume(&lease),
            }
        }
    }

    fn submit(&mut self, now_ms: i64) {
        let batch = Batch::fill(&mut self.lines, &mut self.promoter, self.limits, now_ms);
        if batch.is_empty() {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a histogram's value; a batch is far below 2^53 records")]
        self.metrics.batch.observe(batch.entries().len() as f64);
        self.commit = Some(Box::pin(commit(self.writer.clone(), batch, self.topics.clone())));
    }

    fn committed(&mut self, done: &Done) {
        self.pace.finished(instant(), done.duration);
        self.metrics.transaction.observe(done.duration.as_secs_f64());
        let slots = done.batch.slots();
        let written: Vec<bool> = slots.iter().map(|slot| !done.dropped.contains(&slot.lease)).collect();
        let now_ms = now_ms();
        self.last_commit_ms = Some(now_ms);
        for entry in done.batch.entries().iter().filter(|entry| written[entry.slot]) {
            self.metrics.count(entry.moved);
            if let Some(ready_ms) = entry.ready_ms {
                self.metrics.lateness.observe(seconds(now_ms - ready_ms));
            }
        }
        for (slot, written) in slots.iter().zip(written) {
            if written {
                self.poller.release(&slot.lease, slot.records, slot.bytes);
                self.lines.committed(&slot.lease, slot.next_offset);
            } else {
                self.lines.close(&slot.lease);
            }
        }
        // Everything of them is known now.
        self.revokes.drain(..).for_each(RevokeDone::done);
    }

    /// When the next batch may begin: a head is ready and the pace allows it.
    fn next_start(&self) -> Option<Instant> {
        if self.commit.is_some() || self.stopping {
            return None;
        }
        let wait_ms = self.lines.next_ready_ms()?.saturating_sub(now_ms()).max(0);
        let now = instant();
        // The tick looks again anyway, should the wall clock jump.
        let ready = now + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(TICK);
        Some(self.pace.next_start(now).max(ready))
    }
}

// === impl Worker: partitions come and go ===

impl Worker {
    fn open(&mut self, restored: &[(Restored, i64)]) {
        if self.stopping {
            return;
        }
        let ownership = self.poller.ownership();
        for (found, start) in restored.iter().filter(|(found, _)| ownership.is_live(&found.lease)) {
            let (lease, start) = (found.lease.clone(), *start);
            self.report(found);
            let delay_ms = self.tiers.delay_ms(&lease.partition.topic);
            self.lines.open(&lease, delay_ms, delay_ms > self.look_ahead_ms, start);
            let poller = self.poller.clone();
            // It waits for the poll thread.
            self.steps.spawn_blocking(move || match poller.begin(&lease, start) {
                Ok(()) | Err(KafkaError::NotOwned { .. }) => Ok(Step::Begun),
                Err(error) => Err(doing("beginning a partition")(error)),
            });
        }
    }

    fn report(&self, found: &Restored) {
        let lost = found.lost();
        if lost > 0 {
            Invariant::NeverLost.violated();
            self.metrics.lost.inc_by(u64::try_from(lost).unwrap_or(0));
            let (partition, log_start) = (&found.lease.partition, found.log_start);
            error!(%partition, lost, log_start, "retention deleted records before they moved");
        }
    }

    fn revoke(&mut self, leases: &[Lease], lost: bool, done: RevokeDone) {
        info!(partitions = leases.len(), lost, "partitions go");
        for lease in leases {
            self.lines.close(lease);
        }
        if lost || self.commit.is_none() {
            done.done();
        } else {
            self.revokes.push(done);
        }
    }
}

// === impl Worker: ending ===

impl Worker {
    async fn leave(mut self) -> Result<(), Error> {
        self.steps.abort_all();
        self.events.leave().await;
        self.writer.close().await;
        self.teller.end().await;
        info!("retry scheduler ended: everything moved is committed");
        Ok(())
    }
}

/// Takes the leases over and finds where each begins. Where nothing was ever committed the start is, so that a successor
/// finds our id there.
async fn take_over(writer: Writer, leases: Vec<Lease>) -> Result<Step, Error> {
    let restored = writer.take_over(leases).await.map_err(doing("taking over partitions"))?;
    let mut found = Vec::with_capacity(restored.len());
    let mut new = Vec::new();
    for restored in restored {
        let start = restored.start().map_err(doing("finding the start of a partition"))?;
        if restored.committed.is_none() {
            let lease = restored.lease.clone();
            new.push(Progress { lease, committed: start, read_up_to: start, not_done: Vec::new() });
        }
        found.push((restored, start));
    }
    if !new.is_empty() {
        let transaction = Transaction { outputs: Vec::new(), progress: new };
        writer.commit(transaction).await.map_err(doing("committing where partitions begin"))?;
    }
    Ok(Step::Restored(found))
}

/// Resolves when the outcome is known.
async fn commit(writer: Writer, mut batch: Batch, topics: Topics) -> Result<Done, Error> {
    let mut transaction = batch.transaction();
    loop {
        match writer.commit(transaction).await {
            Ok(committed) => {
                return Ok(Done { batch, dropped: committed.dropped, duration: committed.duration });
            }
            Err(KafkaError::Unwritable { mut refused, transaction: given }) => {
                transaction = *given;
                // A delivery goes once, however many of its outputs are refused.
                refused.dedup_by_key(|refusal| batch.first_output(refusal.index));
                for Refusal { index, topic, code, reason } in refused.into_iter().rev() {
                    warn!(%topic, ?code, reason, "kafka can never take an output: its delivery goes to `rejected`");
                    let reason = format!("{topic}: {reason}");
                    batch.refuse(transaction, index, &reason, &topics, now_ms())?;
                    transaction = batch.transaction();
                }
            }
            Err(KafkaError::TooSlow { transaction: given, written_bytes, reason }) => {
                warn!(written_bytes, reason, "a transaction does not get through in time; trying it again");
                transaction = *given;
            }
            Err(error) => return Err(doing("committing a batch")(error)),
        }
    }
}

/// Milliseconds as seconds; what lies ahead is 0.
fn seconds(ms: i64) -> f64 {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
}
