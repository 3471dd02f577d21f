//! What stands on `lanes`: the records of lanes, read by one tail from the beginning on. Chunks of lists are passed over.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chassis::shutdown::Shutdown;
use kafka::{Connection, KafkaError, Offsets, Tail, TailEvent, TailOptions};
use parking_lot::Mutex;
use schemas::ids::SubscriptionId;
use schemas::lanes::{HeldKey, LaneCircuit, LaneKey, LaneRecord};
use schemas::record::{Record, TopicPartition};
use tracing::warn;

/// See the module. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct LanesView(Arc<Mutex<Lanes>>);

#[derive(Debug, Default)]
struct Lanes {
    /// How many partitions there are, once it is known.
    partitions: Option<i32>,
    /// Those that were not read to the end they had at the start.
    unread: BTreeSet<i32>,
    of: HashMap<SubscriptionId, LaneSeen>,
    /// What ordering keys of those wait for, where any does; `None`: it found no room here.
    held: HashMap<SubscriptionId, Option<Box<[HeldKey]>>>,
    /// How many of them are kept.
    held_keys: usize,
    /// Some found no room here.
    is_cut: bool,
}

/// What ordering keys wait for, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldSeen {
    /// For these.
    Known(Vec<HeldKey>),
    /// More wait than there is room for here.
    NoRoom,
    /// `lanes` is not read to its end yet.
    Unread,
}

/// What a lane's record says; by default what the absence of one says. Times are Unix ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneSeen {
    /// Deliveries in its lists.
    pub(crate) queued: u64,
    /// Kafka's time of nothing in them is older.
    pub(crate) oldest_ms: Option<i64>,
    /// Its circuit, where it is not closed.
    pub(crate) circuit: Option<LaneCircuit>,
    /// Requests it may have in flight, where losses have made it fewer.
    pub(crate) window: Option<u32>,
    /// Nothing is sent before, as its endpoint asked.
    pub(crate) hold_until_ms: Option<i64>,
    /// Since when every attempt has failed.
    pub(crate) failing_since_ms: Option<i64>,
    /// Its newest success, while it fails.
    pub(crate) success_ms: Option<i64>,
}

/// Reads `lanes` until shutdown is requested, and keeps what at most `limit` lanes say, and of at most so many ordering keys.
pub(crate) async fn follow(connection: Connection, topic: Arc<str>, view: LanesView, limit: usize, stop: Shutdown) {
    let read = || async {
        let ended = read(&connection, &topic, &view, limit).await;
        if ended.is_err() {
            view.restart(None);
        }
        ended
    };
    tokio::select! {
        () = chassis::follow::follow(&topic, "how lanes are, so that health is unknown", read) => {}
        () = stop.requested() => {}
    }
}

async fn read(connection: &Connection, topic: &Arc<str>, view: &LanesView, limit: usize) -> Result<(), KafkaError> {
    // The very ends, not where the first open transaction begins, though a reader of what is committed stands still there: one that a dead
    // worker has left is settled within seconds, and one whose markers are lost hides what the next owner writes behind it. Until then
    // how a lane is doing is unknown, and not what it was before.
    let offsets = Offsets::start(connection)?;
    // Of one without a leader it is asked again when it was read so far: until then only its own lanes are unknown.
    let mut ends = offsets.told_ends(topic).await?;
    view.restart(Some(i32::try_from(ends.len()).unwrap_or(i32::MAX)));
    let options = TailOptions {
        topic: topic.to_string(),
        partitions: None,
        from: kafka::From::Beginning,
        committed: true,
        eof: true,
        fetch_wait_ms: 500,
    };
    let mut tail = Tail::start(connection, options)?;
    loop {
        match tail.next().await? {
            TailEvent::Record { partition, record } => view.take(partition, &record, limit),
            TailEvent::Eof { partition, position } => {
                if !matches!(ends.get(&partition), Some(Ok(_))) {
                    let at = TopicPartition::new(Arc::clone(topic), partition);
                    ends.insert(partition, offsets.end(&at).await);
                }
                if matches!(ends.get(&partition), Some(Ok(end)) if position >= *end) {
                    view.reached(partition);
                }
            }
        }
    }
}

// === impl LanesView ===

impl LanesView {
    /// How many partitions `lanes` has; `None`: it was never read.
    pub(crate) fn partitions(&self) -> Option<i32> {
        self.0.lock().partitions
    }

