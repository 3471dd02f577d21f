//! The bell of a client's main queue.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use tokio::sync::Notify;

/// Rings when a client's main queue, where its delivery reports arrive, is no longer empty. To be dropped before the client:
/// its owner declares it first and says so.
#[derive(Debug)]
pub(crate) struct Bell {
    queue: *mut sys::rd_kafka_queue_t,
    /// What the callback points to.
    rung: Arc<Notify>,
}

// SAFETY: librdkafka's queues are thread safe.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

unsafe extern "C" fn strike(_client: *mut sys::rd_kafka_t, rung: *mut c_void) {
    // SAFETY: the bell owns it, and takes this callback off before it lets go.
    unsafe { &*rung.cast::<Notify>() }.notify_one();
}

// === impl Bell ===

impl Bell {
    /// It has rung once: what a client queued while it was made, as warnings about its properties, rings no more.
    pub(crate) fn of(client: &NativeClient) -> Self {
        let rung = Arc::new(Notify::new());
        // SAFETY: the client is alive. The callback runs in librdkafka's threads under the queue's lock: it wakes a task and
        // calls nothing of librdkafka.
        let queue = unsafe {
            let queue = sys::rd_kafka_queue_get_main(client.ptr());
            sys::rd_kafka_queue_cb_event_enable(queue, Some(strike), Arc::as_ptr(&rung).cast_mut().cast());
            queue
        };
        rung.notify_one();
        Self { queue, rung }
    }

    /// What it rings. It rings for the first event of an empty queue only: who hears it serves all.
    pub(crate) fn rung(&self) -> Arc<Notify> {
        Arc::clone(&self.rung)
    }

    /// Events that wait to be served.
    pub(crate) fn waiting(&self) -> usize {
        // SAFETY: the queue lives until drop.
        unsafe { sys::rd_kafka_queue_length(self.queue) }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: the queue is alive and destroyed once. Taking the callback off takes the lock it is called under, so that
        // none is under way afterwards.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}
