//! The only writer of `control`: compare-and-set over a compacted topic, without a leader and without a database.
//!
//! ```text
//! turn -> decide over the snapshot --nothing to write--> list the end, snapshot reaches it, decide again --> answer
//!            | something                                                   | something after all
//!            v                                                             v
//!         held, and the snapshot has our own last write? --no--> acquire (fences every other writer), list the end,
//!            | yes: nobody can have written since                snapshot reaches it, decide again
//!            v                                                             |
//!         one transaction: control and audit <-----------------------------+
//!            +-- committed: snapshot has it -> answer
//!            +-- fenced: nothing was written, again
//!            +-- unknown: acquire settles it; look for the write id, else again
//! ```
//!
//! Why it holds: whoever writes after us has fenced us first, and whoever listed the end after its own fencing sees everything
//! that can still be in the topic. An end-of-partition event is never trusted for that (it may be stale), only `ListOffsets`.
//! So while nobody has fenced us, the snapshot with our own last write in it is the state our next write will meet, and the
//! transaction proves it: fenced, it does not commit. What writes nothing proves nothing, so a refusal is decided again over
//! a listed end.
//!
//! **Audit.** Every changed object has a record on `audit` in the same transaction: neither stands without the other.
//!
//! A write runs as a task of its own: a request that gives up does not tear it in the middle, because the next write relies
//! on knowing how this one ended. When Kafka stays silent past the deadline the task gives up between two steps; the next
//! write then begins by acquiring, which settles whatever was left open.

mod audit;
mod log;
mod refuse;

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Snapshot};
use chassis::clock;
use chassis::config::ByteLimits;
use chassis::tasks;
use kafka::ExclusiveError;
use schemas::control::{ControlKey, ControlObject};
use schemas::record::OutRecord;
use tokio::sync::Mutex;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::actor::Actor;
use crate::config::Deps;
use crate::error::Error;
use crate::metrics::ControlMetrics;
use crate::problem::{Problem, internal, unavailable};
use crate::store::audit::Audited;
use crate::store::log::{ControlLog, Entry, encode};
use crate::store::refuse::{check_token, late, too_large};
use crate::weights;

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
    /// One write at a time in this process.
    turn: Mutex<Turn>,
    deadline: Duration,
    bytes: ByteLimits,
    metrics: ControlMetrics,
}

/// What a write leaves to the next one.
#[derive(Debug, Default)]
struct Turn {
    /// The snapshot has everything that was written before we acquired, and every write of ours since.
    current: bool,
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

/// How one try ended.
enum Tried<T> {
    Done(T),
    Again,
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

    /// Whether there is anything to write.
    fn writes(&self) -> bool {
        !self.changes.is_empty()
    }
}

// === impl Store ===

impl Store {
    pub(crate) async fn start(
        deps: &Deps,
        deadline: Duration,
        bytes: ByteLimits,
        metrics: ControlMetrics,
    ) -> Result<Self, Error> {
        let log = ControlLog::start(deps).await?;
        Ok(Self::new(deps.catalog.clone(), log, (deadline, bytes), metrics))
    }

