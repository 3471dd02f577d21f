//! An event for more subscriptions than one transaction writes, on its way to being deliveries. Pure.
//!
//! ```text
//! candidates --filters, some at a time--> those it is for --sorted in runs--> a slice, the next slice, ...  in the order of their ids
//! ```
//!
//! Every step ends soon and goes on with the next call, whatever the number of subscriptions. What a snapshot said stands until the last
//! slice; whoever goes on after a restart asks the snapshot of then, and takes what lies above the cursor: so each subscription has the
//! event once, and none that was there from its acceptance on is left out.

use std::ops::Range;
use std::sync::Arc;

use catalog::Subscription;
use filter::limits::EVENT_UNITS;
use kafka::{Lease, SliceCursor};
use schemas::delivery::Deprecation;
use schemas::event::StringMap;
use schemas::ids::ApplicationId;
use schemas::seen::Hash;
use sources::Rejection;

use crate::config::{FILTERED_AT_ONCE, LOOK_EVERY, LOOK_UNITS, SORTED_AT_ONCE, STEP_UNITS};
use crate::filter::{Failure, Filtered, Filters};

/// What was found out about an event before its subscriptions were looked at.
#[derive(Debug)]
pub(crate) struct SlicedFacts {
    /// The lease that its record was read under.
    pub(crate) lease: Lease,
    /// The record's offset.
    pub(crate) offset: i64,
    /// Kafka's time of the record, Unix ms.
    pub(crate) timestamp_ms: i64,
    pub(crate) application: ApplicationId,
    /// As the snapshot said that it was judged by.
    pub(crate) deprecation: Option<Deprecation>,
    pub(crate) control_offset: i64,
    /// The identity it adds to `seen`, with its time.
    pub(crate) id: Option<(Hash, i64)>,
    pub(crate) labels: StringMap,
    pub(crate) is_to_be_declared: bool,
    /// How far it is written already.
    pub(crate) written: Option<SliceCursor>,
}

/// An event that is written in slices, as far as it is.
#[derive(Debug)]
pub(crate) struct SlicedEvent {
    pub(crate) of: SlicedFacts,
    /// Those before `kept` have let it through, those from `looked_at` on were not asked.
    candidates: Vec<Arc<Subscription>>,
    kept: usize,
    looked_at: usize,
    /// Units that are left to the filters that are bounded together, of which some were asked.
    units_left: u64,
    failures: Vec<Failure>,
    /// What is left of each sorted run of candidates.
    runs: Vec<Range<usize>>,
    sorted: usize,
    /// How far it is with the slice that was made last.
    cursor: Option<SliceCursor>,
    /// The slice that waits for its transaction.
    under_way: Option<SliceUnderWay>,
    /// Deliveries of a slice, at most: fewer once the cluster was too slow for one.
    most: usize,
    /// The whole event is refused: nothing of it is written.
    refused: Option<Rejection>,
    /// What was found out is out of date: it goes once nothing of it is under way.
    pub(crate) is_stale: bool,
}

/// A slice that waits for its transaction, with what there was before it.
#[derive(Debug)]
struct SliceUnderWay {
    cursor: Option<SliceCursor>,
    runs: Vec<Range<usize>>,
    count: usize,
}

// === impl SlicedEvent ===

impl SlicedEvent {
    /// Nothing of it is done but what the cursor says.
    pub(crate) fn new(of: SlicedFacts, mut candidates: Vec<Arc<Subscription>>) -> Self {
        candidates.shrink_to_fit();
        Self {
            cursor: of.written,
            of,
            candidates,
            kept: 0,
            looked_at: 0,
            units_left: EVENT_UNITS,
            failures: Vec::new(),
            runs: Vec::new(),
            sorted: 0,
            under_way: None,
            most: usize::MAX,
            refused: None,
            is_stale: false,
        }
    }

    /// The same where all filters were asked.
    pub(crate) fn filtered(of: SlicedFacts, matching: Vec<Arc<Subscription>>, failures: Vec<Failure>) -> Self {
        let all = matching.len();
        Self { kept: all, looked_at: all, failures, ..Self::new(of, matching) }
    }

