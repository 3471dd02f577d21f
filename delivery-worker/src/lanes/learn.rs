//! What a lane may send, and what it learns from the end of a request: hold, circuit, window and rate together.

use super::breaker::{Admission, ENOUGH, FailedRequest, SentAs};
use super::congestion::CongestionWindow;
use super::egress::WORKED_LATELY_MS;
use super::lack::OwnLack;
use super::origin::LaneStanding;
use super::sign::Sign;
use super::throttle::Refusing;
use super::{Lane, RequestEnd};

/// A lane whose requests come back may use the worker's reserve: the last success was this long ago at most.
pub(super) const MOVING_MS: i64 = 2_000;

impl Lane {
    /// What may be sent, as far as its endpoint is concerned. Its cap and rate are asked apart.
    pub(crate) fn admission(&self, now_ms: i64) -> Admission {
        let by_endpoint = match self.breaker.admission(now_ms) {
            _ if self.is_probe_due => return Admission::Send,
            Admission::Send if now_ms < self.hold_until_ms => Admission::Wait(self.hold_until_ms),
            Admission::Wait(until_ms) => Admission::Wait(until_ms.max(self.hold_until_ms)),
            other @ (Admission::Send | Admission::Probing) => other,
        };
        match (by_endpoint, self.lack.admission(self.cap.in_flight(), now_ms)) {
            (Admission::Wait(until_ms), Admission::Wait(lack_ms)) => Admission::Wait(until_ms.max(lack_ms)),
            (Admission::Send, by_lack) => by_lack,
            (by_endpoint, _) => by_endpoint,
        }
    }

    /// Until when nothing is sent, ms; `None` while something may be, or is on the way and decides.
    #[cfg_attr(not(test), expect(dead_code, reason = "where a delivery waits depends on it"))]
    pub(crate) fn closed_until(&self, now_ms: i64) -> Option<i64> {
        match self.admission(now_ms) {
            Admission::Wait(until_ms) => Some(until_ms),
            Admission::Send | Admission::Probing => None,
        }
    }

    /// When the next probe of its open circuit may go, ms; `None` while it is closed.
    #[cfg_attr(not(test), expect(dead_code, reason = "what is probed with is read before"))]
    pub(crate) fn next_probe(&self) -> Option<i64> {
        self.breaker.probe().map(|probe| probe.until_ms.max(self.hold_until_ms))
    }

    /// A request begins. Returns what it is to be remembered by.
    pub(crate) fn on_send(&mut self, now_ms: i64) -> SentAs {
        self.is_probe_due = false;
        self.cap.take(now_ms);
        let sent = SentAs { turn: self.breaker.on_send(), number: self.sends };
        self.sends += 1;
        sent
    }

    /// A request ended. True: the circuit opened just now (again).
    pub(crate) fn on_end(&mut self, end: &RequestEnd, now_ms: i64) -> bool {
        if !matches!(end.sign, Sign::Unsent | Sign::Nothing) {
            self.lack.on_sent();
        }
        let has_opened = match end.sign {
            // The endpoint that it was sent to is not this one.
            _ if end.sent.turn < self.anew => false,
            Sign::Taken | Sign::Declined => {
                self.on_success(end, now_ms);
                false
            }
            Sign::Nothing => {
                self.breaker.on_nothing(end.sent.turn, now_ms);
                false
            }
            Sign::Unsent => {
                self.lack.on_unsent((end.sent.number, self.sends), now_ms);
                self.breaker.on_nothing(end.sent.turn, now_ms);
                false
            }
            Sign::Refusing(_) | Sign::Unavailable | Sign::Silent | Sign::Failed | Sign::Unasked => {
                self.on_failure(end, now_ms)
            }
        };
        self.cap.give(now_ms);
        self.used_ms = now_ms;
        has_opened
    }

