//! An origin (scheme, host and port): what the lanes whose endpoints are there have in common, a window and a circuit above theirs.
//!
//! An origin that is dead is discovered once, not by each of its subscriptions. What one path answers is no concern of the
//! others: against the origin speaks only that nobody answers (no connection, no answer in time) or 503, every other answer
//! says that it is there. It opens on an unbroken run of that from at least [`LANES`] lanes; fewer have their own circuits.
//!
//! The window bounds what its lanes have in flight together. One request of a lane whose last one came back well always goes,
//! and a loss shrinks it only while losses are more than what came back, so that lanes that hang never take the place of one that
//! works. What is silent on one path may work on another: while it is open or full of what hangs, the first request of a lane
//! that has not failed goes every [`TRICKLE_MS`], and while it is open one of the others where none such waits, in turn. So one good
//! path among many is found, also if it was bad before, and a dead origin is not asked by all of its lanes. One that comes back well
//! closes the circuit: its origin is there, whatever the other paths do. How many go at once then is its window's to say, which is
//! small after a circuit.

use std::collections::VecDeque;
use std::sync::Arc;

use catalog::Subscription;
use schemas::ids::SubscriptionId;

use super::breaker::{Admission, Breaker, ENOUGH, FailedRequest, LONGEST_MS, Probe, SentAs, Trip};
use super::congestion::CongestionWindow;

/// An origin speaks for its lanes only if so many of them failed.
const LANES: usize = 3;
/// What the window of a new origin begins with.
const FIRST: u32 = 32;
/// Between two requests that go although nothing else may be sent.
const TRICKLE_MS: i64 = 5_000;

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct OriginKey(Arc<str>);

/// See the module.
#[derive(Debug)]
pub(crate) struct SharedOrigin {
    breaker: Breaker,
    window: CongestionWindow,
    in_flight: u32,
    /// Requests that began here.
    sends: u64,
    /// Outcomes since the window shrank last, fading: what came back, and what did not.
    answered: u32,
    lost: u32,
    /// Lanes of the present run of failures, up to [`LANES`].
    failing: Vec<SubscriptionId>,
    /// Lanes whose endpoint is here.
    pub(crate) lanes: usize,
    /// Lanes with work that wait for it: those that have not failed, and the others.
    untried: VecDeque<SubscriptionId>,
    failed: VecDeque<SubscriptionId>,
    /// When the next one may go while nothing else may, ms.
    trickle_ms: i64,
    /// The earliest timer that is set for it, ms.
    pub(crate) timer_ms: Option<i64>,
}

/// An origin's circuit that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenOrigin {
    /// Number of its opening.
    pub(crate) turn: u64,
    /// Its next probe.
    pub(crate) probe: Probe,
}

/// What the end of a request did to the circuit of its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OriginNews {
    /// It is as it was.
    Nothing,
    /// It has opened (again).
    Opened(OpenOrigin),
    /// It is closed.
    Closed,
}

/// A lane, as its origin looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneStanding {
    /// Its requests in flight.
    pub(crate) in_flight: u32,
    /// The last one that ended came back well, and not long ago.
    pub(crate) is_proven: bool,
    /// None of its requests is in flight, and the last one did not fail.
    pub(crate) is_untried: bool,
}

/// A lane whose last request failed.
const FAILED: LaneStanding = LaneStanding { in_flight: 0, is_proven: false, is_untried: false };

impl OriginKey {
    /// Of a subscription's target; `None` where that cannot be used.
    pub(crate) fn of(subscription: &Subscription) -> Option<Self> {
        let origin = subscription.target().ok()?.url.origin();
        Some(Self(origin.ascii_serialization().into()))
    }

