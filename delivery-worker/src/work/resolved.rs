//! A record with an outcome, on its way into the outbox.

use kafka::Epoch;
use schemas::lanes::HeldKey;
use schemas::record::OutRecord;
use stage::Entry;

use super::books::{LaneNote, SupersededPlace};
use crate::engine::{Arrival, Left};
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
    /// An arrival with an outcome.
    pub(super) fn new(arrival: &Arrival, note: LaneNote, outputs: Vec<OutRecord>) -> Self {
        let Arrival { lease: epoch, offset, timestamp_ms, size, .. } = *arrival;
        Self { epoch, at: (offset, timestamp_ms), size, note, outputs }
    }

    /// An arrival that had a request; what `is_listed` left the window before, and its key waits for its retry, if one is `held`.
    pub(super) fn sent(arrival: &Arrival, is_listed: bool, held: Option<HeldKey>, outputs: Vec<OutRecord>) -> Self {
        Self::new(arrival, LaneNote::sent(arrival.delivery.subscription, is_listed, held), outputs)
    }

    /// An arrival that left without a request.
    pub(super) fn unsent(left: &Left, outputs: Vec<OutRecord>) -> Self {
        let id = left.arrival.delivery.subscription;
        Self::new(&left.arrival, LaneNote::unsent(id, left.is_listed, left.end.superseded()), outputs)
    }

    /// What the outbox keeps of it.
    pub(super) fn entry(&self, boot_ms: i64) -> Entry<LaneNote> {
        let note = self.note.clone();
        match self.note {
            LaneNote::Listed(_) if flaws::has(Flaw::EntryWithoutCompleting) => {
                Entry::beside(self.epoch, self.at, boot_ms, note)
            }
            LaneNote::Done
            | LaneNote::Left
            | LaneNote::Listed(_)
            | LaneNote::Held(_, false, _)
            | LaneNote::Unheld(_, false, _)
            | LaneNote::Superseded(_, SupersededPlace::Window, _) => {
                Entry::new(self.epoch, self.at, self.size, boot_ms, note)
            }
            // Its partition sends nothing more while as many of them wait as its window may hold.
            LaneNote::Settled(_) | LaneNote::Held(_, true, _) | LaneNote::Unheld(_, true, _) => {
                Entry::beside(self.epoch, self.at, boot_ms, note).weighing()
            }
            LaneNote::LeftList(_)
            | LaneNote::SetAside(..)
            | LaneNote::Condition(..)
            | LaneNote::Freed(..)
            | LaneNote::Hurried(..)
            | LaneNote::Superseded(_, SupersededPlace::List | SupersededPlace::Nowhere, _)
            | LaneNote::Undone
            | LaneNote::Forgotten(_)
            | LaneNote::Correct
            | LaneNote::Checkpoint => Entry::beside(self.epoch, self.at, boot_ms, note),
        }
    }
}
