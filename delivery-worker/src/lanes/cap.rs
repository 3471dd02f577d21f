//! A lane's places: as many as its congestion window, and never more than its cap (invariant 7). A cap that is lowered takes
//! effect as requests end.
//!
//! It also knows how many requests end per second while all places are taken: what the lane really gets done. One request that
//! hangs takes one place and leaves the others as fast as they are, where a mean duration would jump.

use schemas::invariants::Invariant;

use super::congestion::{CongestionWindow, FIRST};

/// Time with all places taken over which ends are counted; what is older fades out.
const WINDOW_MS: f64 = 1_000.0;
/// Less of it says nothing.
const LEAST_MS: f64 = 50.0;

/// A window that shrank this long ago no longer says how many places are worth counting on, ms.
const SHRUNK_LATELY_MS: i64 = 60_000;

/// Requests in flight against their limits.
#[derive(Debug)]
pub(crate) struct Cap {
    limit: u32,
    window: CongestionWindow,
    in_flight: u32,
    /// When a request last began or ended, ms.
    moved_ms: i64,
    /// Time with all places taken, fading.
    busy_ms: f64,
    /// Requests that ended in it, fading alike.
    ended: f64,
}

impl Cap {
    /// Nothing in flight. A limit of 0 would never send: it counts as 1.
    pub(crate) fn new(limit: u32) -> Self {
        let window = CongestionWindow::new(FIRST);
        Self { limit: limit.max(1), window, in_flight: 0, moved_ms: 0, busy_ms: 0.0, ended: 0.0 }
    }

    /// The congestion window.
    pub(crate) fn window(&self) -> &CongestionWindow {
        &self.window
    }

    /// Another congestion window.
    pub(crate) fn set_window(&mut self, window: CongestionWindow) {
        self.window = window;
    }

    /// A request came back well; it is still in flight here.
    pub(crate) fn grow(&mut self) {
        self.window.on_success(self.in_flight, self.limit);
    }

    /// The request of this number was lost; the next one that begins has the number `next`.
    pub(crate) fn shrink(&mut self, number: u64, next: u64, now_ms: i64) {
        self.window.on_loss(number, next, now_ms);
    }

    /// How many may be in flight now.
    pub(crate) fn places(&self) -> u32 {
        self.limit.min(self.window.size())
    }

    /// How many places may be counted on: all of the cap, unless losses shrank the window within the last minute.
    pub(crate) fn likely_places(&self, now_ms: i64) -> u32 {
        let shrunk = self.window.shrunk_ms().is_some_and(|at_ms| now_ms - at_ms < SHRUNK_LATELY_MS);
        if shrunk { self.places() } else { self.limit }
    }

    /// What was measured was another endpoint: only what is in flight still counts.
    pub(crate) fn forget_measured(&mut self) {
        *self = Self { in_flight: self.in_flight, moved_ms: self.moved_ms, ..Self::new(self.limit) };
    }

    /// Another limit.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.max(1);
    }

    /// The limit.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether one more may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight < self.places()
    }

    /// One begins.
    pub(crate) fn take(&mut self, now_ms: i64) {
        if self.in_flight >= self.limit {
            Invariant::LaneCap.violated();
        }
        self.in_flight += 1;
        self.window.on_send(self.in_flight);
        self.moved_ms = now_ms;
    }

    /// One ended.
    pub(crate) fn give(&mut self, now_ms: i64) {
        debug_assert!(self.in_flight > 0, "every end has a begin");
        if !self.has_room() {
            self.count(now_ms - self.moved_ms);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.moved_ms = now_ms;
    }

    /// Requests that end per second while all places are taken, if that happened lately.
    pub(crate) fn per_second(&self) -> Option<f64> {
        (self.busy_ms >= LEAST_MS).then(|| self.ended * 1_000.0 / self.busy_ms)
    }

    /// What lasts until now says nothing: this process itself stood still.
    pub(crate) fn forget_stall(&mut self, now_ms: i64) {
        self.moved_ms = now_ms;
    }

    fn count(&mut self, busy_ms: i64) {
        #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 ms")]
        let busy_ms = busy_ms.max(0) as f64;
        self.busy_ms += busy_ms;
        self.ended += 1.0;
        if self.busy_ms > WINDOW_MS {
            self.busy_ms /= 2.0;
            self.ended /= 2.0;
        }
    }

    /// How long all places have been taken without any movement: each of those requests takes at least that long.
    pub(crate) fn stalled_ms(&self, now_ms: i64) -> i64 {
        if self.has_room() { 0 } else { (now_ms - self.moved_ms).max(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lowered_cap_takes_effect_as_requests_end() {
        let mut cap = Cap::new(2);
        cap.take(0);
        cap.take(0);
        cap.set_limit(1);
        cap.give(5);
        assert!(!cap.has_room());
        assert_eq!(cap.stalled_ms(12), 7);
        cap.give(12);
        assert!(cap.has_room());
        assert_eq!(cap.stalled_ms(100), 0);
    }

    #[test]
    fn as_many_as_the_window_and_never_more_than_the_cap() {
        let mut cap = Cap::new(6);
        let fill = |cap: &mut Cap| {
            while cap.has_room() {
                cap.take(0);
            }
            cap.in_flight()
        };
        assert_eq!(fill(&mut cap), FIRST);
        for _ in 0..10 {
            cap.grow();
            cap.give(5);
            fill(&mut cap);
        }
        assert_eq!(cap.in_flight(), 6);
        cap.shrink(6, 7, 7);
        assert_eq!((cap.places(), cap.likely_places(7), cap.likely_places(70_000)), (3, 3, 6));
        cap.set_limit(2);
        assert_eq!(cap.places(), 2);
        cap.forget_measured();
        assert_eq!((cap.in_flight(), cap.limit(), cap.window().size()), (6, 2, FIRST));
    }

    #[test]
    fn one_request_that_hangs_does_not_hide_what_the_others_get_done() {
        let mut cap = Cap::new(4);
        let mut now = 0;
        cap.take(now);
        for _ in 0..2_000 {
            for _ in 0..3 {
                cap.take(now);
            }
            for _ in 0..3 {
                now += 1;
                cap.give(now);
            }
        }
        // One of three ends sees all places taken, after 1 ms.
        let rate = cap.per_second().unwrap();
        assert!((rate - 1_000.0).abs() < 1.0, "{rate}");
    }
}
