//! Credit, held records and the event queue. Pure: no client, no clock.

use std::collections::{HashMap, VecDeque};

use schemas::planted::{PlantedBug, is_planted};
use schemas::record::{Record, TopicPartition};
use uuid::Uuid;

use super::PollerEvent;
use crate::error::KafkaError;
use crate::lease::{Epoch, Lease};

/// Held records beyond the credit, as a multiple of it: how long neighbours can be served before this one is paused.
const HELD_RECORDS_FACTOR: usize = 4;
/// Held bytes at most, whatever the credit is.
const HELD_BYTES: usize = 4 * 1024 * 1024;

/// Credit of a lease, and how much may wait beyond it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    live_records: usize,
    live_bytes: usize,
    held_records: usize,
    held_bytes: usize,
}

/// Everything the threads of a poller share.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    leases: HashMap<TopicPartition, Slot>,
    /// Everything but records. Read first: a revoke must not wait behind records that are still ours.
    control: VecDeque<PollerEvent>,
    /// Partitions with records to hand out, in turn.
    ready: VecDeque<TopicPartition>,
    /// No more records are handed out.
    pub(super) stopped: bool,
    /// No more events will come.
    pub(super) ended: bool,
    /// Nobody reads events any more: a revoke must not wait for anybody.
    unread: bool,
    /// The poll thread waits until somebody is hungry.
    pub(super) poll_waits: bool,
    failed: bool,
}

/// One lease.
#[derive(Debug)]
struct Slot {
    epoch: Epoch,
    /// Offset of the next record that is accepted; `None` before it begun.
    next: Option<i64>,
    topic_id: Uuid,
    /// Handed out as far as credit is concerned, and not read by the role yet.
    ready: Vec<Record>,
    held: VecDeque<Record>,
    held_bytes: usize,
    out_records: usize,
    out_bytes: usize,
    /// The role asked for it.
    paused: bool,
    /// It holds so much that librdkafka should not fetch it.
    throttled: bool,
    /// It is going: nothing more is handed out.
    revoking: bool,
    /// librdkafka fetches it.
    flowing: bool,
}

// === impl Limits ===

impl Limits {
    pub(super) fn new(live_records: usize, live_bytes: usize) -> Self {
        let live_records = live_records.max(1);
        Self {
            live_records,
            live_bytes,
            held_records: live_records * HELD_RECORDS_FACTOR,
            held_bytes: live_bytes.clamp(1, HELD_BYTES),
        }
    }
}

