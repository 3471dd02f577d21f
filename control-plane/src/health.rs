//! How each subscription's lane is doing, as far as Kafka tells: a view in memory that is asked by `GET .../health`.
//!
//! ```text
//! [lanes]  --lanes.rs: one tail over all partitions--> circuit, hold, what waits in lists: written with the delivery's progress
//! [status] --catalog's reader--> workers.rs ---------> in flight, what waits in memory, how requests ended: said every few seconds
//!                             +-> instances.rs -------> who runs
//!                             +-> sources.rs ---------> how far each partition of a source is
//! ```
//!
//! The two know different things: a record of `lanes` is the truth about what it says, however old it is, and stands when every
//! worker is dead; what a worker says of itself is worth something only while it says it. What neither tells is unknown, which is
//! never shown as zero. Both are bounded: in lanes, in workers, and in lanes per worker.

mod instances;
mod lanes;
mod sources;
mod workers;

use catalog::usage::HearsStatus;
use schemas::delivery;
use schemas::ids::SubscriptionId;
use schemas::murmur2::partition_for;
use schemas::status::Status;

pub(crate) use self::instances::{InstanceCounts, Instances, ShapeReaders, is_silent};
pub(crate) use self::lanes::{HeldSeen, LaneSeen, LanesView, follow};
pub(crate) use self::sources::{SourceTold, SourceWords, ToldPartition};
pub(crate) use self::workers::{LaneWord, WorkerWord, Workers};

/// See the module. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct HealthView {
    pub(crate) lanes: LanesView,
    pub(crate) workers: Workers,
    pub(crate) sources: SourceWords,
    pub(crate) instances: Instances,
}

/// What is known of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LaneKnown {
    /// Its record on `lanes`, or what none says. `None`: the topic is not read to its end, or holds more than fits here.
    pub(crate) record: Option<LaneSeen>,
    /// What its worker says. `None`: nobody says anything.
    pub(crate) word: Option<WorkerWord>,
}

// === impl HealthView ===

impl HealthView {
    /// What is known of a subscription's lane now.
    pub(crate) fn of(&self, subscription: SubscriptionId, now_ms: i64) -> LaneKnown {
        let Some(partitions) = self.lanes.partitions() else { return LaneKnown::default() };
        let partition = partition_for(&delivery::key(subscription), partitions);
        let record = self.lanes.get(subscription, partition);
        LaneKnown { record, word: self.workers.word(subscription, partition, now_ms) }
    }

    /// What the ordering keys of a subscription wait for.
    pub(crate) fn held(&self, subscription: SubscriptionId) -> HeldSeen {
        let Some(partitions) = self.lanes.partitions() else { return HeldSeen::Unread };
        self.lanes.held(subscription, partition_for(&delivery::key(subscription), partitions))
    }
}

impl HearsStatus for HealthView {
    fn hears(&self, key: &str, status: Option<&Status>) {
        self.workers.hears(key, status);
        self.sources.hears(key, status);
        self.instances.hears(key, status);
    }

    fn heard_all(&self) {
        self.instances.heard_all();
    }
}
