//! What a lane's ordering keys wait for, and what nobody waits for any more.

use schemas::ids::SubscriptionId;
use schemas::lanes::{HeldKey, SupersededRetry};
use schemas::ordering::OrderingKey;

use super::Book;

impl Book {
    /// An ordering key of a lane waits for a retry from now on.
    pub(crate) fn hold(&mut self, id: SubscriptionId, held: HeldKey) {
        let lane = self.lanes.entry(id).or_default();
        self.journal.touch(id, lane);
        lane.held_keys.insert(held.key, held);
    }

    /// An ordering key of a lane waits for nothing any more.
    pub(crate) fn free(&mut self, id: SubscriptionId, key: OrderingKey) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.held_keys.contains_key(&key)) {
            self.journal.touch(id, lane);
            lane.held_keys.remove(&key);
        }
    }

    /// Ordering keys of a lane that wait for a retry.
    pub(crate) fn held_keys(&self, id: SubscriptionId) -> Vec<HeldKey> {
        self.lanes.get(&id).map(|lane| lane.held_keys.values().cloned().collect()).unwrap_or_default()
    }

    /// The same for whoever takes over: of a retry whose record is not there any more, or is read again, that is not said, for it cannot
    /// go early.
    pub(crate) fn found_keys(&self, id: SubscriptionId) -> Vec<HeldKey> {
        let mut found = self.held_keys(id);
        for held in &mut found {
            held.retry.take_if(|retry| !self.correction.keeps(retry.record));
        }
        found
    }

    /// What an ordering key of a lane waits for is back, and stands in a list at this offset.
    pub(crate) fn list_awaited(&mut self, id: SubscriptionId, key: OrderingKey, offset: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        self.journal.touch(id, lane);
        if let Some(held) = lane.held_keys.get_mut(&key) {
            held.listed_at = Some(offset);
        }
    }

    /// A retry is on its way that is to be dropped when it comes back.
    pub(crate) fn supersede(&mut self, id: SubscriptionId, retry: SupersededRetry) {
        let lane = self.lanes.entry(id).or_default();
        self.journal.touch(id, lane);
        lane.superseded.push(retry);
    }

    /// It was dropped, or need not be remembered any longer. Of two that are the same one is left.
    pub(crate) fn forget_superseded(&mut self, id: SubscriptionId, retry: SupersededRetry) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if let Some(at) = lane.superseded.iter().position(|it| *it == retry) {
            self.journal.touch(id, lane);
            lane.superseded.remove(at);
        }
    }

    /// Retries of a lane that are to be dropped when they come back.
    pub(crate) fn superseded(&self, id: SubscriptionId) -> &[SupersededRetry] {
        self.lanes.get(&id).map(|lane| lane.superseded.as_slice()).unwrap_or_default()
    }
}
