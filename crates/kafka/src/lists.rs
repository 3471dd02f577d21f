//! What a new owner reads before the first record of a partition: the lists of what waits of it, which stand in the partition of
//! the same number of a compacted topic.
//!
//! ```text
//! taken over     stable offsets with their claims, ids and ends of the logs   (Writer::take_over)
//! ids, ends      id of the topic of lists; then E, the end of each partition, open transactions included
//! CatchUp        read_committed from where the claim says, until position >= E; the last record of a key counts
//! ```
//!
//! E is asked after the offsets were read: whatever a previous owner committed stands below E, and nothing of it can come later.
//! What the records say, and whether it agrees with the claim, is the role's to judge.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::{Record, TopicPartition};
use tracing::{info, warn};
use uuid::Uuid;

use crate::catch_up::{CatchUp, CatchUpOptions, CatchUpStep, ReadingWatch};
use crate::clock::boot_ms;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::lease::{Epoch, Lease, Ownership};
use crate::metadata::ListsClaim;
use crate::offsets::{self, Offsets};
use crate::restore::Restored;

/// Pause before everything is read again after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Reads lists back. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ListsRestorer {
    connection: Connection,
    offsets: Offsets,
    topic: Arc<str>,
    /// Of those who write it.
    transaction_timeout: Duration,
}

/// What was read for one lease.
#[derive(Clone, Debug)]
pub struct RestoredLists {
    /// Whose lists they are.
    pub lease: Lease,
    /// Id of the topic they stand in.
    pub topic_id: Uuid,
    /// Where reading began: where the claim said, or the log's start where there is no claim about this topic.
    pub from: i64,
    /// The end of the partition when it was taken over.
    pub end: i64,
    /// Bytes of all records that were read from `from` to the end.
    pub bytes: u64,
    /// The last record of each key that was not removed.
    pub records: HashMap<Bytes, KeptRecord>,
}

/// The last record of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its offset.
    pub offset: i64,
    /// Its value.
    pub value: Bytes,
}

// === impl ListsRestorer ===

impl ListsRestorer {
    /// Reads lists from this topic. `transaction_timeout`: of those who write it.
    #[must_use]
    pub fn new(connection: &Connection, offsets: Offsets, topic: Arc<str>, transaction_timeout: Duration) -> Self {
        Self { connection: connection.clone(), offsets, topic, transaction_timeout }
    }

