//! The audit topic, read backwards in pieces: nothing of it is kept in memory.
//!
//! A request looks at a bounded number of records, so a page may have few rows, or none, and still a next one: whose records they
//! are is only known when they are read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka::{Below, Connection, From, KafkaError, Offsets, Tail, TailOptions};
use schemas::audit::Audit;
use schemas::problem::Code;
use schemas::record::{Record, TopicPartition};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::config::Deps;
use crate::error::Error;
use crate::problem::{Problem, unavailable};

/// Records that one request looks at.
const LOOKED_AT: i64 = 5_000;
/// Requests that read at once: each has a consumer of its own for as long as it reads.
const AT_ONCE: usize = 4;
/// How long one may take, the wait for its turn included.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the broker holds an empty fetch.
const FETCH_WAIT_MS: u32 = 20;

/// Where audit records are read.
#[derive(Debug)]
pub(crate) enum AuditLog {
    Kafka(KafkaAudit),
    /// Those of a store in memory.
    #[cfg(test)]
    Memory(crate::store::Store),
}

/// On Kafka.
#[derive(Debug)]
pub(crate) struct KafkaAudit {
    connection: Connection,
    offsets: Offsets,
    partition: TopicPartition,
    readers: Semaphore,
}

/// Some of the topic.
#[derive(Debug)]
pub(crate) struct AuditPiece {
    /// Newest first, each with its offset.
    pub(crate) records: Vec<(i64, Audit)>,
    /// Where the next piece ends. None: it began at the start of the topic.
    pub(crate) next: Option<i64>,
}

// === impl AuditLog ===

impl AuditLog {
    pub(crate) fn start(deps: &Deps) -> Result<Self, Error> {
        let failed = |source| Error::Kafka { purpose: "reading the audit topic", source };
        Ok(Self::Kafka(KafkaAudit {
            connection: deps.connection.clone(),
            // Of all that is written: Kafka answers a commit before its readers are shown it.
            offsets: Offsets::start(&deps.connection).map_err(failed)?,
            partition: TopicPartition::new(Arc::clone(&deps.topics.audit), 0),
            readers: Semaphore::new(AT_ONCE),
        }))
    }

    /// The newest records below an offset, or of all.
    ///
    /// # Errors
    /// A 503: Kafka does not give them in time, or too many others read.
    pub(crate) async fn before(&self, end: Option<i64>) -> Result<AuditPiece, Problem> {
        match self {
            Self::Kafka(kafka) => {
                let piece = tokio::time::timeout(PATIENCE, kafka.before(end)).await;
                let late = |_elapsed| unavailable("the audit topic could not be read in time");
                piece.map_err(late)?.map_err(|error| {
                    warn!(%error, "the audit topic cannot be read");
                    unavailable("the audit topic cannot be read now")
                })
            }
            #[cfg(test)]
            Self::Memory(store) => {
                let all = (0..).zip(crate::store::audited(store));
                let records: Vec<_> = all.take_while(|(offset, _)| end.is_none_or(|end| *offset < end)).collect();
                Ok(AuditPiece { records: records.into_iter().rev().collect(), next: None })
            }
        }
    }
}

// === impl KafkaAudit ===

impl KafkaAudit {
    async fn before(&self, end: Option<i64>) -> Result<AuditPiece, KafkaError> {
        let _turn = self.readers.acquire().await.map_err(|_closed| KafkaError::Closed)?;
        let start = self.offsets.start_of(&self.partition).await?;
        let last = self.offsets.end(&self.partition).await?;
        let end = end.map_or(last, |end| end.min(last));
        let begin = end.saturating_sub(LOOKED_AT).max(start);
        let next = (begin > start).then_some(begin);
        let mut records = Vec::new();
        if begin >= end {
            return Ok(AuditPiece { records, next: None });
        }
        let options = TailOptions {
            topic: self.partition.topic.to_string(),
            partitions: Some(vec![self.partition.partition]),
            from: From::Offsets(HashMap::from([(self.partition.partition, begin)])),
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        let mut below = Below::new(Tail::start(&self.connection, options)?, end);
        while let Some(record) = below.next().await? {
            records.extend(read(&record));
        }
        records.reverse();
        Ok(AuditPiece { records, next })
    }
}

/// Whoever may write the topic can write anything: what is no audit record is passed over, and said.
fn read(record: &Record) -> Option<(i64, Audit)> {
    let decoded = serde_json::from_slice(record.value.as_deref().unwrap_or_default());
    decoded
        .inspect_err(|error| warn!(offset = record.offset, %error, "a record of the audit topic cannot be decoded"))
        .ok()
        .map(|audit| (record.offset, audit))
}

/// A cursor that no page has named.
pub(crate) fn no_cursor() -> Problem {
    let message = "is none that a `Link` of this list has named";
    Problem::field("pagination_cursor", Code::InvalidField, message)
}
