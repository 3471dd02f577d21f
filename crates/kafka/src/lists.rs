//! What a new owner reads before the first record of a partition: the lists of what waits of it, which stand in the partition of
//! the same number of a compacted topic.
//!
//! ```text
//! taken over     stable offsets with their claims, ids and ends of the logs   (Writer::take_over)
//! ids, ends      id of the topic of lists; then E, the end of each partition, open transactions included
//! Tail           read_committed from where the claim says, until position >= E; the last record of a key counts
//! ```
//!
//! E is asked after the offsets were read: whatever a previous owner committed stands below E, and nothing of it can come later.
//! What the records say, and whether it agrees with the claim, is the role's to judge.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::Consumer;
use schemas::record::{Record, TopicPartition};
use tracing::{info, warn};
use uuid::Uuid;

use crate::clock::boot_ms;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi;
use crate::lease::{Epoch, Lease, Ownership};
use crate::metadata::ListsClaim;
use crate::offsets::{self, Offsets, plain_client};
use crate::restore::Restored;
use crate::tail::{From, Tail, TailEvent, TailOptions};
use crate::takeover::LOST_MARGIN;

/// How often, in records, it is checked whether anybody still needs what is read.
const CHECK_EVERY: u64 = 4_096;
/// Catch-up: an empty fetch comes back at once, so that the position passes transaction markers.
const FETCH_WAIT_MS: u32 = 20;
/// How long one question may take; it is repeated.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before everything is read again after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// A partition that is not read further for this long is looked at.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Reads lists back. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ListsRestorer {
    connection: Connection,
    offsets: Offsets,
    topic: Arc<str>,
    /// Beyond this no transaction lives, milliseconds.
    longest_open_ms: i64,
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

/// How far a partition has to be read, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListsReading {
    position: i64,
    end: i64,
    /// When the position was reached, on the clock that counts suspension, ms.
    since_ms: i64,
}

// === impl ListsRestorer ===

impl ListsRestorer {
    /// Reads lists from this topic. `transaction_timeout`: of those who write it.
    #[must_use]
    pub fn new(connection: &Connection, offsets: Offsets, topic: Arc<str>, transaction_timeout: Duration) -> Self {
        let longest_open_ms = i64::try_from((transaction_timeout + LOST_MARGIN).as_millis()).unwrap_or(i64::MAX);
        Self { connection: connection.clone(), offsets, topic, longest_open_ms }
    }

