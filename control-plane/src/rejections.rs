//! What was rejected, read from its topic in bounded pieces: nothing of it is kept in memory.
//!
//! ```text
//! GET /rejected --> page.rs: from each partition's end backwards, a piece at a time, merged newest first
//! a job --> piece.rs: from one offset of one partition on
//! ```
//!
//! Whose a record is, is only known when it is read, so a page may have few rows, or none, and still a next one.

mod page;
mod piece;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use catalog::Snapshot;
use kafka::{Connection, KafkaError, Offsets};
use schemas::delivery::RecordPlace;
use schemas::ids::{ApplicationId, OrganizationId, SourceId};
use schemas::jobs::JobRejections;
use schemas::record::{Record, TopicPartition};
use schemas::rejected::RejectedRecord;
use tokio::sync::Semaphore;
use tracing::warn;

pub(crate) use self::page::{PageEnd, RejectedPage};
pub(crate) use self::piece::RejectedPiece;
use crate::auth::{Principal, Who};
use crate::config::Deps;
use crate::error::Error;
use crate::problem::{Problem, unavailable};

/// Readings at once: each has a consumer of its own for as long as it reads.
const AT_ONCE: usize = 4;
/// How long one may take, the wait for its turn included.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// How long the broker holds an empty fetch.
const FETCH_WAIT_MS: u32 = 20;

/// Reads rejected records. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct RejectedReader(Arc<ReaderKind>);

#[derive(Debug)]
enum ReaderKind {
    Kafka(KafkaRejections),
    /// Those that a test has written, in partition 0.
    #[cfg(test)]
    Memory(parking_lot::Mutex<Vec<Record>>),
}

/// On Kafka.
#[derive(Debug)]
struct KafkaRejections {
    connection: Connection,
    /// Ends of what is committed: nobody waits for a transaction.
    offsets: Offsets,
    topic: Arc<str>,
    readers: Semaphore,
}

/// A rejected record, without what it holds.
#[derive(Clone, Debug)]
pub(crate) struct RejectedRow {
    pub(crate) place: RejectedId,
    /// When it was rejected, Unix ms.
    pub(crate) at_ms: i64,
    pub(crate) said: RejectedRecord,
}

/// Where a rejected record stands on `rejected`: `partition-offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RejectedId {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Whose a rejected record is, as far as that is there; nobody's is the operator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RejectedOwner {
    pub(crate) organization: Option<OrganizationId>,
    pub(crate) application: Option<ApplicationId>,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct RejectedFilter {
    pub(crate) source: Option<SourceId>,
    pub(crate) reason: Option<String>,
    /// Rejected not before, Unix ms.
    pub(crate) from_ms: Option<i64>,
    /// Rejected not after, Unix ms.
    pub(crate) to_ms: Option<i64>,
}

// === impl RejectedReader ===

impl RejectedReader {
    /// # Errors
    /// No client can be made.
    pub(crate) fn start(deps: &Deps) -> Result<Self, Error> {
        let failed = |source| Error::Kafka { purpose: "reading rejected records", source };
        Ok(Self(Arc::new(ReaderKind::Kafka(KafkaRejections {
            connection: deps.connection.clone(),
            offsets: Offsets::start_committed(&deps.connection).map_err(failed)?,
            topic: Arc::clone(&deps.topics.rejected),
            readers: Semaphore::new(AT_ONCE),
        }))))
    }

    /// Where they stand.
    pub(crate) fn topic(&self) -> &str {
        match &*self.0 {
            ReaderKind::Kafka(kafka) => &kafka.topic,
            #[cfg(test)]
            ReaderKind::Memory(_) => "",
        }
    }

    /// Whether something was written there, by where the partition ends: what is beyond never answers, and whoever reads back would
    /// take its partition for one that is silent.
    ///
    /// # Errors
    /// A 503: Kafka does not say where the partition ends.
    pub(crate) async fn is_written(&self, id: RejectedId) -> Result<bool, Problem> {
        match &*self.0 {
            ReaderKind::Kafka(kafka) => {
                if id.partition >= kafka.count().await.map_err(failed)? {
                    return Ok(false);
                }
                let partition = TopicPartition::new(Arc::clone(&kafka.topic), id.partition);
                Ok(id.offset < kafka.offsets.end(&partition).await.map_err(failed)?)
            }
            #[cfg(test)]
            ReaderKind::Memory(_) => Ok(true),
        }
    }

