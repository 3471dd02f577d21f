//! Events for more subscriptions than one transaction writes: judged once, then a slice with each call.

use kafka::{Epoch, Lease};
use schemas::rejected::RejectReason;
use sources::Rejection;

use super::judged::{Expansion, Judged};
use super::reading::{generation, read};
use super::{Planner, Turn};
use crate::expand::{Accepted, Place};
use crate::filter::Filtered;
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

    /// Leases with an event that is written in slices.
    pub(crate) fn slicing(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.sliced.keys().copied()
    }

    /// Kafka's time of the oldest record that is written in slices.
    pub(crate) fn oldest_sliced_ms(&self) -> Option<i64> {
        self.sliced.values().map(|sliced| sliced.of.timestamp_ms).min()
    }

    /// The records of a lease are not planned any more: what is not under way is forgotten.
    pub(crate) fn forget_slices(&mut self, lease: &Lease, is_over: bool) {
        self.sliced.retain(|epoch, sliced| *epoch != lease.epoch || (sliced.is_under_way() && !is_over));
    }

    /// What is being planned is judged anew: from how far it is written, once nothing of it is under way.
    pub(super) fn forget_all_slices(&mut self) {
        self.sliced.retain(|_, sliced| sliced.is_under_way());
        for sliced in self.sliced.values_mut() {
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
                return self.whole(turn, accepted, place, sliced);
            }
        }
        if !sliced.sort(turn.is_over) {
            return Ok(self.keep(sliced, Judged::Later));
        }
        let is_first = sliced.cursor().is_none();
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

    /// An event that is for no more than one transaction writes.
    pub(super) fn whole(
        &mut self,
        turn: &Turn<'_>,
        accepted: Accepted<'_>,
        place: Place<'_>,
        sliced: SlicedEvent,
    ) -> Result<Judged, Rejection> {
        let (of, matching, failures) = sliced.into_matching();
        self.subscriptions = matching;
        let SlicedFacts { lease, offset, application, deprecation, control_offset, id, .. } = of;
        let matches = self.subscriptions.len();
        self.expander.matched(accepted, place, control_offset, (matches, &self.subscriptions), &mut self.outputs);
        self.tell(turn, accepted, place, of.is_to_be_declared, &failures);
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
