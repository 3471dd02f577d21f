//! What a new owner reads before the first record of a partition: what was accepted before, from `seen`.
//!
//! ```text
//! taken over -> Offsets::end          E of each `seen` partition concerned, open transactions included
//!            -> Tail, read_committed  until position >= E: every identity of a committed batch is known (rule W6)
//!            -> the partition begins
//! ```
//!
//! It runs beside the stage's loop: partitions that are ours already go on meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chassis::clock::now_ms;
use kafka::{Connection, From, KafkaError, Lease, Offsets, Ownership, Restored, Tail, TailEvent, TailOptions};
use schemas::header;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::{Record, TopicPartition};
use schemas::seen;
use tracing::{info, warn};

use crate::config::{RESTORE_RETRY, StartAt};
use crate::deduplicate::{Limits, Seen};
use crate::error::{Error, doing};

/// How often, in records, it is checked whether anybody still needs what is read.
const CHECK_EVERY: u64 = 4_096;
/// Catch-up: an empty fetch comes back at once, so that the position passes transaction markers.
const FETCH_WAIT_MS: u32 = 20;

/// Restores partitions.
#[derive(Clone, Debug)]
pub(crate) struct Restorer {
    pub(crate) connection: Connection,
    pub(crate) offsets: Offsets,
    /// The topic of accepted identities, and how many partitions it has.
    pub(crate) seen_topic: Arc<str>,
    pub(crate) seen_partitions: i32,
    pub(crate) limits: Limits,
    /// Where sources begin that were never read; `events` is not among them.
    pub(crate) sources: BTreeMap<Arc<str>, StartAt>,
}

/// The partitions of `seen` that must be read, each until its end.
type Ends = BTreeMap<i32, i64>;

/// Restored identities by the key they stand under.
struct Restoring {
    by_key: HashMap<bytes::Bytes, (TopicPartition, Seen)>,
}

// === impl Restorer ===

impl Restorer {
    /// Restores what these leases accepted. They are ours and taken over.
    pub(crate) async fn restore(self, leases: Vec<Lease>, ownership: Ownership) -> Result<Vec<(Lease, Seen)>, Error> {
        let started_ms = now_ms();
        let mut seen = self.read_seen(&leases, &ownership).await?;
        let restored = leases.into_iter().map(|lease| {
            let seen = seen.take(&lease.partition).unwrap_or_else(|| Seen::new(self.limits));
            (lease, seen)
        });
        let restored: Vec<(Lease, Seen)> = restored.collect();
        let ids: usize = restored.iter().map(|(_, seen)| seen.len()).sum();
        info!(partitions = restored.len(), ids, elapsed_ms = now_ms() - started_ms, "accepted identities restored");
        Ok(restored)
    }

    /// Where reading begins.
    pub(crate) fn start(&self, found: &Restored) -> Result<i64, KafkaError> {
        match (found.committed, self.sources.get(&found.lease.partition.topic)) {
            (None, Some(StartAt::End)) => Ok(found.log_end),
            (None, Some(StartAt::Beginning)) => Ok(found.log_start),
            (None, None) | (Some(_), _) => found.start(),
        }
    }

