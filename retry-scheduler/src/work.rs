//! The scheduler's part of the stage: what is read waits in its line, what is ready moves on. Pure.
//!
//! ```text
//! records --> lines (per partition, by when they are ready) --> promote --> outbox
//! ```

use std::time::Duration;

use chassis::status::Facts;
use kafka::{Lease, Ownership, ReadingWatch, Restored};
use schemas::record::{OutRecord, Record};
use schemas::rejected::RejectReason;
use schemas::status::RetryHealth;
use schemas::topics::Topics;
use stage::{Entry, Measured, NextTurn, Now, Refusal, Refused, Restoring, Turn, Waiting, Work, WorkError};

use crate::metrics::RetryMetrics;
use crate::promote::{self, Move, Place, Promoter};
use crate::tiers::Tiers;
use crate::wait::Lines;

/// A jump of the wall clock goes unnoticed for at most this long.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The retry scheduler, with what it remembers between two turns.
#[derive(Debug)]
pub(crate) struct RetryWork {
    pub(crate) topics: Topics,
    pub(crate) tiers: Tiers,
    pub(crate) promoter: Promoter,
    pub(crate) metrics: RetryMetrics,
    pub(crate) lines: Lines,
    /// Tiers up to this delay are always fetched.
    pub(crate) look_ahead_ms: i64,
    /// When a record was last moved, on the clock that counts suspension, ms.
    pub(crate) moved_boot_ms: i64,
    /// Outputs of one record; its room is used again.
    pub(crate) outputs: Vec<OutRecord>,
}

/// A record that moves with the next transaction.
#[derive(Debug)]
pub(crate) struct Moving {
    record: Record,
    moved: Move,
    /// When it could have moved, Unix ms; none for a record that is not a valid delivery.
    ready_ms: Option<i64>,
}

impl Work for RetryWork {
    const ROLE: &'static str = "retry scheduler";
    type State = ();
    type Note = Moving;

    fn restore(&self, found: Vec<(Restored, i64)>, _ownership: Ownership, _watch: ReadingWatch) -> Restoring<()> {
        Box::pin(std::future::ready(Ok(found.into_iter().map(|(found, _)| (found.lease, ())).collect())))
    }

    fn opened(&mut self, lease: &Lease, (): (), _now: Now) {
        let delay_ms = self.tiers.delay_ms(&lease.partition.topic);
        let waits = (delay_ms, self.tiers.rest_ms(delay_ms));
        self.lines.open(lease, waits, delay_ms > self.look_ahead_ms);
    }

    fn records(&mut self, lease: &Lease, records: Vec<Record>, _now: Now) -> Result<(), WorkError> {
        self.lines.push(lease, records);
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn<'_, Moving>) -> Result<NextTurn, WorkError> {
        let now = turn.now;
        while !turn.is_stopping
            && !turn.is_full()
            && let Some((lease, waiting)) = self.lines.take(now.wall_ms)
        {
            let moved = self.promoter.promote(&waiting, &lease.partition, now.wall_ms, &mut self.outputs);
            let ready_ms = waiting.what.is_ok().then_some(waiting.ready_ms);
            let record = waiting.record;
            let (at, size) = ((record.offset, record.timestamp_ms), record.size());
            let entry = Entry::new(lease.epoch, at, size, now.boot_ms, Moving { record, moved, ready_ms });
            turn.resolve(entry, &mut self.outputs);
            self.moved_boot_ms = now.boot_ms;
        }
        for (lease, fetching) in self.lines.fetching(now.wall_ms) {
            turn.fetch(lease, fetching);
        }
        Ok(self.next_turn(turn.is_stopping || turn.is_full(), now))
    }

    fn replace(&mut self, refused: Refused<'_, Moving>, now: Now) -> Result<Vec<OutRecord>, WorkError> {
        let Refused { lease, note, refusals, before, .. } = refused;
        // The second time the rejection itself was refused: what identifies the record is left out.
        let bare = Record { key: None, value: None, headers: Default::default(), ..note.record.clone() };
        let record = if before == 0 { &note.record } else { &bare };
        let reason = match &refusals[0] {
            Refusal::Unwritable { reason, .. } | Refusal::TooSlow { reason } => reason,
        };
        let mut outputs = Vec::with_capacity(2);
        let place = Place { record, partition: &lease.partition, now_ms: now.wall_ms };
        promote::reject(&self.topics, place, RejectReason::Unwritable, reason, &mut outputs);
        note.moved = Move::Rejected;
        Ok(outputs)
    }

    fn committed<'a>(&mut self, entries: impl Iterator<Item = &'a Entry<Moving>>, now: Now) {
        for Entry { note, .. } in entries {
            self.metrics.count(note.moved);
            if let Some(ready_ms) = note.ready_ms {
                self.metrics.lateness.observe(seconds(now.wall_ms - ready_ms));
            }
        }
    }

    fn revoking(&mut self, leases: &[Lease]) {
        for lease in leases {
            self.lines.close(lease);
        }
    }

    fn closed(&mut self, lease: &Lease) {
        self.lines.close(lease);
    }

    fn waiting(&self, now: Now) -> Option<Waiting> {
        let (partition, head) = self.lines.first_ready()?;
        let overdue_ms = now.wall_ms - head.ready_ms;
        (overdue_ms > 0).then(|| Waiting {
            reason: "its move to the next topic",
            partition: partition.clone(),
            offset: head.record.offset,
            since_boot_ms: self.moved_boot_ms.max(now.boot_ms - overdue_ms),
        })
    }

    fn facts(&mut self, measured: &Measured, now: Now) -> Facts {
        let (records, bytes) = self.lines.in_memory();
        self.metrics.held_records.set(gauge(records));
        self.metrics.held_bytes.set(gauge(bytes));
        let first_ready_ms = self.lines.first_ready().map(|(_, head)| head.ready_ms);
        let overdue_ms = first_ready_ms.map_or(0, |ready_ms| now.wall_ms.saturating_sub(ready_ms)).max(0);
        self.metrics.overdue.set(seconds(overdue_ms));
        for (topic, behind) in &measured.behind {
            self.metrics.waiting.with_label_values(&[topic.as_str()]).set(*behind);
        }
        let waiting =
            measured.behind.iter().map(|(topic, behind)| (topic.clone(), u64::try_from(*behind).unwrap_or(0)));
        Facts {
            partitions: u32::try_from(measured.partitions).unwrap_or(u32::MAX),
            live: measured.live as u64,
            retry: Some(RetryHealth {
                waiting: waiting.collect(),
                overdue_ms,
                last_commit_ms: measured.last_commit_ms,
            }),
            ..Facts::default()
        }
    }
}

impl RetryWork {
    /// When the next head is ready, as far as this batch has room for it.
    fn next_turn(&self, is_blocked: bool, now: Now) -> NextTurn {
        let Some((_, head)) = self.lines.first_ready().filter(|_| !is_blocked) else { return NextTurn::OnInput };
        let wait_ms = u64::try_from(head.ready_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
        NextTurn::After(Duration::from_millis(wait_ms).min(LONGEST_WAIT))
    }
}

/// Milliseconds as seconds; 0 for a time that is still ahead.
fn seconds(ms: i64) -> f64 {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
