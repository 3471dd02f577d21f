//! The pure core: one record and one snapshot in, everything the transaction says about it out.

use std::sync::Arc;

use catalog::{Snapshot, Subscription};
use kafka::Lease;
use schemas::identity;
use schemas::record::{OutRecord, Record};
use schemas::rejected::RejectReason;
use schemas::seen::Hash;

use crate::batch::{Batch, Verdict};
use crate::deduplicate::Seen;
use crate::expand::{Accepted, Expander, Place};
use crate::select;
use crate::sources::{self, Rejection};

/// Plans records. Holds only buffers between two of them.
#[derive(Debug)]
pub(crate) struct Planner {
    expander: Expander,
    max_matches: usize,
    subscriptions: Vec<Arc<Subscription>>,
    outputs: Vec<OutRecord>,
}

/// What a record is planned against.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// Who receives what.
    pub(crate) snapshot: &'a Snapshot,
    /// What the partition accepted before.
    pub(crate) seen: &'a mut Seen,
    /// What is being filled.
    pub(crate) batch: &'a mut Batch,
    /// Now, Unix ms.
    pub(crate) now_ms: i64,
}

/// An accepted record: its verdict and the identity it adds.
type Judged = (Verdict, Option<(Hash, i64)>);

impl Planner {
    /// A planner with its limits.
    pub(crate) fn new(expander: Expander, max_matches: usize) -> Self {
        Self { expander, max_matches, subscriptions: Vec::new(), outputs: Vec::new() }
    }

    /// What makes its records.
    #[cfg(test)]
    pub(crate) fn expander(&self) -> &Expander {
        &self.expander
    }

    /// Plans one record of a lease into the batch.
    pub(crate) fn plan(&mut self, turn: &mut Turn<'_>, lease: &Lease, record: Record) -> Verdict {
        let place = Place { record: &record, partition: &lease.partition, now_ms: turn.now_ms };
        self.outputs.clear();
        let (verdict, id) = match self.judge(turn, place) {
            Ok(judged) => judged,
            Err(rejection) => {
                self.outputs.clear();
                self.expander.rejection(place, &rejection, &mut self.outputs);
                (Verdict::Rejected(rejection.reason), None)
            }
        };
        if let Some((id, at_ms)) = id {
            turn.seen.insert(id, at_ms);
        }
        let slot = turn.batch.slot(lease);
        turn.batch.add(slot, record, verdict, id, &mut self.outputs);
        verdict
    }

    fn judge(&mut self, turn: &mut Turn<'_>, place: Place<'_>) -> Result<Judged, Rejection> {
        let event = sources::decode(place.record, place.partition)?;
        let application = select::application(turn.snapshot, &event)?;
        let accepted = Accepted { event: &event, application };
        let id =
            (!event.is_positional).then(|| identity::event_uuid(application, &event.source, &event.id).into_bytes());
        // A producer's clock may run ahead: a time in the future would end everybody's window.
        let at_ms = place.accepted_ms().min(turn.now_ms);
        if id.is_some_and(|id| turn.seen.is_repeat(&id, at_ms)) {
            self.expander.repeat(accepted, place, &mut self.outputs);
            return Ok((Verdict::Repeat, None));
        }
        self.subscriptions.clear();
        select::subscriptions(turn.snapshot, application, &event, &mut self.subscriptions)?;
        let matches = self.subscriptions.len();
        if matches > self.max_matches {
            let detail = format!("the event matches {matches} subscriptions, at most {} are allowed", self.max_matches);
            return Err(Rejection::new(RejectReason::TooManyMatches, detail));
        }
        self.expander.deliveries(accepted, place, turn.snapshot, &self.subscriptions, &mut self.outputs);
        self.check_sizes()?;
        Ok((Verdict::Matched(matches), id.map(|id| (id, at_ms))))
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
