//! What of a lane survives a restart or a takeover, so that a deploy does not discover every dead endpoint anew: as plain values,
//! with times of the wall clock, and only where they differ from a new lane's.
//!
//! The circuit's times, the hold and the window are about one endpoint; how long it has been failing and when it last took
//! something are facts. What was measured of its speed is found again within a second and is not kept.

use schemas::lanes::{LaneCircuit, LaneEndpoint, LaneRecord, ListRecord};

use super::Lane;
use super::breaker::Probe;
use super::congestion::CongestionWindow;
use super::origin::{OpenOrigin, OriginNews};

/// A lane's condition, as it is written and read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneCondition {
    /// Which endpoint circuits, window and hold are of, if it is said.
    pub(crate) endpoint: Option<LaneEndpoint>,
    /// Its circuit, unless it is closed.
    pub(crate) circuit: Option<CircuitCondition>,
    /// Its origin's, where a request of this lane has opened it. A few lanes keep it for all that are there.
    pub(crate) origin: Option<CircuitCondition>,
    /// Requests that may be in flight, where losses have made it fewer.
    pub(crate) window: Option<u32>,
    /// Nothing is sent before, Unix ms: its endpoint asked for it.
    pub(crate) hold_until_ms: Option<i64>,
    /// Every attempt has failed since, Unix ms.
    pub(crate) failing_since_ms: Option<i64>,
    /// Its endpoint last took one, Unix ms; only while it fails, for a healthy one it would change with each attempt.
    pub(crate) success_ms: Option<i64>,
}

/// What a lane's endpoint is to the one that its condition was written of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointChange {
    /// The same.
    Same,
    /// Its subscription was changed since, or resumed: it may have other credentials, or be mended.
    Perhaps,
    /// Another one.
    Elsewhere,
}

/// A circuit that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CircuitCondition {
    /// Whether its probe was under way.
    pub(crate) state: CircuitState,
    /// When the probe may go, Unix ms.
    pub(crate) until_ms: i64,
    /// How long it is waited for; doubles with the next failure.
    pub(crate) wait_ms: i64,
}

/// How a circuit is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CircuitState {
    /// Nothing is sent.
    Open,
    /// Probes are.
    HalfOpen,
}

/// What was written of a lane last: it is written again where one of these differs, and not with every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ToldCondition {
    /// Turn of its circuit, while that is open.
    turn: Option<u64>,
    /// The same of its origin's, where this lane keeps it.
    origin_turn: Option<u64>,
    /// In the engine's time.
    hold_until_ms: Option<i64>,
    /// Its shrunk window, as the power of two below it: while it grows it is written a few times.
    window: Option<u32>,
    /// That it failed stands there: the success that ends it is written, too.
    is_failing: bool,
}

impl LaneCondition {
    /// The lane's record, with these lists.
    pub(crate) fn record(&self, lists: Vec<ListRecord>) -> LaneRecord {
        let of = |CircuitCondition { state, until_ms, wait_ms }| LaneCircuit {
            until_ms: if state == CircuitState::HalfOpen { 0 } else { until_ms },
            wait_ms,
        };
        let mut record = LaneRecord::new(lists);
        record.endpoint = self.endpoint;
        (record.circuit, record.origin) = (self.circuit.map(of), self.origin.map(of));
        (record.window, record.hold_until_ms) = (self.window, self.hold_until_ms);
        (record.failing_since_ms, record.success_ms) = (self.failing_since_ms, self.success_ms);
        record
    }

    /// What a lane's record says beside its lists.
    pub(crate) fn of(record: &LaneRecord) -> Self {
        let of = |LaneCircuit { until_ms, wait_ms }| CircuitCondition { state: CircuitState::Open, until_ms, wait_ms };
        Self {
            endpoint: record.endpoint,
            circuit: record.circuit.map(of),
            origin: record.origin.map(of),
            window: record.window,
            hold_until_ms: record.hold_until_ms,
            failing_since_ms: record.failing_since_ms,
            success_ms: record.success_ms,
        }
    }

    /// Whether something of it is about one endpoint, and not a fact about time.
    fn is_of_an_endpoint(&self) -> bool {
        let is_open = self.circuit.is_some() || self.origin.is_some();
        is_open || self.window.is_some() || self.hold_until_ms.is_some()
    }

    /// What an endpoint is to the one that this is of. A version that is not newer says nothing: a snapshot may be behind.
    pub(crate) fn change_to(&self, endpoint: Option<LaneEndpoint>) -> EndpointChange {
        match (self.endpoint, endpoint) {
            (Some(was), Some(is)) if is.of > was.of => {
                if is.origin == was.origin {
                    EndpointChange::Perhaps
                } else {
                    EndpointChange::Elsewhere
                }
            }
            (Some(_) | None, _) => EndpointChange::Same,
        }
    }
}

