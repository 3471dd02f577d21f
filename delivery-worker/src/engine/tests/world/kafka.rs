//! What Kafka holds of the partition: the committed offset with its metadata, and `lanes`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::kafka::{Claimed, Progress, Transaction};
use bytes::Bytes;
use schemas::lanes::{LaneKey, LaneRecord};
use schemas::record::{Headers, Record};

use crate::book::restore::{BookError, FoundLists, Shelved};
use crate::book::{Book, Total};

#[derive(Clone, Debug, Default)]
pub(in super::super) struct Kafka {
    pub(in super::super) committed: i64,
    pub(in super::super) read_up_to: i64,
    pub(in super::super) not_done: Vec<i64>,
    pub(in super::super) claim: Option<Total>,
    /// Records of `lanes`: the last value of each key.
    pub(in super::super) values: BTreeMap<Bytes, Bytes>,
    /// Written to it so far: lane records, and bytes of everything.
    pub(in super::super) lane_records: u64,
    pub(in super::super) lane_bytes: usize,
}

impl Kafka {
    /// What a transaction writes to `lanes`, each record with the progress of its partition.
    pub(super) fn apply_lanes(&mut self, transaction: &Transaction, topic: &Arc<str>) {
        for output in transaction.outputs.iter().filter(|output| output.record.topic == *topic) {
            let of = &transaction.progress[output.lease].lease.partition;
            assert_eq!(Some(of.partition), output.record.partition, "with the progress of its partition");
            let key = output.record.key.clone().unwrap();
            self.lane_records += u64::from(!key.contains(&b'/'));
            self.lane_bytes += output.record.size();
            match output.record.value.clone() {
                Some(value) => drop(self.values.insert(key, value)),
                None => drop(self.values.remove(&key)),
            }
        }
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

    pub(super) fn commit(&mut self, progress: Progress) {
        self.claim = match progress.claim {
            Claimed::Lists(claim) => Some(Total { queued: claim.queued, sum: claim.sum }),
            Claimed::AsFound => self.claim,
            Claimed::Nothing => None,
        };
        (self.committed, self.read_up_to, self.not_done) = (progress.committed, progress.read_up_to, progress.not_done);
    }

    pub(super) fn take_over(&self, topic: &Arc<str>) -> Result<Book, BookError> {
        let mut shelved = Shelved::default();
        for (key, value) in &self.values {
            let (key, value) = (Some(key.clone()), Some(value.clone()));
            shelved.read(&Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() })?;
        }
        let found = FoundLists { claimed: self.claim, start: self.committed, log_start: 0, is_recreated: false };
        shelved.book(Arc::clone(topic), 0, found)
    }
}
