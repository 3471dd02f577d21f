//! What is told of the engine: gauges, `status`, and what its tests look at.

use hashbrown::HashSet;
use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::{Arrival, Engine, Live, Lookup, State};
use crate::lanes::Lane;
use crate::lanes::queue::QueueHead;
use crate::slots::Ticket;

/// What waits in lists, by what its lane does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queued {
    /// Lanes that send.
    pub(crate) busy: usize,
    /// Lanes whose circuit is open.
    pub(crate) circuit: usize,
    /// Lanes whose subscription is paused.
    pub(crate) paused: usize,
}

impl<L: Lookup> Engine<L> {
    /// Everything that is live here: for planted bugs.
    pub(crate) fn live(&self) -> impl Iterator<Item = (Ticket, &Arrival)> {
        self.live.iter().map(|(ticket, live)| (ticket, &live.arrival))
    }

    /// Offset of what is live under this ticket.
    #[cfg(test)]
    pub(crate) fn offset_of(&self, ticket: Ticket) -> Option<i64> {
        self.live.get(ticket).map(|live| live.arrival.offset)
    }

    /// Whether a lane sends nothing now, or a probe at most, or waits for its origin; one that is not there does not.
    #[cfg(test)]
    pub(crate) fn is_closed(&self, id: SubscriptionId, now_ms: i64) -> bool {
        self.lanes.get(&id).is_some_and(|lane| self.is_shut(lane, now_ms) || lane.held_back.by_origin)
    }

    /// Whether a lane's endpoint asked for less.
    #[cfg(test)]
    pub(crate) fn is_slowed(&self, id: SubscriptionId) -> bool {
        self.lanes.get(&id).is_some_and(|lane| lane.rate.is_slowed())
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Requests in flight of these leases, whose outcome is still wanted.
    pub(crate) fn in_flight_of(&self, leases: &[Epoch]) -> usize {
        let wanted = |live: &Live| matches!(live.state, State::InFlight { .. }) && leases.contains(&live.arrival.lease);
        self.live.iter().filter(|(_, live)| wanted(live)).count()
    }

    /// Deliveries held here.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// Those of them that no list stands for: what the windows of partitions hold, and requests whose partition has gone.
    pub(crate) fn unlisted(&self) -> usize {
        self.live.len().saturating_sub(self.reserve.records)
    }

    /// Payloads of listed deliveries that are in memory, in bytes.
    pub(crate) const fn queue_bytes(&self) -> usize {
        self.reserve.bytes
    }

    /// Lanes.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Lanes whose circuit is open.
    pub(crate) fn open_circuits(&self) -> usize {
        self.open_circuits
    }

    /// Origins whose circuit is open.
    pub(crate) fn open_origins(&self) -> usize {
        self.origins.open()
    }

    /// Lanes whose subscription is paused. It may have been resumed or deleted since one of its deliveries was looked at.
    pub(crate) fn paused(&self) -> usize {
        let is_paused = |id| self.lookup.subscription(id).is_some_and(|it| it.is_enabled() && it.is_paused());
        self.paused.iter().filter(|id| is_paused(**id)).count()
    }

    /// What waits in lists, by what its lane does.
    pub(crate) fn queued(&self) -> Queued {
        let mut queued = Queued::default();
        for lane in self.queues.iter().filter_map(|id| self.lanes.get(id)) {
            let entries = lane.queue.listed();
            match lane {
                lane if lane.is_paused => queued.paused += entries,
                lane if lane.breaker.is_open() => queued.circuit += entries,
                _ => queued.busy += entries,
            }
        }
        queued
    }

    /// Whether everything fails at once, so that intake holds.
    pub(crate) fn is_held(&self) -> bool {
        self.egress.is_held()
    }

    /// Since when the delivery waits that has waited longest for its turn, Unix ms: it is due, its lane sends, and it is not in
    /// flight.
    pub(crate) fn waiting_since_ms(&self, now_ms: i64) -> Option<i64> {
        let wall_ms = self.wall.ms(now_ms);
        let waits = |live: &&Live| live.state == State::Waiting && live.arrival.delivery.hop.due_ms <= wall_ms;
        let lanes: HashSet<SubscriptionId> = self
            .live
            .iter()
            .map(|(_, live)| live)
            .filter(waits)
            .map(|live| live.arrival.delivery.subscription)
            .collect();
        let open = lanes.iter().filter_map(|id| self.lanes.get(id)).filter(|lane| !self.is_shut(lane, now_ms));
        // What waits for the one before it with the same key is no head: that one's retry has its time.
        let head = |lane: &Lane| if let QueueHead::Ready(ticket) = lane.queue.head() { Some(ticket) } else { None };
        let ready = open.filter_map(|lane| head(lane)).filter_map(|ticket| self.live.get(ticket));
        ready.map(|live| live.arrival.timestamp_ms.max(live.arrival.delivery.hop.due_ms)).min()
    }

    /// Kafka timestamp of the oldest delivery held here.
    pub(crate) fn oldest_timestamp_ms(&self) -> Option<i64> {
        self.live.iter().map(|(_, live)| live.arrival.timestamp_ms).min()
    }
}
