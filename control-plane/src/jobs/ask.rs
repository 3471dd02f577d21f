//! Writes what is asked for: a job's definition and its record of the audit, in one transaction.
//!
//! The transactional id is this replica's own, so it fences nobody else. Where the outcome is unknown, the next `acquire` settles
//! it, and the job's own record tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use catalog::Catalog;
use chassis::clock;
use kafka::{ExclusiveError, ExclusiveWriter, KafkaError, Offsets};
use schemas::audit::{Audit, VERSION as AUDIT_VERSION};
use schemas::header;
use schemas::ids::{ApplicationId, JobId};
use schemas::jobs::{JobDefinition, JobKey, MAX_JOB_BYTES, jobs_partition};
use schemas::problem::{Code, ProblemId};
use schemas::record::{Headers, OutRecord, TopicPartition};
use schemas::topics::Topics;
use tokio::sync::{Mutex, MutexGuard};
use tracing::warn;
use uuid::Uuid;

use super::known::{KnownJob, KnownJobs, is_named};
use super::view::{JobsView, TakenJobs};
use crate::actor::Actor;
use crate::config::Deps;
use crate::error::Error;
use crate::problem::{Problem, internal, out_of_time, unavailable};
use crate::store::check_token;

/// Between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// How long one may take in all.
const PATIENCE: Duration = Duration::from_secs(8);

/// See the module.
#[derive(Debug)]
pub(super) struct AskWriter {
    sink: AskSink,
    view: JobsView,
    /// One transaction at a time. Of each organization one request waits for it: `crate::turns`.
    turn: Mutex<()>,
    /// How long one may take in all.
    patience: Duration,
}

/// Where it is written to.
#[derive(Debug)]
pub(super) enum AskSink {
    Kafka(Box<KafkaSink>),
    #[cfg(test)]
    Memory(super::played::PlayedTopic),
}

/// On Kafka.
#[derive(Debug)]
pub(super) struct KafkaSink {
    writer: ExclusiveWriter,
    offsets: Offsets,
    topics: Topics,
    /// Knows whether a token is still one when its turn has come.
    catalog: Catalog,
}

// === impl AskSink ===

impl AskSink {
    pub(super) async fn start(deps: &Deps, transactional_id: String) -> Result<Self, Error> {
        let failed = |source| Error::Kafka { purpose: "asking for jobs", source };
        let limit = deps.topics.max_message_bytes;
        let writer = ExclusiveWriter::start(&deps.connection, &transactional_id, limit).await.map_err(failed)?;
        let offsets = Offsets::start(&deps.connection).map_err(failed)?;
        let (topics, catalog) = (deps.topics.clone(), deps.catalog.clone());
        Ok(Self::Kafka(Box::new(KafkaSink { writer, offsets, topics, catalog })))
    }
}

// === impl AskWriter ===

impl AskWriter {
    pub(super) fn new(sink: AskSink, view: JobsView) -> Self {
        #[cfg(test)]
        if let AskSink::Memory(_) = sink {
            view.change(|_| {});
        }
        Self { sink, view, turn: Mutex::new(()), patience: PATIENCE }
    }

    /// Writes the definition of a job unless there is one; on return this replica has read it.
    pub(super) async fn ask(&self, job: &Arc<JobDefinition>, actor: &Actor, action: &str) -> Result<(), Problem> {
        let new = |known: &KnownJobs| Ok(known.job(job.job_id).is_none().then(|| Arc::clone(job)));
        self.write_if((actor, action), is_named(job.job_id), new).await
    }

    /// Writes what becomes of a job, as it stands then; on return this replica has read it. `is_repeatable`: asked again as it is, it
    /// changes nothing more, and is not refused for what it has done.
    ///
    /// # Errors
    /// What `changed` refuses, a 503.
    pub(super) async fn change(
        &self,
        job: &KnownJob,
        (actor, action): (&Actor, &str),
        is_repeatable: bool,
        changed: impl Fn(&KnownJob) -> Result<JobDefinition, Problem> + Send + Sync,
    ) -> Result<(), Problem> {
        let changed = |known: &KnownJobs| {
            let now = known.job(job.definition.job_id);
            let now = now.as_ref().unwrap_or(job);
            let changed = changed(now)?;
            Ok((changed != *now.definition).then(|| Arc::new(changed)))
        };
        self.write_if((actor, action), is_repeatable, changed).await
    }

    /// Waits until this replica has read what stands of an application's jobs now: another replica may have been told since.
    pub(super) async fn current(&self, application: ApplicationId) -> Result<(), Problem> {
        match &self.sink {
            AskSink::Kafka(kafka) => {
                let read = kafka.current(&self.view, application);
                tokio::time::timeout(PATIENCE, read).await.map_err(|_elapsed| behind())?
            }
            #[cfg(test)]
            AskSink::Memory(topic) => {
                topic.read(&self.view);
                Ok(())
            }
        }
    }

