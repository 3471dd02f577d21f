//! What a takeover has to correct in the lists it finds, before anything else of its partition begins.
//!
//! | found | what leaves the lists |
//! |---|---|
//! | `deliveries` was created anew | everything: it is gone |
//! | no claim: the offset was set by hand, or by a worker that knows no lists | what lies at or above the offset: it is read again |
//! | retention has passed some of it | that: it is lost, and counted |
//!
//! An ordering key that waits for something of that is free where it is gone, and waits on where it is read again.
//!
//! It is done in portions, each of which one transaction takes: a lane may have more than that in one list. Where there was no claim, or for another topic, each but the last repeats offset, topic id and claim as
//! they were found, so that whoever takes over in between finds the same, and goes on.

use std::collections::VecDeque;
use std::ops::Range;

use schemas::ids::SubscriptionId;

use super::restore::FoundLists;
use super::{Book, Total};
use crate::flaws::{self, Flaw};
use crate::lists::List;

/// Lanes of one portion.
const PORTION: usize = 200;
/// Chunks of one portion.
const CHUNKS: usize = 400;

/// What is left to correct.
#[derive(Clone, Debug)]
pub(super) struct Correction {
    kept: Range<i64>,
    /// What was below is gone, counted or not.
    gone_below: i64,
    /// What was below the log's start counts as lost; what is left out otherwise is read again or was deleted by hand.
    lost_below: i64,
    left: VecDeque<SubscriptionId>,
    /// Lanes of the portion under way.
    under_way: Vec<SubscriptionId>,
    /// Until it ends, what was found is what is committed: a successor could not tell otherwise that there was something to correct.
    repeats_found: bool,
    /// Nothing was claimed: what is found is committed once, also where it needs no change.
    owes_claim: bool,
    /// The portion under way pays that debt.
    pays_claim: bool,
}

// === impl Correction ===

impl Default for Correction {
    fn default() -> Self {
        Self {
            kept: 0..i64::MAX,
            gone_below: i64::MIN,
            lost_below: i64::MIN,
            left: VecDeque::new(),
            under_way: Vec::new(),
            repeats_found: false,
            owes_claim: false,
            pays_claim: false,
        }
    }
}

impl Correction {
    /// Of lists as they were found.
    pub(super) fn of(book: &Book, known: FoundLists) -> Self {
        let kept = match known {
            FoundLists { is_recreated: true, .. } => 0..0,
            FoundLists { claimed: Some(_), log_start, .. } => log_start..i64::MAX,
            FoundLists { claimed: None, start, log_start, .. } => log_start..start.max(log_start),
        };
        let lost_below = if known.is_recreated { i64::MIN } else { known.log_start };
        let gone_below = if known.is_recreated { i64::MAX } else { known.log_start };
        let lists = book.lists().filter(|(_, lists)| lists.iter().any(|list| reaches_beyond(list, &kept)));
        let left = lists.map(|(id, _)| id).collect();
        let owes_claim = known.claimed.is_none() && book.total.queued > 0;
        let repeats_found = known.is_recreated || known.claimed.is_none();
        Self { kept, gone_below, lost_below, left, repeats_found, owes_claim, ..Self::default() }
    }

    /// Whether a record of `deliveries` is there, and not read again.
    pub(super) fn keeps(&self, offset: i64) -> bool {
        self.kept.contains(&offset)
    }

    /// The portion under way is committed.
    pub(super) fn keep(&mut self) {
        self.under_way.clear();
        self.pays_claim = false;
    }

    /// It was not written.
    pub(super) fn undo(&mut self) {
        for id in std::mem::take(&mut self.under_way).into_iter().rev() {
            // The last one may not have been done with: then it stands there already.
            if self.left.front() != Some(&id) {
                self.left.push_front(id);
            }
        }
        self.owes_claim |= std::mem::take(&mut self.pays_claim);
    }
}

/// Whether something of a list lies outside.
fn reaches_beyond(list: &List, kept: &Range<i64>) -> bool {
    [list.first(), list.last()].into_iter().flatten().any(|at| !kept.contains(&at))
}

// === impl Book: corrections ===

impl Book {
    /// Whether something has to be corrected and committed before its partition begins.
    pub(crate) fn needs_correction(&self) -> bool {
        !self.correction.left.is_empty() || self.correction.owes_claim
    }

    /// What the batch that was cut claims; `None`: what was found at the takeover, once more.
    pub(crate) fn claim(&self) -> Option<Total> {
        let repeats = self.correction.repeats_found && self.needs_correction();
        let repeats = repeats && !flaws::has(Flaw::ClaimBeforeCorrection);
        (!repeats).then_some(self.total)
    }

    /// Corrects the next portion, in a batch that has begun. Returns the offsets that are lost. The batch claims what is left
    /// if nothing more has to be corrected, see [`Book::needs_correction`].
    pub(crate) fn correct(&mut self) -> Vec<i64> {
        let mut lost = Vec::new();
        self.correction.pays_claim |= std::mem::take(&mut self.correction.owes_claim);
        let mut chunks = CHUNKS;
        for _ in 0..PORTION {
            let Some(id) = self.correction.left.pop_front() else { break };
            self.correction.under_way.push(id);
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            self.journal.touch(id, lane);
            let kept = &self.correction.kept;
            for list in &mut lane.lists {
                let gone = self.journal.step(id, list.id(), |steps| {
                    let gone = list.keep(kept, chunks, steps);
                    chunks = chunks.saturating_sub(steps.len());
                    gone
                });
                gone.iter().for_each(|offset| self.total.take(*offset));
                lost.extend(gone.into_iter().filter(|offset| *offset < self.correction.lost_below));
            }
            lane.lists.retain(|list| !list.is_empty());
            let (is_kept, gone_below) = (|at: &i64| kept.contains(at), self.correction.gone_below);
            lane.held_keys.retain(|_, held| held.listed_at.is_none_or(|at| is_kept(&at) || at >= gone_below));
            lane.held_keys.values_mut().for_each(|held| held.listed_at = held.listed_at.filter(is_kept));
            if lane.lists.iter().any(|list| reaches_beyond(list, kept)) {
                // The next portion goes on with it.
                self.correction.left.push_front(id);
                break;
            }
        }
        lost
    }
}
