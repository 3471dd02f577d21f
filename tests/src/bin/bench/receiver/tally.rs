//! What came at each path, counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustls::HandshakeKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Longest that is told apart, ms.
const LONGEST_MS: usize = 600_000;
/// One that comes so many numbers after a newer one has not only been overtaken by what was in flight.
const IN_FLIGHT: u32 = 2_048;

/// By path.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    of: Mutex<HashMap<String, Tally>>,
    /// TLS handshakes, and those of them that went on with an older session.
    handshakes: AtomicU64,
    resumed: AtomicU64,
}

/// Of one path.
#[derive(Debug, Default)]
struct Tally {
    /// Requests.
    count: u64,
    /// Events by number: a bit each.
    seen: Vec<u64>,
    distinct: u64,
    newest: u32,
    overtaken: u64,
    /// How many took so many ms, since that was forgotten.
    took: Vec<u32>,
}

/// What is told of one path.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Requests.
    pub(crate) count: u64,
    /// Different events.
    pub(crate) distinct: u64,
    /// Events that came for the first time long after a newer one.
    pub(crate) overtaken: u64,
    /// How long they took from being made to their first arrival, ms: half of them, 99 of 100, the last one.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) most_ms: f64,
    /// TLS handshakes of all paths, and those of them that were resumed.
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
}

// === impl Tallies ===

impl Tallies {
    /// An event came; number and time of it, where its id tells them.
    pub(super) fn came(&self, path: &str, timed: Option<(u32, i64)>, arrived_ms: i64) {
        let mut of = self.of.lock();
        if !of.contains_key(path) {
            of.insert(path.to_owned(), Tally::default());
        }
        let Some(tally) = of.get_mut(path) else { return };
        tally.count += 1;
        if let Some((number, made_ms)) = timed {
            tally.first(number, arrived_ms - made_ms);
        }
    }

    /// A TLS handshake has ended.
    pub(super) fn handshake(&self, kind: Option<HandshakeKind>) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        if kind == Some(HandshakeKind::Resumed) {
            self.resumed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long events took is counted anew.
    pub(super) fn forget(&self, path: &str) {
        if let Some(tally) = self.of.lock().get_mut(path) {
            tally.took.clear();
        }
    }

    /// What [`Told`] says of a path.
    pub(super) fn told(&self, path: &str) -> Value {
        let of = self.of.lock();
        let told = of.get(path).map(Tally::told).unwrap_or_default();
        let (handshakes, resumed) = (self.handshakes.load(Ordering::Relaxed), self.resumed.load(Ordering::Relaxed));
        json!(Told { handshakes, resumed, ..told })
    }
}

// === impl Tally ===

impl Tally {
    /// Counts an event that has a number, if it comes for the first time.
    fn first(&mut self, number: u32, took_ms: i64) {
        let (word, bit) = (number as usize / 64, 1_u64 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            return;
        }
        self.seen[word] |= bit;
        self.distinct += 1;
        self.overtaken += u64::from(number + IN_FLIGHT < self.newest);
        self.newest = self.newest.max(number);
        let took_ms = usize::try_from(took_ms.max(0)).unwrap_or(LONGEST_MS).min(LONGEST_MS);
        if self.took.len() <= took_ms {
            self.took.resize(took_ms + 1, 0);
        }
        self.took[took_ms] += 1;
    }

    fn told(&self) -> Told {
        let all: u64 = self.took.iter().copied().map(u64::from).sum();
        let at = |thousandths: u64| {
            let mut left = (all * thousandths).div_ceil(1_000);
            let found = self.took.iter().position(|count| {
                let count = u64::from(*count);
                let is_here = left > 0 && count >= left;
                left = left.saturating_sub(count);
                is_here
            });
            found.and_then(|ms| u32::try_from(ms).ok()).map_or(0.0, f64::from)
        };
        let (p50_ms, p99_ms, most_ms) = (at(500), at(990), at(1_000));
        let Self { count, distinct, overtaken, .. } = *self;
        Told { count, distinct, overtaken, p50_ms, p99_ms, most_ms, ..Told::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(ms: f64, expected: f64) -> bool {
        (ms - expected).abs() < 0.5
    }

    fn told(tallies: &Tallies) -> Told {
        serde_json::from_value(tallies.told("/a")).unwrap()
    }

    #[test]
    fn each_event_counts_once_however_often_it_comes() {
        let tallies = Tallies::default();
        for number in 0..100 {
            tallies.came("/a", Some((number, 1_000)), 1_001 + i64::from(number));
        }
        tallies.came("/a", Some((5, 1_000)), 9_000);
        tallies.came("/a", None, 9_000);
        tallies.came("/b", Some((1, 0)), 1);
        let all = told(&tallies);
        assert_eq!((all.count, all.distinct, all.overtaken), (102, 100, 0));
        assert!(is(all.p50_ms, 50.0) && is(all.p99_ms, 99.0) && is(all.most_ms, 100.0), "{all:?}");
        tallies.forget("/a");
        let forgotten = told(&tallies);
        assert!(is(forgotten.most_ms, 0.0) && forgotten.distinct == 100, "{forgotten:?}");
    }

    #[test]
    fn what_comes_long_after_a_newer_one_was_overtaken() {
        let tallies = Tallies::default();
        for number in [5_000, 4_999, 5_000 - IN_FLIGHT, 4_999 - IN_FLIGHT] {
            tallies.came("/a", Some((number, 0)), 1);
        }
        assert_eq!(told(&tallies).overtaken, 1);
    }
}