    /// Waits until this replica has read what stands of all jobs now.
    pub(super) async fn all_current(&self) -> Result<(), Problem> {
        match &self.sink {
            AskSink::Kafka(kafka) => {
                let late = |_elapsed| unavailable("what jobs there are is not read yet");
                tokio::time::timeout(PATIENCE, kafka.all_current(&self.view)).await.map_err(late)?
            }
            #[cfg(test)]
            AskSink::Memory(_) => Ok(()),
        }
    }

    pub(super) fn sink(&self) -> &AskSink {
        &self.sink
    }

    /// When what begins now is over, whatever came of it.
    pub(super) fn deadline(&self) -> Instant {
        clock::instant() + self.patience
    }

    /// Waits until nobody else writes, and looks again whether the token is still one.
    pub(super) async fn take_turn(&self, actor: &Actor, deadline: Instant) -> Result<MutexGuard<'_, ()>, Problem> {
        let turn = tokio::time::timeout_at(deadline.into(), self.turn.lock()).await.map_err(|_elapsed| no_turn())?;
        match &self.sink {
            AskSink::Kafka(kafka) => check_token(actor, &kafka.catalog.read(), clock::now_ms())?,
            #[cfg(test)]
            AskSink::Memory(_) => {}
        }
        Ok(turn)
    }

    /// What is written is decided when its turn has come: by then another request may have asked for the same. `is_repeatable`: who
    /// asks again has no more than was asked for.
    async fn write_if(
        &self,
        (actor, action): (&Actor, &str),
        is_repeatable: bool,
        decide: impl Fn(&KnownJobs) -> Result<Option<Arc<JobDefinition>>, Problem> + Send + Sync,
    ) -> Result<(), Problem> {
        let deadline = self.deadline();
        let _turn = self.take_turn(actor, deadline).await?;
        let Some(job) = self.view.read(&decide)? else { return Ok(()) };
        let value = job.encode().map_err(|error| internal("a job could not be encoded", &error))?;
        if value.len() > MAX_JOB_BYTES {
            let detail = format!("the job takes {} bytes, at most {MAX_JOB_BYTES} are kept of one", value.len());
            return Err(Problem::new(ProblemId::Validation, detail).with_status(413).with_code(Code::BodyTooLarge));
        }
        match &self.sink {
            AskSink::Kafka(kafka) => {
                let written = kafka.write(&self.view, &job, value, (actor, action));
                let written = tokio::time::timeout_at(deadline.into(), written).await;
                written.map_err(|_elapsed| late(is_repeatable))?
            }
            #[cfg(test)]
            AskSink::Memory(topic) => {
                if topic.write(&self.view, &job) {
                    Ok(())
                } else {
                    Err(late(is_repeatable))
                }
            }
        }
    }
}

// === impl KafkaSink ===

