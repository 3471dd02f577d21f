//! The reports' part of the stage: records are looked at as they come. What they ask for is done in turn, one report of each
//! organization, and some at once, so that they go into one transaction: nobody waits until all of another's endpoints are disabled.
//! Records are resolved in their order, each once it is done.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::limited::Limited;
use chassis::status::Facts;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kafka::{Epoch, KafkaError, Lease, Ownership, PositionClaim, ReadingWatch, Restored};
use schemas::attempt::Lifecycle;
use schemas::ids::OrganizationId;
use schemas::record::{OutRecord, Record, TopicPartition};
use stage::{Entry, Measured, NextTurn, Now, Refused, Restoring, Turn, Waiting, Work, WorkError};
use tracing::warn;

use super::act::Acting;
use super::decide::{FirstLook, Report};
use crate::in_turn::InTurn;
use crate::operations::Operations;

/// Reports that are acted on at once: their writes wait together, and those that wait go into one transaction.
const AT_ONCE: usize = 64;
/// One line in this time says that records of a kind that is not known here are skipped.
const UNKNOWN_EVERY: Duration = Duration::from_secs(60);

/// The reader of reports, with what it remembers between two turns.
pub(super) struct ReportsWork {
    acting: Acting,
    /// What the operator is told.
    operations: Option<Operations>,
    /// By their numbers, in the order in which they came.
    queue: BTreeMap<u64, Looked>,
    /// The number of the next one.
    next: u64,
    /// Those that ask for something and were not begun.
    waiting: InTurn<Option<OrganizationId>, u64>,
    /// What is done now: the number, and the word for its outcome. What is under way for a lease that is over ends by itself: acting
    /// twice does no harm.
    under_way: FuturesUnordered<BoxFuture<'static, (u64, &'static str)>>,
    /// Since when, on the clock that counts suspension, ms.
    since: BTreeMap<u64, i64>,
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
    /// What a worker reports; `None` for a record that does not concern the control plane, or is done.
    report: Option<Report>,
    /// What the operator is told of it, with its progress.
    event: Option<OutRecord>,
}

// === impl ReportsWork ===

impl ReportsWork {
    pub(super) fn new(acting: Acting, operations: Option<Operations>) -> Self {
        Self {
            acting,
            operations,
            queue: BTreeMap::new(),
            next: 0,
            waiting: InTurn::default(),
            under_way: FuturesUnordered::new(),
            since: BTreeMap::new(),
            unknown: Limited::new(UNKNOWN_EVERY),
        }
    }

    fn add(&mut self, looked: Looked) {
        if let Some(report) = &looked.report {
            self.waiting.push(self.acting.organization(report), [self.next]);
        }
        self.queue.insert(self.next, looked);
        self.next += 1;
    }

    /// Begins what waits, as long as there is room for it.
    fn begin(&mut self, now: Now) {
        while self.under_way.len() < AT_ONCE
            && let Some((_, number)) = self.waiting.pop()
        {
            // Its lease may be over.
            let Some(looked) = self.queue.get_mut(&number) else { continue };
            let Some(report) = &looked.report else { continue };
            match self.acting.begin(report, now.wall_ms) {
                Some(acting) => {
                    self.since.insert(number, now.boot_ms);
                    self.under_way.push(acting.map(move |outcome| (number, outcome)).boxed());
                }
                None => looked.report = None,
            }
        }
    }

    /// What was under way is done.
    fn end(&mut self, number: u64, outcome: &'static str) {
        self.since.remove(&number);
        if let Some(report) = self.queue.get_mut(&number).and_then(|looked| looked.report.take()) {
            self.acting.count(&report, outcome);
        }
    }

    /// The first one, if it is done.
    fn pop_done(&mut self) -> Option<Looked> {
        let first = self.queue.first_entry()?;
        first.get().report.is_none().then(|| first.remove())
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

    /// Drops what waits of a lease that is over.
    fn drop_lease(&mut self, lease: &Lease) {
        self.queue.retain(|_, looked| looked.epoch != lease.epoch);
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
            self.add(Looked {
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
        if !turn.is_stopping {
            self.begin(now);
        }
        while !turn.is_stopping
            && !turn.is_full()
            && let Some(looked) = self.pop_done()
        {
            let at = (looked.offset, looked.timestamp_ms);
            let entry = Entry::new(looked.epoch, at, looked.size, now.boot_ms, ());
            turn.resolve(entry, &mut looked.event.into_iter().collect());
        }
        Ok(NextTurn::OnInput)
    }

    async fn input(&mut self) {
        match self.under_way.next().await {
            Some((number, outcome)) => self.end(number, outcome),
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
        let mut under_way = self.since.iter().filter_map(|(number, since)| Some((self.queue.get(number)?, since)));
        let (first, since_boot_ms) = under_way.next()?;
        let (partition, offset) = (first.partition.clone(), first.offset);
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

#[cfg(test)]
mod tests;