// === impl State ===

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            leases: HashMap::new(),
            control: VecDeque::new(),
            ready: VecDeque::new(),
            stopped: false,
            ended: false,
            unread: false,
            poll_waits: false,
            failed: false,
        }
    }

    pub(super) fn assign(&mut self, leases: &[Lease]) {
        for lease in leases {
            self.leases.insert(lease.partition.clone(), Slot::new(lease.epoch));
        }
        if !leases.is_empty() {
            self.push(PollerEvent::Assigned { leases: leases.to_vec() });
        }
    }

    /// The live leases of these partitions, which stop receiving records now: also what is queued is dropped.
    pub(super) fn start_revoke(&mut self, partitions: &[TopicPartition]) -> Vec<Lease> {
        let mut leases = Vec::with_capacity(partitions.len());
        for partition in partitions {
            if let Some(slot) = self.leases.get_mut(partition) {
                slot.revoking = true;
                slot.ready = Vec::new();
                slot.held = VecDeque::new();
                slot.held_bytes = 0;
                leases.push(Lease { partition: partition.clone(), epoch: slot.epoch });
            }
        }
        leases
    }

    pub(super) fn end_revoke(&mut self, leases: &[Lease]) {
        for lease in leases {
            if self.slot(lease).is_some() {
                self.leases.remove(&lease.partition);
            }
        }
    }

    pub(super) fn begin(&mut self, lease: &Lease, offset: i64, topic_id: Uuid) {
        if let Some(slot) = self.slot(lease) {
            slot.next = Some(offset);
            slot.topic_id = topic_id;
        }
    }

    /// Records as they were read, of one partition and ascending. True: an event was queued.
    pub(super) fn accept(&mut self, partition: &TopicPartition, records: Vec<Record>) -> bool {
        let (limits, stopped) = (self.limits, self.stopped);
        let Some(slot) = self.leases.get_mut(partition) else { return false };
        // Not begun: fetched between the assignment and its pause. Revoking: read again by the next owner.
        let Some(mut next) = slot.next.filter(|_| !slot.revoking) else { return false };
        for record in records {
            // Below: from before a seek. Never skips: what is above is what the broker has next.
            if record.offset >= next {
                next = record.offset + 1;
                slot.held_bytes += record.size();
                slot.held.push_back(record);
            }
        }
        slot.next = Some(next);
        let (handed, first) = slot.hand_out(&limits, stopped);
        slot.throttle(&limits);
        self.publish(partition, handed, first)
    }

    /// Credit back. True: an event was queued.
    pub(super) fn release(&mut self, lease: &Lease, records: usize, bytes: usize) -> bool {
        let (limits, stopped) = (self.limits, self.stopped);
        let Some(slot) = self.slot(lease) else { return false };
        slot.out_records = slot.out_records.saturating_sub(records);
        slot.out_bytes = slot.out_bytes.saturating_sub(bytes);
        let (handed, first) = slot.hand_out(&limits, stopped);
        slot.throttle(&limits);
        self.publish(&lease.partition, handed, first)
    }

    /// The role's own pause. True: an event was queued.
    pub(super) fn set_paused(&mut self, lease: &Lease, paused: bool) -> bool {
        let (limits, stopped) = (self.limits, self.stopped);
        let Some(slot) = self.slot(lease) else { return false };
        slot.paused = paused;
        let (handed, first) = slot.hand_out(&limits, stopped);
        slot.throttle(&limits);
        self.publish(&lease.partition, handed, first)
    }

    /// Whether librdkafka does something else with the partition than it should.
    pub(super) fn wants_change(&self, lease: &Lease) -> bool {
        let stopped = self.stopped;
        self.leases
            .get(&lease.partition)
            .is_some_and(|slot| slot.epoch == lease.epoch && slot.should_flow(stopped) != slot.flowing)
    }

    /// What librdkafka must do now (true: fetch), if it does not do it already.
    pub(super) fn change(&mut self, lease: &Lease) -> Option<bool> {
        let stopped = self.stopped;
        let slot = self.slot(lease)?;
        let flow = slot.should_flow(stopped);
        (flow != slot.flowing).then(|| {
            slot.flowing = flow;
            flow
        })
    }

    /// Whether there are begun leases, and none of them could hand out a record.
    pub(super) fn is_sated(&self) -> bool {
        let mut begun = self.leases.values().filter(|slot| slot.next.is_some()).peekable();
        begun.peek().is_some() && !begun.any(|slot| slot.is_hungry(&self.limits, self.stopped))
    }

    /// Whether this epoch is not over and not about to be.
    pub(super) fn is_live(&self, lease: &Lease) -> bool {
        self.leases.get(&lease.partition).is_some_and(|slot| slot.epoch == lease.epoch && !slot.revoking)
    }

    pub(super) fn lease(&self, partition: &TopicPartition) -> Option<Lease> {
        self.leases.get(partition).map(|slot| Lease { partition: partition.clone(), epoch: slot.epoch })
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        self.leases.iter().map(|(partition, slot)| Lease { partition: partition.clone(), epoch: slot.epoch }).collect()
    }

    /// Begun leases with their topic's id and the next offset that is accepted.
    pub(super) fn begun(&self) -> Vec<(Lease, Uuid, i64)> {
        let begun = self.leases.iter().filter(|(_, slot)| !slot.revoking);
        begun
            .filter_map(|(partition, slot)| {
                let lease = Lease { partition: partition.clone(), epoch: slot.epoch };
                Some((lease, slot.topic_id, slot.next?))
            })
            .collect()
    }

    /// Per begun lease the offset of the next record to hand out, and the timestamp of the first that waits.
    pub(super) fn positions(&self) -> Vec<(TopicPartition, i64, Option<i64>)> {
        let position =
            |slot: &Slot| Some((slot.held.front().map_or(slot.next?, |record| record.offset), slot.waiting()));
        self.leases
            .iter()
            .filter_map(|(partition, slot)| position(slot).map(|(at, since)| (partition.clone(), at, since)))
            .collect()
    }

    pub(super) fn push(&mut self, event: PollerEvent) {
        if !self.unread {
            self.control.push_back(event);
        }
    }

    /// The reader is gone.
    pub(super) fn end_reading(&mut self) {
        self.unread = true;
        self.stopped = true;
        self.control.clear();
        self.ready.clear();
    }

    /// Whether the poll thread should be woken for this lease.
    pub(super) fn should_wake(&self, lease: &Lease) -> bool {
        let slot = self.leases.get(&lease.partition);
        self.poll_waits && slot.is_some_and(|slot| slot.is_hungry(&self.limits, self.stopped))
    }

    pub(super) fn next_event(&mut self) -> Option<PollerEvent> {
        if let Some(event) = self.control.pop_front() {
            return Some(event);
        }
        while let Some(partition) = self.ready.pop_front() {
            let Some(slot) = self.leases.get_mut(&partition) else { continue };
            let records = std::mem::take(&mut slot.ready);
            if !records.is_empty() {
                let lease = Lease { partition, epoch: slot.epoch };
                return Some(PollerEvent::Records { lease, records });
            }
        }
        None
    }

    /// Queues a fatal error unless there was one. True: queued.
    pub(super) fn fail(&mut self, error: KafkaError) -> bool {
        if std::mem::replace(&mut self.failed, true) {
            return false;
        }
        self.push(PollerEvent::Failed { error });
        true
    }

    fn slot(&mut self, lease: &Lease) -> Option<&mut Slot> {
        self.leases.get_mut(&lease.partition).filter(|slot| slot.epoch == lease.epoch)
    }

    /// Puts the lease in turn if it has something new. True: it has.
    fn publish(&mut self, partition: &TopicPartition, handed: bool, first: bool) -> bool {
        if handed && first && !self.unread {
            self.ready.push_back(partition.clone());
        }
        handed
    }
}

