//! The reports' part of the stage: records are looked at as they come, what they ask for is done one after the other.

use std::collections::VecDeque;
use std::time::Duration;

use chassis::limited::Limited;
use chassis::status::Facts;
use kafka::{Epoch, KafkaError, Lease, Ownership, PositionClaim, ReadingWatch, Restored};
use schemas::attempt::Lifecycle;
use schemas::record::{OutRecord, Record, TopicPartition};
use stage::{Entry, Measured, NextTurn, Now, Refused, Restoring, Turn, Waiting, Work, WorkError};
use tracing::warn;

use super::act::{Acting, ActingOn};
use super::decide::{FirstLook, Report};
use crate::operations::Operations;

/// One line in this time says that records of a kind that is not known here are skipped.
const UNKNOWN_EVERY: Duration = Duration::from_secs(60);

/// The reader of reports, with what it remembers between two turns.
pub(super) struct ReportsWork {
    acting: Acting,
    /// What the operator is told.
    operations: Option<Operations>,
    queue: VecDeque<Looked>,
    /// What the front of the queue asked for, and since when, on the clock that counts suspension, ms.
    under_way: Option<(ActingOn, i64)>,
    /// The outcome of that write, once it is known.
    outcome: Option<&'static str>,
    /// The line that says that a newer build wrote what is not known here.
    unknown: Limited<()>,
}

/// A record that was looked at.
struct Looked {
    epoch: Epoch,
    partition: TopicPartition,
    offset: i64,
    timestamp_ms: i64,
    size: usize,
    /// What a worker reports; `None` for a record that does not concern the control plane.
    report: Option<Report>,
    /// What the operator is told of it, with its progress.
    event: Option<OutRecord>,
}

// === impl ReportsWork ===

impl ReportsWork {
    pub(super) fn new(acting: Acting, operations: Option<Operations>) -> Self {
        let unknown = Limited::new(UNKNOWN_EVERY);
        Self { acting, operations, queue: VecDeque::new(), under_way: None, outcome: None, unknown }
    }

    /// Begins what the front of the queue asks for. Returns whether it is done.
    fn is_front_done(&mut self, now: Now) -> bool {
        let Some(report) = self.queue.front().and_then(|looked| looked.report.as_ref()) else { return true };
        if let Some(outcome) = self.outcome.take() {
            self.acting.count(report, outcome);
            return true;
        }
        if self.under_way.is_some() {
            return false;
        }
        self.under_way = self.acting.begin(report, now.wall_ms).map(|acting| (acting, now.boot_ms));
        self.under_way.is_none()
    }

    /// A record that concerns the control plane: the first bytes of any other say that it does not.
    fn read<'a>(&self, record: &'a Record, lease: &Lease) -> Option<Lifecycle<'a>> {
        let value = record.value.as_deref()?;
        match FirstLook::of(value) {
            FirstLook::Passed => None,
            FirstLook::Decoded => decode(value, record.offset, lease),
            FirstLook::Unknown => {
                self.acting.skipped();
                if let Some(swallowed) = self.unknown.permit(&()) {
                    let (partition, offset) = (&lease.partition, record.offset);
                    warn!(%partition, offset, swallowed, "a newer build wrote lifecycle records of a kind that is not known here: they are skipped");
                }
                None
            }
        }
    }

    /// Drops what waits of a lease that is over. A write that is under way for it is let go: acting twice does no harm.
    fn drop_lease(&mut self, lease: &Lease) {
        if self.queue.front().is_some_and(|front| front.epoch == lease.epoch) {
            (self.under_way, self.outcome) = (None, None);
        }
        self.queue.retain(|looked| looked.epoch != lease.epoch);
    }
}

impl Work for ReportsWork {
    const ROLE: &'static str = "reader of worker reports";
    type State = ();
    type Note = ();

    /// Reading old reports again is harmless, so a lost position is no reason to stop, unlike elsewhere (rule W8).
    fn begins(&self, found: &Restored, _now: Now) -> Result<(i64, Option<PositionClaim>), KafkaError> {
        Ok((found.start().unwrap_or(found.log_start), None))
    }

    fn restore(&self, found: Vec<(Restored, i64)>, _ownership: Ownership, _watch: ReadingWatch) -> Restoring<()> {
        Box::pin(std::future::ready(Ok(found.into_iter().map(|(found, _)| (found.lease, ())).collect())))
    }

    fn opened(&mut self, _lease: &Lease, (): (), _now: Now) {}

    fn records(&mut self, lease: &Lease, records: Vec<Record>, now: Now) -> Result<(), WorkError> {
        for record in records {
            let lifecycle = self.read(&record, lease);
            let event = self
                .operations
                .as_ref()
                .zip(lifecycle.as_ref())
                .and_then(|(operations, lifecycle)| self.acting.tell_operator(operations, lifecycle, now.wall_ms));
            self.queue.push_back(Looked {
                epoch: lease.epoch,
                partition: lease.partition.clone(),
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                size: record.size(),
                report: lifecycle.as_ref().and_then(Report::of),
                event,
            });
        }
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn<'_, ()>) -> Result<NextTurn, WorkError> {
        let now = turn.now;
        while !turn.is_stopping && !turn.is_full() && !self.queue.is_empty() && self.is_front_done(now) {
            let Some(looked) = self.queue.pop_front() else { break };
            let at = (looked.offset, looked.timestamp_ms);
            let entry = Entry::new(looked.epoch, at, looked.size, now.boot_ms, ());
            turn.resolve(entry, &mut looked.event.into_iter().collect());
        }
        Ok(NextTurn::OnInput)
    }

    async fn input(&mut self) {
        match &mut self.under_way {
            Some((acting, _)) => {
                self.outcome = Some(acting.as_mut().await);
                self.under_way = None;
            }
            None => std::future::pending().await,
        }
    }

    /// An operational event that Kafka never takes is not worth a stop: whoever reads the log hears of it.
    fn replace(&mut self, refused: Refused<'_, ()>, _now: Now) -> Result<Vec<OutRecord>, WorkError> {
        let Refused { lease, offset, refusals, .. } = refused;
        warn!(partition = %lease.partition, offset, ?refusals, "kafka does not take an operational event; it is left out");
        Ok(Vec::new())
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

    fn waiting(&self, _now: Now) -> Option<Waiting> {
        let (front, (_, since_boot_ms)) = (self.queue.front()?, self.under_way.as_ref()?);
        let (partition, offset) = (front.partition.clone(), front.offset);
        let reason = "`control` to take what a worker's report asks for";
        Some(Waiting { reason, partition, offset, since_boot_ms: *since_boot_ms })
    }

    fn facts(&mut self, measured: &Measured, _now: Now) -> Facts {
        Facts {
            partitions: u32::try_from(measured.partitions).unwrap_or(u32::MAX),
            live: measured.live as u64,
            ..Facts::default()
        }
    }
}

fn decode<'a>(value: &'a [u8], offset: i64, lease: &Lease) -> Option<Lifecycle<'a>> {
    match Lifecycle::decode(value) {
        Ok(lifecycle) => Some(lifecycle),
        Err(error) => {
            warn!(partition = %lease.partition, offset, %error, "a lifecycle record cannot be decoded");
            None
        }
    }
}
