//! A record with an outcome, on its way into the outbox.

use kafka::Epoch;
use schemas::record::OutRecord;
use stage::Entry;

use super::books::LaneNote;
use crate::engine::Arrival;
use crate::flaws::{self, Flaw};

/// A record that is resolved, and what is written about it.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) epoch: Epoch,
    /// Its offset and Kafka's time, Unix ms.
    pub(super) at: (i64, i64),
    pub(super) size: usize,
    pub(super) note: LaneNote,
    pub(super) outputs: Vec<OutRecord>,
}

// === impl Resolved ===

impl Resolved {
    /// An arrival with an outcome; what `is_listed` left the window before.
    pub(super) fn new(arrival: &Arrival, is_listed: bool, outputs: Vec<OutRecord>) -> Self {
        let Arrival { lease: epoch, offset, timestamp_ms, size, .. } = *arrival;
        let note = if is_listed { LaneNote::Settled(arrival.delivery.subscription) } else { LaneNote::Done };
        Self { epoch, at: (offset, timestamp_ms), size, note, outputs }
    }

    /// An arrival that left without a request.
    pub(super) fn unsent(arrival: &Arrival, is_listed: bool, outputs: Vec<OutRecord>) -> Self {
        let note = if is_listed { LaneNote::LeftList(arrival.delivery.subscription) } else { LaneNote::Left };
        Self { note, ..Self::new(arrival, is_listed, outputs) }
    }

    /// What the outbox keeps of it.
    pub(super) fn entry(&self, boot_ms: i64) -> Entry<LaneNote> {
        match self.note {
            LaneNote::Listed(_) if flaws::has(Flaw::EntryWithoutCompleting) => {
                Entry::beside(self.epoch, self.at, boot_ms, self.note)
            }
            LaneNote::Done | LaneNote::Left | LaneNote::Listed(_) => {
                Entry::new(self.epoch, self.at, self.size, boot_ms, self.note)
            }
            // Its partition sends nothing more while as many of them wait as its window may hold.
            LaneNote::Settled(_) => Entry::beside(self.epoch, self.at, boot_ms, self.note).weighing(),
            LaneNote::LeftList(_)
            | LaneNote::SetAside(..)
            | LaneNote::Condition(..)
            | LaneNote::Key(..)
            | LaneNote::Correct
            | LaneNote::Checkpoint => Entry::beside(self.epoch, self.at, boot_ms, self.note),
        }
    }
}
