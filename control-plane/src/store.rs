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
//!            +-- committed: snapshot has it -> answers
//!            +-- fenced: nothing was written, again
//!            +-- unknown: acquire settles it; look for the last write id, else again
//! ```
//!
//! Why it holds: whoever writes after us has fenced us first, and whoever listed the end after its own fencing sees everything
//! that can still be in the topic. An end-of-partition event is never trusted for that (it may be stale), only `ListOffsets`.
//! So while nobody has fenced us, the snapshot with our own last write in it is the state our next write will meet, and the
//! transaction proves it: fenced, it does not commit. What writes nothing proves nothing, so refusals alone are decided again
//! over a listed end.
//!
//! **Audit.** Every changed object has a record on `audit` in the same transaction: neither stands without the other.
//!
//! **Two that write.** Who is fenced soon after it acquired leaves the other its turn for a while (`share.rs`).
//!
//! The line is served by a task of its own: a request that gives up does not tear its write in the middle, because the next
//! one relies on knowing how this one ended. When Kafka stays silent past the deadline the task gives up between two steps; the
//! next write then begins by acquiring, which settles whatever was left open.

mod audit;
mod group;
mod line;
mod log;
mod pending;
mod refuse;
mod share;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Snapshot};
use chassis::clock;
use chassis::config::ByteLimits;
use chassis::tasks;
use parking_lot::Mutex as Lock;
use schemas::control::{ControlKey, ControlObject};
use schemas::problem::ProblemId;
use tokio::sync::{Mutex, oneshot};
use tracing::warn;
use uuid::Uuid;

use crate::actor::{Actor, ActorToken};
use crate::config::Deps;
use crate::error::Error;
use crate::metrics::ControlMetrics;
use crate::operations::Operations;
use crate::problem::{Problem, unavailable};
use crate::store::group::QueuedWrite;
use crate::store::line::{WriteLine, WriteOwner};
use crate::store::log::ControlLog;
use crate::store::pending::{PendingWrite, RuledWrite};
use crate::store::refuse::{full, late};
use crate::store::share::WriterShare;

pub use crate::store::log::transactional_id;

/// Between two tries of a call that failed.
const PAUSE: Duration = Duration::from_millis(100);

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
    deadline: Duration,
    bytes: ByteLimits,
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

/// What a decision may look at beside the snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// An end of `control` that the snapshot has reached and that no other write can lie behind: what is matched from the
    /// write on has seen everything below.
    pub(crate) end: i64,
    /// Unix ms.
    pub(crate) now_ms: i64,
}

/// A change of one object.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// It is this now.
    Put(ControlObject),
    /// It is gone.
    Remove(ControlKey),
}

/// What a decision comes to: changes for one transaction (none: nothing is written) and what to answer.
#[derive(Debug)]
pub(crate) struct Decision<T> {
    pub(crate) changes: Vec<Change>,
    pub(crate) answer: T,
}

// === impl Change ===

impl Change {
    /// The key of the object that is changed.
    pub(crate) fn key(&self) -> ControlKey {
        match self {
            Self::Put(object) => object.key(),
            Self::Remove(key) => key.clone(),
        }
    }
}

// === impl Decision ===

impl<T> Decision<T> {
    pub(crate) fn put(object: ControlObject, answer: T) -> Self {
        Self { changes: vec![Change::Put(object)], answer }
    }

    pub(crate) fn nothing(answer: T) -> Self {
        Self { changes: Vec::new(), answer }
    }
}

// === impl Store ===

impl Store {
    pub(crate) async fn start(
        deps: &Deps,
        limits: (Duration, ByteLimits),
        operations: Option<Operations>,
        metrics: ControlMetrics,
    ) -> Result<Self, Error> {
        let log = ControlLog::start(deps, operations).await?;
        Ok(Self::new(deps.catalog.clone(), log, limits, metrics))
    }

    fn new(
        catalog: Catalog,
        log: ControlLog,
        (deadline, bytes): (Duration, ByteLimits),
        metrics: ControlMetrics,
    ) -> Self {
        Self {
            inner: Arc::new(StoreInner {
                catalog,
                log,
                turn: Mutex::default(),
                line: Lock::default(),
                deadline,
                bytes,
                metrics,
            }),
        }
    }

    /// A store over a catalog without Kafka, for tests of the handlers.
    #[cfg(test)]
    pub(crate) fn in_memory(catalog: Catalog, bytes: ByteLimits, metrics: ControlMetrics) -> Self {
        let log = ControlLog::memory(catalog.clone(), Vec::new());
        Self::new(catalog, log, (Duration::from_secs(10), bytes), metrics)
    }

    /// Decides over a current snapshot and writes what was decided. `rule` may be called more than once. On return this
    /// process's snapshot has the write.
    ///
    /// # Errors
    /// The problem `rule` found, a 429 where its owner has too many waiting, or a 503 when the outcome is not known to be good
    /// before the deadline.
    pub(crate) async fn write<T, F>(&self, actor: impl Into<Actor>, rule: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send + 'static,
    {
        let mut answers = self.write_all(actor, vec![rule]).await?;
        answers.pop().unwrap_or_else(|| Err(Problem::new(ProblemId::InternalServerError, "the write was not decided")))
    }

    /// The same for several writes, in their order, each decided over what those before it decided, each with its own answer.
    ///
    /// # Errors
    /// Nothing was decided: a 429 where their owner has too many waiting, a 503.
    pub(crate) async fn write_all<T, F>(
        &self,
        actor: impl Into<Actor>,
        rules: Vec<F>,
    ) -> Result<Vec<Result<T, Problem>>, Problem>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send + 'static,
    {
        let (inner, actor) = (&self.inner, actor.into());
        let started = clock::instant();
        let deadline = started + inner.deadline;
        let owner = inner.owner(&actor);
        let (mut group, mut answers): (Vec<QueuedWrite>, Vec<_>) = (Vec::new(), Vec::new());
        for rule in rules {
            let (answer, told) = oneshot::channel();
            let write = RuledWrite { actor: actor.clone(), rule, started, deadline, decided: None, answer };
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
            told.push(answered.map_or_else(|_elapsed| Err(late()), |answer| answer.unwrap_or_else(lost)));
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

    /// Answers what writes would answer. It takes no turn and fences nobody.
    async fn try_out(&self, mut group: Vec<QueuedWrite>, deadline: Instant) -> Result<(), Problem> {
        let end = self.catch_up(deadline).await?;
        while !group.is_empty() {
            // What one look cannot hold is decided without what stands before it.
            let decided = self.rehearse(&mut group, Some(end)).len();
            for (_, write) in group.drain(..decided) {
                write.settle(None);
            }
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
            Err(_elapsed) => Err(late()),
        }
    }

    /// Waits until the own snapshot has the write: whoever asks this replica next sees it.
    async fn applied(&self, write_id: Uuid, deadline: Instant) -> Result<(), Problem> {
        let mut changed = self.catalog.changed();
        let left = deadline.saturating_duration_since(clock::instant());
        let seen = async {
            loop {
                changed.borrow_and_update();
                if self.catalog.read().write_seen(write_id) || changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(left, seen).await.map_err(|_elapsed| late())
    }
}

#[cfg(test)]
pub(crate) use tests::audited;

#[cfg(test)]
mod tests;
