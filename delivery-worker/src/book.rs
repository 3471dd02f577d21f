//! The book of one partition: all lists of its lanes, and what stands of them on `lanes`. Pure.
//!
//! ```text
//! begin --list, settle, set_aside: entry by entry--> encode: each touched lane once --> the batch's outputs and its claim
//!                                                      | committed: keep       | not written: undo
//! ```
//!
//! The book is changed when a batch is cut, so it says what the topic says once that batch is committed, and never more. Whatever
//! is written stands in a transaction with the progress of the partition under the same lease.
//!
//! What it leaves to others: which delivery is listed (engine), when a batch is cut (crates/stage), what a takeover finds
//! (`book/restore.rs`).

mod ages;
pub(crate) mod checkpoint;
mod correct;
mod journal;
mod keys;
pub(crate) mod restore;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::ids::SubscriptionId;
use schemas::lanes::{HeldKey, LaneKey, LaneRecord, ListRole, SupersededRetry};
use schemas::ordering::OrderingKey;
use schemas::record::OutRecord;

use self::ages::AgeWatch;
use self::checkpoint::Checkpoint;
use self::correct::Correction;
use self::journal::Journal;
use crate::flaws::{self, Flaw};
use crate::lanes::condition::LaneCondition;
use crate::lists::{Age, List};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    topic: Arc<str>,
    partition: i32,
    lanes: HashMap<SubscriptionId, Shelf>,
    total: Total,
    journal: Journal,
    correction: Correction,
    checkpoint: Checkpoint,
    ages: AgeWatch,
}

/// What one lane has: its lists, by number, and what is not as new of it.
#[derive(Clone, Debug, Default)]
struct Shelf {
    lists: Vec<List>,
    /// Version of its subscription when what waits in order was last looked at, as far as is known.
    reviewed_of: Option<i64>,
    condition: LaneCondition,
    held_keys: HeldKeys,
    /// Retries that are dropped when they come back.
    superseded: Vec<SupersededRetry>,
    /// Bytes of its record on the topic; 0: there is none.
    written: usize,
}

/// Ordering keys of a lane that wait for a retry.
type HeldKeys = BTreeMap<OrderingKey, HeldKey>;

/// Count and sum of all listed offsets: what the commit metadata claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// Listed offsets.
    pub(crate) queued: u64,
    /// Wrapping sum of a mix of each.
    pub(crate) sum: u64,
}

// === impl Shelf ===

impl Shelf {
    /// What stands of it on the topic.
    fn record(&self) -> LaneRecord {
        let has_order = self.lists.iter().any(|list| list.role() != ListRole::SetAside);
        let mut record = self.record_without_lists();
        record.lists = self.lists.iter().map(List::record).collect();
        record.reviewed_of = self.reviewed_of.filter(|_| has_order && !flaws::has(Flaw::CancelUnseen));
        record
    }

    /// What is known beside them.
    fn record_without_lists(&self) -> LaneRecord {
        let mut record = self.condition.record(Vec::new());
        record.held_keys = self.held_keys.values().cloned().collect();
        record.superseded.clone_from(&self.superseded);
        record
    }
}

// === impl Total ===

impl Total {
    fn add(&mut self, offset: i64) {
        self.queued += 1;
        self.sum = self.sum.wrapping_add(mixed(offset));
    }

    fn take(&mut self, offset: i64) {
        self.queued -= 1;
        if flaws::has(Flaw::SumKept) {
            return;
        }
        self.sum = self.sum.wrapping_sub(mixed(offset));
    }
}

