//! What this worker lacks for a lane's requests: a key of the vault, a descriptor, a port. Nothing was sent and nothing is known of the
//! endpoint, so no window, rate or circuit learns of it. But what waits in the lane would be written to a delay topic one by one, as
//! fast as the cluster takes it, and come back for the same. So the lane is held, and a probe tells when the lack is over.
//!
//! ```text
//! not sent --> held for a second --> a probe --not sent--> held for twice as long, 30 s at most
//!                                      | sent, whatever comes of it
//!                                      v
//!                                    as before
//! ```

use super::breaker::Admission;

/// The first hold.
const FIRST_MS: i64 = 1_000;
/// The longest one: as long as what was not sent waits for its own next turn.
const LONGEST_MS: i64 = 30_000;

/// Whether a lane's requests cannot be sent by this worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnLack {
    found: Option<FoundLack>,
}

#[derive(Clone, Copy, Debug)]
struct FoundLack {
    /// No probe goes before, ms.
    until_ms: i64,
    wait_ms: i64,
    /// Requests below this number were under way when it was found, and say nothing new.
    from: u64,
    since_ms: i64,
}

// === impl OwnLack ===

impl OwnLack {
    /// The request of this number was not sent; the next one that begins has the number `next`.
    pub(crate) fn on_unsent(&mut self, (number, next): (u64, u64), now_ms: i64) {
        let (wait_ms, since_ms) = match self.found {
            None => (FIRST_MS, now_ms),
            // A probe. Somebody who asks before its time changes nothing.
            Some(found) if number >= found.from && now_ms >= found.until_ms => {
                ((found.wait_ms * 2).min(LONGEST_MS), found.since_ms)
            }
            Some(_) => return,
        };
        self.found = Some(FoundLack { until_ms: now_ms + wait_ms, wait_ms, from: next, since_ms });
    }

    /// One was sent.
    pub(crate) fn on_sent(&mut self) {
        self.found = None;
    }

    /// There is one: nothing is sent, or a probe at most.
    pub(crate) fn is_found(&self) -> bool {
        self.found.is_some()
    }

    /// What may be sent, with so many in flight.
    pub(crate) fn admission(&self, in_flight: u32, now_ms: i64) -> Admission {
        match self.found {
            None => Admission::Send,
            Some(found) if now_ms < found.until_ms => Admission::Wait(found.until_ms),
            Some(_) if in_flight > 0 => Admission::Probing,
            Some(_) => Admission::Send,
        }
    }

    /// The whole worker lacks something since then, or did, and is watched itself. True: that was this one.
    pub(crate) fn end_outage(&mut self, since_ms: i64) -> bool {
        self.found.take_if(|found| found.since_ms >= since_ms).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_at_a_time_in_holds_that_grow_to_half_a_minute_until_one_is_sent() {
        let mut lack = OwnLack::default();
        assert_eq!(lack.admission(7, 0), Admission::Send);
        // A window of eight is not sent: one hold.
        (0..8).for_each(|number| lack.on_unsent((number, 8), 0));
        let (mut now_ms, mut number, mut waits) = (0, 8, Vec::new());
        for _ in 0..8 {
            let Admission::Wait(until_ms) = lack.admission(0, now_ms) else { panic!("nothing holds it at {now_ms}") };
            waits.push((until_ms - now_ms) / 1_000);
            // Who asks before its time changes nothing.
            lack.on_unsent((number, number + 1), until_ms - 1);
            assert_eq!(lack.admission(0, until_ms - 1), Admission::Wait(until_ms));
            now_ms = until_ms;
            assert_eq!((lack.admission(0, now_ms), lack.admission(1, now_ms)), (Admission::Send, Admission::Probing));
            // What was under way when it was found says nothing new.
            lack.on_unsent((3, number + 2), now_ms);
            assert_eq!(lack.admission(0, now_ms), Admission::Send);
            lack.on_unsent((number + 1, number + 2), now_ms);
            number += 2;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        lack.on_sent();
        assert_eq!(lack.admission(7, now_ms), Admission::Send);
    }

    #[test]
    fn the_end_of_an_outage_ends_what_began_with_it() {
        let mut lack = OwnLack::default();
        assert!(!lack.end_outage(0));
        lack.on_unsent((0, 1), 500);
        assert!(!lack.end_outage(501) && lack.is_found());
        assert!(lack.end_outage(500) && !lack.is_found());
    }
}
