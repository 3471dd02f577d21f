//! What leaves the lists of one partition next, and in which order. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kafka::Epoch;
use schemas::delivery::{Delivery, Wait, key};
use schemas::ids::SubscriptionId;
use schemas::lanes::ListRole;
use schemas::record::{OutRecord, Record, TopicPartition};

use crate::lists::List;

/// Offsets of one portion: as many as a transaction takes.
const PORTION: usize = 1_000;
/// Of them so many are asked for at a time, and none while so many bytes wait to be written: 45 MiB in memory of the largest payloads.
const ASKED: usize = 64;
const READ_BYTES: usize = 4 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) epoch: Epoch,
    /// Not in the outbox yet, in order.
    line: VecDeque<(SubscriptionId, i64)>,
    /// How many of those were asked for.
    asked: usize,
    /// What was read back of them; nothing where no record is there.
    read: BTreeMap<i64, Option<Record>>,
    /// Its bytes.
    read_bytes: usize,
    /// In the outbox or in the transaction under way.
    under_way: usize,
}

// === impl Portion ===

impl Portion {
    /// The first of what waits in a book: of each lane what is set aside, then retries, then first tries. `None`: nothing does.
    pub(super) fn first_of<'a>(
        lists: impl IntoIterator<Item = (SubscriptionId, &'a [List])>,
        epoch: Epoch,
    ) -> Option<Self> {
        let mut found: Vec<(ListRole, i64, SubscriptionId)> = Vec::new();
        let mut lists = lists.into_iter();
        while found.len() < PORTION
            && let Some((id, lists)) = lists.next()
        {
            let mut lists: Vec<&List> = lists.iter().collect();
            lists.sort_by_key(|list| list.role());
            let all = lists.into_iter().flat_map(|list| list.offsets().map(move |offset| (list.role(), offset, id)));
            found.extend(all.take(PORTION - found.len()));
        }
        // Each lane keeps its order, and the log is read nearly from front to back.
        found.sort_unstable();
        let line: VecDeque<_> = found.into_iter().map(|(_, offset, id)| (id, offset)).collect();
        (!line.is_empty()).then(|| Self { epoch, line, asked: 0, read: BTreeMap::new(), read_bytes: 0, under_way: 0 })
    }

    /// What is to be read back now.
    pub(super) fn ask(&mut self) -> Vec<i64> {
        if self.read_bytes >= READ_BYTES {
            return Vec::new();
        }
        let most = (self.read.len() + ASKED).min(self.line.len());
        let next = self.line.iter().take(most).skip(self.asked).map(|(_, offset)| *offset).collect();
        self.asked = self.asked.max(most);
        next
    }

    /// An offset was read; nothing stands there if there is no record.
    pub(super) fn answer(&mut self, offset: i64, record: Option<Record>) {
        self.read_bytes += record.as_ref().map_or(0, Record::size);
        self.read.insert(offset, record);
    }

    /// Whose the next one is and where it stands, with its record, once it was read.
    pub(super) fn next(&mut self) -> Option<(SubscriptionId, i64, Option<Record>)> {
        let (id, offset) = *self.line.front()?;
        let record = self.read.remove(&offset)?;
        self.line.pop_front();
        self.asked = self.asked.saturating_sub(1);
        self.read_bytes -= record.as_ref().map_or(0, Record::size);
        self.under_way += 1;
        Some((id, offset, record))
    }

    /// One of them is committed.
    pub(super) fn committed(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Nothing is left of it: the book says what comes next.
    pub(super) fn is_over(&self) -> bool {
        self.line.is_empty() && self.under_way == 0
    }
}

/// A listed delivery once more, for the end of its partition; `None`: the record is another lane's, so that its own is gone.
///
/// The copy says that it was parked, as older versions say of a delivery that waited for its lane: so it stands before the first
/// tries that came after it, in this release and in those before lists.
pub(super) fn copied(
    record: &Record,
    to: &TopicPartition,
    subscription: SubscriptionId,
    now_ms: i64,
) -> Option<OutRecord> {
    let own = key(subscription);
    if record.key.as_ref() != Some(&own) {
        return None;
    }
    let topic = Arc::clone(&to.topic);
    let copy = match Delivery::decode(record) {
        Ok(delivery) => {
            let mut hop = delivery.hop;
            hop.parks = hop.parks.parked(now_ms);
            if hop.wait == Wait::None {
                hop.wait = Wait::Lane;
            }
            delivery.to_hop(topic, Some(own), hop, None)
        }
        // A worker rejects it when it reads it.
        Err(_unreadable) => {
            let (value, headers) = (record.value.clone(), record.headers.clone());
            OutRecord { topic, partition: None, key: Some(own), value, headers }
        }
    };
    Some(OutRecord { partition: Some(to.partition), ..copy })
}
