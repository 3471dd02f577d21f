//! What one batch has changed: how each touched lane was, and what happened to its chunks since.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;
use schemas::ids::SubscriptionId;
use schemas::lanes::{ChunkKey, SupersededRetry};

use super::{HeldKeys, Shelf, Total};
use crate::lanes::condition::LaneCondition;
use crate::lists::{Before, ChunkStep, List, SealedChunk};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    /// Before the batch; `None` while there is none.
    total: Option<Total>,
    lanes: BTreeMap<SubscriptionId, Was>,
    steps: Vec<(ListKey, ChunkStep)>,
}

/// A lane as it was.
#[derive(Clone, Debug)]
struct Was {
    lists: Vec<Before>,
    reviewed_of: Option<i64>,
    condition: LaneCondition,
    held_keys: HeldKeys,
    superseded: Vec<SupersededRetry>,
    written: usize,
}

/// Which list of which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListKey {
    subscription: SubscriptionId,
    list: u32,
}

// === impl ListKey ===

impl ListKey {
    /// One of its chunks.
    pub(super) fn of(self, number: i64) -> ChunkKey {
        let Self { subscription, list } = self;
        ChunkKey { subscription, list, number }
    }
}

// === impl Journal ===

impl Journal {
    /// Of a batch that begins.
    pub(super) fn new(total: Total) -> Self {
        Self { total: Some(total), ..Self::default() }
    }

    /// Whether no batch is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.total.is_none()
    }

    /// A lane is about to be changed.
    pub(super) fn touch(&mut self, id: SubscriptionId, lane: &Shelf) {
        let was = || Was {
            lists: lane.lists.iter().map(List::before).collect(),
            reviewed_of: lane.reviewed_of,
            condition: lane.condition,
            held_keys: lane.held_keys.clone(),
            superseded: lane.superseded.clone(),
            written: lane.written,
        };
        self.lanes.entry(id).or_insert_with(was);
    }

    /// Changes one of its lists, and keeps what happens to the chunks.
    pub(super) fn step<T>(
        &mut self,
        subscription: SubscriptionId,
        list: u32,
        change: impl FnOnce(&mut Vec<ChunkStep>) -> T,
    ) -> T {
        let mut steps = Vec::new();
        let changed = change(&mut steps);
        self.steps.extend(steps.into_iter().map(|step| (ListKey { subscription, list }, step)));
        changed
    }

    /// What happened to chunks, in order.
    pub(super) fn steps(&self) -> impl Iterator<Item = (ListKey, &ChunkStep)> {
        self.steps.iter().map(|(key, step)| (*key, step))
    }

    /// The lanes that were touched.
    pub(super) fn touched(&self) -> Vec<SubscriptionId> {
        self.lanes.keys().copied().collect()
    }

    /// Takes everything back; returns count and sum as they were.
    pub(super) fn undo(self, lanes: &mut HashMap<SubscriptionId, Shelf>) -> Total {
        let mut chunks: BTreeMap<ListKey, VecDeque<SealedChunk>> = BTreeMap::new();
        for subscription in self.lanes.keys().copied() {
            for list in lanes.remove(&subscription).into_iter().flat_map(|lane| lane.lists) {
                chunks.insert(ListKey { subscription, list: list.id() }, list.into_chunks());
            }
        }
        for (key, step) in self.steps.into_iter().rev() {
            step.undo(chunks.entry(key).or_default());
        }
        for (subscription, was) in self.lanes {
            let Was { lists, reviewed_of, condition, held_keys, superseded, written } = was;
            let rewound = lists.into_iter().map(|before| {
                let key = ListKey { subscription, list: before.id() };
                List::rewind(before, chunks.remove(&key).unwrap_or_default())
            });
            let lists: Vec<List> = rewound.collect();
            if !lists.is_empty() || written > 0 {
                lanes.insert(subscription, Shelf { lists, reviewed_of, condition, held_keys, superseded, written });
            }
        }
        self.total.unwrap_or_default()
    }
}
