//! The fan-out's part of the stage: records wait until the snapshot covers them, are planned, and go to the outbox.
//!
//! ```text
//! records --> queue --read-index covers them--> plan (gives way after 10 ms) --> outbox
//! ```
//!
//! While one batch commits, the next one is planned.

mod planning;
mod refused;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use catalog::Catalog;
use chassis::pending::{Pending, finished};
use chassis::status::Facts;
use kafka::{Claimed, Epoch, KafkaError, Lease, Output, Ownership, PositionClaim, ReadingWatch, Restored, SliceCursor};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::{OutRecord, Record};
use stage::{Batch, Entry, Measured, NextTurn, Now, Refused, Restoring, Turn, Waiting, Work, WorkError};

use crate::cursors::Cursors;
use crate::deduplicate::Seen;
use crate::expand::Expander;
use crate::intake::{SourcePlace, SourcesIntake};
use crate::metrics::FanoutMetrics;
use crate::plan::{EventVerdict, Note, Planner};
use crate::queue::Queue;
use crate::read_index::read_index;
use crate::remember::add_seen;
use crate::restore::Restorer;
use crate::retried::RetriedIntake;
use crate::status::{Pulse, Seconds};

/// The fan-out, with what it remembers between two turns.
pub(crate) struct FanoutWork {
    pub(crate) catalog: Catalog,
    pub(crate) metrics: FanoutMetrics,
    pub(crate) restorer: Restorer,
    pub(crate) planner: Planner,
    pub(crate) expander: Expander,
    /// How many partitions `seen` has.
    pub(crate) seen_partitions: i32,
    /// What is known of sources, in the intake that reads them; the other one reads `events`.
    pub(crate) intake: Option<SourcesIntake>,
    /// What is known for records that are retried, in the intake of `events`.
    pub(crate) retried: Option<RetriedIntake>,
    /// Identities that each open lease accepted inside the window.
    pub(crate) seen: BTreeMap<Epoch, Seen>,
    /// How far the first record of each open lease is written, where a part of it is.
    pub(crate) cursors: Cursors,
    pub(crate) queue: Queue,
    /// Leases whose next event waits for room for so many candidates.
    pub(crate) crowded: VecDeque<(Epoch, usize)>,
    /// The question for the end of `control` that is under way.
    pub(crate) index: Pending<()>,
    /// The question was answered since the last turn.
    pub(crate) is_answered: bool,
    pub(crate) pulse: Pulse,
    /// When a record was planned last, on the clock that counts suspension, ms.
    pub(crate) planned_boot_ms: i64,
}

/// What a partition begins with.
#[derive(Debug)]
pub(crate) struct BegunWith {
    pub(crate) seen: Seen,
    /// Where it begins, if it is of a source.
    pub(crate) place: Option<SourcePlace>,
    /// The offset it begins at, and how far that record is written, if a part of it is.
    pub(crate) written: Option<(i64, SliceCursor)>,
}

impl Work for FanoutWork {
    const ROLE: &'static str = "fan-out worker";
    type State = BegunWith;
    type Note = Note;

    fn begins(&self, found: &Restored, now: Now) -> Result<(i64, Option<PositionClaim>), KafkaError> {
        self.intake.as_ref().map_or_else(|| Ok((found.start()?, None)), |intake| intake.begins(found, now))
    }

    fn held(&mut self, lease: &Lease, why: &KafkaError, now: Now) {
        if let Some(intake) = &mut self.intake {
            intake.hold(lease, why, now);
        }
    }

    fn restore(&self, found: Vec<(Restored, i64)>, ownership: Ownership, watch: ReadingWatch) -> Restoring<BegunWith> {
        let restorer = self.restorer.clone();
        let of_sources = found.iter().filter(|_| self.intake.is_some());
        let mut sources: BTreeMap<Epoch, SourcePlace> =
            of_sources.map(|(found, start)| (found.lease.epoch, SourcePlace::of(found, *start))).collect();
        let goes_on = |(found, start): &(Restored, i64)| Some((found.lease.epoch, (*start, found.goes_on(*start)?)));
        let mut written: BTreeMap<Epoch, (i64, SliceCursor)> = found.iter().filter_map(goes_on).collect();
        if is_planted(PlantedBug::ForgottenCursor) {
            written.clear();
        }
        let places = found.into_iter().map(|(found, start)| (found.lease, start)).collect();
        Box::pin(async move {
            let restored = restorer.restore(places, ownership, watch).await?;
            let with_place = |(lease, seen): (Lease, Seen)| {
                let (place, written) = (sources.remove(&lease.epoch), written.remove(&lease.epoch));
                (lease, BegunWith { seen, place, written })
            };
            Ok(restored.into_iter().map(with_place).collect())
        })
    }

