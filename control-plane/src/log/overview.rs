//! How the log itself is doing: its days, and how far behind its topic each partition is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::config::LogStore;
use delivery_log::DeliveryStore;
use schemas::record::TopicPartition;
use serde::Serialize;
use utoipa::ToSchema;

use super::progress::ReachedTo;
use super::{DeliveryLog, failed};
use crate::api::time;
use crate::problem::Problem;

/// How long Kafka may take to say where the topic ends: without that all else is told.
const WITHIN: Duration = Duration::from_secs(2);

/// How the delivery log is doing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryLog)]
pub(crate) struct LogShown {
    /// What keeps it.
    store: &'static str,
    /// The replica that fills it: the one that answers, unless all share one store.
    projector: String,
    /// The newest first.
    days: Vec<LogDayShown>,
    /// From when on it has everything, while older days are still read; null once it has all of them.
    #[schema(format = DateTime)]
    whole_from: Option<String>,
    /// Days that are read or looked through before it has all of them, the one under way included.
    days_left: usize,
    /// How old the oldest record is that may be missing.
    behind_ms: Option<i64>,
    /// Records that may be missing, at most. Null where Kafka does not say where the topic ends.
    behind_records: Option<i64>,
    /// Offsets that were deleted before they had been read, since this replica started.
    lost_records: u64,
    partitions: Vec<LogPartitionShown>,
}

/// A day of UTC.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogDayShown {
    #[schema(format = Date)]
    day: String,
    /// When it begins.
    #[schema(format = DateTime)]
    from: String,
    /// Whether all of it is there; else it is read, or will be.
    whole: bool,
    rows: u64,
    /// Of its files or tables.
    bytes: u64,
}

/// A partition of `attempts`.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LogPartitionShown {
    partition: i32,
    /// Behind the last offset that is in the log.
    covered_to: Option<i64>,
    /// Behind its last record. Null where Kafka does not say.
    end: Option<i64>,
    /// Whether all of it was read to its end.
    at_end: bool,
}

// === impl DeliveryLog ===

impl DeliveryLog {
    /// See [`LogShown`].
    ///
    /// # Errors
    /// There is no log, or it does not answer.
    pub(crate) async fn overview(&self, now_ms: i64) -> Result<LogShown, Problem> {
        let store = self.store()?;
        let days = self.days(store.as_ref()).await?;
        let covered = store.coverage().await.map_err(|error| failed(&error))?.ends();
        let partitions = partitions(&self.progress().partitions(), &covered, &self.ends().await);
        Ok(LogShown {
            store: self.store_word(),
            projector: self.0.filler.read().clone().unwrap_or_else(|| self.0.replica.clone()),
            days,
            whole_from: self.progress().whole_from_ms().map(time),
            days_left: self.progress().days_left(),
            behind_ms: self.progress().behind_ms(now_ms),
            behind_records: behind(&partitions),
            lost_records: self.progress().all_lost(),
            partitions,
        })
    }

    fn store_word(&self) -> &'static str {
        match self.0.kind {
            LogStore::Postgres => "postgres",
            LogStore::Sqlite | LogStore::None => "sqlite",
        }
    }

    async fn days(&self, store: &dyn DeliveryStore) -> Result<Vec<LogDayShown>, Problem> {
        let whole_from_ms = self.progress().whole_from_ms();
        let days = store.days().await.map_err(|error| failed(&error))?;
        let shown = days.into_iter().map(|summary| LogDayShown {
            day: summary.day.to_string(),
            from: time(summary.day.start_ms()),
            whole: whole_from_ms.is_none_or(|from_ms| summary.day.start_ms() >= from_ms),
            rows: summary.rows,
            bytes: summary.bytes,
        });
        Ok(shown.collect())
    }

    /// Where the partitions of the topic end, of those of which Kafka says so.
    async fn ends(&self) -> BTreeMap<i32, i64> {
        let Some(offsets) = self.0.offsets.read().clone() else { return BTreeMap::new() };
        let at = |partition| TopicPartition::new(Arc::clone(&self.0.topic), partition);
        let all = self.progress().partitions().into_keys().map(at).collect();
        let told = tokio::time::timeout(WITHIN, offsets.ends_of(all)).await.unwrap_or_default();
        told.into_iter().filter_map(|(at, end)| Some((at.partition, end.ok()?))).collect()
    }
}

fn partitions(
    reached: &BTreeMap<i32, ReachedTo>,
    covered: &BTreeMap<i32, i64>,
    ends: &BTreeMap<i32, i64>,
) -> Vec<LogPartitionShown> {
    let shown = reached.iter().map(|(partition, reached)| LogPartitionShown {
        partition: *partition,
        covered_to: covered.get(partition).copied(),
        end: ends.get(partition).copied(),
        at_end: *reached == ReachedTo::End,
    });
    shown.collect()
}

/// Records that may be missing. What stands behind the last one in a partition that was read to its end are markers.
fn behind(partitions: &[LogPartitionShown]) -> Option<i64> {
    let behind = partitions.iter().map(|shown| match shown {
        LogPartitionShown { at_end: true, .. } => Some(0),
        LogPartitionShown { covered_to, end, .. } => end.map(|end| (end - covered_to.unwrap_or(0)).max(0)),
    });
    behind.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_to_its_end_is_not_behind_and_the_rest_is_as_far_as_kafka_says() {
        let reached = BTreeMap::from([(0, ReachedTo::End), (1, ReachedTo::Time(5)), (2, ReachedTo::Time(5))]);
        let (covered, ends) = (BTreeMap::from([(0, 9), (1, 4)]), BTreeMap::from([(0, 10), (1, 30), (2, 7)]));
        let shown = partitions(&reached, &covered, &ends);
        assert_eq!(shown[0], LogPartitionShown { partition: 0, covered_to: Some(9), end: Some(10), at_end: true });
        assert_eq!(behind(&shown), Some(26 + 7));
        // Of one that has no leader Kafka says nothing; the others are told.
        let shown = partitions(&reached, &covered, &BTreeMap::from([(0, 10), (2, 7)]));
        assert_eq!((shown[0].end, shown[1].end, shown[2].end), (Some(10), None, Some(7)));
        assert_eq!(behind(&shown), None, "how many may be missing is not known");
        let nothing = BTreeMap::new();
        assert_eq!(behind(&partitions(&BTreeMap::from([(0, ReachedTo::End)]), &covered, &nothing)), Some(0));
    }
}