/// Neighbours differ in half of the bits: two offsets for one do not cancel out.
fn mixed(offset: i64) -> u64 {
    // SplitMix64.
    let mut mixed = offset.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

// === impl Book ===

impl Book {
    /// A book in which nothing stands, of this partition of `lanes`.
    pub(crate) fn new(topic: Arc<str>, partition: i32) -> Self {
        let (total, journal, correction) = (Total::default(), Journal::default(), Correction::default());
        let (checkpoint, ages) = (Checkpoint::default(), AgeWatch::default());
        Self { topic, partition, lanes: HashMap::new(), total, journal, correction, checkpoint, ages }
    }

    /// What the metadata claim.
    pub(crate) fn total(&self) -> Total {
        self.total
    }

    /// Lanes in which something waits.
    #[cfg(test)]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// All lists, lane by lane in the order of their ids; a lane of which only its condition is known has none.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (SubscriptionId, &[List])> {
        let mut ids: Vec<SubscriptionId> = self.lanes.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| (id, self.lanes[&id].lists.as_slice()))
    }

    /// Kafka's time of nothing that waits is older, Unix ms.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.lanes.values().flat_map(|lane| &lane.lists).filter_map(List::oldest_ms).min()
    }

    /// A batch was cut: what follows belongs to it.
    pub(crate) fn begin(&mut self) {
        debug_assert!(self.journal.is_empty(), "one batch at a time");
        self.journal = Journal::new(self.total);
        self.checkpoint.begin();
    }

    /// A delivery waits in its lane's list from now on. False: it does already.
    pub(crate) fn list(&mut self, id: SubscriptionId, role: ListRole, offset: i64, age: Age) -> bool {
        let lane = self.lanes.entry(id).or_default();
        self.journal.touch(id, lane);
        let at = lane.lists.iter().position(|list| list.role() == role).unwrap_or_else(|| {
            // An id may come again once its list is empty: nothing of it is on the topic then.
            let next = lane.lists.iter().map(List::id).max().unwrap_or(0) + 1;
            lane.lists.push(List::new(role, next));
            lane.lists.len() - 1
        });
        let list = &mut lane.lists[at];
        let is_new = self.journal.step(id, list.id(), |steps| list.insert(offset, age, steps));
        if is_new {
            self.total.add(offset);
        }
        is_new
    }

    /// A listed delivery has an outcome; its record was written at `timestamp_ms`. False: it was not listed.
    pub(crate) fn settle(&mut self, id: SubscriptionId, offset: i64, timestamp_ms: i64) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        self.journal.touch(id, lane);
        let spans = |list: &List| list.first() <= Some(offset) && Some(offset) <= list.last();
        let mut removed = false;
        for list in lane.lists.iter_mut().filter(|list| spans(list)) {
            removed = self.journal.step(id, list.id(), |steps| list.remove(offset, timestamp_ms, steps));
            if removed {
                break;
            }
        }
        if removed {
            self.total.take(offset);
            lane.lists.retain(|list| !list.is_empty());
        }
        removed
    }

    /// Everything that waits in a lane is to be swept: what comes gets lists of its own.
    pub(crate) fn set_aside(&mut self, id: SubscriptionId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        self.journal.touch(id, lane);
        lane.lists.iter_mut().for_each(List::set_aside);
    }

    /// What waits in a lane in its order was looked at by this version of its subscription, or came after it. `None`: that is not known
    /// any better than before.
    pub(crate) fn set_reviewed(&mut self, id: SubscriptionId, version: Option<i64>) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|_| version.is_some()) {
            self.journal.touch(id, lane);
            lane.reviewed_of = version;
        }
    }

    /// By which version of its subscription what waits in a lane in its order was last looked at, if that is known.
    pub(crate) fn reviewed_of(&self, id: SubscriptionId) -> Option<i64> {
        self.lanes.get(&id)?.reviewed_of
    }

    /// Beside its lists, this is to be known of a lane.
    pub(crate) fn set_condition(&mut self, id: SubscriptionId, condition: LaneCondition) {
        let lane = self.lanes.entry(id).or_default();
        self.journal.touch(id, lane);
        lane.condition = condition;
    }

    /// What is known of a lane beside its lists.
    pub(crate) fn condition(&self, id: SubscriptionId) -> LaneCondition {
        self.lanes.get(&id).map(|lane| lane.condition).unwrap_or_default()
    }

    /// Lanes whose record says something beside their lists.
    pub(crate) fn known(&self) -> Vec<SubscriptionId> {
        let known = self.lanes.iter().filter(|(_, lane)| !lane.record_without_lists().is_empty());
        let mut ids: Vec<SubscriptionId> = known.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Nothing is known of a lane beside its lists.
    pub(crate) fn forget(&mut self, id: SubscriptionId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        self.journal.touch(id, lane);
        let Shelf { lists, reviewed_of, written, .. } = std::mem::take(lane);
        *lane = Shelf { lists, reviewed_of, written, ..Shelf::default() };
    }

    /// Writes what the batch has changed: each lane once, each chunk as it is now.
    pub(crate) fn encode(&mut self) -> Vec<OutRecord> {
        let mut records = Vec::new();
        let mut chunks = BTreeMap::new();
        for (key, step) in self.journal.steps() {
            let (was, is) = step.sizes();
            self.checkpoint.replaced(was, is);
            let (number, chunk) = step.written();
            if chunk.is_none() && flaws::has(Flaw::RefillWithoutTombstone) {
                continue;
            }
            chunks.insert(key.of(number), chunk.map(|chunk| chunk.record().encode()));
        }
        for key in self.checkpoint.chunks() {
            if let Some(chunk) = self.chunk(key) {
                chunks.entry(key).or_insert_with(|| Some(chunk.record().encode()));
            }
        }
        for (key, value) in chunks {
            records.push(LaneKey::Chunk(key).record(&self.topic, self.partition, value));
        }
        for id in self.journal.touched() {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let record = lane.record();
            let value = (!record.is_empty()).then(|| record.encode());
            // Listed and settled in one batch: nobody has to know.
            if value.is_some() || lane.written > 0 {
                let is_there = value.is_some();
                let record = LaneKey::Lane(id).record(&self.topic, self.partition, value);
                let size = if is_there { record.size() } else { 0 };
                self.checkpoint.replaced(std::mem::replace(&mut lane.written, size), size);
                records.push(record);
            }
            if lane.written == 0 {
                self.lanes.remove(&id);
            }
        }
        self.checkpoint.wrote(records.iter().map(OutRecord::size).sum());
        records
    }

    /// The batch is committed.
    pub(crate) fn keep(&mut self) {
        self.journal = Journal::default();
        self.correction.keep();
        self.checkpoint.keep();
    }

    /// The batch was not written: everything is as it was before.
    pub(crate) fn undo(&mut self) {
        let journal = std::mem::take(&mut self.journal);
        if journal.is_empty() {
            return;
        }
        self.total = journal.undo(&mut self.lanes);
        self.correction.undo();
        self.checkpoint.undo();
        // What is being looked at may stand elsewhere now: it is looked at anew.
        self.end_look();
    }
}
