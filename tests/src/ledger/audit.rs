//! Runs all checks, counts everything, and compares the counts with what the test declared.

use std::collections::BTreeSet;
use std::fmt;

use schemas::attempt::Kind;

use super::books::Books;
use super::checks::{self, CHECKS, OWNED, Violation};
use super::plan::Plan;

/// Of each sort of violation so many are shown.
const SHOWN: usize = 12;

/// What a test says of its run. The default: nothing is repeated, dropped, rejected or dead, and everything has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// At most so many attempts arrive again.
    pub repeats: usize,
    /// So many records are repeats that fire nothing; `None`: any number.
    pub dropped: Option<usize>,
    /// So many records are rejected.
    pub rejected: usize,
    /// So many deliveries die.
    pub dead: usize,
    /// So many deliveries are cancelled; `None`: any number.
    pub cancelled: Option<usize>,
    /// So many deliveries are still on their way.
    pub waiting: usize,
    /// Whether a worker died, froze or was cut off, so that two owners' requests may overlap: at the times the books know of,
    /// or, if they know of none, at any.
    pub unclean: bool,
}

/// The numbers of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events a sender was told to be accepted.
    pub told: usize,
    /// Records on the events topic that are events.
    pub accepted: usize,
    /// Events the fan-out matched, with 0 subscriptions or more.
    pub matched: usize,
    /// Repeats it dropped.
    pub dropped: usize,
    /// Records it rejected.
    pub rejected: usize,
    /// Deliveries it wrote.
    pub deliveries: usize,
    /// Deliveries that succeeded.
    pub delivered: usize,
    /// Deliveries that died.
    pub dead: usize,
    /// Deliveries that were cancelled.
    pub cancelled: usize,
    /// Deliveries that were written and have not ended.
    pub waiting: usize,
    /// Attempts that failed and were repeated by the schedule.
    pub failed_attempts: usize,
    /// Requests that arrived.
    pub requests: usize,
    /// Attempts that arrived again.
    pub repeats: usize,
}

/// What the ledger says.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The numbers.
    pub counts: Counts,
    /// What must not be.
    pub violations: Vec<Violation>,
}

/// Checks the books.
#[must_use]
pub fn audit(books: &Books, expect: &Expect) -> Audit {
    let plan = Plan::of(books);
    let counts = Counts::of(books, &plan);
    let mut violations: Vec<Violation> = CHECKS.iter().flat_map(|check| check(books, &plan)).collect();
    // A run that went wrong at a time nobody knows is not judged by these at all.
    if !expect.unclean || !books.overlaps.is_empty() {
        violations.extend(OWNED.iter().flat_map(|check| check(books, &plan)));
    }
    violations.extend(counts.unexpected(expect));
    Audit { counts, violations }
}

// === impl Expect ===

impl Default for Expect {
    fn default() -> Self {
        Self { repeats: 0, dropped: Some(0), rejected: 0, dead: 0, cancelled: Some(0), waiting: 0, unclean: false }
    }
}

// === impl Counts ===

impl Counts {
    fn of(books: &Books, plan: &Plan<'_>) -> Self {
        let facts = |kind: Kind| books.facts.iter().filter(|fact| fact.kind == kind).count();
        let ended: BTreeSet<_> = plan.ends.keys().collect();
        Self {
            told: books.told.len(),
            accepted: books.events.iter().filter(|event| event.content.is_some()).count(),
            matched: facts(Kind::Matched),
            dropped: facts(Kind::Repeat),
            rejected: facts(Kind::Rejected),
            deliveries: plan.first_hops.len(),
            delivered: facts(Kind::Delivered),
            dead: facts(Kind::DeadLettered),
            cancelled: facts(Kind::Cancelled),
            waiting: plan.first_hops.keys().filter(|id| !ended.contains(id)).count(),
            failed_attempts: facts(Kind::Attempted),
            requests: books.requests.len(),
            repeats: checks::repeats(books),
        }
    }

    fn unexpected(&self, expect: &Expect) -> Vec<Violation> {
        let exact = [
            ("dropped as repeats", expect.dropped, self.dropped),
            ("rejected", Some(expect.rejected), self.rejected),
            ("dead", Some(expect.dead), self.dead),
            ("cancelled", expect.cancelled, self.cancelled),
            ("still waiting", Some(expect.waiting), self.waiting),
        ];
        let differs =
            exact.into_iter().filter(|(_, expected, found)| expected.is_some_and(|expected| expected != *found));
        let mut found: Vec<Violation> = differs
            .map(|(name, expected, found)| format!("{found} are {name}, not {}", expected.unwrap_or_default()))
            .map(|what| Violation { invariant: None, what })
            .collect();
        if self.repeats > expect.repeats {
            let what = format!("{} attempts arrived again, {} may", self.repeats, expect.repeats);
            found.push(Violation { invariant: Some(schemas::invariants::Invariant::CommitBelowUnresolved), what });
        }
        found
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "told {} accepted {} matched {} dropped {} rejected {} | deliveries {} delivered {} dead {} cancelled {} \
             waiting {} | failed attempts {} requests {} repeats {}",
            self.told,
            self.accepted,
            self.matched,
            self.dropped,
            self.rejected,
            self.deliveries,
            self.delivered,
            self.dead,
            self.cancelled,
            self.waiting,
            self.failed_attempts,
            self.requests,
            self.repeats
        )
    }
}

// === impl Audit ===

impl Audit {
    /// Whether every promise was kept.
    #[must_use]
    pub const fn balances(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.counts)?;
        for violation in self.violations.iter().take(SHOWN) {
            writeln!(f, "  {violation}")?;
        }
        match self.violations.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}
