//! Replicas that all have something to write take turns of some length, instead of fencing each other for every write.
//!
//! Acquiring costs as much as several transactions. Who is fenced soon after it had acquired knows that another writes too, and
//! lets it write for a while before it fences it in turn; meanwhile what comes here gathers for one transaction.

use std::time::{Duration, Instant};

/// How long the other writes undisturbed. Acquiring takes some 60 ms, a transaction 12 ms.
const SHARE: Duration = Duration::from_millis(200);
/// Who wrote undisturbed for longer has met one single write of another, and need not wait for the next.
const CONTENDED: Duration = Duration::from_secs(1);

/// When this replica acquired last.
#[derive(Debug, Default)]
pub(super) struct WriterShare {
    acquired: Option<Instant>,
}

impl WriterShare {
    /// It has acquired.
    pub(super) fn on_acquired(&mut self, now: Instant) {
        self.acquired = Some(now);
    }

    /// How long it leaves the other its turn, now that it was fenced and has something to write.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        match self.acquired {
            Some(acquired) if now.saturating_duration_since(acquired) < CONTENDED => SHARE,
            Some(_) | None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock;

    use super::*;

    #[test]
    fn only_who_was_fenced_soon_after_it_acquired_leaves_the_other_its_turn() {
        let (mut share, start) = (WriterShare::default(), clock::instant());
        assert_eq!(share.wait(start), Duration::ZERO, "it has never written");
        share.on_acquired(start);
        assert_eq!(share.wait(start + Duration::from_millis(300)), SHARE);
        assert_eq!(share.wait(start + CONTENDED), Duration::ZERO, "the other wrote once, after a long time");
    }

    #[test]
    fn two_that_write_all_the_time_have_turns_of_equal_length() {
        // Each acquires as soon as it may; who does is the writer from then on.
        let (start, step) = (clock::instant(), Duration::from_millis(10));
        let mut shares = [WriterShare::default(), WriterShare::default()];
        let mut writes = [0_u32, 0];
        let (mut writer, mut may_acquire) = (0, start);
        shares[writer].on_acquired(start);
        for number in 1..2_000 {
            let now = start + step * number;
            writes[writer] += 1;
            let other = 1 - writer;
            if now >= may_acquire {
                shares[other].on_acquired(now);
                // The one that is fenced notices with its next write.
                may_acquire = now + shares[writer].wait(now);
                writer = other;
            }
        }
        let (fewer, more) = (writes[0].min(writes[1]), writes[0].max(writes[1]));
        assert!(fewer * 10 >= more * 9, "{writes:?}");
    }
}
