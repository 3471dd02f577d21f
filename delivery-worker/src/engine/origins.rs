//! The origins of the lanes: who is where, and who of them waits for it.
//!
//! ```text
//! lane's turn --its origin lets it--> in flight --end--> the origin learns, and one of those who wait gets a turn
//!   | not                                                  ^ each turn that is over lets the next one try
//!   v                                                      |
//! blocked (is ready, and stands in no queue but this) -----+-- the origin's probe is due
//! ```
//!
//! An origin is there as long as a lane or a request is.

use std::hash::{DefaultHasher, Hash, Hasher};

use hashbrown::HashMap;
use schemas::ids::SubscriptionId;

use super::{Engine, Lookup, Timer};
use crate::lanes::HeldBack;
use crate::lanes::breaker::{Admission, SentAs};
use crate::lanes::origin::{LaneStanding, OpenOrigin, OriginKey, OriginNews, SharedOrigin};

/// The time of what is due: before any other.
const DUE_MS: i64 = 0;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Origins {
    known: HashMap<OriginKey, SharedOrigin>,
    /// Of them have an open circuit.
    open: usize,
}

/// What a request in flight is remembered by.
#[derive(Clone, Debug)]
pub(super) struct Takeoff {
    /// At its lane.
    pub(super) sent: SentAs,
    /// At its origin.
    pub(super) origin: Option<(OriginKey, SentAs)>,
}

impl Origins {
    /// An origin, if a lane or a request is there.
    pub(super) fn get_mut(&mut self, key: &OriginKey) -> Option<&mut SharedOrigin> {
        self.known.get_mut(key)
    }

    /// A lane's endpoint is there from now on.
    pub(super) fn enter(&mut self, key: &OriginKey, failures: u32) {
        let fresh = || SharedOrigin::new(failures, seed(key));
        self.known.entry(key.clone()).or_insert_with(fresh).lanes += 1;
    }

    /// It is there no longer.
    pub(super) fn leave(&mut self, key: &OriginKey) {
        if let Some(origin) = self.known.get_mut(key) {
            origin.lanes = origin.lanes.saturating_sub(1);
        }
        self.clear(key);
    }

    /// A request of a lane ended; `works` is what that says, if anything.
    pub(super) fn on_end(
        &mut self,
        lane: SubscriptionId,
        takeoff: &Takeoff,
        works: Option<bool>,
        now_ms: i64,
    ) -> OriginNews {
        let Some((key, sent)) = &takeoff.origin else { return OriginNews::Nothing };
        let Some(origin) = self.known.get_mut(key) else { return OriginNews::Nothing };
        let was_open = origin.is_open();
        let news = origin.on_end(lane, works, *sent, now_ms);
        self.open = self.open + usize::from(origin.is_open()) - usize::from(was_open);
        self.clear(key);
        news
    }

    /// One goes on from what a lane of another owner kept of it, see [`SharedOrigin::restore`].
    pub(super) fn restore(
        &mut self,
        key: &OriginKey,
        (until_ms, wait_ms): (i64, i64),
        now_ms: i64,
    ) -> Option<OpenOrigin> {
        let origin = self.known.get_mut(key)?;
        let was_open = origin.is_open();
        let circuit = origin.restore(until_ms, wait_ms, now_ms);
        self.open = self.open + usize::from(origin.is_open()) - usize::from(was_open);
        circuit
    }

    /// The network of this worker is back that was gone since then. Returns the origins that lanes wait for.
    pub(super) fn end_outage(&mut self, since_ms: i64) -> Vec<OriginKey> {
        self.known.values_mut().for_each(|origin| origin.end_outage(since_ms));
        self.known.iter().filter(|(_, origin)| origin.is_waited_for()).map(|(key, _)| key.clone()).collect()
    }

    /// Whether the circuit of this one is open.
    pub(super) fn is_open(&self, key: &OriginKey) -> bool {
        self.known.get(key).is_some_and(SharedOrigin::is_open)
    }

    /// How many have an open circuit.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    fn clear(&mut self, key: &OriginKey) {
        if let Some(origin) = self.known.get(key).filter(|origin| origin.is_unused()) {
            self.open -= usize::from(origin.is_open());
            self.known.remove(key);
        }
    }
}

impl<L: Lookup> Engine<L> {
    /// Whether a lane's origin lets it send one more; if not, the lane waits there.
    pub(super) fn passes_origin(
        &mut self,
        id: SubscriptionId,
        key: &OriginKey,
        standing: LaneStanding,
        now_ms: i64,
    ) -> bool {
        let Some(origin) = self.origins.get_mut(key) else { return true };
        if origin.admission(standing, now_ms) == Admission::Send {
            return true;
        }
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.is_ready = true;
            lane.held_back.by_origin = true;
            let HeldBack { in_untried, in_failed, .. } = &mut lane.held_back;
            let is_listed = if standing.is_untried { in_untried } else { in_failed };
            if !std::mem::replace(is_listed, true) {
                origin.block(id, standing.is_untried);
            }
        }
        self.set_origin_timer(key, now_ms);
        false
    }

    /// Gives one of the lanes that wait for an origin a turn, now if one may go, else when it is time.
    pub(super) fn unblock(&mut self, key: &OriginKey, now_ms: i64) {
        let Some(origin) = self.origins.get_mut(key) else { return };
        while let Some((id, was_untried)) = origin.next(now_ms) {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let HeldBack { by_origin, in_untried, in_failed, .. } = &mut lane.held_back;
            *(if was_untried { in_untried } else { in_failed }) = false;
            if std::mem::take(by_origin) {
                self.ready.push_back(id);
                return;
            }
        }
        self.set_origin_timer(key, now_ms);
    }

    /// A lane goes elsewhere whose turn it was: the next of those that wait for its origin has it soon.
    pub(super) fn pass_turn_on(&mut self, key: &OriginKey) {
        let Some(origin) = self.origins.get_mut(key).filter(|origin| origin.is_waited_for()) else { return };
        origin.timer_ms = Some(DUE_MS);
        self.set_timer(DUE_MS, Timer::Origin(key.clone()));
    }

    fn set_origin_timer(&mut self, key: &OriginKey, now_ms: i64) {
        let Some(origin) = self.origins.get_mut(key) else { return };
        let Some(next_ms) = origin.next_ms(now_ms) else { return };
        if origin.timer_ms.is_none_or(|timer_ms| timer_ms > next_ms) {
            origin.timer_ms = Some(next_ms);
            self.set_timer(next_ms, Timer::Origin(key.clone()));
        }
    }

    /// A lane that its origin would let through by now gets its turn.
    pub(super) fn wake_blocked(&mut self, id: SubscriptionId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if std::mem::take(&mut lane.held_back.by_origin) {
            self.ready.push_back(id);
        }
    }
}

/// Of an origin's jitter.
fn seed(key: &OriginKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
