//! What may make a lane send although it would wait: its endpoint is another one, its subscription was resumed, somebody pings.

use schemas::delivery::Delivery;
use schemas::header;
use schemas::ids::SubscriptionId;

use super::{Engine, Lookup, QueueHead};
use crate::lanes::Lane;
use crate::lanes::identity::EndpointIdentity;

/// Whether somebody waits for what comes of a delivery: it goes before everything that waits, and passes a circuit or a hold
/// as a probe. A ping was never accepted anywhere, so it names no origin; what is asked again on the schedule is no new question. One
/// attempt that was asked for says so itself.
pub(super) fn is_ping(delivery: &Delivery) -> bool {
    let Delivery { generation, hop, headers, .. } = delivery;
    let is_asked = || headers.get(header::ORIGIN).is_none() || delivery.is_once();
    generation.0.is_some() && hop.attempt == 1 && is_asked()
}

impl<L: Lookup> Engine<L> {
    /// Whether the first of a lane is one attempt that was asked for.
    pub(super) fn is_once_first(&self, lane: &Lane) -> bool {
        let QueueHead::Ready(ticket) = lane.queue.head() else { return false };
        self.live.get(ticket).is_some_and(|live| live.arrival.delivery.is_once())
    }

    /// Takes a subscription's endpoint into its lane, as it is now. Another origin is a new endpoint, other credentials may be
    /// what the same one missed: either probes at once.
    pub(super) fn identify(&mut self, id: SubscriptionId, identity: EndpointIdentity, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.identity == identity {
            return;
        }
        let before = std::mem::replace(&mut lane.identity, identity.clone());
        // The first look at it is no change: what is known may come from another owner.
        let is_known = before != EndpointIdentity::default();
        let is_elsewhere = before.origin != identity.origin;
        if is_known && is_elsewhere {
            lane.start_anew();
        } else if is_known {
            lane.probe_now();
        }
        let had_turn = lane.is_ready && !lane.held_back.by_origin;
        if is_elsewhere {
            if let Some(key) = &identity.origin {
                self.origins.enter(key, self.rules.breaker_failures);
            }
            if let Some(key) = &before.origin {
                self.origins.leave(key);
                if had_turn {
                    self.pass_turn_on(key);
                }
            }
        }
        self.count_circuit(id);
        if is_known {
            self.tell(id, now_ms);
        }
        self.wake_blocked(id);
        if let Some(lane) = self.lanes.get_mut(&id).filter(|_| is_elsewhere) {
            (lane.held_back.in_untried, lane.held_back.in_failed) = (false, false);
        }
    }
}
