//! When the engine has something to do without anything having come: by its own time, and by the wall's for what is due.

use std::cmp::Reverse;

use schemas::ids::SubscriptionId;

use super::{Engine, Lookup, Timer};
use crate::steady::Wall;

/// Less than this is no jump: a timer that comes too early by it is set again, one that comes too late hurts nobody.
const JUMP_MS: i64 = 100;

impl<L: Lookup> Engine<L> {
    /// When [`Engine::tick`] or [`Engine::dispatch`] may have something new to do without any outcome, where it is dispatched.
    pub(crate) fn next_wake_ms(&self) -> Option<i64> {
        let probe_ms = self.egress.next_ms().filter(|_| !self.ready.is_empty() && self.has_places());
        [probe_ms, self.next_tick_ms()].into_iter().flatten().min()
    }

    /// The same of [`Engine::tick`] alone.
    pub(crate) fn next_tick_ms(&self) -> Option<i64> {
        let timer_ms = self.timers.peek().map(|Reverse((at_ms, ..))| *at_ms);
        [timer_ms, self.windows.wake_ms(), self.read_backs.next_ms()].into_iter().flatten().min()
    }

    /// How far the wall clock is ahead now. Where it jumped, what waits for its time waits for the new one.
    pub(crate) fn set_wall(&mut self, wall: Wall) {
        self.wall = wall;
        let jumped_ms = wall.ahead_ms - self.timers_wall.ahead_ms;
        if jumped_ms.abs() < JUMP_MS {
            return;
        }
        self.timers_wall = wall;
        let moved = |Reverse((at_ms, count, timer)): Reverse<(i64, u64, Timer)>| {
            // What waits for longer now is looked at again in time.
            let at_ms = if matches!(timer, Timer::Due(_)) { at_ms - jumped_ms.max(0) } else { at_ms };
            Reverse((at_ms, count, timer))
        };
        self.timers = self.timers.drain().map(moved).collect();
    }

    /// A lane is looked at then, or before.
    pub(super) fn set_lane_timer(&mut self, id: SubscriptionId, at_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.timer_ms.is_some_and(|timer_ms| timer_ms <= at_ms) {
            return;
        }
        lane.timer_ms = Some(at_ms);
        self.set_timer(at_ms, Timer::Lane(id));
    }

    /// Something is done then.
    pub(super) fn set_timer(&mut self, at_ms: i64, timer: Timer) {
        self.timer_count += 1;
        self.timers.push(Reverse((at_ms, self.timer_count, timer)));
    }
}
