//! The only writer of `control`: compare-and-set over a compacted topic, without a leader and without a database.
//!
//! ```text
//! line, one of each owner in turn --> group (`group.rs`): decide one after the other over the snapshot
//!          | nobody has anything to write --> list the end, snapshot reaches it, decide again --> answers
//!          | somebody has                                                    | somebody has after all
//!          v                                                                 v
//!         held, and the snapshot has our own last write? --no--> acquire (fences every other writer), list the end,
//!            | yes: nobody can have written since                snapshot reaches it, decide again
//!            v                                                               |
//!         one transaction: control and audit of all <------------------------+
//!            +-- committed: snapshot has all of it -> answers
//!            +-- fenced: nothing was written, again
//!            +-- unknown: acquire settles it; look for the transaction's id, else again
//! ```
//!
//! Why it holds: whoever writes after us has fenced us first, and whoever listed the end after its own fencing sees everything
//! that can still be in the topic. An end-of-partition event is never trusted for that (it may be stale), only `ListOffsets`.
//! So while nobody has fenced us, the snapshot with our own last write in it is the state our next write will meet, and the
//! transaction proves it: fenced, it does not commit. What writes nothing proves nothing, so refusals alone are decided again
//! over a listed end.
//!
//! **Audit.** Every changed object has a record on `audit` in the same transaction: neither stands without the other. So has every
//! object that something was done with which changes nothing of it, as a ping does.
//!
//! **Two that write.** Who is fenced soon after it acquired leaves the other its turn for a while (`share.rs`).
//!
//! **Beside other releases** what a newer one wrote is left alone, and nothing is written that an older one could not read (`shapes.rs`).
//!
//! **A trial** (`dry_run`) is decided over a listed end, all of it in a row, and takes no turn (`trial.rs`).
//!
//! The line is served by a task of its own: a request that gives up does not tear its write in the middle, because the next
//! one relies on knowing how this one ended. When Kafka stays silent past the deadline the task gives up between two steps; the
//! next write then begins by acquiring, which settles whatever was left open.

mod answers;
mod audit;
mod changed;
mod decision;
mod group;
mod line;
mod log;
mod pending;
mod refuse;
mod shapes;
mod share;
mod trial;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Snapshot};
use chassis::clock;
use chassis::limited::Limited;
use chassis::tasks;
use parking_lot::Mutex as Lock;
use schemas::problem::ProblemId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, oneshot};
use tracing::warn;

use crate::actor::{Actor, ActorToken};
use crate::config::Deps;
use crate::error::Error;
use crate::metrics::ControlMetrics;
use crate::operations::Operations;
use crate::problem::{Problem, out_of_time, unavailable};
use crate::store::answers::Keeping;
use crate::store::group::{HOLD, QueuedWrite};
use crate::store::line::{WriteLine, WriteOwner};
use crate::store::log::ControlLog;
use crate::store::pending::{PendingWrite, RuledWrite};
pub(crate) use crate::store::refuse::check_token;
use crate::store::refuse::full;
use crate::store::share::WriterShare;

pub(crate) use crate::store::decision::{Change, Decision, Moment};
pub use crate::store::log::transactional_id;
pub(crate) use crate::store::shapes::WriteRules;

/// Between two tries of a call that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two lines about the same.
const LINE_PERIOD: Duration = Duration::from_secs(60);

/// The writer. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<StoreInner>,
}

#[derive(Debug)]
struct StoreInner {
    catalog: Catalog,
    log: ControlLog,
    /// One transaction at a time in this process.
    turn: Mutex<Turn>,
    line: Lock<ServedLine>,
    /// One trial of many writes at a time: each of them keeps readers of the snapshot waiting.
    trial: Mutex<()>,
    /// Lines about what the operator is not told.
    lines: Limited<()>,
    deadline: Duration,
    /// How long readers of the snapshot wait for those who decide over it.
    hold: Duration,
    rules: WriteRules,
    metrics: ControlMetrics,
}

/// Those who wait, and whether somebody serves them.
#[derive(Default)]
struct ServedLine {
    writes: WriteLine<Box<dyn PendingWrite>>,
    is_served: bool,
}

impl fmt::Debug for ServedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedLine").field("waiting", &self.writes.len()).finish_non_exhaustive()
    }
}

