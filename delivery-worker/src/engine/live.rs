//! What is here of a delivery, and what is waited for by the clock.

use kafka::Epoch;
use schemas::delivery::Delivery;
use schemas::ids::SubscriptionId;
use schemas::lanes::ListRole;

use super::Arrival;
use super::origins::Takeoff;
use crate::lanes::keys::Keyed;
use crate::lanes::origin::OriginKey;
use crate::lanes::queue::Rank;
use crate::slots::Ticket;

/// A delivery that is here.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) arrival: Arrival,
    pub(super) state: State,
    pub(super) role: ListRole,
    /// It left the window: an entry of a list stands for it.
    pub(super) is_listed: bool,
    /// Of its request, while that is in flight.
    pub(super) takeoff: Option<Takeoff>,
}

impl Live {
    /// One that came, or was read back.
    pub(super) fn new(arrival: Arrival, role: ListRole, is_listed: bool) -> Self {
        Self { arrival, state: State::Waiting, role, is_listed, takeoff: None }
    }

    /// Where it stands in its lane.
    pub(super) fn rank(&self) -> Rank {
        Rank { role: self.role, offset: self.arrival.offset }
    }

    /// What it is delivered in order with, if anything.
    pub(super) fn keyed(&self) -> Option<Keyed> {
        let Delivery { ordering_key, id, .. } = &*self.arrival.delivery;
        ordering_key.map(|key| Keyed { key, delivery: *id })
    }
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not due, or in its lane's queue.
    Waiting,
    InFlight {
        /// In the engine's time.
        since_ms: i64,
    },
    /// In flight, but its lease is over: its outcome concerns nobody here.
    Abandoned,
}

/// What is waited for by the clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Due(Ticket),
    Lane(SubscriptionId),
    Origin(OriginKey),
    Awaited(Epoch),
}
