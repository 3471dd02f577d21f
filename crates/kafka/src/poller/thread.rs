//! The poll thread: polls, copies each record once, publishes in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError as Native;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::{Record, TopicPartition};

use super::{Callbacks, Shared};
use crate::error::{ErrorCode, KafkaError};
use crate::ffi;
use crate::log;

/// How long one poll may block; also how late a close is noticed.
const POLL: Duration = Duration::from_millis(100);
/// When nobody is hungry, one message is polled this often: rebalances come through the same queue.
const TRICKLE: Duration = Duration::from_millis(50);
/// Messages taken before they are published.
const BATCH_RECORDS: usize = 512;
/// Their bytes.
const BATCH_BYTES: usize = 1024 * 1024;

/// Records of one partition that were read and not published yet.
struct Batch {
    partition: TopicPartition,
    records: Vec<Record>,
    /// Of the record read last.
    leader_epoch: Option<i32>,
}

/// Runs until the poller is closed, then leaves the group.
pub(super) fn run(shared: &Arc<Shared>, consumer: Arc<BaseConsumer<Callbacks>>) {
    let mut batch = Batch { partition: TopicPartition::new("", -1), records: Vec::new(), leader_epoch: None };
    while !shared.closing.load(Ordering::Acquire) {
        shared.beat();
        let sated = shared.wait_hungry();
        let timeout = if sated { Duration::ZERO } else { POLL };
        let most = if sated { 1 } else { BATCH_RECORDS };
        shared.poll_some(&consumer, &mut batch, timeout, most);
        shared.publish(&consumer, &mut batch);
    }
    // Dropping the last reference closes it: the group is left after a last revoke callback. A begin() on another thread
    // may hold one for a moment longer; then that thread closes it.
    shared.consumer.lock().take();
    drop(consumer);
    shared.state.lock().ended = true;
    shared.events.notify_one();
}

// === impl Shared ===

impl Shared {
    /// Waits a moment while no lease could hand out a record. True: still none.
    fn wait_hungry(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_sated() {
            return false;
        }
        state.poll_waits = true;
        self.wake.wait_for(&mut state, TRICKLE);
        state.poll_waits = false;
        state.is_sated()
    }

    /// Polls up to `most` messages; only the first poll blocks.
    fn poll_some(&self, consumer: &BaseConsumer<Callbacks>, batch: &mut Batch, mut timeout: Duration, most: usize) {
        let mut bytes = 0;
        for _ in 0..most {
            match consumer.poll(timeout) {
                Some(Ok(message)) => {
                    if !batch.is_of(&message) {
                        self.publish(consumer, batch);
                        batch.partition = TopicPartition::new(message.topic(), message.partition());
                        batch.leader_epoch = None;
                    }
                    let leader_epoch = ffi::leader_epoch(&message);
                    if leader_epoch != batch.leader_epoch
                        && let Some(leader_epoch) = leader_epoch
                    {
                        self.ownership.note_leader_epoch(&batch.partition, message.offset(), leader_epoch);
                    }
                    batch.leader_epoch = leader_epoch;
                    let record = ffi::read_record(&message);
                    bytes += record.size();
                    batch.records.push(record);
                }
                Some(Err(error)) => self.handle(&error),
                None => return,
            }
            if bytes >= BATCH_BYTES {
                return;
            }
            timeout = Duration::ZERO;
        }
    }

    /// Hands the batch to its lease.
    fn publish(&self, consumer: &BaseConsumer<Callbacks>, batch: &mut Batch) {
        if batch.records.is_empty() {
            return;
        }
        let records = std::mem::take(&mut batch.records);
        let (published, change) = {
            let mut state = self.state.lock();
            let published = state.accept(&batch.partition, records);
            let lease = state.lease(&batch.partition);
            (published, lease.filter(|lease| state.wants_change(lease)))
        };
        if published {
            self.events.notify_one();
        }
        if let Some(lease) = change {
            let control = self.control.lock();
            self.reconcile(consumer, &lease, control);
        }
    }

    /// An error of the consumer. What passes by itself is logged (by the error callback) and survived.
    fn handle(&self, error: &Native) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let ours = KafkaError::from_rdkafka(format!("consuming as {}", self.options.group), error);
        if matches!(error, Native::MessageConsumptionFatal(_)) || ErrorCode(code).is_denied() {
            self.fail(ours);
        } else if is_suspicious(code) {
            // Which partition it is does not come with the error: the watch thread finds out.
            log::call_failed(&ours);
            *self.suspicious.lock() = true;
            self.watch.notify_all();
        } else if !matches!(code, Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve) {
            log::call_failed(&ours);
        }
    }
}

/// A position that does not exist, or a topic that does not.
fn is_suspicious(code: Code) -> bool {
    matches!(
        code,
        Code::OffsetOutOfRange
            | Code::AutoOffsetReset
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicId
    )
}

// === impl Batch ===

impl Batch {
    fn is_of(&self, message: &BorrowedMessage<'_>) -> bool {
        self.partition.partition == message.partition() && *self.partition.topic == *message.topic()
    }
}
