//! The queue of a consumer, event by event.
//!
//! rdkafka's own poll tells neither the topic of an end of partition nor the partition of an error.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr as Resp};
use schemas::record::{Record, TopicPartition};

use super::{known, millis, read_message, text};

/// The queue of a consumer with a group. To be dropped before the consumer.
pub(crate) struct MessageQueue(NonNull<sys::rd_kafka_queue_t>);

/// One event of the queue.
pub(crate) struct Event(NonNull<sys::rd_kafka_event_t>);

/// What an event is.
pub(crate) enum Polled<'a> {
    /// A record.
    Message(Message<'a>),
    /// A fetch at this offset found nothing more: markers, aborted records and holes below it are passed.
    End(TopicPartition, i64),
    /// Something failed. The partition is known if it is one partition's error, with the offset in question (negative: none).
    Failed { code: Code, is_fatal: bool, partition: Option<(TopicPartition, i64)>, reason: String },
    /// Partitions are assigned or revoked. To be answered by an assign or unassign.
    Rebalance(Resp, TopicPartitionList),
    /// A line of the client's log.
    Log(Level, String, String),
    /// Nothing that concerns us.
    Other,
}

/// A record that was not copied yet.
pub(crate) struct Message<'a> {
    message: NonNull<sys::rd_kafka_message_t>,
    /// The event that owns it.
    _event: &'a Event,
}

// === impl MessageQueue ===

impl MessageQueue {
    /// `None`: the consumer has no group.
    pub(crate) fn of(client: &NativeClient) -> Option<Self> {
        // SAFETY: the client is alive; the reference that is returned is ours until drop.
        NonNull::new(unsafe { sys::rd_kafka_queue_get_consumer(client.ptr()) }).map(Self)
    }

    /// The next event, if one comes in this time. What librdkafka serves by itself meanwhile ends the wait too.
    pub(crate) fn poll(&self, timeout: Duration) -> Option<Event> {
        // SAFETY: the queue lives until drop; the event is ours and destroyed by its drop.
        NonNull::new(unsafe { sys::rd_kafka_queue_poll(self.0.as_ptr(), millis(timeout)) }).map(Event)
    }
}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours and given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

// === impl Event ===

impl Event {
    pub(crate) fn read(&self) -> Polled<'_> {
        // SAFETY: the event is alive while `self` is; everything but a message is copied out.
        unsafe {
            match sys::rd_kafka_event_type(self.0.as_ptr()) {
                sys::RD_KAFKA_EVENT_FETCH => {
                    let message = sys::rd_kafka_event_message_next(self.0.as_ptr()).cast_mut();
                    NonNull::new(message)
                        .map_or(Polled::Other, |message| Polled::Message(Message { message, _event: self }))
                }
                sys::RD_KAFKA_EVENT_ERROR => self.error(),
                sys::RD_KAFKA_EVENT_REBALANCE => {
                    Polled::Rebalance(sys::rd_kafka_event_error(self.0.as_ptr()), self.partitions())
                }
                sys::RD_KAFKA_EVENT_LOG => self.log(),
                _ => Polled::Other,
            }
        }
    }

    fn error(&self) -> Polled<'_> {
        // SAFETY: the event is alive; the partition is ours, copied and destroyed.
        unsafe {
            let event = self.0.as_ptr();
            let code = Code::from(sys::rd_kafka_event_error(event));
            let of = sys::rd_kafka_event_topic_partition(event);
            let partition = (!of.is_null()).then(|| {
                let partition = TopicPartition::new(text((*of).topic).as_str(), (*of).partition);
                let offset = (*of).offset;
                sys::rd_kafka_topic_partition_destroy(of);
                (partition, offset)
            });
            match (code, partition) {
                (Code::PartitionEOF, Some((partition, offset))) => Polled::End(partition, offset),
                (code, partition) => {
                    let is_fatal = sys::rd_kafka_event_error_is_fatal(event) != 0;
                    let reason = text(sys::rd_kafka_event_error_string(event));
                    Polled::Failed { code, is_fatal, partition, reason }
                }
            }
        }
    }

    fn partitions(&self) -> TopicPartitionList {
        let mut copy = TopicPartitionList::new();
        // SAFETY: the event is alive and owns the list, which is only read.
        unsafe {
            let list = sys::rd_kafka_event_topic_partition_list(self.0.as_ptr());
            let count = if list.is_null() { 0 } else { usize::try_from((*list).cnt).unwrap_or(0) };
            for index in 0..count {
                let element = &*(*list).elems.add(index);
                copy.add_partition(&text(element.topic), element.partition);
            }
        }
        copy
    }

    fn log(&self) -> Polled<'_> {
        let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is alive; both texts live as long as it and are copied.
        let (facility, line) = unsafe {
            sys::rd_kafka_event_log(self.0.as_ptr(), &raw mut facility, &raw mut line, &raw mut level);
            (text(facility), text(line))
        };
        // As syslog numbers them.
        let level = match level {
            0..=3 => Level::Error,
            4 => Level::Warning,
            5 | 6 => Level::Info,
            _ => Level::Debug,
        };
        Polled::Log(level, facility, line)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

// === impl Message ===

impl Message<'_> {
    /// Whether it is of this partition; compares without copying the name.
    pub(crate) fn is_of(&self, partition: &TopicPartition) -> bool {
        // SAFETY: the message lives as long as its event; its topic's name ends with NUL.
        unsafe {
            let message = self.message.as_ref();
            message.partition == partition.partition
                && CStr::from_ptr(sys::rd_kafka_topic_name(message.rkt)).to_bytes() == partition.topic.as_bytes()
        }
    }

    pub(crate) fn partition(&self) -> TopicPartition {
        // SAFETY: as above.
        unsafe {
            let message = self.message.as_ref();
            TopicPartition::new(text(sys::rd_kafka_topic_name(message.rkt)).as_str(), message.partition)
        }
    }

    pub(crate) fn offset(&self) -> i64 {
        // SAFETY: as above.
        unsafe { self.message.as_ref().offset }
    }

    /// The epoch of the leader that wrote it, if the broker tells.
    pub(crate) fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: as above.
        known(unsafe { sys::rd_kafka_message_leader_epoch(self.message.as_ptr()) })
    }

    pub(crate) fn record(&self) -> Record {
        // SAFETY: the message lives as long as its event.
        unsafe { read_message(self.message.as_ptr()) }
    }
}
