//! A lane's circuit breaker. Open means: nothing is sent.
//!
//! ```text
//!            `failures` in a row, over at least SPAN
//!   Closed ------------------------------------------> Open(until)
//!     ^  ^                                                |
//!     |  +-------- success ---- HalfOpen <--- until ------+   one probe goes out
//!     +-- success                  |                      ^
//!                                  +------- failure ------+   waits twice as long, at most LONGEST
//! ```
//!
//! The span keeps one bad moment, in which all requests in flight fail together, from parking a whole lane for minutes.

/// Failures in a row count as an outage only if they last this long.
const SPAN_MS: i64 = 5_000;
/// First wait of an open circuit.
const FIRST_MS: i64 = 10_000;
/// Longest wait of an open circuit.
const LONGEST_MS: i64 = 300_000;

/// The breaker of one lane.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32, since_ms: i64 },
    Open { until_ms: i64, wait_ms: i64 },
    HalfOpen { wait_ms: i64 },
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As much as fits.
    Send,
    /// Nothing before this time, Unix ms; then one probe.
    Wait(i64),
    /// Nothing before the probe in flight has ended.
    Probing,
}

impl Breaker {
    /// A closed breaker that `failures` in a row open.
    pub(crate) fn new(failures: u32) -> Self {
        Self { threshold: failures, state: State::Closed { failures: 0, since_ms: 0 } }
    }

    /// What may be sent.
    pub(crate) fn admission(&self, now_ms: i64) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Send,
            State::Open { until_ms, .. } if now_ms >= until_ms => Admission::Send,
            State::Open { until_ms, .. } => Admission::Wait(until_ms),
            State::HalfOpen { .. } => Admission::Probing,
        }
    }

    /// Whether it is not closed.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Whether it is as a new one: closed, and no failure since the last success.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0, .. })
    }

    /// Something has changed that may have mended it: an open circuit tries at once.
    pub(crate) fn probe_now(&mut self, now_ms: i64) {
        if let State::Open { until_ms, .. } = &mut self.state {
            *until_ms = (*until_ms).min(now_ms);
        }
    }

    /// A request begins: of an open circuit it is the probe.
    pub(crate) fn on_send(&mut self) {
        if let State::Open { wait_ms, .. } = self.state {
            self.state = State::HalfOpen { wait_ms };
        }
    }

    /// The endpoint took one.
    pub(crate) fn on_success(&mut self) {
        self.state = State::Closed { failures: 0, since_ms: 0 };
    }

    /// A request ended without saying anything about the endpoint: a probe has to be repeated.
    pub(crate) fn on_nothing(&mut self, now_ms: i64) {
        if let State::HalfOpen { wait_ms } = self.state {
            self.state = State::Open { until_ms: now_ms, wait_ms };
        }
    }

    /// The endpoint did not take one. True: the circuit opened just now (again).
    pub(crate) fn on_failure(&mut self, now_ms: i64) -> bool {
        match self.state {
            State::Closed { failures, since_ms } => {
                let since_ms = if failures == 0 { now_ms } else { since_ms };
                let failures = failures + 1;
                if failures >= self.threshold && now_ms - since_ms >= SPAN_MS {
                    self.state = State::Open { until_ms: now_ms + FIRST_MS, wait_ms: FIRST_MS };
                    return true;
                }
                self.state = State::Closed { failures, since_ms };
                false
            }
            State::HalfOpen { wait_ms } => {
                let wait_ms = (wait_ms * 2).min(LONGEST_MS);
                self.state = State::Open { until_ms: now_ms + wait_ms, wait_ms };
                true
            }
            // A request that began before the circuit opened.
            State::Open { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(3);
        assert!(!breaker.on_failure(0));
        assert!(!breaker.on_failure(4_000));
        assert!(breaker.on_failure(5_000));
        breaker
    }

    #[test]
    fn failures_in_one_moment_do_not_open_it() {
        let mut breaker = Breaker::new(3);
        for _ in 0..100 {
            assert!(!breaker.on_failure(7));
        }
        assert_eq!(breaker.admission(7), Admission::Send);
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let mut breaker = Breaker::new(2);
        breaker.on_failure(0);
        breaker.on_success();
        assert!(!breaker.on_failure(9_000));
        assert!(!breaker.on_failure(9_001));
        assert!(breaker.on_failure(14_000));
    }

    #[test]
    fn one_probe_at_a_time_and_each_failure_doubles_the_wait() {
        let mut breaker = opened();
        assert_eq!(breaker.admission(5_000), Admission::Wait(15_000));
        assert_eq!(breaker.admission(15_000), Admission::Send);
        breaker.on_send();
        assert_eq!(breaker.admission(15_000), Admission::Probing);
        breaker.on_failure(16_000);
        assert_eq!(breaker.admission(16_000), Admission::Wait(36_000));
        for _ in 0..20 {
            breaker.on_send();
            breaker.on_failure(40_000);
        }
        assert_eq!(breaker.admission(40_000), Admission::Wait(340_000));
    }

    #[test]
    fn a_probe_that_succeeds_closes_it() {
        let mut breaker = opened();
        breaker.on_send();
        breaker.on_success();
        assert_eq!(breaker.admission(5_000), Admission::Send);
    }
}
