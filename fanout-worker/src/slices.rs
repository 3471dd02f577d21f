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
use kafka::{Lease, SliceCursor};
use schemas::delivery::Deprecation;
use schemas::event::StringMap;
use schemas::ids::ApplicationId;
use schemas::seen::Hash;
use sources::Rejection;

use crate::config::{FILTERED_AT_ONCE, LOOK_EVERY, SORTED_AT_ONCE};
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
    failures: Vec<Failure>,
    /// What is left of each sorted run of candidates.
    runs: Vec<Range<usize>>,
    sorted: usize,
    /// How far it is with the slice that was made last.
    cursor: Option<SliceCursor>,
    /// Until when a slice waits for its transaction: how far it was before that.
    under_way: Option<Option<SliceCursor>>,
    /// The whole event is refused: nothing of it is written.
    refused: Option<Rejection>,
    /// What was found out is out of date: once nothing of it is under way it is judged anew.
    pub(crate) is_stale: bool,
}

// === impl SlicedEvent ===

impl SlicedEvent {
    /// Nothing of it is done but what the cursor says.
    pub(crate) fn new(of: SlicedFacts, candidates: Vec<Arc<Subscription>>) -> Self {
        Self {
            cursor: of.written,
            of,
            candidates,
            kept: 0,
            looked_at: 0,
            failures: Vec::new(),
            runs: Vec::new(),
            sorted: 0,
            under_way: None,
            refused: None,
            is_stale: false,
        }
    }

    /// The same where all filters were asked.
    pub(crate) fn filtered(of: SlicedFacts, matching: Vec<Arc<Subscription>>, failures: Vec<Failure>) -> Self {
        let all = matching.len();
        Self { kept: all, looked_at: all, failures, ..Self::new(of, matching) }
    }

    /// Asks the filters of candidates above what is written, until it `is_over`. Whether all were asked.
    pub(crate) fn filter(&mut self, filters: &mut Filters, of: Filtered<'_>, is_over: &dyn Fn() -> bool) -> bool {
        while self.looked_at < self.candidates.len() {
            // What its filters may cost together is bounded for so many of them.
            let until = self.candidates.len().min(self.looked_at + FILTERED_AT_ONCE);
            let mut asked = filters.ask(of);
            let mut gives_way = false;
            while self.looked_at < until && !gives_way {
                let candidate = &self.candidates[self.looked_at];
                let is_slow = candidate.has_filter();
                let is_above = self.of.written.is_none_or(|written| candidate.id().0 > written.last);
                if is_above && asked.lets_through(candidate, &mut self.failures) {
                    self.candidates.swap(self.kept, self.looked_at);
                    self.kept += 1;
                }
                self.looked_at += 1;
                gives_way = (is_slow || self.looked_at.is_multiple_of(LOOK_EVERY)) && is_over();
            }
            if gives_way {
                break;
            }
        }
        let is_done = self.looked_at == self.candidates.len();
        if is_done {
            self.candidates.truncate(self.kept);
            self.looked_at = self.kept;
        }
        is_done
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
        let mut slice = Vec::with_capacity(most.min(self.candidates.len()));
        while slice.len() < most {
            let left = self.runs.iter_mut().filter(|run| run.start < run.end);
            let Some(first) = left.min_by_key(|run| self.candidates[run.start].id()) else { break };
            slice.push(Arc::clone(&self.candidates[first.start]));
            first.start += 1;
        }
        if let Some(last) = slice.last() {
            self.under_way = Some(self.cursor);
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

    /// The slice that is under way was refused. Where it is the first, nothing of the event is written, and all of it is refused.
    /// Whether that is so.
    pub(crate) fn refuse(&mut self, rejection: Rejection) -> bool {
        let is_first = self.under_way == Some(None);
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
