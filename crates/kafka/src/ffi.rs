//! The calls of librdkafka that rdkafka does not offer, or offers with a panic or a 100 ms pause in them.
//!
//! The only unsafe code of the workspace, but for the name of one constant in the binary. Every function takes references
//! to rdkafka's own safe types, so a pointer never outlives its owner, and copies out what it reads. Two types hold on to
//! their client, [`Bell`] and [`Topic`]: whoever owns one declares it before the client, so that it is dropped first.
//! [`MessageQueue`] polls a consumer as rdkafka does, but says of which partition an error or an end is.

#![expect(unsafe_code, reason = "librdkafka is C: each block states why its call is sound")]

mod ask;
mod bell;
mod describe;
mod listed;
mod members;
mod produce;
mod queue;
mod refresh;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr as Resp};
use schemas::record::{Headers, Record, TopicPartition};

pub(crate) use self::bell::{Bell, Doorstep};
pub(crate) use self::describe::{
    Described, Permissions, TopicFacts, describe_topics, permissions, topic_facts, topic_ids,
};
pub(crate) use self::listed::{ListedElement, offsets_for_times};
pub(crate) use self::members::group_members;
pub(crate) use self::produce::{Topic, produce, produce_boxed};
pub(crate) use self::queue::{MessageQueue, Polled};
pub(crate) use self::refresh::refresh;

const OK: Resp = Resp::RD_KAFKA_RESP_ERR_NO_ERROR;

/// A group's metadata with the generation and the member it belongs to.
pub(crate) struct GroupMetadata {
    /// What a transaction sends along with offsets.
    pub(crate) native: ConsumerGroupMetadata,
    generation: i32,
    member: String,
}

/// One element of a list of committed offsets.
#[derive(Debug)]
pub(crate) struct CommittedOffset {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// `None`: never committed.
    pub(crate) offset: Option<i64>,
    /// Leader epoch of the last record that was read, if whoever committed it knew.
    pub(crate) leader_epoch: Option<i32>,
    /// Empty if it is not UTF-8: nobody of ours wrote it.
    pub(crate) metadata: String,
}

impl std::fmt::Debug for GroupMetadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupMetadata").field("generation", &self.generation).field("member", &self.member).finish()
    }
}

/// The group metadata of a consumer, if it is a member of a generation right now.
pub(crate) fn group_metadata<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<GroupMetadata> {
    // The generation is read before and after: both the same means that what lies between them is of that generation.
    let before = group_identity(consumer.client().native_client())?;
    let native = consumer.group_metadata()?;
    let (generation, member) = group_identity(consumer.client().native_client())?;
    ((generation, &member) == (before.0, &before.1)).then_some(GroupMetadata { native, generation, member })
}

/// As of a consumer that never joined: Kafka takes its offsets while its group has no members.
#[cfg(test)]
pub(crate) fn group_metadata_of_nobody(consumer: &BaseConsumer) -> Option<GroupMetadata> {
    Some(GroupMetadata { native: consumer.group_metadata()?, generation: -1, member: String::new() })
}

/// Generation and member id; `None` outside any generation.
fn group_identity(client: &NativeClient) -> Option<(i32, String)> {
    // SAFETY: the client is alive; the result is owned by us and destroyed below, the member id is copied before.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(client.ptr());
        if metadata.is_null() {
            return None;
        }
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        let member = text(sys::rd_kafka_consumer_group_metadata_member_id(metadata));
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        (generation >= 0 && !member.is_empty()).then_some((generation, member))
    }
}

/// Whether a consumer is still the member of the generation that its last rebalance told. False: another rebalance, or the
/// loss of the membership, waits to be served by its poll.
pub(crate) fn is_current<C: ConsumerContext>(consumer: &BaseConsumer<C>, group: &GroupMetadata) -> bool {
    let now = group_identity(consumer.client().native_client());
    now.is_some_and(|(generation, member)| generation == group.generation && member == group.member)
}

/// Waits until no record is queued or in flight and every delivery report was served by the thread that polls.
/// rdkafka's own `flush` polls in quanta of 100 ms. False: the time is over.
pub(crate) fn flush(client: &NativeClient, timeout: Duration) -> bool {
    // SAFETY: the client is alive; the call is thread safe and only waits.
    unsafe { sys::rd_kafka_flush(client.ptr(), millis(timeout)) == OK }
}

/// Copies a consumed message: key and value into one buffer, headers into another. rdkafka's own header access panics on
/// names that are not UTF-8.
pub(crate) fn read_record(message: &BorrowedMessage<'_>) -> Record {
    // SAFETY: the message is alive.
    unsafe { read_message(message.ptr()) }
}

