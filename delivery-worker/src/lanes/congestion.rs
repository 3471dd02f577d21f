//! The congestion window: how many requests may be in flight at all, learned from what comes back (AIMD).
//!
//! ```text
//! FIRST --slow start: +1 per success, doubles per round trip--> the cap
//!   | first loss: half                                            ^
//!   v                                                             |
//! additive: +1 per round trip ------------------------------------+ at the cap nothing is held against the endpoint any more
//! ```
//!
//! A loss is what says that more was sent than the endpoint takes: no connection, no answer in time, 429, 502 to 504. Requests
//! that were under way when the window shrank tell the same story once more, so it halves at most once per round trip. It grows
//! only while it is used: a window that nobody fills is not proven by what comes back.

/// What a new lane begins with.
pub(crate) const FIRST: u32 = 4;

/// Requests that may be in flight.
#[derive(Clone, Debug)]
pub(crate) struct CongestionWindow {
    size: f64,
    /// Doubling per round trip: no loss since it was new, or since it reached the cap.
    is_starting: bool,
    /// When it shrank last, ms.
    shrunk_ms: Option<i64>,
    /// Requests below this number were under way when it did.
    recovers_at: u64,
    /// Most that were in flight at once in this round, and successes until the next one.
    used: u32,
    round: u32,
}

impl CongestionWindow {
    /// A new one of this size.
    pub(crate) fn new(size: u32) -> Self {
        Self { size: f64::from(size.max(1)), is_starting: true, shrunk_ms: None, recovers_at: 0, used: 0, round: 0 }
    }

    /// One that has shrunk to this size elsewhere.
    pub(crate) fn shrunk(size: u32) -> Self {
        Self { is_starting: false, ..Self::new(size) }
    }

    /// How many may be in flight.
    pub(crate) fn size(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the cap")]
        let size = self.size as u32;
        size.max(1)
    }

    /// Whether losses have made it smaller than it would be, and it has not grown back to the cap.
    pub(crate) fn is_shrunk(&self) -> bool {
        !self.is_starting
    }

    /// When it shrank last.
    pub(crate) fn shrunk_ms(&self) -> Option<i64> {
        self.shrunk_ms
    }

    /// A request begins; so many are in flight with it.
    pub(crate) fn on_send(&mut self, in_flight: u32) {
        self.used = self.used.max(in_flight);
    }

    /// A request came back well while so many were in flight, itself among them. It never grows beyond `most`.
    pub(crate) fn on_success(&mut self, in_flight: u32, most: u32) {
        if self.round == 0 {
            (self.used, self.round) = (self.used.min(in_flight), self.size());
        }
        self.round -= 1;
        if f64::from(self.used.max(in_flight)) * 2.0 < self.size {
            return;
        }
        self.size += if self.is_starting { 1.0 } else { 1.0 / self.size };
        let most = f64::from(most.max(1));
        if self.size >= most {
            self.size = most;
            self.is_starting = true;
        }
    }

    /// The request of this number was lost; the next one that begins has the number `next`.
    pub(crate) fn on_loss(&mut self, number: u64, next: u64, now_ms: i64) {
        if number < self.recovers_at {
            return;
        }
        self.recovers_at = next;
        self.size = (self.size / 2.0).max(1.0);
        self.is_starting = false;
        self.shrunk_ms = Some(now_ms);
    }

    /// One under a circuit that has just opened: that decides from now on, and leaves this one at what it let through last.
    pub(crate) fn after_circuit(size: u32, next: u64, now_ms: i64) -> Self {
        Self { shrunk_ms: Some(now_ms), recovers_at: next, ..Self::new(size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round trips in which everything in flight comes back well, at once.
    fn rounds(window: &mut CongestionWindow, count: u32, most: u32) -> Vec<u32> {
        let round = |_| {
            let in_flight = window.size().min(most);
            (1..=in_flight).for_each(|number| window.on_send(number));
            (1..=in_flight).rev().for_each(|left| window.on_success(left, most));
            window.size()
        };
        (0..count).map(round).collect()
    }

    #[test]
    fn it_doubles_per_round_trip_to_the_cap_until_the_first_loss_then_grows_by_one() {
        let mut window = CongestionWindow::new(FIRST);
        assert_eq!(rounds(&mut window, 5, 32), [8, 16, 32, 32, 32]);
        window.on_loss(1, 2, 2);
        assert_eq!(window.size(), 16);
        let grown = rounds(&mut window, 4, 32);
        assert!(grown.windows(2).all(|pair| pair[1] - pair[0] <= 1) && (18..=20).contains(&grown[3]), "{grown:?}");
        // At the cap again, nothing is held against it.
        rounds(&mut window, 20, 32);
        assert_eq!((window.size(), window.is_shrunk()), (32, false));
    }

    #[test]
    fn it_halves_once_per_round_trip_and_never_below_one() {
        let mut window = CongestionWindow::new(32);
        for _ in 0..32 {
            window.on_loss(100, 132, 200);
        }
        assert_eq!(window.size(), 16, "those were all under way together");
        window.on_loss(132, 133, 300);
        assert_eq!(window.size(), 8);
        for at in 4..50 {
            window.on_loss(at * 100, at * 100, 300);
        }
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut window = CongestionWindow::new(8);
        for _ in 0..100 {
            window.on_success(3, 32);
        }
        assert_eq!(window.size(), 8);
        window.on_success(4, 32);
        assert_eq!(window.size(), 9);
    }
}