impl KafkaSink {
    async fn write(
        &self,
        view: &JobsView,
        job: &JobDefinition,
        value: Vec<u8>,
        (actor, action): (&Actor, &str),
    ) -> Result<(), Problem> {
        let partition = self.partition(job.application_id).await?;
        let definition = OutRecord {
            topic: Arc::clone(&self.topics.jobs),
            partition: Some(partition),
            key: Some(JobKey::Definition(job.job_id).encode()),
            value: Some(Bytes::from(value)),
            headers: Headers::default(),
        };
        let records = vec![definition, self.audit_of(audit_key(job, job.job_id), (actor, action))?];
        loop {
            if let Err(error) = self.writer.acquire().await {
                warn!(%error, "a job cannot be asked for now");
                if !error.is_retriable() {
                    return Err(unreachable(&error));
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            match self.writer.write(records.clone()).await {
                Ok(written) => {
                    let last = written.of(&self.topics.jobs);
                    view.until(|known, taken| is_read(taken, partition, last) || is_there(known, job)).await;
                    return Ok(());
                }
                // Whoever has the slot since will not have it for long, or this process is the one that should stop.
                Err(ExclusiveError::Fenced) => {}
                Err(ExclusiveError::Unknown(error)) => {
                    warn!(%error, job.id = %job.job_id, "whether a job was asked for is unknown, looking for it");
                    if self.is_written(view, job, partition).await? {
                        return Ok(());
                    }
                }
                Err(ExclusiveError::Refused(error)) if error.is_retriable() => tokio::time::sleep(PAUSE).await,
                Err(ExclusiveError::Refused(error)) => return Err(unreachable(&error)),
            }
        }
    }

    /// Whether it is there, once nothing of ours is open any more.
    async fn is_written(&self, view: &JobsView, job: &JobDefinition, partition: i32) -> Result<bool, Problem> {
        self.writer.acquire().await.map_err(|error| unreachable(&error))?;
        self.read_to_end(view, partition).await?;
        Ok(view.read(|known| is_there(known, job)))
    }

    async fn current(&self, view: &JobsView, application: ApplicationId) -> Result<(), Problem> {
        let partition = self.partition(application).await?;
        self.read_to_end(view, partition).await
    }

    async fn all_current(&self, view: &JobsView) -> Result<(), Problem> {
        let unknown = |error: &KafkaError| unavailable(format!("what jobs there are is not known: {error}"));
        let told = self.offsets.told_ends(&self.topics.jobs).await.map_err(|error| unknown(&error))?;
        let ends: Result<BTreeMap<i32, i64>, KafkaError> =
            told.into_iter().map(|(partition, end)| Ok((partition, end?))).collect();
        let ends = ends.map_err(|error| unknown(&error))?;
        let is_read = |taken: &TakenJobs, (partition, end): (&i32, &i64)| {
            *end == 0 || taken.positions.get(partition).is_some_and(|position| position >= end)
        };
        view.until(|_, taken| ends.iter().all(|end| is_read(taken, end))).await;
        Ok(())
    }

    /// Where the jobs of an application stand.
    async fn partition(&self, application: ApplicationId) -> Result<i32, Problem> {
        let missing = || unavailable("the topic of jobs is not there");
        let count = self.offsets.partitions(&self.topics.jobs).await.map_err(|error| unreachable(&error))?;
        Ok(jobs_partition(application, count.ok_or_else(missing)?))
    }

    /// Waits until everything was read that is in a partition now.
    async fn read_to_end(&self, view: &JobsView, partition: i32) -> Result<(), Problem> {
        let at = TopicPartition::new(Arc::clone(&self.topics.jobs), partition);
        let end = self.offsets.end(&at).await.map_err(|error| unreachable(&error))?;
        view.until(|_, taken| end == 0 || taken.positions.get(&partition).is_some_and(|position| *position >= end))
            .await;
        Ok(())
    }

    pub(super) fn writer(&self) -> &ExclusiveWriter {
        &self.writer
    }

    pub(super) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The record of the audit that somebody did something to what has this key.
    pub(super) fn audit_of(&self, key: String, (actor, action): (&Actor, &str)) -> Result<OutRecord, Problem> {
        let audit = Audit {
            v: AUDIT_VERSION,
            at_ms: clock::now_ms(),
            actor: actor.name.to_string(),
            action: action.to_owned(),
            key: key.clone(),
            changed: Vec::new(),
            before: None,
            after: None,
            address: actor.caller.address.map(|address| address.to_string()),
            request_id: actor.caller.request_id.as_deref().map(str::to_owned),
            write_id: Uuid::now_v7(),
        };
        let value =
            serde_json::to_vec(&audit).map_err(|error| internal("an audit record could not be encoded", &error))?;
        let mut headers = Headers::builder(1, 32);
        headers.push_i64(header::VERSION, i64::from(AUDIT_VERSION));
        Ok(OutRecord {
            topic: Arc::clone(&self.topics.audit),
            partition: Some(0),
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from(value)),
            headers: headers.build(),
        })
    }
}

/// The key of a job in the audit.
fn audit_key(job: &JobDefinition, id: JobId) -> String {
    format!("job/{}/{id}", job.application_id)
}

/// Whether a partition was read past the record that was written; Kafka may not have said where it stands.
fn is_read(taken: &TakenJobs, partition: i32, last: Option<i64>) -> bool {
    last.zip(taken.positions.get(&partition)).is_some_and(|(last, position)| *position > last)
}

/// Whether a job is known as it was written, or is cancelled, which stands above all.
fn is_there(known: &KnownJobs, written: &JobDefinition) -> bool {
    known.job(written.job_id).is_some_and(|known| {
        let known = &known.definition;
        known.cancelled_ms.is_some() || (written.cancelled_ms.is_none() && known.paused_ms == written.paused_ms)
    })
}

pub(super) fn unreachable(error: &KafkaError) -> Problem {
    warn!(%error, "what was asked for could not be written");
    unavailable("what was asked for was not written")
}

fn behind() -> Problem {
    unavailable("how the job stands is not read yet: nothing was changed")
}

fn no_turn() -> Problem {
    out_of_time("other writes of jobs took so long that this one did not come to its turn: nothing was done")
}

/// Without `Retry-After` where a repeat would be another job, or refused.
fn late(is_repeatable: bool) -> Problem {
    if is_repeatable {
        return unknown(
            "what was asked for was not confirmed in time: send the request again as it is, and it is done once",
        )
        .with_retry_after(1);
    }
    unknown(
        "what was asked for was not confirmed in time: it may or may not have been done, so look before you ask again",
    )
}

/// 503 `outcome_unknown`.
pub(super) fn unknown(detail: &str) -> Problem {
    Problem::new(ProblemId::ServiceUnavailable, detail).with_code(Code::OutcomeUnknown)
}

#[cfg(test)]
mod tests;
