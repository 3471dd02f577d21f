//! `ListOffsets` of many partitions, and what became of each. rdkafka keeps the list to itself where the call fails as a whole,
//! though librdkafka has noted in it what is wrong with which partition.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::TopicPartition;

use super::{OK, known, millis, text};

/// What librdkafka has noted of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedElement {
    pub(crate) partition: TopicPartition,
    /// What is wrong with it: a leader that nobody knows, a topic that is denied.
    pub(crate) error: Option<Code>,
    /// Negative: the log has no such offset. Means nothing beside an error, its own or the call's.
    pub(crate) offset: i64,
    /// Epoch of the leader that wrote there, if the broker tells.
    pub(crate) leader_epoch: Option<i32>,
}

/// Asks for the offset of each partition at the time that stands in its place. How the call ended, and what is noted of each.
pub(crate) fn offsets_for_times(
    client: &NativeClient,
    list: &TopicPartitionList,
    timeout: Duration,
) -> (Option<Code>, Vec<ListedElement>) {
    // SAFETY: client and list are alive; the call writes to the list before it returns and nobody else has it; then its elements
    // are only read, and names are copied.
    unsafe {
        let ended = sys::rd_kafka_offsets_for_times(client.ptr(), list.ptr(), millis(timeout));
        let raw = &*list.ptr();
        let element = |index| {
            let element = &*raw.elems.add(index);
            ListedElement {
                partition: TopicPartition::new(text(element.topic).as_str(), element.partition),
                error: (element.err != OK).then(|| Code::from(element.err)),
                offset: element.offset,
                leader_epoch: known(sys::rd_kafka_topic_partition_get_leader_epoch(element)),
            }
        };
        ((ended != OK).then(|| Code::from(ended)), (0..list.count()).map(element).collect())
    }
}
