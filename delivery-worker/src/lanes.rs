//! Lanes: one per subscription, local to the owner of its partition. Decides when the next of its deliveries may be sent.
//!
//! ```text
//! queue --hold, circuit, window, cap, rate--> (its origin's circuit and window) --> in flight --end--> sign --> all of them learn
//!   ^
//!   +-- what waits: in memory, or as an offset that is read back when its turn comes
//! ```
//!
//! **Who holds what back.** The *hold* is what the endpoint asked for (`Retry-After`), the *circuit* ([`breaker`]) whether it
//! works at all, the *window* ([`congestion`]) how many at a time come back well, the *rate* ([`rate`]) how many a second it may
//! be sent and, where it turns some away, how many it took lately. Where this worker itself cannot send, its own [`lack`] holds
//! the lane. Above the lanes stands their [`origin`].
//!
//! Everything here is pure; the engine owns the lanes and knows the clock. Times are the engine's, which never jump
//! (`crate::steady`), but for failing times, which are the wall's.

pub(crate) mod breaker;
pub(crate) mod cap;
pub(crate) mod condition;
pub(crate) mod congestion;
pub(crate) mod egress;
pub(crate) mod identity;
pub(crate) mod keys;
mod lack;
mod learn;
mod line;
pub(crate) mod origin;
pub(crate) mod queue;
pub(crate) mod rate;
pub(crate) mod share;
pub(crate) mod sign;
pub(crate) mod streak;
pub(crate) mod throttle;

use retry::RetryError;

use self::breaker::{Breaker, SentAs};
use self::cap::Cap;
use self::condition::ToldCondition;
use self::identity::EndpointIdentity;
use self::keys::LaneQueue;
use self::lack::OwnLack;
pub(crate) use self::line::OffsetLine;
use self::origin::OpenOrigin;
use self::rate::Rate;
use self::sign::Sign;
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
    pub(crate) queue: LaneQueue<Ticket>,
    /// Requests in flight.
    pub(crate) cap: Cap,
    /// What it does per second, and what it may do.
    pub(crate) rate: Rate,
    /// Whether its endpoint works at all.
    pub(crate) breaker: Breaker,
    /// Nothing is sent before, ms: its endpoint asked for it.
    pub(crate) hold_until_ms: i64,
    /// Requests below this number were under way when it asked.
    held_at: u64,
    /// Requests that began here.
    sends: u64,
    /// What this worker lacks for its requests.
    lack: OwnLack,
    /// Whose endpoint it is: what was learned is of this one.
    pub(crate) identity: EndpointIdentity,
    /// When its endpoint last took one, ms.
    pub(crate) worked_ms: Option<i64>,
    /// The last request that ended came back well.
    is_well: bool,
    /// The last request that ended did not.
    has_failed: bool,
    /// Turn of its circuit since which its endpoint is the present one.
    anew: u64,
    /// Its next request goes whatever its circuits say: somebody says that its endpoint is mended.
    pub(crate) is_probe_due: bool,
    /// How long its endpoint has been failing.
    pub(crate) streak: Streak,
    /// The circuit of its origin, where a request of this lane has opened it: what is kept of it for the next owner.
    origin: Option<OpenOrigin>,
    /// What stands of it in its record.
    told: ToldCondition,
    /// The lease of its latest delivery: the lane goes when that lease goes.
    pub(crate) lease: Epoch,
    /// Its lease is over; it goes when nothing is in flight any more.
    pub(crate) is_orphan: bool,
    /// Its subscription is paused, as far as it was looked at.
    pub(crate) is_paused: bool,
    /// When it began, ms: for a moment nothing can be known of its speed.
    pub(crate) begun_ms: i64,
    /// It stands in the ready queue, or is held back from it.
    pub(crate) is_ready: bool,
    /// What holds it back from the ready queue, while it is ready.
    pub(crate) held_back: HeldBack,
    /// It is counted among the lanes whose circuit is open.
    pub(crate) is_counted_open: bool,
    /// The earliest timer that is set for it.
    pub(crate) timer_ms: Option<i64>,
    /// `control` offset of the subscription its limits were taken from.
    pub(crate) limits_of: Option<i64>,
    /// Its version when everything that waits here was last looked at, here or by the owner before; `None`: it is gone, or nothing was
    /// here yet.
    pub(crate) reviewed_of: Option<i64>,
    /// When a delivery last came or a request last ended, ms.
    pub(crate) used_ms: i64,
    /// When it is looked at next, whether it can be forgotten, ms.
    pub(crate) look_ms: i64,
}

/// What holds a lane back although it has work and room. A lane that goes leaves its entries in those lists behind: where it is
/// held back again, they stand for it, so that no list has it twice.
#[derive(Debug, Default)]
pub(crate) struct HeldBack {
    /// Its origin.
    pub(crate) by_origin: bool,
    /// It has an entry among those of its origin that have not failed, and among the others.
    pub(crate) in_untried: bool,
    pub(crate) in_failed: bool,
    /// The worker, which is nearly full.
    pub(crate) by_worker: bool,
    /// It has an entry among those.
    pub(crate) in_held: bool,
    /// It waits for a commit of its partition.
    pub(crate) by_commit: bool,
}

/// The end of a request, as its lane is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestEnd {
    /// What it says.
    pub(crate) sign: Sign,
    /// What it was remembered by.
    pub(crate) sent: SentAs,
    /// How long it took, ms.
    pub(crate) elapsed_ms: i64,
    /// How long its endpoint asked to wait, cut, ms.
    pub(crate) asked_ms: Option<i64>,
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
            queue: LaneQueue::default(),
            cap: Cap::new(1),
            rate: Rate::default(),
            breaker,
            hold_until_ms: i64::MIN,
            held_at: 0,
            sends: 0,
            lack: OwnLack::default(),
            identity: EndpointIdentity::default(),
            worked_ms: None,
            is_well: false,
            has_failed: false,
            anew: 0,
            is_probe_due: false,
            streak: Streak::default(),
            origin: None,
            told: ToldCondition::default(),
            lease,
            is_orphan: false,
            is_paused: false,
            begun_ms: 0,
            is_ready: false,
            held_back: HeldBack::default(),
            is_counted_open: false,
            timer_ms: None,
            limits_of: None,
            reviewed_of: None,
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
        self.rate.per_second(self.cap.likely_places(now_ms), self.cap.per_second(), stalled_ms)
    }

    /// Whether it sends nothing now, or a probe at most.
    pub(crate) fn is_closed(&self, now_ms: i64) -> bool {
        self.is_paused || self.breaker.is_open() || now_ms < self.hold_until_ms || self.lack.is_found()
    }

    /// Whether it could go without loss: nothing waits, no key waits for what comes back, and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.queue.has_held() && self.cap.in_flight() == 0
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
        let is_held = self.hold_until_ms > now_ms;
        let is_hurt = !self.breaker.is_fresh() || self.cap.window().is_shrunk() || self.rate.is_slowed();
        let learned = is_held || is_hurt || !self.streak.is_fresh() || self.is_paused;
        !learned || unused_ms >= LEARNED_MS
    }
}

#[cfg(test)]
mod tests;