    /// As it is spelled in one way only.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl SharedOrigin {
    /// One that nothing is known of.
    pub(crate) fn new(failures: u32, seed: u64) -> Self {
        Self {
            breaker: Breaker::new(Trip { failures, by_share: false }, seed),
            window: CongestionWindow::new(FIRST),
            in_flight: 0,
            sends: 0,
            answered: 0,
            lost: 0,
            failing: Vec::new(),
            lanes: 0,
            untried: VecDeque::new(),
            failed: VecDeque::new(),
            trickle_ms: i64::MIN,
            timer_ms: None,
        }
    }

    /// Whether a lane may send one more. `Wait`: not before then; `Probing`: not before something has ended.
    pub(crate) fn admission(&self, lane: LaneStanding, now_ms: i64) -> Admission {
        let admission = self.by_circuit(lane, now_ms);
        if admission == Admission::Send || !(lane.is_untried || self.breaker.is_open()) {
            return admission;
        }
        if now_ms >= self.trickle_ms { Admission::Send } else { Admission::Wait(self.trickle_ms) }
    }

    fn by_circuit(&self, lane: LaneStanding, now_ms: i64) -> Admission {
        let admission = self.breaker.admission(now_ms);
        let is_first = lane.is_proven && lane.in_flight == 0;
        if admission == Admission::Send && !self.breaker.is_open() && !is_first && self.in_flight >= self.window.size()
        {
            return Admission::Probing;
        }
        admission
    }

    /// A lane waits for it, and stands in the list of those that have not failed, or in that of the others.
    pub(crate) fn block(&mut self, lane: SubscriptionId, is_untried: bool) {
        if is_untried { self.untried.push_back(lane) } else { self.failed.push_back(lane) }
    }

    /// The next lane of those that wait, if one may go now, and whether it stood among those that have not failed.
    pub(crate) fn next(&mut self, now_ms: i64) -> Option<(SubscriptionId, bool)> {
        let has_room = self.by_circuit(FAILED, now_ms) == Admission::Send;
        let may_trickle = now_ms >= self.trickle_ms;
        let untried = if has_room || may_trickle { self.untried.pop_front() } else { None };
        let failed = has_room || (may_trickle && self.breaker.is_open());
        untried.map(|id| (id, true)).or_else(|| if failed { Some((self.failed.pop_front()?, false)) } else { None })
    }

    /// When the next one of those that wait may go, if time alone decides that.
    pub(crate) fn next_ms(&self, now_ms: i64) -> Option<i64> {
        let circuit_ms = match self.breaker.admission(now_ms) {
            Admission::Wait(until_ms) if self.is_waited_for() => Some(until_ms),
            Admission::Wait(_) | Admission::Send | Admission::Probing => None,
        };
        let trickles = !self.untried.is_empty() || (self.breaker.is_open() && !self.failed.is_empty());
        let trickle_ms = trickles.then_some(self.trickle_ms.max(now_ms));
        [circuit_ms, trickle_ms].into_iter().flatten().min()
    }

