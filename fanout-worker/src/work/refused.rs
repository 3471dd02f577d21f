//! What is written instead of what Kafka can never take: a rejection in place of an event, a dead letter in place of a delivery of which
//! others are written, a shorter end in place of one that tells too much of an event that everyone has; and half of a slice that the
//! cluster is too slow for.

use bytes::Bytes;
use schemas::attempt::{EventFacts, Lifecycle};
use schemas::header;
use schemas::ids::SubscriptionId;
use schemas::record::OutRecord;
use schemas::rejected::RejectReason;
use sources::Rejection;
use stage::{Now, Refusal, Refused};
use uuid::Uuid;

use super::FanoutWork;
use crate::expand::{Place, RejectedOf};
use crate::plan::{EventVerdict, Note};
use crate::retried::RetriedTurn;

impl FanoutWork {
    /// What is written instead of a record's outputs.
    pub(super) fn replaced(&mut self, refused: Refused<'_, Note>, now: Now) -> Vec<OutRecord> {
        if matches!(refused.note.verdict, EventVerdict::Sliced(_)) {
            return self.replaced_slice(refused, now);
        }
        if matches!(refused.note.verdict, EventVerdict::Matched(_)) && refused.note.written.is_some() {
            return shorter_end(refused);
        }
        let Refused { lease, note, refusals, before, .. } = refused;
        let retried = self.retried.as_mut().and_then(|it| it.read(lease, &note.record, note.written.is_some()));
        let place = match &retried {
            None => Place { record: &note.record, partition: &lease.partition, now_ms: now.wall_ms, retries: 0 },
            Some(retried) => retried.place(now.wall_ms),
        };
        let route = self.intake.as_ref().and_then(|intake| intake.route_of(lease.epoch));
        let route = route.or_else(|| retried.as_ref().and_then(RetriedTurn::route));
        let of = self.planner.whose(&self.catalog, place, route, retried.as_ref());
        let of = RejectedOf { written: note.written, ..of };
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
        let Refused { lease, offset, note, mut outputs, refusals, .. } = refused;
        if let Some(Refusal::TooSlow { reason }) = refusals.first() {
            let Some(cursor) = self.planner.shorten_slice(lease.epoch) else { return outputs };
            note.verdict = EventVerdict::Sliced(Some(cursor));
            let is_beyond = |output: &OutRecord| receiver(output).is_some_and(|id| id > cursor.last);
            if let Some(first) = outputs.iter().position(is_beyond) {
                outputs.truncate(first);
            }
            tracing::warn!(
                partition = %lease.partition, offset, written = cursor.count, reason,
                "the cluster is too slow for a slice of an event: half of it is written now, and none of its later ones has more"
            );
            return outputs;
        }
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

/// What is told of an event that everyone has: that it was matched, and by how many; where Kafka never takes that either, nothing.
fn shorter_end(refused: Refused<'_, Note>) -> Vec<OutRecord> {
    let Refused { lease, offset, outputs, refusals, before, .. } = refused;
    let of = |at| {
        refusals.iter().find_map(|refusal| match refusal {
            Refusal::Unwritable { index, reason } if *index == at => Some(reason),
            Refusal::Unwritable { .. } => None,
            Refusal::TooSlow { reason } => Some(reason),
        })
    };
    let mut kept = Vec::with_capacity(outputs.len());
    for (at, output) in outputs.into_iter().enumerate() {
        let Some(reason) = of(at) else {
            kept.push(output);
            continue;
        };
        tracing::error!(
            partition = %lease.partition, offset, topic = %output.topic, reason,
            "every subscription has this event, so less is told of it and it is not rejected"
        );
        kept.extend(bare_end(&output).filter(|_| before == 0).map(|value| OutRecord { value: Some(value), ..output }));
    }
    kept
}

/// The lifecycle record of an event that was matched without whatever the event itself may make large.
fn bare_end(output: &OutRecord) -> Option<Bytes> {
    let told = Lifecycle::decode(output.value.as_deref()?).ok()?;
    let EventFacts { matched, payload_bytes, control_offset, .. } = told.event.clone()?;
    let facts = EventFacts { matched, payload_bytes, control_offset, ..EventFacts::default() };
    let bare = Lifecycle { event: Some(facts), detail: None, ..told };
    bare.encode().ok().map(Bytes::from)
}

/// Whose a delivery is, or a dead letter.
fn receiver(output: &OutRecord) -> Option<Uuid> {
    let id: SubscriptionId = output.headers.text(header::SUBSCRIPTION)?.parse().ok()?;
    Some(id.0)
}
