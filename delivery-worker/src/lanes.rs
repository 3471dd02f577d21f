//! Lanes: one per subscription, local to the owner of its partition. Decides when the next of its deliveries may be sent.
//!
//! ```text
//! queue --cap, breaker, rate--> in flight --outcome--> measured rate, breaker
//!   ^
//!   +-- what waits: in memory, or as an offset that is read back when its turn comes
//! ```
//!
//! Everything here is pure; the engine owns the lanes and knows the clock.

pub(crate) mod breaker;
pub(crate) mod cap;
pub(crate) mod egress;
mod line;
pub(crate) mod queue;
pub(crate) mod rate;
pub(crate) mod streak;

use retry::RetryError;

use self::breaker::Breaker;
use self::cap::Cap;
pub(crate) use self::line::OffsetLine;
use self::queue::Queue;
use self::rate::Rate;
use self::streak::Streak;
use crate::slots::Ticket;
use kafka::Epoch;

/// What a lane has measured of its endpoint's speed is worth so much of its time: it is measured anew within seconds, and
/// deliveries that come more seldom do not wait for each other.
const MEASURED_MS: i64 = 10 * 60_000;
/// What a lane has learned of its endpoint's failures is kept so long after its last delivery: whatever waits for a retry is back
/// before. Delays and `Retry-After` are at most 7 days ([`retry::MAX_DELAY`]), with jitter a tenth more.
pub(crate) const LEARNED_MS: i64 = 8 * 86_400_000;

/// One subscription's lane.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Deliveries that wait for their turn.
    pub(crate) queue: Queue<Ticket>,
    /// Requests in flight.
    pub(crate) cap: Cap,
    /// What it does per second, and what it may do.
    pub(crate) rate: Rate,
    /// Whether its endpoint answers at all.
    pub(crate) breaker: Breaker,
    /// How long its endpoint has been failing.
    pub(crate) streak: Streak,
    /// The lease of its latest delivery: the lane goes when that lease goes.
    pub(crate) lease: Epoch,
    /// Its lease is over; it goes when nothing is in flight any more.
    pub(crate) is_orphan: bool,
    /// Its subscription is paused, as far as it was looked at.
    pub(crate) is_paused: bool,
    /// Its head is read back to see whether it has died of age, though nothing is sent.
    pub(crate) checks_age: bool,
    /// When it began, Unix ms: for a moment nothing can be known of its speed.
    pub(crate) begun_ms: i64,
    /// It stands in the ready queue, or is held back from it.
    pub(crate) is_ready: bool,
    /// The earliest timer that is set for it.
    pub(crate) timer_ms: Option<i64>,
    /// `control` offset of the subscription its limits were taken from.
    pub(crate) limits_of: Option<i64>,
    /// When a delivery last came or a request last ended, Unix ms.
    pub(crate) used_ms: i64,
    /// When it is looked at next, whether it can be forgotten, Unix ms.
    pub(crate) look_ms: i64,
}

/// What a subscription limits its lane to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Requests in flight.
    pub(crate) concurrency: u32,
    /// Requests per second.
    pub(crate) per_second: Option<f64>,
}

impl Lane {
    /// An idle lane.
    pub(crate) fn new(lease: Epoch, breaker: Breaker) -> Self {
        Self {
            queue: Queue::default(),
            cap: Cap::new(1),
            rate: Rate::default(),
            breaker,
            streak: Streak::default(),
            lease,
            is_orphan: false,
            is_paused: false,
            checks_age: false,
            begun_ms: 0,
            is_ready: false,
            timer_ms: None,
            limits_of: None,
            used_ms: 0,
            look_ms: 0,
        }
    }

    /// Takes a subscription's limits, as of a `control` offset.
    ///
    /// # Errors
    /// A rate that cannot be kept; the former one stays.
    pub(crate) fn set_limits(&mut self, limits: Limits, of: i64) -> Result<(), RetryError> {
        self.limits_of = Some(of);
        self.cap.set_limit(limits.concurrency);
        self.rate.set_limit(limits.per_second)
    }

    /// Requests per second it is good for now. A stall below `stall_ms` is no measure: endpoints pause.
    pub(crate) fn per_second(&self, stall_ms: i64, now_ms: i64) -> f64 {
        let stalled_ms = self.cap.stalled_ms(now_ms);
        let stalled_ms = if stalled_ms < stall_ms { 0 } else { stalled_ms };
        self.rate.per_second(self.cap.limit(), self.cap.per_second(), stalled_ms)
    }

    /// Whether it could go without loss: nothing waits and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.cap.in_flight() == 0
    }

    /// Whether it could go and come back without ever sending more than one that stayed.
    pub(crate) fn is_at_rest(&self, now_ms: i64) -> bool {
        self.is_idle() && !self.is_ready && self.rate.is_rested(now_ms)
    }

    /// Whether one that is at rest knows nothing that a new one would have to know: nobody is on the way back to it, and its
    /// endpoint did not fail, or that was too long ago for anything to come back that could tell.
    pub(crate) fn is_blank(&self, now_ms: i64) -> bool {
        let unused_ms = now_ms - self.used_ms;
        if unused_ms < MEASURED_MS {
            return false;
        }
        let learned = !self.breaker.is_fresh() || !self.streak.is_fresh() || self.rate.is_slowed() || self.is_paused;
        !learned || unused_ms >= LEARNED_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        let mut lane = Lane::new(Epoch(1), Breaker::new(20));
        lane.set_limits(Limits { concurrency: 2, per_second: None }, 1).unwrap();
        lane
    }

    #[test]
    fn what_is_failing_slowed_or_paused_is_known_for_as_long_as_anything_can_come_back() {
        let mut slowed = lane();
        slowed.rate.observe(10);
        slowed.rate.slow_down(2, 0);
        let mut paused = lane();
        paused.is_paused = true;
        let mut failing = lane();
        failing.breaker.on_failure(0);
        for lane in [failing, slowed, paused] {
            assert!(!lane.is_blank(LEARNED_MS - 1) && lane.is_blank(LEARNED_MS));
        }
    }
}
