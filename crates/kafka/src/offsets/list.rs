//! `ListOffsets`, blocking: one request for all partitions, an answer for each.
//!
//! librdkafka fails the call as a whole for two reasons that are not the whole's. It knows a leader of none of the partitions: then
//! each has its own error, which is an answer. Or a broker refused one of them, which as a rule means that what the client knew of
//! the leaders was old: it is told anew and asked once more.

use std::collections::HashMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;

use super::TIMEOUT;
use crate::error::KafkaError;
use crate::ffi::{self, ListedElement};
use crate::log::Named;

/// What was told of each partition.
pub(crate) type Listed<T> = HashMap<TopicPartition, Result<T, KafkaError>>;

/// Which offset is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum End {
    First,
    Last,
    /// Of the first record at or after a time, Unix ms.
    At(i64),
}

/// An offset that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedOffset {
    pub(crate) offset: i64,
    /// Epoch of the leader that wrote there, if the broker tells.
    pub(crate) leader_epoch: Option<i32>,
}

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogRange {
    pub(crate) start: i64,
    /// For a client that reads what is not committed the high watermark: records of open transactions count.
    pub(crate) end: i64,
    /// Of the last leader that wrote to it.
    pub(crate) leader_epoch: Option<i32>,
}

// === impl End ===

impl End {
    /// "The offset for a time" with the two special times is `ListOffsets` for the log's first and last offset. Times before 1970
    /// are those special ones or none at all, and no record is that old: such a time is before the first.
    fn time(self) -> Offset {
        match self {
            Self::First => Offset::Beginning,
            Self::Last => Offset::End,
            Self::At(time_ms) if time_ms < 0 => Offset::Beginning,
            Self::At(time_ms) => Offset::Offset(time_ms),
        }
    }
}

/// One offset of each partition, or why it is not told: one without a leader, or of a topic that is denied, hides no other.
pub(super) fn list<'a>(
    client: &BaseConsumer<Named>,
    partitions: impl Iterator<Item = &'a TopicPartition>,
    end: End,
) -> Result<Listed<ListedOffset>, KafkaError> {
    let partitions: Vec<&TopicPartition> = partitions.collect();
    if partitions.is_empty() {
        return Ok(Listed::new());
    }
    let mut asked = ask(client, &partitions, end)?;
    if asked.as_ref().is_err_and(|code| !is_silence(*code)) {
        asked = ask(client, &partitions, end)?;
    }
    let each = asked.map_err(|code| KafkaError::call("list offsets", code))?;
    let named = |(partition, told): (TopicPartition, Result<ListedOffset, Code>)| {
        let told = told.map_err(|code| KafkaError::call(format!("list offsets of {partition}"), code));
        (partition, told)
    };
    Ok(each.into_iter().map(named).collect())
}

#[expect(clippy::type_complexity, reason = "an outcome for all and one for each")]
fn ask(
    client: &BaseConsumer<Named>,
    partitions: &[&TopicPartition],
    end: End,
) -> Result<Result<Vec<(TopicPartition, Result<ListedOffset, Code>)>, Code>, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for TopicPartition { topic, partition } in partitions.iter().copied() {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(end.time()).map_err(|error| KafkaError::from_rdkafka("list offsets", &error))?;
    }
    let native = client.client().native_client();
    let (ended, elements) = ffi::offsets_for_times(native, &list, TIMEOUT);
    if ended.is_some() || elements.iter().any(|element| element.error.is_some()) {
        // A leader it asked may be gone; and librdkafka believes for minutes that a partition has none.
        ffi::refresh(native);
    }
    Ok(each(ended, elements))
}

/// What is told of each partition.
type EachOffset = Vec<(TopicPartition, Result<ListedOffset, Code>)>;

/// What a call that ended so says of each partition.
fn each(ended: Option<Code>, elements: Vec<ListedElement>) -> Result<EachOffset, Code> {
    match ended {
        None => {}
        Some(Code::UnknownPartition) if elements.iter().all(|element| element.error.is_some()) => {}
        Some(code) => return Err(code),
    }
    let told = |ListedElement { partition, error, offset, leader_epoch }: ListedElement| {
        let told = match error {
            Some(code) => Err(code),
            None if offset < 0 => Err(Code::OffsetNotAvailable),
            None => Ok(ListedOffset { offset, leader_epoch }),
        };
        (partition, told)
    };
    Ok(elements.into_iter().map(told).collect())
}

/// Nobody answered in time: another question would wait as long.
fn is_silence(code: Code) -> bool {
    matches!(
        code,
        Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::MessageTimedOut
    )
}

/// Where each log begins and ends, or why it is not told: one partition hides no other. Two requests.
pub(crate) fn ranges(
    client: &BaseConsumer<Named>,
    partitions: &[TopicPartition],
) -> Result<Listed<LogRange>, KafkaError> {
    // In this order: a log whose records retention deletes meanwhile begins nowhere beyond its end.
    let mut first = list(client, partitions.iter(), End::First)?;
    let last = list(client, partitions.iter(), End::Last)?;
    let ranges = last.into_iter().filter_map(|(partition, last)| {
        let range = first.remove(&partition)?.and_then(|ListedOffset { offset: start, .. }| {
            let ListedOffset { offset: end, leader_epoch } = last?;
            Ok(LogRange { start, end, leader_epoch })
        });
        Some((partition, range))
    });
    Ok(ranges.collect())
}

/// One special offset of each partition as a reader with this client's isolation sees it.
pub(crate) fn edges(
    client: &BaseConsumer<Named>,
    partitions: &[TopicPartition],
    last: bool,
) -> Result<Listed<i64>, KafkaError> {
    let end = if last { End::Last } else { End::First };
    let told = list(client, partitions.iter(), end)?;
    Ok(told.into_iter().map(|(partition, told)| (partition, told.map(|it| it.offset))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(partition: i32, error: Option<Code>, offset: i64) -> ListedElement {
        ListedElement { partition: TopicPartition::new("events", partition), error, offset, leader_epoch: Some(4) }
    }

    fn leaderless(partition: i32) -> ListedElement {
        // librdkafka leaves the time that was asked for in its place.
        element(partition, Some(Code::LeaderNotAvailable), -1)
    }

    #[test]
    fn a_partition_without_a_leader_is_told_of_and_hides_no_other() {
        let told = each(None, vec![leaderless(0), element(1, None, 9), element(2, None, -1)]).unwrap();
        let outcomes: Vec<_> = told.into_iter().map(|(_, told)| told).collect();
        let there = ListedOffset { offset: 9, leader_epoch: Some(4) };
        assert_eq!(outcomes, [Err(Code::LeaderNotAvailable), Ok(there), Err(Code::OffsetNotAvailable)]);
    }

    #[test]
    fn where_no_partition_has_a_leader_each_is_told_of_all_the_same() {
        let told = each(Some(Code::UnknownPartition), vec![leaderless(0), leaderless(1)]).unwrap();
        assert!(told.iter().all(|(_, told)| *told == Err(Code::LeaderNotAvailable)) && told.len() == 2, "{told:?}");
    }

    #[test]
    fn what_ends_the_call_is_an_answer_about_none_of_them() {
        for code in [Code::OperationTimedOut, Code::NotLeaderForPartition, Code::UnknownPartition] {
            assert_eq!(each(Some(code), vec![leaderless(0), element(1, None, -2)]).unwrap_err(), code);
        }
    }
}
