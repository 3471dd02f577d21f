//! Turns at what is costly, or what only one can do at a time: an organization with all of its tokens does so much at once, and its
//! next request waits a little or is told to come back. So nobody waits behind all that another asks. The admin key takes no turns.
//!
//! Each replica counts for itself. An organization is counted only while it asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use schemas::ids::OrganizationId;
use schemas::problem::{Code, ProblemId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(1);
/// Requests of one organization that wait at once.
const WAITING: usize = 16;
/// Organizations that ask at once.
const ORGANIZATIONS: usize = 4_096;

/// Turns at one thing. Clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<TurnsInner>);

#[derive(Debug)]
struct TurnsInner {
    /// What is done, as a refused request is told: `reads the audit`.
    what: &'static str,
    /// Turns of one organization at once.
    each: usize,
    line: TurnsLine,
    asking: Mutex<HashMap<OrganizationId, OrganizationTurns>>,
}

/// How those of one organization wait that have no turn yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnsLine {
    /// How long each.
    pub(crate) wait: Duration,
    /// How many at once.
    pub(crate) waiting: usize,
}

#[derive(Debug)]
struct OrganizationTurns {
    free: Arc<Semaphore>,
    /// Requests that have a turn or wait for one.
    requests: usize,
}

/// A request's place among those of its organization: it waits for its turn, and then has it until it drops this.
#[derive(Debug)]
pub(crate) struct OwnedTurn {
    turns: Turns,
    organization: OrganizationId,
    free: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

// === impl Turns ===

impl Turns {
    /// So many at once for each organization, at least one.
    pub(crate) fn new(what: &'static str, each: usize) -> Self {
        Self::with_line(what, each, TurnsLine { wait: WAIT, waiting: WAITING })
    }

    /// The same, where others wait for longer, or more of them.
    pub(crate) fn with_line(what: &'static str, each: usize, line: TurnsLine) -> Self {
        Self(Arc::new(TurnsInner { what, each: each.max(1), line, asking: Mutex::default() }))
    }

    /// Waits for a turn. `None`, the admin key, has one at once.
    ///
    /// # Errors
    /// A 429 where the organization does not get one in time, or too many of its requests wait. A 503 where too many organizations
    /// ask.
    pub(crate) async fn take(&self, organization: Option<OrganizationId>) -> Result<Option<OwnedTurn>, Problem> {
        let Some(organization) = organization else { return Ok(None) };
        let mut turn = self.enter(organization)?;
        let taken = tokio::time::timeout(self.0.line.wait, Arc::clone(&turn.free).acquire_owned()).await;
        // Nobody closes it, so that it is late is all there is to say.
        turn.taken = Some(taken.ok().and_then(Result::ok).ok_or_else(|| self.refused())?);
        Ok(Some(turn))
    }

    /// A place among those who ask, without a turn yet.
    ///
    /// # Errors
    /// As of [`Turns::take`].
    pub(crate) fn enter(&self, organization: OrganizationId) -> Result<OwnedTurn, Problem> {
        let TurnsInner { each, asking, line, .. } = &*self.0;
        let mut asking = asking.lock();
        if !asking.contains_key(&organization) && asking.len() >= ORGANIZATIONS {
            let problem = Problem::new(ProblemId::ServiceUnavailable, "too many organizations ask at once");
            return Err(problem.with_code(Code::Overloaded).with_retry_after(1));
        }
        let new = || OrganizationTurns { free: Arc::new(Semaphore::new(*each)), requests: 0 };
        let of_one = asking.entry(organization).or_insert_with(new);
        if of_one.requests >= each.saturating_add(line.waiting) {
            return Err(self.refused());
        }
        of_one.requests += 1;
        Ok(OwnedTurn { turns: self.clone(), organization, free: Arc::clone(&of_one.free), taken: None })
    }

    fn refused(&self) -> Problem {
        let TurnsInner { what, each, .. } = &*self.0;
        let detail =
            format!("this organization {what} already, {each} at once: wait for an answer before asking for more");
        Problem::new(ProblemId::RateLimited, detail).with_retry_after(1)
    }
}

// === impl OwnedTurn ===

impl Drop for OwnedTurn {
    fn drop(&mut self) {
        // Before the organization is forgotten: who comes after that finds all turns free.
        self.taken = None;
        let mut asking = self.turns.0.asking.lock();
        let Some(of_one) = asking.get_mut(&self.organization) else { return };
        of_one.requests = of_one.requests.saturating_sub(1);
        if of_one.requests == 0 {
            asking.remove(&self.organization);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn organization(number: u128) -> OrganizationId {
        OrganizationId(Uuid::from_u128(number))
    }

    fn asking(turns: &Turns) -> usize {
        turns.0.asking.lock().len()
    }

    #[tokio::test]
    async fn an_organization_has_so_many_at_once_and_takes_none_of_another() {
        let turns = Turns::with_line("reads a log", 2, TurnsLine { wait: Duration::ZERO, waiting: WAITING });
        let first = turns.take(Some(organization(1))).await.unwrap();
        let second = turns.take(Some(organization(1))).await.unwrap();
        let refused = turns.take(Some(organization(1))).await.unwrap_err();
        assert_eq!((refused.status, refused.id, refused.retry_after_s), (429, "RateLimited", Some(1)));
        assert!(turns.take(Some(organization(2))).await.is_ok());
        assert!(turns.take(None).await.unwrap().is_none(), "the admin key takes no turns");
        drop(first);
        assert!(turns.take(Some(organization(1))).await.is_ok(), "a turn that is over is another's");
        drop(second);
        assert_eq!(asking(&turns), 0, "who does not ask is not kept");
    }

    #[tokio::test]
    async fn the_next_one_waits_for_its_turn_and_may_give_up() {
        let turns = Turns::with_line("reads a log", 1, TurnsLine { wait: Duration::from_secs(60), waiting: WAITING });
        let first = turns.take(Some(organization(1))).await.unwrap();
        let waits = turns.take(Some(organization(1)));
        // Polled once and dropped.
        tokio::select! {
            biased;
            _turn = waits => panic!("two have the only turn"),
            () = std::future::ready(()) => {}
        }
        let (second, ()) = tokio::join!(turns.take(Some(organization(1))), async { drop(first) });
        assert!(second.unwrap().is_some());
        assert_eq!(asking(&turns), 0);
    }

    #[test]
    fn no_more_than_some_of_an_organization_wait_and_no_more_than_some_organizations_ask() {
        let turns = Turns::new("reads a log", 1);
        let waiting: Vec<OwnedTurn> = (0..=WAITING).map(|_| turns.enter(organization(0)).unwrap()).collect();
        assert_eq!(turns.enter(organization(0)).unwrap_err().status, 429);
        let number = |number: usize| organization(u128::try_from(number).unwrap());
        let others: Vec<OwnedTurn> = (1..ORGANIZATIONS).map(|it| turns.enter(number(it)).unwrap()).collect();
        assert_eq!(turns.enter(number(ORGANIZATIONS)).unwrap_err().status, 503);
        drop(waiting);
        assert!(turns.enter(number(ORGANIZATIONS)).is_ok());
        drop(others);
        assert_eq!(asking(&turns), 0);
    }
}
