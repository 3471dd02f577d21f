//! Jobs: what is sent again, or decided about dead letters, at somebody's request.
//!
//! ```text
//! POST .../retry, :redrive, ... --> ask.rs: definition and audit, one transaction --> [jobs]
//!                                                                                       |  ^
//! GET /jobs <-- view.rs: all jobs, in memory, from a tail of every replica <------------+  |
//!                                                                                       v  |
//!                work.rs (stage, one owner a partition) --> step.rs: what is written next  |
//!                                                             v                            |
//!      [deliveries], [attempts], how far the job is: one transaction with the offset ------+
//!      what was rejected: [retried]
//! ```
//!
//! **Exactly once.** Each part of a job is written in one transaction with the record that says how far the job is then, and the lease
//! of its partition stands in that transaction: who has lost it writes nothing. A new owner first reads the whole partition, so that
//! record is where it goes on, and nothing is written twice or left out.
//!
//! What it leaves to others: delivering (the delivery worker), and knowing what happened (`crate::log`).

mod ask;
mod cancelled;
mod erase;
mod estimate;
mod known;
mod metrics;
#[cfg(test)]
mod played;
mod queue;
mod resend;
mod room;
mod step;
mod under_way;
mod view;
mod work;

use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Snapshot};
use chassis::clock;
use chassis::config::{KafkaConfig, Role};
use kafka::Offsets;
use parking_lot::Mutex;
use retry::Budget;
use schemas::ids::{ApplicationId, JobId, OrganizationId};
use schemas::jobs::{JobDefinition, JobKind, JobOwner};
use schemas::problem::{Code, ProblemId};
use stage::{BatchLimits, Order};

use self::ask::{AskSink, AskWriter};
pub(crate) use self::erase::Erasure;
pub(crate) use self::estimate::{Estimate, Estimator};
use self::known::KnownJobs;
pub(crate) use self::known::{JobPlace, JobsAsked, KnownJob};
use self::metrics::JobsMetrics;
use self::room::OpenJobs;
pub(crate) use self::step::backfill::BackfillRules;
pub(crate) use self::step::replay::count_receivers;
use self::step::{ReadForJobs, Steps};
use self::view::{JobsRestorer, JobsView};
use self::work::ResendsWork;
use crate::actor::Actor;
use crate::config::Deps;
use crate::error::Error;
use crate::etag::Preconditions;
use crate::problem::{Problem, unavailable};
use crate::store::Store;

/// Jobs of an application that have not ended.
const MOST_OPEN: usize = 100;
/// Jobs about one event or delivery that an application may ask for.
const SINGLES_PER_SECOND: f64 = 50.0;
/// How many of them at once.
const SINGLES_BURST: u32 = 50;
/// Jobs about many that an organization may ask for: each stays for 30 days after its end, in every control plane.
const BULKS_PER_SECOND: f64 = 5.0;
/// How many of them at once.
const BULKS_BURST: u32 = 100;
/// Applications that are counted at once.
const MAX_COUNTED: usize = 10_000;
/// How long a request waits for what jobs there are.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is known may be so old, ms.
const LATE_MS: i64 = 10_000;

/// See the module. Clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Jobs(Arc<JobsInner>);

#[derive(Debug)]
struct JobsInner {
    view: JobsView,
    ask: AskWriter,
    singles: Mutex<Budget<ApplicationId>>,
    bulks: Mutex<Budget<Option<OrganizationId>>>,
}

/// What becomes of a job at somebody's request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum JobChange {
    /// Nothing more of it is written, and what is queued of it is not sent.
    Cancel,
    /// Nothing more of it is written until it is resumed.
    Pause,
    /// It goes on.
    Resume,
}

/// The transactional ids and the group of a control plane's jobs, for `hookbus acls`: what stands before the slot of each id.
#[must_use]
pub fn job_names(kafka: &KafkaConfig) -> (Vec<String>, String) {
    let ids = ["ask", "resends"].map(|part| format!("{}-{part}-", kafka.installation));
    (ids.into(), group(kafka))
}

