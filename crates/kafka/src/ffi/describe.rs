//! What a broker tells about topics: their ids, and what we may do with them.

use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use rdkafka::types::RDKafkaErrorCode as Code;
use uuid::Uuid;

use super::ask::ask;
use super::{OK, text};

/// What is told of each topic, or why it is not: one that is denied hides no other. A topic that does not exist is missing.
pub(crate) type Described<T> = HashMap<String, Result<T, Code>>;

/// A topic, and what we may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicFacts {
    pub(crate) id: Uuid,
    pub(crate) may: Permissions,
}

/// What we may do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permissions {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

// === impl Permissions ===

impl Permissions {
    /// From the operations that are allowed. Who may not describe a topic can neither find its leaders nor commit in it, whatever
    /// else is allowed: a rule that denies Describe leaves Read and Write as they are.
    fn of(allowed: &[sys::rd_kafka_AclOperation_t]) -> Self {
        use sys::rd_kafka_AclOperation_t::{
            RD_KAFKA_ACL_OPERATION_DESCRIBE as DESCRIBE, RD_KAFKA_ACL_OPERATION_READ as READ,
            RD_KAFKA_ACL_OPERATION_WRITE as WRITE,
        };
        let may = |wanted| allowed.contains(&wanted);
        Self { read: may(READ) && may(DESCRIBE), write: may(WRITE) && may(DESCRIBE) }
    }
}

/// The ids of topics (KIP-516). A topic that does not exist is missing from the answer.
pub(crate) fn topic_ids(
    client: &NativeClient,
    topics: &[&str],
    timeout: Duration,
) -> Result<HashMap<String, Uuid>, Code> {
    let described = describe_topics(client, topics, timeout)?;
    described.into_iter().map(|(topic, id)| Ok((topic, id?))).collect()
}

/// The id of each topic.
pub(crate) fn describe_topics(
    client: &NativeClient,
    topics: &[&str],
    timeout: Duration,
) -> Result<Described<Uuid>, Code> {
    // SAFETY: what is read is a description that is alive.
    describe(client, topics, timeout, false, |topic| unsafe { topic_id(topic) })
}

/// The id of each topic, and what we may do with it.
pub(crate) fn topic_facts(
    client: &NativeClient,
    topics: &[&str],
    timeout: Duration,
) -> Result<Described<TopicFacts>, Code> {
    // SAFETY: what is read is a description that is alive.
    describe(client, topics, timeout, true, |topic| unsafe { TopicFacts { id: topic_id(topic), may: allowed(topic) } })
}

/// What we may do with each topic. Everything, in a cluster that asks nobody for permission.
pub(crate) fn permissions(
    client: &NativeClient,
    topics: &[&str],
    timeout: Duration,
) -> Result<Described<Permissions>, Code> {
    // SAFETY: what is read is a description that is alive.
    describe(client, topics, timeout, true, |topic| unsafe { allowed(topic) })
}

unsafe fn topic_id(topic: *const sys::rd_kafka_TopicDescription_t) -> Uuid {
    // SAFETY: the caller's description is alive, and its id with it.
    unsafe {
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let high = sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
        let low = sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
        Uuid::from_u64_pair(high, low)
    }
}

unsafe fn allowed(topic: *const sys::rd_kafka_TopicDescription_t) -> Permissions {
    let mut count = 0;
    // SAFETY: the caller's description is alive, and its operations have the count that comes with them.
    unsafe {
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        if operations.is_null() {
            return Permissions { read: true, write: true };
        }
        Permissions::of(std::slice::from_raw_parts(operations, count))
    }
}

/// Asks for topics and reads each description.
fn describe<T>(
    client: &NativeClient,
    topics: &[&str],
    timeout: Duration,
    with_operations: bool,
    read: impl Fn(*const sys::rd_kafka_TopicDescription_t) -> T,
) -> Result<Described<T>, Code> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: the collection copies the names, and is destroyed once the answer is there; the event is this question's.
    unsafe {
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let send = |options, queue| sys::rd_kafka_DescribeTopics(client.ptr(), collection, options, queue);
        let result = ask(client, operation, (timeout, with_operations), send, |event| read_all(event, read));
        sys::rd_kafka_TopicCollection_destroy(collection);
        result
    }
}

unsafe fn read_all<T>(
    event: *mut sys::rd_kafka_event_t,
    read: impl Fn(*const sys::rd_kafka_TopicDescription_t) -> T,
) -> Result<Described<T>, Code> {
    // SAFETY: the event is the answer to DescribeTopics and stays alive; every count comes with its array.
    unsafe {
        let described = sys::rd_kafka_event_DescribeTopics_result(event);
        if described.is_null() {
            return Err(Code::Fail);
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(described, &raw mut count);
        let mut all = HashMap::with_capacity(count);
        for index in 0..count {
            let topic = *topics.add(index);
            let code = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic));
            let name = text(sys::rd_kafka_TopicDescription_name(topic));
            if code == OK {
                all.insert(name, Ok(read(topic)));
            } else if Code::from(code) != Code::UnknownTopicOrPartition && Code::from(code) != Code::UnknownTopicId {
                all.insert(name, Err(Code::from(code)));
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::bindings::rd_kafka_AclOperation_t::{
        RD_KAFKA_ACL_OPERATION_DESCRIBE as DESCRIBE, RD_KAFKA_ACL_OPERATION_READ as READ,
        RD_KAFKA_ACL_OPERATION_WRITE as WRITE,
    };

    use super::*;

    #[test]
    fn reading_and_writing_take_describing_as_well() {
        let cases = [
            (&[DESCRIBE, READ, WRITE][..], true, true),
            (&[DESCRIBE, READ], true, false),
            (&[DESCRIBE, WRITE], false, true),
            (&[READ, WRITE], false, false),
            (&[DESCRIBE], false, false),
            (&[], false, false),
        ];
        for (allowed, read, write) in cases {
            assert_eq!(Permissions::of(allowed), Permissions { read, write }, "{allowed:?}");
        }
    }
}
