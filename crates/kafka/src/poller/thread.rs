//! The poll thread: polls, copies each record once, publishes in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as Native;
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::{Record, TopicPartition};

use super::callbacks::Callbacks;
use super::repair::Repair;
use super::shared::Shared;
use super::state::{Intake, Stamp};
use super::watch::Refused;
use crate::clock::instant;
use crate::error::{ErrorCode, KafkaError};
use crate::ffi::{self, MessageQueue, Polled};
use crate::log;

/// How long one poll may block; also how late a close is noticed.
const POLL: Duration = Duration::from_millis(100);
/// When nobody is hungry, one message is polled this often: rebalances come through the same queue.
const TRICKLE: Duration = Duration::from_millis(50);
/// While a lease is full, the logs of those at their end are looked at this often, for each of so many of them a little longer.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_EACH: Duration = Duration::from_micros(20);
/// How librdkafka begins what it says about a topic it cannot subscribe to; the topic's name follows, then a colon.
const NOT_AVAILABLE: &str = "Subscribed topic not available: ";
/// What librdkafka says when leader epochs prove that a log was cut.
const LOG_TRUNCATION: &str = "truncation";

/// The poll thread.
struct Reader<'a> {
    shared: &'a Shared,
    consumer: &'a BaseConsumer<Callbacks>,
    queue: MessageQueue,
    batch: Batch,
    /// When the logs of leases at their end were last looked at.
    looked: Instant,
}

/// Records of one partition that were read and not published yet.
struct Batch {
    partition: TopicPartition,
    /// Under which ownership and position the first one was read; `None`: the partition is not ours.
    stamp: Option<Stamp>,
    records: Vec<Record>,
    /// Of the record read last.
    leader_epoch: Option<i32>,
}

/// Runs until the poller is closed, then leaves the group.
pub(super) fn run(shared: &Arc<Shared>, consumer: Arc<BaseConsumer<Callbacks>>) {
    if let Some(queue) = MessageQueue::of(consumer.client().native_client()) {
        let partition = TopicPartition::new("", -1);
        let batch = Batch { partition, stamp: None, records: Vec::new(), leader_epoch: None };
        Reader { shared, consumer: &consumer, queue, batch, looked: instant() }.run();
    } else {
        let reason = "the consumer has no queue".to_owned();
        shared.fail(KafkaError::Client { purpose: "consuming", reason });
    }
    // Dropping the last reference closes it: the group is left after a last revoke callback. A begin() on another thread
    // may hold one for a moment longer; then that thread closes it.
    shared.consumer.lock().take();
    drop(consumer);
    shared.state.lock().ended = true;
    shared.events.notify_one();
}

/// After which time the logs of so many leases at their end are looked at again.
fn look_after(leases: usize) -> Duration {
    let each = LOOK_EACH.saturating_mul(u32::try_from(leases).unwrap_or(u32::MAX));
    each.clamp(LOOK, TRICKLE)
}

// === impl Reader ===

