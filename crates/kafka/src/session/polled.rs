//! A transactional producer, and the thread that serves its delivery reports.
//!
//! ```text
//! librdkafka's main queue is no longer empty --bell--> thread: one event after the other, until it is empty --> Reports
//! ```
//!
//! Not rdkafka's `ThreadedProducer`: that one asks with a timeout of whole milliseconds until its deadline has passed, so that in the
//! last millisecond of every hundred it asks again and again: a hundredth of a CPU for each process that writes, however idle.

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::{BaseProducer, Producer};
use tokio::sync::Notify;

use super::reports::Reports;
use crate::error::KafkaError;
use crate::ffi::Bell;

/// See the module. Dropping it ends the thread, then the client.
pub(super) struct PolledProducer {
    client: Arc<ServedClient>,
    rung: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// The order of the fields matters: `bell` points into `native` and is dropped before it.
struct ServedClient {
    bell: Bell,
    native: BaseProducer<Reports>,
    is_over: AtomicBool,
}

/// Wakes the thread.
struct Unpark(Thread);

// === impl PolledProducer ===

impl PolledProducer {
    pub(super) fn start(config: &ClientConfig) -> Result<Self, KafkaError> {
        let failed = |reason: String| KafkaError::Client { purpose: "transactions", reason };
        let native = BaseProducer::from_config_and_context(config, Reports::default())
            .map_err(|error| failed(error.to_string()))?;
        let bell = Bell::of(native.client().native_client());
        let rung = bell.rung();
        let client = Arc::new(ServedClient { bell, native, is_over: AtomicBool::new(false) });
        let (serving, heard) = (Arc::clone(&client), Arc::clone(&rung));
        let thread = std::thread::Builder::new()
            .name("kafka-reports".into())
            .spawn(move || serving.serve(&heard))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { client, rung, thread: Some(thread) })
    }
}

impl Deref for PolledProducer {
    type Target = BaseProducer<Reports>;

    fn deref(&self) -> &Self::Target {
        &self.client.native
    }
}

impl Drop for PolledProducer {
    fn drop(&mut self) {
        self.client.is_over.store(true, Ordering::Release);
        self.rung.notify_one();
        // Joined, so that the client ends here and not in the thread. A panic of it was told where it happened.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

// === impl ServedClient ===

impl ServedClient {
    fn serve(&self, rung: &Notify) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        while !self.is_over.load(Ordering::Acquire) {
            while self.bell.waiting() > 0 {
                self.native.poll(Duration::ZERO);
            }
            // It rings for the first event of an empty queue, also for one that came since the last look.
            wait(rung, &waker);
        }
    }
}

// === impl Unpark ===

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks until it rings, or has rung since the last wait.
fn wait(rung: &Notify, waker: &Waker) {
    let mut notified = pin!(rung.notified());
    while notified.as_mut().poll(&mut Context::from_waker(waker)).is_pending() {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_that_rang_before_or_rings_meanwhile_ends_a_wait() {
        let rung = Arc::new(Notify::new());
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        rung.notify_one();
        wait(&rung, &waker);
        let ringing = Arc::clone(&rung);
        let ringer = std::thread::spawn(move || ringing.notify_one());
        wait(&rung, &waker);
        ringer.join().unwrap();
    }

    #[test]
    fn a_producer_that_reached_nobody_ends_with_its_thread() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1").set("transactional.id", "nobody");
        let producer = PolledProducer::start(&config).unwrap();
        let client = Arc::downgrade(&producer.client);
        drop(producer);
        assert!(client.upgrade().is_none(), "nothing of it goes on");
    }
}
