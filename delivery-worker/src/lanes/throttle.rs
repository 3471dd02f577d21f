//! What an endpoint that turns requests away is sent: what it took lately, and a little more now and then.
//!
//! ```text
//! turned away --> goal: what succeeded in the last second; that is the rate from now on
//!   | again, and nothing succeeded since: half of it, and half of that
//!   v
//! a success --> back to the goal --> beyond it 1 % a second (5 %, if the goal was a
//!   guess), twice that after each ten seconds without another refusal
//! ```
//!
//! A rate that *could be* (places by duration) is of no use here: an endpoint that turns 990 of 1,000 away in a millisecond could
//! be sent 32,000 a second. What came back well is a fact. Where it took a long row of refusals until one was taken again, the
//! last second was a burst that the endpoint allows once in a while, and the goal is what it took over all of that time.

use retry::{RetryError, TokenBucket};

/// Buckets of a tenth of a second in which successes are counted.
const TENTHS: usize = 10;
const TENTH_MS: i64 = 100;
/// Of what succeeded so much is asked for.
const SHARE: f64 = 0.95;
/// The goal is at least this, per second, where it is taken from one second alone.
const LEAST_GOAL: f64 = 1.0;
/// The slowest a lane is slowed to, per second.
const SLOWEST: f64 = 0.1;
/// Successes of a second from which on an overloaded answer says how much is too much; less may be all there was to send.
const ENOUGH: f64 = 5.0;
/// So many refusals in a row say that the last second was a burst.
const LONG_ROW: u32 = 8;
/// A row this short says that the goal is about right.
const SHORT_ROW: u32 = 2;
/// Growth beyond a goal that is about right, of the rate per second; and beyond one that is only a guess.
const GROWTH: f64 = 0.01;
const GUESS_GROWTH: f64 = 0.05;
/// It doubles after each of these, ms.
const GROWTH_DOUBLES_MS: i64 = 10_000;
/// A bucket holds what comes in this share of a second: timers tick in milliseconds, faster lanes need a few at once.
const BURST_S: f64 = 0.02;
/// Rates the bucket can count.
const COUNTABLE: std::ops::RangeInclusive<f64> = 0.0001..=1_000_000.0;

/// A rate that is kept.
#[derive(Debug)]
pub(crate) struct PacedRate {
    per_second: f64,
    bucket: TokenBucket,
}

/// What an endpoint that turns requests away is sent.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    goodput: Goodput,
    slowed: Option<Slowed>,
}

#[derive(Debug)]
struct Slowed {
    rate: PacedRate,
    /// What it goes back to at once.
    goal: f64,
    /// When a success last ended a row of refusals (at first: when it was slowed), ms, and successes since.
    since_ms: i64,
    taken: f64,
    /// Refusals since the last success that each made it slower.
    row: u32,
    lowered_ms: i64,
    growth: f64,
    /// Requests below this number were under way then.
    recovers_at: u64,
    grown_ms: i64,
}

/// Successes of the last second.
#[derive(Debug, Default)]
struct Goodput {
    tenths: [u32; TENTHS],
    newest: i64,
}

/// How a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusing {
    /// 429: so many are too many, whatever else is true.
    TooMany,
    /// 502 to 504: it may be overloaded, or down.
    Overloaded,
}

// === impl PacedRate ===

impl PacedRate {
    /// A rate that nothing was taken of.
    pub(crate) fn new(per_second: f64) -> Result<Self, RetryError> {
        Ok(Self { per_second, bucket: TokenBucket::new(countable(per_second), burst(per_second))? })
    }

    /// Another rate; what is used up stays used up.
    pub(crate) fn set(&mut self, per_second: f64) -> Result<(), RetryError> {
        self.bucket.set_rate(countable(per_second), burst(per_second))?;
        self.per_second = per_second;
        Ok(())
    }

    /// Per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Its bucket.
    pub(crate) fn bucket(&self) -> &TokenBucket {
        &self.bucket
    }

    /// Its bucket, to take from.
    pub(crate) fn bucket_mut(&mut self) -> &mut TokenBucket {
        &mut self.bucket
    }
}

// === impl Throttle ===

impl Throttle {
    /// The rate that holds, if any.
    pub(crate) fn rate(&self) -> Option<&PacedRate> {
        self.slowed.as_ref().map(|slowed| &slowed.rate)
    }

    /// The rate that holds, to take from.
    pub(crate) fn rate_mut(&mut self) -> Option<&mut PacedRate> {
        self.slowed.as_mut().map(|slowed| &mut slowed.rate)
    }

    /// Nothing is held against the endpoint any more.
    pub(crate) fn forget(&mut self) {
        self.slowed = None;
    }

