//! The producer of a session, and the thread that serves its events: delivery reports, statistics, lines of its log.
//!
//! ```text
//! librdkafka: its main queue is no longer empty --bell--> the thread: serves what is there --> waits for the bell
//! ```
//!
//! rdkafka's own threaded producer polls with 100 ms, of which it waits 99 and spins through the rest, because what is left of a
//! millisecond is no wait of librdkafka's: a hundredth of a CPU for each writer, for nothing.

use std::ops::Deref;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::producer::{BaseProducer, Producer};

use super::reports::Reports;
use crate::error::KafkaError;
use crate::ffi::{Bell, Doorstep};

/// See the module.
pub(super) struct ServedProducer {
    native: Arc<BaseProducer<Reports>>,
    doorstep: Arc<Doorstep>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread holds. The order of the fields matters: the bell points into the client and is dropped before it.
struct ReportServer {
    bell: Bell<Doorstep>,
    native: Arc<BaseProducer<Reports>>,
    doorstep: Arc<Doorstep>,
}

// === impl ServedProducer ===

impl ServedProducer {
    /// Makes the client and starts its thread.
    ///
    /// # Errors
    /// Properties librdkafka refuses, or no thread is to be had.
    pub(super) fn start(config: &ClientConfig) -> Result<Self, KafkaError> {
        let failed = |reason: String| KafkaError::Client { purpose: "transactions", reason };
        let native = BaseProducer::from_config_and_context(config, Reports::default());
        let native = Arc::new(native.map_err(|error| failed(error.to_string()))?);
        let doorstep = Arc::new(Doorstep::default());
        let bell = Bell::of(native.client().native_client(), Arc::clone(&doorstep));
        let server = ReportServer { bell, native: Arc::clone(&native), doorstep: Arc::clone(&doorstep) };
        let thread = std::thread::Builder::new()
            .name("kafka-reports".into())
            .spawn(move || server.run())
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { native, doorstep, thread: Some(thread) })
    }
}

impl Deref for ServedProducer {
    type Target = BaseProducer<Reports>;

    fn deref(&self) -> &Self::Target {
        &self.native
    }
}

impl Drop for ServedProducer {
    fn drop(&mut self) {
        self.doorstep.close();
        if let Some(Err(_panicked)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that serves a writer's reports has panicked");
        }
    }
}

// === impl ReportServer ===

impl ReportServer {
    fn run(self) {
        while self.doorstep.wait() {
            while self.bell.waiting() > 0 {
                // One event, and no wait.
                self.native.poll(Duration::ZERO);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemas::record::{Headers, OutRecord};

    use super::*;
    use crate::connection::Connection;
    use crate::ffi::{self, Topic};
    use crate::session::opaque;

    #[test]
    fn reports_are_served_though_nobody_polls_and_the_thread_ends_with_the_producer() {
        let connection = Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap();
        let mut options = crate::ProducerOptions::new("served");
        options.message_timeout = Duration::from_millis(20);
        let producer = ServedProducer::start(&connection.producer(&options)).unwrap();
        let client = producer.client().native_client();
        let name = "nowhere";
        let topic = Topic::of(client, &std::ffi::CString::new(name).unwrap()).unwrap();
        let record = OutRecord {
            topic: Arc::from(name),
            partition: Some(0),
            key: None,
            value: Some(bytes::Bytes::from_static(b"x")),
            headers: Headers::default(),
        };
        for attempt in 1..=3 {
            producer.client().context().begin(attempt);
            ffi::produce(client, &topic, Some(0), &record, opaque(attempt, 7)).unwrap();
            // It waits for the report to be served, and serves nothing itself.
            assert!(ffi::flush(client, Duration::from_secs(60)), "nobody served the report of {attempt}");
            let failed = producer.client().context().take_failed();
            assert_eq!(failed.iter().map(|failed| failed.index).collect::<Vec<_>>(), [7]);
        }
        drop(topic);
        let native = Arc::downgrade(&producer.native);
        drop(producer);
        assert!(native.upgrade().is_none(), "the thread holds it no longer");
    }
}
