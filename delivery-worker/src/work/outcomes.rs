//! Attempts begin, and what comes of them.

use schemas::planted::{PlantedBug, is_planted};
use stage::Turn;

use super::books::LaneNote;
use super::ends::AttemptEnd;
use super::{DeliveryWork, Resolved};
use crate::attempts::Completed;
use crate::engine::{Dispatch, KeyEnd, Left};
use crate::error::Error;
use crate::settle::End;

impl DeliveryWork {
    /// Begins an attempt.
    pub(super) fn send(&mut self, dispatch: Dispatch, now_ms: i64) -> Result<(), Error> {
        if is_planted(PlantedBug::CommitBeforeSend)
            && let Some((_, arrival)) = self.engine.live().find(|(ticket, _)| *ticket == dispatch.ticket)
        {
            // The planted bug: done before it is sent.
            let left = Left { arrival: arrival.clone(), is_listed: false, end: End::Delivered };
            self.resolved.push(Resolved::new(&left.arrival, LaneNote::Done, self.ends.left(&left, now_ms)?));
        }
        self.attempts.begin(dispatch);
        Ok(())
    }

    /// Attempts that ended: their lanes learn from it, and their deliveries leave.
    pub(super) fn land(&mut self, turn: &mut Turn<'_, LaneNote>) -> Result<(), Error> {
        let mut ended = self.attempts.take_completed();
        // Where they are: each is some hundred bytes.
        for completed in &ended {
            if let Some(resolved) = self.outcome(completed, turn)? {
                self.put(resolved, turn);
            }
        }
        ended.clear();
        self.attempts.recycle(ended);
        Ok(())
    }

    /// Deliveries that leave without an attempt.
    pub(super) fn put_left(&mut self, turn: &mut Turn<'_, LaneNote>) -> Result<(), Error> {
        self.put_changes(turn);
        let (now_ms, wall_ms) = (self.engine_ms(turn.now), turn.now.wall_ms);
        for mut left in self.engine.take_left() {
            if left.end == End::PassedOn {
                left.end = self.ends.passed_on(&left.arrival.delivery, wall_ms);
                if left.end != End::PassedOn {
                    // It does not come back, and nobody waits for it. That is written before the end itself.
                    self.engine.ended_on_its_way(left.arrival.lease, &left.arrival.delivery, now_ms);
                    self.put_changes(turn);
                }
            }
            let resolved = Resolved::unsent(&left, self.ends.left(&left, wall_ms)?);
            self.put(resolved, turn);
        }
        Ok(())
    }

    /// Returns what is written about an attempt; `None` if the lease of its delivery is over.
    pub(super) fn outcome(
        &mut self,
        completed: &Completed,
        turn: &mut Turn<'_, LaneNote>,
    ) -> Result<Option<Resolved>, Error> {
        let (now_ms, wall_ms) = (self.engine_ms(turn.now), turn.now.wall_ms);
        let Completed { ticket, attempt, .. } = completed;
        self.ends.count(attempt);
        let verdict = &attempt.answer.verdict;
        let Some(landed) = self.engine.outcome(*ticket, verdict, completed.endpoint_ms(), now_ms) else {
            return Ok(None);
        };
        if is_planted(PlantedBug::CommitBeforeSend) {
            return Ok(None);
        }
        let AttemptEnd { outputs, retry } = self.ends.attempted(&landed, completed, wall_ms)?;
        let end = self.engine.end_of_key(&landed.arrival, retry, now_ms);
        if end != KeyEnd::Untold {
            // Before the end itself.
            self.put_changes(turn);
        }
        Ok(Some(Resolved::sent(&landed.arrival, landed.is_listed, end.held(), outputs)))
    }
}