    /// Asks the filters of candidates above what is written, until it `is_over`; at least so many that a step is worth its beginning,
    /// see [`STEP_UNITS`]. Whether all were asked.
    pub(crate) fn filter(&mut self, filters: &mut Filters, of: Filtered<'_>, is_over: &dyn Fn() -> bool) -> bool {
        if self.looked_at == self.candidates.len() {
            return true;
        }
        let mut asked = filters.ask(of, self.units_left);
        let (mut looked, mut gives_way) = (0, false);
        while self.looked_at < self.candidates.len() && !gives_way {
            // What its filters may cost together is bounded for so many of them, in however many steps they are asked.
            if self.looked_at.is_multiple_of(FILTERED_AT_ONCE) {
                asked.renew();
            }
            let candidate = &self.candidates[self.looked_at];
            let is_slow = candidate.has_filter();
            let is_above = self.of.written.is_none_or(|written| candidate.id().0 > written.last);
            if is_above && asked.lets_through(candidate, &mut self.failures) {
                self.candidates.swap(self.kept, self.looked_at);
                self.kept += 1;
            }
            self.looked_at += 1;
            looked += LOOK_UNITS;
            let is_worth_it = asked.taken() + looked >= STEP_UNITS;
            gives_way = is_worth_it && (is_slow || self.looked_at.is_multiple_of(LOOK_EVERY)) && is_over();
        }
        self.units_left = asked.left();
        let is_done = self.looked_at == self.candidates.len();
        if is_done {
            self.candidates.truncate(self.kept);
            self.candidates.shrink_to_fit();
            self.looked_at = self.kept;
        }
        is_done
    }

    /// How many candidates it keeps.
    pub(crate) fn kept(&self) -> usize {
        self.candidates.capacity()
    }

    /// How many subscriptions it is for, those that have it among them: once all filters were asked.
    pub(crate) fn matches(&self) -> usize {
        let written = self.of.written.map_or(0, |written| usize::try_from(written.count).unwrap_or(usize::MAX));
        written.saturating_add(self.candidates.len())
    }

    /// Whose it is beyond what was written when it was judged, in no order; and what is told of filters that failed.
    pub(crate) fn into_matching(self) -> (SlicedFacts, Vec<Arc<Subscription>>, Vec<Failure>) {
        (self.of, self.candidates, self.failures)
    }

    /// Sorts what it is for, until it `is_over`. Whether all is sorted.
    pub(crate) fn sort(&mut self, is_over: &dyn Fn() -> bool) -> bool {
        while self.sorted < self.candidates.len() {
            let run = self.sorted..self.candidates.len().min(self.sorted + SORTED_AT_ONCE);
            self.candidates[run.clone()].sort_unstable_by_key(|subscription| subscription.id());
            self.sorted = run.end;
            self.runs.push(run);
            if is_over() {
                break;
            }
        }
        self.sorted == self.candidates.len()
    }

    /// The next ones in the order of their ids, once all is sorted: at most so many. It is under way with them, if there are any.
    pub(crate) fn next(&mut self, most: usize) -> Vec<Arc<Subscription>> {
        let (most, before) = (most.min(self.most), self.runs.clone());
        let mut slice = Vec::with_capacity(most.min(self.candidates.len()));
        while slice.len() < most {
            let left = self.runs.iter_mut().filter(|run| run.start < run.end);
            let Some(first) = left.min_by_key(|run| self.candidates[run.start].id()) else { break };
            slice.push(Arc::clone(&self.candidates[first.start]));
            first.start += 1;
        }
        if let Some(last) = slice.last() {
            self.under_way = Some(SliceUnderWay { cursor: self.cursor, runs: before, count: slice.len() });
            let count = self.cursor.map_or(0, |cursor| cursor.count) + slice.len() as u64;
            self.cursor = Some(SliceCursor { last: last.id().0, count });
        }
        slice
    }

    /// How far it is with the slice that was made last.
    pub(crate) fn cursor(&self) -> Option<SliceCursor> {
        self.cursor
    }

    /// Whether a slice waits for its transaction.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// The slice that was under way is committed.
    pub(crate) fn committed(&mut self) {
        self.under_way = None;
    }

    /// The cluster is too slow for the slice that is under way: half of it is left, one delivery at least, and no later one has more.
    /// How far the event is with that; `None`: there is no less of it.
    pub(crate) fn shorten(&mut self) -> Option<SliceCursor> {
        let under_way = self.under_way.take_if(|slice| slice.count > 1)?;
        (self.cursor, self.runs, self.most) = (under_way.cursor, under_way.runs, under_way.count / 2);
        self.next(self.most);
        self.cursor
    }

    /// The slice that is under way was refused. Where it is the first, nothing of the event is written, and all of it is refused.
    /// Whether that is so.
    pub(crate) fn refuse(&mut self, rejection: Rejection) -> bool {
        let is_first = self.under_way.as_ref().is_some_and(|slice| slice.cursor.is_none());
        if is_first {
            self.refused = Some(rejection);
        }
        is_first
    }

    /// Why nothing of it is written, if it was refused.
    pub(crate) fn take_refused(&mut self) -> Option<Rejection> {
        self.refused.take()
    }
}
