//! The next part of a job: what is written, and how far the job is then. Reads the catalog, the delivery log and Kafka; writes
//! nothing.

pub(super) mod backfill;
mod in_order;
pub(super) mod letters;
mod part;
mod rejections;
pub(super) mod replay;
pub(super) mod replays;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Snapshot, Subscription};
use chassis::clock;
use delivery_log::{Coordinates, DeliveryStore, Fact, LoggedEvent};
use kafka::{Lease, Offsets};
use schemas::attempt::Kind;
use schemas::control::Application;
use schemas::delivery::{Again, Delivery, MadeBy, Origin, RecordPlace};
use schemas::ids::{ApplicationId, DeliveryId, OrganizationId, SubscriptionId};
use schemas::jobs::{JobDefinition, JobKey, JobProgress, JobState, JobSubject};
use schemas::record::{OutRecord, Record};
use schemas::topics::Topics;
use uuid::Uuid;

use self::backfill::{BackfillRules, Backfills};
use self::part::{JobPart, ended_query};
use super::cancelled;
use super::known::KnownJob;
use super::metrics::JobsMetrics;
use super::work::job_record;
use crate::actor::Actor;
use crate::config::Deps;
use crate::log::DeliveryLog;
use crate::log::accepted::AcceptedEvents;
use crate::log::letters::letter;
use crate::problem::Problem;
use crate::rejections::RejectedReader;
use crate::store::{Moment, Store};

/// Between two looks at whether the log is where it has to be.
const LOOK: Duration = Duration::from_millis(50);
/// Looks before it is tried again later.
const LOOKS: u32 = 100;

/// Makes parts of jobs.
#[derive(Debug)]
pub(super) struct Steps {
    topics: Topics,
    catalog: Catalog,
    log: DeliveryLog,
    accepted: AcceptedEvents,
    /// Ends of what was written, whether or not its transaction is over: what is behind an open one counts, too.
    offsets: Offsets,
    rejected: RejectedReader,
    /// Of `control`, for what workers are told.
    store: Store,
    backfills: Backfills,
    metrics: JobsMetrics,
}

/// What a part comes to.
#[expect(clippy::large_enum_variant, reason = "one a second of each job, moved twice")]
#[derive(Debug)]
pub(super) enum StepOutcome {
    /// It cannot be made now.
    Later(String),
    /// It was made.
    Made {
        /// What is written.
        outputs: Vec<OutRecord>,
        /// How far the job is once it is written.
        progress: JobProgress,
        /// How long the next part waits.
        pause: Duration,
    },
}

/// What parts are made of.
pub(super) type ReadForJobs = (DeliveryLog, AcceptedEvents, RejectedReader, BackfillRules);

/// Outputs that are left out: whom each is for, where it is a delivery.
pub(super) type LeftOut = Vec<Option<SubscriptionId>>;

/// Why a part cannot be made now.
type NotNow = String;

// === impl Steps ===

impl Steps {
    pub(super) fn new(
        deps: &Deps,
        (log, accepted, rejected, rules): ReadForJobs,
        offsets: Offsets,
        (store, metrics): (Store, JobsMetrics),
    ) -> Self {
        let backfills = Backfills::new(deps, rules);
        let (topics, catalog) = (deps.topics.clone(), deps.catalog.clone());
        Self { topics, catalog, log, accepted, offsets, rejected, backfills, store, metrics }
    }

    /// The next part of a job.
    pub(super) async fn next(&self, job: KnownJob) -> StepOutcome {
        let made = match &job.definition.subject {
            JobSubject::Delivery(of) => self.retry(&job, of).await,
            JobSubject::Event(of) => self.replay(&job, of).await,
            JobSubject::DeadLetters(of) => self.letters(&job, of).await,
            JobSubject::Events(of) => self.replays(&job, of).await,
            JobSubject::Rejections(of) => self.rejections(&job, of).await,
            JobSubject::Backfill(of) => self.backfill(&job, of).await,
        };
        made.unwrap_or_else(StepOutcome::Later)
    }