    fn new(
        catalog: Catalog,
        log: ControlLog,
        (deadline, bytes): (Duration, ByteLimits),
        metrics: ControlMetrics,
    ) -> Self {
        Self { inner: Arc::new(StoreInner { catalog, log, turn: Mutex::default(), deadline, bytes, metrics }) }
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
    /// The problem `rule` found, or a 503 when the outcome is not known to be good before the deadline.
    pub(crate) async fn write<T, F>(&self, actor: impl Into<Actor>, rule: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send + 'static,
    {
        let (inner, actor) = (Arc::clone(&self.inner), actor.into());
        let started = clock::instant();
        let deadline = started + inner.deadline;
        if actor.caller.dry_run {
            return inner.try_out(&actor, rule, deadline).await;
        }
        let work = tasks::spawn("control-write", async move {
            let outcome = inner.write(&actor, rule, deadline).await;
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

// === impl StoreInner ===

impl StoreInner {
    /// What a write would answer. It takes no turn and fences nobody.
    async fn try_out<T, F>(&self, actor: &Actor, mut rule: F, deadline: Instant) -> Result<T, Problem>
    where
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send,
        T: Send,
    {
        let end = self.catch_up(deadline).await?;
        let (snapshot, now_ms) = (self.catalog.read(), clock::now_ms());
        check_token(actor, &snapshot, now_ms)?;
        let decision = rule(&snapshot, Moment { end, now_ms })?;
        weights::check(&snapshot, &decision.changes, &self.bytes)?;
        Ok(decision.answer)
    }

    async fn write<T, F>(&self, actor: &Actor, mut rule: F, deadline: Instant) -> Result<T, Problem>
    where
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send,
        T: Send,
    {
        let mut turn = self.turn.lock().await;
        loop {
            if clock::instant() >= deadline {
                return Err(late());
            }
            match self.try_once(&mut turn, actor, &mut rule, deadline).await? {
                Tried::Done(answer) => return Ok(answer),
                Tried::Again => {}
            }
        }
    }

    async fn try_once<T, F>(
        &self,
        turn: &mut Turn,
        actor: &Actor,
        rule: &mut F,
        deadline: Instant,
    ) -> Result<Tried<T>, Problem>
    where
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send,
        T: Send,
    {
        let mut rule = |snapshot: &Snapshot, moment: Moment| {
            check_token(actor, snapshot, moment.now_ms)?;
            let decision = rule(snapshot, moment)?;
            weights::check(snapshot, &decision.changes, &self.bytes)?;
            Ok(decision)
        };
        let (decision, audited) = self.decide(turn, &mut rule, deadline).await?;
        if !decision.writes() {
            return Ok(Tried::Done(decision.answer));
        }
        let entry = Entry { write_id: Uuid::now_v7(), at_ms: clock::now_ms(), actor, changes: &decision.changes };
        let records = encode(&self.log, &entry, &audited)
            .map_err(|error| internal("a control record could not be encoded", &error))?;
        // Until the snapshot has this write, it is not what the next one will meet.
        turn.current = false;
        match self.commit(turn, entry.write_id, records, deadline).await? {
            Tried::Done(()) => {}
            Tried::Again => return Ok(Tried::Again),
        }
        self.applied(entry.write_id, deadline).await?;
        turn.current = true;
        Ok(Tried::Done(decision.answer))
    }

    /// Decides over a state that no other write can lie behind. What is there of the changed objects comes with it.
    async fn decide<T, F>(
        &self,
        turn: &mut Turn,
        rule: &mut F,
        deadline: Instant,
    ) -> Result<(Decision<T>, Audited), Problem>
    where
        F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send,
    {
        let mut decide = |end: Option<i64>| {
            let snapshot = self.catalog.read();
            let end = end.unwrap_or_else(|| snapshot.position());
            let decision = rule(&snapshot, Moment { end, now_ms: clock::now_ms() })?;
            let audited = Audited::take(&snapshot, &decision.changes);
            Ok((decision, audited))
        };
        turn.current &= self.log.is_held();
        match decide(None) {
            Ok(decided) if decided.0.writes() && turn.current => return Ok(decided),
            Ok(decided) if decided.0.writes() => {}
            // Nothing would be written, so nothing would prove that this is how things stand: that takes a listed end, and
            // nobody's place as the writer.
            Ok(_) | Err::<_, Problem>(_) => {
                let end = self.catch_up(deadline).await?;
                turn.current = self.log.is_held();
                let decided = decide(Some(end))?;
                if turn.current || !decided.0.writes() {
                    return Ok(decided);
                }
            }
        }
        if !self.log.is_held() {
            self.acquire(deadline).await?;
        }
        let end = self.catch_up(deadline).await?;
        turn.current = true;
        decide(Some(end))
    }

    /// One transaction. `Again`: it is certain that nothing was written.
    async fn commit(
        &self,
        turn: &mut Turn,
        write_id: Uuid,
        records: Vec<OutRecord>,
        deadline: Instant,
    ) -> Result<Tried<()>, Problem> {
        match self.log.write(records).await {
            Ok(()) => Ok(Tried::Done(())),
            Err(ExclusiveError::Fenced) => {
                debug!("another control plane wrote meanwhile, deciding again");
                self.metrics.fenced.inc();
                Ok(Tried::Again)
            }
            Err(ExclusiveError::Unknown(error)) => {
                warn!(%error, %write_id, "the outcome of a control write is unknown, looking for it");
                self.metrics.unknown.inc();
                self.acquire(deadline).await?;
                self.catch_up(deadline).await?;
                turn.current = true;
                let written = self.catalog.read().write_seen(write_id);
                Ok(if written { Tried::Done(()) } else { Tried::Again })
            }
            Err(ExclusiveError::Refused(error)) if error.is_unwritable() => Err(too_large(&error)),
            Err(ExclusiveError::Refused(error)) => {
                warn!(%error, %write_id, "a control write was refused, trying again");
                tokio::time::sleep(PAUSE).await;
                Ok(Tried::Again)
            }
        }
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

#[cfg(test)]
pub(crate) use tests::audited;

#[cfg(test)]
mod tests;