    fn opened(&mut self, lease: &Lease, with: BegunWith, now: Now) {
        self.seen.insert(lease.epoch, with.seen);
        if let Some((offset, cursor)) = with.written {
            let (partition, deliveries) = (&lease.partition, cursor.count);
            tracing::info!(%partition, offset, deliveries, "the event at this offset is written in part, and goes on");
            self.cursors.opened(lease.epoch, offset, cursor);
        }
        if let (Some(intake), Some(place)) = (&mut self.intake, with.place) {
            intake.opened(lease, place, &mut self.queue, now);
        }
    }

    fn records(&mut self, lease: &Lease, records: Vec<Record>, _now: Now) -> Result<(), WorkError> {
        self.queue.push(lease.clone(), records);
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn<'_, Note>) -> Result<NextTurn, WorkError> {
        if turn.is_stopping {
            return Ok(NextTurn::OnInput);
        }
        if let Some(intake) = &mut self.intake {
            intake.note_slices(self.planner.slices_under_way().chain(self.cursors.leases()));
            for epoch in intake.follow(turn, &mut self.queue) {
                self.planner.forget_event(epoch);
                // What waited for room is judged anew with the rest.
                if self.crowded.iter().any(|(crowded, _)| *crowded == epoch) {
                    self.crowded.retain(|(crowded, _)| *crowded != epoch);
                    self.queue.release_epoch(epoch);
                }
            }
        }
        if std::mem::take(&mut self.is_answered) {
            self.queue.answered();
            self.pulse.asked = None;
        }
        if let Some(retried) = &mut self.retried {
            retried.follow(turn.now.instant, &mut self.queue);
        }
        self.make_room();
        let gave_way = self.plan(turn);
        if self.index.is_none() && !turn.is_full() && self.queue.ask() {
            self.index = Some(Box::pin(read_index(self.catalog.clone(), Arc::clone(&self.pulse.failed_boot_ms))));
            self.pulse.asked = Some(turn.now.instant);
        }
        let has_news = self.intake.as_ref().is_some_and(SourcesIntake::has_news);
        Ok(if gave_way || has_news { NextTurn::AtOnce } else { NextTurn::OnInput })
    }

    async fn input(&mut self) {
        let Self { intake, retried, index, is_answered, .. } = self;
        let changed = async {
            match (intake, retried) {
                (Some(intake), _) => intake.changed().await,
                (None, Some(retried)) => retried.answered().await,
                (None, None) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = finished(index) => *is_answered = true,
            () = changed => {}
        }
    }

    fn replace(&mut self, refused: Refused<'_, Note>, now: Now) -> Result<Vec<OutRecord>, WorkError> {
        Ok(self.replaced(refused, now))
    }

    fn seal(&mut self, batch: &Batch<Note>, outputs: &mut Vec<Output>) -> Vec<Claimed> {
        add_seen(&self.expander, self.seen_partitions, batch, outputs);
        let positions = self.intake.as_mut().map(|intake| {
            for entry in batch.entries() {
                intake.judged(entry.epoch, &entry.note);
            }
            intake.claims(batch.parts())
        });
        self.cursors.claim(batch, positions.unwrap_or_default())
    }

    fn unsealed(&mut self, _batch: &Batch<Note>) {
        if let Some(intake) = &mut self.intake {
            intake.unsealed();
        }
    }

    fn committed<'a>(&mut self, entries: impl Iterator<Item = &'a Entry<Note>>, _now: Now) {
        for entry in entries {
            self.metrics.count(entry.note.verdict);
            self.cursors.committed(entry);
            if matches!(entry.note.verdict, EventVerdict::Sliced(_)) {
                self.next_slice(entry.epoch);
                continue;
            }
            if let Some(intake) = &mut self.intake {
                intake.count(entry.epoch, &entry.note);
            }
        }
        if let Some(intake) = &mut self.intake {
            intake.written();
        }
    }