    fn on_success(&mut self, end: &RequestEnd, now_ms: i64) {
        self.rate.observe(end.elapsed_ms);
        let was_open = self.breaker.is_open();
        if !was_open {
            self.cap.grow();
        }
        self.rate.on_success(end.sent.number, self.cap.limit(), now_ms);
        self.breaker.on_success(end.sent.turn, now_ms);
        if was_open && !self.breaker.is_open() {
            // What it was slowed to is of before it went down; from here its window grows.
            self.rate.forget_refusals();
        }
        if end.sent.number >= self.held_at && now_ms < self.hold_until_ms {
            // One that was sent in spite of the hold tells that it is over.
            self.hold_until_ms = now_ms;
        }
        (self.is_well, self.has_failed, self.worked_ms) = (true, false, Some(now_ms));
    }

    fn on_failure(&mut self, end: &RequestEnd, now_ms: i64) -> bool {
        (self.is_well, self.has_failed) = (false, true);
        if end.sign.is_loss() {
            self.cap.shrink(end.sent.number, self.sends, now_ms);
        }
        match end.sign.refusing() {
            Some(how) => self.rate.on_refusal(how, (end.sent.number, self.sends), now_ms),
            None => self.rate.observe(end.elapsed_ms),
        }
        if let Some(asked_ms) = end.asked_ms {
            self.hold_until_ms = self.hold_until_ms.max(now_ms.saturating_add(asked_ms));
            self.held_at = self.sends;
        }
        let in_share = end.sign != Sign::Refusing(Refusing::TooMany);
        let has_opened =
            self.breaker.on_failure(FailedRequest { turn: end.sent.turn, in_share, may_open: true }, now_ms);
        if has_opened {
            self.cap.set_window(CongestionWindow::after_circuit(ENOUGH, self.sends, now_ms));
        }
        has_opened
    }

    /// Somebody says that its endpoint is mended: what is open or held probes at once.
    pub(crate) fn probe_now(&mut self) {
        self.is_probe_due = true;
        self.hold_until_ms = i64::MIN;
        self.lack = OwnLack::default();
        self.breaker.reset();
    }

    /// Since then the whole worker lacks what this lane did: one watch is enough. True: the lane may send again.
    pub(crate) fn end_lack(&mut self, since_ms: i64) -> bool {
        self.lack.end_outage(since_ms)
    }

    /// The network of this worker is back that was gone since then: an endpoint that it made look dead probes at once. True: the lane may
    /// send again that could not.
    pub(crate) fn end_outage(&mut self, (since_ms, since_wall_ms): (i64, i64)) -> bool {
        self.streak.forget_since(since_wall_ms);
        let was_lacking = self.end_lack(since_ms);
        if self.breaker.has_opened_since(since_ms) {
            self.probe_now();
        }
        was_lacking || self.is_probe_due
    }

    /// Its endpoint is another one: nothing that was learned is of it.
    pub(crate) fn start_anew(&mut self) {
        self.probe_now();
        self.anew = self.breaker.turn();
        self.cap.forget_measured();
        self.rate.forget_measured();
        (self.is_well, self.has_failed, self.worked_ms) = (false, false, None);
        self.origin = None;
    }

    /// How its origin looks at it.
    pub(crate) fn standing(&self, now_ms: i64) -> LaneStanding {
        let is_proven = self.is_well && self.worked_lately(now_ms);
        LaneStanding {
            in_flight: self.cap.in_flight(),
            is_proven,
            is_untried: self.cap.in_flight() == 0 && !self.has_failed,
        }
    }

    /// Whether its endpoint took one lately, and was not found dead before others could not be reached either (since then): if
    /// it cannot be reached now, that may be this worker's own network.
    pub(crate) fn is_evidence(&self, since_ms: i64, now_ms: i64) -> bool {
        self.worked_lately(now_ms) && (!self.breaker.is_open() || self.breaker.has_opened_since(since_ms))
    }

    /// Whether one more may go although the worker is nearly full: the first, or one of a lane whose requests come back.
    pub(crate) fn may_use_reserve(&self, now_ms: i64) -> bool {
        let is_moving = self.is_well && self.worked_ms.is_some_and(|at_ms| now_ms - at_ms <= MOVING_MS);
        self.cap.in_flight() == 0 || is_moving
    }

    /// Whether the last request that ended did not come back well.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn worked_lately(&self, now_ms: i64) -> bool {
        self.worked_ms.is_some_and(|at_ms| now_ms - at_ms <= WORKED_LATELY_MS)
    }
}
