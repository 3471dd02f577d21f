//! Reading partitions without a group, on a thread of its own.
//!
//! An [`TailEvent::Eof`] carries the position behind transaction markers: compare it with an end that was listed before.
//! Never wait for a record with a certain offset: it may be a marker.

mod below;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as Native;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::{Record, TopicPartition};
use tokio::sync::mpsc;

use crate::clock::instant;
use crate::connection::Connection;
use crate::error::{ErrorCode, KafkaError};
use crate::ffi;
use crate::log::{self, Named};
use crate::offsets;

pub use below::Below;

/// Events of one hand-over between the threads.
const BATCH: usize = 256;
/// Their bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// Hand-overs that may wait for the reader.
const QUEUE: usize = 4;
/// How long one poll may block; also how late the end is noticed.
const POLL: Duration = Duration::from_millis(100);
/// Until it is asked again where a partition begins that has no leader, while others are read.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long a question at the start may take; it is repeated.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// At the first available record.
    Beginning,
    /// After the last one.
    End,
    /// At these offsets; partitions that are not named begin at their start.
    Offsets(HashMap<i32, i64>),
}

/// What to read and how.
#[derive(Clone, Debug)]
pub struct TailOptions {
    /// Topic.
    pub topic: String,
    /// Partitions; `None` is all.
    pub partitions: Option<Vec<i32>>,
    /// Where to begin.
    pub from: From,
    /// Whether aborted and open transactions are invisible.
    pub committed: bool,
    /// Whether [`TailEvent::Eof`] is emitted.
    pub eof: bool,
    /// How long the broker holds an empty fetch: 1-20 for catch-up, 500 otherwise.
    pub fetch_wait_ms: u32,
}

/// What was read.
#[derive(Clone, Debug)]
pub enum TailEvent {
    /// A record.
    Record {
        /// Its partition.
        partition: i32,
        /// The record.
        record: Record,
    },
    /// The end was reached, as of the fetch that said so.
    Eof {
        /// Which partition.
        partition: i32,
        /// Next offset, transaction markers passed.
        position: i64,
    },
}

/// Reads partitions; dropping it stops the thread.
#[derive(Debug)]
pub struct Tail {
    batches: mpsc::Receiver<Result<Vec<TailEvent>, KafkaError>>,
    ready: VecDeque<TailEvent>,
    stop: Arc<AtomicBool>,
}

/// The thread's state.
struct Reader {
    consumer: BaseConsumer<Named>,
    options: TailOptions,
    /// Where each partition began that is assigned.
    starts: BTreeMap<i32, i64>,
    /// Partitions that are not; `None`: which there are is not known yet.
    left: Option<Vec<i32>>,
    batches: mpsc::Sender<Result<Vec<TailEvent>, KafkaError>>,
    stop: Arc<AtomicBool>,
}

// === impl Tail ===

impl Tail {
    /// Starts the thread, which waits for the cluster if needed.
    ///
    /// # Errors
    /// Properties librdkafka refuses.
    pub fn start(connection: &Connection, options: TailOptions) -> Result<Self, KafkaError> {
        let failed = |reason| KafkaError::Client { purpose: "reading a topic", reason };
        let config = connection.tail(options.committed, options.eof, options.fetch_wait_ms);
        let stop = Arc::new(AtomicBool::new(false));
        let context = Named::until("tail", Arc::clone(&stop));
        let consumer =
            BaseConsumer::from_config_and_context(&config, context).map_err(|error| failed(error.to_string()))?;
        let (batches, receiver) = mpsc::channel(QUEUE);
        let reader =
            Reader { consumer, options, starts: BTreeMap::new(), left: None, batches, stop: Arc::clone(&stop) };
        std::thread::Builder::new()
            .name("kafka-tail".into())
            .spawn(move || reader.run())
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { batches: receiver, ready: VecDeque::new(), stop })
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    /// What waiting cannot cure, once: no such topic, a position that does not exist, missing authorization. Then
    /// [`KafkaError::Closed`].
    pub async fn next(&mut self) -> Result<TailEvent, KafkaError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            self.ready = self.batches.recv().await.ok_or(KafkaError::Closed)??.into();
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

// === impl Reader ===

impl Reader {
    fn run(mut self) {
        if let Err(error) = self.read() {
            // The reader may be gone already; then nobody wants to know.
            drop(self.batches.blocking_send(Err(error)));
        }
    }