fn group(kafka: &KafkaConfig) -> String {
    format!("{}.resends", kafka.installation)
}

/// The transactional id of a part of this process. `ask` and `resends` are not longer than the longest role.
fn transactional_id(kafka: &KafkaConfig, part: &str) -> String {
    format!("{}-{part}-{}", kafka.installation, kafka.slot)
}

// === impl Jobs ===

impl Jobs {
    /// Begins to follow jobs, and to run those whose partitions come here.
    ///
    /// # Errors
    /// A Kafka client cannot be made.
    pub(crate) async fn start(deps: &Deps, store: Store, read: ReadForJobs) -> Result<Self, Error> {
        let view = JobsView::default();
        let (follow, stop) = (
            view.clone().follow(deps.connection.clone(), Arc::clone(&deps.topics.jobs)),
            deps.tasks.shutdown().clone(),
        );
        deps.tasks.spawn("control-jobs", async move {
            tokio::select! {
                () = follow => {}
                () = stop.requested() => {}
            }
            Ok::<_, std::convert::Infallible>(())
        });
        let sink = AskSink::start(deps, transactional_id(&deps.kafka, "ask")).await?;
        deps.tasks.spawn("control-resends", run(deps.clone(), store, read));
        Ok(Self::new(view.clone(), AskWriter::new(sink, view)))
    }

