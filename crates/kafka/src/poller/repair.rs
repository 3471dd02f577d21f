//! Repairs of fetchers, all on the poll thread.
//!
//! Rebalance callbacks run on that thread too, so an ownership never changes between reading a record and publishing it, and
//! no unassign of ours can be taken for the answer to a revoke that still waits in the queue.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use tracing::warn;

use super::callbacks::Callbacks;
use super::shared::{SEEK_TIMEOUT, Shared};
use super::{PollerEvent, RevokeDone};
use crate::error::KafkaError;
use crate::ffi;
use crate::lease::Lease;
use crate::log;

/// What is to be done to a fetcher.
#[derive(Debug)]
pub(super) enum Repair {
    /// It is not where it should be: a seek, or a new fetcher where the old one has given up.
    Reposition(Lease),
    /// It has given up before the lease began: a new one, paused at this offset. `unassigned`: the first half is done.
    Revive { lease: Lease, offset: i64, unassigned: bool },
    /// The log begins at `to` now, and reading was due at `from`, below it.
    Skip { lease: Lease, from: i64, to: i64, lost: i64 },
    /// The topic of these leases was deleted and created again, or whatever the reason is: they begin anew.
    Restart { leases: Vec<Lease>, reason: &'static str },
}

/// Why leases begin anew whose topic has another id than it had.
pub(super) const CREATED_AGAIN: &str = "the topic was deleted and created again";

// === impl Shared ===

impl Shared {
    /// Does what was asked for. What cannot be done yet is tried again in the next round.
    pub(super) fn repair(&self, consumer: &BaseConsumer<Callbacks>) {
        let repairs = std::mem::take(&mut *self.repairs.lock());
        for repair in repairs {
            let again = match repair {
                Repair::Reposition(lease) => self.reposition(consumer, lease),
                Repair::Revive { lease, offset, unassigned } => self.revive(consumer, lease, offset, unassigned),
                Repair::Skip { lease, from, to, lost } => {
                    let skipped = self.state.lock().skip(&lease, (from, to), lost);
                    if skipped {
                        warn!(partition = %lease.partition, from, to, lost, "the log begins above the position: reading on at its start");
                        self.events.notify_one();
                    }
                    // What has moved on meanwhile is only put where it should be.
                    self.reposition(consumer, lease)
                }
                Repair::Restart { leases, reason } => {
                    self.restart(consumer, &leases, reason);
                    None
                }
            };
            self.repairs.lock().extend(again);
        }
    }

    /// Puts a fetcher where it should be. Records that are read twice are dropped by their offset.
    fn reposition(&self, consumer: &BaseConsumer<Callbacks>, lease: Lease) -> Option<Repair> {
        let refused = {
            let _control = self.control.lock();
            let offset = self.state.lock().reposition(&lease)?;
            let TopicPartition { topic, partition } = &lease.partition;
            let sought = consumer.seek(topic, *partition, Offset::Offset(offset), SEEK_TIMEOUT);
            let Err(error) = sought else { return None };
            log::call_failed(&KafkaError::from_rdkafka(format!("seek {} to {offset}", lease.partition), &error));
            offset
        };
        // Only a fetcher that has given up refuses a seek for good.
        self.revive(consumer, lease, refused, false)
    }

    /// Assigns a partition of ours again, paused, and lets it flow if it has begun: the fetcher of a topic that was deleted,
    /// or of a position that did not exist, does not come back by itself.
    fn revive(
        &self,
        consumer: &BaseConsumer<Callbacks>,
        lease: Lease,
        offset: i64,
        unassigned: bool,
    ) -> Option<Repair> {
        let control = self.control.lock();
        if !self.state.lock().is_live(&lease) {
            return None;
        }
        if !unassigned && self.is_rebalancing(consumer) {
            return Some(Repair::Revive { lease, offset, unassigned });
        }
        // Once begun, reading may have moved on.
        let offset = self.state.lock().reposition(&lease).unwrap_or(offset);
        self.state.lock().stopped_flowing(&lease);
        let mut unassigned = unassigned;
        match assign_again(consumer, &lease.partition, offset, &mut unassigned) {
            Ok(()) => {
                self.reconcile(consumer, &lease, control);
                None
            }
            Err(error) => {
                let call = format!("assign {} again at {offset}", lease.partition);
                log::call_failed(&KafkaError::from_rdkafka(call, &error));
                Some(Repair::Revive { lease, offset, unassigned })
            }
        }
    }

    /// Whether a rebalance waits for its callback: then an unassign would be taken for its answer.
    fn is_rebalancing(&self, consumer: &BaseConsumer<Callbacks>) -> bool {
        let group = self.ownership.snapshot(std::iter::empty()).group;
        consumer.assignment_lost() || group.is_none_or(|group| !ffi::is_current(consumer, &group))
    }

    /// The leases' topic is another one now, say: their epochs end, new ones begin, which find the new topic's id.
    fn restart(&self, consumer: &BaseConsumer<Callbacks>, leases: &[Lease], reason: &'static str) {
        let _control = self.control.lock();
        self.topic_ids.lock().clear();
        let mut state = self.state.lock();
        let live = leases.iter().filter(|lease| state.is_live(lease));
        let partitions: Vec<TopicPartition> = live.map(|lease| lease.partition.clone()).collect();
        let old = state.start_revoke(&partitions);
        if old.is_empty() {
            return;
        }
        warn!(group = self.options.group, ?partitions, "{reason}: starting over");
        let group = self.ownership.snapshot(std::iter::empty()).group;
        self.ownership.remove(&old, false);
        state.end_revoke(&old);
        let (done, _) = RevokeDone::pair();
        state.push(PollerEvent::Revoked { leases: old, lost: true, done });
        let new: Vec<Lease> = partitions.into_iter().map(|partition| self.new_lease(partition)).collect();
        pause(consumer, &new);
        self.ownership.add(&new, group);
        state.assign(&new);
        drop(state);
        self.events.notify_one();
    }
}

/// The two halves of a new fetcher; `unassigned` tells whether the first one is done.
fn assign_again(
    consumer: &BaseConsumer<Callbacks>,
    partition: &TopicPartition,
    offset: i64,
    unassigned: &mut bool,
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))?;
    if !*unassigned {
        consumer.incremental_unassign(&list)?;
        *unassigned = true;
    }
    consumer.incremental_assign(&list)?;
    consumer.pause(&list)
}

fn pause(consumer: &BaseConsumer<Callbacks>, leases: &[Lease]) {
    let mut list = TopicPartitionList::with_capacity(leases.len());
    for lease in leases {
        list.add_partition(&lease.partition.topic, lease.partition.partition);
    }
    if let Err(error) = consumer.pause(&list) {
        log::call_failed(&KafkaError::from_rdkafka("pause", &error));
    }
}
