//! Lanes come with their first delivery and are forgotten when they say nothing any more, so that there are never more of them
//! than subscriptions, and on most days as many as are being served (invariant 9).
//!
//! ```text
//! new --LOOK_EVERY--> at rest? --no--> LOOK_EVERY later again
//!                       | yes
//!                       v
//!                     blank, or its subscription is gone? --no--> LOOK_EVERY later again
//!                       | yes
//!                       v
//!                     forgotten
//! ```
//!
//! What a lane is at rest and blank by is [`Lane`]'s to say; one that is forgotten and comes back decides as it would have. Its
//! newest success is kept apart, as small as it is: a retry that another owner wrote before it may still come with a stamp.

use schemas::ids::SubscriptionId;

use super::{Engine, Lookup};
use crate::flaws::{self, Flaw};
use crate::lanes::breaker::{Breaker, Trip};
use crate::lanes::{LEARNED_MS, Lane};
use kafka::Epoch;

/// Each lane is looked at this often: a thousand lanes cost 17 looks a second.
pub(super) const LOOK_EVERY_MS: i64 = 60_000;
/// Looks of one turn: so many lanes that came together are looked at over some turns, each shorter than a millisecond.
const LOOKS: usize = 500;
/// Successes that are too old to matter are swept out this often: a million of them take some 20 ms.
const SWEEP_EVERY_MS: i64 = 3_600_000;
/// Below that there is nothing worth giving back.
const KEPT_ROOM: usize = 1_024;

impl<L: Lookup> Engine<L> {
    /// A subscription's lane, for a delivery that came by this lease.
    pub(super) fn lane(&mut self, id: SubscriptionId, lease: Epoch, now_ms: i64) -> &mut Lane {
        self.recent.touch(id, now_ms);
        let lane = self.lanes.entry(id).or_insert_with(|| {
            let trip = Trip { failures: self.rules.breaker_failures, by_share: true };
            let (high, low) = id.0.as_u64_pair();
            let mut lane = Box::new(Lane::new(lease, Breaker::new(trip, high ^ low)));
            lane.look_ms = now_ms + LOOK_EVERY_MS;
            lane.begun_ms = now_ms;
            self.looks.push_back((lane.look_ms, id));
            if let Some(succeeded_ms) = self.successes.remove(&id) {
                lane.streak.remember(succeeded_ms);
            }
            lane
        });
        lane.used_ms = now_ms;
        lane
    }

    /// Looks at the lanes whose time it is.
    pub(super) fn forget(&mut self, now_ms: i64) {
        for _ in 0..LOOKS {
            let Some((at_ms, id)) = self.looks.front().copied() else { break };
            if at_ms > now_ms {
                break;
            }
            self.looks.pop_front();
            self.look(id, at_ms, now_ms);
        }
        if now_ms - self.swept_ms >= SWEEP_EVERY_MS {
            self.swept_ms = now_ms;
            let wall_ms = self.wall.ms(now_ms);
            self.successes.retain(|_, succeeded_ms| wall_ms - *succeeded_ms < LEARNED_MS);
            self.changes.extend(self.hurries.sweep(wall_ms));
        }
        if self.lanes.capacity() > KEPT_ROOM && self.lanes.len() < self.lanes.capacity() / 8 {
            // Moving an eighth is paid for by the seven that went.
            self.lanes.shrink_to(self.lanes.len() * 2);
            self.looks.shrink_to(self.looks.len() * 2);
        }
    }

    /// A lane goes, and what was counted of it.
    pub(super) fn drop_lane(&mut self, id: SubscriptionId) {
        let Some(lane) = self.lanes.remove(&id) else { return };
        self.open_circuits -= usize::from(lane.is_counted_open);
        self.paused.remove(&id);
        if let Some(key) = &lane.identity.origin {
            self.origins.leave(key);
            if lane.is_ready && !lane.held_back.by_origin {
                self.pass_turn_on(key);
            }
        }
    }

    /// Counts a lane whose circuit may have opened or closed.
    pub(super) fn count_circuit(&mut self, id: SubscriptionId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let is_open = lane.breaker.is_open();
        self.open_circuits = self.open_circuits + usize::from(is_open) - usize::from(lane.is_counted_open);
        lane.is_counted_open = is_open;
    }

    /// Lanes there is memory for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.lanes.capacity()
    }

    fn look(&mut self, id: SubscriptionId, at_ms: i64, now_ms: i64) {
        // Another time: a lane that went with its lease, and came back.
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.look_ms == at_ms) else { return };
        let forgets = flaws::has(Flaw::ForgottenQueue) && lane.queue.absent() > 0;
        if lane.is_at_rest(now_ms) || forgets {
            let is_gone = self.lookup.subscription(id).is_none();
            if is_gone || forgets || lane.is_blank(now_ms) {
                if let Some(succeeded_ms) = lane.streak.succeeded_ms().filter(|_| !is_gone) {
                    self.successes.insert(id, succeeded_ms);
                }
                self.tell_blank(id);
                self.drop_lane(id);
                return;
            }
        }
        lane.look_ms = now_ms + LOOK_EVERY_MS;
        self.looks.push_back((lane.look_ms, id));
        let waits = !lane.queue.is_empty();
        self.free_overdue(id, now_ms);
        // What waits may have died of age meanwhile, and nobody knows when its turn comes.
        if waits {
            self.screen_ready(id, now_ms);
            self.go_on(id, now_ms);
        }
    }
}