    /// What stands of a lane of this partition; `None`: that is not known.
    pub(crate) fn get(&self, subscription: SubscriptionId, partition: i32) -> Option<LaneSeen> {
        let lanes = self.0.lock();
        if lanes.unread.contains(&partition) {
            return None;
        }
        let found = lanes.of.get(&subscription).copied();
        found.or_else(|| (!lanes.is_cut).then(LaneSeen::default))
    }

    /// What the ordering keys of a lane of this partition wait for.
    pub(crate) fn held(&self, subscription: SubscriptionId, partition: i32) -> HeldSeen {
        let lanes = self.0.lock();
        if lanes.unread.contains(&partition) {
            return HeldSeen::Unread;
        }
        match lanes.held.get(&subscription) {
            Some(Some(held)) => HeldSeen::Known(held.to_vec()),
            None if !lanes.is_cut || lanes.of.contains_key(&subscription) => HeldSeen::Known(Vec::new()),
            Some(None) | None => HeldSeen::NoRoom,
        }
    }

    /// Nothing is known; so many partitions are going to be read, or nobody knows how many.
    pub(crate) fn restart(&self, partitions: Option<i32>) {
        let unread = (0..partitions.unwrap_or(0)).collect();
        *self.0.lock() = Lanes { partitions, unread, ..Lanes::default() };
    }

    /// A partition was read to the end it had at the start.
    pub(crate) fn reached(&self, partition: i32) {
        self.0.lock().unread.remove(&partition);
    }

    /// A record.
    pub(crate) fn take(&self, partition: i32, record: &Record, limit: usize) {
        let unreadable = |error: &dyn std::fmt::Display| {
            warn!(partition, offset = record.offset, %error, "a record of the lists cannot be read");
        };
        let key = match LaneKey::decode(record.key.as_deref()) {
            Ok(key) => key,
            Err(error) => return unreadable(&error),
        };
        let LaneKey::Lane(id) = key else { return };
        let Some(value) = record.value.as_deref() else {
            let mut lanes = self.0.lock();
            lanes.of.remove(&id);
            lanes.hold(id, Vec::new(), limit);
            return;
        };
        let lane = match LaneRecord::decode(key, value) {
            Ok(lane) => lane,
            Err(error) => return unreadable(&error),
        };
        let mut lanes = self.0.lock();
        if lanes.of.len() < limit || lanes.of.contains_key(&id) {
            lanes.of.insert(id, LaneSeen::of(&lane));
            lanes.hold(id, lane.held_keys, limit);
        } else {
            lanes.is_cut = true;
        }
    }
}

// === impl HeldSeen ===

impl HeldSeen {
    /// For what they wait, where that is known.
    pub(crate) fn known(self) -> Option<Vec<HeldKey>> {
        if let Self::Known(held) = self { Some(held) } else { None }
    }
}

// === impl Lanes ===

impl Lanes {
    /// What the ordering keys of a lane wait for from now on. How their last attempts ended nobody asks here, and it is half of them.
    fn hold(&mut self, id: SubscriptionId, mut held: Vec<HeldKey>, limit: usize) {
        held.iter_mut().filter_map(|held| held.retry.as_mut()).for_each(|retry| retry.last_error = None);
        let former = self.held.remove(&id).flatten();
        self.held_keys -= former.map_or(0, |former| former.len());
        if held.is_empty() {
            return;
        }
        let has_room = self.held_keys + held.len() <= limit;
        self.held_keys += if has_room { held.len() } else { 0 };
        self.held.insert(id, has_room.then(|| held.into_boxed_slice()));
    }
}

// === impl LaneSeen ===

