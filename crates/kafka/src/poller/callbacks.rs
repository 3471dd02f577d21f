//! What librdkafka calls on the poll thread: rebalances, log lines, errors.
//!
//! While a rebalance callback runs, every partition of the consumer stands still, so an assignment is only noted (and
//! paused at once: nothing is fetched before the role began it), and a revoke is held for the hand-over wait at most.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as Native;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use tracing::{info, warn};

use super::events::Gate;
use super::shared::Shared;
use super::{PollerEvent, RevokeDone};
use crate::clock::instant;
use crate::error::KafkaError;
use crate::ffi;
use crate::lease::Lease;
use crate::log;

/// The poll thread is seen at least this often while it waits for a hand-over.
const BEAT: Duration = Duration::from_millis(100);

/// The consumer's context. Weak: the poller's shared state owns the consumer.
pub(super) struct Callbacks(Weak<Shared>);

// === impl Callbacks ===

impl Callbacks {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::librdkafka("poller", level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        log::client_error("poller", &error, reason);
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let Some(shared) = self.0.upgrade() else { return };
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            shared.assign(consumer, list)
        } else {
            shared.revoke(consumer, list)
        };
        if let Err(error) = result {
            shared.fail(KafkaError::from_rdkafka("rebalance", &error));
        }
    }
}

// === impl Shared ===

impl Shared {
    fn assign(&self, consumer: &BaseConsumer<Callbacks>, list: &mut TopicPartitionList) -> Result<(), Native> {
        // An explicit offset: librdkafka must not ask for committed offsets, which wait for open transactions.
        list.set_all_offsets(Offset::Offset(0))?;
        consumer.incremental_assign(list)?;
        if list.count() > 0 {
            consumer.pause(list)?;
        }
        let leases: Vec<Lease> = partitions(list).into_iter().map(|partition| self.new_lease(partition)).collect();
        // Metadata and epochs in one step: what the writer takes later is one consistent pair.
        self.ownership.add(&leases, ffi::group_metadata(consumer).map(Arc::new));
        self.state.lock().assign(&leases);
        if !leases.is_empty() {
            info!(group = self.options.group, partitions = %names(&leases), "partitions assigned");
            self.events.notify_one();
        }
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Callbacks>, list: &TopicPartitionList) -> Result<(), Native> {
        let lost = consumer.assignment_lost();
        let leases = self.state.lock().start_revoke(&partitions(list));
        if lost {
            warn!(group = self.options.group, partitions = %names(&leases), "partitions lost");
            self.ownership.remove(&leases, true);
            self.state.lock().lose_membership();
        } else {
            info!(group = self.options.group, partitions = %names(&leases), "partitions revoked");
            // A cooperative revoke comes with a new generation: the last commit of what goes needs it. All our leases are
            // still ours until the unassign below.
            self.ownership.add(&[], ffi::group_metadata(consumer).map(Arc::new));
        }
        if !leases.is_empty() {
            let (done, gate) = RevokeDone::pair();
            self.emit(PollerEvent::Revoked { leases: leases.clone(), lost, done });
            if !lost {
                self.wait_handover(&gate);
            }
        }
        // Nobody assigns again what is about to go.
        let _control = self.control.lock();
        // Before anything newer can be taken: their work must not ride on a newer generation.
        self.ownership.remove(&leases, lost);
        self.state.lock().end_revoke(&leases);
        consumer.incremental_unassign(list)
    }

    /// Waits for the role, at most the hand-over wait, seen as alive.
    fn wait_handover(&self, gate: &Gate) {
        let deadline = instant() + self.options.handover_wait;
        let mut open = gate.open.lock();
        while !*open {
            self.beat();
            let now = instant();
            if now >= deadline {
                warn!(
                    group = self.options.group,
                    "the hand-over took too long; what was in flight is repeated by the next owner"
                );
                return;
            }
            gate.changed.wait_for(&mut open, BEAT.min(deadline - now));
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|element| TopicPartition::new(element.topic(), element.partition())).collect()
}

fn names(leases: &[Lease]) -> String {
    let names: Vec<String> = leases.iter().map(|lease| lease.partition.to_string()).collect();
    names.join(" ")
}
