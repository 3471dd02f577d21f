//! The pure core: one record and the catalog in, everything the transaction says about it out.
//!
//! ```text
//! record --decode--> [lock: application, type, subscriptions of one state] --schema--> filters --weigh--> expand --> outputs
//!                                                                                 |                         |
//!        put aside <--more than a few of them were never compiled: compile() first, in steps                |
//!        put aside <--there is no time for all of its deliveries now: the rest when it comes again ---------+
//!        its partition waits, others do not <--it is for more than one transaction writes: a slice (sliced.rs)
//! ```
//!
//! Only what the snapshot is asked happens under its lock. Schemas and filters are strangers' and take their time: they run
//! on what was found there. An event is judged once: what a snapshot said of it stands until its last delivery is made.

mod aside;
mod judged;
mod reading;
mod sliced;
mod verdict;
mod whose;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use catalog::{Catalog, Subscription};
use chassis::limited::Limited;
use kafka::{Epoch, Lease, SliceCursor};
use schemas::identity;
use schemas::ids::ApplicationId;
use schemas::record::{OutRecord, Record};
use schemas::rejected::RejectReason;
use schemas::seen::Hash;

use crate::config::{KEPT_CANDIDATES, UNDECLARED_PERIOD};
use crate::deduplicate::Seen;
use crate::expand::{Accepted, Expander, Place, RejectedOf, SAME_ID, SAME_PLACE};
use crate::filter::{Failure, Filtered, Filters};
use crate::intake::{SourceTurn, failure};
use crate::owners::Owners;
use crate::retried::RetriedTurn;
use crate::select::{self, Selected};
use crate::slices::{SlicedEvent, SlicedFacts};
use crate::weigh::{EventLimits, delivery_bytes};
use sources::Rejection;

use self::judged::{Expansion, Judged};
use self::reading::{generation, left_out, read};
pub(crate) use self::verdict::{EventVerdict, Note, Planned};

/// Deliveries that are made between two looks at the time: each takes one to three microseconds.
const EXPANDED_AT_ONCE: usize = 512;

/// Plans records. Between two of them it holds buffers, and what was told lately.
#[derive(Debug)]
pub(crate) struct Planner {
    expander: Expander,
    limits: EventLimits,
    owners: Owners,
    filters: Filters,
    /// Types that were told lately to be declared.
    undeclared: Limited<(ApplicationId, String)>,
    subscriptions: Vec<Arc<Subscription>>,
    outputs: Vec<OutRecord>,
    /// Whose filters are to be compiled before the record that was put aside.
    uncompiled: Vec<Arc<Subscription>>,
    /// How often that record was put aside for its filters.
    asides: u32,
    /// The event whose deliveries are being made, with those in `outputs` so far.
    expansion: Option<Expansion>,
    /// Events that are written in slices: one of a lease at a time.
    sliced: BTreeMap<Epoch, SlicedEvent>,
    /// Candidates that are kept for them together, see [`KEPT_CANDIDATES`].
    most_kept: usize,
    /// Whose event is planned next, after it waited for room, and for how many candidates that is kept free.
    kept_free: Option<(Epoch, usize)>,
}

/// What a record is planned against.
pub(crate) struct Turn<'a> {
    /// Who receives what.
    pub(crate) catalog: &'a Catalog,
    /// What the partition accepted before.
    pub(crate) seen: &'a mut Seen,
    /// The source that the partition is of; none: it is one of `events`.
    pub(crate) source: Option<SourceTurn<'a>>,
    /// What it is where it was retried.
    pub(crate) retried: Option<&'a RetriedTurn>,
    /// How far its event is written already, by the commits or before it was rejected: it was accepted, and goes on there.
    pub(crate) written: Option<SliceCursor>,
    /// Now, Unix ms.
    pub(crate) now_ms: i64,
    /// Now, on the clock that never jumps.
    pub(crate) now: Instant,
    /// Whether planning should give way.
    pub(crate) is_over: &'a dyn Fn() -> bool,
}