/// Copies a consumed message, which must be alive.
unsafe fn read_message(message: *const sys::rd_kafka_message_t) -> Record {
    // SAFETY: the caller's; key and payload have the lengths that stand beside them.
    let (message, key, value, timestamp_ms) = unsafe {
        let of = |data: *mut c_void, length| {
            (!data.is_null()).then(|| std::slice::from_raw_parts(data.cast::<u8>().cast_const(), length))
        };
        let (key, value) = (of((*message).key, (*message).key_len), of((*message).payload, (*message).len));
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        let timestamp_ms = sys::rd_kafka_message_timestamp(message, &raw mut kind);
        (&*message, key, value, timestamp_ms)
    };
    let key_length = key.map_or(0, <[u8]>::len);
    let mut buffer = Vec::with_capacity(key_length + value.map_or(0, <[u8]>::len));
    buffer.extend_from_slice(key.unwrap_or_default());
    buffer.extend_from_slice(value.unwrap_or_default());
    let buffer = Bytes::from(buffer);
    Record {
        offset: message.offset,
        timestamp_ms,
        key: key.map(|_| buffer.slice(..key_length)),
        value: value.map(|_| buffer.slice(key_length..)),
        headers: read_headers(message),
    }
}

fn read_headers(message: &sys::rd_kafka_message_t) -> Headers {
    let mut list = ptr::null_mut();
    // SAFETY: the message is alive and owns the list, which is only read; names end with NUL, values have their size.
    unsafe {
        if sys::rd_kafka_message_headers(ptr::from_ref(message), &raw mut list) != OK {
            return Headers::default();
        }
        let count = sys::rd_kafka_header_cnt(list);
        let mut builder = Headers::builder(count, count * 48);
        for index in 0..count {
            let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null::<c_void>(), 0);
            if sys::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size) != OK {
                break;
            }
            let value = if value.is_null() { &[][..] } else { std::slice::from_raw_parts(value.cast::<u8>(), size) };
            builder.push_raw(CStr::from_ptr(name).to_bytes(), value);
        }
        builder.build()
    }
}

/// Reads a list of committed offsets, all of which must be told.
pub(crate) fn committed(list: &TopicPartitionList) -> Result<Vec<CommittedOffset>, Code> {
    committed_each(list).into_iter().map(|(_, told)| told).collect()
}

/// The committed offset of each element of a list, in its order, or why it is not told. rdkafka's own metadata access panics on what
/// is not UTF-8.
pub(crate) fn committed_each(list: &TopicPartitionList) -> Vec<(TopicPartition, Result<CommittedOffset, Code>)> {
    // SAFETY: the list is alive and its elements are only read; names and metadata are copied.
    let element = |index| unsafe {
        let element = &*(*list.ptr()).elems.add(index);
        let (topic, partition) = (text(element.topic), element.partition);
        let place = TopicPartition::new(topic.as_str(), partition);
        if element.err != OK {
            return (place, Err(Code::from(element.err)));
        }
        let metadata = if element.metadata.is_null() {
            String::new()
        } else {
            let bytes = std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
            std::str::from_utf8(bytes).unwrap_or_default().to_owned()
        };
        let offset = (element.offset >= 0).then_some(element.offset);
        let leader_epoch = known(sys::rd_kafka_topic_partition_get_leader_epoch(element));
        (place, Ok(CommittedOffset { topic, partition, offset, leader_epoch, metadata }))
    };
    (0..list.count()).map(element).collect()
}

/// Sets the leader epoch of each element of a list of offsets, in its order.
pub(crate) fn set_leader_epochs(list: &mut TopicPartitionList, epochs: &[Option<i32>]) {
    for (index, epoch) in epochs.iter().enumerate().take(list.count()) {
        // SAFETY: the list is alive and borrowed for writing, and the index is below its count.
        unsafe {
            sys::rd_kafka_topic_partition_set_leader_epoch((*list.ptr()).elems.add(index), epoch.unwrap_or(-1));
        }
    }
}

fn known(leader_epoch: i32) -> Option<i32> {
    (leader_epoch >= 0).then_some(leader_epoch)
}

/// Low and high watermark as of the last fetch; no request is made. Negative: not known.
pub(crate) fn cached_watermarks(client: &NativeClient, topic: &str, partition: i32) -> Option<(i64, i64)> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive; both results are written before the call returns.
    let result = unsafe {
        sys::rd_kafka_get_watermark_offsets(client.ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high)
    };
    (result == OK).then_some((low, high))
}

/// Copies a C string; empty if null.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's strings end with NUL and live as long as their owner, which the caller holds.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
