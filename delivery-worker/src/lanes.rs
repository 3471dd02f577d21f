//! Lanes: one per subscription, local to the owner of its partition. Decides when the next of its deliveries may be sent.
//!
//! ```text
//! queue --cap, breaker, rate--> in flight --outcome--> measured rate, breaker
//!   |
//!   +-- longer than lane_wait at that rate --> pace: parked to a delay topic
//! ```
//!
//! Everything here is pure; the engine owns the lanes and knows the clock.

pub(crate) mod breaker;
pub(crate) mod cap;
pub(crate) mod egress;
pub(crate) mod pace;
pub(crate) mod queue;
pub(crate) mod rate;
pub(crate) mod streak;

use retry::RetryError;

use self::breaker::Breaker;
use self::cap::Cap;
use self::pace::Pace;
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
    /// Deliveries that may be sent as soon as there is room.
    pub(crate) queue: Queue<Ticket>,
    /// Requests in flight.
    pub(crate) cap: Cap,
    /// What it does per second, and what it may do.
    pub(crate) rate: Rate,
    /// Whether its endpoint answers at all.
    pub(crate) breaker: Breaker,
    /// How long its endpoint has been failing.
    pub(crate) streak: Streak,
    /// When the next delivery that its lane is too slow for comes back.
    pub(crate) pace: Pace,
    /// When the next delivery of an open circuit comes back.
    pub(crate) long_pace: Pace,
    /// The lease of its latest delivery: the lane goes when that lease goes.
    pub(crate) lease: Epoch,
    /// Its lease is over; it goes when nothing is in flight any more.
    pub(crate) is_orphan: bool,
    /// Its subscription was paused when one of its deliveries was last looked at.
    pub(crate) is_paused: bool,
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

/// How long deliveries may wait for their lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneWait {
    /// Longer ones are parked.
    pub(crate) ms: i64,
    /// As many may wait where nothing is known yet.
    pub(crate) share: usize,
}

/// What a subscription limits its lane to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Requests in flight.
    pub(crate) concurrency: u32,
    /// Requests per second.
    pub(crate) per_second: Option<f64>,
}

impl LaneWait {
    /// A lane that stood still this long is as slow as that.
    fn stall_ms(self) -> i64 {
        self.ms * 3
    }
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
            pace: Pace::default(),
            long_pace: Pace::default(),
            lease,
            is_orphan: false,
            is_paused: false,
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

    /// Requests per second it is good for now. A short stall is no measure: endpoints pause.
    pub(crate) fn per_second(&self, wait: LaneWait, now_ms: i64) -> f64 {
        let stalled_ms = self.cap.stalled_ms(now_ms);
        let stalled_ms = if stalled_ms < wait.stall_ms() { 0 } else { stalled_ms };
        self.rate.per_second(self.cap.limit(), self.cap.per_second(), stalled_ms)
    }

    /// How many of its deliveries may wait here, so that the last one still is in flight in time. Before `concurrency` outcomes
    /// are known any number may, but if nothing moves at all, no more than a lane's share of the look-ahead.
    pub(crate) fn room(&self, wait: LaneWait, now_ms: i64) -> usize {
        let is_known = self.rate.outcomes() >= u64::from(self.cap.limit());
        if !is_known && self.cap.stalled_ms(now_ms) < wait.stall_ms() {
            return usize::MAX;
        }
        #[expect(clippy::cast_precision_loss, reason = "waits are far below 2^52 ms")]
        let records = self.per_second(wait, now_ms) * wait.ms as f64 / 1_000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturating is meant"
        )]
        let records = records as usize;
        // One always may: else a lane slower than one in `wait` would never send anything.
        records.max(if is_known { 1 } else { wait.share })
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
        if unused_ms < MEASURED_MS || !self.pace.is_over(now_ms) || !self.long_pace.is_over(now_ms) {
            return false;
        }
        let learned = !self.breaker.is_fresh() || !self.streak.is_fresh() || self.rate.is_slowed() || self.is_paused;
        !learned || unused_ms >= LEARNED_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn lane() -> Lane {
        let mut lane = Lane::new(Epoch(1), Breaker::new(20));
        lane.set_limits(Limits { concurrency: 2, per_second: None }, 1).unwrap();
        lane
    }

    #[test]
    fn a_lane_that_something_is_on_the_way_back_to_is_not_blank() {
        let mut slow = lane();
        assert!(slow.is_blank(HOUR));
        let back = slow.pace.slot(HOUR, 5_000, 0.001);
        assert!(!slow.is_blank(back - 1) && slow.is_blank(back));
        let mut dead = lane();
        let back = dead.long_pace.slot(0, 2 * HOUR, 8.0);
        assert!(!dead.is_blank(HOUR) && dead.is_blank(back));
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
