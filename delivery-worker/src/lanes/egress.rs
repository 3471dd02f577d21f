//! When everything fails at once: endpoints at several origins that worked a moment ago cannot even be reached, or nothing can be sent
//! to them for want of something here, and none answers. That is our own network or host, not theirs, so intake holds (one probe now
//! and then) instead of every endpoint being found dead.
//!
//! What was dead before is no evidence: a quiet worker with a few dead endpoints and a wave of retries has a network. So only
//! what worked lately and has no open circuit counts.

use super::origin::OriginKey;

/// Unreachable attempts in a row, over all lanes that are evidence.
const FAILURES: u32 = 20;
/// Of at least this many origins: fewer could simply be down.
const ORIGINS: usize = 3;
/// Over at least this long: shorter than what opens a circuit, after which a lane tells nothing more.
const SPAN_MS: i64 = 500;
/// Between two probes.
const PROBE_EVERY_MS: i64 = 200;
/// An endpoint that took something this long ago is evidence, ms.
pub(crate) const WORKED_LATELY_MS: i64 = 10 * 60_000;

/// Whether requests leave this host at all.
#[derive(Debug, Default)]
pub(crate) struct Egress {
    failures: u32,
    /// When the present run began, ms.
    since_ms: i64,
    origins: Vec<OriginKey>,
    /// When the next probe may go; `None` while not held.
    probe_ms: Option<i64>,
}

impl Egress {
    /// Any answer at all: requests leave. If they did not before, since when.
    pub(crate) fn on_answer(&mut self) -> Option<i64> {
        if self.failures == 0 {
            return None;
        }
        let Self { since_ms, probe_ms, .. } = std::mem::take(self);
        probe_ms.map(|_| since_ms)
    }

    /// An endpoint at this origin could not be reached, or tried, that had worked lately.
    pub(crate) fn on_unreachable(&mut self, origin: &OriginKey, now_ms: i64) {
        if self.failures == 0 {
            self.since_ms = now_ms;
        }
        self.failures = self.failures.saturating_add(1);
        if self.origins.len() < ORIGINS && !self.origins.contains(origin) {
            self.origins.push(origin.clone());
        }
        let is_down = self.failures >= FAILURES && self.origins.len() >= ORIGINS && now_ms - self.since_ms >= SPAN_MS;
        if is_down && self.probe_ms.is_none() {
            self.probe_ms = Some(now_ms + PROBE_EVERY_MS);
        }
    }

    /// Since when endpoints that worked cannot be reached and none answers, ms; `None` where none is.
    pub(crate) fn failing_since_ms(&self) -> Option<i64> {
        (self.failures > 0).then_some(self.since_ms)
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
    use crate::testing;

    fn origin(number: i64) -> OriginKey {
        let (vault, url) = (testing::vault(), format!("https://{number}.example/"));
        OriginKey::of(&testing::subscription(testing::object(1, &url, &vault), 1, &vault)).unwrap()
    }

    #[test]
    fn it_holds_when_several_origins_cannot_be_reached_and_none_answers() {
        let mut egress = Egress::default();
        for at in 0..30 {
            egress.on_unreachable(&origin(at % 3), 500 + at * 100);
        }
        assert!(egress.is_held() && !egress.may_send(2_000));
        assert!(egress.may_send(egress.next_ms().unwrap()));
        assert_eq!(egress.on_answer(), Some(500), "since then nobody can be blamed");
        assert!(!egress.is_held() && egress.on_answer().is_none());
    }

    #[test]
    fn two_dead_origins_are_no_outage() {
        let mut egress = Egress::default();
        for at in 0..1_000 {
            egress.on_unreachable(&origin(at % 2), at * 100);
        }
        assert!(!egress.is_held());
    }
}
