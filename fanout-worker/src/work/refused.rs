//! What is written instead of what Kafka can never take: a rejection in place of an event, a dead letter in place of a delivery of which
//! others are written.

use schemas::record::OutRecord;
use schemas::rejected::RejectReason;
use sources::Rejection;
use stage::{Now, Refusal, Refused};

use super::FanoutWork;
use crate::expand::Place;
use crate::plan::{EventVerdict, Note};
use crate::retried::RetriedTurn;

impl FanoutWork {
    /// What is written instead of a record's outputs.
    pub(super) fn replaced(&mut self, refused: Refused<'_, Note>, now: Now) -> Vec<OutRecord> {
        if matches!(refused.note.verdict, EventVerdict::Sliced(_)) {
            return self.replaced_slice(refused, now);
        }
        let Refused { lease, note, refusals, before, .. } = refused;
        let retried = self.retried.as_mut().and_then(|it| it.read(lease, &note.record));
        let place = match &retried {
            None => Place { record: &note.record, partition: &lease.partition, now_ms: now.wall_ms, retries: 0 },
            Some(retried) => retried.place(now.wall_ms),
        };
        let route = self.intake.as_ref().and_then(|intake| intake.route_of(lease.epoch));
        let route = route.or_else(|| retried.as_ref().and_then(RetriedTurn::route));
        let of = self.planner.whose(&self.catalog, place, route, retried.as_ref());
        let mut outputs = Vec::with_capacity(2);
        let (reason, detail) = match &refusals[0] {
            Refusal::Unwritable { reason, .. } => (RejectReason::Unwritable, reason),
            Refusal::TooSlow { reason } => (RejectReason::TooManyMatches, reason),
        };
        if before == 0 {
            self.expander.rejection(place, of, &Rejection::new(reason, detail.clone()), &mut outputs);
        } else {
            self.expander.bare_rejection(place, of, detail, &mut outputs);
        }
        note.verdict = EventVerdict::Rejected(reason);
        // The event was not accepted after all: when it comes again it is no repeat.
        if let Some((id, _)) = note.id.take()
            && let Some(seen) = self.seen.get_mut(&lease.epoch)
        {
            seen.remove(&id);
        }
        outputs
    }

    /// What is written instead of a slice, some of which can never be written: nothing if it is the first, then its event is rejected.
    fn replaced_slice(&mut self, refused: Refused<'_, Note>, now: Now) -> Vec<OutRecord> {
        let Refused { lease, offset, note, outputs, refusals, .. } = refused;
        let of = |at: usize| refusals.iter().find(|it| matches!(it, Refusal::Unwritable { index, .. } if *index == at));
        if let Some(Refusal::Unwritable { reason, .. }) = refusals.first()
            && self.planner.refuse_slice(lease.epoch, reason)
        {
            note.verdict = EventVerdict::Sliced(None);
            return Vec::new();
        }
        let place = Place { record: &note.record, partition: &lease.partition, now_ms: now.wall_ms, retries: 0 };
        let mut replaced = Vec::with_capacity(outputs.len() + refusals.len());
        for (at, output) in outputs.into_iter().enumerate() {
            let Some(Refusal::Unwritable { reason, .. }) = of(at) else {
                replaced.push(output);
                continue;
            };
            let detail = format!("kafka never takes this delivery to {reason}");
            tracing::error!(partition = %lease.partition, offset, detail, "others of its event are written, so it dies alone");
            self.expander.bury(place, output, &detail, &mut replaced);
        }
        replaced
    }
}
