//! What Kafka says of its topics while a reader reads: where its own ends, and where the deliveries begin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use kafka::{KafkaError, Offsets, Tail, TailEvent, TailOptions};
use schemas::record::TopicPartition;
use tracing::{debug, warn};

use super::{ProjectError, Projection, Reading};
use crate::log::dead_letter::SKEW_MS;

/// Between two questions.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// How long the first records of partitions are waited for.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long the broker holds an empty fetch.
const FETCH_WAIT_MS: u32 = 20;

/// Where the topic ends, as Kafka says.
pub(super) struct ToldEnds {
    asked_ms: i64,
    /// Where the reader was when it was asked.
    positions: BTreeMap<i32, i64>,
    told: BTreeMap<i32, Result<i64, KafkaError>>,
}

// === impl Projection ===

impl Projection {
    /// Asks what of those who died can still be read. What does not answer is as it was.
    pub(in crate::log) async fn look_what_is_held(&self, offsets: &Offsets) {
        let mut held = self.log.held_letters();
        for (partition, start) in starts(offsets, &self.deliveries).await.unwrap_or_default() {
            held.deliveries.insert(partition, start);
        }
        let letters = &self.dead_letters;
        if let Some(mut starts) = starts(offsets, letters).await {
            held.partitions = offsets.partitions(letters).await.ok().flatten().or(held.partitions);
            // Nothing was deleted yet, or not since.
            starts.retain(|partition, start| {
                *start > 0 && held.letters.get(partition).is_none_or(|(known, _)| known != start)
            });
            for (partition, from_ms) in self.begin_times(letters, &starts).await {
                held.letters.insert(partition, (starts[&partition], from_ms));
            }
        }
        self.log.holds(held);
    }

    /// When the first record behind each of these offsets was written, Unix ms: that of one that is not told in time is asked for
    /// again. A start may be a marker's, and there may be nothing behind it: what comes there later is no older than this question.
    async fn begin_times(&self, topic: &Arc<str>, from: &BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
        let (mut times, asked_ms) = (BTreeMap::new(), clock::now_ms());
        if from.is_empty() {
            return times;
        }
        let options = TailOptions {
            topic: topic.to_string(),
            partitions: Some(from.keys().copied().collect()),
            from: kafka::From::Offsets(from.iter().map(|(partition, at)| (*partition, *at)).collect()),
            committed: false,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        let read = async {
            let mut tail = Tail::start(&self.connection, options)?;
            while times.len() < from.len() {
                let (partition, time_ms) = match tail.next().await? {
                    TailEvent::Record { partition, record } => (partition, record.timestamp_ms),
                    TailEvent::Eof { partition, .. } => (partition, asked_ms.saturating_sub(SKEW_MS)),
                };
                times.entry(partition).or_insert(time_ms);
            }
            Ok::<_, KafkaError>(())
        };
        if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, read).await {
            debug!(topic = %topic, %error, "when dead letters that are held were written is asked again");
        }
        times
    }
}

/// Where the partitions of a topic begin, of those of which Kafka says so; `None`: it says nothing.
async fn starts(offsets: &Offsets, topic: &Arc<str>) -> Option<BTreeMap<i32, i64>> {
    let count = offsets.partitions(topic).await.ok()??;
    let all = (0..count).map(|partition| TopicPartition::new(Arc::clone(topic), partition));
    let starts = offsets.starts_of(all.collect()).await;
    Some(starts.into_iter().filter_map(|(at, start)| Some((at.partition, start.ok()?))).collect())
}

// === impl Reading ===

impl Reading<'_> {
    /// Asks where the topic ends. A reader waits through any trouble and says nothing of it, so without this nobody would know that
    /// what is written now does not come.
    pub(super) fn ask_ends(&self) -> impl Future<Output = ToldEnds> + Send + use<> {
        let (offsets, topic) = (self.offsets.clone(), Arc::clone(&self.projection.topic));
        let positions: BTreeMap<i32, i64> = self.live.positions().collect();
        let all: Vec<i32> = positions.keys().chain(&self.silent).copied().collect();
        async move {
            let asked_ms = clock::now_ms();
            let all = all.into_iter().map(|partition| TopicPartition::new(Arc::clone(&topic), partition));
            let told = offsets.ends_of(all.collect()).await;
            let told = told.into_iter().map(|(at, end)| (at.partition, end)).collect();
            ToldEnds { asked_ms, positions, told }
        }
    }

    /// Kafka has said where the topic ends.
    pub(super) fn heard(&mut self, of: &ToldEnds) -> Result<(), ProjectError> {
        let progress = self.projection.log.progress();
        for (partition, end) in &of.told {
            let partition = *partition;
            let Some(position) = of.positions.get(&partition).copied() else {
                if end.is_ok() {
                    return Err(ProjectError::Back { partition });
                }
                continue;
            };
            match end {
                Ok(end) if *end < position => {
                    return Err(ProjectError::Cut { partition, end: *end, position });
                }
                Ok(end) => {
                    if progress.heard(partition, (*end, position), of.asked_ms) {
                        let topic = &self.projection.topic;
                        warn!(%topic, partition, position, end, "nothing is read of this partition though more stands there, as behind an open transaction: the delivery log is behind");
                    }
                }
                Err(_silent) => progress.silent(partition, of.asked_ms),
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
    use super::super::tests::Projecting;
    use super::*;

    #[tokio::test]
    async fn a_partition_that_is_not_read_is_once_kafka_answers_for_it_and_until_then_nothing_is_whole() {
        let projecting = Projecting::new();
        let mut reading = projecting.reading(1);
        reading.silent = vec![1];
        projecting.projection.log.progress().whole_from(Some(7));
        reading.next_day().await.unwrap();
        assert_eq!(projecting.projection.log.progress().whole_from_ms(), Some(7));
        let told = |end| ToldEnds {
            asked_ms: 1,
            positions: BTreeMap::from([(0, 5)]),
            told: BTreeMap::from([(0, Ok(5)), (1, end)]),
        };
        reading.heard(&told(Err(KafkaError::without_leader("the end of attempts/1")))).unwrap();
        let back = reading.heard(&told(Ok(3))).unwrap_err();
        assert!(matches!(back, ProjectError::Back { partition: 1 }), "{back}");
        reading.silent.clear();
        reading.next_day().await.unwrap();
        assert_eq!(projecting.projection.log.progress().whole_from_ms(), None);
    }

    #[tokio::test]
    async fn a_log_that_is_cut_off_from_kafka_does_not_say_that_it_has_everything() {
        let projecting = Projecting::new();
        let mut reading = projecting.reading(1);
        reading.ended.insert(0, true);
        let (progress, now_ms) = (projecting.projection.log.progress(), clock::now_ms());
        assert_eq!(progress.behind_ms(now_ms + 60_000), Some(0));
        let told = reading.ask_ends().await;
        reading.heard(&told).unwrap();
        assert!(progress.behind_ms(now_ms + 60_000).is_some_and(|ms| ms > 30_000));
        assert!(reading.is_silent, "what is read of it says that it is back");
    }
}
