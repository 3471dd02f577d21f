//! Credit, buffered records and the event queue. Pure: no client, no clock.

mod hunger;
mod lease;
mod limits;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use schemas::record::{Record, TopicPartition};
use uuid::Uuid;

use super::PollerEvent;
use crate::error::KafkaError;
use crate::lease::Lease;
use lease::LeaseState;
pub(super) use lease::{Begun, Stamp};
pub(super) use limits::{Intake, Limits};

/// Everything the threads of a poller share.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    leases: HashMap<TopicPartition, LeaseState>,
    /// Bytes of all leases that are handed out or buffered.
    used: usize,
    /// Leases that use something of the budget.
    working: usize,
    /// Everything but records. Read first: a revoke must not wait behind records that are still ours.
    control: VecDeque<PollerEvent>,
    /// Partitions with records to hand out, in turn.
    ready: VecDeque<TopicPartition>,
    /// Topics that the cluster does not let us read at the moment.
    denied: HashSet<Arc<str>>,
    /// Leases are not fetched only because the budget was spent.
    is_short: bool,
    /// Counts the rounds of the poll thread.
    round: u64,
    /// The group has told what is ours, be it nothing, since the membership was last lost.
    joined: bool,
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

/// How far a begun lease is.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) lease: Lease,
    pub(super) position: i64,
    pub(super) at_end: bool,
    pub(super) oldest_waiting_ms: Option<i64>,
}