/// What a write leaves to the next one.
#[derive(Debug, Default)]
struct Turn {
    /// The snapshot has everything that was written before we acquired, and every write of ours since.
    current: bool,
    share: WriterShare,
}

// === impl Store ===

impl Store {
    pub(crate) async fn start(
        deps: &Deps,
        limits: (Duration, WriteRules),
        operations: Option<Operations>,
        metrics: ControlMetrics,
    ) -> Result<Self, Error> {
        let log = ControlLog::start(deps, operations).await?;
        Ok(Self::new(deps.catalog.clone(), log, limits, metrics))
    }

    fn new(
        catalog: Catalog,
        log: ControlLog,
        (deadline, rules): (Duration, WriteRules),
        metrics: ControlMetrics,
    ) -> Self {
        Self {
            inner: Arc::new(StoreInner {
                catalog,
                log,
                turn: Mutex::default(),
                line: Lock::default(),
                trial: Mutex::default(),
                lines: Limited::new(LINE_PERIOD),
                deadline,
                hold: HOLD,
                rules,
                metrics,
            }),
        }
    }

    /// A store over a catalog without Kafka, for tests of the handlers.
    #[cfg(test)]
    pub(crate) fn in_memory(catalog: Catalog, bytes: chassis::config::ByteLimits, metrics: ControlMetrics) -> Self {
        let log = ControlLog::memory(catalog.clone(), Vec::new());
        let rules = WriteRules::new(bytes, crate::health::Instances::default());
        Self::new(catalog, log, (Duration::from_secs(10), rules), metrics)
    }

    /// Decides over a current snapshot and writes what was decided. `rule` may be called more than once. On return this
    /// process's snapshot has the write. A repeat of a request that carried an `Idempotency-Key` has the answer of the first.
    ///
    /// # Errors
    /// The problem `rule` found, a 429 where its owner has too many waiting, or a 503 when the outcome is not known to be good
    /// before the deadline.
    pub(crate) async fn write<T, F>(&self, actor: impl Into<Actor>, rule: F) -> Result<T, Problem>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send + 'static,
    {
        let actor = actor.into();
        let keeping = self.inner.keeping(&actor, None);
        only(self.write_each(actor, vec![(rule, keeping)]).await?)
    }

    /// The same for a write of the control plane itself, which no request stands behind.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub(crate) async fn write_own<T, F>(&self, part: &Actor, rule: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send + 'static,
    {
        only(self.write_each(part.clone(), vec![(rule, None)]).await?)
    }

    /// The same for several writes, in their order, each decided over what those before it decided, each with its own answer. Each
    /// has a number among those of its request.
    ///
    /// # Errors
    /// Nothing was decided: a 429 where their owner has too many waiting, a 503.
    pub(crate) async fn write_all<T, F>(
        &self,
        actor: impl Into<Actor>,
        rules: Vec<(usize, F)>,
    ) -> Result<Vec<Result<T, Problem>>, Problem>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send + 'static,
    {
        let actor = actor.into();
        let kept = rules.into_iter().map(|(part, rule)| (rule, self.inner.keeping(&actor, Some(part)))).collect();
        self.write_each(actor, kept).await
    }

    async fn write_each<T, F>(
        &self,
        actor: Actor,
        rules: Vec<(F, Option<Keeping<T>>)>,
    ) -> Result<Vec<Result<T, Problem>>, Problem>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send + 'static,
    {
        let inner = &self.inner;
        let is_keyed = rules.iter().any(|(_, keeping)| keeping.is_some());
        let started = clock::instant();
        let own = started + inner.deadline;
        let deadline = actor.caller.deadline.map_or(own, |asked| asked.min(own));
        if deadline <= started {
            return Err(out_of_time(
                "the request took so long to come that there is no time to do it: nothing was done",
            ));
        }
        let owner = inner.owner(&actor);
        let (mut group, mut answers): (Vec<QueuedWrite>, Vec<_>) = (Vec::new(), Vec::new());
        for (rule, keeping) in rules {
            let (answer, told) = oneshot::channel();
            let write = RuledWrite::new(actor.clone(), rule, keeping, (started, deadline), answer);
            group.push((owner, Box::new(write)));
            answers.push(told);
        }
        if actor.caller.dry_run {
            inner.try_out(group, deadline).await?;
        } else {
            inner.push(owner, group)?;
        }
        let mut told = Vec::with_capacity(answers.len());
        for answer in answers {
            let lost = |_closed| Err(Problem::new(ProblemId::InternalServerError, "the write failed"));
            // What is known of one does not wait for what is not known of another.
            let answered = tokio::time::timeout_at(deadline.into(), answer).await;
            told.push(
                answered.map_or_else(
                    |_elapsed| Err(Problem::outcome_unknown(is_keyed)),
                    |answer| answer.unwrap_or_else(lost),
                ),
            );
        }
        Ok(told)
    }
}

