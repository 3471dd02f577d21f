//! What the events of one request may cost the thread that takes them, and when it serves others in between. Pure.
//!
//! With a snapshot that is there nothing suspends until the last event of a batch is sent, so neither another request nor the
//! timer of its own would get a turn: 1,000 checks of 20 ms are 20 s. Time is counted as it is priced, never measured: what one
//! request may ask for must not depend on who else is asking.

use catalog::schema::{MAX_CHECK_NS, READ_NS};

/// All checks of one request together, ns: as much as five of the most costly payloads. A batch of 1,000 ordinary events takes a
/// few milliseconds of it.
const REQUEST_NS: u64 = 5 * MAX_CHECK_NS;
/// So long a request goes on before others have a turn, ns.
const TURN_NS: u64 = 2_000_000;
/// An event without its payload and its check: read, written as a record, handed to the producer. ns.
const EVENT_NS: u64 = 5_000;

/// What is left to one request.
#[derive(Debug)]
pub(crate) struct CheckBudget {
    left_ns: u64,
    turn_ns: u64,
}

// === impl CheckBudget ===

impl CheckBudget {
    pub(crate) fn new() -> Self {
        Self { left_ns: REQUEST_NS, turn_ns: 0 }
    }

    /// Milliseconds that one request has.
    pub(crate) fn whole_ms() -> u64 {
        REQUEST_NS / 1_000_000
    }

    /// Takes what a check may cost; `false` if that is more than is left.
    pub(crate) fn take(&mut self, price_ns: u64) -> bool {
        let Some(left_ns) = self.left_ns.checked_sub(price_ns) else { return false };
        self.left_ns = left_ns;
        self.turn_ns = self.turn_ns.saturating_add(price_ns);
        true
    }

    /// A schema is compiled first, which has no price: others have the next turn.
    pub(crate) fn end_turn(&mut self) {
        self.turn_ns = TURN_NS;
    }

    /// An event was taken or refused. Whether others have a turn before the next one.
    pub(crate) fn is_turn_over(&mut self, payload_bytes: usize) -> bool {
        let event_ns = EVENT_NS.saturating_add(READ_NS.saturating_mul(payload_bytes as u64));
        self.turn_ns = self.turn_ns.saturating_add(event_ns);
        let is_over = self.turn_ns >= TURN_NS;
        if is_over {
            self.turn_ns = 0;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_takes_nothing_and_what_is_cheaper_still_fits() {
        let mut budget = CheckBudget::new();
        assert!((0..4).all(|_| budget.take(MAX_CHECK_NS)));
        assert!(!budget.take(MAX_CHECK_NS + 1));
        assert!(budget.take(MAX_CHECK_NS), "the one before took nothing");
        assert!(!budget.take(1));
    }

    #[test]
    fn others_have_a_turn_after_every_two_milliseconds_of_work() {
        let mut budget = CheckBudget::new();
        let turns = (0..1_000).filter(|_| budget.is_turn_over(500)).count();
        assert_eq!(turns, 3, "in 7 ms");
        assert!(budget.take(TURN_NS) && budget.is_turn_over(0), "a costly check is a turn of its own");
        assert!(!budget.is_turn_over(0));
        budget.end_turn();
        assert!(budget.is_turn_over(0));
    }
}
