//! How a reader begins: what is covered is asked of the store, where the topic begins and ends of Kafka.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use chassis::clock;
use chassis::limited::Limited;
use delivery_log::{Coverage, Day, StoreError};
use kafka::{KafkaError, Offsets};
use schemas::record::TopicPartition;
use tracing::warn;

use super::{LINE, ProjectError, Projection, Reading};
use crate::log::bounds;
use crate::log::gather::Gather;
use crate::log::upkeep::{self, Upkeep};

impl Projection {
    /// One reader, from its start to its failure.
    pub(super) async fn read(&self, upkeep: &Upkeep, unreadable: &Limited<()>) -> Result<Infallible, ProjectError> {
        // First, for whatever fails below fails for as long as it does, and the disk would fill.
        let oldest = upkeep::give_up_old_days(self.store.as_ref(), self.keep).await?;
        let offsets = Offsets::start(&self.connection)?;
        self.log.reads_with(offsets.clone());
        let missing = || KafkaError::NoTopic { topic: Arc::clone(&self.topic) };
        let id = offsets.topic_id(&self.topic).await?.ok_or_else(missing)?;
        if self.store.bind(format!("{} {id}", self.topic)).await? {
            warn!(topic = %self.topic, "the topic was created anew: the delivery log starts again");
            self.log.progress().other_topic();
        }
        let mut given_up = self.store.given_up();
        given_up.mark_unchanged();
        let count = offsets.partitions(&self.topic).await?.ok_or_else(missing)?;
        let today = Day::of(clock::now_ms());
        let (ends, silent) = told(offsets.told_ends(&self.topic).await?)?;
        let (coverage, edition) = self.cut(&ends).await?;
        let (mut starts, mut live_from) = (BTreeMap::new(), BTreeMap::new());
        for (partition, end) in &ends {
            let (partition, end) = (*partition, *end);
            let at = TopicPartition::new(Arc::clone(&self.topic), partition);
            let first = offsets.start_of(&at).await?;
            self.count_lost(&coverage, partition, first);
            let start = offsets.at(&at, oldest.start_ms()).await?.max(first);
            let midnight = offsets.at(&at, today.start_ms()).await?.clamp(start, end.max(start));
            starts.insert(partition, start);
            live_from.insert(partition, bounds::live_start(&coverage, partition, midnight..end));
        }
        let days = bounds::days_between(oldest, today);
        self.log.progress().begin(0..count, today.start_ms(), edition);
        self.log.progress().leaves(days.len());
        if !silent.is_empty() {
            warn!(topic = %self.topic, partitions = ?silent, "kafka does not say where these end, as without a leader: the others are in the delivery log meanwhile");
        }
        let live = Gather::starting(live_from.clone());
        let ended = ends.keys().map(|partition| (*partition, false)).collect();
        let reading = Reading {
            projection: self,
            offsets,
            starts,
            live_from,
            live,
            older: None,
            days,
            today,
            unreadable,
            dropped: Limited::new(LINE),
            upkeep,
            given_up,
            flush_at: None,
            ended,
            unreached: ends,
            silent,
            is_silent: false,
        };
        Box::pin(reading.run()).await
    }

    /// What lies between what was read and the log's start was deleted before it was read.
    fn count_lost(&self, coverage: &Coverage, partition: i32, first: i64) {
        let Some(gap) = bounds::lost(coverage, partition, first) else { return };
        let lost = self.log.progress().lost(partition, gap);
        if lost > 0 {
            self.metrics.lost.inc_by(lost);
            warn!(topic = %self.topic, partition, lost, "records were deleted before the delivery log had read them");
        }
    }

    /// Gives up the days of what was cut off the topic, which others will take the offsets of. Returns what is covered, and of which
    /// edition.
    async fn cut(&self, ends: &BTreeMap<i32, i64>) -> Result<(Coverage, i64), StoreError> {
        let (coverage, edition) = self.covered().await?;
        if !coverage.reaches_beyond(ends) {
            return Ok((coverage, edition));
        }
        let days = self.store.cut(ends.clone()).await?;
        warn!(topic = %self.topic, ?days, "the topic has lost records that are in the delivery log: these days are read again");
        self.covered().await
    }

    /// The edition first: where days go between the two questions, all that is read is said of one that is no more.
    async fn covered(&self) -> Result<(Coverage, i64), StoreError> {
        let edition = self.store.edition().await?;
        Ok((self.store.coverage().await?, edition))
    }
}

/// Where partitions end, and those of which Kafka does not say so: one without a leader takes no other one out of the log.
fn told(all: BTreeMap<i32, Result<i64, KafkaError>>) -> Result<(BTreeMap<i32, i64>, Vec<i32>), KafkaError> {
    let (mut ends, mut silent, mut failed) = (BTreeMap::new(), Vec::new(), None);
    for (partition, end) in all {
        match end {
            Ok(end) => {
                ends.insert(partition, end);
            }
            Err(error) => {
                silent.push(partition);
                failed = Some(error);
            }
        }
    }
    match failed {
        Some(error) if ends.is_empty() => Err(error),
        _ => Ok((ends, silent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partition_without_a_leader_takes_no_other_one_out_of_the_log() {
        let silent = || Err(KafkaError::without_leader("the end of attempts/1"));
        let (ends, left_out) = told(BTreeMap::from([(0, Ok(7)), (1, silent()), (2, Ok(0))])).unwrap();
        assert_eq!((ends, left_out), (BTreeMap::from([(0, 7), (2, 0)]), vec![1]));
        told(BTreeMap::from([(0, silent()), (1, silent())])).unwrap_err();
        assert_eq!(told(BTreeMap::new()).unwrap(), (BTreeMap::new(), Vec::new()));
    }
}
