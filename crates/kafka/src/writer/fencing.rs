//! Whether a second process uses our transactional id. Pure.
//!
//! A fencing alone says nothing: a takeover may fence us once, by an older release for one. A second process fences us
//! again as soon as we have initialised: every transaction of either fences the other. So a fencing counts if it hits a
//! young session: one that was initialised a moment ago or has committed one transaction at most.

use std::collections::VecDeque;
use std::time::Duration;

use crate::error::KafkaError;

/// This many fencings that count ...
const MAX: usize = 3;
/// ... within this time mean a second process.
const WINDOW: Duration = Duration::from_secs(60);
/// A session is young for so long after its initialisation.
const YOUNG_MS: i64 = 10_000;

/// The fencings of one writer, on the clock that counts suspension.
#[derive(Default)]
pub(super) struct Fencings {
    counted: VecDeque<i64>,
    initialised_ms: i64,
    committed: u64,
}

// === impl Fencings ===

impl Fencings {
    /// A new session was initialised.
    pub(super) fn initialised(&mut self, now_ms: i64) {
        self.initialised_ms = now_ms;
        self.committed = 0;
    }

    /// The session committed a transaction.
    pub(super) fn committed(&mut self) {
        self.committed += 1;
    }

    /// The session was fenced, and not because its transaction had expired.
    ///
    /// # Errors
    /// [`KafkaError::SecondProcess`].
    pub(super) fn fenced(&mut self, now_ms: i64, transactional_id: &str) -> Result<(), KafkaError> {
        if self.committed > 1 && now_ms - self.initialised_ms >= YOUNG_MS {
            return Ok(());
        }
        let window_ms = i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX);
        self.counted.retain(|at_ms| now_ms - *at_ms < window_ms);
        self.counted.push_back(now_ms);
        if self.counted.len() < MAX {
            return Ok(());
        }
        Err(KafkaError::SecondProcess {
            transactional_id: transactional_id.to_owned(),
            times: self.counted.len(),
            within_s: WINDOW.as_secs(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fencings of sessions that lived so long and committed so much, one after the other.
    fn after(sessions: &[(i64, u64)]) -> Result<(), KafkaError> {
        let (mut fencings, mut now_ms) = (Fencings::default(), 1_000);
        for (lived_ms, committed) in sessions {
            fencings.initialised(now_ms);
            (0..*committed).for_each(|_| fencings.committed());
            now_ms += lived_ms;
            fencings.fenced(now_ms, "slot")?;
        }
        Ok(())
    }

    #[test]
    fn a_second_process_is_noticed_whether_busy_or_idle() {
        // Busy: it comes back at once, however much was committed meanwhile.
        assert!(after(&[(500, 40), (700, 60), (600, 50)]).is_err());
        // Idle: it comes back at the next transaction, whenever that is.
        assert!(after(&[(25_000, 1), (25_000, 1), (9_000, 0)]).is_err());
        // Long after our start: the first does not count, what follows does.
        assert!(after(&[(3_600_000, 10_000), (500, 40), (700, 60), (600, 50)]).is_err());
    }

    #[test]
    fn takeovers_that_fence_an_old_session_are_no_second_process() {
        assert!(after(&[(15_000, 100), (15_000, 100), (15_000, 100), (15_000, 100)]).is_ok());
        assert!(after(&[(3_600_000, 10_000), (500, 40), (700, 60)]).is_ok(), "twice is no proof");
        // Three, but never within a minute.
        assert!(after(&[(500, 0), (40_000, 1), (40_000, 1), (40_000, 1)]).is_ok());
    }
}
