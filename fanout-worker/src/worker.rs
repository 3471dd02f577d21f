//! The shell: one task that waits for everything and decides nothing about events.
//!
//! ```text
//! Assigned --restore (own task)--> Restored --held--> Begun --> Records --queue--> plan --> batch --> commit --> credit
//! Revoked  --drop queue and batch of it--> outstanding commit known --> done
//! shutdown --stop intake--> open batch, outstanding commit --> leave the group
//! ```

mod measure;
mod start;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use catalog::Catalog;
use chassis::clock::{instant, now_ms};
use chassis::health::Latch;
use chassis::limited::Limited;
use chassis::pending::{Pending, finished, sleep_until};
use chassis::shutdown::Shutdown;
use kafka::{Epoch, KafkaError, Lease, Pace, Poller, PollerEvent, PollerEvents, RevokeDone, Writer};
use schemas::invariants::Invariant;
use schemas::record::{Record, TopicPartition};
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, info};

use crate::batch::{Batch, BatchLimits};
use crate::commit::{Committer, Done};
use crate::config::{INDEX_RETRY, PLAN_SLICE, TICK};
use crate::deduplicate::{Limits, Seen, fit_budget};
use crate::error::{Error, doing};
use crate::metrics::FanoutMetrics;
use crate::plan::{Planned, Planner, Turn};
use crate::queue::Queue;
use crate::report::Report;
use crate::restore::{Ready, Restorer};

/// The running role.
pub(crate) struct Worker {
    limits: BatchLimits,
    dedup: Limits,
    catalog: Catalog,
    metrics: FanoutMetrics,
    poller: Poller,
    events: PollerEvents,
    writer: Writer,
    restorer: Restorer,
    committer: Committer,
    planner: Planner,
    partitions: Latch,
    /// What is ours and restored.
    held: BTreeMap<TopicPartition, Held>,
    queue: Queue,
    batch: Batch,
    /// An empty batch whose room is used again.
    spare: Batch,
    pace: Pace,
    /// The commit under way.
    commit: Pending<Result<Done, Error>>,
    /// Kafka's time of its oldest record.
    committing_ms: Option<i64>,
    /// Its records.
    committing: usize,
    /// To which part of its limits its batch was filled.
    committing_filled: f64,
    /// The question for the end of `control` under way.
    index: Pending<()>,
    /// Restores and begins under way.
    steps: JoinSet<Result<Step, Error>>,
    /// Revokes that wait for the commit under way.
    revokes: Vec<RevokeDone>,
    started: Instant,
    /// Records behind as measured last, by topic.
    lags: BTreeMap<String, i64>,
    /// What is told to `status`.
    report: Report,
    /// Planning gave way before it was done.
    is_interrupted: bool,
    stopping: bool,
}

/// A partition that is ours and restored.
struct Held {
    epoch: Epoch,
    seen: Seen,
    /// The committed offset.
    committed: i64,
}

/// What a task beside the loop brings back.
enum Step {
    Restored(Vec<Ready>),
    Begun,
}

