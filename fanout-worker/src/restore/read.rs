//! Reading what was accepted before from `seen`.
//!
//! ```text
//! Offsets::end             E of each partition of `seen` concerned, open transactions included
//! a long log: where?       time of the newest record - window - margin, unless a source partition is behind that time
//! Tail, read_committed     until position >= E: every identity of a committed batch is known (rule W6)
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kafka::{From, KafkaError, Lease, Ownership, Tail, TailEvent, TailOptions};
use schemas::header;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::{Record, TopicPartition};
use schemas::seen;
use tracing::{debug, warn};

use super::Restorer;
use crate::config::RESTORE_RETRY;
use crate::deduplicate::{Identities, Seen};
use crate::error::{Error, doing};

/// How often, in records, it is checked whether anybody still needs what is read.
const CHECK_EVERY: u64 = 4_096;
/// Catch-up: an empty fetch comes back at once, so that the position passes transaction markers.
const FETCH_WAIT_MS: u32 = 20;
/// Offsets of a partition of `seen` that are read sooner than it is found out which of them are needed.
const SHORT_LOG: i64 = 2_000;
/// Last offsets of a long one among which its newest record is looked for; half of them are transaction markers.
const LAST_RECORDS: i64 = 256;
/// How far the clocks of two brokers may be apart. Kafka itself refuses producers' times that are an hour ahead.
const CLOCK_MARGIN_MS: i64 = 3_600_000;

/// The partitions of `seen` that must be read, each until its end.
type Ends = BTreeMap<i32, i64>;

/// Restored identities by the key they stand under.
pub(super) struct Restoring {
    by_key: HashMap<bytes::Bytes, Seen>,
}

// === impl Restorer ===

impl Restorer {
    /// What these partitions accepted before; each with the offset it goes on at.
    pub(super) async fn read_seen(&self, places: &[(Lease, i64)], ownership: &Ownership) -> Result<Restoring, Error> {
        loop {
            match self.try_read_seen(places, ownership).await {
                Ok(restoring) => return Ok(restoring),
                // Retention may delete the oldest of them while they are read.
                Err(error) if error.is_retriable() || matches!(error, KafkaError::OffsetOutOfRange { .. }) => {
                    warn!(topic = %self.seen_topic, %error, "reading accepted identities failed, reading them again");
                    tokio::time::sleep(RESTORE_RETRY).await;
                }
                Err(error) => return Err(doing("reading accepted identities")(error)),
            }
        }
    }

    async fn try_read_seen(&self, places: &[(Lease, i64)], ownership: &Ownership) -> Result<Restoring, KafkaError> {
        let mut restoring = Restoring::new(places, &self.identities);
        let mut ends = self.ends(places).await?;
        let starts = self.starts(places, &ends).await?;
        ends.retain(|partition, end| starts.get(partition).is_none_or(|start| start < end));
        let mut tail = self.tail(&ends, starts)?;
        let mut read: u64 = 0;
        while !ends.is_empty() {
            let (partition, position) = match tail.next().await? {
                TailEvent::Record { partition, record } => {
                    restoring.apply(&record);
                    (partition, record.offset + 1)
                }
                TailEvent::Eof { partition, position } => (partition, position),
            };
            if ends.get(&partition).is_some_and(|end| position >= *end) {
                ends.remove(&partition);
            }
            read += 1;
            if read.is_multiple_of(CHECK_EVERY) && !places.iter().any(|(lease, _)| ownership.is_live(lease)) {
                break;
            }
        }
        Ok(restoring)
    }

    /// The ends up to which `seen` must be read: whatever was written, in open transactions too.
    async fn ends(&self, places: &[(Lease, i64)]) -> Result<Ends, KafkaError> {
        let mut ends = Ends::new();
        // The planted bug: an end that was taken before the predecessor's last commits.
        if is_planted(PlantedBug::StaleSeenEnd) {
            return Ok(ends);
        }
        for (lease, _) in places {
            let partition = seen::partition(&lease.partition, self.seen_partitions);
            if ends.contains_key(&partition) {
                continue;
            }
            ends.insert(partition, self.offsets.end(&self.seen(partition)).await?);
        }
        ends.retain(|_, end| *end > 0);
        Ok(ends)
    }

