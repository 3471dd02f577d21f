//! The idempotent producer: one future per record, resolved by the broker's acknowledgement.
//!
//! librdkafka is polled by a task here and not by a thread of its own: the queue of delivery reports rings a bell, and
//! serving what is there never blocks. A thread, rdkafka's way, is woken some thousand times a second and wakes those who wait
//! across threads: an eighth of the gateway's CPU.

use std::ffi::CString;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError as Native;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::OutRecord;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi::{self, Bell, Topic};
use crate::log;

/// How the producer behaves.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Name of the client in the broker's logs and metrics.
    pub client_id: String,
    /// How long a record waits for company.
    pub linger: Duration,
    /// After this a record that was not acknowledged is given up, and never written late.
    pub message_timeout: Duration,
    /// Memory of records not acknowledged yet.
    pub queue_bytes: usize,
    /// Largest record of any topic written to.
    pub message_max_bytes: usize,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record's timestamp, Unix ms (the broker's on topics with `LogAppendTime`); -1 if it is not known.
    pub timestamp_ms: i64,
}

/// Resolves on the broker's acknowledgement, or when the record is given up. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Acknowledgement(oneshot::Receiver<Result<Written, KafkaError>>);

/// The idempotent producer. Cheap to clone.
#[derive(Clone)]
pub struct Producer(Arc<Handle>);

/// Owns the client and ends the task: what the end of a client waits for is waited for where the last clone is dropped.
struct Handle {
    client: Arc<Client>,
    serving: AbortHandle,
}

/// The native client. The order of the fields matters: `bell` and `topic` point into `native` and are dropped before it.
struct Client {
    bell: Bell<Notify>,
    /// What the first record went to: nearly always all of them.
    topic: OnceLock<(Arc<str>, Topic)>,
    native: BaseProducer<Reports>,
    /// The task is there.
    served: AtomicBool,
}

/// Held by the task.
struct Serving(Weak<Client>);

/// Resolves the futures.
struct Reports;

/// What travels with a record until its report.
pub(crate) type Answer = oneshot::Sender<Result<Written, KafkaError>>;

// === impl ProducerOptions ===

impl ProducerOptions {
    /// The defaults.
    #[must_use]
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            linger: Duration::from_millis(1),
            message_timeout: Duration::from_secs(3),
            queue_bytes: 64 * 1024 * 1024,
            message_max_bytes: 1_048_588,
        }
    }
}

// === impl Acknowledgement ===

impl Future for Acknowledgement {
    type Output = Result<Written, KafkaError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The sender is dropped without an answer only with the whole producer.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(KafkaError::Closed)))
    }
}

// === impl Producer ===

impl Producer {
    /// Makes the producer; the cluster is first talked to by the first record. To be called inside the tokio runtime that
    /// serves the acknowledgements: when it ends, nothing is sent any more, and who still waits does so until the drop.
    ///
    /// # Errors
    /// Properties librdkafka refuses.
    #[expect(clippy::needless_pass_by_value, reason = "options are given away, as everywhere")]
    #[expect(clippy::disallowed_methods, reason = "it ends with the producer; chassis is above this crate")]
    pub fn start(connection: &Connection, options: ProducerOptions) -> Result<Self, KafkaError> {
        let native = BaseProducer::from_config_and_context(&connection.producer(&options), Reports)
            .map_err(|error| KafkaError::Client { purpose: "producing", reason: error.to_string() })?;
        let rung = Arc::new(Notify::new());
        let bell = Bell::of(native.client().native_client(), Arc::clone(&rung));
        let client = Arc::new(Client { bell, topic: OnceLock::new(), native, served: AtomicBool::new(true) });
        let serving = Serving(Arc::downgrade(&client));
        let serving = tokio::spawn(async move { serving.serve(&rung).await }).abort_handle();
        Ok(Self(Arc::new(Handle { client, serving })))
    }