    fn read(&mut self) -> Result<(), KafkaError> {
        let mut ask_at = instant();
        while !self.stop.load(Ordering::Acquire) {
            if self.left.as_ref().is_none_or(|left| !left.is_empty()) && instant() >= ask_at {
                self.assign()?;
                ask_at = instant() + if self.starts.is_empty() { POLL } else { ASK_AGAIN };
            }
            let batch = self.poll_batch()?;
            if !batch.is_empty() && self.batches.blocking_send(Ok(batch)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Assigns each partition of which it is told where it begins. One that has no leader keeps no other from being read.
    fn assign(&mut self) -> Result<(), KafkaError> {
        let resolved = match self.resolve() {
            Err(error) if error.is_retriable() => {
                self.call_failed(&error);
                return Ok(());
            }
            resolved => resolved?,
        };
        let failed = |error| KafkaError::from_rdkafka(format!("assign {}", self.options.topic), &error);
        let (mut list, mut starts, mut left) = (TopicPartitionList::new(), BTreeMap::new(), Vec::new());
        for (partition, start) in resolved {
            match start {
                Ok(start) => {
                    let mut element = list.add_partition(&self.options.topic, partition);
                    element.set_offset(Offset::Offset(start)).map_err(failed)?;
                    starts.insert(partition, start);
                }
                Err(error) if error.is_retriable() => {
                    self.call_failed(&error);
                    left.push(partition);
                }
                Err(error) => return Err(error),
            }
        }
        if !starts.is_empty() {
            self.consumer.incremental_assign(&list).map_err(failed)?;
        }
        self.starts.extend(starts);
        self.left = Some(left);
        Ok(())
    }

    /// Where each partition begins that is not assigned yet, or why that is not told.
    fn resolve(&self) -> Result<BTreeMap<i32, Result<i64, KafkaError>>, KafkaError> {
        let topic = &self.options.topic;
        let partitions = match &self.left {
            Some(left) => left.clone(),
            None => {
                let count = offsets::partition_count(&self.consumer, topic, TIMEOUT)?;
                let count = count.ok_or_else(|| offsets::no_topic(topic))?;
                self.options.partitions.clone().unwrap_or_else(|| (0..count).collect())
            }
        };
        let named = |partition: &i32| match &self.options.from {
            From::Offsets(named) => named.get(partition).copied(),
            From::Beginning | From::End => None,
        };
        let open: Vec<TopicPartition> = partitions
            .iter()
            .filter(|partition| named(partition).is_none())
            .map(|partition| TopicPartition::new(topic.as_str(), *partition))
            .collect();
        let mut edges = offsets::edges(&self.consumer, &open, self.options.from == From::End)?;
        let start = |partition: i32| {
            let place = TopicPartition::new(topic.as_str(), partition);
            let start = named(&partition).map(Ok).or_else(|| edges.remove(&place));
            (partition, start.unwrap_or(Err(KafkaError::Closed)))
        };
        Ok(partitions.into_iter().map(start).collect())
    }

    fn poll_batch(&self) -> Result<Vec<TailEvent>, KafkaError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut timeout = POLL;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            match self.consumer.poll(timeout) {
                Some(Ok(message)) => {
                    let record = ffi::read_record(&message);
                    bytes += record.size();
                    batch.push(TailEvent::Record { partition: message.partition(), record });
                }
                Some(Err(Native::PartitionEOF(partition))) => {
                    let position = self.position(partition)?;
                    batch.push(TailEvent::Eof { partition, position });
                }
                Some(Err(error)) => self.survive(&error)?,
                None => break,
            }
            timeout = Duration::ZERO;
        }
        Ok(batch)
    }

    /// The next offset. Nothing was read yet: where reading began.
    fn position(&self, partition: i32) -> Result<i64, KafkaError> {
        let failed =
            |error| KafkaError::from_rdkafka(format!("position of {}/{partition}", self.options.topic), &error);
        let positions = self.consumer.position().map_err(failed)?;
        let found = positions.find_partition(&self.options.topic, partition).map(|element| element.offset());
        match found {
            Some(Offset::Offset(offset)) => Ok(offset),
            _ => Ok(self.starts.get(&partition).copied().unwrap_or(0)),
        }
    }

    /// What passes by itself is survived, the rest is the reader's to know.
    fn survive(&self, error: &Native) -> Result<(), KafkaError> {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let ours = KafkaError::from_rdkafka(format!("reading {}", self.options.topic), error);
        let over = matches!(code, Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::UnknownTopicOrPartition);
        if over || ErrorCode(code).is_denied() || matches!(error, Native::MessageConsumptionFatal(_)) {
            return Err(ours);
        }
        self.call_failed(&ours);
        Ok(())
    }

    /// Says so, unless nobody reads any more.
    fn call_failed(&self, error: &KafkaError) {
        if !self.stop.load(Ordering::Acquire) {
            log::call_failed(error);
        }
    }
}