    /// Without Kafka, for tests of the handlers: what is asked for is known, and nobody runs it.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        let view = JobsView::default();
        Self::new(view.clone(), AskWriter::new(AskSink::Memory(played::PlayedTopic::default()), view))
    }

    /// As where Kafka has said nothing since a time, Unix ms.
    #[cfg(test)]
    pub(crate) fn is_cut_off(&self, since_ms: i64) {
        self.0.view.is_cut_off(1, since_ms);
    }

    /// Knows a job that somebody else asked for.
    #[cfg(test)]
    pub(crate) fn knows(&self, definition: JobDefinition) {
        self.0.view.change(|known| known.define(definition.job_id, definition, 0));
    }

    fn new(view: JobsView, ask: AskWriter) -> Self {
        let singles = Budget::new(SINGLES_PER_SECOND, SINGLES_BURST, MAX_COUNTED);
        let singles = Mutex::new(singles.expect("a rate and a burst within the limits"));
        let bulks = Budget::new(BULKS_PER_SECOND, BULKS_BURST, MAX_COUNTED);
        let bulks = Mutex::new(bulks.expect("a rate and a burst within the limits"));
        Self(Arc::new(JobsInner { view, ask, singles, bulks }))
    }

    /// Waits until this replica knows what jobs an application has; none: what jobs there are at all.
    ///
    /// # Errors
    /// A 503: Kafka does not tell in time, or has not been heard for so long that what is known may be old.
    pub(crate) async fn known(&self, of: Option<ApplicationId>) -> Result<(), Problem> {
        let late = |_elapsed| unavailable("what jobs there are is not read yet");
        tokio::time::timeout(PATIENCE, self.0.view.caught_up(of)).await.map_err(late)?;
        let behind_ms = self.0.view.behind_since(of).map_or(0, |since_ms| clock::now_ms().saturating_sub(since_ms));
        if behind_ms > LATE_MS {
            let seconds = behind_ms / 1_000;
            return Err(unavailable(format!(
                "what jobs there are was read up to {seconds} s ago: kafka does not say what came since"
            )));
        }
        Ok(())
    }

    /// Waits until this replica knows what has been asked for at others, too.
    ///
    /// # Errors
    /// A 503: Kafka does not tell in time.
    pub(crate) async fn current(&self) -> Result<(), Problem> {
        self.0.ask.all_current().await
    }

    /// One of them.
    pub(crate) fn get(&self, id: JobId) -> Option<KnownJob> {
        self.0.view.read(|known| known.job(id))
    }

    /// A page of an application's, the newest first, and whether there are more.
    pub(crate) fn list(&self, asked: &JobsAsked) -> (Vec<KnownJob>, bool) {
        self.0.view.read(|known| known.list(asked))
    }

    /// Asks for a job of this organization or of an application of it; `None`: of the operator. One that is known already is
    /// answered as it is.
    ///
    /// # Errors
    /// A 429 where the application, its organization or everybody has too many that have not ended, or too many are asked for, a 503
    /// where Kafka does not take it.
    pub(crate) async fn ask(
        &self,
        definition: JobDefinition,
        organization: Option<OrganizationId>,
        actor: &Actor,
        catalog: &Catalog,
    ) -> Result<KnownJob, Problem> {
        if let Some(known) = self.get(definition.job_id) {
            return Ok(known);
        }
        let (application, now_ms) = (definition.application_id, definition.created_ms);
        if self.0.view.read(|known| known.open_count(application)) >= MOST_OPEN {
            let detail = format!("{MOST_OPEN} of these jobs have not ended");
            let problem = Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached);
            return Err(problem.with_retry_after(5));
        }
        let open = OpenJobs { all: self.0.view.read(KnownJobs::open_bytes), new: definition.weight() };
        open.refuse(actor.is_operator(), || self.open_bytes_of(organization, &catalog.read()))?;
        if !definition.is_bulk() && !self.0.singles.lock().try_take(&application, now_ms) {
            let detail = format!("an application may ask for {SINGLES_PER_SECOND} of these a second");
            let problem = Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached);
            return Err(problem.with_retry_after(1));
        }
        if definition.is_bulk() && !self.0.bulks.lock().try_take(&organization, now_ms) {
            let detail = format!("an organization may ask for {BULKS_PER_SECOND} of these a second");
            let problem = Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached);
            return Err(problem.with_retry_after(1));
        }
        let known = KnownJob::asked(definition);
        if !actor.caller.dry_run {
            let asked = &known.definition;
            self.0.ask.ask(asked, actor, action(asked.kind)).await?;
            // Where two asked for it at once, it is as the first of them did.
            if let Some(first) = self.get(asked.job_id) {
                return Ok(first);
            }
        }
        Ok(known)
    }

    /// What open jobs of an organization and of its applications weigh, bytes.
    fn open_bytes_of(&self, organization: Option<OrganizationId>, snapshot: &Snapshot) -> usize {
        let Some(organization) = organization else { return 0 };
        let filed_under = JobOwner::Organization(organization).filed_under();
        let is_own = |id: ApplicationId| {
            let of = || snapshot.application_by_id(id).map(|it| it.organization_id);
            id == filed_under || of() == Some(organization)
        };
        self.0.view.read(|known| known.open_bytes_of(is_own))
    }

    /// Stops a job or lets it go on. One that stands so already is answered as it is; so it is where a request that may be sent again
    /// would be refused for what it has done itself.
    ///
    /// # Errors
    /// A 412 where it is another version than is named, a 409 where it has ended, a 503 where Kafka does not take it.
    pub(crate) async fn change(
        &self,
        job: KnownJob,
        change: JobChange,
        preconditions: &Preconditions,
        (actor, now_ms): (&Actor, i64),
    ) -> Result<KnownJob, Problem> {
        // What another replica was told is not undone, nor taken for done, because it is not read here yet.
        self.0.ask.current(job.definition.application_id).await?;
        let job = self.get(job.definition.job_id).unwrap_or(job);
        let is_keyed = actor.caller.keyed.is_some();
        let changed = |job: &KnownJob| {
            let changed = preconditions.check(&*job.definition).and_then(|()| change.of(job, now_ms));
            match changed {
                Err(_) if is_keyed && change.is_done(job, preconditions) => Ok(JobDefinition::clone(&job.definition)),
                changed => changed,
            }
        };
        let definition = Arc::new(changed(&job)?);
        if definition != job.definition && !actor.caller.dry_run {
            // Who cancels what is cancelled is told that it has ended, and who names a version that there is another by then.
            let is_repeatable = !preconditions.name_a_version() && (is_keyed || !matches!(change, JobChange::Cancel));
            self.0.ask.change(&job, (actor, change.action()), is_repeatable, changed).await?;
            if let Some(changed) = self.get(job.definition.job_id) {
                return Ok(changed);
            }
        }
        Ok(KnownJob { definition, ..job })
    }
}

