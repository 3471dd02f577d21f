//! What may have died of age in the lists: found by the bounds of their parts, a part at a time. Pure.
//!
//! ```text
//! once a minute: parts whose bound has passed, the oldest first --> offsets of one --asked for--> dead: leaves its list
//!      ^                                                                                | lives: its age
//!      +------------ the last of the part is told: its bounds are exact again <---------+
//! ```
//!
//! A lane may stand for days, and whatever is its head may live while what waits behind it dies: deadlines need not ascend, and
//! retries go before first tries that are older. So every part of every list is looked at, whatever its lane does, and no payload
//! is read while nothing of its part can have died.

use std::collections::{BTreeSet, VecDeque};

use schemas::ids::SubscriptionId;

use super::Book;
use crate::flaws::{self, Flaw};
use crate::lists::Age;
use crate::lists::part::ListPart;

/// Between two looks at all bounds.
pub(crate) const LOOK_EVERY_MS: i64 = 60_000;
/// Parts that one look finds at most: the next one follows at once.
const FOUND: usize = 1_024;
/// Offsets that are asked for at a time.
const ASKED: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct AgeWatch {
    /// When all bounds are looked at next, Unix ms.
    look_ms: i64,
    /// Parts that may hold something dead, the oldest last.
    found: Vec<AgedPart>,
    check: Option<AgeCheck>,
}

#[derive(Clone, Copy, Debug)]
struct AgedPart {
    subscription: SubscriptionId,
    list: u32,
    part: ListPart,
    death_ms: i64,
}

/// A part whose offsets are asked for.
#[derive(Clone, Debug)]
struct AgeCheck {
    of: AgedPart,
    unasked: VecDeque<i64>,
    asked: BTreeSet<i64>,
    /// Bounds of those that live, so far.
    living: Option<Age>,
}

// === impl Book: ages ===

impl Book {
    /// Offsets of which [`Book::age_told`] has to be told whether they live at `wall_ms`, where `deliveries` keeps a record for
    /// `keep_ms` at least.
    pub(crate) fn take_aged(&mut self, wall_ms: i64, keep_ms: Option<i64>) -> Vec<(SubscriptionId, i64)> {
        let mut aged = Vec::new();
        while let Some(of) = self.aged_part(wall_ms, keep_ms) {
            let Some(check) = &mut self.ages.check else { break };
            while check.asked.len() < ASKED
                && let Some(offset) = check.unasked.pop_front()
            {
                check.asked.insert(offset);
                aged.push((of.subscription, offset));
            }
            if !check.asked.is_empty() {
                break;
            }
            self.end_check();
        }
        aged
    }

    /// An offset that was asked for lives and is so old; `None`: it leaves its list.
    pub(crate) fn age_told(&mut self, offset: i64, living: Option<Age>) {
        let Some(check) = &mut self.ages.check else { return };
        if !check.asked.remove(&offset) {
            return;
        }
        check.living = living.map(|age| age.with(check.living)).or(check.living);
        if check.asked.is_empty() && check.unasked.is_empty() {
            self.end_check();
        }
    }

    /// When [`Book::take_aged`] may have something without having been told anything, Unix ms.
    pub(crate) fn next_age_look_ms(&self) -> Option<i64> {
        (self.total.queued > 0 && self.ages.check.is_none()).then_some(self.ages.look_ms)
    }

    /// What is being looked at may stand elsewhere now: nothing of it is concluded, and it is looked at with the next look.
    pub(super) fn end_look(&mut self) {
        self.ages.check = None;
    }

    /// The part that is looked at now.
    fn aged_part(&mut self, wall_ms: i64, keep_ms: Option<i64>) -> Option<AgedPart> {
        if let Some(check) = &self.ages.check {
            return Some(check.of);
        }
        // A wall that was set back does not put the next look off.
        let is_due = self.ages.look_ms <= wall_ms || self.ages.look_ms > wall_ms + LOOK_EVERY_MS;
        if self.ages.found.is_empty() && is_due {
            self.find_aged(wall_ms, keep_ms);
        }
        while let Some(of) = self.ages.found.pop() {
            let Some(lane) = self.lanes.get_mut(&of.subscription) else { continue };
            let Some(list) = lane.lists.iter_mut().find(|list| list.id() == of.list) else { continue };
            let unasked: VecDeque<i64> = list.look_at(of.part).into();
            if !unasked.is_empty() {
                self.ages.check = Some(AgeCheck { of, unasked, asked: BTreeSet::new(), living: None });
                return Some(of);
            }
        }
        None
    }

    fn find_aged(&mut self, wall_ms: i64, keep_ms: Option<i64>) {
        let mut found = Vec::new();
        for (subscription, lane) in &self.lanes {
            for list in &lane.lists {
                let parts = list.ages().map(|(part, age)| AgedPart {
                    subscription: *subscription,
                    list: list.id(),
                    part,
                    death_ms: age.death_ms(keep_ms),
                });
                let parts = parts.take(if flaws::has(Flaw::AgedHeadsOnly) { 1 } else { usize::MAX });
                found.extend(parts.filter(|part| part.death_ms <= wall_ms));
            }
        }
        found.sort_unstable_by_key(|part| std::cmp::Reverse((part.death_ms, part.subscription, part.list)));
        let is_all = found.len() <= FOUND;
        found.drain(..found.len().saturating_sub(FOUND));
        self.ages.look_ms = if is_all { wall_ms + LOOK_EVERY_MS } else { wall_ms };
        self.ages.found = found;
    }

    fn end_check(&mut self) {
        let Some(AgeCheck { of, living, .. }) = self.ages.check.take() else { return };
        let Some(lane) = self.lanes.get_mut(&of.subscription) else { return };
        if let Some(list) = lane.lists.iter_mut().find(|list| list.id() == of.list) {
            list.looked_at(of.part, living);
        }
    }
}
