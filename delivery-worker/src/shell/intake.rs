//! Intake: leases come and go, records become arrivals once the snapshot has reached what they were matched at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use catalog::CatalogError;
use chassis::{clock, tasks};
use kafka::{KafkaError, Lease, Poller, PollerEvent, Restored, RevokeDone, Writer};
use schemas::delivery::{Delivery, DeliveryError};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::Record;
use tokio::sync::mpsc;

use super::{Handover, Shell};
use crate::book::{Entry, LeaseKey};
use crate::engine::Arrival;
use crate::error::Error;

/// After a failed look at the end of `control`.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A step that ran beside the shell.
#[derive(Debug)]
pub(super) enum Step {
    /// A take-over.
    Restored(Result<Vec<Restored>, KafkaError>),
    /// Records flow, or could not be made to.
    Begun(Lease, Result<(), KafkaError>),
    /// The end of `control`, reached.
    Indexed(Result<i64, CatalogError>),
}

/// What came in and cannot be taken yet.
#[derive(Debug)]
pub(super) struct Intake {
    steps: mpsc::Sender<Step>,
    /// Batches that wait for the snapshot, in the order they came.
    stalled: VecDeque<Batch>,
    is_asking: bool,
}

#[derive(Debug)]
struct Batch {
    lease: LeaseKey,
    records: Vec<(Record, Result<Delivery, DeliveryError>)>,
    /// The snapshot's position must have reached this.
    position: i64,
}

impl Intake {
    pub(super) fn new(steps: mpsc::Sender<Step>) -> Self {
        Self { steps, stalled: VecDeque::new(), is_asking: false }
    }

    /// Whether something waits for the snapshot.
    pub(super) fn is_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }
}

impl Shell {
    pub(super) fn on_event(&mut self, event: PollerEvent) -> Result<(), Error> {
        match event {
            PollerEvent::Assigned { leases } => {
                self.take_over(leases);
                Ok(())
            }
            PollerEvent::Records { lease, records } => self.on_records(&lease, records),
            PollerEvent::Revoked { leases, lost, done } => {
                self.on_revoked(&leases, lost, done);
                Ok(())
            }
            PollerEvent::Failed { error } => Err(Error::kafka("reading deliveries")(error)),
        }
    }