    /// Whether a lane waits for it.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.untried.is_empty() || !self.failed.is_empty()
    }

    /// Whether its circuit is not closed.
    pub(crate) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Whether nobody needs it any more.
    pub(crate) fn is_unused(&self) -> bool {
        self.lanes == 0 && self.in_flight == 0
    }

    /// A request of a lane begins, which stood like this before. Returns what it is to be remembered by.
    ///
    /// Only one that goes although nothing else may puts off the next of its kind: one that works has its own place, and however often
    /// it sends, it takes no turn of those that are to be tried.
    pub(crate) fn on_send(&mut self, lane: LaneStanding, now_ms: i64) -> SentAs {
        if self.by_circuit(lane, now_ms) != Admission::Send {
            self.trickle_ms = now_ms + TRICKLE_MS;
        }
        self.in_flight += 1;
        self.window.on_send(self.in_flight);
        let sent = SentAs { turn: self.breaker.on_send(), number: self.sends };
        self.sends += 1;
        sent
    }

    /// A request of a lane ended. `works`: what that says, if anything.
    pub(crate) fn on_end(
        &mut self,
        lane: SubscriptionId,
        works: Option<bool>,
        sent: SentAs,
        now_ms: i64,
    ) -> OriginNews {
        let turn = self.breaker.turn();
        self.learn(lane, works, sent, now_ms);
        match self.open_circuit() {
            None => OriginNews::Closed,
            Some(circuit) if circuit.turn != turn => OriginNews::Opened(circuit),
            Some(_) => OriginNews::Nothing,
        }
    }

    /// Its circuit, while that is not closed.
    fn open_circuit(&self) -> Option<OpenOrigin> {
        Some(OpenOrigin { turn: self.breaker.turn(), probe: self.breaker.probe()? })
    }

    /// Goes on from where another owner's was, as one of its lanes kept it: of several the latest counts. One whose probe was due too
    /// long ago says nothing: it has closed since, or nobody asked. Returns what it is then, if it goes on with that.
    pub(crate) fn restore(&mut self, until_ms: i64, wait_ms: i64, now_ms: i64) -> Option<OpenOrigin> {
        if until_ms.saturating_add(LONGEST_MS) < now_ms {
            return None;
        }
        if self.breaker.probe().is_none_or(|probe| probe.until_ms < until_ms) {
            self.breaker.restore(until_ms, wait_ms, now_ms);
            self.window = CongestionWindow::after_circuit(ENOUGH, self.sends, now_ms);
        }
        self.open_circuit()
    }

    fn learn(&mut self, lane: SubscriptionId, works: Option<bool>, sent: SentAs, now_ms: i64) {
        match works {
            None => self.breaker.on_nothing(sent.turn, now_ms),
            Some(true) => {
                self.failing.clear();
                self.window.on_success(self.in_flight, u32::MAX);
                if sent.turn == self.breaker.turn() {
                    self.breaker.close();
                }
                self.breaker.on_success(sent.turn, now_ms);
                self.answered += 1;
            }
            Some(false) => self.on_failure(lane, sent, now_ms),
        }
        if self.answered + self.lost > self.window.size().saturating_mul(2) {
            (self.answered, self.lost) = (self.answered / 2, self.lost / 2);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The network of this worker is back that was gone since then: an origin that it made look dead probes at once.
    pub(crate) fn end_outage(&mut self, since_ms: i64) {
        self.failing.clear();
        if self.breaker.has_opened_since(since_ms) {
            self.breaker.reset();
        }
    }

    fn on_failure(&mut self, lane: SubscriptionId, sent: SentAs, now_ms: i64) {
        if self.failing.len() < LANES && !self.failing.contains(&lane) {
            self.failing.push(lane);
        }
        self.lost += 1;
        if self.lost > self.answered {
            self.window.on_loss(sent.number, self.sends, now_ms);
        }
        let may_open = self.failing.len() >= LANES;
        if self.breaker.on_failure(FailedRequest { turn: sent.turn, in_share: false, may_open }, now_ms) {
            self.window = CongestionWindow::after_circuit(ENOUGH, self.sends, now_ms);
            (self.answered, self.lost) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, subscription_id};

    const UNTRIED: LaneStanding = LaneStanding { in_flight: 0, is_proven: false, is_untried: true };

    /// Sends what it lets through, one each of so many lanes; how many that were.
    fn fill(origin: &mut SharedOrigin, lanes: u128, now_ms: i64) -> Vec<(SubscriptionId, SentAs)> {
        let mut sent = Vec::new();
        for number in 0..lanes {
            if origin.admission(FAILED, now_ms) == Admission::Send {
                sent.push((subscription_id(number), origin.on_send(FAILED, now_ms)));
            }
        }
        sent
    }

    #[test]
    fn a_dead_origin_of_five_hundred_lanes_is_discovered_once() {
        let mut origin = SharedOrigin::new(20, 7);
        let (mut now_ms, mut sent) = (0, 0);
        let mut probes = Vec::new();
        while now_ms < 600_000 {
            let flying = fill(&mut origin, 500, now_ms);
            sent += flying.len();
            if origin.is_open() {
                probes.push(flying.len());
            }
            now_ms += 15_000;
            for (lane, request) in flying {
                origin.on_end(lane, Some(false), request, now_ms);
            }
        }
        assert!(sent < 130, "{sent} requests in ten minutes, of 500 lanes");
        assert!(probes.iter().all(|count| *count <= 1), "{probes:?}");
    }

    /// Sixteen paths of one origin are dead, and the last of them is healed: it has not to wait for fifteen probes that take five
    /// minutes each.
    #[test]
    fn a_path_that_works_again_among_many_dead_ones_is_found_within_minutes() {
        let mut origin = SharedOrigin::new(20, 7);
        let mut now_ms = 0;
        let mut flying = Vec::new();
        while now_ms < 1_800_000 {
            flying.extend(fill(&mut origin, 16, now_ms));
            now_ms += 100;
            for (lane, request) in flying.drain(..) {
                origin.on_end(lane, Some(false), request, now_ms);
            }
        }
        assert!(origin.is_open());
        (0..16).for_each(|number| origin.block(subscription_id(number), false));
        let healed_ms = now_ms;
        for _ in 0..16 {
            now_ms = now_ms.max(origin.next_ms(now_ms).expect("somebody goes"));
            let (lane, _) = origin.next(now_ms).expect("its time has come");
            let sent = origin.on_send(FAILED, now_ms);
            origin.on_end(lane, Some(lane == subscription_id(15)), sent, now_ms + 5);
            origin.block(lane, false);
        }
        assert!(!origin.is_open(), "it is closed as soon as one of them is taken");
        assert!(now_ms - healed_ms <= 16 * TRICKLE_MS, "{} ms", now_ms - healed_ms);
    }

    #[test]
    fn what_one_path_answers_closes_nobody_out() {
        let mut origin = SharedOrigin::new(20, 7);
        for at in 0..=10_000 {
            let sent = origin.on_send(FAILED, i64::try_from(at).unwrap());
            // 500 from many lanes, and a connection that fails for one of two.
            let works = at % 3 != 0;
            origin.on_end(subscription_id(at % 50), Some(works), sent, i64::try_from(at).unwrap());
            assert!(!origin.is_open());
        }
        // Two lanes alone are no evidence either.
        for at in 10_000..20_000 {
            let sent = origin.on_send(FAILED, i64::try_from(at).unwrap());
            origin.on_end(subscription_id(at % 2), Some(false), sent, i64::try_from(at).unwrap());
        }
        assert!(!origin.is_open());
    }

    #[test]
    fn lanes_that_hang_never_take_the_place_of_one_that_works() {
        let mut origin = SharedOrigin::new(20, 7);
        let hanging = fill(&mut origin, 100, 0);
        assert_eq!((hanging.len(), origin.admission(FAILED, 0)), (32, Admission::Probing));
        let proven = |in_flight| LaneStanding { in_flight, is_proven: true, is_untried: in_flight == 0 };
        let mut now_ms = 0;
        let mut most = 0;
        for _ in 0..10 {
            let mut flying = Vec::new();
            let count = |flying: &Vec<SentAs>| u32::try_from(flying.len()).unwrap();
            while flying.len() < 32 && origin.admission(proven(count(&flying)), now_ms) == Admission::Send {
                flying.push(origin.on_send(proven(count(&flying)), now_ms));
            }
            most = most.max(flying.len());
            now_ms += 50;
            for sent in flying {
                origin.on_end(subscription_id(500), Some(true), sent, now_ms);
            }
        }
        assert_eq!(most, 32, "all of its own window within a few round trips");
        // Those that hang end: fewer than what came back, so nothing shrinks.
        let before = origin.window.size();
        for (lane, sent) in hanging {
            origin.on_end(lane, Some(false), sent, now_ms + 1);
        }
        assert!(origin.window.size() >= before / 2);
    }

    #[test]
    fn while_it_is_full_or_open_a_lane_that_has_not_failed_goes_now_and_then() {
        let mut origin = SharedOrigin::new(20, 7);
        fill(&mut origin, 100, 0);
        assert_eq!(origin.admission(UNTRIED, 1), Admission::Send);
        origin.on_send(UNTRIED, 1);
        assert_eq!(origin.admission(UNTRIED, 2), Admission::Wait(1 + TRICKLE_MS));
        // Those that wait: untried ones first, and only they go before there is room.
        origin.block(subscription_id(1), false);
        origin.block(subscription_id(2), true);
        assert_eq!((origin.next(2), origin.next_ms(2)), (None, Some(1 + TRICKLE_MS)));
        assert_eq!(origin.next(1 + TRICKLE_MS), Some((subscription_id(2), true)));
        assert_eq!((origin.next(1 + TRICKLE_MS), origin.next_ms(2)), (None, None));
    }

    #[test]
    fn one_that_works_takes_no_turn_of_those_that_are_to_be_tried() {
        let mut origin = SharedOrigin::new(20, 7);
        let proven = LaneStanding { in_flight: 0, is_proven: true, is_untried: true };
        fill(&mut origin, 100, 0);
        origin.on_send(UNTRIED, 1);
        origin.block(subscription_id(2), true);
        // One request after the other of a lane that works, all of that time.
        for now_ms in (2..TRICKLE_MS).step_by(100) {
            assert_eq!(origin.admission(proven, now_ms), Admission::Send);
            let sent = origin.on_send(proven, now_ms);
            origin.on_end(subscription_id(500), Some(true), sent, now_ms + 50);
            // What came back made room for one more, and one that hangs took it.
            fill(&mut origin, 100, now_ms + 50);
        }
        assert_eq!(origin.next_ms(TRICKLE_MS), Some(1 + TRICKLE_MS), "the turn stands where it stood");
        assert_eq!(origin.next(1 + TRICKLE_MS), Some((subscription_id(2), true)));
    }

    #[test]
    fn who_takes_over_goes_on_with_the_latest_that_a_lane_kept_unless_it_is_too_old() {
        let mut dead = SharedOrigin::new(20, 7);
        let (mut now_ms, mut kept) = (0, Vec::new());
        while now_ms < 600_000 {
            let flying = fill(&mut dead, 500, now_ms);
            now_ms += 15_000;
            for (lane, request) in flying {
                if let OriginNews::Opened(circuit) = dead.on_end(lane, Some(false), request, now_ms) {
                    kept.push(circuit.probe);
                }
            }
        }
        assert!((3..20).contains(&kept.len()), "once per opening: {kept:?}");
        let last = kept[kept.len() - 1];
        let mut next = SharedOrigin::new(20, 7);
        for probe in kept.iter().rev() {
            next.restore(probe.until_ms, probe.wait_ms, now_ms);
        }
        assert_eq!(next.open_circuit().map(|circuit| circuit.probe), Some(last));
        assert!(fill(&mut next, 500, now_ms).len() <= 1, "one at a time");
        let late_ms = last.until_ms + LONGEST_MS + 1;
        let mut later = SharedOrigin::new(20, 7);
        assert_eq!((later.restore(last.until_ms, last.wait_ms, late_ms), later.is_open()), (None, false));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let vault = testing::vault();
        let of = |url: &str| OriginKey::of(&testing::subscription(testing::object(1, url, &vault), 1, &vault));
        assert_eq!(of("https://example.com/a?b=1"), of("https://EXAMPLE.com:443/c"));
        assert_ne!(of("https://example.com/"), of("https://example.com:8443/"));
        assert_ne!(of("https://example.com/"), of("http://example.com/"));
        assert_eq!(of("no url"), None);
    }
}