    /// The lists of partitions that were just taken over, as [`crate::Writer::take_over`] found them. Waits for the cluster as long as it
    /// takes, and reads from the beginning again where reading failed; leases that end meanwhile are left out, and so are those whose
    /// lists have no leader.
    ///
    /// # Errors
    /// [`KafkaError::Held`]: a partition's end is not reached though Kafka answers, for longer than any transaction lives;
    /// [`KafkaError::NoTopic`], [`KafkaError::Invalid`] where the topic has no such partition; missing authorization.
    pub async fn restore(
        &self,
        found: &[Restored],
        ownership: &Ownership,
        watch: &ReadingWatch,
    ) -> Result<Vec<RestoredLists>, KafkaError> {
        let started_ms = boot_ms();
        loop {
            let live: Vec<&Restored> = found.iter().filter(|found| ownership.is_live(&found.lease)).collect();
            let wanted = live.iter().map(|found| (found.lease.clone(), found.lists)).collect();
            match self.try_restore(wanted, Some(ownership), watch).await {
                Ok(restored) => {
                    let (partitions, bytes) = (restored.len(), restored.iter().map(|lists| lists.bytes).sum::<u64>());
                    let records: usize = restored.iter().map(|lists| lists.records.len()).sum();
                    info!(partitions, records, bytes, elapsed_ms = boot_ms() - started_ms, "lists restored");
                    return Ok(restored);
                }
                Err(error) => {
                    let error = watch.read_again(error, boot_ms())?;
                    warn!(topic = %self.topic, %error, "reading lists failed, reading them again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The lists of all partitions as a takeover would find them now, for people who look. `claims`: what was committed of them, by
    /// partition, read before this is called.
    ///
    /// # Errors
    /// As [`Self::restore`]; and the cluster did not answer.
    pub async fn look_at_all(&self, claims: &BTreeMap<i32, ListsClaim>) -> Result<Vec<RestoredLists>, KafkaError> {
        let count = self.offsets.partitions(&self.topic).await?.ok_or_else(|| offsets::no_topic(&self.topic))?;
        let nobodys =
            |number| (Lease { partition: self.partition(number), epoch: Epoch(0) }, claims.get(&number).copied());
        self.try_restore((0..count).map(nobodys).collect(), None, &ReadingWatch::default()).await
    }

    /// `ownership`: who needs it; without one it is needed in any case.
    async fn try_restore(
        &self,
        wanted: Vec<(Lease, Option<ListsClaim>)>,
        ownership: Option<&Ownership>,
        watch: &ReadingWatch,
    ) -> Result<Vec<RestoredLists>, KafkaError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let partitions = wanted.iter().map(|(lease, _)| self.partition(lease.partition.partition)).collect();
        let (topic_id, ranges) = self.look(partitions).await?;
        let mut lists = BTreeMap::new();
        for (lease, claim) in wanted {
            let partition = lease.partition.partition;
            let Some(range) = ranges.get(&partition).copied() else {
                self.leave_out(partition, ownership)?;
                continue;
            };
            let (from, end) = (begin(claim, topic_id, range), range.1);
            lists.insert(partition, RestoredLists { lease, topic_id, from, end, bytes: 0, records: HashMap::new() });
        }
        let is_needed = |lists: &RestoredLists| ownership.is_none_or(|ownership| ownership.is_live(&lists.lease));
        let left_out = self.read(&mut lists, is_needed, watch).await?;
        left_out.iter().try_for_each(|number| self.leave_out(*number, ownership))?;
        lists.retain(|partition, lists| !left_out.contains(partition) && is_needed(lists));
        Ok(lists.into_values().collect())
    }

    /// The topic's id, and start and end of each partition. One that has no leader is left out.
    async fn look(&self, partitions: Vec<TopicPartition>) -> Result<(Uuid, BTreeMap<i32, (i64, i64)>), KafkaError> {
        let topic = &self.topic;
        let count = self.offsets.partitions(topic).await?.ok_or_else(|| offsets::no_topic(topic))?;
        if let Some(beyond) = partitions.iter().find(|partition| partition.partition >= count) {
            let reason = format!("{beyond} does not exist, {topic} has {count} partitions; see `hookbus topics plan`");
            return Err(KafkaError::Invalid { what: "number of partitions", reason });
        }
        let topic_id = self.offsets.topic_id(topic).await?.unwrap_or(Uuid::nil());
        let ranges = self.offsets.ranges_of(partitions).await?;
        Ok((topic_id, ranges.into_iter().map(|(place, range)| (place.partition, range)).collect()))
    }

    /// Reads every partition to its end, as long as one of them is needed. Returns those that have no leader.
    async fn read(
        &self,
        lists: &mut BTreeMap<i32, RestoredLists>,
        is_needed: impl Fn(&RestoredLists) -> bool,
        watch: &ReadingWatch,
    ) -> Result<BTreeSet<i32>, KafkaError> {
        let ranges = lists.iter().map(|(partition, lists)| (*partition, (lists.from, lists.end))).collect();
        let options =
            CatchUpOptions { topic: Arc::clone(&self.topic), ranges, transaction_timeout: self.transaction_timeout };
        let mut reading = CatchUp::start(&self.connection, self.offsets.clone(), options, watch.clone())?;
        while let Some(step) = reading.next().await? {
            match step {
                CatchUpStep::Record { partition, record } => {
                    if let Some(lists) = lists.get_mut(&partition) {
                        lists.apply(record);
                    }
                }
                CatchUpStep::Look if !lists.values().any(&is_needed) => break,
                CatchUpStep::Look => {}
            }
        }
        Ok(reading.left_out().clone())
    }

    /// One that has no leader is left to later, but where all of them are wanted.
    fn leave_out(&self, number: i32, ownership: Option<&Ownership>) -> Result<(), KafkaError> {
        let wanted = || KafkaError::call(format!("reading {}", self.partition(number)), Code::LeaderNotAvailable);
        ownership.map(|_others| ()).ok_or_else(wanted)
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic), number)
    }
}

/// Where reading begins. A claim about another topic says nothing, nor does one above the end: the role sees that nothing agrees.
fn begin(claim: Option<ListsClaim>, topic_id: Uuid, (log_start, log_end): (i64, i64)) -> i64 {
    let claim = claim.filter(|claim| claim.topic_id == topic_id && claim.from <= log_end);
    claim.map_or(log_start, |claim| claim.from.max(log_start))
}

// === impl RestoredLists ===

impl RestoredLists {
    fn apply(&mut self, record: Record) {
        self.bytes += u64::try_from(record.size()).unwrap_or(0);
        let Some(key) = record.key else {
            warn!(lease = %self.lease, offset = record.offset, "a record among the lists has no key");
            return;
        };
        match record.value {
            Some(value) => {
                self.records.insert(key, KeptRecord { offset: record.offset, value });
            }
            None => {
                self.records.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::record::Headers;

    use super::*;

    const ID: Uuid = Uuid::from_u128(5);

    #[test]
    fn reading_begins_where_a_claim_about_this_topic_says() {
        let claim = |topic_id, from| Some(ListsClaim { queued: 1, sum: 2, topic_id, from });
        let cases = [
            (None, 3, "nothing was said"),
            (claim(ID, 7), 7, "as was said"),
            (claim(ID, 1), 3, "compaction has passed it"),
            (claim(ID, 10), 10, "nothing stands there"),
            (claim(ID, 11), 3, "the log was cut"),
            (claim(Uuid::from_u128(6), 7), 3, "another topic"),
        ];
        for (claim, from, why) in cases {
            assert_eq!(begin(claim, ID, (3, 10)), from, "{why}");
        }
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_a_tombstone_removes_it() {
        let lease = Lease { partition: TopicPartition::new("deliveries", 0), epoch: Epoch(1) };
        let (records, topic_id) = (HashMap::new(), ID);
        let mut lists = RestoredLists { lease, topic_id, from: 0, end: 9, bytes: 0, records };
        let record = |offset, key: Option<&'static str>, value: Option<&'static str>| Record {
            offset,
            timestamp_ms: 0,
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers: Headers::default(),
        };
        lists.apply(record(0, Some("a"), Some("one")));
        lists.apply(record(1, Some("b"), Some("two")));
        lists.apply(record(2, None, Some("lost")));
        lists.apply(record(4, Some("a"), None));
        lists.apply(record(5, Some("b"), Some("three")));
        lists.apply(record(6, Some("c"), None));
        let kept = KeptRecord { offset: 5, value: Bytes::from("three") };
        assert_eq!(lists.records, HashMap::from([(Bytes::from("b"), kept)]));
        assert!(lists.bytes >= 20);
    }
}