    /// The endpoint took the request of this number. `could_be` is what the lane could do if nothing held it back.
    pub(crate) fn on_success(&mut self, number: u64, could_be: f64, now_ms: i64) {
        self.goodput.count(now_ms);
        let Some(slowed) = &mut self.slowed else { return };
        slowed.taken += 1.0;
        if number < slowed.recovers_at {
            // It was sent before anything was turned away.
            return;
        }
        if slowed.row > 0 {
            slowed.end_row(now_ms);
        }
        let next = slowed.next(now_ms);
        slowed.grown_ms = now_ms;
        if next >= could_be || slowed.rate.set(next).is_err() {
            self.slowed = None;
        }
    }

    /// The endpoint turned the request of this number away; the next one that begins has the number `next`.
    pub(crate) fn on_refusal(&mut self, how: Refusing, (number, next): (u64, u64), now_ms: i64) {
        let lately = self.goodput.per_second(now_ms);
        let Some(slowed) = &mut self.slowed else {
            if how == Refusing::TooMany || lately >= ENOUGH {
                self.slowed = Slowed::new(lately, next, now_ms);
            }
            return;
        };
        if number < slowed.recovers_at {
            return;
        }
        slowed.recovers_at = next;
        let rate = slowed.rate.per_second();
        let next = if slowed.row == 0 {
            slowed.goal = (lately * SHARE).clamp(SLOWEST, rate);
            slowed.goal
        } else if how == Refusing::TooMany {
            (rate / 2.0).max(SLOWEST)
        } else {
            rate
        };
        slowed.row += 1;
        slowed.lowered_ms = now_ms;
        if slowed.rate.set(next).is_err() {
            self.slowed = None;
        }
    }
}

// === impl Slowed ===

impl Slowed {
    fn new(lately: f64, recovers_at: u64, now_ms: i64) -> Option<Self> {
        let goal = (lately * SHARE).max(LEAST_GOAL);
        let rate = PacedRate::new(goal).ok()?;
        let taken = lately;
        let (since_ms, lowered_ms, grown_ms, growth) = (now_ms, now_ms, now_ms, GUESS_GROWTH);
        Some(Self { rate, goal, since_ms, taken, row: 1, lowered_ms, growth, recovers_at, grown_ms })
    }

    fn end_row(&mut self, now_ms: i64) {
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ms")]
        let seconds = (now_ms - self.since_ms).max(1) as f64 / 1_000.0;
        if self.row >= LONG_ROW && seconds >= 1.0 {
            self.goal = self.goal.min((self.taken / seconds).max(SLOWEST));
        }
        self.growth = if self.row <= SHORT_ROW { GROWTH } else { GUESS_GROWTH };
        (self.row, self.taken, self.since_ms) = (0, 0.0, now_ms);
    }

    fn next(&self, now_ms: i64) -> f64 {
        let rate = self.rate.per_second();
        if rate < self.goal {
            return self.goal;
        }
        let doublings = i32::try_from((now_ms - self.lowered_ms) / GROWTH_DOUBLES_MS).unwrap_or(0).clamp(0, 6);
        #[expect(clippy::cast_precision_loss, reason = "at most a second")]
        let seconds = (now_ms - self.grown_ms).clamp(0, 1_000) as f64 / 1_000.0;
        rate * (1.0 + (self.growth * 2_f64.powi(doublings)).min(0.6) * seconds)
    }
}

// === impl Goodput ===

impl Goodput {
    fn count(&mut self, now_ms: i64) {
        self.turn(now_ms);
        let tenth = &mut self.tenths[index(self.newest)];
        *tenth = tenth.saturating_add(1);
    }

    fn per_second(&mut self, now_ms: i64) -> f64 {
        self.turn(now_ms);
        self.tenths.iter().map(|tenth| f64::from(*tenth)).sum()
    }

    fn turn(&mut self, now_ms: i64) {
        let tenth = now_ms.div_euclid(TENTH_MS);
        let passed = usize::try_from(tenth - self.newest).unwrap_or(0).min(TENTHS);
        for number in 0..passed {
            self.tenths[index(tenth - i64::try_from(number).unwrap_or(0))] = 0;
        }
        self.newest = self.newest.max(tenth);
    }
}

fn index(tenth: i64) -> usize {
    usize::try_from(tenth.rem_euclid(i64::try_from(TENTHS).unwrap_or(i64::MAX))).unwrap_or(0)
}

/// NaN stays NaN and is refused by the bucket.
fn countable(per_second: f64) -> f64 {
    per_second.clamp(*COUNTABLE.start(), *COUNTABLE.end())
}

fn burst(per_second: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 20,000 by the clamp")]
    let burst = (countable(per_second) * BURST_S) as u32;
    burst.max(1)
}

#[cfg(test)]
mod tests;