// === impl Slot ===

impl Slot {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            next: None,
            topic_id: Uuid::nil(),
            ready: Vec::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            out_records: 0,
            out_bytes: 0,
            paused: false,
            throttled: false,
            revoking: false,
            flowing: false,
        }
    }

    fn waiting(&self) -> Option<i64> {
        self.held.front().map(|record| record.timestamp_ms)
    }

    fn has_credit(&self, limits: &Limits) -> bool {
        self.out_records == 0
            || (self.out_records < limits.live_records && self.out_bytes < limits.live_bytes)
            || is_planted(PlantedBug::CreditIgnored)
    }

    fn is_hungry(&self, limits: &Limits, stopped: bool) -> bool {
        !stopped && !self.paused && !self.revoking && self.held.is_empty() && self.has_credit(limits)
    }

    fn should_flow(&self, stopped: bool) -> bool {
        self.next.is_some() && !self.paused && !self.throttled && !self.revoking && !stopped
    }

    /// Moves what credit allows from held to ready: whether there was something, and whether nothing was ready before.
    fn hand_out(&mut self, limits: &Limits, stopped: bool) -> (bool, bool) {
        let before = self.ready.len();
        if stopped || self.paused || self.revoking {
            return (false, before == 0);
        }
        while self.has_credit(limits) {
            let Some(record) = self.held.pop_front() else { break };
            let size = record.size();
            self.held_bytes -= size;
            self.out_records += 1;
            self.out_bytes += size;
            self.ready.push(record);
        }
        (self.ready.len() > before, before == 0)
    }

    /// Too much is held: stop fetching. Half of that: fetch again.
    fn throttle(&mut self, limits: &Limits) {
        let over = |part: usize| {
            self.held.len() * part >= limits.held_records || self.held_bytes.saturating_mul(part) >= limits.held_bytes
        };
        self.throttled = if self.throttled { over(2) } else { over(1) };
    }
}

#[cfg(test)]
mod tests;