    /// Where reading begins: at the window's edge, where it is known to be enough, else at the log's start.
    ///
    /// What is accepted from now on is not older than the records that wait to be read, so an identity is needed until the
    /// window before these. If all partitions have read up to the newest identities, the window counts back from there. One
    /// that is behind, or a source whose producers set the time, needs everything.
    async fn starts(&self, places: &[(Lease, i64)], ends: &Ends) -> Result<HashMap<i32, i64>, KafkaError> {
        let mut starts = HashMap::new();
        for (partition, end) in ends {
            let first = self.offsets.start_of(&self.seen(*partition)).await?;
            starts.insert(*partition, first.min(*end));
        }
        let is_long = |partition: &i32, end: &i64| end - starts[partition] > SHORT_LOG;
        let long: Ends =
            ends.iter().filter(|(partition, end)| is_long(partition, end)).map(|(&at, &end)| (at, end)).collect();
        for (partition, newest_ms) in self.newest_ms(long).await? {
            let mut of_it =
                places.iter().filter(|(lease, _)| seen::partition(&lease.partition, self.seen_partitions) == partition);
            if of_it.clone().any(|(lease, _)| self.sources.contains_key(&lease.partition.topic)) {
                continue;
            }
            let mut is_behind = false;
            for (lease, start) in of_it.by_ref() {
                is_behind |= *start < self.offsets.at(&lease.partition, newest_ms - CLOCK_MARGIN_MS).await?;
            }
            if !is_behind {
                let edge_ms = window_edge(newest_ms, self.identities.window_ms());
                let edge = self.offsets.at(&self.seen(partition), edge_ms).await?;
                let start = starts.entry(partition).or_default();
                debug!(
                    partition,
                    log_start = *start,
                    edge,
                    edge_ms,
                    "accepted identities are read from the window's edge"
                );
                *start = edge.max(*start);
            }
        }
        Ok(starts)
    }

    /// Kafka's time of the newest record of each partition, where one of the last ones is to be seen.
    async fn newest_ms(&self, mut ends: Ends) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let mut newest = BTreeMap::new();
        if ends.is_empty() {
            return Ok(newest);
        }
        let mut tail =
            self.tail(&ends, ends.iter().map(|(partition, end)| (*partition, end - LAST_RECORDS)).collect())?;
        while !ends.is_empty() {
            let (partition, position) = match tail.next().await? {
                TailEvent::Record { partition, record } => {
                    let known = newest.entry(partition).or_insert(record.timestamp_ms);
                    *known = record.timestamp_ms.max(*known);
                    (partition, record.offset + 1)
                }
                TailEvent::Eof { partition, position } => (partition, position),
            };
            if ends.get(&partition).is_some_and(|end| position >= *end) {
                ends.remove(&partition);
            }
        }
        Ok(newest)
    }

    fn tail(&self, ends: &Ends, starts: HashMap<i32, i64>) -> Result<Tail, KafkaError> {
        let options = TailOptions {
            topic: self.seen_topic.to_string(),
            partitions: Some(ends.keys().copied().collect()),
            from: From::Offsets(starts),
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        Tail::start(&self.connection, options)
    }

    fn seen(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.seen_topic), partition)
    }
}

/// The time before which no record of `seen` holds an identity that is still inside the window: an identity is written after
/// its event was accepted. Twice the margin: once for what may wait unread, once between the clocks of two brokers.
fn window_edge(newest_ms: i64, window_ms: i64) -> i64 {
    newest_ms.saturating_sub(window_ms).saturating_sub(2 * CLOCK_MARGIN_MS)
}

// === impl Restoring ===

impl Restoring {
    fn new(places: &[(Lease, i64)], identities: &Identities) -> Self {
        let entry = |(lease, _): &(Lease, i64)| (seen::key(&lease.partition), identities.partition());
        Self { by_key: places.iter().map(entry).collect() }
    }

