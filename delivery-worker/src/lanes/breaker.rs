//! The circuit breaker of a lane or of an origin. Open means: nothing is sent.
//!
//! ```text
//!            a run of failures, or nearly all of them lately
//!   Closed ------------------------------------------------> Open(until) <------------------+
//!     ^                                                        | until: a probe goes out    | a failure: waits twice as long
//!     |                                                        v                            | (as long, if some succeeded)
//!     +---------------- ENOUGH in a row ---------------- HalfOpen(1 in flight, each success one more)
//! ```
//!
//! **What opens it.** `failures` in a row that last a second: one bad moment, in which everything in flight fails together, is
//! none. A quarter of them in a row that last half a minute: what is asked seldom is not asked for ever. Or at least so many
//! within ten seconds, 80 % of them failures: an endpoint that takes one now and then is as good as dead.
//!
//! **Each opening is a turn of its own.** A request carries the turn it was sent in, and the failure of an earlier one ends no
//! later half-open state: that it failed was known. A success is news at any time, and brings the next probe at once.

use super::share::FailureShare;

/// Failures in a row count as an outage only if they last this long.
const SPAN_MS: i64 = 1_000;
/// Over this long a quarter of them is enough.
const LASTING_MS: i64 = 30_000;
/// At so many per cent of the attempts of ten seconds it opens as well, if they lie in three of those at least.
const FAILED_PERCENT: u64 = 80;
/// First wait of an open circuit.
pub(crate) const FIRST_MS: i64 = 5_000;
/// Longest wait of an open circuit.
pub(crate) const LONGEST_MS: i64 = 300_000;
/// So much of a wait is drawn: what failed together does not come back together.
const JITTER: f64 = 0.2;
/// Requests in flight at which a half-open circuit is closed.
pub(crate) const ENOUGH: u32 = 8;

/// A circuit breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    trip: Trip,
    seed: u64,
    /// Number of the present opening.
    turn: u64,
    /// When it was last closed and opened, ms.
    opened_ms: i64,
    state: State,
    share: FailureShare,
}

/// What opens a circuit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trip {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Whether nearly all of them opens it as well.
    pub(crate) by_share: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32, since_ms: i64 },
    Open { until_ms: i64, wait_ms: i64 },
    HalfOpen { until_ms: i64, wait_ms: i64, allowed: u32, in_flight: u32 },
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As much as fits.
    Send,
    /// Nothing before this time, ms; then one probe.
    Wait(i64),
    /// Nothing before something in flight has ended.
    Probing,
}

/// What a request is remembered by at its lane, or at its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SentAs {
    /// The turn of the circuit that it was sent in.
    pub(crate) turn: u64,
    /// Its number among all that were sent there.
    pub(crate) number: u64,
}

/// A failure, as a circuit counts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedRequest {
    /// The turn its request was sent in.
    pub(crate) turn: u64,
    /// It counts among the failures of ten seconds; what the endpoint only asked to come later does not.
    pub(crate) in_share: bool,
    /// A closed circuit may open.
    pub(crate) may_open: bool,
}

impl Breaker {
    /// A closed breaker. Equal seeds draw equal jitter.
    pub(crate) fn new(trip: Trip, seed: u64) -> Self {
        Self { trip, seed, turn: 0, opened_ms: i64::MIN, state: CLOSED, share: FailureShare::default() }
    }

