//! When everything fails at once: several subscriptions cannot even be reached, and none answers. That is our own network, not
//! their endpoints, so intake holds (one probe now and then) instead of emptying the topic into the delay topics.

use schemas::ids::SubscriptionId;

/// Unreachable attempts in a row, over all lanes.
const FAILURES: u32 = 20;
/// Of at least this many lanes: fewer could simply be down.
const LANES: usize = 3;
/// Over at least this long.
const SPAN_MS: i64 = 1_000;
/// Between two probes.
const PROBE_EVERY_MS: i64 = 200;

/// Whether requests leave this host at all.
#[derive(Debug, Default)]
pub(crate) struct Egress {
    failures: u32,
    since_ms: i64,
    lanes: Vec<SubscriptionId>,
    /// When the next probe may go; `None` while not held.
    probe_ms: Option<i64>,
}

impl Egress {
    /// Any answer at all: requests leave.
    pub(crate) fn on_answer(&mut self) {
        if self.failures > 0 {
            *self = Self::default();
        }
    }

    /// An endpoint could not be reached.
    pub(crate) fn on_unreachable(&mut self, lane: SubscriptionId, now_ms: i64) {
        if self.failures == 0 {
            self.since_ms = now_ms;
        }
        self.failures = self.failures.saturating_add(1);
        if self.lanes.len() < LANES && !self.lanes.contains(&lane) {
            self.lanes.push(lane);
        }
        let is_down = self.failures >= FAILURES && self.lanes.len() >= LANES && now_ms - self.since_ms >= SPAN_MS;
        if is_down && self.probe_ms.is_none() {
            self.probe_ms = Some(now_ms + PROBE_EVERY_MS);
        }
    }

    /// Whether intake holds.
    pub(crate) fn is_held(&self) -> bool {
        self.probe_ms.is_some()
    }

    /// Whether one may go out now.
    pub(crate) fn may_send(&self, now_ms: i64) -> bool {
        self.probe_ms.is_none_or(|probe_ms| now_ms >= probe_ms)
    }

    /// One goes out.
    pub(crate) fn on_send(&mut self, now_ms: i64) {
        if let Some(probe_ms) = &mut self.probe_ms {
            *probe_ms = now_ms + PROBE_EVERY_MS;
        }
    }

    /// When the next probe may go, while held.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.probe_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn lane(number: u128) -> SubscriptionId {
        SubscriptionId(Uuid::from_u128(number))
    }

    #[test]
    fn it_holds_when_several_lanes_cannot_be_reached_and_none_answers() {
        let mut egress = Egress::default();
        for at in 0..30 {
            egress.on_unreachable(lane(u128::try_from(at % 3).unwrap()), at * 100);
        }
        assert!(egress.is_held() && !egress.may_send(2_000));
        assert!(egress.may_send(egress.next_ms().unwrap()));
        egress.on_answer();
        assert!(!egress.is_held());
    }

    #[test]
    fn two_dead_endpoints_are_no_outage() {
        let mut egress = Egress::default();
        for at in 0..1_000 {
            egress.on_unreachable(lane(u128::try_from(at % 2).unwrap()), at * 100);
        }
        assert!(!egress.is_held());
    }
}
