//! Whether listed deliveries have died of age is asked by offset, whatever their lane does: what is in memory is looked at, what is
//! not is read back for that alone. What lives keeps its place.

use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::{Arrival, Engine, Lookup, ReadBackDemand};
use crate::lanes::queue::Whereabouts;
use crate::lists::Age;

/// What became of an offset that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgeTold {
    /// Lease of its partition.
    pub(crate) lease: Epoch,
    /// Its offset.
    pub(crate) offset: i64,
    /// How old it is, if it lives; else it leaves its list.
    pub(crate) living: Option<Age>,
}

impl<L: Lookup> Engine<L> {
    /// Asks whether a listed delivery lives; [`Engine::take_ages`] tells it.
    pub(crate) fn ask_age(&mut self, lease: Epoch, id: SubscriptionId, offset: i64, now_ms: i64) {
        let lane = self.lanes.get(&id).filter(|lane| lane.lease == lease);
        match lane.and_then(|lane| lane.queue.whereabouts(offset)) {
            Some(Whereabouts::Ready(ticket)) => {
                let is_living = self.screen(ticket, now_ms).is_some();
                let living = self.live.get(ticket).filter(|_| is_living).map(|live| age_of(&live.arrival));
                self.tell_age(lease, offset, living);
                self.go_on(id, now_ms);
            }
            Some(Whereabouts::Asked) => {
                self.read_backs.ages.insert((lease, offset), id);
            }
            Some(Whereabouts::Absent) => {
                self.read_backs.ages.insert((lease, offset), id);
                self.read_backs.demands.push(ReadBackDemand { lease, offset, is_urgent: false });
            }
            // In flight, or its end is about to be written.
            None => self.tell_age(lease, offset, None),
        }
    }

    /// What was found of those that were asked about, since the last call.
    pub(crate) fn take_ages(&mut self) -> Vec<AgeTold> {
        std::mem::take(&mut self.read_backs.told)
    }

    /// A record that was read back for its age, and not because its turn is near.
    pub(super) fn read_age(&mut self, id: SubscriptionId, arrival: Arrival, now_ms: i64) {
        let (lease, offset) = (arrival.lease, arrival.offset);
        if arrival.delivery.subscription != id {
            return self.lose_aged(id, (lease, offset), now_ms);
        }
        match self.judge(&arrival, now_ms) {
            Ok(_subscription) => self.tell_age(lease, offset, Some(age_of(&arrival))),
            Err(end) => {
                self.tell_age(lease, offset, None);
                if self.lanes.get_mut(&id).is_some_and(|lane| lane.queue.forget(offset)) {
                    self.ends(arrival, true, end);
                    self.go_on(id, now_ms);
                }
            }
        }
    }

    /// A record that was asked for because of its age is not there.
    pub(super) fn lose_aged(&mut self, id: SubscriptionId, (lease, offset): (Epoch, i64), now_ms: i64) {
        self.tell_age(lease, offset, None);
        if self.lanes.get_mut(&id).is_some_and(|lane| lane.queue.forget(offset)) {
            self.lose(lease, id, offset);
            self.go_on(id, now_ms);
        }
    }

    pub(super) fn tell_age(&mut self, lease: Epoch, offset: i64, living: Option<Age>) {
        self.read_backs.told.push(AgeTold { lease, offset, living });
    }

    /// What has left may have been what its lane waited for.
    pub(super) fn go_on(&mut self, id: SubscriptionId, now_ms: i64) {
        self.feed(id, now_ms);
        self.wake(id);
    }
}

/// When its record was written, and when it dies of age.
pub(super) fn age_of(arrival: &Arrival) -> Age {
    Age { oldest_ms: arrival.timestamp_ms, dead_ms: arrival.delivery.deadline_ms }
}
