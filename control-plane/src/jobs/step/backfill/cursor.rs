//! How far a backfill is. Pure.

use schemas::jobs::{JobKind, JobState};
use schemas::record::TopicPartition;
use serde::{Deserialize, Serialize};

use crate::jobs::known::KnownJob;

/// What is read, and how far that is: one partition after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackfillCursor {
    topics: Vec<TopicRanges>,
    /// None: the fan-out has yet to pass the ends.
    at: Option<At>,
}

/// A topic's partitions: the first offset of each that is read, and the one where reading ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicRanges {
    pub(super) topic: String,
    pub(super) ranges: Vec<(i64, i64)>,
}

/// Which topic, which partition of it, and the next offset there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct At(usize, usize, i64);

/// What is read next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextRange {
    pub(super) partition: TopicPartition,
    pub(super) from: i64,
    pub(super) end: i64,
}

// === impl BackfillCursor ===

impl BackfillCursor {
    /// These are noted, and the fan-out may not have passed them.
    pub(super) fn noted(topics: Vec<TopicRanges>) -> Self {
        Self { topics, at: None }
    }

    pub(super) fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    /// Whether the fan-out may not have passed what is read.
    pub(super) fn is_waiting(&self) -> bool {
        self.at.is_none()
    }

    /// The fan-out has passed what is read: reading begins.
    pub(super) fn passed(&mut self) {
        let first = self.topics.first().and_then(|of| of.ranges.first()).map_or(0, |(start, _)| *start);
        self.at = Some(At(0, 0, first));
    }

    /// Topics of which something is read.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        let has_any = |of: &&TopicRanges| of.ranges.iter().any(|(start, end)| start < end);
        self.topics.iter().filter(has_any).map(|of| of.topic.as_str())
    }

    /// Where reading ends in a partition; none: nothing of it is read.
    pub(super) fn end_of(&self, partition: &TopicPartition) -> Option<i64> {
        let of = self.topics.iter().find(|of| of.topic == *partition.topic)?;
        let (start, end) = of.ranges.get(usize::try_from(partition.partition).ok()?)?;
        (start < end).then_some(*end)
    }

    /// What is read next; none: all of it was.
    pub(super) fn next(&self) -> Option<NextRange> {
        let At(topic, number, offset) = self.at?;
        let here = (topic, number, Some(offset));
        let later = (topic..self.topics.len()).flat_map(|topic| {
            let count = self.topics.get(topic).map_or(0, |of| of.ranges.len());
            (0..count).map(move |number| (topic, number, None))
        });
        let behind = later.filter(|(of, at, _)| (*of, *at) > (topic, number));
        std::iter::once(here).chain(behind).find_map(|(topic, number, offset)| {
            let of = self.topics.get(topic)?;
            let (start, end) = *of.ranges.get(number)?;
            let from = offset.unwrap_or(start);
            let partition = TopicPartition::new(of.topic.as_str(), i32::try_from(number).ok()?);
            (from < end).then_some(NextRange { partition, from, end })
        })
    }

    /// All of a partition below this offset was read.
    pub(super) fn advance(&mut self, partition: &TopicPartition, offset: i64) {
        let topic = self.topics.iter().position(|of| of.topic == *partition.topic);
        if let (Some(topic), Ok(number)) = (topic, usize::try_from(partition.partition)) {
            self.at = Some(At(topic, number, offset));
        }
    }

    /// How much of it was read, of 100.
    fn percent(&self) -> u8 {
        let Some(At(at_topic, at_number, offset)) = self.at else { return 0 };
        let (mut all, mut read) = (0_i128, 0_i128);
        for (topic, of) in self.topics.iter().enumerate() {
            for (number, (start, end)) in of.ranges.iter().enumerate() {
                let size = i128::from((end - start).max(0));
                all += size;
                read += match (topic, number).cmp(&(at_topic, at_number)) {
                    std::cmp::Ordering::Less => size,
                    std::cmp::Ordering::Equal => i128::from(offset.min(*end) - start).max(0),
                    std::cmp::Ordering::Greater => 0,
                };
            }
        }
        if all == 0 { 100 } else { u8::try_from(read * 100 / all).unwrap_or(100) }
    }
}

// === impl KnownJob ===

impl KnownJob {
    /// How much a backfill has read, of 100; none: it is no backfill, or ended before it was through.
    pub(crate) fn percent(&self) -> Option<u8> {
        if self.definition.kind != JobKind::Backfill {
            return None;
        }
        match self.state() {
            JobState::Done => Some(100),
            JobState::Cancelled | JobState::Failed => None,
            JobState::Queued | JobState::Running | JobState::Waiting | JobState::Paused | JobState::Unknown => {
                let cursor = self.progress.as_ref().and_then(|progress| progress.cursor.as_deref());
                Some(cursor.and_then(|text| BackfillCursor::decode(text).ok()).map_or(0, |cursor| cursor.percent()))
            }
        }
    }
}
