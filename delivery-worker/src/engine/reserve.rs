//! The last quarter of the worker's requests, and of their bytes, is for lanes whose requests come back.

use super::{Engine, Lookup, Rules};

impl<L: Lookup> Engine<L> {
    /// Whether one more request may be in flight.
    pub(super) fn has_places(&self) -> bool {
        self.in_flight < self.rules.concurrency && self.in_flight_bytes < self.rules.in_flight_bytes
    }

    /// Whether the rest of its requests, or of their bytes, is for lanes whose requests come back.
    pub(super) fn is_nearly_full(&self) -> bool {
        let Rules { concurrency, in_flight_bytes, .. } = self.rules;
        self.in_flight >= concurrency - concurrency / 4 || self.in_flight_bytes >= in_flight_bytes - in_flight_bytes / 4
    }

    /// The worker is no longer nearly full.
    pub(super) fn release_held(&mut self) {
        for id in std::mem::take(&mut self.held) {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.held_back.in_held = false;
            if std::mem::take(&mut lane.held_back.by_worker) {
                self.ready.push_back(id);
            }
        }
    }
}
