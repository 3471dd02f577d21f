//! Events for more subscriptions than one transaction writes: judged once, then a slice with each call.

use kafka::{Epoch, Lease, SliceCursor};
use schemas::rejected::RejectReason;
use sources::Rejection;

use super::judged::{Expansion, Judged};
use super::reading::{generation, left_out, read};
use super::{Planner, Turn};
use crate::expand::{Accepted, Place};
use crate::filter::{Failure, Filtered};
use crate::slices::{SlicedEvent, SlicedFacts};
use crate::weigh::delivery_bytes;

impl Planner {
    /// The slice of a lease that was under way is committed.
    pub(crate) fn slice_committed(&mut self, epoch: Epoch) {
        let Some(sliced) = self.sliced.get_mut(&epoch) else { return };
        sliced.committed();
        if sliced.is_stale {
            self.sliced.remove(&epoch);
        }
    }

    /// Kafka can never take something of the slice of a lease that is under way: whether nothing of the event is to be written for it,
    /// because nothing of it is.
    pub(crate) fn refuse_slice(&mut self, epoch: Epoch, reason: &str) -> bool {
        let rejection = Rejection::new(RejectReason::Unwritable, reason.to_owned());
        self.sliced.get_mut(&epoch).is_some_and(|sliced| sliced.refuse(rejection))
    }

    /// The cluster is too slow for the slice of a lease that is under way: it ends earlier. How far its event is with that; `None`: there
    /// is no less of it.
    pub(crate) fn shorten_slice(&mut self, epoch: Epoch) -> Option<SliceCursor> {
        self.sliced.get_mut(&epoch)?.shorten()
    }

    /// Leases with a slice that is under way.
    pub(crate) fn slices_under_way(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.sliced.iter().filter(|(_, sliced)| sliced.is_under_way()).map(|(epoch, _)| *epoch)
    }

    /// Whether so many candidates are kept beside those of the events that are written in slices. Of one event alone all are.
    pub(super) fn has_room_for(&self, candidates: usize) -> bool {
        let kept: usize = self.sliced.values().map(SlicedEvent::kept).sum();
        let kept_free = self.kept_free.map_or(0, |(_, candidates)| candidates);
        let is_alone = self.sliced.is_empty() && self.kept_free.is_none();
        is_alone || kept.saturating_add(kept_free).saturating_add(candidates) <= self.most_kept
    }

    /// Keeps room for so many candidates of the next event of a lease, which waited for it. Whether there is that room: not before it is
    /// used by whom it was kept for last.
    pub(crate) fn keep_room(&mut self, epoch: Epoch, candidates: usize) -> bool {
        let is_there = self.kept_free.is_none() && self.has_room_for(candidates);
        if is_there {
            self.kept_free = Some((epoch, candidates));
        }
        is_there
    }

    /// The next event of a lease is planned: what was kept free for it is its own now, or anybody's.
    pub(crate) fn use_room(&mut self, epoch: Epoch) {
        self.kept_free.take_if(|(other, _)| *other == epoch);
    }

    /// As many candidates are kept as this, for tests.
    #[cfg(test)]
    pub(crate) fn keep_at_most(&mut self, candidates: usize) {
        self.most_kept = candidates;
    }

    /// Whether a slice of the record of a lease at this offset is under way.
    pub(crate) fn is_slice_under_way(&self, epoch: Epoch, offset: i64) -> bool {
        self.sliced.get(&epoch).is_some_and(|sliced| sliced.of.offset == offset && sliced.is_under_way())
    }

    /// Kafka's time of the oldest record that is written in slices.
    pub(crate) fn oldest_sliced_ms(&self) -> Option<i64> {
        self.sliced.values().map(|sliced| sliced.of.timestamp_ms).min()
    }

    /// The records of a lease are not planned any more: what is not under way is forgotten.
    pub(crate) fn forget_slices(&mut self, lease: &Lease, is_over: bool) {
        self.sliced.retain(|epoch, sliced| *epoch != lease.epoch || (sliced.is_under_way() && !is_over));
        self.use_room(lease.epoch);
    }

    /// What was found out of the record of a lease that is being planned counts no more: it is judged anew, one of which a slice is under
    /// way once that is committed.
    pub(crate) fn forget_event(&mut self, epoch: Epoch) {
        self.use_room(epoch);
        self.expansion.take_if(|begun| begun.lease.epoch == epoch);
        self.sliced.retain(|other, sliced| *other != epoch || sliced.is_under_way());
        if let Some(sliced) = self.sliced.get_mut(&epoch) {
            sliced.is_stale = true;
        }
    }

    /// What was found out of the record that is planned, if it is written in slices.
    pub(super) fn take_sliced(&mut self, lease: &Lease, offset: i64) -> Option<SlicedEvent> {
        self.sliced.remove(&lease.epoch).filter(|sliced| sliced.of.offset == offset)
    }