    /// Enqueues a record, never blocks.
    ///
    /// # Errors
    /// [`KafkaError::QueueFull`]: try again later. A record that can never be written: [`KafkaError::is_unwritable`].
    pub fn send(&self, record: &OutRecord) -> Result<Acknowledgement, KafkaError> {
        let (answer, acknowledgement) = oneshot::channel();
        self.0.client.send(record, Box::new(answer)).map(|()| Acknowledgement(acknowledgement))
    }

    /// Why the client failed for good, if it did: from then on it refuses everything.
    pub(crate) fn fatal_error(&self) -> Option<String> {
        let failure = self.0.client.native.client().fatal_error();
        failure.map(|(code, reason)| format!("{code}: {reason}"))
    }

    /// Waits until every record sent so far is acknowledged or given up.
    ///
    /// # Errors
    /// A timeout.
    pub async fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        // A clone: the task serves the reports for as long as somebody waits for them.
        let producer = self.clone();
        let flush = move || ffi::flush(producer.0.client.native.client().native_client(), timeout);
        let flushed = tokio::task::spawn_blocking(flush).await;
        match flushed {
            Ok(true) => Ok(()),
            Ok(false) => Err(KafkaError::call("flush", Code::OperationTimedOut)),
            Err(_) => Err(KafkaError::Closed),
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("in_flight", &self.0.client.native.in_flight_count()).finish_non_exhaustive()
    }
}

// === impl Handle ===

impl Drop for Handle {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

// === impl Client ===

impl Client {
    fn send(&self, record: &OutRecord, answer: Box<Answer>) -> Result<(), KafkaError> {
        if !self.served.load(Ordering::Relaxed) {
            return Err(KafkaError::Closed);
        }
        if self.topic.get().is_none() {
            let topic = self.topic_of(&record.topic)?;
            // Somebody else may have been first; then this one is dropped.
            self.topic.get_or_init(|| (Arc::clone(&record.topic), topic));
        }
        let client = self.native.client().native_client();
        let produced = match self.topic.get() {
            Some((name, topic)) if *name == record.topic => {
                ffi::produce_boxed(client, topic, record.partition, record, answer)
            }
            _another => ffi::produce_boxed(client, &self.topic_of(&record.topic)?, record.partition, record, answer),
        };
        produced.map_err(|code| {
            if code == Code::QueueFull {
                return KafkaError::QueueFull { topic: Arc::clone(&record.topic) };
            }
            KafkaError::call(format!("produce to {}", record.topic), code)
        })
    }

    /// Whether there was an event to serve.
    fn serve_one(&self) -> bool {
        let waits = self.bell.waiting() > 0;
        if waits {
            self.native.poll(Duration::ZERO);
        }
        waits
    }

    fn topic_of(&self, name: &Arc<str>) -> Result<Topic, KafkaError> {
        let text = CString::new(&**name).map_err(|_nul| KafkaError::NoTopic { topic: Arc::clone(name) })?;
        let topic = Topic::of(self.native.client().native_client(), &text);
        topic.map_err(|code| KafkaError::call(format!("make a handle of {name}"), code))
    }
}

// === impl Serving ===

impl Serving {
    async fn serve(self, rung: &Notify) -> ! {
        loop {
            rung.notified().await;
            // Not held across a wait: the client is the handle's.
            while self.0.upgrade().is_some_and(|client| client.serve_one()) {
                // Many at once do not keep those they wake from their turn.
                tokio::task::consume_budget().await;
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(client) = self.0.upgrade() {
            client.served.store(false, Ordering::Relaxed);
        }
    }
}

// === impl Reports ===

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::librdkafka("producer", level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        log::client_error("producer", &error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Answer>;

    fn delivery(&self, report: &DeliveryResult<'_>, answer: Box<Answer>) {
        let result = match report {
            Ok(message) => Ok(Written {
                partition: message.partition(),
                offset: message.offset(),
                timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
            }),
            Err((error, message)) => Err(KafkaError::from_rdkafka(format!("delivery to {}", message.topic()), error)),
        };
        // Whoever does not wait for the answer does not want it.
        drop(answer.send(result));
    }
}