/// What the loop waits for.
enum Wake {
    Committed(Result<Done, Error>),
    Indexed,
    Event(Option<PollerEvent>),
    Step(Result<Result<Step, Error>, JoinError>),
    Tick,
    Paced,
    /// Others had their turn; planning goes on.
    Rested,
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
            if self.is_drained() {
                break;
            }
            let wake = self.wait(&mut tick, &shutdown).await;
            self.on(wake)?;
        }
        self.leave().await
    }

    async fn wait(&mut self, tick: &mut tokio::time::Interval, shutdown: &Shutdown) -> Wake {
        let paced = self.paced();
        tokio::select! {
            biased;
            done = finished(&mut self.commit) => Wake::Committed(done),
            () = finished(&mut self.index) => Wake::Indexed,
            event = self.events.next() => Wake::Event(event),
            Some(step) = self.steps.join_next() => Wake::Step(step),
            _ = tick.tick() => Wake::Tick,
            () = tokio::task::yield_now(), if self.is_interrupted => Wake::Rested,
            () = sleep_until(paced) => Wake::Paced,
            () = shutdown.requested(), if !self.stopping => Wake::Stop,
        }
    }

    fn on(&mut self, wake: Wake) -> Result<(), Error> {
        match wake {
            Wake::Committed(done) => self.committed(done?),
            Wake::Indexed => self.indexed(),
            Wake::Event(Some(event)) => return self.on_event(event),
            Wake::Event(None) => {
                let reason = "its events ended".to_owned();
                return Err(Error::Ended { part: "the poller", reason });
            }
            Wake::Step(Ok(Ok(Step::Restored(ready)))) => self.hold(ready),
            Wake::Step(Ok(Ok(Step::Begun))) => self.partitions.release(),
            Wake::Step(Ok(Err(error))) => return Err(error),
            Wake::Step(Err(panic)) => {
                return Err(Error::Ended { part: "taking over partitions", reason: panic.to_string() });
            }
            Wake::Tick => self.tick(),
            Wake::Paced | Wake::Rested => {}
            Wake::Stop => self.stop(),
        }
        Ok(())
    }

    fn on_event(&mut self, event: PollerEvent) -> Result<(), Error> {
        match event {
            PollerEvent::Assigned { leases } if self.stopping => {
                debug!(partitions = leases.len(), "assigned while stopping: left to others");
            }
            PollerEvent::Assigned { leases } => {
                let restorer = self.restorer.clone();
                self.steps.spawn(async move { restorer.restore(leases).await.map(Step::Restored) });
            }
            PollerEvent::Records { lease, records } => self.receive(lease, records),
            PollerEvent::Revoked { leases, lost, done } => self.revoke(&leases, lost, done),
            PollerEvent::Skipped { lease, from, to, lost } => {
                if lost > 0 {
                    Invariant::NeverLost.violated();
                    self.metrics.lost.inc_by(u64::try_from(lost).unwrap_or(0));
                    error!(partition = %lease.partition, from, to, lost, "records were deleted before they were read");
                }
            }
            PollerEvent::Failed { error } => return Err(doing("polling")(error)),
        }
        Ok(())
    }

    /// Asks, plans and submits whatever can be now.
    fn advance(&mut self) {
        self.ask();
        self.plan();
        self.submit();
    }

    /// One question for the end of `control` covers everything that was polled before it.
    fn ask(&mut self) {
        if self.index.is_none() && !self.stopping && !self.batch.is_full(self.limits) && self.queue.ask() {
            self.index = Some(Box::pin(read_index(self.catalog.clone())));
            self.report.asked(instant());
        }
    }

    fn indexed(&mut self) {
        self.queue.answered();
        self.report.answered();
    }

    fn plan(&mut self) {
        self.is_interrupted = false;
        if self.stopping || self.batch.is_full(self.limits) {
            return;
        }
        let (now_ms, begin) = (now_ms(), instant());
        let is_over = || instant().saturating_duration_since(begin) > PLAN_SLICE;
        if !self.planner.compile(is_over) {
            self.is_interrupted = true;
            return;
        }
        let mut planned = false;
        while !self.batch.is_full(self.limits)
            && !self.is_interrupted
            && let Some((lease, record)) = self.queue.pop()
        {
            let Some(held) = self.held.get_mut(&lease.partition).filter(|held| held.epoch == lease.epoch) else {
                continue;
            };
            let (catalog, seen, now) = (&self.catalog, &mut held.seen, instant());
            let mut turn = Turn { catalog, seen, batch: &mut self.batch, now_ms, now };
            match self.planner.plan(&mut turn, &lease, record) {
                Planned::Done(_verdict) => planned = true,
                Planned::Aside(record) => {
                    self.queue.put_back(lease, record);
                    self.is_interrupted = true;
                }
            }
            self.is_interrupted |= is_over();
        }
        if planned {
            self.fit_budget();
            for (reason, count) in self.planner.take_failed_filters() {
                self.metrics.filters_failed.with_label_values(&[reason]).inc_by(count);
            }
        }
    }

    fn submit(&mut self) {
        if self.commit.is_some() || self.batch.is_empty() {
            return;
        }
        let full = self.stopping || self.batch.is_full(self.limits);
        if !self.pace.ready(instant(), full) {
            return;
        }
        let batch = std::mem::replace(&mut self.batch, std::mem::take(&mut self.spare));
        self.committing_ms = batch.oldest_ms();
        self.committing = batch.entries().len();
        self.committing_filled = batch.filled(self.limits);
        #[expect(clippy::cast_precision_loss, reason = "a histogram's value; a batch is far below 2^53 records")]
        self.metrics.batch.observe(batch.len() as f64);
        self.commit = Some(Box::pin(self.committer.clone().commit(batch)));
    }

    fn committed(&mut self, done: Done) {
        let Done { mut batch, dropped, refused, duration } = done;
        (self.committing_ms, self.committing) = (None, 0);
        self.report.committed(now_ms());
        self.pace.finished_filled(instant(), duration, self.committing_filled);
        self.metrics.transaction.observe(duration.as_secs_f64());
        for (lease, id) in refused {
            if let Some(held) = self.held_mut(&lease) {
                held.seen.remove(&id);
            }
        }
        let written: Vec<bool> = batch.slots().iter().map(|slot| !dropped.contains(&slot.lease)).collect();
        for entry in batch.entries().iter().filter(|entry| written[entry.slot]) {
            self.metrics.count(entry.verdict);
        }
        for slot in batch.slots() {
            if dropped.contains(&slot.lease) {
                self.forget(&slot.lease);
                continue;
            }
            self.poller.release(&slot.lease, slot.records, slot.bytes);
            if let Some(held) = self.held_mut(&slot.lease) {
                held.committed = slot.next_offset;
            }
        }
        batch.clear();
        self.spare = batch;
        // Everything of them is known now.
        self.revokes.drain(..).for_each(RevokeDone::done);
    }

    fn fit_budget(&mut self) {
        let evicted = fit_budget(self.dedup, self.held.values_mut().map(|held| &mut held.seen));
        if evicted > 0 {
            self.metrics.evicted.inc_by(evicted as u64);
        }
    }

    /// When a partial batch may begin, if one waits for that.
    fn paced(&self) -> Option<Instant> {
        let waits = self.commit.is_none() && !self.batch.is_empty();
        waits.then(|| self.pace.next_start(instant()))
    }
}