    /// The end of a job that is cancelled. Where copies of it may be queued, workers are told first that none of them is sent: whoever
    /// dies in between leaves a job whose end is yet to be written.
    pub(super) async fn cancelled(&self, job: KnownJob) -> StepOutcome {
        if cancelled::has_copies(&job) {
            let asked = Arc::clone(&job.definition);
            let decide = move |snapshot: &Snapshot, moment: Moment| Ok(cancelled::decide(snapshot, &asked, moment));
            if let Err(problem) = self.store.write_own(&Actor::system("jobs"), decide).await {
                return StepOutcome::Later(problem.into_detail());
            }
        }
        let now_ms = clock::now_ms();
        let progress = job.progress.unwrap_or_else(|| JobProgress::begun(job.definition.job_id, now_ms));
        let progress = progress.ended(JobState::Cancelled, now_ms);
        StepOutcome::Made { outputs: Vec::new(), progress, pause: Duration::ZERO }
    }

    /// A part of a job that may have only so much under way. The log has to be current, and still the same once the part is made.
    async fn bounded(&self, store: &dyn DeliveryStore, job: &KnownJob) -> Result<JobPart, NotNow> {
        let days = store.days().await.map_err(|error| error.to_string())?;
        let job = &part::with_known_days(job, days.iter().map(|it| it.day).min());
        let ended = store.ended(ended_query(job)).await.map_err(|error| error.to_string())?;
        Ok(JobPart::of(job).bounded(ended, job.definition.rate_per_second, clock::now_ms()))
    }

    /// Whether a part may take long: it waits for the log, which may be behind or be made anew for hours, or reads
    /// through `rejected`.
    pub(super) fn may_take_long(&self, job: &JobDefinition) -> bool {
        job.is_bulk() || matches!(&job.subject, JobSubject::Event(of) if !self.accepted.is_own(&of.origin.topic))
    }

    /// Whose jobs are that are filed under this id, an organization's own among them; `None`: the operator's, or of an application
    /// that is gone.
    pub(super) fn owner(&self, filed_under: ApplicationId) -> Option<OrganizationId> {
        let catalog = self.catalog.read();
        let own = OrganizationId(filed_under.0);
        let of = catalog.application_by_id(filed_under).map(|found| found.organization_id);
        of.or_else(|| catalog.organization(own).map(|_| own))
    }

    /// A part of a job is written, after which it is so far.
    pub(super) fn count(&self, job: &KnownJob, progress: &JobProgress) {
        self.metrics.count(job, progress);
    }

    /// The record that says how far a job is.
    pub(super) fn progress_record(
        &self,
        lease: &Lease,
        progress: &JobProgress,
    ) -> Result<OutRecord, serde_json::Error> {
        Ok(job_record(lease, JobKey::Progress(progress.job_id), Some(progress.encode()?)))
    }

    /// The record that removes one of a job.
    pub(super) fn removal(&self, lease: &Lease, key: JobKey) -> OutRecord {
        job_record(lease, key, None)
    }

    /// A part's outputs without those that are refused, and which of them are missing. What says of one that it was sent is missing
    /// with it, and the record of how far the job is, which is to be written anew.
    pub(super) fn without(
        &self,
        outputs: Vec<OutRecord>,
        is_refused: impl Fn(usize) -> bool,
    ) -> (Vec<OutRecord>, LeftOut) {
        without(&self.topics, outputs, is_refused)
    }