// === impl StoreInner ===

impl StoreInner {
    /// Whose turn a write takes.
    fn owner(&self, actor: &Actor) -> WriteOwner {
        let snapshot = self.catalog.read();
        let organization = match actor.token {
            None if actor.is_system() => return WriteOwner::System,
            None => return WriteOwner::Admin,
            Some(ActorToken::Service(id)) => snapshot.service_token(id).map(|it| it.organization_id),
            Some(ActorToken::Application(id, _)) => snapshot.application_by_id(id).map(|it| it.organization_id),
        };
        organization.map_or(WriteOwner::Gone, WriteOwner::Organization)
    }

    /// How the answer of a write is kept, if its request has a key. A trial leaves nothing behind.
    fn keeping<T: Serialize + DeserializeOwned>(&self, actor: &Actor, part: Option<usize>) -> Option<Keeping<T>> {
        let keyed = actor.caller.keyed.as_ref().filter(|_| !actor.caller.dry_run)?;
        let owner = match self.owner(actor) {
            WriteOwner::Organization(id) => Some(id),
            WriteOwner::System | WriteOwner::Admin | WriteOwner::Gone => None,
        };
        Some(Keeping::new(keyed.hashes(self.catalog.vault(), part), owner))
    }

    /// Puts writes into the line, and has it served.
    fn push(self: &Arc<Self>, owner: WriteOwner, group: Vec<QueuedWrite>) -> Result<(), Problem> {
        let mut line = self.line.lock();
        let writes = group.into_iter().map(|(_, write)| write).collect();
        line.writes.push(owner, writes).map_err(full)?;
        if !std::mem::replace(&mut line.is_served, true) {
            tasks::spawn("control-write", Arc::clone(self).serve());
        }
        Ok(())
    }

    /// Fences every other writer; on return nothing of an earlier one is open any more.
    async fn acquire(&self, deadline: Instant) -> Result<(), Problem> {
        loop {
            let Err(error) = self.log.acquire().await else { return Ok(()) };
            warn!(%error, "cannot acquire the control topic");
            if !error.is_retriable() || clock::instant() + PAUSE >= deadline {
                return Err(unavailable("the control topic cannot be written now"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lists the end of `control` and waits until the snapshot is there.
    async fn catch_up(&self, deadline: Instant) -> Result<i64, Problem> {
        self.metrics.listed.inc();
        let left = deadline.saturating_duration_since(clock::instant());
        match tokio::time::timeout(left, self.catalog.read_index()).await {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(error)) => Err(unavailable(format!("the catalog cannot be brought up to date: {error}"))),
            Err(_elapsed) => Err(Problem::outcome_unknown(false)),
        }
    }

    /// Waits until the own snapshot has the whole transaction, whose last record on `control` stands at this offset: whoever asks
    /// this replica next sees it, and the next group is decided over it. That the snapshot knows the transaction's id would not say
    /// so: it knows it from the first record on, and records arrive in as many pieces as the reader likes.
    async fn applied(&self, last: Option<i64>, deadline: Instant) -> Result<(), Problem> {
        let Some(last) = last else {
            return self.catch_up(deadline).await.map(drop).map_err(|_unavailable| Problem::outcome_unknown(false));
        };
        let left = deadline.saturating_duration_since(clock::instant());
        tokio::time::timeout(left, self.catalog.wait_for(last + 1))
            .await
            .map_err(|_elapsed| Problem::outcome_unknown(false))
    }
}

/// The answer of the only write.
fn only<T>(answers: Vec<Result<T, Problem>>) -> Result<T, Problem> {
    let undecided = || Err(Problem::new(ProblemId::InternalServerError, "the write was not decided"));
    answers.into_iter().next().unwrap_or_else(undecided)
}

#[cfg(test)]
pub(crate) use tests::{audited, beside, silent};

#[cfg(test)]
mod tests;
