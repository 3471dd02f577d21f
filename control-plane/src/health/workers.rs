//! What delivery workers say of their lanes on `status`.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::usage::HearsStatus;
use parking_lot::Mutex;
use schemas::ids::SubscriptionId;
use schemas::status::{LaneHealth, LanesHealth, MAX_LANES, Status};

/// A worker tells at least once a minute; one that was silent for longer than twice that says nothing about now.
const SILENT_MS: i64 = 120_000;
/// Workers that are remembered, however many write records: those that spoke last.
const MAX_WORKERS: usize = 256;

/// See the module. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers(Arc<Mutex<BTreeMap<String, WorkerTold>>>);

#[derive(Debug)]
struct WorkerTold {
    at_ms: i64,
    lanes: LanesHealth,
}

/// What the worker that has a lane says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerWord {
    /// When, Unix ms.
    pub(crate) at_ms: i64,
    /// Of the lane: nothing where it has so many that it does not tell of all.
    pub(crate) lane: Option<LaneWord>,
}

/// What it says of the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneWord {
    /// Something happens with it, or lately did.
    Told(LaneHealth),
    /// Nothing waits in memory, nothing is in flight, and nothing ended lately.
    AtRest,
}

// === impl Workers ===

impl Workers {
    /// The newest word about a subscription of this partition of `deliveries`.
    pub(crate) fn word(&self, subscription: SubscriptionId, partition: i32, now_ms: i64) -> Option<WorkerWord> {
        let workers = self.0.lock();
        let owners = workers.values().filter(|told| told.lanes.partitions.binary_search(&partition).is_ok());
        // Where a partition has moved its former owner may not have said so yet.
        let told = owners.max_by_key(|told| told.at_ms).filter(|told| now_ms - told.at_ms <= SILENT_MS)?;
        let lane = match told.lanes.of.get(&subscription) {
            Some(lane) => Some(LaneWord::Told(*lane)),
            None => (!told.lanes.is_cut).then_some(LaneWord::AtRest),
        };
        Some(WorkerWord { at_ms: told.at_ms, lane })
    }
}

impl HearsStatus for Workers {
    fn hears(&self, key: &str, status: Option<&Status>) {
        let mut workers = self.0.lock();
        let Some((status, lanes)) = status.and_then(|status| Some((status, status.lanes.as_ref()?))) else {
            workers.remove(key);
            return;
        };
        let mut lanes = lanes.clone();
        // Whoever may write the topic can write anything.
        lanes.is_cut |= lanes.of.len() > MAX_LANES;
        while lanes.of.len() > MAX_LANES {
            lanes.of.pop_last();
        }
        lanes.partitions.sort_unstable();
        workers.insert(key.to_owned(), WorkerTold { at_ms: status.at_ms, lanes });
        if workers.len() > MAX_WORKERS
            && let Some(oldest) = workers.iter().min_by_key(|(_, told)| told.at_ms).map(|(key, _)| key.clone())
        {
            workers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn id(number: u128) -> SubscriptionId {
        SubscriptionId(Uuid::from_u128(number))
    }

    fn status(at_ms: i64, partitions: &[i32], lanes: &[(u128, u64)], is_cut: bool) -> Status {
        let of = lanes
            .iter()
            .map(|(number, in_flight)| (id(*number), LaneHealth { in_flight: *in_flight, ..LaneHealth::default() }));
        let lanes = LanesHealth { partitions: partitions.to_vec(), of: of.collect(), is_cut };
        Status { lanes: Some(lanes), ..Status::new("delivery", "x", at_ms) }
    }

    fn in_flight(workers: &Workers, number: u128, partition: i32) -> Option<u64> {
        match workers.word(id(number), partition, NOW)?.lane? {
            LaneWord::Told(lane) => Some(lane.in_flight),
            LaneWord::AtRest => Some(0),
        }
    }

    #[test]
    fn the_newest_owner_of_a_partition_is_believed_while_it_speaks() {
        let workers = Workers::default();
        assert_eq!(workers.word(id(1), 3, NOW), None, "nobody has said anything");
        workers.hears("delivery/one", Some(&status(NOW - 5_000, &[3, 1], &[(1, 7)], false)));
        workers.hears("delivery/other", Some(&status(NOW - 9_000, &[3], &[(1, 9)], false)));
        assert_eq!((in_flight(&workers, 1, 3), in_flight(&workers, 2, 3)), (Some(7), Some(0)));
        assert_eq!(in_flight(&workers, 1, 2), None, "nobody has that partition");
        workers.hears("delivery/one", None);
        assert_eq!(in_flight(&workers, 1, 3), Some(9), "the one that left said nothing more");
        workers.hears("delivery/other", Some(&status(NOW - SILENT_MS - 1, &[3], &[(1, 9)], false)));
        assert_eq!(workers.word(id(1), 3, NOW), None);
    }

    #[test]
    fn a_lane_that_may_have_been_left_out_is_unknown_and_not_at_rest() {
        let workers = Workers::default();
        workers.hears("delivery/one", Some(&status(NOW, &[0], &[(1, 7)], true)));
        assert_eq!((in_flight(&workers, 1, 0), in_flight(&workers, 2, 0)), (Some(7), None));
        assert_eq!(workers.word(id(2), 0, NOW).map(|word| word.at_ms), Some(NOW));
        let many: Vec<(u128, u64)> = (0..=MAX_LANES as u128).map(|number| (number, 1)).collect();
        workers.hears("delivery/one", Some(&status(NOW, &[0], &many, false)));
        assert_eq!(in_flight(&workers, MAX_LANES as u128, 0), None, "a record with too many is cut here");
    }

    #[test]
    fn however_many_write_those_that_spoke_last_are_remembered() {
        let workers = Workers::default();
        for number in 0..=i64::try_from(MAX_WORKERS).unwrap() {
            workers.hears(&format!("delivery/{number}"), Some(&status(NOW - number, &[0], &[], false)));
        }
        assert_eq!(workers.0.lock().len(), MAX_WORKERS);
        assert!(workers.0.lock().contains_key("delivery/0"));
    }
}
