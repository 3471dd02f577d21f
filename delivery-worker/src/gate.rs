//! May anything be sent now? Only while this process surely still owns its partitions.
//!
//! ```text
//! last poll young, oldest uncommitted outcome young --> open
//! one of them older than half the session timeout   --> closed until they are young again
//! this process itself stood still that long         --> suspect: closed until a transaction has proved every lease
//! ```
//!
//! Ages are on the clock that counts suspension: a process that was frozen finds out before it sends anything. The suspicion is
//! needed because the poll thread may look young again before the group tells it that it is out.

/// See the module. Pure: the caller brings the clock.
#[derive(Debug)]
pub(crate) struct Gate {
    limit_ms: i64,
    last_turn_ms: i64,
    is_suspect: bool,
}

impl Gate {
    /// An open gate.
    pub(crate) fn new(limit_ms: i64, boot_ms: i64) -> Self {
        Self { limit_ms, last_turn_ms: boot_ms, is_suspect: false }
    }

    /// One turn of the worker. True: sending is allowed until the next one.
    pub(crate) fn turn(&mut self, boot_ms: i64, poll_age_ms: i64, oldest_outcome_ms: Option<i64>) -> bool {
        let stood_still = boot_ms - self.last_turn_ms >= self.limit_ms;
        let is_cut_off = poll_age_ms >= self.limit_ms;
        self.last_turn_ms = boot_ms;
        if stood_still || is_cut_off {
            self.is_suspect = true;
        }
        let is_late = oldest_outcome_ms.is_some_and(|at_ms| boot_ms - at_ms >= self.limit_ms);
        !self.is_suspect && !is_cut_off && !is_late
    }

    /// Whether only a transaction can open it.
    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// A transaction over every lease that began after the suspicion was committed.
    pub(crate) fn prove(&mut self) {
        self.is_suspect = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_while_kafka_is_silent_and_opens_again_after_a_proof() {
        let mut gate = Gate::new(4_000, 0);
        assert!(gate.turn(1_000, 100, Some(500)));
        assert!(!gate.turn(2_000, 4_000, None));
        assert!(!gate.turn(3_000, 10, None));
        gate.prove();
        assert!(gate.turn(3_100, 10, None));
    }

    #[test]
    fn it_closes_while_an_outcome_is_not_committed() {
        let mut gate = Gate::new(4_000, 0);
        assert!(gate.turn(3_900, 0, Some(0)));
        assert!(!gate.turn(4_000, 0, Some(0)));
        assert!(gate.turn(4_100, 0, Some(4_050)));
    }

    #[test]
    fn a_frozen_process_sends_nothing_before_its_leases_are_proved() {
        let mut gate = Gate::new(4_000, 0);
        assert!(gate.turn(100, 0, None));
        assert!(!gate.turn(20_000, 0, None));
        assert!(gate.is_suspect());
        gate.prove();
        assert!(gate.turn(20_010, 0, None));
    }
}