// === impl State: leases ===

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            leases: HashMap::new(),
            used: 0,
            working: 0,
            control: VecDeque::new(),
            ready: VecDeque::new(),
            denied: HashSet::new(),
            is_short: false,
            round: 0,
            joined: false,
            stopped: false,
            ended: false,
            unread: false,
            poll_waits: false,
            failed: false,
        }
    }

    /// The group gave these, perhaps none.
    pub(super) fn assign(&mut self, leases: &[Lease]) {
        self.joined = true;
        for lease in leases {
            self.remove(&lease.partition);
            self.leases.insert(lease.partition.clone(), LeaseState::new(lease.epoch));
        }
        if !leases.is_empty() {
            self.push(PollerEvent::Assigned { leases: leases.to_vec() });
        }
    }

    /// The live leases of these partitions, which stop receiving records now: also what is queued is dropped.
    pub(super) fn start_revoke(&mut self, partitions: &[TopicPartition]) -> Vec<Lease> {
        let live = partitions.iter().filter_map(|partition| self.lease(partition));
        let leases: Vec<Lease> = live.collect();
        for lease in &leases {
            self.update(lease, LeaseState::start_revoke);
        }
        leases
    }

    pub(super) fn end_revoke(&mut self, leases: &[Lease]) {
        for lease in leases {
            if self.get(lease).is_some() {
                self.remove(&lease.partition);
            }
        }
    }

    /// The membership is gone, and everything with it.
    pub(super) fn lose_membership(&mut self) {
        self.joined = false;
    }

    /// Whether the group has told what is ours, and how many partitions that is.
    pub(super) fn membership(&self) -> (bool, usize) {
        (self.joined, self.leases.len())
    }

    pub(super) fn begin(&mut self, lease: &Lease, offset: i64, topic_id: Uuid) {
        let round = self.round;
        self.update(lease, |state| {
            state.position_at(offset, round);
            state.topic_id = topic_id;
        });
    }

    /// Reading goes on at the offset that is due, by a seek that is made now: what was read before it is worth nothing.
    /// `None`: the lease is over or has not begun.
    pub(super) fn reposition(&mut self, lease: &Lease) -> Option<i64> {
        let next = self.get(lease).filter(|state| !state.revoking)?.next?;
        let round = self.round;
        self.update(lease, |state| state.position_at(next, round));
        Some(next)
    }

    /// The log begins at `to` now, and reading was due at `from`: it goes on at `to`. What was read before still comes.
    /// False: the lease is over or has moved on.
    pub(super) fn skip(&mut self, lease: &Lease, (from, to): (i64, i64), lost: i64) -> bool {
        if self.get(lease).is_none_or(|state| state.next != Some(from) || state.revoking) {
            return false;
        }
        let round = self.round;
        self.update(lease, |state| state.position_at(to, round));
        self.push(PollerEvent::Skipped { lease: lease.clone(), from, to, lost });
        true
    }

    /// Under which ownership and position a record of this partition is read now.
    pub(super) fn stamp(&self, partition: &TopicPartition) -> Option<Stamp> {
        self.leases.get(partition).map(LeaseState::stamp)
    }

    /// Whether this epoch is not over and not about to be.
    pub(super) fn is_live(&self, lease: &Lease) -> bool {
        self.get(lease).is_some_and(|state| !state.revoking)
    }

    pub(super) fn lease(&self, partition: &TopicPartition) -> Option<Lease> {
        self.leases.get(partition).map(|state| Lease { partition: partition.clone(), epoch: state.epoch })
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        self.leases.keys().filter_map(|partition| self.lease(partition)).collect()
    }

    /// Begun leases that are not being revoked.
    pub(super) fn begun(&self) -> Vec<Begun> {
        let begun = self.leases.iter().filter(|(_, state)| !state.revoking);
        let begun = begun.filter_map(|(partition, state)| {
            let lease = Lease { partition: partition.clone(), epoch: state.epoch };
            Some(Begun { lease, topic_id: state.topic_id, next: state.next? })
        });
        begun.collect()
    }

    /// How far every begun lease is.
    pub(super) fn positions(&self) -> Vec<Position> {
        let position = |(partition, state): (&TopicPartition, &LeaseState)| {
            Some(Position {
                lease: Lease { partition: partition.clone(), epoch: state.epoch },
                position: state.position()?,
                at_end: state.is_at_end(),
                oldest_waiting_ms: state.oldest_waiting_ms(),
            })
        };
        self.leases.iter().filter_map(position).collect()
    }

    /// Since when a lease has stood at an open transaction, see [`LeaseState::stands_before_open`].
    pub(super) fn stands_before_open(&mut self, lease: &Lease, high_watermark: i64, now_ms: i64) -> Option<i64> {
        let found = self.leases.get_mut(&lease.partition).filter(|state| state.epoch == lease.epoch)?;
        found.stands_before_open(high_watermark, now_ms)
    }

    /// This topic may not be read at the moment. True: there is no other one left to read, neither among the leases nor
    /// among what is subscribed.
    pub(super) fn deny(&mut self, topic: Option<Arc<str>>, subscribed: &[String]) -> bool {
        self.denied.extend(topic);
        let is_open = |topic: &str| !self.denied.contains(topic);
        if self.leases.keys().any(|partition| is_open(&partition.topic)) {
            return false;
        }
        // Of what a pattern matches only the leases are known.
        !subscribed.iter().any(|topic| if topic.starts_with('^') { self.leases.is_empty() } else { is_open(topic) })
    }

    /// These topics are read from now on: which others may not be, is nothing to tell of any more. What a pattern matches is not
    /// known.
    pub(super) fn forget_denied(&mut self, subscribed: &[String]) {
        if !subscribed.iter().any(|topic| topic.starts_with('^')) {
            self.denied.retain(|topic| subscribed.iter().any(|it| **it == **topic));
        }
    }

    /// This topic may be read.
    pub(super) fn permit(&mut self, topic: &str) {
        self.denied.remove(topic);
    }

    /// Topics that may not be read at the moment, sorted.
    pub(super) fn denied(&self) -> Vec<Arc<str>> {
        let mut denied: Vec<_> = self.denied.iter().cloned().collect();
        denied.sort();
        denied
    }

    fn get(&self, lease: &Lease) -> Option<&LeaseState> {
        self.leases.get(&lease.partition).filter(|state| state.epoch == lease.epoch)
    }

    fn remove(&mut self, partition: &TopicPartition) {
        if let Some(state) = self.leases.remove(partition) {
            self.used = self.used.saturating_sub(state.used());
            self.working -= usize::from(state.is_working());
        }
    }
}

// === impl State: records ===

impl State {
    /// Records as they were read, of one partition and ascending. `None`: they were read before the lease began or was
    /// repositioned, and are dropped. True: an event was queued.
    pub(super) fn accept(&mut self, partition: &TopicPartition, stamp: Stamp, records: Vec<Record>) -> Option<bool> {
        let lease = self.lease(partition)?;
        let state = self.get(&lease).filter(|state| state.stamp() == stamp && !state.revoking && state.next.is_some());
        state?;
        self.denied.remove(&partition.topic);
        self.update(&lease, |state| state.buffer(records));
        Some(self.hand_out(&lease))
    }

