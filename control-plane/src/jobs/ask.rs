//! Writes what is asked for: a job's definition and its record of the audit, in one transaction.
//!
//! The transactional id is this replica's own, so it fences nobody else. Where the outcome is unknown, the next `acquire` settles
//! it, and the job's own record tells.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::clock;
use kafka::{ExclusiveError, ExclusiveWriter, KafkaError, Offsets};
use schemas::audit::{Audit, VERSION as AUDIT_VERSION};
use schemas::header;
use schemas::ids::JobId;
use schemas::jobs::{JobDefinition, JobKey, MAX_JOB_BYTES, jobs_partition};
use schemas::problem::{Code, ProblemId};
use schemas::record::{Headers, OutRecord, TopicPartition};
use schemas::topics::Topics;
use tokio::sync::Mutex;
use tracing::warn;
use uuid::Uuid;

use super::view::JobsView;
use crate::actor::Actor;
use crate::config::Deps;
use crate::error::Error;
use crate::problem::{Problem, internal, unavailable};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one may take in all.
const PATIENCE: Duration = Duration::from_secs(8);

/// See the module.
#[derive(Debug)]
pub(super) struct AskWriter {
    sink: AskSink,
    view: JobsView,
    /// One transaction at a time.
    turn: Mutex<()>,
}

/// Where it is written to.
#[derive(Debug)]
pub(super) enum AskSink {
    Kafka(Box<KafkaSink>),
    #[cfg(test)]
    Memory,
}

/// On Kafka.
#[derive(Debug)]
pub(super) struct KafkaSink {
    writer: ExclusiveWriter,
    offsets: Offsets,
    topics: Topics,
}

// === impl AskSink ===

impl AskSink {
    pub(super) async fn start(deps: &Deps, transactional_id: String) -> Result<Self, Error> {
        let failed = |source| Error::Kafka { purpose: "asking for jobs", source };
        let limit = deps.topics.max_message_bytes;
        let writer = ExclusiveWriter::start(&deps.connection, &transactional_id, limit).await.map_err(failed)?;
        let offsets = Offsets::start(&deps.connection).map_err(failed)?;
        Ok(Self::Kafka(Box::new(KafkaSink { writer, offsets, topics: deps.topics.clone() })))
    }
}

// === impl AskWriter ===

impl AskWriter {
    pub(super) fn new(sink: AskSink, view: JobsView) -> Self {
        #[cfg(test)]
        if let AskSink::Memory = sink {
            view.change(|_| {});
        }
        Self { sink, view, turn: Mutex::new(()) }
    }

    /// Writes a definition; on return this replica knows it.
    pub(super) async fn write(&self, job: &JobDefinition, actor: &Actor, action: &str) -> Result<(), Problem> {
        let value = job.encode().map_err(|error| internal("a job could not be encoded", &error))?;
        if value.len() > MAX_JOB_BYTES {
            let detail = format!("the job takes {} bytes, at most {MAX_JOB_BYTES} are kept of one", value.len());
            return Err(Problem::new(ProblemId::Validation, detail).with_status(413).with_code(Code::BodyTooLarge));
        }
        match &self.sink {
            AskSink::Kafka(kafka) => {
                let written = async {
                    let _turn = self.turn.lock().await;
                    kafka.write(&self.view, job, value, (actor, action)).await
                };
                tokio::time::timeout(PATIENCE, written).await.map_err(|_elapsed| late())?
            }
            #[cfg(test)]
            AskSink::Memory => {
                self.view.change(|known| known.define(job.job_id, job.clone()));
                Ok(())
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
        let missing = || unavailable("the topic of jobs is not there");
        let count = self.offsets.partitions(&self.topics.jobs).await.map_err(|error| unreachable(&error))?;
        let partition = jobs_partition(job.application_id, count.ok_or_else(missing)?);
        let definition = OutRecord {
            topic: Arc::clone(&self.topics.jobs),
            partition: Some(partition),
            key: Some(JobKey::Definition(job.job_id).encode()),
            value: Some(Bytes::from(value)),
            headers: Headers::default(),
        };
        let records = vec![definition, self.audit(job, (actor, action))?];
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
                Ok(()) => break,
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
        view.until(|known, _| known.job(job.job_id).is_some_and(|known| is_as(&known.definition, job))).await;
        Ok(())
    }

    /// Whether it is there, once nothing of ours is open any more.
    async fn is_written(&self, view: &JobsView, job: &JobDefinition, partition: i32) -> Result<bool, Problem> {
        self.writer.acquire().await.map_err(|error| unreachable(&error))?;
        let at = TopicPartition::new(Arc::clone(&self.topics.jobs), partition);
        let end = self.offsets.end(&at).await.map_err(|error| unreachable(&error))?;
        view.until(|_, taken| end == 0 || taken.positions.get(&partition).is_some_and(|position| *position >= end))
            .await;
        Ok(view.read(|known| known.job(job.job_id)).is_some_and(|known| is_as(&known.definition, job)))
    }

    fn audit(&self, job: &JobDefinition, (actor, action): (&Actor, &str)) -> Result<OutRecord, Problem> {
        let key = audit_key(job, job.job_id);
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

/// Whether what is known of a job is at least what was written.
fn is_as(known: &JobDefinition, written: &JobDefinition) -> bool {
    known.cancelled_ms.is_some() >= written.cancelled_ms.is_some()
}

fn unreachable(error: &KafkaError) -> Problem {
    warn!(%error, "a job could not be asked for");
    unavailable("the job was not written")
}

fn late() -> Problem {
    let detail = "the job was not confirmed in time: it may or may not have been asked for";
    Problem::new(ProblemId::ServiceUnavailable, detail).with_code(Code::OutcomeUnknown).with_retry_after(1)
}
