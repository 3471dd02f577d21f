//! What is read may change while it is read: another list of topics, or a partition from its beginning again.
//!
//! Both are done on the poll thread, in its next round: a rebalance that waits for its callback is answered first.

use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::Poller;
use super::callbacks::Callbacks;
use super::repair::Repair;
use super::shared::Shared;
use crate::error::KafkaError;
use crate::lease::Lease;
use crate::log;

// === impl Poller ===

impl Poller {
    /// From now on these topics are read, an entry that starts with `^` being a pattern. What stays is read on meanwhile; what goes is
    /// revoked, what comes is assigned. The list is the whole of it; with an empty one the group is left until the next.
    pub fn subscribe(&self, topics: Vec<String>) {
        self.0.state.lock().forget_denied(&topics);
        *self.0.wanted.lock() = Some(topics);
        self.0.wake.notify_all();
    }

    /// Ends these leases and begins new ones of the same partitions, which are taken over anew. Nothing of theirs should be under
    /// way: what the old leases have not committed is dropped.
    pub fn restart(&self, leases: Vec<Lease>) {
        self.0.ask(Repair::Restart { leases, reason: "reading begins where it is to go on" });
    }
}

// === impl Shared ===

impl Shared {
    /// Subscribes to what was asked for last. What fails is asked for again in the next round.
    pub(super) fn follow_subscription(&self, consumer: &BaseConsumer<Callbacks>) {
        let Some(topics) = self.wanted.lock().take() else { return };
        if let Err(error) = subscribe(consumer, &topics) {
            log::call_failed(&error);
            self.wanted.lock().get_or_insert(topics);
        }
    }

    /// A topic is gone or may not be read: its leases start over, so that their takeover says so, and nothing else waits for them.
    pub(super) fn restart_topic(&self, topic: &Arc<str>) {
        let begun = self.state.lock().begun();
        let leases: Vec<Lease> =
            begun.into_iter().map(|begun| begun.lease).filter(|lease| lease.partition.topic == *topic).collect();
        if !leases.is_empty() {
            self.ask(Repair::Restart { leases, reason: "the topic is gone or may not be read" });
        }
    }
}

/// librdkafka takes no empty list.
pub(super) fn subscribe<C: ConsumerContext>(consumer: &BaseConsumer<C>, topics: &[String]) -> Result<(), KafkaError> {
    if topics.is_empty() {
        consumer.unsubscribe();
        return Ok(());
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer
        .subscribe(&names)
        .map_err(|error| KafkaError::from_rdkafka(format!("subscribe to {} topics", names.len()), &error))
}