impl Lane {
    /// What has to be written of it now, if anything, if the wall clock is so far ahead of the engine's.
    pub(crate) fn take_news(&mut self, wall_ahead_ms: i64, now_ms: i64) -> Option<LaneCondition> {
        let is_failing = self.streak.failing_since_ms().is_some();
        let now = ToldCondition { is_failing: self.told.is_failing && is_failing, ..self.telling(now_ms) };
        if now == self.told {
            return None;
        }
        let condition = self.condition(wall_ahead_ms, now_ms);
        // A healthy lane's failures are in its retries: they alone are not worth a record.
        let condition = if condition.is_of_an_endpoint() { condition } else { LaneCondition::default() };
        self.told = ToldCondition { is_failing: condition.failing_since_ms.is_some(), ..now };
        Some(condition)
    }

    /// Whether something stands in its record that a new lane's does not say.
    pub(crate) fn has_told(&self) -> bool {
        self.told != ToldCondition::default()
    }

    fn telling(&self, now_ms: i64) -> ToldCondition {
        let window = self.cap.window();
        ToldCondition {
            turn: self.breaker.is_open().then(|| self.breaker.turn()),
            origin_turn: self.origin.map(|origin| origin.turn),
            hold_until_ms: (self.hold_until_ms > now_ms).then_some(self.hold_until_ms),
            window: window.is_shrunk().then(|| window.size().ilog2()),
            is_failing: false,
        }
    }

    /// What survives, if the wall clock is so far ahead of the engine's.
    pub(crate) fn condition(&self, wall_ahead_ms: i64, now_ms: i64) -> LaneCondition {
        let wall = |at_ms: i64| at_ms.max(now_ms).saturating_add(wall_ahead_ms);
        let of = |Probe { until_ms, wait_ms, is_under_way }| CircuitCondition {
            state: if is_under_way { CircuitState::HalfOpen } else { CircuitState::Open },
            until_ms: wall(until_ms),
            wait_ms,
        };
        let failing_since_ms = self.streak.failing_since_ms();
        let known = LaneCondition {
            endpoint: None,
            circuit: self.breaker.probe().map(of),
            origin: self.origin.map(|origin| of(origin.probe)),
            window: self.cap.window().is_shrunk().then(|| self.cap.window().size()),
            hold_until_ms: (self.hold_until_ms > now_ms).then(|| wall(self.hold_until_ms)),
            failing_since_ms,
            success_ms: failing_since_ms.and_then(|_| self.streak.succeeded_ms()),
        };
        LaneCondition { endpoint: self.endpoint().filter(|_| known.is_of_an_endpoint()), ..known }
    }

    fn endpoint(&self) -> Option<LaneEndpoint> {
        Some(LaneEndpoint::new(self.limits_of?, self.identity.origin.as_ref()?.as_str()))
    }

    /// Goes on from what another owner's lane was. A probe that was under way there is repeated at once; nobody waits longer than
    /// an endpoint may ask for, however wrong a clock was.
    pub(crate) fn restore(&mut self, was: &LaneCondition, (wall_ahead_ms, longest_hold_ms): (i64, i64), now_ms: i64) {
        if let Some(CircuitCondition { state, until_ms, wait_ms }) = was.circuit {
            let until_ms =
                if state == CircuitState::HalfOpen { now_ms } else { until_ms.saturating_sub(wall_ahead_ms) };
            self.breaker.restore(until_ms, wait_ms, now_ms);
        }
        if let Some(size) = was.window {
            self.cap.set_window(CongestionWindow::shrunk(size));
        }
        if let Some(until_ms) = was.hold_until_ms {
            self.hold_until_ms = until_ms.saturating_sub(wall_ahead_ms).min(now_ms.saturating_add(longest_hold_ms));
        }
        self.streak.restore(was.failing_since_ms, was.success_ms);
        self.told = ToldCondition {
            is_failing: was.failing_since_ms.is_some(),
            // It stands in the record, whether or not it is gone on with: the lane's next news take it out or replace it.
            origin_turn: was.origin.map(|_| 0),
            ..self.telling(now_ms)
        };
    }

    /// What a request of this lane did to its origin's circuit. Only who opened it keeps it, so that it is written once.
    pub(crate) fn note_origin(&mut self, news: OriginNews) {
        match news {
            OriginNews::Nothing => {}
            OriginNews::Opened(circuit) => self.origin = Some(circuit),
            OriginNews::Closed => self.origin = None,
        }
    }

