//! The pure core: one record and the catalog in, everything the transaction says about it out.
//!
//! ```text
//! record --decode--> [lock: application, type, subscriptions of one state] --schema--> filters --expand--> outputs
//!                                                                                 |
//!        put aside <--more than a few of them were never compiled: compile() first, in slices
//! ```
//!
//! Only what the snapshot is asked happens under its lock. Schemas and filters are strangers' and take their time: they run
//! on what was found there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use catalog::{Catalog, Subscription};
use chassis::limited::Limited;
use kafka::Lease;
use schemas::identity;
use schemas::ids::ApplicationId;
use schemas::record::{OutRecord, Record};
use schemas::rejected::RejectReason;
use schemas::seen::Hash;

use crate::batch::{Batch, Verdict};
use crate::config::{ASIDE_AT_MOST, COMPILED_AT_ONCE, UNDECLARED_PERIOD};
use crate::deduplicate::Seen;
use crate::expand::{Accepted, Expander, Place};
use crate::filter::{Filtered, Filters};
use crate::select::{self, Selected};
use crate::sources::{self, Rejection};

/// Plans records. Between two of them it holds buffers, and what was told lately.
#[derive(Debug)]
pub(crate) struct Planner {
    expander: Expander,
    max_matches: usize,
    filters: Filters,
    /// Types that were told lately to be declared.
    undeclared: Limited<(ApplicationId, String)>,
    subscriptions: Vec<Arc<Subscription>>,
    outputs: Vec<OutRecord>,
    /// Whose filters are to be compiled before the record that was put aside.
    uncompiled: Vec<Arc<Subscription>>,
    /// How often that record was put aside.
    asides: u32,
}

/// What a record is planned against.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// Who receives what.
    pub(crate) catalog: &'a Catalog,
    /// What the partition accepted before.
    pub(crate) seen: &'a mut Seen,
    /// What is being filled.
    pub(crate) batch: &'a mut Batch,
    /// Now, Unix ms.
    pub(crate) now_ms: i64,
    /// Now, on the clock that never jumps.
    pub(crate) now: Instant,
}

/// What became of a record that was to be planned.
#[derive(Debug)]
pub(crate) enum Planned {
    /// It is in the batch.
    Done(Verdict),
    /// Nothing has happened: it is to be planned again, before any other, once [`Planner::compile`] is done.
    Aside(Record),
}

/// What is found out about an event.
enum Judged {
    /// Accepted: its verdict and the identity it adds.
    Accepted(Verdict, Option<(Hash, i64)>),
    /// Its filters are to be compiled first.
    Uncompiled,
}

impl Planner {
    /// A planner with its limits.
    pub(crate) fn new(expander: Expander, max_matches: usize) -> Self {
        Self {
            expander,
            max_matches,
            filters: Filters::new(),
            undeclared: Limited::new(UNDECLARED_PERIOD),
            subscriptions: Vec::new(),
            outputs: Vec::new(),
            uncompiled: Vec::new(),
            asides: 0,
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

    /// What was put aside is gone: nothing waits for its filters.
    pub(crate) fn forget_aside(&mut self) {
        self.asides = 0;
        self.uncompiled.clear();
    }

    /// How many filters failed since the last call, by reason.
    pub(crate) fn take_failed_filters(&mut self) -> BTreeMap<&'static str, u64> {
        self.filters.take_failed()
    }

    /// What makes its records.
    #[cfg(test)]
    pub(crate) fn expander(&self) -> &Expander {
        &self.expander
    }

    /// Plans one record of a lease into the batch.
    pub(crate) fn plan(&mut self, turn: &mut Turn<'_>, lease: &Lease, record: Record) -> Planned {
        let place = Place { record: &record, partition: &lease.partition, now_ms: turn.now_ms };
        self.outputs.clear();
        let (verdict, id) = match self.judge(turn, place) {
            Ok(Judged::Accepted(verdict, id)) => (verdict, id),
            Ok(Judged::Uncompiled) => {
                self.asides += 1;
                return Planned::Aside(record);
            }
            Err(rejection) => {
                self.outputs.clear();
                self.expander.rejection(place, &rejection, &mut self.outputs);
                (Verdict::Rejected(rejection.reason), None)
            }
        };
        self.asides = 0;
        if let Some((id, at_ms)) = id {
            turn.seen.insert(id, at_ms);
        }
        let slot = turn.batch.slot(lease);
        turn.batch.add(slot, record, verdict, id, &mut self.outputs);
        Planned::Done(verdict)
    }

    fn judge(&mut self, turn: &mut Turn<'_>, place: Place<'_>) -> Result<Judged, Rejection> {
        let event = sources::decode(place.record, place.partition)?;
        self.subscriptions.clear();
        let snapshot = turn.catalog.read();
        let selected = select::application(&snapshot, &event)?;
        let accepted = Accepted { event: &event, application: selected.application };
        let id = (!event.is_positional)
            .then(|| identity::event_uuid(accepted.application, &event.source, &event.id).into_bytes());
        // A producer's clock may run ahead: a time in the future would end everybody's window.
        let at_ms = place.accepted_ms().min(turn.now_ms);
        if id.is_some_and(|id| turn.seen.is_repeat(&id, at_ms)) {
            self.expander.repeat(accepted, place, &mut self.outputs);
            return Ok(Judged::Accepted(Verdict::Repeat, None));
        }
        let labels = select::subscriptions(&snapshot, accepted.application, &event, &mut self.subscriptions);
        let control_offset = snapshot.applied();
        drop(snapshot);
        select::schema(&selected, &event)?;
        let labels = labels?;
        if self.is_to_compile() {
            return Ok(Judged::Uncompiled);
        }
        let of = Filtered { event: &event, labels: &labels, accepted_ms: place.accepted_ms(), now: turn.now };
        let failures = self.filters.apply(of, &mut self.subscriptions);
        let matches = self.subscriptions.len();
        if matches > self.max_matches {
            let detail = format!("the event matches {matches} subscriptions, at most {} are allowed", self.max_matches);
            return Err(Rejection::new(RejectReason::TooManyMatches, detail));
        }
        self.expander.deliveries(accepted, place, control_offset, &self.subscriptions, &mut self.outputs);
        self.check_sizes()?;
        for failure in failures {
            self.expander.filter_failed(accepted, place, &failure, &mut self.outputs);
        }
        self.declare(&selected, accepted, place, turn.now);
        Ok(Judged::Accepted(Verdict::Matched(matches), id.map(|id| (id, at_ms))))
    }

    /// Whether more filters are to be compiled for this event than are in passing; remembers which.
    fn is_to_compile(&mut self) -> bool {
        self.uncompiled.clear();
        // Whoever changes filters as fast as they are compiled must not stop a partition.
        if self.asides >= ASIDE_AT_MOST {
            return false;
        }
        let uncompiled = self.subscriptions.iter().filter(|subscription| subscription.is_filter_uncompiled());
        self.uncompiled.extend(uncompiled.map(Arc::clone));
        if self.uncompiled.len() <= COMPILED_AT_ONCE {
            self.uncompiled.clear();
        }
        !self.uncompiled.is_empty()
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
