//! The pure core: one record and the catalog in, everything the transaction says about it out.
//!
//! ```text
//! record --decode--> [lock: application, type, subscriptions of one state] --schema--> filters --weigh--> expand --> outputs
//!                                                                                 |                         |
//!        put aside <--more than a few of them were never compiled: compile() first, in slices               |
//!        put aside <--there is no time for all of its deliveries now: the rest when it comes again ---------+
//! ```
//!
//! Only what the snapshot is asked happens under its lock. Schemas and filters are strangers' and take their time: they run
//! on what was found there. An event is judged once: what a snapshot said of it stands until its last delivery is made.

mod reading;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use catalog::{Catalog, Subscription};
use chassis::limited::Limited;
use kafka::Lease;
use schemas::delivery::Deprecation;
use schemas::identity::{self, is_gateway_source};
use schemas::ids::ApplicationId;
use schemas::record::{OutRecord, Record};
use schemas::rejected::RejectReason;
use schemas::seen::Hash;
use schemas::status::SourceFailure;

use crate::config::{ASIDE_AT_MOST, COMPILED_AT_ONCE, UNDECLARED_PERIOD};
use crate::deduplicate::Seen;
use crate::expand::{Accepted, Expander, Place, RejectedOf, SAME_ID, SAME_PLACE};
use crate::filter::{Filtered, Filters};
use crate::intake::{SourceRoute, SourceTurn, failure};
use crate::owners::Owners;
use crate::retried::RetriedTurn;
use crate::select::{self, Selected};
use crate::weigh::EventLimits;
use sources::Rejection;
use sources::schema::SchemaKey;

use self::reading::{generation, read};
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
}

/// An accepted event on its way to being deliveries.
#[derive(Debug)]
struct Expansion {
    /// The record it is: a partition that comes back under another lease begins anew.
    lease: Lease,
    offset: i64,
    application: ApplicationId,
    /// As the snapshot said that it was judged by.
    deprecation: Option<Deprecation>,
    control_offset: i64,
    id: Option<(Hash, i64)>,
    /// Deliveries made so far, of as many as there are `subscriptions`.
    made: usize,
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
    /// Now, Unix ms.
    pub(crate) now_ms: i64,
    /// Now, on the clock that never jumps.
    pub(crate) now: Instant,
    /// Whether planning should give way.
    pub(crate) is_over: &'a dyn Fn() -> bool,
}

impl Turn<'_> {
    /// Whether its source has made of a record what it could before, and is not told to do that again.
    fn was_fanned_out(&self, offset: i64) -> bool {
        let was_handled = |source: SourceTurn<'_>| source.was_handled(offset) && source.again(offset).is_none();
        self.retried.is_none() && self.source.is_some_and(was_handled)
    }
}

