//! What is being read back, and the payloads of listed deliveries that are in memory.

use std::collections::VecDeque;

use hashbrown::HashMap;
use kafka::Epoch;
use schemas::ids::SubscriptionId;

use super::aged::AgeTold;
use super::{Engine, Lookup};

/// What is not read yet counts as so large before anything was read, bytes; then as what was read lately.
const GUESS: usize = 16 * 1024;
/// What could not be read back is asked for again after this time.
const ASK_AGAIN_MS: i64 = 1_000;

/// A record to read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadBackDemand {
    /// Lease of its partition.
    pub(crate) lease: Epoch,
    /// Its offset.
    pub(crate) offset: i64,
    /// It is the probe of a lane that is closed: its endpoint may have healed, and it is one record.
    pub(crate) is_urgent: bool,
}

/// Payloads of listed deliveries, in memory.
#[derive(Debug)]
pub(super) struct Reserve {
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// Mean size of what was read back lately.
    pub(super) guess: usize,
}

/// What is being read back.
#[derive(Debug, Default)]
pub(super) struct ReadBacks {
    pub(super) asked: HashMap<(Epoch, i64), NearTurn>,
    /// Asked for because they may have died of age; some of them are among the others, too.
    pub(super) ages: HashMap<(Epoch, i64), SubscriptionId>,
    /// What was found of those.
    pub(super) told: Vec<AgeTold>,
    pub(super) demands: Vec<ReadBackDemand>,
    /// Demands that failed and are made again, and when; the next one first.
    again: VecDeque<(i64, ReadBackDemand)>,
    /// Listed deliveries of all partitions.
    pub(super) queued: usize,
}

/// One whose turn is near.
#[derive(Clone, Copy, Debug)]
pub(super) struct NearTurn {
    pub(super) subscription: SubscriptionId,
    pub(super) is_urgent: bool,
}

impl ReadBacks {
    /// When something is asked for again.
    pub(super) fn next_ms(&self) -> Option<i64> {
        self.again.front().map(|(at_ms, _)| *at_ms)
    }

    /// What failed a while ago is asked for again.
    pub(super) fn ask_again(&mut self, now_ms: i64) {
        while let Some((_, demand)) = self.again.pop_front_if(|(at_ms, _)| *at_ms <= now_ms) {
            self.demands.push(demand);
        }
    }

    /// One cannot be read now: it is asked for again in a while.
    pub(super) fn failed(&mut self, demand: ReadBackDemand, now_ms: i64) {
        self.again.push_back((now_ms + ASK_AGAIN_MS, demand));
    }

    /// These leases go.
    pub(super) fn close(&mut self, leases: &[Epoch]) {
        self.asked.retain(|(epoch, _), _| !leases.contains(epoch));
        self.ages.retain(|(epoch, _), _| !leases.contains(epoch));
        self.told.retain(|told| !leases.contains(&told.lease));
        self.demands.retain(|demand| !leases.contains(&demand.lease));
        self.again.retain(|(_, demand)| !leases.contains(&demand.lease));
    }
}

impl<L: Lookup> Engine<L> {
    /// A record that was asked for cannot be read now, perhaps because the log ends below it: it is asked for again in a while, as
    /// urgent as it was. Not so for a retry that goes early where that is over, or can never be.
    pub(crate) fn not_read(&mut self, lease: Epoch, offset: i64, is_beyond_end: bool, now_ms: i64) {
        let is_hurried = self.hurries.not_read((lease, offset), is_beyond_end, self.wall.ms(now_ms));
        let near = self.read_backs.asked.get(&(lease, offset)).map(|asked| asked.is_urgent);
        if near.is_none() && !is_hurried && !self.read_backs.ages.contains_key(&(lease, offset)) {
            return;
        }
        let is_urgent = is_hurried || near.unwrap_or_default();
        let demand = ReadBackDemand { lease, offset, is_urgent };
        self.read_backs.failed(demand, now_ms);
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Self { records: 0, bytes: 0, guess: GUESS }
    }
}

impl Reserve {
    /// One was read back.
    pub(super) fn read(&mut self, size: usize) {
        self.keep(size);
        self.guess = (self.guess * 15 + size) / 16;
    }

    /// One that was live is listed, and its payload is still here.
    pub(super) fn keep(&mut self, size: usize) {
        self.records += 1;
        self.bytes += size;
    }

    pub(super) fn give(&mut self, size: usize) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
    }
}
