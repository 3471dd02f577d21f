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

/// Decides, with the ages as arguments.
#[derive(Debug)]
pub(crate) struct Gate {
    limit_ms: i64,
    last_turn_ms: i64,
    is_suspect: bool,
    is_open: bool,
    doubts: u64,
}

impl Gate {
    /// An open gate that closes when contact is older than `limit_ms`.
    pub(crate) fn new(limit_ms: i64, boot_ms: i64) -> Self {
        Self { limit_ms, last_turn_ms: boot_ms, is_suspect: false, is_open: true, doubts: 0 }
    }

    /// One turn of the loop, at `boot_ms` on the clock that counts suspension; `oldest_outcome_ms` on the same clock.
    pub(crate) fn turn(&mut self, boot_ms: i64, poll_age_ms: i64, oldest_outcome_ms: Option<i64>) {
        let stood_still = boot_ms - self.last_turn_ms >= self.limit_ms;
        let is_cut_off = poll_age_ms >= self.limit_ms;
        self.last_turn_ms = boot_ms;
        if stood_still || is_cut_off {
            self.is_suspect = true;
            self.doubts += 1;
        }
        let is_late = oldest_outcome_ms.is_some_and(|at_ms| boot_ms - at_ms >= self.limit_ms);
        self.is_open = !self.is_suspect && !is_cut_off && !is_late;
    }

    /// Whether requests may be sent until the next turn.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether only a transaction can open it.
    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// Counts the turns that gave reason to doubt; a transaction proves something only if it began after the last of them.
    pub(crate) fn doubts(&self) -> u64 {
        self.doubts
    }

    /// A transaction over every lease that began after the last doubt was committed. The next turn opens the gate.
    pub(crate) fn prove(&mut self) {
        self.is_suspect = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(gate: &mut Gate, boot_ms: i64, poll_age_ms: i64, oldest_outcome_ms: Option<i64>) -> bool {
        gate.turn(boot_ms, poll_age_ms, oldest_outcome_ms);
        gate.is_open()
    }

    #[test]
    fn it_closes_while_kafka_is_silent_and_opens_again_after_a_proof() {
        let mut gate = Gate::new(4_000, 0);
        assert!(turn(&mut gate, 1_000, 100, Some(500)));
        assert!(!turn(&mut gate, 2_000, 4_000, None));
        assert!(!turn(&mut gate, 3_000, 10, None));
        assert_eq!(gate.doubts(), 1);
        gate.prove();
        assert!(turn(&mut gate, 3_100, 10, None));
    }

    #[test]
    fn it_closes_while_an_outcome_is_not_committed() {
        let mut gate = Gate::new(4_000, 0);
        assert!(turn(&mut gate, 3_900, 0, Some(0)));
        assert!(!turn(&mut gate, 4_000, 0, Some(0)));
        assert!(turn(&mut gate, 4_100, 0, Some(4_050)));
        assert_eq!(gate.doubts(), 0, "late is no doubt: it opens by itself");
    }

    #[test]
    fn a_frozen_process_sends_nothing_before_its_leases_are_proved() {
        let mut gate = Gate::new(4_000, 0);
        assert!(turn(&mut gate, 100, 0, None));
        assert!(!turn(&mut gate, 20_000, 0, None));
        assert!(gate.is_suspect());
        assert!(!turn(&mut gate, 30_000, 0, None));
        assert_eq!(gate.doubts(), 2, "a second freeze doubts anew");
        gate.prove();
        assert!(turn(&mut gate, 30_010, 0, None));
    }
}