    fn apply(&mut self, record: &Record) {
        let Some(seen) = record.key.as_ref().and_then(|key| self.by_key.get_mut(key)) else { return };
        let accepted_ms = record.headers.text(header::ACCEPTED).and_then(|text| text.parse().ok());
        let at_ms: i64 = accepted_ms.unwrap_or(record.timestamp_ms);
        let value = record.value.as_deref().unwrap_or_default();
        match seen::decode(value) {
            Ok(ids) => seen.insert_all(ids, at_ms),
            Err(error) => warn!(offset = record.offset, %error, "a record of accepted identities cannot be read"),
        }
    }

    pub(super) fn take(&mut self, partition: &TopicPartition) -> Option<Seen> {
        self.by_key.remove(&seen::key(partition))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka::Epoch;
    use schemas::record::Headers;

    use super::*;
    use crate::deduplicate::Limits;

    fn record(key: &str, accepted_ms: i64, ids: &[seen::Hash]) -> Record {
        let mut headers = Headers::builder(1, 32);
        headers.push_i64(header::ACCEPTED, accepted_ms);
        let (key, value) = (Some(key.to_owned().into()), Some(seen::encode(ids)));
        Record { offset: 0, timestamp_ms: 99_000_000, key, value, headers: headers.build() }
    }

    #[test]
    fn only_the_own_partitions_are_kept_and_the_window_counts_in_source_time() {
        let identities = Identities::new(Limits::new(Duration::from_secs(3_600), 1_000));
        let lease = Lease { partition: TopicPartition::new("events", 0), epoch: Epoch(1) };
        let mut restoring = Restoring::new(&[(lease.clone(), 0)], &identities);
        restoring.apply(&record("events/1", 0, &[[9; 16]]));
        restoring.apply(&record("events/0", 0, &[[1; 16]]));
        restoring.apply(&record("events/0", 3_000_000, &[[2; 16]]));
        restoring.apply(&record("events/0", 4_000_000, &[[3; 16]]));
        let broken = Record { value: Some(bytes::Bytes::from_static(b"\x09")), ..record("events/0", 0, &[]) };
        restoring.apply(&broken);
        let seen = restoring.take(&lease.partition).unwrap();
        let known: Vec<bool> = [1, 2, 3, 9].map(|byte| seen.contains(&[byte; 16])).to_vec();
        assert_eq!(known, [false, true, true, false]);
    }

    #[test]
    fn all_partitions_that_are_restored_share_one_budget() {
        let identities = Identities::new(Limits::new(Duration::from_secs(3_600), 1_000));
        let leases: Vec<Lease> = (0..8)
            .map(|partition| Lease { partition: TopicPartition::new("events", partition), epoch: Epoch(1) })
            .collect();
        // What the worker owns already counts too, and goes first where it is older.
        let mut owned = identities.partition();
        owned.insert([0xff; 16], -1);
        let mut restoring =
            Restoring::new(&leases.iter().map(|lease| (lease.clone(), 0)).collect::<Vec<_>>(), &identities);
        for number in 0..8_000_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            restoring.apply(&record(&format!("events/{}", number % 8), i64::from(number), &[id]));
            assert!(identities.len() <= 1_000, "{} after {number}", identities.len());
        }
        assert_eq!(identities.len() as u64 + identities.take_evicted(), 8_001);
        assert!(!owned.contains(&[0xff; 16]));
    }

    #[test]
    fn reading_begins_before_anything_that_can_be_inside_the_window() {
        let hour = CLOCK_MARGIN_MS;
        // Newest identities were written at 100 h; what waits was accepted at 99 h or later, and the window is a day.
        let edge = window_edge(100 * hour, 24 * hour);
        assert!(edge <= 99 * hour - 24 * hour - hour);
        assert_eq!(window_edge(i64::MIN, i64::MAX), i64::MIN);
    }
}