    /// Goes on with an event that is written in slices.
    pub(super) fn go_on_sliced(
        &mut self,
        turn: &Turn<'_>,
        place: Place<'_>,
        mut sliced: SlicedEvent,
    ) -> Result<Judged, Rejection> {
        if sliced.is_under_way() {
            return Ok(self.keep(sliced, Judged::UnderWay));
        }
        if let Some(refused) = sliced.take_refused() {
            return Err(refused);
        }
        let event = match read(turn.source, turn.retried, place)? {
            Ok(event) => event,
            // A part of it is written: its end is told.
            Err(Judged::Skipped(reason)) if sliced.cursor().is_some() => return Err(left_out(reason)),
            Err(skipped @ Judged::Skipped(_)) => return Ok(skipped),
            Err(judged) => return Ok(self.keep(sliced, judged)),
        };
        let (origin, generation) = (place.origin(), generation(turn.source, place));
        let SlicedFacts { application, deprecation, .. } = sliced.of;
        let accepted = Accepted { event: &event, application, origin: &origin, generation, deprecation };
        self.slice(turn, accepted, place, sliced)
    }

    /// The next step of an event: some of its filters, or a slice, or its end.
    pub(super) fn slice(
        &mut self,
        turn: &Turn<'_>,
        accepted: Accepted<'_>,
        place: Place<'_>,
        mut sliced: SlicedEvent,
    ) -> Result<Judged, Rejection> {
        self.outputs.clear();
        let labels = std::mem::take(&mut sliced.of.labels);
        let of = Filtered { event: accepted.event, labels: &labels, accepted_ms: place.accepted_ms(), now: turn.now };
        let is_filtered = sliced.filter(&mut self.filters, of, turn.is_over);
        sliced.of.labels = labels;
        if !is_filtered {
            return Ok(self.keep(sliced, Judged::Later));
        }
        let each = delivery_bytes(accepted.event, place);
        if sliced.cursor().is_none() {
            self.limits.check(sliced.matches(), accepted.event, place)?;
            if self.limits.is_one_slice(sliced.matches(), each) {
                let (of, matching, failures) = sliced.into_matching();
                self.subscriptions = matching;
                return self.whole(turn, accepted, place, of, &failures);
            }
        }
        if !sliced.sort(turn.is_over) {
            return Ok(self.keep(sliced, Judged::Later));
        }
        let is_first = sliced.cursor().is_none();
        if is_first {
            // What is told when all have it fits its topic, or none of them gets it.
            let end = (sliced.matches(), &[][..]);
            self.expander.matched(accepted, place, sliced.of.control_offset, end, &mut self.outputs);
            self.check_sizes()?;
            self.outputs.clear();
        }
        let next = sliced.next(self.limits.in_slice(each));
        if next.is_empty() {
            return Ok(self.end(turn, accepted, place, sliced));
        }
        self.expander.deliveries(accepted, place, sliced.of.control_offset, &next, &mut self.outputs);
        if let Err(too_large) = self.check_sizes() {
            if is_first {
                return Err(too_large);
            }
            self.bury_large(place, &too_large.detail);
        }
        let slice = Judged::Slice(sliced.cursor());
        Ok(self.keep(sliced, slice))
    }

    /// An event that is for no more than one transaction writes: for the subscriptions that are held.
    pub(super) fn whole(
        &mut self,
        turn: &Turn<'_>,
        accepted: Accepted<'_>,
        place: Place<'_>,
        of: SlicedFacts,
        failures: &[Failure],
    ) -> Result<Judged, Rejection> {
        let SlicedFacts { lease, offset, application, deprecation, control_offset, id, .. } = of;
        let matches = self.subscriptions.len();
        self.expander.matched(accepted, place, control_offset, (matches, &self.subscriptions), &mut self.outputs);
        self.tell(turn, accepted, place, of.is_to_be_declared, failures);
        let expansion = Expansion { lease, offset, application, deprecation, control_offset, id, made: 0 };
        self.expand(turn, accepted, place, expansion)
    }

    /// Everyone has it: what is told of it.
    fn end(&mut self, turn: &Turn<'_>, accepted: Accepted<'_>, place: Place<'_>, sliced: SlicedEvent) -> Judged {
        let matches = sliced.matches();
        let (of, matching, failures) = sliced.into_matching();
        self.expander.matched(accepted, place, of.control_offset, (matches, &matching), &mut self.outputs);
        self.tell(turn, accepted, place, of.is_to_be_declared, &failures);
        Judged::Ended(matches, of.id)
    }

    /// Others of the event are written, so those that do not fit their topic die alone.
    fn bury_large(&mut self, place: Place<'_>, detail: &str) {
        let limit = self.expander.limit();
        for output in std::mem::take(&mut self.outputs) {
            if output.batch_size() > limit {
                self.expander.bury(place, output, detail, &mut self.outputs);
            } else {
                self.outputs.push(output);
            }
        }
    }

    fn keep(&mut self, sliced: SlicedEvent, judged: Judged) -> Judged {
        self.sliced.insert(sliced.of.lease.epoch, sliced);
        judged
    }
}
