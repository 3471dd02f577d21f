//! Reading what was accepted before from `seen`.
//!
//! ```text
//! Offsets::ranges_of       E of each partition of `seen` concerned, open transactions included
//! a long log: where?       time of the newest record - window - margin, unless a source partition is behind that time
//! CatchUp                  until position >= E: every identity of a committed batch is known (rule W6)
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kafka::clock::boot_ms;
use kafka::{CatchUp, CatchUpOptions, CatchUpStep, KafkaError, Lease, Ownership, ReadingWatch};
use schemas::header;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::{Record, TopicPartition};
use schemas::seen;
use tracing::{debug, warn};

use super::Restorer;
use crate::config::RESTORE_RETRY;
use crate::deduplicate::{Identities, Seen};
use crate::error::{Error, doing};

/// Offsets of a partition of `seen` that are read sooner than it is found out which of them are needed.
const SHORT_LOG: i64 = 2_000;
/// Last offsets of a long one among which its newest record is looked for; half of them are transaction markers.
const LAST_RECORDS: i64 = 256;
/// How far the clocks of two brokers may be apart. Kafka itself refuses producers' times that are an hour ahead.
const CLOCK_MARGIN_MS: i64 = 3_600_000;

/// The partitions of `seen` that must be read: from where, and until which end.
type Ranges = BTreeMap<i32, (i64, i64)>;

/// Restored identities by the key they stand under.
struct Restoring {
    by_key: HashMap<bytes::Bytes, Seen>,
}

// === impl Restorer ===

impl Restorer {
    /// What these partitions accepted before; each with the offset it goes on at. Those that are over by then are left out, and
    /// those of a partition of `seen` that has no leader.
    pub(super) async fn read_seen(
        &self,
        mut places: Vec<(Lease, i64)>,
        ownership: &Ownership,
        watch: &ReadingWatch,
    ) -> Result<Vec<(Lease, Seen)>, Error> {
        loop {
            places.retain(|(lease, _)| ownership.is_live(lease));
            match self.try_read_seen(&places, ownership, watch).await {
                Ok(restored) => return Ok(restored),
                Err(error) => {
                    let error = watch.read_again(error, boot_ms()).map_err(doing("reading accepted identities"))?;
                    warn!(topic = %self.seen_topic, %error, "reading accepted identities failed, reading them again");
                    tokio::time::sleep(RESTORE_RETRY).await;
                }
            }
        }
    }