    fn revoking(&mut self, leases: &[Lease]) {
        for lease in leases {
            self.forget_queued(lease);
            self.planner.forget_slices(lease, false);
        }
    }

    fn closed(&mut self, lease: &Lease) {
        self.forget_queued(lease);
        self.planner.forget_slices(lease, true);
        self.cursors.closed(lease.epoch);
        self.crowded.retain(|(epoch, _)| *epoch != lease.epoch);
        self.seen.remove(&lease.epoch);
        if let Some(retried) = &mut self.retried {
            retried.passed(lease.epoch);
        }
        if let Some(intake) = &mut self.intake {
            intake.closed(lease);
        }
    }

    fn stopping(&mut self, _now: Now) {
        self.queue.clear();
        self.index = None;
        self.pulse.asked = None;
    }

    fn waiting(&self, now: Now) -> Option<Waiting> {
        let (lease, offset) = self.queue.front()?;
        let asked = self.pulse.asked.map(|asked| now.instant.saturating_duration_since(asked));
        let asked_ms = asked.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let reason = if asked_ms > 0 { "the end of `control`" } else { "being matched" };
        let (partition, since_boot_ms) = (lease.partition.clone(), self.pulse.waits_since(self.planned_boot_ms));
        Some(Waiting { reason, partition, offset, since_boot_ms })
    }

    fn facts(&mut self, measured: &Measured, now: Now) -> Facts {
        self.metrics.ids.set(gauge(self.restorer.identities.len()));
        self.metrics.evicted.inc_by(self.restorer.identities.take_evicted());
        let lag_seconds = match &mut self.intake {
            None => &self.metrics.lag_seconds,
            Some(intake) => {
                let (partitions, topics) = intake.size();
                self.metrics.source_topics.set(gauge(topics));
                self.metrics.source_partitions.set(gauge(partitions));
                let told = intake.tell(&self.queue, measured, now);
                self.metrics.source_failing.set(gauge(told.failing));
                self.metrics.source_waiting.set(gauge(told.waiting));
                self.metrics.registries(&told.registries_up);
                &self.metrics.source_lag_seconds
            }
        };
        let oldest_ms = [self.queue.oldest_ms(), self.planner.oldest_sliced_ms(), measured.oldest_timestamp_ms]
            .into_iter()
            .flatten()
            .min();
        let lag_ms = oldest_ms.map_or(0, |oldest_ms| (now.wall_ms - oldest_ms).max(0));
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
        lag_seconds.set(lag_ms as f64 / 1_000.0);
        // Sources have as many topics as others please: how far each is stands on `status`.
        for (topic, behind) in measured.behind.iter().filter(|_| self.intake.is_none()) {
            self.metrics.lag_records.with_label_values(&[topic.as_str()]).set(*behind);
        }
        let seconds = Seconds {
            partitions: measured.partitions,
            live: measured.live,
            lag_records: measured.behind.values().sum(),
            lag_ms,
            matched: self.metrics.matched.get(),
            last_commit_ms: measured.last_commit_ms,
            position: self.catalog.position(),
        };
        self.pulse.facts(seconds, now.instant)
    }
}

impl FanoutWork {
    /// A slice of a lease is committed: the next one may be made.
    fn next_slice(&mut self, epoch: Epoch) {
        self.planner.slice_committed(epoch);
        self.queue.release_epoch(epoch);
    }

    /// Lets the event go on that waits longest for room for its candidates, if there is such now.
    fn make_room(&mut self) {
        let has_room = |(epoch, candidates): &mut (Epoch, usize)| self.planner.keep_room(*epoch, *candidates);
        if let Some((epoch, _)) = self.crowded.pop_front_if(has_room) {
            self.queue.release_epoch(epoch);
        }
    }

    fn forget_queued(&mut self, lease: &Lease) {
        if self.queue.forget(lease) {
            self.planner.forget_aside();
        }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
