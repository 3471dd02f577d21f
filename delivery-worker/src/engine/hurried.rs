//! The retry that an ordering key waits for goes now where somebody wants that, and not when it is due.
//!
//! ```text
//! held, its retry away --its subscription says: now--> the record that failed is read back
//!   --> one transaction: a copy of it that is due now, its key waits for that one, the former retry is superseded
//! superseded --it is here--> dropped, and nothing is said about it (with the same transaction it is forgotten)
//! ```
//!
//! The retry in its delay topic cannot be taken out of there, so two of the same attempt are on their way for a while, and which of
//! them counts stands in the lane's record. What is asked for names the retry by the time it is due at: of another one, before or
//! after it, nothing is meant. Before that transaction nothing has happened, and whoever owns the partition by then begins anew.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use kafka::Epoch;
use schemas::delivery::{Hop, Wait};
use schemas::ids::SubscriptionId;
use schemas::lanes::{HeldKey, SupersededRetry};

use super::{Arrival, Engine, LaneChange, Lookup, ReadBackDemand};
use crate::flaws::{self, Flaw};

/// A lane has so many superseded retries on their way at most: they stand in its record. What is wanted beyond goes when it is due.
const SUPERSEDED_AT_MOST: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hurries {
    /// Records that are read back, and what is to go with them.
    asked: HashMap<(Epoch, i64), (SubscriptionId, HeldKey)>,
    read: Vec<ReadRetry>,
    /// By subscription, under the lease that knows of them.
    superseded: BTreeMap<SubscriptionId, (Epoch, Vec<SupersededRetry>)>,
}

/// A record that was read back so that its retry goes now.
#[derive(Debug)]
pub(crate) struct ReadRetry {
    pub(crate) arrival: Arrival,
    held: HeldKey,
}

/// How it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HurriedCopy {
    /// Of the copy.
    pub(crate) hop: Hop,
    /// What its key waits for then.
    pub(crate) held: HeldKey,
    /// The retry in whose place it goes.
    pub(crate) superseded: SupersededRetry,
}

// === impl Hurries ===

impl Hurries {
    /// Whether this record was asked for.
    pub(super) fn asked(&self, lease: Epoch, offset: i64) -> Option<SubscriptionId> {
        self.asked.get(&(lease, offset)).map(|(id, _)| *id)
    }

    /// A record was read back, perhaps one that was asked for here.
    pub(super) fn read(&mut self, arrival: &Arrival) {
        let Some((id, held)) = self.asked.remove(&(arrival.lease, arrival.offset)) else { return };
        let delivery = &arrival.delivery;
        if (delivery.subscription, delivery.id) == (id, held.delivery) {
            self.read.push(ReadRetry { arrival: arrival.clone(), held });
        } else {
            tracing::error!(
                subscription.id = %id,
                delivery.id = %held.delivery,
                offset = arrival.offset,
                "another delivery stands where the one did whose retry is wanted now: it goes when it is due"
            );
        }
    }

    /// A record cannot be read back, perhaps one that was asked for here.
    pub(super) fn gone(&mut self, lease: Epoch, offset: i64) {
        if let Some((id, held)) = self.asked.remove(&(lease, offset)) {
            tracing::warn!(
                subscription.id = %id,
                delivery.id = %held.delivery,
                offset,
                "the record of a delivery whose retry is wanted now is not in `deliveries` any more: it goes when it is due"
            );
        }
    }

    /// One cannot be read back now. Whether it is still wanted: not when it is due, for then it comes by itself, and not where the log
    /// ends below it, for what stands there one day will be another.
    pub(super) fn not_read(&mut self, at: (Epoch, i64), is_beyond_end: bool, wall_ms: i64) -> bool {
        let Some((id, held)) = self.asked.get(&at) else { return false };
        let is_wanted = !is_beyond_end && held.retry.as_ref().is_some_and(|retry| retry.due_ms > wall_ms);
        if !is_wanted {
            tracing::warn!(
                subscription.id = %id,
                delivery.id = %held.delivery,
                offset = at.1,
                "the record of a delivery whose retry is wanted now cannot be read: it goes when it is due"
            );
            self.asked.remove(&at);
        }
        is_wanted
    }

    /// The retry that this is, if another one went in its place.
    pub(super) fn superseded(&self, arrival: &Arrival) -> Option<SupersededRetry> {
        let (lease, all) = self.superseded.get(&arrival.delivery.subscription)?;
        let (delivery, hop) = (&arrival.delivery, arrival.delivery.hop);
        let is_it = |retry: &&SupersededRetry| retry.is(delivery.id, hop.attempt, hop.due_ms);
        all.iter().find(is_it).filter(|_| *lease == arrival.lease).copied()
    }

    /// It was here, and is not waited for any more. Of two that are the same one is left.
    pub(super) fn dropped(&mut self, id: SubscriptionId, retry: SupersededRetry) {
        let Some((_, all)) = self.superseded.get_mut(&id) else { return };
        if let Some(at) = all.iter().position(|it| *it == retry) {
            all.swap_remove(at);
        }
        if all.is_empty() {
            self.superseded.remove(&id);
        }
    }