/// What is found out about an event.
enum Judged {
    /// A repeat: its outputs are complete.
    Repeat,
    /// It leaves nothing.
    Skipped(&'static str),
    /// Nothing of its source can be planned for now.
    Held(SourceFailure),
    /// Its schema is not here.
    Awaits(SchemaKey),
    /// Accepted: its deliveries are to be made.
    Accepted(Expansion),
    /// Its filters are to be compiled first.
    Uncompiled,
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
        }
    }

    /// Compiles what the record that was put aside waits for, until it `is_over`. Whether all is compiled.
    pub(crate) fn compile(&mut self, mut is_over: impl FnMut() -> bool) -> bool {
        while let Some(subscription) = self.uncompiled.pop() {
            // Kept where it was compiled, also when that fails.
            let _compiled = subscription.filter();
            if is_over() {
                break;
            }
        }
        self.uncompiled.is_empty()
    }

    /// What was put aside is gone: nothing waits for its filters or its deliveries.
    pub(crate) fn forget_aside(&mut self) {
        self.asides = 0;
        self.expansion = None;
        self.uncompiled.clear();
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
        let judged = match self.expansion.take().filter(is_begun) {
            Some(begun) => self.go_on(turn, place, begun),
            None => {
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
            // What was fanned out is not rejected when its source is moved back to it, whatever its mapping says by now: the next
            // move back, or a retry of it, would fan it out a second time.
            Err(_) if turn.was_fanned_out(record.offset) => {
                self.outputs.clear();
                (EventVerdict::Repeat, None)
            }
            Err(rejection) => {
                self.outputs.clear();
                let of = self.whose(turn.catalog, place, turn.source.map(|source| source.route), turn.retried);
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
        Planned::Done(Note { record, verdict, id, stood })
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
            Err(judged) => return Ok(judged),
        };
        self.subscriptions.clear();
        let snapshot = turn.catalog.read();
        let of_topic = (&*place.partition.topic, turn.source.map(|source| source.route.organization()));
        let application = match self.owners.application(&snapshot, of_topic, &event.application) {
            Ok(application) => application,
            // What a record names is its own mistake; what the source itself names would be every record's.
            Err(unknown)
                if turn.retried.is_none() && turn.source.is_some_and(|source| source.route.names_application()) =>
            {
                return Ok(Judged::Held(failure("unknown_application", &unknown.detail)));
            }
            Err(unknown) => return Err(unknown),
        };
        let selected = select::event_type(&snapshot, application, &event)?;
        let origin = place.origin();
        let generation = generation(turn.source, place);
        let deprecation = selected.event_type.as_ref().and_then(|event_type| event_type.deprecation());
        let application = selected.application;
        let accepted = Accepted { event: &event, application, origin: &origin, generation, deprecation };
        if turn.source.is_some() && is_gateway_source(accepted.application, &event.source) {
            let detail = format!("`source` is `{}`, which only what came over HTTP says", event.source);
            return Err(Rejection::new(RejectReason::InvalidAttribute, detail));
        }
        let is_first = generation.0.is_none();
        if event.is_id_made && is_first && turn.source.is_some_and(|source| source.was_handled(place.record.offset)) {
            self.expander.repeat(accepted, place, SAME_PLACE, &mut self.outputs);
            return Ok(Judged::Repeat);
        }
        // An id that nobody can repeat comes again where its record is retried, or read again after it was rejected.
        let comes_again =
            || turn.retried.is_some() || turn.source.is_some_and(|it| it.was_rejected(place.record.offset));
        let id = (is_first && (!event.is_id_made || comes_again()))
            .then(|| identity::event_uuid(accepted.application, &event.source, &event.id).into_bytes());
        // A producer's clock may run ahead: a time in the future would end everybody's window.
        let at_ms = turn.retried.map_or_else(|| place.accepted_ms(), RetriedTurn::at_ms).min(turn.now_ms);
        // Beyond the window identities are forgotten; that its source has handled the position is not.
        let was_handled = || turn.source.is_some_and(|source| source.was_handled(place.record.offset));
        let is_known = id.as_ref().is_some_and(|id| turn.seen.is_repeat(id, at_ms));
        if is_known || id.is_some() && turn.seen.is_beyond(at_ms) && was_handled() {
            self.expander.repeat(accepted, place, if is_known { SAME_ID } else { SAME_PLACE }, &mut self.outputs);
            return Ok(Judged::Repeat);
        }
        let labels = select::subscriptions(&snapshot, accepted.application, &event, &mut self.subscriptions);
        let control_offset = snapshot.applied();
        drop(snapshot);
        select::schema(&selected, &event)?;
        let labels = labels?;
        self.collect_uncompiled();
        if !self.uncompiled.is_empty() {
            return Ok(Judged::Uncompiled);
        }
        let of = Filtered { event: &event, labels: &labels, accepted_ms: place.accepted_ms(), now: turn.now };
        let failures = self.filters.apply(of, &mut self.subscriptions);
        self.limits.check(self.subscriptions.len(), &event, place)?;
        self.expander.matched(accepted, place, control_offset, &self.subscriptions, &mut self.outputs);
        for failure in failures {
            self.expander.filter_failed(accepted, place, &failure, &mut self.outputs);
        }
        self.declare(&selected, accepted, place, turn.now);
        let (lease, application) = (lease.clone(), accepted.application);
        let id = id.map(|id| (id, at_ms));
        let expansion = Expansion { lease, offset, application, deprecation, control_offset, id, made: 0 };
        self.expand(turn, accepted, place, expansion)
    }

    /// Whose a record is, for its rejection.
    pub(crate) fn whose(
        &self,
        catalog: &Catalog,
        place: Place<'_>,
        source: Option<&SourceRoute>,
        retried: Option<&RetriedTurn>,
    ) -> RejectedOf {
        let is_refused = retried.is_some_and(RetriedTurn::is_refused);
        RejectedOf {
            source: source.map(SourceRoute::source_id),
            organization: source.map(SourceRoute::organization).or_else(|| retried.and_then(RetriedTurn::organization)),
            // What it says by the rules of `events` is nothing where it is none of these.
            application: if is_refused { None } else { self.named(catalog, place, source) },
        }
    }

    /// The application that a record means, for its rejection: whoever looks for it finds it there, also where the record names
    /// it by uid.
    fn named(&self, catalog: &Catalog, place: Place<'_>, source: Option<&SourceRoute>) -> Option<ApplicationId> {
        let name = match source {
            Some(route) => route.application_of(place.record, place.partition)?,
            None => sources::named_application(place.record)?,
        };
        let of_topic = (&*place.partition.topic, source.map(SourceRoute::organization));
        self.owners.named(&catalog.read(), of_topic, &name)
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

    /// Notes which filters are to be compiled for this event, if they are more than are compiled in passing.
    fn collect_uncompiled(&mut self) {
        self.uncompiled.clear();
        // Whoever changes filters as fast as they are compiled must not stop a partition.
        if self.asides >= ASIDE_AT_MOST {
            return;
        }
        let uncompiled = self.subscriptions.iter().filter(|subscription| subscription.is_filter_uncompiled());
        self.uncompiled.extend(uncompiled.map(Arc::clone));
        if self.uncompiled.len() <= COMPILED_AT_ONCE {
            self.uncompiled.clear();
        }
    }

    /// Tells the control plane to declare the event's type, unless it was told lately.
    fn declare(&mut self, selected: &Selected, accepted: Accepted<'_>, place: Place<'_>, now: Instant) {
        let key = || (accepted.application, accepted.event.event_type.to_string());
        if selected.is_to_be_declared && self.undeclared.permit_at(&key(), now).is_some() {
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

#[cfg(test)]
mod tests;