impl LaneSeen {
    fn of(lane: &LaneRecord) -> Self {
        Self {
            queued: lane.lists.iter().map(|list| list.n).sum(),
            oldest_ms: lane.lists.iter().map(|list| list.oldest_ms).min(),
            circuit: lane.circuit,
            window: lane.window,
            hold_until_ms: lane.hold_until_ms,
            failing_since_ms: lane.failing_since_ms,
            success_ms: lane.success_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::ids::DeliveryId;
    use schemas::lanes::{ChunkKey, ListRecord, ListRole};
    use schemas::ordering::OrderingKey;
    use schemas::record::Headers;
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> SubscriptionId {
        SubscriptionId(Uuid::from_u128(number))
    }

    fn record(key: LaneKey, value: Option<Bytes>) -> Record {
        let key = Some(Bytes::from(key.to_string()));
        Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() }
    }

    fn list(role: ListRole, n: u64, oldest_ms: i64) -> ListRecord {
        ListRecord { role, id: 0, front: vec![1], chunks: (0, 0), back: Vec::new(), n, oldest_ms, dead_ms: 9 }
    }

    #[test]
    fn what_a_lane_says_holds_until_it_says_something_else_and_is_unknown_before_the_end_was_seen() {
        let view = LanesView::default();
        assert_eq!(view.partitions(), None);
        view.restart(Some(2));
        let mut lane = LaneRecord::new(vec![list(ListRole::Retries, 4, 70), list(ListRole::FirstTries, 3, 50)]);
        let circuit = LaneCircuit { until_ms: 5, wait_ms: 9 };
        (lane.circuit, lane.failing_since_ms) = (Some(circuit), Some(3));
        view.take(1, &record(LaneKey::Lane(id(1)), Some(lane.encode())), 10);
        assert_eq!(view.get(id(1), 1), None, "what is read may be old");
        view.reached(1);
        let seen = view.get(id(1), 1).unwrap();
        assert_eq!((seen.queued, seen.oldest_ms, seen.circuit), (7, Some(50), Some(circuit)));
        assert_eq!((seen.failing_since_ms, seen.window), (Some(3), None));
        assert_eq!((view.get(id(2), 1), view.get(id(2), 0)), (Some(LaneSeen::default()), None));
        // A chunk of its lists and what cannot be read change nothing; a tombstone does.
        let chunk = LaneKey::Chunk(ChunkKey { subscription: id(1), list: 0, number: 0 });
        view.take(1, &record(chunk, None), 10);
        view.take(1, &record(LaneKey::Lane(id(1)), Some(Bytes::from_static(b"{"))), 10);
        assert_eq!(view.get(id(1), 1), Some(seen));
        view.take(1, &record(LaneKey::Lane(id(1)), None), 10);
        assert_eq!(view.get(id(1), 1), Some(LaneSeen::default()));
        view.restart(None);
        assert_eq!(view.partitions(), None, "a reader that begins anew knows nothing");
    }

    #[test]
    fn what_keys_wait_for_is_known_until_they_do_no_more() {
        let view = LanesView::default();
        view.restart(Some(1));
        assert_eq!(view.held(id(1), 0), HeldSeen::Unread, "it was not read to its end");
        let known = HeldSeen::Known;
        view.reached(0);
        let held = |number| {
            let delivery = DeliveryId(Uuid::from_u128(number));
            HeldKey { key: OrderingKey(7), delivery, matched_at: 1, until_ms: 2, retry: None, listed_at: None }
        };
        let mut lane = LaneRecord::new(Vec::new());
        lane.held_keys = vec![held(4), held(5)];
        view.take(0, &record(LaneKey::Lane(id(1)), Some(lane.encode())), 10);
        assert_eq!(view.held(id(1), 0), known(vec![held(4), held(5)]));
        assert_eq!(view.held(id(2), 0), known(Vec::new()));
        // What finds no room is unknown, until there is some.
        let mut other = LaneRecord::new(Vec::new());
        other.held_keys = vec![held(6)];
        view.take(0, &record(LaneKey::Lane(id(3)), Some(other.encode())), 2);
        assert_eq!((view.held(id(3), 0), view.held(id(1), 0)), (HeldSeen::NoRoom, known(vec![held(4), held(5)])));
        (lane.held_keys, lane.window) = (Vec::new(), Some(1));
        view.take(0, &record(LaneKey::Lane(id(1)), Some(lane.encode())), 2);
        assert_eq!((view.held(id(3), 0), view.held(id(1), 0)), (HeldSeen::NoRoom, known(Vec::new())));
        view.take(0, &record(LaneKey::Lane(id(3)), Some(other.encode())), 2);
        assert_eq!(view.held(id(3), 0), known(vec![held(6)]));
        view.take(0, &record(LaneKey::Lane(id(3)), None), 2);
        assert_eq!(view.held(id(3), 0), known(Vec::new()));
    }

    #[test]
    fn what_does_not_fit_is_unknown_and_not_as_new() {
        let view = LanesView::default();
        view.restart(Some(1));
        view.reached(0);
        for number in 0..3 {
            let mut lane = LaneRecord::new(Vec::new());
            lane.window = Some(1);
            view.take(0, &record(LaneKey::Lane(id(number)), Some(lane.encode())), 2);
        }
        let windows = [0, 1, 2, 3].map(|number| view.get(id(number), 0).map(|seen| seen.window));
        assert_eq!(windows, [Some(Some(1)), Some(Some(1)), None, None]);
    }
}
