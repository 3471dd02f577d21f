//! Enqueuing records.

use std::ffi::{CStr, c_void};
use std::ptr;

use bytes::Bytes;
use rdkafka::IntoOpaque;
use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::{Headers, OutRecord};

use super::OK;

/// Lets the partitioner decide.
const UNASSIGNED: i32 = -1;

/// A topic as its client knows it. Records sent by name take a lock of the whole client, each. To be dropped before the client:
/// its owner declares it first and says so.
#[derive(Debug)]
pub(crate) struct Topic(*mut sys::rd_kafka_topic_t);

// SAFETY: librdkafka's topics are thread safe.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

// === impl Topic ===

impl Topic {
    /// Whether there is one of that name shows when a record is sent to it.
    pub(crate) fn of(client: &NativeClient, name: &CStr) -> Result<Self, Code> {
        // SAFETY: the client is alive and the name ends with NUL; without a configuration the topic gets the client's.
        let topic = unsafe { sys::rd_kafka_topic_new(client.ptr(), name.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            // SAFETY: reads what the call above left in this thread.
            return Err(Code::from(unsafe { sys::rd_kafka_last_error() }));
        }
        Ok(Self(topic))
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: it is ours and destroyed once; records under way hold it on their own.
        unsafe { sys::rd_kafka_topic_destroy(self.0) }
    }
}

// === calls ===

/// Enqueues one record; key, value and headers are copied. `opaque` comes back with the delivery report of a context whose
/// opaque type is `usize`.
pub(crate) fn produce(
    client: &NativeClient,
    topic: &Topic,
    partition: Option<i32>,
    record: &OutRecord,
    opaque: usize,
) -> Result<(), Code> {
    let (key, key_length) = parts(record.key.as_ref());
    let (value, value_length) = parts(record.value.as_ref());
    // SAFETY: every pointer is valid for its length during the call, which copies (MSG_F_COPY). The headers are taken over
    // on success only, and destroyed here otherwise. The variadic list is made of tagged values and ends with END.
    unsafe {
        let headers = native_headers(&record.headers);
        let result = sys::rd_kafka_producev(
            client.ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
            topic.0,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
            partition.unwrap_or(UNASSIGNED),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            sys::RD_KAFKA_MSG_F_COPY,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            value,
            value_length,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
            key,
            key_length,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
            opaque as *mut c_void,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            headers,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        );
        if result == OK {
            return Ok(());
        }
        if !headers.is_null() {
            sys::rd_kafka_headers_destroy(headers);
        }
        Err(Code::from(result))
    }
}

/// As [`produce`], for a context whose opaque type is a box, which is dropped if the record is refused.
pub(crate) fn produce_boxed<T: Send + Sync>(
    client: &NativeClient,
    topic: &Topic,
    partition: Option<i32>,
    record: &OutRecord,
    opaque: Box<T>,
) -> Result<(), Code> {
    let pointer = opaque.into_ptr();
    produce(client, topic, partition, record, pointer as usize).inspect_err(|_| {
        // SAFETY: the pointer was made just above and librdkafka did not take it.
        drop(unsafe { Box::<T>::from_ptr(pointer) });
    })
}

fn parts(bytes: Option<&Bytes>) -> (*mut c_void, usize) {
    // An empty slice has a pointer that is not null, so that an empty value stays apart from a tombstone.
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

/// Null when there is none.
unsafe fn native_headers(headers: &Headers) -> *mut sys::rd_kafka_headers_t {
    if headers.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: names and values are passed with their lengths and copied.
    unsafe {
        let native = sys::rd_kafka_headers_new(headers.len());
        for (name, value) in headers.iter() {
            sys::rd_kafka_header_add(
                native,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                value.as_ptr().cast(),
                value.len().cast_signed(),
            );
        }
        native
    }
}