    /// The lists of partitions that were just taken over, as [`crate::Writer::take_over`] found them. Waits for the cluster as long as it
    /// takes, and reads from the beginning again where reading failed; leases that end meanwhile are left out.
    ///
    /// # Errors
    /// [`KafkaError::ListsHeld`]: a partition's end is not reached though Kafka answers, for longer than any transaction lives;
    /// [`KafkaError::NoTopic`], [`KafkaError::Invalid`] where the topic has no such partition; missing authorization.
    pub async fn restore(&self, found: &[Restored], ownership: &Ownership) -> Result<Vec<RestoredLists>, KafkaError> {
        let started_ms = boot_ms();
        loop {
            let live: Vec<&Restored> = found.iter().filter(|found| ownership.is_live(&found.lease)).collect();
            let wanted = live.iter().map(|found| (found.lease.clone(), found.lists)).collect();
            match self.try_restore(wanted, Some(ownership)).await {
                Ok(restored) => {
                    let (partitions, bytes) = (restored.len(), restored.iter().map(|lists| lists.bytes).sum::<u64>());
                    let records: usize = restored.iter().map(|lists| lists.records.len()).sum();
                    info!(partitions, records, bytes, elapsed_ms = boot_ms() - started_ms, "lists restored");
                    return Ok(restored);
                }
                // Somebody may delete the oldest of them while they are read.
                Err(error) if error.is_retriable() || matches!(error, KafkaError::OffsetOutOfRange { .. }) => {
                    warn!(topic = %self.topic, %error, "reading lists failed, reading them again");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
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
        self.try_restore((0..count).map(nobodys).collect(), None).await
    }

    /// `ownership`: who needs it; without one it is needed in any case.
    async fn try_restore(
        &self,
        wanted: Vec<(Lease, Option<ListsClaim>)>,
        ownership: Option<&Ownership>,
    ) -> Result<Vec<RestoredLists>, KafkaError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let partitions = wanted.iter().map(|(lease, _)| self.partition(lease.partition.partition)).collect();
        let (topic_id, ranges) = self.look(partitions).await?;
        let mut lists = BTreeMap::new();
        let mut open = BTreeMap::new();
        for (lease, claim) in wanted {
            let partition = lease.partition.partition;
            let range = ranges.get(&partition).copied().unwrap_or_default();
            let (from, end) = (begin(claim, topic_id, range), range.1);
            if from < end {
                open.insert(partition, ListsReading { position: from, end, since_ms: boot_ms() });
            }
            lists.insert(partition, RestoredLists { lease, topic_id, from, end, bytes: 0, records: HashMap::new() });
        }
        let is_needed = |lists: &RestoredLists| ownership.is_none_or(|ownership| ownership.is_live(&lists.lease));
        if !open.is_empty() {
            self.read(&mut lists, open, is_needed).await?;
        }
        let mut lists: Vec<RestoredLists> = lists.into_values().collect();
        lists.retain(is_needed);
        Ok(lists)
    }

    /// The topic's id, and start and end of each partition.
    async fn look(&self, partitions: Vec<TopicPartition>) -> Result<(Uuid, BTreeMap<i32, (i64, i64)>), KafkaError> {
        let (client, topic) = (plain_client(&self.connection, "hookbus-lists")?, Arc::clone(&self.topic));
        let look = move || {
            let count = offsets::partition_count(&client, &topic, TIMEOUT)?.ok_or_else(|| offsets::no_topic(&topic))?;
            if let Some(beyond) = partitions.iter().find(|partition| partition.partition >= count) {
                let reason =
                    format!("{beyond} does not exist, {topic} has {count} partitions; see `hookbus topics plan`");
                return Err(KafkaError::Invalid { what: "number of partitions", reason });
            }
            let ids = ffi::topic_ids(client.client().native_client(), &[&*topic], TIMEOUT)
                .map_err(|code| KafkaError::call("describe topics", code))?;
            let ends = offsets::ends(&client, &partitions)?;
            let ends = ends.into_iter().map(|(partition, ends)| (partition.partition, ends)).collect();
            Ok((ids.get(&*topic).copied().unwrap_or(Uuid::nil()), ends))
        };
        tokio::task::spawn_blocking(look).await.map_err(|_gone| KafkaError::Closed)?
    }

    /// Reads every partition that is open to its end, as long as one of them is needed.
    async fn read(
        &self,
        lists: &mut BTreeMap<i32, RestoredLists>,
        mut open: BTreeMap<i32, ListsReading>,
        is_needed: impl Fn(&RestoredLists) -> bool,
    ) -> Result<(), KafkaError> {
        let options = TailOptions {
            topic: self.topic.to_string(),
            partitions: Some(open.keys().copied().collect()),
            from: From::Offsets(open.iter().map(|(partition, reading)| (*partition, reading.position)).collect()),
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        let mut tail = Tail::start(&self.connection, options)?;
        let mut read: u64 = 0;
        while !open.is_empty() {
            let Ok(event) = tokio::time::timeout(LOOK_AFTER, tail.next()).await else {
                self.check_held(&mut open).await?;
                if !lists.values().any(&is_needed) {
                    return Ok(());
                }
                continue;
            };
            let (partition, position) = match event? {
                TailEvent::Record { partition, record } => {
                    let position = record.offset + 1;
                    let is_wanted = open.get(&partition).is_some_and(|reading| record.offset < reading.end);
                    if let Some(lists) = lists.get_mut(&partition).filter(|_| is_wanted) {
                        lists.apply(record);
                    }
                    (partition, position)
                }
                TailEvent::Eof { partition, position } => (partition, position),
            };
            if let Some(reading) = open.get_mut(&partition)
                && reading.reached(position, boot_ms())
            {
                open.remove(&partition);
            }
            read += 1;
            if read.is_multiple_of(CHECK_EVERY) && !lists.values().any(&is_needed) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a partition stands still for longer than any transaction lives while Kafka answers.
    async fn check_held(&self, open: &mut BTreeMap<i32, ListsReading>) -> Result<(), KafkaError> {
        let now_ms = boot_ms();
        let held = open.iter().find(|(_, reading)| now_ms - reading.since_ms >= self.longest_open_ms);
        let Some((partition, reading)) = held else { return Ok(()) };
        let (partition, reading) = (self.partition(*partition), *reading);
        if self.offsets.end(&partition).await.is_err() {
            // The cluster is away: that time is not spent waiting for a transaction.
            open.values_mut().for_each(|reading| reading.since_ms = now_ms);
            return Ok(());
        }
        let ListsReading { position, end, since_ms } = reading;
        Err(KafkaError::ListsHeld { partition, position, end, waited_ms: now_ms - since_ms })
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

// === impl ListsReading ===

impl ListsReading {
    /// Notes the position. True: it is at the end.
    fn reached(&mut self, position: i64, now_ms: i64) -> bool {
        if position > self.position {
            (self.position, self.since_ms) = (position, now_ms);
        }
        self.position >= self.end
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

    #[test]
    fn a_position_that_stands_keeps_its_time() {
        let mut reading = ListsReading { position: 4, end: 9, since_ms: 100 };
        assert!(!reading.reached(4, 200) && !reading.reached(6, 300) && !reading.reached(6, 400));
        assert_eq!((reading.position, reading.since_ms), (6, 300));
        assert!(reading.reached(9, 500));
    }
}