    /// A fetch at this offset found nothing more. False: the lease was positioned in this round of the poll thread, so the
    /// fetch may be from before; it has to be told again.
    pub(super) fn reach_end(&mut self, partition: &TopicPartition, offset: i64) -> bool {
        let Some(state) = self.leases.get_mut(partition) else { return true };
        self.denied.remove(&partition.topic);
        state.reach_end(offset, self.round)
    }

    /// Credit back. True: an event was queued.
    pub(super) fn release(&mut self, lease: &Lease, records: usize, bytes: usize) -> bool {
        self.update(lease, |state| {
            state.out_records = state.out_records.saturating_sub(records);
            state.out_bytes = if state.out_records == 0 { 0 } else { state.out_bytes.saturating_sub(bytes) };
        });
        self.hand_out(lease)
    }

    /// The role's own pause. True: an event was queued.
    pub(super) fn set_paused(&mut self, lease: &Lease, paused: bool) -> bool {
        self.update(lease, |state| state.paused = paused);
        self.hand_out(lease)
    }

    /// Whether librdkafka does something else with the partition than it should.
    pub(super) fn wants_change(&self, lease: &Lease) -> bool {
        self.get(lease).is_some_and(|state| state.should_flow(self.stopped) != state.flowing)
    }

    /// Leases that may be fetched again, after the budget was spent and much of it was given back.
    pub(super) fn recovered(&mut self) -> Vec<Lease> {
        if !self.is_short || !self.limits.has_recovered(self.used) {
            return Vec::new();
        }
        self.is_short = false;
        let allowance = self.limits.allowance(self.working, self.used);
        self.leases.values_mut().for_each(|state| {
            state.throttle(&allowance);
        });
        self.leases().into_iter().filter(|lease| self.wants_change(lease)).collect()
    }

    /// What librdkafka must do now (true: fetch), if it does not do it already.
    pub(super) fn change(&mut self, lease: &Lease) -> Option<bool> {
        let stopped = self.stopped;
        let state = self.leases.get_mut(&lease.partition).filter(|state| state.epoch == lease.epoch)?;
        let flow = state.should_flow(stopped);
        if flow == state.flowing {
            return None;
        }
        state.flowing = flow;
        // While it was not fetched something may have come: the next fetch tells.
        state.end = None;
        Some(flow)
    }

    /// librdkafka's fetcher of this lease is new, and paused.
    pub(super) fn stopped_flowing(&mut self, lease: &Lease) {
        self.update(lease, |state| state.flowing = false);
    }

    /// A round of the poll thread begins: what it may take.
    pub(super) fn next_round(&mut self, sated: bool) -> Intake {
        self.round += 1;
        self.limits.intake(self.used, sated)
    }

    /// Changes a lease and keeps the sums of all.
    fn update(&mut self, lease: &Lease, change: impl FnOnce(&mut LeaseState)) {
        let found = self.leases.get_mut(&lease.partition).filter(|state| state.epoch == lease.epoch);
        let Some(state) = found else { return };
        let (used, working) = (state.used(), state.is_working());
        change(state);
        self.used = self.used.saturating_sub(used).saturating_add(state.used());
        self.working = self.working - usize::from(working) + usize::from(state.is_working());
    }

    /// Hands out what the lease may. True: an event was queued.
    fn hand_out(&mut self, lease: &Lease) -> bool {
        let allowance = self.limits.allowance(self.working, self.used);
        let stopped = self.stopped;
        let (mut handed, mut first, mut is_short) = (false, false, false);
        self.update(lease, |state| {
            (handed, first) = state.hand_out(&allowance, stopped);
            is_short = state.throttle(&allowance);
        });
        self.is_short |= is_short;
        if handed && first && !self.unread {
            self.ready.push_back(lease.partition.clone());
        }
        handed
    }
}

// === impl State: events ===

impl State {
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

    pub(super) fn next_event(&mut self) -> Option<PollerEvent> {
        if let Some(event) = self.control.pop_front() {
            return Some(event);
        }
        while let Some(partition) = self.ready.pop_front() {
            let Some(state) = self.leases.get_mut(&partition) else { continue };
            let records = std::mem::take(&mut state.ready);
            if !records.is_empty() {
                let lease = Lease { partition, epoch: state.epoch };
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
}

#[cfg(test)]
mod tests;
