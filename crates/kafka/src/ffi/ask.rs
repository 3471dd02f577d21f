//! One question of librdkafka's admin API, and the answer to it.

use std::ffi::c_char;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{OK, millis, refresh};

/// How much longer than the question its answer is waited for: librdkafka says by itself that the time is over.
const MARGIN: Duration = Duration::from_secs(1);

/// Sends a question with options and a queue of its own, and reads the answer while that is alive. `with_operations`: what we may do
/// with what is asked about is told too.
///
/// # Safety
/// `send` asks what `operation` says, of this client, with the options and the queue that it is given; `read` takes the event for the
/// answer to that, which is without an error of its own.
pub(super) unsafe fn ask<T>(
    client: &NativeClient,
    operation: sys::rd_kafka_admin_op_t,
    (timeout, with_operations): (Duration, bool),
    send: impl FnOnce(*const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<T, Code>,
) -> Result<T, Code> {
    // SAFETY: the client is alive; everything made here is destroyed here, the event after it was read.
    unsafe {
        let options = sys::rd_kafka_AdminOptions_new(client.ptr(), operation);
        let queue = sys::rd_kafka_queue_new(client.ptr());
        let mut reason = [0 as c_char; 256];
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), reason.as_mut_ptr(), reason.len());
        let refused = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, i32::from(with_operations));
        let result = if refused.is_null() {
            send(options, queue);
            let event = sys::rd_kafka_queue_poll(queue, millis(timeout + MARGIN));
            if event.is_null() {
                Err(Code::OperationTimedOut)
            } else {
                let error = sys::rd_kafka_event_error(event);
                let result = if error == OK { read(event) } else { Err(Code::from(error)) };
                sys::rd_kafka_event_destroy(event);
                result
            }
        } else {
            let code = Code::from(sys::rd_kafka_error_code(refused));
            sys::rd_kafka_error_destroy(refused);
            Err(code)
        };
        if result.is_err() {
            // Whoever it asked may be gone.
            refresh(client);
        }
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        result
    }
}