    /// What has not come in all the time that it may take is forgotten.
    pub(super) fn sweep(&mut self, wall_ms: i64) -> Vec<LaneChange> {
        let mut swept = Vec::new();
        self.superseded.retain(|id, (lease, all)| {
            let overdue = all.extract_if(.., |retry| retry.until_ms <= wall_ms);
            swept.extend(overdue.map(|retry| LaneChange::Overdue { lease: *lease, subscription: *id, retry }));
            !all.is_empty()
        });
        swept
    }

    /// These leases go.
    pub(super) fn close(&mut self, leases: &[Epoch]) {
        self.asked.retain(|(epoch, _), _| !leases.contains(epoch));
        self.read.retain(|read| !leases.contains(&read.arrival.lease));
        self.superseded.retain(|_, (epoch, _)| !leases.contains(epoch));
    }

    /// How many of a lane are superseded, or will be.
    fn count(&self, of: SubscriptionId) -> usize {
        let asked = self.asked.values().filter(|(id, _)| *id == of).count();
        let read = self.read.iter().filter(|read| read.arrival.delivery.subscription == of).count();
        asked + read + self.superseded.get(&of).map_or(0, |(_, all)| all.len())
    }
}

impl<L: Lookup> Engine<L> {
    /// Retries in whose place another one went, as the owner before has them.
    pub(crate) fn restore_superseded(&mut self, lease: Epoch, id: SubscriptionId, retries: &[SupersededRetry]) {
        if !retries.is_empty() && !flaws::has(Flaw::SupersededForgotten) {
            self.hurries.superseded.insert(id, (lease, retries.to_vec()));
        }
    }

    /// Asks for the records of those that a lane's keys wait for and that are wanted now. What is due comes by itself.
    pub(super) fn ask_hurried(&mut self, id: SubscriptionId, now_ms: i64) {
        let Some(lane) = self.lanes.get(&id).filter(|lane| lane.queue.has_held() && !lane.is_orphan) else { return };
        let Some(subscription) = self.lookup.subscription(id) else { return };
        let (lease, wall_ms) = (lane.lease, self.wall.ms(now_ms));
        let is_meant = |held: &HeldKey, due_ms: i64| {
            if flaws::has(Flaw::OldWishTaken) {
                return subscription.object().hurried.iter().any(|it| it.delivery == held.delivery);
            }
            subscription.hurries(held.delivery, due_ms)
        };
        let mut room = SUPERSEDED_AT_MOST.saturating_sub(self.hurries.count(id));
        for held in lane.queue.away() {
            let pending = held.retry.as_ref().filter(|it| it.due_ms > wall_ms && is_meant(&held, it.due_ms));
            let Some(record) = pending.map(|retry| retry.record) else { continue };
            if room == 0 {
                tracing::warn!(
                    subscription.id = %id,
                    delivery.id = %held.delivery,
                    "too many retries that went early are on their way still: this one goes when it is due"
                );
                return;
            }
            if self.hurries.asked.insert((lease, record), (id, held)).is_none() {
                room -= 1;
                self.read_backs.demands.push(ReadBackDemand { lease, offset: record, is_urgent: true });
            }
        }
    }

    /// What was read back so that it goes now, since the last call.
    pub(crate) fn take_hurried(&mut self) -> Vec<ReadRetry> {
        std::mem::take(&mut self.hurries.read)
    }

    /// How one of them goes. `None`: its key waits for something else by now, or it is here.
    pub(crate) fn hurried(&self, read: &ReadRetry, now_ms: i64) -> Option<HurriedCopy> {
        let (delivery, wall_ms) = (&read.arrival.delivery, self.wall.ms(now_ms));
        let lane = self.lanes.get(&delivery.subscription).filter(|lane| lane.lease == read.arrival.lease)?;
        let retry = read.held.retry.as_ref();
        let retry = retry.filter(|retry| retry.due_ms > wall_ms && lane.queue.waits_for(&read.held))?;
        let (held, superseded) = read.held.hurried(wall_ms)?;
        // What was read back is how it was before the attempt: since when its endpoint fails was learned with that.
        let failing_since_ms = retry.failing_since_ms.or(delivery.hop.failing_since_ms);
        let (attempt, wait) = (retry.attempt, Wait::Retry);
        let hop = Hop { attempt, due_ms: wall_ms, wait, failing_since_ms, ..delivery.hop };
        Some(HurriedCopy { hop, held, superseded })
    }

    /// It goes: its copy is about to be written.
    pub(crate) fn supersede(&mut self, read: &ReadRetry, held: HeldKey, superseded: SupersededRetry) {
        let id = read.arrival.delivery.subscription;
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.queue.hold(held);
        }
        let (lease, all) = self.hurries.superseded.entry(id).or_insert_with(|| (read.arrival.lease, Vec::new()));
        *lease = read.arrival.lease;
        all.push(superseded);
    }

    /// Its copy can never be written: its key waits for the former retry, as before. False: that came meanwhile, and was dropped.
    pub(crate) fn unsupersede(
        &mut self,
        lease: Epoch,
        id: SubscriptionId,
        held: &HeldKey,
        superseded: SupersededRetry,
    ) -> bool {
        let of_lane = self.hurries.superseded.get(&id).filter(|(of, _)| *of == lease);
        if !of_lane.is_some_and(|(_, all)| all.contains(&superseded)) {
            return false;
        }
        self.hurries.dropped(id, superseded);
        // It may wait for nothing any more.
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.lease == lease && lane.queue.waits_for(held)) {
            lane.queue.hold(held.unhurried(&superseded));
        }
        true
    }
}
