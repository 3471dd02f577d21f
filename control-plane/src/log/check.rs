//! Whether the delivery log holds what its topic says: every record that a day covers is read once more, and compared with its row.
//!
//! Read beside the process that fills the store, which goes on. What it covers when a day is looked at is not written again, so
//! what comes in meanwhile is no difference.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use delivery_log::{Coverage, Day, LogCopy, LogRow, RowContent, StoreError};
use kafka::{Connection, KafkaError, Offsets, Tail, TailEvent, TailOptions};
use schemas::record::TopicPartition;
use serde::Serialize;
use thiserror::Error;

/// What is wrong with a record that no day covers, though days cover what is around it.
const NOT_COVERED: &str = "not covered";
/// Rows that are compared at once.
const ROWS: usize = 2_000;

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogChecked {
    /// Days that were compared.
    pub days: u64,
    /// Rows of the topic that were compared.
    pub rows: u64,
    /// Rows of the topic that are in no day yet: behind the last that is, in each partition.
    pub behind: u64,
    /// The first difference; the comparison ended there.
    pub difference: Option<LogDifference>,
}

/// A row that is not as its record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogDifference {
    /// The day it is in, or would be.
    pub day: String,
    /// The record's partition on `attempts`.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// What is wrong: `missing`, `invented`, `different`, or `not covered`: it was not read into its day yet.
    pub what: &'static str,
}

/// Why nothing can be compared.
#[derive(Debug, Error)]
pub enum LogCheckError {
    /// The topic cannot be read.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The store cannot be read.
    #[error(transparent)]
    Copy(#[from] StoreError),
    /// The log is of another topic.
    #[error("the delivery log is of {of}, and the topic is {is}: the control plane will make it again")]
    OtherTopic {
        /// What it is of.
        of: String,
        /// What is there.
        is: String,
    },
}

/// One comparison.
struct LogComparison<'a> {
    connection: &'a Connection,
    copy: &'a dyn LogCopy,
    topic: Arc<str>,
    offsets: Offsets,
    checked: LogChecked,
}

/// The days of a store together.
#[derive(Default)]
struct CheckedDays {
    oldest: Option<Day>,
    covered: Coverage,
}

/// Compares what a store holds with its topic, the newest day first.
///
/// # Errors
/// Topic or store cannot be read.
pub async fn check_log(
    connection: &Connection,
    topic: &Arc<str>,
    copy: &dyn LogCopy,
) -> Result<LogChecked, LogCheckError> {
    let offsets = Offsets::start(connection)?;
    let id = offsets.topic_id(topic).await?.ok_or_else(|| KafkaError::NoTopic { topic: Arc::clone(topic) })?;
    let is = format!("{topic} {id}");
    let mut comparison =
        LogComparison { connection, copy, topic: Arc::clone(topic), offsets, checked: LogChecked::default() };
    // What is written from here on is not asked of the log.
    let ends = comparison.offsets.ends(topic).await?;
    let mut known = CheckedDays::default();
    for day in copy.days().await? {
        let stored = copy.day(day).await?;
        known.oldest = Some(day);
        known.covered.merge(&stored.covered);
        if let Some(of) = stored.topic.filter(|of| *of != is) {
            return Err(LogCheckError::OtherTopic { of, is });
        }
        comparison.checked.days += 1;
        for (partition, interval) in stored.covered.iter() {
            let difference = comparison.interval(day, partition, interval.clone()).await?;
            if difference.is_some() {
                comparison.checked.difference = difference;
                return Ok(comparison.checked);
            }
        }
    }
    comparison.checked.difference = comparison.uncovered(&known, &ends).await?;
    Ok(comparison.checked)
}

// === impl LogComparison ===

