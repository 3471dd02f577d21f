//! The bell of a client's main queue, and what it rings: a task, or a thread.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use tokio::sync::Notify;

/// Who hears a bell. Called in librdkafka's threads under the queue's lock: wakes somebody and calls nothing of librdkafka.
pub(crate) trait Hears: Send + Sync + 'static {
    /// It rings.
    fn rings(&self);
}

/// Rings when a client's main queue, where its delivery reports arrive, is no longer empty. To be dropped before the client:
/// its owner declares it first and says so.
#[derive(Debug)]
pub(crate) struct Bell<H: Hears> {
    queue: *mut sys::rd_kafka_queue_t,
    /// What the callback points to is kept for it.
    _rung: Arc<H>,
}

/// Where a thread waits for a bell.
#[derive(Debug, Default)]
pub(crate) struct Doorstep {
    heard: Mutex<BellHeard>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BellHeard {
    has_rung: bool,
    is_over: bool,
}

// SAFETY: librdkafka's queues are thread safe.
unsafe impl<H: Hears> Send for Bell<H> {}
// SAFETY: as above.
unsafe impl<H: Hears> Sync for Bell<H> {}

unsafe extern "C" fn strike<H: Hears>(_client: *mut sys::rd_kafka_t, rung: *mut c_void) {
    // SAFETY: the bell owns it, and takes this callback off before it lets go.
    unsafe { &*rung.cast::<H>() }.rings();
}

impl Hears for Notify {
    fn rings(&self) {
        self.notify_one();
    }
}

impl Hears for Doorstep {
    fn rings(&self) {
        self.heard.lock().has_rung = true;
        self.changed.notify_one();
    }
}

// === impl Doorstep ===

impl Doorstep {
    /// Blocks until the bell has rung since the last call. False: nobody waits here any more.
    pub(crate) fn wait(&self) -> bool {
        let mut heard = self.heard.lock();
        while !heard.has_rung && !heard.is_over {
            self.changed.wait(&mut heard);
        }
        heard.has_rung = false;
        !heard.is_over
    }

    /// Whoever waits goes, and nobody waits again.
    pub(crate) fn close(&self) {
        self.heard.lock().is_over = true;
        self.changed.notify_all();
    }
}

// === impl Bell ===

impl<H: Hears> Bell<H> {
    /// It has rung once: what a client queued while it was made, as warnings about its properties, rings no more. It rings for the
    /// first event of an empty queue only: who hears it serves all.
    pub(crate) fn of(client: &NativeClient, rung: Arc<H>) -> Self {
        // SAFETY: the client is alive. The callback runs in librdkafka's threads under the queue's lock: it wakes somebody and
        // calls nothing of librdkafka.
        let queue = unsafe {
            let queue = sys::rd_kafka_queue_get_main(client.ptr());
            sys::rd_kafka_queue_cb_event_enable(queue, Some(strike::<H>), Arc::as_ptr(&rung).cast_mut().cast());
            queue
        };
        rung.rings();
        Self { queue, _rung: rung }
    }

    /// Events that wait to be served.
    pub(crate) fn waiting(&self) -> usize {
        // SAFETY: the queue lives until drop.
        unsafe { sys::rd_kafka_queue_length(self.queue) }
    }
}

impl<H: Hears> Drop for Bell<H> {
    fn drop(&mut self) {
        // SAFETY: the queue is alive and destroyed once. Taking the callback off takes the lock it is called under, so that
        // none is under way afterwards.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}