    /// What may be sent.
    pub(crate) fn admission(&self, now_ms: i64) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Send,
            State::Open { until_ms, .. } if now_ms >= until_ms => Admission::Send,
            State::Open { until_ms, .. } => Admission::Wait(until_ms),
            State::HalfOpen { allowed, in_flight, .. } if in_flight < allowed => Admission::Send,
            State::HalfOpen { .. } => Admission::Probing,
        }
    }

    /// Number of the present opening.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether it is not closed.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Whether it is open, and was closed then.
    pub(crate) fn has_opened_since(&self, at_ms: i64) -> bool {
        self.is_open() && self.opened_ms >= at_ms
    }

    /// Whether it is as a new one: closed, and no failure since the last success.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0, .. })
    }

    /// When the probe of an open circuit may go, and how long it waited for it: while it is open or half-open.
    pub(crate) fn probe(&self) -> Option<Probe> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until_ms, wait_ms } => Some(Probe { until_ms, wait_ms, is_under_way: false }),
            State::HalfOpen { until_ms, wait_ms, .. } => Some(Probe { until_ms, wait_ms, is_under_way: true }),
        }
    }

    /// A request begins; of an open circuit it is a probe, whether or not its time has come. Returns the turn it is sent in.
    pub(crate) fn on_send(&mut self) -> u64 {
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open { until_ms, wait_ms } => {
                self.state = State::HalfOpen { until_ms: *until_ms, wait_ms: *wait_ms, allowed: 1, in_flight: 1 };
            }
            State::HalfOpen { in_flight, .. } => *in_flight += 1,
        }
        self.turn
    }

    /// The endpoint took one that was sent in this turn.
    pub(crate) fn on_success(&mut self, turn: u64, now_ms: i64) {
        self.share.count(false, now_ms);
        match &mut self.state {
            State::Closed { .. } => self.state = CLOSED,
            State::Open { until_ms, .. } => *until_ms = (*until_ms).min(now_ms),
            State::HalfOpen { allowed, in_flight, .. } if turn == self.turn => {
                *in_flight = in_flight.saturating_sub(1);
                *allowed += 1;
                if *allowed >= ENOUGH {
                    self.state = CLOSED;
                    self.share = FailureShare::default();
                }
            }
            State::HalfOpen { .. } => {}
        }
    }

    /// A request ended without saying anything about the endpoint: if it was a probe, another one may go.
    pub(crate) fn on_nothing(&mut self, turn: u64, now_ms: i64) {
        if let State::HalfOpen { until_ms, wait_ms, allowed, in_flight } = &mut self.state
            && turn == self.turn
        {
            *in_flight = in_flight.saturating_sub(1);
            if now_ms < *until_ms && *allowed == 1 && *in_flight == 0 {
                // Somebody asked before the time had come, and heard nothing.
                self.state = State::Open { until_ms: *until_ms, wait_ms: *wait_ms };
            }
        }
    }

    /// The endpoint did not take one. True: the circuit opened just now (again).
    pub(crate) fn on_failure(&mut self, fault: FailedRequest, now_ms: i64) -> bool {
        if fault.in_share {
            self.share.count(true, now_ms);
        }
        match self.state {
            State::Closed { failures, since_ms } => {
                let since_ms = if failures == 0 { now_ms } else { since_ms };
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures, since_ms };
                let opens = fault.may_open && self.trips(failures, now_ms - since_ms, now_ms);
                if opens {
                    self.opened_ms = now_ms;
                    self.open(FIRST_MS, now_ms);
                }
                opens
            }
            State::HalfOpen { until_ms, wait_ms, allowed, .. } if fault.turn == self.turn => {
                if now_ms < until_ms && allowed == 1 {
                    // Somebody asked before the time had come, and the answer changes nothing.
                    self.state = State::Open { until_ms, wait_ms };
                    return false;
                }
                let wait_ms = if allowed == 1 { (wait_ms * 2).min(LONGEST_MS) } else { wait_ms };
                self.open(wait_ms, now_ms);
                true
            }
            // Of a request from before it opened: that is known.
            State::HalfOpen { .. } | State::Open { .. } => false,
        }
    }

    /// What was known is of something that is no more, or somebody says it is mended: an open circuit probes at once, and a
    /// failure of before counts no longer.
    pub(crate) fn reset(&mut self) {
        self.turn += 1;
        self.share = FailureShare::default();
        self.state = if self.is_open() { State::Open { until_ms: i64::MIN, wait_ms: FIRST_MS / 2 } } else { CLOSED };
    }

    /// One success says all: it is closed. What is under way says nothing any more.
    pub(crate) fn close(&mut self) {
        if self.is_open() {
            self.turn += 1;
            self.share = FailureShare::default();
            self.state = CLOSED;
        }
    }

    /// Goes on from where another owner's was.
    pub(crate) fn restore(&mut self, until_ms: i64, wait_ms: i64, now_ms: i64) {
        self.turn += 1;
        let until_ms = until_ms.min(now_ms.saturating_add(LONGEST_MS));
        self.state = State::Open { until_ms, wait_ms: wait_ms.clamp(FIRST_MS / 2, LONGEST_MS) };
    }

    fn trips(&mut self, failures: u32, lasting_ms: i64, now_ms: i64) -> bool {
        let enough = self.trip.failures;
        if failures >= enough && lasting_ms >= SPAN_MS {
            return true;
        }
        if failures >= (enough / 4).max(1) && lasting_ms >= LASTING_MS {
            return true;
        }
        if !self.trip.by_share {
            return false;
        }
        let lately = self.share.lately(now_ms);
        let is_nearly_all = u64::from(lately.failed) * 100 >= u64::from(lately.attempts) * FAILED_PERCENT;
        lately.attempts >= enough && lately.failing_seconds > 2 && is_nearly_all
    }

    fn open(&mut self, wait_ms: i64, now_ms: i64) {
        self.turn += 1;
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most five minutes")]
        let drawn_ms = (wait_ms as f64 * JITTER * retry::unit(self.seed ^ self.turn)) as i64;
        self.state = State::Open { until_ms: now_ms + wait_ms - drawn_ms, wait_ms };
    }
}

const CLOSED: State = State::Closed { failures: 0, since_ms: 0 };

/// An open circuit's next probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// When it may go, ms.
    pub(crate) until_ms: i64,
    /// How long it is waited for.
    pub(crate) wait_ms: i64,
    /// It is in flight: the circuit is half-open.
    pub(crate) is_under_way: bool,
}

#[cfg(test)]
mod tests;
