//! Planning what waits, a step of 10 ms at a time: each record that is covered becomes an entry, or goes back to where it waits.

use std::time::Instant;

use chassis::clock::instant;
use kafka::Lease;
use schemas::record::Record;
use stage::{Entry, Now, Turn};

use super::FanoutWork;
use crate::config::PLAN_STEP;
use crate::plan::{self, Note, Planned};

// === impl FanoutWork ===

impl FanoutWork {
    /// Plans what the snapshot covers until the batch is full or other tasks should have their turn. Returns whether it gave way.
    pub(super) fn plan(&mut self, turn: &mut Turn<'_, Note>) -> bool {
        let begin = instant();
        let is_over = || instant().saturating_duration_since(begin) > PLAN_STEP;
        if !self.planner.compile(is_over) {
            return true;
        }
        let (mut gives_way, mut has_moved, mut now) = (false, false, instant());
        while !turn.is_full()
            && !gives_way
            && let Some((lease, record)) = self.queue.pop()
        {
            if let Some(planned) = self.plan_record(turn.now, &lease, record, (now, &is_over)) {
                let (moved, gave_way) = self.place(turn, lease, planned);
                (has_moved, gives_way) = (has_moved || moved, gave_way);
            }
            now = instant();
            gives_way |= now.saturating_duration_since(begin) > PLAN_STEP;
        }
        if has_moved {
            self.planned_boot_ms = turn.now.boot_ms;
            for (reason, count) in self.planner.take_failed_filters() {
                self.metrics.filters_failed.with_label_values(&[reason]).inc_by(count);
            }
        } else if self.queue.front().is_none() {
            // Nothing waits but what is held, and that is not waited for.
            self.planned_boot_ms = turn.now.boot_ms;
        }
        gives_way
    }

    /// What becomes of a record; nothing of one that nobody plans, or not yet.
    fn plan_record(
        &mut self,
        at: Now,
        lease: &Lease,
        record: Record,
        (now, is_over): (Instant, &dyn Fn() -> bool),
    ) -> Option<Planned> {
        let seen = self.seen.get_mut(&lease.epoch)?;
        let (epoch, offset) = (lease.epoch, record.offset);
        self.planner.use_room(epoch);
        let written = self.cursors.of(epoch, offset);
        let is_begun = written.is_some() || self.planner.is_slice_under_way(epoch, offset);
        if !is_begun && self.intake.as_ref().is_some_and(|intake| intake.is_put_off(epoch)) {
            self.queue.hold_with(lease, record);
            return None;
        }
        let retried = self.retried.as_mut().and_then(|it| it.read(lease, &record, is_begun));
        let source = match &self.intake {
            None => self.retried.as_ref().zip(retried.as_ref()).and_then(|(it, of)| it.source(of, at.instant)),
            // Of one that is about to go, or to begin elsewhere, what was only read is nobody's.
            Some(intake) => Some(intake.turn_of(epoch, at.instant)?),
        };
        let (catalog, retried, now_ms) = (&self.catalog, retried.as_ref(), at.wall_ms);
        let written = written.or_else(|| retried?.written());
        let mut against = plan::Turn { catalog, seen, source, retried, written, now_ms, now, is_over };
        Some(self.planner.plan(&mut against, lease, record))
    }

    /// Puts what was planned where it goes on. Whether something came of it, and whether planning gives way.
    fn place(&mut self, turn: &mut Turn<'_, Note>, lease: Lease, planned: Planned) -> (bool, bool) {
        match planned {
            Planned::Done(note) => {
                self.resolve(turn, &lease, note);
                self.make_room();
                return (true, false);
            }
            Planned::Slice(note) => {
                self.begin_slice(turn, &lease, note);
                return (true, false);
            }
            Planned::Later(record) => {
                self.queue.step_back(&lease, record);
                // Some of its filters were asked, or a part of it is sorted: as long as it takes, it does not stand still.
                return (true, true);
            }
            Planned::Aside(record) => {
                self.queue.put_back(lease, record);
                return (false, true);
            }
            Planned::UnderWay(record) => self.queue.hold_with(&lease, record),
            Planned::NoRoom(record, candidates) => {
                self.queue.hold_with(&lease, record);
                if !self.crowded.iter().any(|(crowded, _)| *crowded == lease.epoch) {
                    self.crowded.push_back((lease.epoch, candidates));
                }
            }
            Planned::Held(record, why) => {
                let offset = record.offset;
                self.queue.hold_with(&lease, record);
                if let Some(intake) = &mut self.intake {
                    intake.fail(lease.epoch, offset, why, turn.now);
                }
            }
            Planned::Awaits(record, schema) => {
                self.queue.hold_with(&lease, record);
                if let Some(intake) = &mut self.intake {
                    intake.awaits(lease.epoch, schema, turn.now);
                } else if let Some(retried) = &mut self.retried {
                    retried.awaits(&lease, schema, turn.now.instant);
                }
            }
        }
        (false, false)
    }

    /// A record is planned.
    fn resolve(&mut self, turn: &mut Turn<'_, Note>, lease: &Lease, note: Note) {
        let at = (note.record.offset, note.record.timestamp_ms);
        let entry = Entry::new(lease.epoch, at, note.record.size(), turn.now.boot_ms, note);
        turn.resolve(entry, self.planner.outputs());
        if let Some(retried) = &mut self.retried {
            retried.passed(lease.epoch);
        }
    }

    /// A slice of a record is made: the rest of it waits for its transaction, and its partition for the rest.
    fn begin_slice(&mut self, turn: &mut Turn<'_, Note>, lease: &Lease, note: Note) {
        let at = (note.record.offset, note.record.timestamp_ms);
        self.queue.hold_with(lease, note.record.clone());
        let entry = Entry::beside(lease.epoch, at, turn.now.boot_ms, note);
        turn.resolve(entry, self.planner.outputs());
    }
}