// === impl JobChange ===

impl JobChange {
    /// What becomes of a job.
    fn of(self, job: &KnownJob, now_ms: i64) -> Result<JobDefinition, Problem> {
        if job.state().has_ended() {
            let detail = format!("the job has ended: it is {}", job.state().as_str());
            return Err(Problem::new(ProblemId::Validation, detail).with_status(409).with_code(Code::AlreadyEnded));
        }
        let definition = JobDefinition::clone(&job.definition);
        Ok(match self {
            Self::Cancel => JobDefinition { cancelled_ms: Some(now_ms), ..definition },
            Self::Pause => JobDefinition { paused_ms: definition.paused_ms.or(Some(now_ms)), ..definition },
            Self::Resume => JobDefinition { paused_ms: None, ..definition },
        })
    }

    /// Whether a job may be what this has made of the version that is named. One that has ended says nothing of having been resumed;
    /// which version one had before it was cannot be told any more, so any will do.
    fn is_done(self, job: &KnownJob, preconditions: &Preconditions) -> bool {
        let definition = &*job.definition;
        match self {
            Self::Cancel => definition.cancelled_ms.is_some(),
            Self::Pause => {
                let before = JobDefinition { paused_ms: None, cancelled_ms: None, ..definition.clone() };
                definition.paused_ms.is_some() && preconditions.check(&before).is_ok()
            }
            Self::Resume => definition.paused_ms.is_none() && !job.state().has_ended(),
        }
    }

    /// The word of the audit.
    fn action(self) -> &'static str {
        match self {
            Self::Cancel => "job.cancel",
            Self::Pause => "job.pause",
            Self::Resume => "job.resume",
        }
    }
}

/// The word of the audit.
fn action(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Replay => "job.replay",
        JobKind::Retry => "job.retry",
        JobKind::Redrive => "job.redrive",
        JobKind::Discard => "job.discard",
        JobKind::RetryRejected => "job.retry_rejected",
        JobKind::Backfill => "job.backfill",
        JobKind::Unknown => "job.create",
    }
}

/// Runs jobs until shutdown is requested.
async fn run(deps: Deps, store: Store, read: ReadForJobs) -> Result<(), Error> {
    let shutdown = deps.tasks.shutdown().clone();
    tokio::select! {
        () = deps.catalog.caught_up() => {}
        () = shutdown.requested() => return Ok(()),
    }
    let failed = |source| Error::Kafka { purpose: "running jobs", source };
    let offsets = Offsets::start(&deps.connection).map_err(failed)?;
    let topics = &deps.topics;
    let options = stage::Options {
        name: "resends",
        group: group(&deps.kafka),
        transactional_id: transactional_id(&deps.kafka, "resends"),
        client_id: transactional_id(&deps.kafka, "resends"),
        batch: BatchLimits::default(),
        // One that waits for its turn or its rate holds up no other.
        order: Order::AnyOrder,
        pace: kafka::Pace::new(1.0, Duration::from_millis(2), Duration::from_millis(200)),
        // The API serves without it.
        latch: None,
        writes: [&topics.jobs, &topics.deliveries, &topics.attempts, &topics.retried].map(Arc::clone).into(),
        ..stage::Options::of(Role::Control, &deps.kafka, vec![topics.jobs.to_string()])
    };
    let steps = Steps::new(&deps, read, offsets.clone(), (store, JobsMetrics::new(&deps.registry)?));
    let (connection, transaction_timeout) = (deps.connection.clone(), deps.kafka.transaction_timeout);
    let work = ResendsWork::new(steps, JobsRestorer { connection, offsets, transaction_timeout });
    let Deps { connection, kafka, topics, registry, health, .. } = deps;
    let deps = stage::Deps { connection, kafka, topics, registry, health };
    Ok(stage::run(options, deps, work, shutdown).await?)
}