    /// Without Kafka, for tests of the handlers.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self(Arc::new(ReaderKind::Memory(parking_lot::Mutex::default())))
    }

    /// A record is rejected.
    #[cfg(test)]
    pub(crate) fn write(&self, record: Record) {
        let ReaderKind::Memory(all) = &*self.0 else { panic!("this one reads from Kafka") };
        all.lock().push(record);
    }

    /// The newest rows below an end that fit, and so many at most.
    ///
    /// # Errors
    /// A 503: Kafka does not give any in time.
    pub(crate) async fn page(
        &self,
        filter: &RejectedFilter,
        (end, wanted): (Option<PageEnd>, usize),
        fits: impl Fn(&RejectedRow) -> bool + Send + Sync,
    ) -> Result<RejectedPage, Problem> {
        match &*self.0 {
            ReaderKind::Kafka(kafka) => kafka.page(filter, (end, wanted), fits).await.map_err(failed)?,
            #[cfg(test)]
            ReaderKind::Memory(all) => Ok(page::of_memory(&all.lock(), filter, (end, wanted), fits)),
        }
    }

    /// Records of a partition from an offset on, of those that were rejected up to a time.
    ///
    /// # Errors
    /// A 503: Kafka does not give them in time.
    pub(crate) async fn piece(
        &self,
        from: RejectedId,
        (since_ms, until_ms): (Option<i64>, i64),
        wanted: impl Fn(&Record) -> bool + Send + Sync,
        limit: usize,
    ) -> Result<RejectedPiece, Problem> {
        match &*self.0 {
            ReaderKind::Kafka(kafka) => {
                let read = tokio::time::timeout(PATIENCE, kafka.piece(from, (since_ms, until_ms), wanted, limit));
                read.await.map_err(|_elapsed| late())?.map_err(failed)
            }
            #[cfg(test)]
            ReaderKind::Memory(_) => Ok(RejectedPiece { records: Vec::new(), next: None }),
        }
    }

    /// A record, where a test has written them; none: it stands on Kafka.
    #[cfg(test)]
    pub(crate) fn in_memory_at(&self, id: RejectedId) -> Option<Option<Record>> {
        let ReaderKind::Memory(all) = &*self.0 else { return None };
        Some(all.lock().iter().find(|record| id == RejectedId { partition: 0, offset: record.offset }).cloned())
    }
}

// === impl KafkaRejections ===

impl KafkaRejections {
    /// Partitions of the topic.
    async fn count(&self) -> Result<i32, KafkaError> {
        let missing = || KafkaError::NoTopic { topic: Arc::clone(&self.topic) };
        self.offsets.partitions(&self.topic).await?.ok_or_else(missing)
    }
}

fn failed(error: KafkaError) -> Problem {
    warn!(%error, "the topic of rejected records cannot be read");
    unavailable("rejected records cannot be read now")
}

fn late() -> Problem {
    unavailable("rejected records could not be read in time")
}

// === impl RejectedRow ===

impl RejectedRow {
    /// Whoever may write the topic can write anything: what nobody rejected is none.
    fn of(partition: i32, record: &Record) -> Option<Self> {
        let said = RejectedRecord::decode(record)?;
        let said = RejectedRecord { headers: schemas::record::Headers::default(), ..said };
        let place = RejectedId { partition, offset: record.offset };
        Some(Self { place, at_ms: record.timestamp_ms, said })
    }
}

// === impl RejectedFilter ===

impl RejectedFilter {
    /// Those of a job.
    pub(crate) fn of_job(of: &JobRejections) -> Self {
        Self { source: of.source_id, reason: of.reason.clone(), from_ms: of.from_ms, to_ms: of.to_ms }
    }

    /// Whether a record is among what is asked for.
    pub(crate) fn fits(&self, at_ms: i64, said: &RejectedRecord) -> bool {
        self.source.is_none_or(|source| said.source == Some(source))
            && self.reason.as_ref().is_none_or(|reason| said.reason == *reason)
            && self.from_ms.is_none_or(|from_ms| at_ms >= from_ms)
            && self.to_ms.is_none_or(|to_ms| at_ms <= to_ms)
    }
}

// === impl RejectedOwner ===

impl RejectedOwner {
    /// By what is there now.
    pub(crate) fn of(snapshot: &Snapshot, said: &RejectedRecord) -> Self {
        let of_application = |id: ApplicationId| {
            let there = snapshot.application_by_id(id).map(|it| it.organization_id);
            there.or_else(|| snapshot.retired_application(id).map(|it| it.organization_id))
        };
        let named = said.application.and_then(|id| Some((id, of_application(id)?)));
        let organization = said.organization.or_else(|| named.map(|(_, organization)| organization));
        let organization = organization.filter(|id| snapshot.organization(*id).is_some());
        // What a source's record names is its own, or nobody's.
        let application = named.filter(|(_, of)| Some(*of) == organization).map(|(id, _)| id);
        Self { organization, application }
    }

    /// Whether a token sees it.
    pub(crate) fn is_seen_by(&self, principal: &Principal) -> bool {
        match &principal.who {
            Who::Admin => true,
            Who::Service(entry) => self.organization == Some(entry.organization),
            Who::Application(entry) => self.application == Some(entry.application),
        }
    }

    /// Whether whoever asked for a job sees it.
    pub(crate) fn is_of_job(&self, of: &JobRejections) -> bool {
        let is_organizations = of.organization_id.is_none_or(|id| self.organization == Some(id));
        is_organizations && of.application_id.is_none_or(|id| self.application == Some(id))
    }
}

// === impl RejectedId ===

impl From<RecordPlace> for RejectedId {
    fn from(RecordPlace { partition, offset }: RecordPlace) -> Self {
        Self { partition, offset }
    }
}

impl fmt::Display for RejectedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

impl FromStr for RejectedId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (partition, offset) =
            text.split_once('-').filter(|(one, two)| is_number(one) && is_number(two)).ok_or(())?;
        Ok(Self { partition: partition.parse().map_err(drop)?, offset: offset.parse().map_err(drop)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        let id = RejectedId { partition: 3, offset: 120 };
        assert_eq!((id.to_string().as_str(), "3-120".parse()), ("3-120", Ok(id)));
        for bad in ["", "3", "3-", "-3", "3-+1", "3/1", "3-1-1", "99999999999-1"] {
            assert_eq!(bad.parse::<RejectedId>(), Err(()), "{bad}");
        }
    }
}
