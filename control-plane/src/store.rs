//! The only writer of `control`: compare-and-set over a compacted topic, without a leader and without a database.
//!
//! ```text
//! turn -> held? --no--> acquire (fences every other writer)
//!          |
//!          v
//!   list the end E -> snapshot reaches E -> decide -> one transaction --committed--> snapshot has it -> answer
//!          ^                                  |            |
//!          |                               problem         +-- fenced: nothing was written, again
//!          +---- acquire, catch up, write id not there ----+-- unknown: acquire settles it; look for the write id
//! ```
//!
//! Why it holds: whoever writes after us has fenced us first, and whoever listed the end after its own fencing sees everything
//! that can still be in the topic. An end-of-partition event is never trusted for that (it may be stale), only `ListOffsets`.
//!
//! A write runs as a task of its own: a request that gives up does not tear it in the middle, because the next write relies
//! on knowing how this one ended. When Kafka stays silent past the deadline the task gives up between two steps; the next
//! write then begins by acquiring, which settles whatever was left open.

mod log;

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Snapshot};
use chassis::clock;
use chassis::tasks;
use kafka::ExclusiveError;
use schemas::control::{ControlKey, ControlObject};
use tokio::sync::Mutex;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::config::Deps;
use crate::error::Error;
use crate::metrics::ControlMetrics;
use crate::problem::{Problem, internal, unavailable};
use crate::store::log::{ControlLog, encode};

/// Between two tries of a call that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The writer. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    catalog: Catalog,
    log: ControlLog,
    /// One write at a time in this process.
    turn: Mutex<()>,
    deadline: Duration,
    metrics: ControlMetrics,
}

/// What a decision may look at beside the snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The listed end of `control` that the snapshot has reached: what is matched from the write on has seen everything below.
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

/// How one try ended.
enum Tried<T> {
    Done(T),
    Again,
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
    pub(crate) async fn start(deps: &Deps, deadline: Duration, metrics: ControlMetrics) -> Result<Self, Error> {
        let log = ControlLog::start(deps).await?;
        Ok(Self::new(deps.catalog.clone(), log, deadline, metrics))
    }

    fn new(catalog: Catalog, log: ControlLog, deadline: Duration, metrics: ControlMetrics) -> Self {
        Self { inner: Arc::new(Inner { catalog, log, turn: Mutex::new(()), deadline, metrics }) }
    }

    /// A store over a catalog without Kafka, for tests of the handlers.
    #[cfg(test)]
    pub(crate) fn in_memory(catalog: Catalog, metrics: ControlMetrics) -> Self {
        let log = ControlLog::memory(catalog.clone(), Vec::new());
        Self::new(catalog, log, Duration::from_secs(10), metrics)
    }

    /// Decides over a current snapshot and writes what was decided. `decide` may be called more than once. On return this
    /// process's snapshot has the write.
    ///
    /// # Errors
    /// The problem `decide` found, or a 503 when the outcome is not known to be good before the deadline.
    pub(crate) async fn write<T, F>(&self, actor: String, decide: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let started = clock::instant();
        let deadline = started + inner.deadline;
        let work = tasks::spawn("control-write", async move {
            let outcome = inner.write(&actor, decide, deadline).await;
            inner.observe(started, &outcome);
            outcome
        });
        match tokio::time::timeout(self.inner.deadline, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(internal("the write failed", &panic)),
            Err(_elapsed) => Err(late()),
        }
    }
}

// === impl Inner ===

impl Inner {
    async fn write<T, F>(&self, actor: &str, mut decide: F, deadline: Instant) -> Result<T, Problem>
    where
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send,
        T: Send,
    {
        let _turn = self.turn.lock().await;
        loop {
            if clock::instant() >= deadline {
                return Err(late());
            }
            match self.attempt(actor, &mut decide, deadline).await? {
                Tried::Done(answer) => return Ok(answer),
                Tried::Again => {}
            }
        }
    }

    async fn attempt<T, F>(&self, actor: &str, decide: &mut F, deadline: Instant) -> Result<Tried<T>, Problem>
    where
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send,
        T: Send,
    {
        if !self.log.is_held() {
            self.acquire(deadline).await?;
        }
        let end = self.catch_up(deadline).await?;
        let decision = decide(&self.catalog.read(), Moment { end, now_ms: clock::now_ms() })?;
        if decision.changes.is_empty() {
            return Ok(Tried::Done(decision.answer));
        }
        let write_id = Uuid::now_v7();
        let records = encode(self.log.topic(), &decision.changes, write_id, actor)
            .map_err(|error| internal("a control record could not be encoded", &error))?;
        match self.log.write(records).await {
            Ok(()) => {}
            Err(ExclusiveError::Fenced) => {
                debug!("another control plane wrote meanwhile, deciding again");
                self.metrics.fenced.inc();
                return Ok(Tried::Again);
            }
            Err(ExclusiveError::Unknown(error)) => {
                warn!(%error, %write_id, "the outcome of a control write is unknown, looking for it");
                self.metrics.unknown.inc();
                self.acquire(deadline).await?;
                self.catch_up(deadline).await?;
                if !self.catalog.read().write_seen(write_id) {
                    return Ok(Tried::Again);
                }
            }
            Err(ExclusiveError::Refused(error)) if error.is_unwritable() => {
                return Err(too_large(&error));
            }
            Err(ExclusiveError::Refused(error)) => {
                warn!(%error, %write_id, "a control write was refused, trying again");
                tokio::time::sleep(PAUSE).await;
                return Ok(Tried::Again);
            }
        }
        self.applied(write_id, deadline).await?;
        Ok(Tried::Done(decision.answer))
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

    fn observe<T>(&self, started: Instant, outcome: &Result<T, Problem>) {
        let outcome = match outcome {
            Ok(_) => "written",
            Err(problem) if problem.status >= 500 => "failed",
            Err(_) => "refused",
        };
        self.metrics.writes.with_label_values(&[outcome]).inc();
        self.metrics.write_seconds.observe(clock::instant().saturating_duration_since(started).as_secs_f64());
    }
}

fn late() -> Problem {
    unavailable("the write was not confirmed in time; it may or may not have taken effect")
}

fn too_large(error: &kafka::KafkaError) -> Problem {
    use schemas::problem::{Code, ProblemId};
    warn!(%error, "a control record does not fit the topic");
    let detail = "the object is larger than the control topic takes";
    Problem::new(ProblemId::Validation, detail).with_status(413).with_code(Code::BodyTooLarge)
}

#[cfg(test)]
mod tests;