    async fn read_seen(&self, leases: &[Lease], ownership: &Ownership) -> Result<Restoring, Error> {
        loop {
            match self.try_read_seen(leases, ownership).await {
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

    async fn try_read_seen(&self, leases: &[Lease], ownership: &Ownership) -> Result<Restoring, KafkaError> {
        let mut restoring = Restoring::new(leases, self.limits);
        let mut ends = self.ends(leases).await?;
        if ends.is_empty() {
            return Ok(restoring);
        }
        let mut tail = Tail::start(
            &self.connection,
            TailOptions {
                topic: self.seen_topic.to_string(),
                partitions: Some(ends.keys().copied().collect()),
                from: From::Beginning,
                committed: true,
                eof: true,
                fetch_wait_ms: FETCH_WAIT_MS,
            },
        )?;
        let mut read: u64 = 0;
        while !ends.is_empty() {
            let (partition, position) = match tail.next().await? {
                TailEvent::Record { partition, record } => {
                    restoring.apply(&record, self.limits);
                    (partition, record.offset + 1)
                }
                TailEvent::Eof { partition, position } => (partition, position),
            };
            if ends.get(&partition).is_some_and(|end| position >= *end) {
                ends.remove(&partition);
            }
            read += 1;
            if read.is_multiple_of(CHECK_EVERY) && !leases.iter().any(|lease| ownership.is_live(lease)) {
                break;
            }
        }
        Ok(restoring)
    }

    /// The ends up to which `seen` must be read: whatever was written, in open transactions too.
    async fn ends(&self, leases: &[Lease]) -> Result<Ends, KafkaError> {
        let mut ends = Ends::new();
        // The planted bug: an end that was taken before the predecessor's last commits.
        if is_planted(PlantedBug::StaleSeenEnd) {
            return Ok(ends);
        }
        for lease in leases {
            let partition = seen::partition(&lease.partition, self.seen_partitions);
            if ends.contains_key(&partition) {
                continue;
            }
            let at = TopicPartition::new(Arc::clone(&self.seen_topic), partition);
            ends.insert(partition, self.offsets.end(&at).await?);
        }
        ends.retain(|_, end| *end > 0);
        Ok(ends)
    }
}

// === impl Restoring ===

impl Restoring {
    fn new(leases: &[Lease], limits: Limits) -> Self {
        let entry = |lease: &Lease| (seen::key(&lease.partition), (lease.partition.clone(), Seen::new(limits)));
        Self { by_key: leases.iter().map(entry).collect() }
    }

    fn apply(&mut self, record: &Record, limits: Limits) {
        let Some((_, seen)) = record.key.as_ref().and_then(|key| self.by_key.get_mut(key)) else { return };
        let accepted_ms = record.headers.text(header::ACCEPTED).and_then(|text| text.parse().ok());
        let at_ms: i64 = accepted_ms.unwrap_or(record.timestamp_ms);
        let value = record.value.as_deref().unwrap_or_default();
        match seen::decode(value) {
            Ok(ids) => ids.for_each(|id| seen.insert(id, at_ms)),
            Err(error) => warn!(offset = record.offset, %error, "a record of accepted identities cannot be read"),
        }
        while seen.len() > limits.ids {
            seen.forget_oldest();
        }
    }

    fn take(&mut self, partition: &TopicPartition) -> Option<Seen> {
        self.by_key.remove(&seen::key(partition)).map(|(_, seen)| seen)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka::Epoch;
    use schemas::record::Headers;

    use super::*;

    fn record(key: &str, accepted_ms: i64, ids: &[seen::Hash]) -> Record {
        let mut headers = Headers::builder(1, 32);
        headers.push_i64(header::ACCEPTED, accepted_ms);
        let (key, value) = (Some(key.to_owned().into()), Some(seen::encode(ids)));
        Record { offset: 0, timestamp_ms: 99_000_000, key, value, headers: headers.build() }
    }

    #[test]
    fn only_the_own_partitions_are_kept_and_the_window_counts_in_source_time() {
        let limits = Limits::new(Duration::from_secs(3_600), 1_000);
        let lease = Lease { partition: TopicPartition::new("events", 0), epoch: Epoch(1) };
        let mut restoring = Restoring::new(std::slice::from_ref(&lease), limits);
        restoring.apply(&record("events/1", 0, &[[9; 16]]), limits);
        restoring.apply(&record("events/0", 0, &[[1; 16]]), limits);
        restoring.apply(&record("events/0", 3_000_000, &[[2; 16]]), limits);
        restoring.apply(&record("events/0", 4_000_000, &[[3; 16]]), limits);
        let broken = Record { value: Some(bytes::Bytes::from_static(b"\x09")), ..record("events/0", 0, &[]) };
        restoring.apply(&broken, limits);
        let seen = restoring.take(&lease.partition).unwrap();
        let known: Vec<bool> = [1, 2, 3, 9].map(|byte| seen.contains(&[byte; 16])).to_vec();
        assert_eq!(known, [false, true, true, false]);
    }
}