    pub(super) fn on_step(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Restored(restored) => {
                for restored in restored.map_err(Error::kafka("taking over partitions"))? {
                    self.on_restored(&restored)?;
                }
                Ok(())
            }
            Step::Begun(_, Ok(())) => {
                self.latch.release();
                Ok(())
            }
            // It was revoked meanwhile.
            Step::Begun(_, Err(KafkaError::NotOwned { .. })) => Ok(()),
            Step::Begun(lease, Err(error)) => Err(Error::kafka(format!("reading {lease}"))(error)),
            Step::Indexed(Ok(end)) => {
                self.intake.is_asking = false;
                self.admit_stalled(Some(end))
            }
            Step::Indexed(Err(error)) => {
                self.intake.is_asking = false;
                tracing::warn!(%error, "the end of control is not known, intake waits");
                self.ask_index(ASK_AGAIN);
                Ok(())
            }
        }
    }

    fn take_over(&self, leases: Vec<Lease>) {
        let (writer, steps): (Writer, _) = (self.writer.clone(), self.intake.steps.clone());
        drop(tasks::spawn("delivery take-over", async move {
            let restored = writer.take_over(leases).await;
            report(&steps, Step::Restored(restored)).await;
        }));
    }

    fn on_restored(&mut self, restored: &Restored) -> Result<(), Error> {
        let lease = &restored.lease;
        if !self.poller.ownership().is_live(lease) {
            return Ok(());
        }
        let start = restored.start().map_err(Error::kafka(format!("finding where to start in {lease}")))?;
        if restored.recreated {
            tracing::warn!(partition = %lease.partition, offset = start, "the topic was created anew, reading from its start");
        }
        let lost = restored.lost();
        if lost > 0 {
            self.metrics.lost.inc_by(u64::try_from(lost).unwrap_or(0));
            tracing::error!(partition = %lease.partition, offset = start, lost, "retention deleted deliveries that were never read");
        }
        let key = self.book.open(lease.clone(), restored.window(start));
        tracing::debug!(partition = %lease.partition, offset = start, lease = key.0, "partition taken over");
        let (poller, steps, lease): (Poller, _, _) = (self.poller.clone(), self.intake.steps.clone(), lease.clone());
        drop(tasks::spawn("delivery begin", async move {
            let begun = lease.clone();
            // Seeking blocks; the join fails only when the runtime goes down.
            let result = tokio::task::spawn_blocking(move || poller.begin(&begun, start)).await;
            report(&steps, Step::Begun(lease, result.unwrap_or(Err(KafkaError::Closed)))).await;
        }));
        Ok(())
    }

    fn on_records(&mut self, lease: &Lease, records: Vec<Record>) -> Result<(), Error> {
        let Some(key) = self.book.key(lease) else { return Ok(()) };
        let mut position = 0;
        let records: Vec<_> = records
            .into_iter()
            .map(|record| {
                let delivery = Delivery::decode(&record);
                if let Ok(delivery) = &delivery {
                    // It carries the offset of the last control record its matcher had applied.
                    position = position.max(delivery.control_offset.saturating_add(1));
                }
                (record, delivery)
            })
            .collect();
        let batch = Batch { lease: key, records, position };
        let waits = self.intake.stalled.iter().any(|stalled| stalled.lease == key);
        if !waits && position <= self.catalog.position() {
            return self.admit(batch);
        }
        self.intake.stalled.push_back(batch);
        self.ask_index(Duration::ZERO);
        Ok(())
    }

    /// Admits what the snapshot has reached. With an `end` of `control` that is reached, everything: what claims to be matched
    /// later than the end is no reason to stand still for ever.
    pub(super) fn admit_stalled(&mut self, end: Option<i64>) -> Result<(), Error> {
        let position = self.catalog.position();
        let mut waiting: Vec<LeaseKey> = Vec::new();
        for batch in std::mem::take(&mut self.intake.stalled) {
            let is_reached = batch.position <= position || end.is_some();
            if !is_reached || waiting.contains(&batch.lease) {
                waiting.push(batch.lease);
                self.intake.stalled.push_back(batch);
                continue;
            }
            if batch.position > position {
                tracing::error!(
                    control.offset = batch.position,
                    control.end = end,
                    "deliveries name a control offset that does not exist, they are taken as they are"
                );
            }
            self.admit(batch)?;
        }
        Ok(())
    }

    fn admit(&mut self, batch: Batch) -> Result<(), Error> {
        let now_ms = clock::now_ms();
        let Some(lease) = self.book.lease(batch.lease).cloned() else { return Ok(()) };
        let (mut done, mut done_bytes) = (0, 0);
        for (record, delivery) in batch.records {
            let size = record.size();
            if !self.book.admit(batch.lease, record.offset) {
                done += 1;
                done_bytes += size;
                continue;
            }
            match delivery {
                Ok(delivery) => {
                    let arrival = Arrival {
                        lease: batch.lease,
                        offset: record.offset,
                        size,
                        timestamp_ms: record.timestamp_ms,
                        delivery: Arc::new(delivery),
                    };
                    self.engine.admit(arrival, now_ms);
                }
                Err(error) => self.reject(batch.lease, &lease, &record, &error, now_ms)?,
            }
        }
        if done > 0 {
            self.poller.release(&lease, done, done_bytes);
        }
        Ok(())
    }

    fn reject(
        &mut self,
        key: LeaseKey,
        lease: &Lease,
        record: &Record,
        error: &DeliveryError,
        now_ms: i64,
    ) -> Result<(), Error> {
        self.metrics.rejected.inc();
        tracing::warn!(
            partition = %lease.partition,
            offset = record.offset,
            %error,
            "a record of deliveries is none, it goes to rejected"
        );
        let outputs = self.reporter.rejected(&lease.partition, record, &error.to_string(), now_ms)?;
        let (offset, size, boot_ms) = (record.offset, record.size(), clock::boot_ms());
        self.book.resolve(Entry { lease: key, offset, size, outputs, boot_ms });
        Ok(())
    }

    fn on_revoked(&mut self, leases: &[Lease], lost: bool, done: RevokeDone) {
        let keys: Vec<LeaseKey> = leases.iter().filter_map(|lease| self.book.key(lease)).collect();
        self.intake.stalled.retain(|batch| !keys.contains(&batch.lease));
        if is_planted(PlantedBug::DropOnRevoke) {
            for key in &keys {
                self.book.forget_unresolved(*key);
            }
            self.engine.revoke(&keys, false);
        } else {
            self.engine.revoke(&keys, !lost);
        }
        if lost || keys.is_empty() {
            for key in keys {
                self.book.close(key);
            }
            done.done();
            return;
        }
        tracing::debug!(partitions = keys.len(), "partitions go, waiting for what is in flight");
        let until = clock::instant() + self.settings.handover_wait;
        self.handovers.push_back(Handover { keys, done, until });
    }

    fn ask_index(&mut self, after: Duration) {
        if self.intake.is_asking {
            return;
        }
        self.intake.is_asking = true;
        let (catalog, steps) = (self.catalog.clone(), self.intake.steps.clone());
        drop(tasks::spawn("delivery read-index", async move {
            tokio::time::sleep(after).await;
            report(&steps, Step::Indexed(catalog.read_index().await)).await;
        }));
    }
}

/// The shell may have ended: then nobody waits for the step any more.
async fn report(steps: &mpsc::Sender<Step>, step: Step) {
    if steps.send(step).await.is_err() {
        tracing::debug!("a step ended after the worker");
    }
}
