//! What Kafka says of its topics while a reader reads: where its own ends, and where the deliveries begin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use schemas::delivery::Origin;
use schemas::record::TopicPartition;

use super::{ProjectError, Reading};

/// Between two questions.
pub(super) const EVERY: Duration = Duration::from_secs(5);

impl Reading<'_> {
    /// Asks what of those who died can still be read. What does not answer is as it was.
    pub(super) async fn look_what_is_held(&self) {
        let mut held = self.projection.log.held_letters();
        for (partition, start) in self.starts(&self.projection.deliveries).await.unwrap_or_default() {
            held.deliveries.insert(partition, start);
        }
        let letters = &self.projection.dead_letters;
        if let Some(starts) = self.starts(letters).await {
            held.partitions = self.offsets.partitions(letters).await.ok().flatten().or(held.partitions);
            for (partition, start) in starts {
                // Nothing was deleted yet, or not since.
                if start == 0 || held.letters.get(&partition).is_some_and(|(known, _)| *known == start) {
                    continue;
                }
                match self.begins_ms(letters, partition, start).await {
                    Some(from_ms) => held.letters.insert(partition, (start, from_ms)),
                    // One at a time is waited for in vain: the log does not stand still for this.
                    None => break,
                };
            }
        }
        self.projection.log.holds(held);
    }

    /// Where the partitions of a topic begin, of those of which Kafka says so; `None`: it says nothing.
    async fn starts(&self, topic: &Arc<str>) -> Option<BTreeMap<i32, i64>> {
        let count = self.offsets.partitions(topic).await.ok()??;
        let all = (0..count).map(|partition| TopicPartition::new(Arc::clone(topic), partition));
        let starts = self.offsets.starts_of(all.collect()).await;
        Some(starts.into_iter().filter_map(|(at, start)| Some((at.partition, start.ok()?))).collect())
    }

    /// When the first record of a partition was written, Unix ms; `None`: there is none, it is a marker, or Kafka does not say.
    async fn begins_ms(&self, topic: &Arc<str>, partition: i32, offset: i64) -> Option<i64> {
        let at = Origin { topic: topic.to_string(), partition, offset };
        let first = self.projection.log.read_back().ok()?.record(&at).await.ok()??;
        Some(first.timestamp_ms)
    }

    /// Asks where the topic ends. A reader waits through any trouble and says nothing of it, so without this nobody would know that
    /// what is written now does not come.
    pub(super) async fn listen(&mut self) -> Result<(), ProjectError> {
        let asked_ms = clock::now_ms();
        let positions: BTreeMap<i32, i64> = self.live.positions().collect();
        let of = |partition: &i32| TopicPartition::new(Arc::clone(&self.projection.topic), *partition);
        let told = self.offsets.ends_of(positions.keys().map(of).collect()).await;
        let progress = self.projection.log.progress();
        for (at, end) in told {
            let position = positions.get(&at.partition).copied().unwrap_or(0);
            match end {
                Ok(end) if end < position => {
                    return Err(ProjectError::Cut { partition: at.partition, end, position });
                }
                Ok(end) => progress.heard(at.partition, (end, position), asked_ms),
                Err(_silent) => progress.silent(at.partition, asked_ms),
            }
        }
        self.is_silent = progress.is_silent();
        if let Some(ms) = progress.behind_ms(clock::now_ms()) {
            self.projection.tell_age(ms);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chassis::limited::Limited;
    use chassis::metrics::Registry;
    use delivery_log::{SqliteOptions, SqliteStore};
    use kafka::{Connection, Offsets};

    use super::super::{LINE, Projection};
    use super::*;
    use crate::log::DeliveryLog;
    use crate::log::gather::Gather;
    use crate::log::made;
    use crate::log::metrics::LogMetrics;
    use crate::log::upkeep::Upkeep;

    #[tokio::test]
    async fn a_log_that_is_cut_off_from_kafka_does_not_say_that_it_has_everything() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 8 << 20 };
        let store: Arc<dyn delivery_log::DeliveryStore> = Arc::new(SqliteStore::open(&options).unwrap());
        // Nobody listens there.
        let connection = Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap();
        let projection = Projection {
            connection: connection.clone(),
            topic: Arc::from("attempts"),
            deliveries: Arc::from("deliveries"),
            dead_letters: Arc::from("dead-letters"),
            store: Arc::clone(&store),
            keep: Duration::from_secs(86_400),
            metrics: LogMetrics::new(&Registry::new()).unwrap(),
            log: DeliveryLog::over(Arc::clone(&store), made::catalog()),
        };
        let (unreadable, upkeep) = (Limited::new(LINE), Upkeep::new());
        let mut reading = Reading {
            projection: &projection,
            offsets: Offsets::start(&connection).unwrap(),
            starts: BTreeMap::from([(0, 0)]),
            live_from: BTreeMap::from([(0, 0)]),
            live: Gather::starting([(0, 0)]),
            older: None,
            days: Vec::new(),
            unreadable: &unreadable,
            dropped: Limited::new(LINE),
            upkeep: &upkeep,
            given_up: store.given_up(),
            flush_at: None,
            ended: BTreeMap::from([(0, true)]),
            is_silent: false,
        };
        let (progress, now_ms) = (projection.log.progress(), clock::now_ms());
        assert_eq!(progress.behind_ms(now_ms + 60_000), Some(0));
        reading.listen().await.unwrap();
        assert!(progress.behind_ms(now_ms + 60_000).is_some_and(|ms| ms > 30_000));
        assert!(reading.is_silent, "what is read of it says that it is back");
    }
}