    /// So many jobs have not ended here.
    pub(super) fn open(&self, jobs: usize) {
        self.metrics.open.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// Waits until the snapshot has everything that was written before; what is decided over it is no older than the request.
    async fn current(&self) -> Result<(), NotNow> {
        self.catalog.read_index().await.map(|_end| ()).map_err(|error| error.to_string())
    }

    /// A subscription of an application, as it is now, and the snapshot's offset.
    fn subscription(&self, application: ApplicationId, id: SubscriptionId) -> (Option<Arc<Subscription>>, i64) {
        let snapshot = self.catalog.read();
        let found = snapshot.subscription(id).filter(|found| found.application() == application);
        (found.cloned(), snapshot.applied())
    }

    /// Whether an event was erased that was accepted at this time, Unix ms: then it is not sent again.
    async fn is_erased(&self, event: Uuid, accepted_ms: i64) -> Result<bool, NotNow> {
        self.log.is_erased(event, accepted_ms).await.map_err(Problem::into_detail)
    }

    /// The same of the event of a fact.
    async fn is_erased_of(&self, fact: &Fact) -> Result<bool, NotNow> {
        self.log.is_erased_of(fact).await.map_err(Problem::into_detail)
    }

    async fn record(&self, at: &Origin) -> Result<Option<Record>, NotNow> {
        let read_back = self.log.read_back().map_err(Problem::into_detail)?;
        read_back.record(at).await.map_err(Problem::into_detail)
    }

    /// An event as a record of `events` would have it; `None`: Kafka does not hold it any more, or not as it was. What stands on `events`
    /// itself may be another event's.
    async fn event(&self, application: &Application, event: &LoggedEvent) -> Result<Option<Record>, NotNow> {
        match &event.origin {
            Some(origin) if self.accepted.is_own(&origin.topic) => self.record(origin).await,
            Some(_) | None => self.accepted.record(application, event).await.map_err(Problem::into_detail),
        }
    }

    /// A delivery as it was written to `deliveries`; `None`: Kafka does not hold it any more, or holds another record there.
    async fn delivery(
        &self,
        (application, id): (ApplicationId, DeliveryId),
        at: Coordinates,
    ) -> Result<Option<Delivery>, NotNow> {
        let origin = Origin { topic: self.topics.deliveries.to_string(), partition: at.partition, offset: at.offset };
        let Some(record) = self.record(&origin).await? else { return Ok(None) };
        let Ok(mut found) = Delivery::decode(&record) else { return Ok(None) };
        found.record = Some(RecordPlace { partition: at.partition, offset: at.offset });
        Ok((found.id == id && found.application == application).then_some(found))
    }

    /// The same, or the dead letter that it has become: that one is kept for longer. `history`: what the log says of it.
    async fn delivery_or_letter(
        &self,
        (application, id): (ApplicationId, DeliveryId),
        at: Option<Coordinates>,
        history: &[Fact],
    ) -> Result<Option<Delivery>, NotNow> {
        if let Some(at) = at
            && let Some(found) = self.delivery((application, id), at).await?
        {
            return Ok(Some(found));
        }
        let Some((dead, _)) = letter(history) else { return Ok(None) };
        let found = self.log.dead_letter(dead).await.map_err(Problem::into_detail)?;
        Ok(found.filter(|found| found.id == id && found.application == application))
    }

    /// Waits until the log has everything that was written before now: what was decided by another job is known then. Not while the
    /// log is made: that may take hours, in which the part would hold a place for nothing. Returns the edition of it that is current.
    async fn log_is_current(&self) -> Result<i64, NotNow> {
        let Some(edition) = self.log.whole_edition().await.map_err(Problem::into_detail)? else {
            return Err("the delivery log is being made".to_owned());
        };
        let ends = self.offsets.ends(&self.topics.attempts).await.map_err(|error| error.to_string())?;
        for _ in 0..LOOKS {
            self.log.hear().await;
            if self.log.has(&ends) {
                return Ok(edition);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err("the delivery log is behind".to_owned())
    }

    /// Whether all that was found since is of the edition that was current: else days were missing in it, perhaps, and it is no part.
    async fn log_is_still(&self, edition: i64) -> Result<(), NotNow> {
        let now = self.log.edition().await.map_err(Problem::into_detail)?;
        if now == edition { Ok(()) } else { Err("the delivery log is being made".to_owned()) }
    }

    /// A delivery that is made once more; `None`: it does not fit the topic.
    fn again(&self, delivery: &Delivery, subscription: &Subscription, again: Again) -> Option<OutRecord> {
        let max_age_ms = i64::try_from(subscription.max_age().as_millis()).unwrap_or(i64::MAX);
        let again = Again { deadline_ms: clock::now_ms().saturating_add(max_age_ms), ..again };
        let record = delivery.again(Arc::clone(&self.topics.deliveries), again);
        self.fits(&record).then_some(record)
    }

    fn fits(&self, record: &OutRecord) -> bool {
        record.batch_size() <= self.topics.max_message_bytes
    }
}

fn without(topics: &Topics, outputs: Vec<OutRecord>, is_refused: impl Fn(usize) -> bool) -> (Vec<OutRecord>, LeftOut) {
    let (mut kept, mut left_out, mut is_told) = (Vec::with_capacity(outputs.len()), LeftOut::new(), false);
    for (at, output) in outputs.into_iter().enumerate() {
        let kind = output.value.as_deref().filter(|_| output.topic == topics.attempts).and_then(Kind::peek);
        if output.topic == topics.jobs || (kind == Some(Kind::Redriven) && is_told) {
            continue;
        }
        is_told = is_refused(at);
        if is_told {
            let goal = || output.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
            left_out.push(if output.topic == topics.deliveries { goal() } else { None });
        } else {
            kept.push(output);
        }
    }
    (kept, left_out)
}

/// A generation that a job makes, without its deadline, which its subscription says.
fn generation(job: &JobDefinition, made_by: MadeBy, control_offset: i64) -> Again {
    Again { job: job.job_id, made_by, deadline_ms: 0, control_offset, redrives: None, is_once: false }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::attempt::Lifecycle;
    use schemas::record::Headers;
    use schemas::topics::TopicSettings;

    use super::*;

    #[test]
    fn what_is_refused_is_left_out_with_what_says_that_it_was_sent() {
        let topics = TopicSettings::default().topics();
        let output = |topic: &Arc<str>, value: Vec<u8>| OutRecord {
            topic: Arc::clone(topic),
            partition: None,
            key: None,
            value: Some(Bytes::from(value)),
            headers: Headers::default(),
        };
        let told = |kind| output(&topics.attempts, Lifecycle::new(kind, 1).encode().unwrap());
        let sent = |text: &str| output(&topics.deliveries, text.as_bytes().to_vec());
        let outputs = || {
            let (one, two) = (sent("one"), sent("two"));
            vec![one, told(Kind::Redriven), two, told(Kind::Redriven), output(&topics.jobs, b"{}".to_vec())]
        };
        let texts = |(kept, left_out): (Vec<OutRecord>, LeftOut)| {
            let first = |output: &OutRecord| output.value.as_deref().unwrap()[0];
            (kept.iter().map(first).collect::<Vec<u8>>(), left_out.len())
        };
        assert_eq!(texts(without(&topics, outputs(), |at| at == 0)), (b"t{".to_vec(), 1));
        assert_eq!(texts(without(&topics, outputs(), |at| at == 0 || at == 2)), (Vec::new(), 2));
        assert_eq!(texts(without(&topics, outputs(), |_| false)), (b"o{t{".to_vec(), 0), "but for the job's own");
        let discarded = vec![told(Kind::Discarded), told(Kind::Discarded), output(&topics.jobs, b"{}".to_vec())];
        assert_eq!(texts(without(&topics, discarded, |at| at == 1)), (b"{".to_vec(), 1));
        let goal = SubscriptionId(Uuid::from_u128(7));
        let keyed = OutRecord { key: Some(schemas::delivery::key(goal)), ..sent("one") };
        assert_eq!(without(&topics, vec![keyed, told(Kind::Redriven)], |at| at == 0).1, [Some(goal)]);
    }
}
