//! A client that only asks, and asks seldom, goes by what it was last told: who leads, who is the controller. librdkafka forgets a
//! leader when a broker says that it is none, not when that broker says nothing, and looks again after 15 minutes. A broker that
//! is gone would be asked all that time, while the others know better.

use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;

use super::{OK, millis};

/// A broker that is up answers in milliseconds; with none there is nothing to learn.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// After a question that failed: asks whichever broker is up for the leaders of all topics the client knows and for the
/// controller, so that the next question goes to those. That it cannot be answered either needs no words of its own.
pub(crate) fn refresh(client: &NativeClient) {
    let mut metadata = ptr::null();
    // SAFETY: the client is alive; no topic is given; the answer is written before the call returns and destroyed here.
    unsafe {
        if sys::rd_kafka_metadata(client.ptr(), 0, ptr::null_mut(), &raw mut metadata, millis(ANSWER_WITHIN)) == OK {
            sys::rd_kafka_metadata_destroy(metadata);
        }
    }
}
