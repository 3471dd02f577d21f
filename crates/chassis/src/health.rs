//! Health: ready when every latch is released, alive while every beat is young. Two questions, never one.
//!
//! Parts of a role take a latch at their start (`catalog`, `partitions`) and release it when they can serve;
//! threads that must not hang register a beat, the age of their last turn. The admin port answers both.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// What the process waits for and what must keep beating. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<Mutex<HealthState>>,
}

/// One thing the process is not ready without. Dropped without a release, it stays missing: whoever held it failed.
#[derive(Debug)]
#[must_use = "a latch that is never released keeps the process unready"]
pub struct Latch {
    id: u64,
    health: Health,
}

/// The registration of a beat: it lasts as long as this handle.
///
/// Whoever keeps it has ended when it is dropped, on purpose or by an error, and nobody is left who could hang. A process that should
/// end with a failed part does so by that part's error.
#[derive(Debug)]
#[must_use = "a beat is watched only while its handle is kept"]
pub struct Beat {
    id: u64,
    health: Health,
}

/// A beat that is older than it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Whose beat.
    pub name: String,
    /// Milliseconds since its last turn.
    pub age_ms: i64,
    /// Milliseconds it may take.
    pub limit_ms: i64,
}

#[derive(Debug, Default)]
struct HealthState {
    next: u64,
    draining: bool,
    latches: BTreeMap<u64, String>,
    beats: BTreeMap<u64, WatchedBeat>,
}

struct WatchedBeat {
    name: String,
    limit_ms: i64,
    age_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

// === impl Health ===

impl Health {
    /// Health of a process that waits for nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds something without which the process is not ready.
    pub fn latch(&self, name: impl Into<String>) -> Latch {
        let mut state = self.state.lock();
        let id = state.take_id();
        state.latches.insert(id, name.into());
        Latch { id, health: self.clone() }
    }

    /// Watches a thread by the age of its last turn, while the answer is kept; above `limit_ms` the process counts as hung.
    pub fn beat(
        &self,
        name: impl Into<String>,
        age_ms: impl Fn() -> i64 + Send + Sync + 'static,
        limit_ms: i64,
    ) -> Beat {
        let mut state = self.state.lock();
        let id = state.take_id();
        state.beats.insert(id, WatchedBeat { name: name.into(), limit_ms, age_ms: Arc::new(age_ms) });
        Beat { id, health: self.clone() }
    }

    /// From now on not ready: whoever routes requests here should stop before the port closes.
    pub fn drain(&self) {
        self.state.lock().draining = true;
    }

    /// What the process still waits for; empty when it is ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let state = self.state.lock();
        let draining = state.draining.then(|| "draining".to_owned());
        draining.into_iter().chain(state.latches.values().cloned()).collect()
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// The beats that are too old; empty while the process is alive.
    #[must_use]
    pub fn stale(&self) -> Vec<Stale> {
        let state = self.state.lock();
        let ages = state.beats.values().map(|beat| (beat, (beat.age_ms)()));
        ages.filter(|(beat, age_ms)| *age_ms > beat.limit_ms)
            .map(|(beat, age_ms)| Stale { name: beat.name.clone(), age_ms, limit_ms: beat.limit_ms })
            .collect()
    }
}

// === impl Latch ===

impl Latch {
    /// Says that this part can serve. Again changes nothing.
    pub fn release(&self) {
        self.health.state.lock().latches.remove(&self.id);
    }
}

// === impl Beat ===

impl Drop for Beat {
    fn drop(&mut self) {
        self.health.state.lock().beats.remove(&self.id);
    }
}

// === impl Stale ===

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: last turn {} ms ago, allowed {} ms", self.name, self.age_ms, self.limit_ms)
    }
}

// === impl HealthState ===

impl HealthState {
    fn take_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

// === impl WatchedBeat ===

impl fmt::Debug for WatchedBeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("name", &self.name).field("limit_ms", &self.limit_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[test]
    fn ready_when_every_latch_is_released() {
        let health = Health::new();
        assert!(health.is_ready());
        let catalog = health.latch("catalog");
        let partitions = health.latch("partitions");
        assert_eq!(health.missing(), ["catalog", "partitions"]);
        catalog.release();
        catalog.release();
        assert_eq!(health.missing(), ["partitions"]);
        partitions.release();
        assert!(health.is_ready());
    }

    #[test]
    fn a_dropped_latch_stays_missing() {
        let health = Health::new();
        drop(health.latch("catalog"));
        assert_eq!(health.missing(), ["catalog"]);
    }

    #[test]
    fn a_draining_process_is_alive_but_not_ready() {
        let health = Health::new();
        health.drain();
        assert_eq!(health.missing(), ["draining"]);
        assert!(health.stale().is_empty());
    }

    #[test]
    fn an_old_beat_is_named_until_whoever_has_it_ends() {
        let health = Health::new();
        let age = Arc::new(AtomicI64::new(10));
        let shared = Arc::clone(&age);
        let beat = health.beat("poller", move || shared.load(Ordering::Relaxed), 4_000);
        assert!(health.stale().is_empty());
        age.store(4_001, Ordering::Relaxed);
        assert_eq!(health.stale()[0].to_string(), "poller: last turn 4001 ms ago, allowed 4000 ms");
        // A part that begins and fails on the way, as one that may not write.
        let begins = || -> Result<Beat, &'static str> {
            let _poller = health.beat("poller of a second part", || 90_000, 4_000);
            Err("denied")
        };
        begins().unwrap_err();
        assert_eq!(health.stale().len(), 1, "what never ran cannot hang");
        drop(beat);
        assert!(health.stale().is_empty());
    }
}
