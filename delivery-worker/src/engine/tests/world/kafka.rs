//! What Kafka holds of the partition: the committed offset with its metadata, and `lanes`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ::kafka::{Claimed, Progress, Transaction};
use bytes::Bytes;
use schemas::ids::SubscriptionId;
use schemas::lanes::{HeldKey, LaneKey, LaneRecord};
use schemas::record::{Headers, Record};

use crate::book::checkpoint::CheckpointBounds;
use crate::book::restore::{BookError, FoundLists, Shelved};
use crate::book::{Book, Total};

#[derive(Clone, Debug, Default)]
pub(in super::super) struct Kafka {
    pub(in super::super) committed: i64,
    pub(in super::super) read_up_to: i64,
    pub(in super::super) not_done: Vec<i64>,
    pub(in super::super) claim: Option<Total>,
    /// `lanes`, record by record, from where a takeover reads it.
    pub(in super::super) lanes: LanesLog,
    /// The last value of each key.
    pub(in super::super) values: BTreeMap<Bytes, Bytes>,
    /// Written to it so far: lane records, and bytes of everything.
    pub(in super::super) lane_records: u64,
    pub(in super::super) lane_bytes: usize,
}

/// A partition of `lanes`; what nobody will read any more is gone.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct LanesLog {
    /// Offset of its first record.
    start: i64,
    records: VecDeque<(Bytes, Option<Bytes>)>,
    bytes: usize,
    /// Most that one transaction has written.
    largest: usize,
}

impl LanesLog {
    /// Where the next record will stand.
    pub(in super::super) fn end(&self) -> i64 {
        self.start + i64::try_from(self.records.len()).unwrap()
    }

    /// Where it begins, and what stands there.
    pub(in super::super) fn read(&self) -> (i64, u64) {
        (self.start, u64::try_from(self.bytes).unwrap())
    }

    /// Nothing below is read any more.
    fn begin_at(&mut self, from: i64) {
        while self.start < from {
            let (key, value) = self.records.pop_front().unwrap();
            self.bytes -= size(&key, value.as_ref());
            self.start += 1;
        }
    }

    /// The last value of each key.
    fn values(&self) -> BTreeMap<Bytes, Bytes> {
        let mut values = BTreeMap::new();
        for (key, value) in &self.records {
            match value.clone() {
                Some(value) => drop(values.insert(key.clone(), value)),
                None => drop(values.remove(key)),
            }
        }
        values
    }
}

fn size(key: &Bytes, value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len)
}

impl Kafka {
    /// What a transaction writes to `lanes`, each record with the progress of its partition.
    pub(super) fn apply_lanes(&mut self, transaction: &Transaction, topic: &Arc<str>) {
        let before = self.lanes.bytes;
        for output in transaction.outputs.iter().filter(|output| output.record.topic == *topic) {
            let of = &transaction.progress[output.lease].lease.partition;
            assert_eq!(Some(of.partition), output.record.partition, "with the progress of its partition");
            let key = output.record.key.clone().unwrap();
            self.lane_records += u64::from(!key.contains(&b'/'));
            self.lane_bytes += output.record.size();
            self.lanes.bytes += output.record.size();
            self.lanes.records.push_back((key.clone(), output.record.value.clone()));
            match output.record.value.clone() {
                Some(value) => drop(self.values.insert(key, value)),
                None => drop(self.values.remove(&key)),
            }
        }
        self.lanes.largest = self.lanes.largest.max(self.lanes.bytes - before);
    }

    /// What a successor would have to read is bounded (10); in each of some batches others write beside what is written once more.
    pub(super) fn check_bound(&self, bounds: CheckpointBounds, seed: u64) {
        let live: usize = self.values.iter().map(|(key, value)| size(key, Some(value))).sum();
        let times = usize::try_from(bounds.times).unwrap() + 1;
        let batches = 4 + self.values.len() / bounds.portion;
        let most = usize::try_from(bounds.floor).unwrap() + times * live + batches * self.lanes.largest;
        assert!(
            self.lanes.bytes <= most,
            "seed {seed}: {} bytes to read, {live} count, {most} at most (10)",
            self.lanes.bytes
        );
    }

    /// Keys of `lanes` under which an offset stands.
    pub(in super::super) fn listing(&self) -> Vec<LaneKey> {
        let key = |key: &Bytes| LaneKey::decode(Some(key)).unwrap();
        let lists = |key: LaneKey, value: &Bytes| match key {
            LaneKey::Lane(_) => !LaneRecord::decode(key, value).unwrap().lists.is_empty(),
            LaneKey::Chunk(_) => true,
        };
        self.values
            .iter()
            .map(|(of, value)| (key(of), value))
            .filter(|(key, value)| lists(*key, value))
            .map(|it| it.0)
            .collect()
    }

    /// How many lists a lane has there.
    pub(in super::super) fn lists_of(&self, id: SubscriptionId) -> usize {
        self.lane(id).map_or(0, |lane| lane.lists.len())
    }

    /// How many ordering keys are held there, over all lanes.
    pub(in super::super) fn held_keys(&self) -> usize {
        let of = |(key, value): (&Bytes, &Bytes)| match LaneKey::decode(Some(key)).unwrap() {
            key @ LaneKey::Lane(_) => LaneRecord::decode(key, value).unwrap().held_keys.len(),
            LaneKey::Chunk(_) => 0,
        };
        self.values.iter().map(of).sum()
    }

    /// What the keys of a lane wait for, as everybody can read it there.
    pub(in super::super) fn held_of(&self, id: SubscriptionId) -> Vec<HeldKey> {
        self.lane(id).map(|lane| lane.held_keys).unwrap_or_default()
    }

    /// Retries of a lane that are to be dropped when they come back.
    pub(in super::super) fn superseded_of(&self, id: SubscriptionId) -> usize {
        self.lane(id).map_or(0, |lane| lane.superseded.len())
    }

    fn lane(&self, id: SubscriptionId) -> Option<LaneRecord> {
        let key = LaneKey::Lane(id);
        self.values.get(key.to_string().as_bytes()).map(|value| LaneRecord::decode(key, value).unwrap())
    }

    pub(super) fn commit(&mut self, progress: Progress) {
        if let Claimed::Lists(claim) = progress.claim {
            self.lanes.begin_at(claim.from);
        }
        self.claim = match progress.claim {
            Claimed::Lists(claim) => Some(Total { queued: claim.queued, sum: claim.sum }),
            Claimed::AsFound => self.claim,
            Claimed::Nothing | Claimed::Position(_) | Claimed::Slices(..) => None,
        };
        (self.committed, self.read_up_to, self.not_done) = (progress.committed, progress.read_up_to, progress.not_done);
    }

    pub(super) fn take_over(&self, topic: &Arc<str>) -> Result<Book, BookError> {
        let mut shelved = Shelved::default();
        for (key, value) in self.lanes.values() {
            let (key, value) = (Some(key), Some(value));
            shelved.read(&Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() })?;
        }
        let found = FoundLists { claimed: self.claim, start: self.committed, log_start: 0, is_recreated: false };
        let mut book = shelved.book(Arc::clone(topic), 0, found)?;
        let (from, bytes) = self.lanes.read();
        book.set_read(from, bytes);
        Ok(book)
    }
}