    /// The origin goes on from what this lane kept of it.
    pub(crate) fn restored_origin(&mut self, circuit: OpenOrigin) {
        self.origin = Some(circuit);
        self.told.origin_turn = Some(circuit.turn);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{end, lane};
    use super::*;
    use crate::lanes::breaker::{Admission, LONGEST_MS};
    use crate::lanes::sign::Sign;

    /// The wall is so far ahead of the engine's clock here, and elsewhere by another day.
    const AHEAD: i64 = 1_700_000_000_000;
    const ELSEWHERE: i64 = AHEAD - 86_400_000;

    #[test]
    fn a_new_lane_and_one_that_works_have_nothing_to_keep() {
        let mut lane = lane();
        assert_eq!(lane.condition(AHEAD, 0), LaneCondition::default());
        lane.streak.on_success(5 + AHEAD);
        end(&mut lane, Sign::Taken, 5);
        assert_eq!(lane.condition(AHEAD, 5), LaneCondition::default());
    }

    #[test]
    fn an_open_circuit_a_hold_and_a_window_go_on_where_they_were() {
        let mut before = lane();
        before.hold_until_ms = 30_000;
        for at_ms in 0..30 {
            end(&mut before, Sign::Silent, at_ms * 100);
        }
        before.cap.set_window(CongestionWindow::shrunk(3));
        let kept = before.condition(AHEAD, 3_000);
        let circuit = kept.circuit.unwrap();
        assert_eq!((circuit.state, circuit.wait_ms, kept.window), (CircuitState::Open, 5_000, Some(3)));
        assert_eq!(kept.hold_until_ms, Some(AHEAD + 30_000));
        // A second later by the wall, at an owner whose own clock began elsewhere.
        let mut after = lane();
        let now_ms = 4_000 + AHEAD - ELSEWHERE;
        after.restore(&kept, (ELSEWHERE, 86_400_000), now_ms);
        assert_eq!(after.admission(now_ms), Admission::Wait(30_000 + AHEAD - ELSEWHERE));
        assert_eq!(after.next_probe(), Some(30_000 + AHEAD - ELSEWHERE));
        assert_eq!(after.condition(ELSEWHERE, now_ms), kept);
    }

    #[test]
    fn it_is_written_when_its_circuit_opens_and_closes_and_not_with_every_request() {
        let mut lane = lane();
        let mut told = Vec::new();
        for at_ms in 0..60 {
            end(&mut lane, Sign::Failed, at_ms * 100);
            told.extend(lane.take_news(AHEAD, at_ms * 100));
        }
        assert_eq!(told.len(), 1, "{told:?}");
        let record = told[0].record(Vec::new());
        assert_eq!(LaneCondition::of(&record), told[0]);
        assert!(record.circuit.is_some() && !record.is_empty());
        for at_ms in 100..200 {
            lane.streak.on_success(at_ms * 100 + AHEAD);
            end(&mut lane, Sign::Taken, at_ms * 100);
            told.extend(lane.take_news(AHEAD, at_ms * 100));
        }
        assert_eq!(told.last(), Some(&LaneCondition::default()));
        assert!(told.len() <= 3 && !lane.has_told(), "{told:?}");
    }

    #[test]
    fn whose_it_was_is_known_again_and_a_snapshot_that_is_behind_changes_nobody() {
        let of = |version, origin: &str| Some(LaneEndpoint::new(version, origin));
        let was = LaneCondition { endpoint: of(7, "https://a.example"), ..LaneCondition::default() };
        let changes = [
            (of(7, "https://a.example"), EndpointChange::Same),
            (of(6, "https://b.example"), EndpointChange::Same),
            (of(8, "https://a.example"), EndpointChange::Perhaps),
            (of(8, "https://b.example"), EndpointChange::Elsewhere),
            (None, EndpointChange::Same),
        ];
        for (endpoint, change) in changes {
            assert_eq!(was.change_to(endpoint), change, "{endpoint:?}");
        }
        let unsaid = LaneCondition::default();
        assert_eq!(unsaid.change_to(of(8, "https://b.example")), EndpointChange::Same, "a release before wrote it");
    }

    #[test]
    fn a_probe_that_was_under_way_is_repeated_and_a_wrong_clock_holds_nobody_for_long() {
        let circuit = CircuitCondition { state: CircuitState::HalfOpen, until_ms: 7, wait_ms: 40_000 };
        let mut lane = lane();
        lane.restore(&LaneCondition { circuit: Some(circuit), ..LaneCondition::default() }, (0, 60_000), 100);
        assert_eq!(lane.admission(100), Admission::Send);
        let far = CircuitCondition { state: CircuitState::Open, until_ms: i64::MAX, wait_ms: i64::MAX };
        let was = LaneCondition { circuit: Some(far), hold_until_ms: Some(i64::MAX), ..LaneCondition::default() };
        lane.restore(&was, (0, 60_000), 100);
        assert_eq!(lane.next_probe(), Some(100 + LONGEST_MS));
        assert_eq!(lane.hold_until_ms, 60_100);
    }
}