    async fn try_read_seen(
        &self,
        places: &[(Lease, i64)],
        ownership: &Ownership,
        watch: &ReadingWatch,
    ) -> Result<Vec<(Lease, Seen)>, KafkaError> {
        let mut restoring = Restoring::new(places, &self.identities);
        let is_needed = || places.iter().any(|(lease, _)| ownership.is_live(lease));
        let mut ranges = self.ranges(places).await?;
        self.start_late(&mut ranges, places, is_needed, watch).await?;
        let mut reading = self.catch_up(ranges.clone(), watch)?;
        while let Some(step) = reading.next().await? {
            match step {
                CatchUpStep::Record { record, .. } => restoring.apply(&record),
                CatchUpStep::Look if !is_needed() => break,
                CatchUpStep::Look => {}
            }
        }
        let is_read = |number: i32| ranges.contains_key(&number) && !reading.left_out().contains(&number);
        let (mut restored, mut left_out) = (Vec::with_capacity(places.len()), 0);
        for (lease, _) in places.iter().filter(|(lease, _)| ownership.is_live(lease)) {
            if is_read(self.seen_partition(lease)) || is_planted(PlantedBug::StaleSeenEnd) {
                let seen = restoring.take(&lease.partition).unwrap_or_else(|| self.identities.partition());
                restored.push((lease.clone(), seen));
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            warn!(topic = %self.seen_topic, partitions = left_out, "accepted identities cannot be read now: these begin later");
        }
        Ok(restored)
    }

    /// Start and end of each partition of `seen` that is needed: whatever was written, in open transactions too. One that has no
    /// leader is left out.
    async fn ranges(&self, places: &[(Lease, i64)]) -> Result<Ranges, KafkaError> {
        // The planted bug: an end that was taken before the predecessor's last commits.
        if is_planted(PlantedBug::StaleSeenEnd) {
            return Ok(Ranges::new());
        }
        let numbers: BTreeSet<i32> = places.iter().map(|(lease, _)| self.seen_partition(lease)).collect();
        let partitions: Vec<TopicPartition> = numbers.into_iter().map(|number| self.seen(number)).collect();
        let ranges = self.offsets.ranges_of(partitions).await?;
        Ok(ranges.into_iter().map(|(place, range)| (place.partition, range)).collect())
    }

    /// Begins reading later, at the window's edge, where that is known to be enough; else it begins at the log's start.
    ///
    /// What is accepted from now on is not older than the records that wait to be read, so an identity is needed until the
    /// window before these. If all partitions have read up to the newest identities, the window counts back from there. One
    /// that is behind, or a source whose producers set the time, needs everything.
    async fn start_late(
        &self,
        ranges: &mut Ranges,
        places: &[(Lease, i64)],
        is_needed: impl Fn() -> bool,
        watch: &ReadingWatch,
    ) -> Result<(), KafkaError> {
        if self.is_of_sources {
            return Ok(());
        }
        let is_long = |(_, (start, end)): &(&i32, &(i64, i64))| end - start > SHORT_LOG;
        let last = |(number, (_, end)): (&i32, &(i64, i64))| (*number, (*end - LAST_RECORDS, *end));
        let long: Ranges = ranges.iter().filter(is_long).map(last).collect();
        for (number, newest_ms) in self.newest_ms(long, is_needed, watch).await? {
            let mut of_it = places.iter().filter(|(lease, _)| self.seen_partition(lease) == number);
            let mut is_behind = false;
            for (lease, start) in of_it.by_ref() {
                // Where nobody tells, everything is read.
                let reached = self.offsets.at(&lease.partition, newest_ms - CLOCK_MARGIN_MS).await;
                is_behind |= !reached.is_ok_and(|reached| *start >= reached);
            }
            let edge_ms = window_edge(newest_ms, self.identities.window_ms());
            if !is_behind
                && let Ok(edge) = self.offsets.at(&self.seen(number), edge_ms).await
                && let Some((start, _)) = ranges.get_mut(&number)
            {
                debug!(
                    partition = number,
                    log_start = *start,
                    edge,
                    edge_ms,
                    "accepted identities are read from the window's edge"
                );
                *start = edge.max(*start);
            }
        }
        Ok(())
    }

    /// Kafka's time of the newest record of each partition, where one of the last ones is to be seen.
    async fn newest_ms(
        &self,
        last: Ranges,
        is_needed: impl Fn() -> bool,
        watch: &ReadingWatch,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let mut newest = BTreeMap::new();
        let mut reading = self.catch_up(last, watch)?;
        while let Some(step) = reading.next().await? {
            match step {
                CatchUpStep::Record { partition, record } => {
                    let known = newest.entry(partition).or_insert(record.timestamp_ms);
                    *known = record.timestamp_ms.max(*known);
                }
                CatchUpStep::Look if !is_needed() => break,
                CatchUpStep::Look => {}
            }
        }
        Ok(newest)
    }

    fn catch_up(&self, ranges: Ranges, watch: &ReadingWatch) -> Result<CatchUp, KafkaError> {
        let (topic, transaction_timeout) = (Arc::clone(&self.seen_topic), self.transaction_timeout);
        let options = CatchUpOptions { topic, ranges, transaction_timeout };
        CatchUp::start(&self.connection, self.offsets.clone(), options, watch.clone())
    }

    /// The partition of `seen` that has what this lease's partition accepted.
    fn seen_partition(&self, lease: &Lease) -> i32 {
        seen::partition(&lease.partition, self.seen_partitions)
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
        let newest_ms: i64 = accepted_ms.unwrap_or(record.timestamp_ms);
        let value = record.value.as_deref().unwrap_or_default();
        match seen::decode(value) {
            Ok(ids) => seen.insert_all(ids.map(|(id, age_ms)| (id, newest_ms.saturating_sub(i64::from(age_ms))))),
            Err(error) => warn!(offset = record.offset, %error, "a record of accepted identities cannot be read"),
        }
    }

    fn take(&mut self, partition: &TopicPartition) -> Option<Seen> {
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
        let ids: Vec<(seen::Hash, u32)> = ids.iter().map(|id| (*id, 0)).collect();
        let (key, value) = (Some(key.to_owned().into()), Some(seen::encode(&ids)));
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
    fn an_identity_comes_back_with_its_own_time() {
        let identities = Identities::new(Limits::new(Duration::from_secs(3_600), 1_000));
        let lease = Lease { partition: TopicPartition::new("events", 0), epoch: Epoch(1) };
        let mut restoring = Restoring::new(&[(lease.clone(), 0)], &identities);
        let value = Some(seen::encode(&[([1; 16], 1_500), ([2; 16], 0), ([3; 16], 1_400)]));
        restoring.apply(&Record { value, ..record("events/0", 60_000, &[]) });
        let mut seen = restoring.take(&lease.partition).unwrap();
        let mut repeats = |at_ms, window_ms| [1, 2, 3].map(|byte| seen.is_repeat(&[byte; 16], at_ms, Some(window_ms)));
        assert_eq!(repeats(60_000, 1_499), [false, true, true]);
        // What came after a newer one counts from that one on, as it did when it was accepted.
        assert_eq!(repeats(61_000, 1_000), [false, true, true]);
        assert_eq!(repeats(61_001, 1_000), [false, false, false]);
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
