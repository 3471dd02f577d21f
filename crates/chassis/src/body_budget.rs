//! The bytes that bodies of requests hold in memory.
//!
//! All of them together hold so many, and one organization, with all of its tokens, at most half of what the others leave, so that
//! there is room for the next one's however much the first sends. Its only body is bounded by the whole alone: the largest one still
//! fits a small budget.
//!
//! Each process counts for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use schemas::ids::OrganizationId;

use crate::metrics::IntGauge;

/// Counters of organizations. Two that share one share what is theirs: rare, and cheaper than a lock for every body.
const COUNTERS: usize = 4_096;

/// The bytes that bodies may hold together. Clones are the same one.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<BodyBudgetInner>);

#[derive(Debug)]
struct BodyBudgetInner {
    used: AtomicUsize,
    limit: usize,
    /// What organizations have of it.
    owned: Box<[AtomicUsize]>,
    shown: IntGauge,
}

/// What one request's body holds of the budget, given back on drop.
#[derive(Debug)]
pub struct BodyShare {
    budget: BodyBudget,
    /// The counter of whose body it is, once that is known; the operator has none.
    owner: Option<usize>,
    bytes: usize,
}

/// Why a body may not hold more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRefusal {
    /// It would hold more than all may: waiting cures nothing.
    TooLarge {
        /// Bytes that all may hold.
        limit: usize,
    },
    /// Other bodies of its organization hold as much as they may.
    Organization,
    /// Bodies of others hold what there is.
    Others,
}

/// What is held while a body grows, with it.
#[derive(Clone, Copy, Debug)]
struct HeldBytes {
    /// By all.
    all: usize,
    /// By the organization.
    own: usize,
    /// By this body.
    body: usize,
}

// === impl BodyBudget ===

impl BodyBudget {
    /// Of so many bytes; `shown` tells how many of them are held.
    #[must_use]
    pub fn new(limit: usize, shown: IntGauge) -> Self {
        let owned = (0..COUNTERS).map(|_| AtomicUsize::new(0)).collect();
        Self(Arc::new(BodyBudgetInner { used: AtomicUsize::new(0), limit, owned, shown }))
    }

    /// A share of nothing yet, of somebody who has the whole.
    #[must_use]
    pub fn share(&self) -> BodyShare {
        BodyShare { budget: self.clone(), owner: None, bytes: 0 }
    }
}

// === impl HeldBytes ===

impl HeldBytes {
    fn refusal(self, limit: usize) -> Option<BodyRefusal> {
        if self.body > limit {
            return Some(BodyRefusal::TooLarge { limit });
        }
        if self.all > limit {
            return Some(BodyRefusal::Others);
        }
        let others = self.all.saturating_sub(self.own);
        let is_beyond = self.own > self.body && self.own > (limit - others.min(limit)) / 2;
        is_beyond.then_some(BodyRefusal::Organization)
    }
}

// === impl BodyShare ===

impl BodyShare {
    /// Whose body it is; `None`: the operator's, who has the whole. Before anything of it is taken.
    pub fn belong(&mut self, organization: Option<OrganizationId>) {
        debug_assert_eq!(self.bytes, 0, "what was taken before would be given back to nobody");
        self.owner = organization.map(counter);
    }

    /// Takes more of the budget, all of it or nothing.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn grow(&mut self, bytes: usize) -> Result<(), BodyRefusal> {
        let BodyBudgetInner { used, limit, shown, .. } = &*self.budget.0;
        let all = used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let own = self.counter().map_or(0, |owner| owner.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes));
        shown.add(signed(bytes));
        self.bytes += bytes;
        let Some(refusal) = (HeldBytes { all, own, body: self.bytes }).refusal(*limit) else { return Ok(()) };
        self.shrink(bytes);
        Err(refusal)
    }

    /// Gives back what a body does not need any more.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(owner) = self.counter() {
            owner.fetch_sub(bytes, Ordering::Relaxed);
        }
        self.budget.0.shown.sub(signed(bytes));
    }

    /// Gives back all: what was read is dropped.
    pub fn end(&mut self) {
        self.shrink(self.bytes);
    }

    fn counter(&self) -> Option<&AtomicUsize> {
        self.budget.0.owned.get(self.owner?)
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.end();
    }
}

fn counter(organization: OrganizationId) -> usize {
    // Random in every version of a UUID, and never what a tenant chose.
    let [.., before, last] = organization.0.into_bytes();
    usize::from(u16::from_be_bytes([before, last])) % COUNTERS
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn budget(limit: usize) -> BodyBudget {
        BodyBudget::new(limit, IntGauge::new("bytes", "Bytes.").unwrap())
    }

    fn of(budget: &BodyBudget, organization: Option<u128>) -> BodyShare {
        let mut share = budget.share();
        share.belong(organization.map(|number| OrganizationId(Uuid::from_u128(number))));
        share
    }

    fn taken(budget: &BodyBudget, organization: u128, bytes: usize) -> Result<BodyShare, BodyRefusal> {
        let mut share = of(budget, Some(organization));
        share.grow(bytes).map(|()| share)
    }

    #[test]
    fn each_organization_leaves_half_to_the_next() {
        let budget = budget(1_024);
        let mut held = Vec::new();
        let counts: Vec<usize> = (1..=4)
            .map(|organization| {
                let before = held.len();
                held.extend(std::iter::from_fn(|| taken(&budget, organization, 8).ok()));
                held.len() - before
            })
            .collect();
        assert_eq!(counts, [64, 32, 16, 8], "of 128 in all");
        assert_eq!(taken(&budget, 1, 8).unwrap_err(), BodyRefusal::Organization);
        assert_eq!(budget.0.shown.get(), 960, "what was refused is not held");
        drop(held);
        assert_eq!((budget.0.used.load(Ordering::Relaxed), budget.0.shown.get()), (0, 0));
        assert!(budget.0.owned.iter().all(|it| it.load(Ordering::Relaxed) == 0));
        assert!(of(&budget, None).grow(1_000).is_ok(), "the operator has the whole");
    }

    #[test]
    fn the_only_body_of_an_organization_may_take_all_that_is_left() {
        let budget = budget(1_000);
        let mut only = taken(&budget, 1, 600).unwrap();
        only.grow(400).unwrap();
        assert_eq!(taken(&budget, 1, 1).unwrap_err(), BodyRefusal::Others);
        assert_eq!(taken(&budget, 2, 1).unwrap_err(), BodyRefusal::Others);
        only.shrink(900);
        assert!(taken(&budget, 1, 1).is_ok());
        only.end();
        assert_eq!(budget.0.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_body_that_never_fits_is_told_so() {
        let budget = budget(1_000);
        let mut only = taken(&budget, 1, 600).unwrap();
        assert_eq!(only.grow(401).unwrap_err(), BodyRefusal::TooLarge { limit: 1_000 });
        assert_eq!(budget.0.shown.get(), 600);
    }
}