impl Planner {
    /// A planner with its limits.
    pub(crate) fn new(expander: Expander, limits: EventLimits, owners: Owners) -> Self {
        Self {
            expander,
            limits,
            owners,
            filters: Filters::new(),
            undeclared: Limited::new(UNDECLARED_PERIOD),
            subscriptions: Vec::new(),
            outputs: Vec::new(),
            uncompiled: Vec::new(),
            asides: 0,
            expansion: None,
            sliced: BTreeMap::new(),
            most_kept: KEPT_CANDIDATES,
            kept_free: None,
        }
    }

    /// How many filters failed since the last call, by reason.
    pub(crate) fn take_failed_filters(&mut self) -> BTreeMap<&'static str, u64> {
        self.filters.take_failed()
    }

    /// Plans one record of a lease.
    pub(crate) fn plan(&mut self, turn: &mut Turn<'_>, lease: &Lease, record: Record) -> Planned {
        let place = match turn.retried {
            None => Place { record: &record, partition: &lease.partition, now_ms: turn.now_ms, retries: 0 },
            Some(retried) => retried.place(turn.now_ms),
        };
        let is_begun = |expansion: &Expansion| expansion.offset == record.offset && expansion.lease == *lease;
        let begun = self.expansion.take().filter(is_begun);
        let judged = match (begun, self.take_sliced(lease, record.offset)) {
            (Some(begun), _) => self.go_on(turn, place, begun),
            (None, Some(sliced)) => self.go_on_sliced(turn, place, sliced),
            (None, None) => {
                self.outputs.clear();
                self.judge(turn, (lease, record.offset), place)
            }
        };
        let (verdict, id) = match judged {
            Ok(Judged::Repeat) => (EventVerdict::Repeat, None),
            Ok(Judged::Skipped(reason)) => (EventVerdict::Skipped(reason), None),
            Ok(Judged::Held(why)) => return Planned::Held(record, why),
            Ok(Judged::Awaits(schema)) => return Planned::Awaits(record, schema),
            Ok(Judged::Accepted(done)) if done.made == self.subscriptions.len() => {
                (EventVerdict::Matched(done.made), done.id)
            }
            Ok(Judged::Accepted(begun)) => {
                self.expansion = Some(begun);
                return Planned::Aside(record);
            }
            Ok(Judged::Uncompiled) => {
                self.asides += 1;
                return Planned::Aside(record);
            }
            Ok(Judged::Later) => return Planned::Later(record),
            Ok(Judged::UnderWay) => return Planned::UnderWay(record),
            Ok(Judged::NoRoom(candidates)) => return Planned::NoRoom(record, candidates),
            Ok(Judged::Slice(cursor)) => {
                let (verdict, written) = (EventVerdict::Sliced(cursor), turn.written);
                return Planned::Slice(Note { record, verdict, id: None, stood: None, written });
            }
            Ok(Judged::Ended(matches, id)) => (EventVerdict::Matched(matches), id),
            // What was fanned out is not rejected when its source is moved back to it, whatever its mapping says by now: the next
            // move back, or a retry of it, would fan it out a second time.
            Err(_) if turn.was_fanned_out(record.offset) => {
                self.outputs.clear();
                (EventVerdict::Repeat, None)
            }
            Err(mut rejection) => {
                if let Some(SliceCursor { count, .. }) = turn.written {
                    let detail = format!("{}; {count} of its deliveries were written before", rejection.detail);
                    rejection.detail = detail.into();
                }
                self.outputs.clear();
                let of = self.whose(turn.catalog, place, turn.source.map(|source| source.route), turn.retried);
                let of = RejectedOf { written: turn.written, ..of };
                self.expander.rejection(place, of, &rejection, &mut self.outputs);
                (EventVerdict::Rejected(rejection.reason), None)
            }
        };
        self.asides = 0;
        if let Some((id, at_ms)) = id {
            turn.seen.insert(id, at_ms);
        }
        let stood = turn.retried.filter(|_| id.is_some()).map(|retried| {
            let place = retried.place(turn.now_ms);
            (place.partition.clone(), place.accepted_ms().min(turn.now_ms))
        });
        Planned::Done(Note { record, verdict, id, stood, written: turn.written })
    }

    /// What the record that was planned last becomes. Its room is used again.
    pub(crate) fn outputs(&mut self) -> &mut Vec<OutRecord> {
        &mut self.outputs
    }

    /// What the event is and who receives it; its deliveries are begun.
    fn judge(
        &mut self,
        turn: &mut Turn<'_>,
        (lease, offset): (&Lease, i64),
        place: Place<'_>,
    ) -> Result<Judged, Rejection> {
        let event = match read(turn.source, turn.retried, place)? {
            Ok(event) => event,
            Err(Judged::Skipped(reason)) if turn.written.is_some() => return Err(left_out(reason)),
            Err(judged) => return Ok(judged),
        };
        self.subscriptions.clear();
        let snapshot = turn.catalog.read();
        let of_topic = (&*place.partition.topic, turn.source.map(|source| source.route.organization()));
        let application = match self.owners.application(&snapshot, of_topic, &event.application) {
            Ok(application) => application,
            // What a record names is its own mistake; what the source itself names would be every record's.
            Err(unknown)
                if turn.retried.is_none() && turn.source.is_some_and(SourceTurn::is_held_without_application) =>
            {
                return Ok(Judged::Held(failure("unknown_application", &unknown.detail)));
            }
            Err(unknown) => return Err(unknown),
        };
        let is_written = turn.written.is_some();
        // What is written in part was accepted, whatever its type's rule is now.
        let selected = match select::event_type(&snapshot, application, &event) {
            Err(_unknown) if is_written => Selected::undeclared(application.application_id),
            selected => selected?,
        };
        let (origin, generation) = (place.origin(), generation(turn.source, place));
        let deprecation = selected.event_type.as_ref().and_then(|event_type| event_type.deprecation());
        let (application_window_ms, application) = (application.dedup_window_ms, selected.application);
        let accepted = Accepted { event: &event, application, origin: &origin, generation, deprecation };
        if turn.source.is_some() {
            select::source(application, &event.source)?;
        }
        let is_first = generation.0.is_none();
        // Where ids say nothing, the record's place does.
        let is_by_place = event.is_id_made || application_window_ms == Some(0);
        if !turn.is_begun()
            && is_by_place
            && is_first
            && turn.source.is_some_and(|source| source.was_handled(place.record.offset))
        {
            self.expander.repeat(accepted, place, SAME_PLACE, &mut self.outputs);
            return Ok(Judged::Repeat);
        }
        // An id that nobody can repeat comes again where its record is retried, or read again after it was rejected.
        let comes_again =
            || turn.retried.is_some() || turn.source.is_some_and(|it| it.was_rejected(place.record.offset));
        let id = (is_first && (!is_by_place || comes_again())).then(|| identity_of(accepted, place, is_by_place));
        let shorter_ms = application_window_ms.filter(|_| !is_by_place).map(i64::from);
        // A producer's clock may run ahead: a time in the future would end everybody's window.
        let at_ms = turn.retried.map_or_else(|| place.accepted_ms(), RetriedTurn::at_ms).min(turn.now_ms);
        // Beyond the window identities are forgotten; that its source has handled the position is not.
        let was_handled = || turn.source.is_some_and(|source| source.was_handled(place.record.offset));
        let is_known = id.as_ref().is_some_and(|id| turn.seen.is_repeat(id, at_ms, shorter_ms));
        let is_repeat = is_known || id.is_some() && was_handled() && turn.seen.is_beyond(at_ms, shorter_ms);
        if is_repeat && !turn.is_begun() {
            self.expander.repeat(accepted, place, if is_known { SAME_ID } else { SAME_PLACE }, &mut self.outputs);
            return Ok(Judged::Repeat);
        }
        let labels = select::subscriptions(&snapshot, accepted.application, &event, &mut self.subscriptions);
        let control_offset = snapshot.applied();
        drop(snapshot);
        if !is_written {
            select::schema(&selected, &event)?;
        }
        let facts = SlicedFacts {
            lease: lease.clone(),
            offset,
            timestamp_ms: place.record.timestamp_ms,
            application,
            deprecation,
            control_offset,
            id: id.map(|id| (id, at_ms)),
            labels: labels?,
            is_to_be_declared: selected.is_to_be_declared,
            written: turn.written,
        };
        self.receivers(turn, accepted, place, facts)
    }

    /// Who of those that its type and labels are for receives it; its deliveries are begun.
    fn receivers(
        &mut self,
        turn: &Turn<'_>,
        accepted: Accepted<'_>,
        place: Place<'_>,
        facts: SlicedFacts,
    ) -> Result<Judged, Rejection> {
        if facts.written.is_some() || self.subscriptions.len() > self.limits.slice_records {
            if !self.has_room_for(self.subscriptions.len()) {
                return Ok(Judged::NoRoom(self.subscriptions.len()));
            }
            let candidates = std::mem::take(&mut self.subscriptions);
            return self.slice(turn, accepted, place, SlicedEvent::new(facts, candidates));
        }
        self.collect_uncompiled();
        if !self.uncompiled.is_empty() {
            return Ok(Judged::Uncompiled);
        }
        let event = accepted.event;
        let of = Filtered { event, labels: &facts.labels, accepted_ms: place.accepted_ms(), now: turn.now };
        let failures = self.filters.apply(of, &mut self.subscriptions);
        let matches = self.subscriptions.len();
        self.limits.check(matches, event, place)?;
        if self.limits.is_one_slice(matches, delivery_bytes(event, place)) {
            return self.whole(turn, accepted, place, facts, &failures);
        }
        let matching = std::mem::take(&mut self.subscriptions);
        self.slice(turn, accepted, place, SlicedEvent::filtered(facts, matching, failures))
    }

    /// Goes on with an event that was put aside among its deliveries.
    fn go_on(&mut self, turn: &Turn<'_>, place: Place<'_>, expansion: Expansion) -> Result<Judged, Rejection> {
        let event = match read(turn.source, turn.retried, place)? {
            Ok(event) => event,
            // Also where its schema has left the memory since: the event is judged anew, and nothing of it was written.
            Err(judged) => return Ok(judged),
        };
        let (origin, generation) = (place.origin(), generation(turn.source, place));
        let Expansion { application, deprecation, .. } = expansion;
        let accepted = Accepted { event: &event, application, origin: &origin, generation, deprecation };
        self.expand(turn, accepted, place, expansion)
    }

    /// Makes deliveries until all are made or planning should give way.
    fn expand(
        &mut self,
        turn: &Turn<'_>,
        accepted: Accepted<'_>,
        place: Place<'_>,
        mut expansion: Expansion,
    ) -> Result<Judged, Rejection> {
        loop {
            let rest = &self.subscriptions[expansion.made..];
            let now = &rest[..rest.len().min(EXPANDED_AT_ONCE)];
            self.expander.deliveries(accepted, place, expansion.control_offset, now, &mut self.outputs);
            expansion.made += now.len();
            if expansion.made == self.subscriptions.len() {
                self.check_sizes()?;
                return Ok(Judged::Accepted(expansion));
            }
            if (turn.is_over)() {
                return Ok(Judged::Accepted(expansion));
            }
        }
    }

    /// Tells of filters that failed, and the control plane to declare the event's type, unless it was told lately.
    fn tell(
        &mut self,
        turn: &Turn<'_>,
        accepted: Accepted<'_>,
        place: Place<'_>,
        is_to_be_declared: bool,
        failures: &[Failure],
    ) {
        for failure in failures {
            self.expander.filter_failed(accepted, place, failure, &mut self.outputs);
        }
        let key = || (accepted.application, accepted.event.event_type.to_string());
        if is_to_be_declared && self.undeclared.permit_at(&key(), turn.now).is_some() {
            self.expander.undeclared(accepted, place, &mut self.outputs);
        }
    }

    /// What does not fit its topic is found before the transaction begins.
    fn check_sizes(&self) -> Result<(), Rejection> {
        let limit = self.expander.limit();
        let Some(large) = self.outputs.iter().find(|output| output.batch_size() > limit) else { return Ok(()) };
        let detail =
            format!("{} bytes with our headers do not fit {}, which takes {limit}", large.batch_size(), large.topic);
        Err(Rejection::new(RejectReason::TooLarge, detail))
    }
}

/// What tells an event that comes again.
fn identity_of(accepted: Accepted<'_>, place: Place<'_>, is_by_place: bool) -> Hash {
    let Accepted { event, application, .. } = accepted;
    // An id of which every event is a new one does not: its record's place does.
    let own = (is_by_place && !event.is_id_made).then(|| place.positional_id());
    identity::event_uuid(application, &event.source, own.as_deref().unwrap_or(&event.id)).into_bytes()
}

#[cfg(test)]
mod tests;