impl Reader<'_> {
    fn run(mut self) {
        while !self.shared.closing.load(Ordering::Acquire) {
            self.shared.beat();
            self.shared.repair(self.consumer);
            self.shared.follow_subscription(self.consumer);
            self.fetch_again();
            let sated = self.wait_hungry();
            let timeout = if sated { Duration::ZERO } else { POLL };
            let intake = self.shared.state.lock().next_round(sated);
            self.poll_some(timeout, intake);
            self.publish();
        }
    }

    /// Waits a moment while no lease could hand out a record. True: still none.
    fn wait_hungry(&mut self) -> bool {
        let at_end = {
            let mut state = self.shared.state.lock();
            let at_end = if state.is_any_full() { state.at_end() } else { Vec::new() };
            let patience = if at_end.is_empty() { TRICKLE } else { look_after(at_end.len()) };
            let is_sated = state.is_sated();
            if is_sated {
                state.poll_waits = true;
                self.shared.wake.wait_for(&mut state, patience);
                state.poll_waits = false;
            }
            if at_end.is_empty() || instant().saturating_duration_since(self.looked) < patience {
                return is_sated && state.is_sated();
            }
            at_end
        };
        self.look_at_ends(&at_end)
    }

    /// Looks where the logs of leases at their end stand now. True: no lease could hand out a record.
    fn look_at_ends(&mut self, at_end: &[TopicPartition]) -> bool {
        self.looked = instant();
        let client = self.consumer.client().native_client();
        let marks = at_end.iter().filter_map(|partition| {
            let (_, log_end) = ffi::cached_watermarks(client, &partition.topic, partition.partition)?;
            Some((partition, log_end))
        });
        let marks: Vec<_> = marks.collect();
        let mut state = self.shared.state.lock();
        for (partition, log_end) in marks {
            state.look_at_end(partition, log_end);
        }
        state.is_sated()
    }

    /// Fetches what stood still because the budget was spent.
    fn fetch_again(&self) {
        let recovered = self.shared.state.lock().recovered();
        for lease in recovered {
            let control = self.shared.control.lock();
            self.shared.reconcile(self.consumer, &lease, control);
        }
    }

    /// Polls as much as may be taken; only the first poll blocks.
    fn poll_some(&mut self, mut timeout: Duration, intake: Intake) {
        let mut bytes = 0;
        for _ in 0..intake.records {
            let Some(event) = self.queue.poll(timeout) else { return };
            timeout = Duration::ZERO;
            match event.read() {
                Polled::Message(message) => {
                    if !message.is_of(&self.batch.partition) || self.batch.records.is_empty() {
                        self.publish();
                        self.batch.partition = message.partition();
                        self.batch.stamp = self.shared.state.lock().stamp(&self.batch.partition);
                        self.batch.leader_epoch = None;
                    }
                    self.note_leader_epoch(message.offset(), message.leader_epoch());
                    let record = message.record();
                    bytes += record.size();
                    self.batch.records.push(record);
                }
                Polled::End(partition, offset) => {
                    self.publish();
                    self.reach_end(&partition, offset);
                }
                Polled::Failed { code, is_fatal, partition, reason } => {
                    self.shared.handle(code, is_fatal, partition, reason);
                }
                Polled::Rebalance(kind, mut list) => self.consumer.context().rebalance(self.consumer, kind, &mut list),
                Polled::Log(level, facility, line) => log::librdkafka("poller", level, &facility, &line),
                Polled::Other => {}
            }
            if bytes >= intake.bytes {
                return;
            }
        }
    }

    /// Remembers from which offset on records of a new leader were read.
    fn note_leader_epoch(&mut self, offset: i64, leader_epoch: Option<i32>) {
        if let Some(epoch) = leader_epoch.filter(|_| leader_epoch != self.batch.leader_epoch) {
            self.shared.ownership.note_leader_epoch(&self.batch.partition, offset, epoch);
        }
        self.batch.leader_epoch = leader_epoch;
    }

    fn reach_end(&self, partition: &TopicPartition, offset: i64) {
        let again = {
            let mut state = self.shared.state.lock();
            let told = state.reach_end(partition, offset);
            state.lease(partition).filter(|_| !told)
        };
        // A seek to where reading is due makes librdkafka tell the end again.
        self.shared.repairs.lock().extend(again.map(Repair::Reposition));
    }

    /// Hands the batch to its lease.
    fn publish(&mut self) {
        if self.batch.records.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.batch.records);
        let Some(stamp) = self.batch.stamp else { return };
        let (published, lease, changes) = {
            let mut state = self.shared.state.lock();
            let published = state.accept(&self.batch.partition, stamp, records);
            let Some(lease) = state.lease(&self.batch.partition) else { return };
            let changes = state.wants_change(&lease);
            (published, lease, changes)
        };
        if published == Some(true) {
            self.shared.events.notify_one();
        }
        if changes {
            let control = self.shared.control.lock();
            self.shared.reconcile(self.consumer, &lease, control);
        }
    }
}

// === impl Shared ===

impl Shared {
    /// An error of the consumer. What passes by itself is logged and survived.
    fn handle(&self, code: Code, is_fatal: bool, partition: Option<(TopicPartition, i64)>, reason: String) {
        let call = match &partition {
            Some((partition, _)) => format!("reading {partition}"),
            None => format!("consuming as {}", self.options.group),
        };
        let error = KafkaError::Call { call, code: ErrorCode(code), reason: reason.clone() };
        if is_fatal {
            self.fail(error);
        } else if code == Code::TopicAuthorizationFailed {
            let topic = partition.map(|(partition, _)| partition.topic).or_else(|| subscribed(&reason));
            self.deny(topic, &error);
        } else if ErrorCode(code).is_denied() {
            self.fail(error);
        } else if is_suspicious(code) {
            log::call_failed(&error);
            let mut suspicion = self.suspicion.lock();
            match partition.filter(|_| is_about_position(code)) {
                Some((partition, offset)) => {
                    let is_cut = reason.to_ascii_lowercase().contains(LOG_TRUNCATION);
                    suspicion.positions.insert(partition, Refused { offset, is_cut, is_confirmed: false });
                }
                None => suspicion.topics = true,
            }
            self.watch.notify_all();
        } else {
            log::client_error("poller", &Native::Global(code), &reason);
        }
    }
}

/// The topic of which librdkafka says that it cannot be subscribed to.
fn subscribed(reason: &str) -> Option<Arc<str>> {
    let (topic, _) = reason.strip_prefix(NOT_AVAILABLE)?.split_once(':')?;
    Some(Arc::from(topic))
}

/// A position that does not exist, or a topic that does not.
fn is_suspicious(code: Code) -> bool {
    is_about_position(code)
        || matches!(
            code,
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId
        )
}

fn is_about_position(code: Code) -> bool {
    matches!(code, Code::OffsetOutOfRange | Code::AutoOffsetReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_cannot_be_subscribed_to_is_named() {
        let reason = "Subscribed topic not available: orders.eu: Broker: Topic authorization failed";
        assert_eq!(subscribed(reason).as_deref(), Some("orders.eu"));
        assert_eq!(subscribed("Broker: Topic authorization failed"), None);
    }
}