impl LogComparison<'_> {
    async fn interval(
        &mut self,
        day: Day,
        partition: i32,
        interval: Range<i64>,
    ) -> Result<Option<LogDifference>, LogCheckError> {
        let at = TopicPartition::new(Arc::clone(&self.topic), partition);
        // What Kafka has given up is in the log for as long as its day is, and cannot be compared.
        let start = interval.start.max(self.offsets.start_of(&at).await?);
        if start >= interval.end {
            return Ok(None);
        }
        let end = self.offsets.end(&at).await?;
        if end < interval.end {
            // The topic was cut back: what was there is nowhere else.
            let offset = end.max(start);
            return Ok(Some(LogDifference { day: day.to_string(), partition, offset, what: "invented" }));
        }
        let mut tail = self.tail(partition, start)?;
        let (mut begin, mut rows) = (start, Vec::new());
        loop {
            let (position, row) = match tail.next().await? {
                TailEvent::Record { record, .. } => {
                    (record.offset + 1, Some(delivery_log::decode(partition, &record).0))
                }
                TailEvent::Eof { position, .. } => (position, None),
            };
            let is_kept = |row: &LogRow| row.offset < interval.end && !matches!(row.content, RowContent::Nothing);
            rows.extend(row.filter(is_kept));
            let end = position.min(interval.end);
            if end < interval.end && rows.len() < ROWS {
                continue;
            }
            // What was removed since is removed from both: the day says so itself.
            let kept = self.copy.rows(day, partition, begin..end).await?;
            let removed = self.copy.removed(day).await?;
            let (said, kept) = (removed.without(rows), removed.without(kept));
            self.checked.rows += said.len() as u64;
            if let Some((offset, what)) = first_difference(&said, &kept) {
                return Ok(Some(LogDifference { day: day.to_string(), partition, offset, what }));
            }
            if end == interval.end {
                return Ok(None);
            }
            (begin, rows) = (end, Vec::new());
        }
    }

    /// Looks at what no day covers, from the oldest day's beginning on. Up to the last offset that is covered nothing may be missing;
    /// what is behind it is counted.
    async fn uncovered(
        &mut self,
        known: &CheckedDays,
        ends: &BTreeMap<i32, i64>,
    ) -> Result<Option<LogDifference>, LogCheckError> {
        for (partition, end) in ends {
            let at = TopicPartition::new(Arc::clone(&self.topic), *partition);
            let mut start = self.offsets.start_of(&at).await?;
            if let Some(oldest) = known.oldest {
                start = self.offsets.at(&at, oldest.start_ms()).await?.max(start);
            }
            let covered_to = known.covered.ends().get(partition).copied().unwrap_or(start).max(start);
            for gap in known.covered.missing(*partition, start..covered_to) {
                let mut found = None;
                let is_kept = |row: &LogRow| known.oldest.is_some_and(|oldest| Day::of(row.stored_ms) >= oldest);
                self.rows_of(*partition, gap, |row| found = found.take().or_else(|| Some(row).filter(is_kept))).await?;
                if let Some(row) = found {
                    let (day, offset) = (Day::of(row.stored_ms).to_string(), row.offset);
                    return Ok(Some(LogDifference { day, partition: *partition, offset, what: NOT_COVERED }));
                }
            }
            let mut behind = 0;
            self.rows_of(*partition, covered_to..*end, |_row| behind += 1).await?;
            self.checked.behind += behind;
        }
        Ok(None)
    }

    /// Takes the rows of the topic at these offsets that a log keeps.
    async fn rows_of(
        &self,
        partition: i32,
        offsets: Range<i64>,
        mut take: impl FnMut(LogRow),
    ) -> Result<(), LogCheckError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut tail = self.tail(partition, offsets.start)?;
        loop {
            // Behind the end nothing is committed yet.
            let TailEvent::Record { record, .. } = tail.next().await? else { return Ok(()) };
            if record.offset >= offsets.end {
                return Ok(());
            }
            let row = delivery_log::decode(partition, &record).0;
            if !matches!(row.content, RowContent::Nothing) {
                take(row);
            }
            if record.offset + 1 >= offsets.end {
                return Ok(());
            }
        }
    }

    fn tail(&self, partition: i32, start: i64) -> Result<Tail, KafkaError> {
        let options = TailOptions {
            topic: self.topic.to_string(),
            partitions: Some(vec![partition]),
            from: kafka::From::Offsets(HashMap::from([(partition, start)])),
            committed: true,
            eof: true,
            fetch_wait_ms: 20,
        };
        Tail::start(self.connection, options)
    }
}

/// Where the rows of a log are not what the topic says, both by ascending offset: the first offset, and a word.
fn first_difference(topic: &[LogRow], log: &[LogRow]) -> Option<(i64, &'static str)> {
    let (mut said, mut kept) = (topic.iter().peekable(), log.iter().peekable());
    loop {
        match (said.peek(), kept.peek()) {
            (None, None) => return None,
            (Some(one), None) => return Some((one.offset, "missing")),
            (None, Some(other)) => return Some((other.offset, "invented")),
            (Some(one), Some(other)) if one.offset < other.offset => return Some((one.offset, "missing")),
            (Some(one), Some(other)) if one.offset > other.offset => return Some((other.offset, "invented")),
            (Some(one), Some(other)) if one.content != other.content => return Some((one.offset, "different")),
            (Some(_), Some(_)) => {}
        }
        said.next();
        kept.next();
    }
}

#[cfg(test)]
mod tests {
    use schemas::ids::ApplicationId;
    use uuid::Uuid;

    use super::*;
    use crate::log::made;

    #[test]
    fn the_first_row_that_is_not_as_its_record_says_is_named() {
        let row = |offset, accepted_ms| {
            let event = delivery_log::LoggedEvent { accepted_ms, ..made::event(ApplicationId(Uuid::nil())) };
            LogRow { offset, stored_ms: 0, content: RowContent::Event(Box::new(event)) }
        };
        let topic = [row(1, 5), row(4, 6), row(5, 7)];
        assert_eq!(first_difference(&topic, &topic), None);
        assert_eq!(first_difference(&topic, &[row(1, 5), row(5, 7)]), Some((4, "missing")));
        assert_eq!(first_difference(&topic, &topic[..2]), Some((5, "missing")));
        let more = [row(1, 5), row(3, 5), row(4, 6), row(5, 7)];
        assert_eq!(first_difference(&topic, &more), Some((3, "invented")));
        assert_eq!(first_difference(&topic[..1], &topic), Some((4, "invented")));
        assert_eq!(first_difference(&topic, &[row(1, 5), row(4, 0), row(5, 7)]), Some((4, "different")));
    }
}