// === impl Worker: partitions come and go ===

impl Worker {
    /// Restored partitions may begin; what was revoked meanwhile may not.
    fn hold(&mut self, ready: Vec<Ready>) {
        let ready: Vec<Ready> =
            ready.into_iter().filter(|ready| self.restorer.ownership.is_live(&ready.lease)).collect();
        if self.stopping {
            return;
        }
        for Ready { lease, start, seen, lost } in ready {
            self.metrics.lost.inc_by(u64::try_from(lost).unwrap_or(0));
            self.held.insert(lease.partition.clone(), Held { epoch: lease.epoch, seen, committed: start });
            let poller = self.poller.clone();
            // It waits for the poll thread.
            self.steps.spawn_blocking(move || match poller.begin(&lease, start) {
                Ok(()) | Err(KafkaError::NotOwned { .. }) => Ok(Step::Begun),
                Err(error) => Err(doing("beginning a partition")(error)),
            });
        }
        self.fit_budget();
    }

    fn receive(&mut self, lease: Lease, records: Vec<Record>) {
        if self.stopping || self.held_mut(&lease).is_none() {
            debug!(%lease, records = records.len(), "records of a partition that is not held any more");
            return;
        }
        self.queue.push(lease, records);
    }

    fn revoke(&mut self, leases: &[Lease], lost: bool, done: RevokeDone) {
        info!(partitions = leases.len(), lost, "partitions go");
        for lease in leases {
            self.forget(lease);
        }
        if lost || self.commit.is_none() {
            done.done();
        } else {
            self.revokes.push(done);
        }
    }

    /// Drops everything of a lease that is over. Its uncommitted identities go with it.
    fn forget(&mut self, lease: &Lease) {
        if self.queue.forget(lease) {
            self.planner.forget_aside();
        }
        self.batch.forget(lease);
        if self.held_mut(lease).is_some() {
            self.held.remove(&lease.partition);
        }
    }

    fn held_mut(&mut self, lease: &Lease) -> Option<&mut Held> {
        self.held.get_mut(&lease.partition).filter(|held| held.epoch == lease.epoch)
    }
}

// === impl Worker: ending ===

impl Worker {
    /// What was planned is committed; what only waits is left to others.
    fn stop(&mut self) {
        self.stopping = true;
        self.poller.stop_intake();
        self.queue.clear();
        self.index = None;
        self.report.answered();
    }

    fn is_drained(&self) -> bool {
        self.stopping && self.commit.is_none() && self.batch.is_empty()
    }

    async fn leave(mut self) -> Result<(), Error> {
        self.steps.abort_all();
        self.events.leave().await;
        self.writer.close().await;
        self.report.end().await;
        info!("fan-out ended: everything planned is committed");
        Ok(())
    }
}

/// Waits until the snapshot has reached an end that was asked for now; as long as it takes.
async fn read_index(catalog: Catalog) {
    let limited: Limited<String> = Limited::new(Duration::from_secs(10));
    loop {
        match catalog.read_index().await {
            Ok(_end) => return,
            // The catalog's own task stops the process if it cannot go on; anything else passes.
            Err(error) => {
                if let Some(swallowed) = limited.permit("read index") {
                    error!(%error, swallowed, "the end of `control` is not known: planning waits");
                }
                tokio::time::sleep(INDEX_RETRY).await;
            }
        }
    }
}
