//! The intake of sources: which partitions of them are read, by whose rules, from where, and how they are doing. Pure but for
//! [`follow`] and [`tell`].
//!
//! ```text
//! catalog + topics of the cluster --follow.rs--> SourceRoutes: topic -> source          SchemaCache (crates/schema-registry)
//!                                                  |
//!   assigned --------> begins (place.rs) --------> OpenPartition --SourceTurn--> plan.rs
//!                        |                             |  seal: the claim of its commits   ^ a record awaits a schema:
//!                        |                             |                                   + waiting.rs
//!                        +--cannot be read--> held     +--changes.rs: moved, gone, another mapping
//!                                                      +--paused, failing, waiting for long: standing.rs
//!                                                      +--health.rs--> tell.rs --> status
//! ```

mod changes;
mod ends;
mod follow;
mod health;
mod place;
mod route;
mod sealed;
mod source_turn;
mod standing;
mod tell;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use kafka::{Claimed, Epoch, Handled, KafkaError, Lease, PositionClaim, Restored};
use schema_registry::SchemaCache;
use schemas::ids::{SchemaRegistryId, SourceId};
use schemas::record::TopicPartition;
use schemas::status::{SourceFailure, SourcesHealth};
use stage::{Measured, Now, Part};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use self::follow::SourcesFollower;
pub(crate) use self::health::failure;
pub(crate) use self::place::SourcePlace;
pub(crate) use self::route::{RouteLimits, SourceReading, SourceRoute, SourceRoutes};
pub(crate) use self::source_turn::SourceTurn;
use self::standing::{FailingRecord, StillPartition};
pub(crate) use self::tell::SourcesTeller;
use self::waiting::{AwaitedSchema, SchemaWaits};
use crate::plan::{EventVerdict, Note};
use crate::queue::Queue;

/// What the fan-out knows of the sources whose partitions it owns.
#[derive(Debug)]
pub(crate) struct SourcesIntake {
    newest: watch::Receiver<Arc<SourceRoutes>>,
    routes: Arc<SourceRoutes>,
    /// There are newer routes than those that were followed.
    is_changed: bool,
    subscribed: Vec<String>,
    open: BTreeMap<Epoch, OpenPartition>,
    held: BTreeMap<TopicPartition, HeldPartition>,
    /// What stands still and is being taken over anew.
    standing: BTreeMap<TopicPartition, StillPartition>,
    /// What was handled of a partition before the batch that is under way said what became of its records.
    unsealed: BTreeMap<Epoch, Handled>,
    /// Leases that began after their source had gone: their commits keep what is known of them.
    nobodys: BTreeMap<Epoch, PositionClaim>,
    counts: BTreeMap<SourceId, Counts>,
    began_ms: i64,
    health: watch::Sender<Arc<SourcesHealth>>,
    schemas: SchemaWaits,
    /// Leases with an event that is written in part.
    sliced: BTreeSet<Epoch>,
}

/// A partition that is read.
#[derive(Debug)]
struct OpenPartition {
    lease: Lease,
    topic_id: Uuid,
    route: Arc<SourceRoute>,
    /// What its metadata said when it began: what was handled before is handled, see [`SourceTurn`].
    position: PositionClaim,
    start: i64,
    /// The generation of what was handled before and is to be done again.
    again: Option<Uuid>,
    /// What its last commit says.
    committed: i64,
    is_paused: bool,
    /// Its source is gone, and it goes too with the next assignment, unless the source comes back.
    is_gone: bool,
    /// It is about to be taken over anew.
    is_over: bool,
    /// It has another route, or another beginning, which it follows once its event is done that is written in part.
    is_put_off: bool,
    /// That is another beginning: what of the event cannot go on is not waited for.
    is_leaving: bool,
    /// The record that cannot be planned, until one from there on is committed.
    failing: Option<FailingRecord>,
    /// Its next record needs this schema.
    awaits: Option<AwaitedSchema>,
    /// Its records are neither fetched nor planned.
    is_still: bool,
    /// Kafka's time of the oldest record that it gave back when it came to stand still.
    oldest_ms: Option<i64>,
    since_ms: i64,
}

/// A partition that is ours and cannot be read.
#[derive(Debug)]
struct HeldPartition {
    lease: Lease,
    /// The source when it was tried: another one may begin elsewhere.
    route: Option<Arc<SourceRoute>>,
    failure: SourceFailure,
    since_ms: i64,
}

/// How many partitions are in trouble, and which registries answer.
#[derive(Debug)]
pub(crate) struct IntakeTold {
    pub(crate) failing: usize,
    pub(crate) waiting: usize,
    pub(crate) registries_up: BTreeMap<SchemaRegistryId, bool>,
}

/// What became of the records of a source here.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    records: u64,
    rejected: u64,
    skipped: u64,
}

// === impl SourcesIntake: partitions ===

impl SourcesIntake {
    pub(crate) fn new(
        newest: watch::Receiver<Arc<SourceRoutes>>,
        health: watch::Sender<Arc<SourcesHealth>>,
        schemas: SchemaCache,
        began_ms: i64,
    ) -> Self {
        Self {
            newest,
            routes: Arc::default(),
            is_changed: true,
            subscribed: Vec::new(),
            open: BTreeMap::new(),
            held: BTreeMap::new(),
            standing: BTreeMap::new(),
            unsealed: BTreeMap::new(),
            nobodys: BTreeMap::new(),
            counts: BTreeMap::new(),
            began_ms,
            health,
            schemas: SchemaWaits::new(schemas),
            sliced: BTreeSet::new(),
        }
    }

    /// Where reading begins; and where that is elsewhere than was committed, what its commits say then. Both by the same routes.
    pub(crate) fn begins(&self, found: &Restored, now: Now) -> Result<(i64, Option<PositionClaim>), KafkaError> {
        place::begins(self.newest.borrow().of(&found.lease.partition.topic), found, now.wall_ms)
    }

    /// A partition begins; its records follow.
    pub(crate) fn opened(&mut self, lease: &Lease, place: SourcePlace, queue: &mut Queue, now: Now) {
        self.held.remove(&lease.partition);
        let route = self.newest.borrow().of(&lease.partition.topic).cloned();
        let Some(route) = route else {
            // Its source was deleted since it was taken over: it goes with the next assignment.
            queue.hold(lease);
            self.hold(lease, &place::nobodys(&lease.partition), now);
            self.nobodys.insert(lease.epoch, place.position);
            return;
        };
        let SourcePlace { position, start, topic_id } = place;
        let begins = route.begins(&lease.partition, topic_id);
        // By another position only an event goes on that is written in part. Where that was handled before, it is under way because it was
        // to be done again.
        let is_again = begins.again || begins.position_id.0 != position.id;
        let again = is_again.then_some(position.id);
        let mut partition = OpenPartition {
            lease: lease.clone(),
            topic_id,
            route,
            position,
            start,
            again,
            committed: start,
            is_paused: false,
            is_gone: false,
            is_over: false,
            is_put_off: false,
            is_leaving: false,
            failing: None,
            awaits: None,
            is_still: false,
            oldest_ms: None,
            since_ms: now.wall_ms,
        };
        if let Some(standing) = self.standing.remove(&lease.partition) {
            partition.stand(standing);
            self.schemas.look_again();
        }
        self.open.insert(lease.epoch, partition);
        // Whether it is paused, or was moved meanwhile, is looked at with the next turn.
        self.is_changed = true;
    }

    /// A partition cannot be read for now; the stage tries it again.
    pub(crate) fn hold(&mut self, lease: &Lease, why: &KafkaError, now: Now) {
        let failure = health::failure_of(why);
        let since_ms = self.held.get(&lease.partition).filter(|it| it.failure == failure).map(|it| it.since_ms);
        let held = HeldPartition {
            lease: lease.clone(),
            route: self.newest.borrow().of(&lease.partition.topic).cloned(),
            failure,
            since_ms: since_ms.unwrap_or(now.wall_ms),
        };
        self.held.insert(lease.partition.clone(), held);
    }

    /// A lease is over.
    pub(crate) fn closed(&mut self, lease: &Lease) {
        self.open.remove(&lease.epoch);
        self.unsealed.remove(&lease.epoch);
        self.nobodys.remove(&lease.epoch);
        if self.held.get(&lease.partition).is_some_and(|held| held.lease == *lease) {
            self.held.remove(&lease.partition);
        }
    }

    /// What records of a lease are planned by; none if its source is gone.
    pub(crate) fn turn_of(&self, epoch: Epoch, now: Instant) -> Option<SourceTurn<'_>> {
        let open = self.open.get(&epoch).filter(|open| !open.is_over && !open.is_gone)?;
        let schemas = Some(self.schemas.at(now));
        let (handled, is_leaving) = (&open.position.handled, open.is_leaving);
        Some(SourceTurn { route: &open.route, handled, again: open.again, schemas, is_leaving })
    }

    /// The rules by which records of a lease are read.
    pub(crate) fn route_of(&self, epoch: Epoch) -> Option<&SourceRoute> {
        self.open.get(&epoch).map(|open| &*open.route)
    }

    /// A batch is cut: what its commits say of each part.
    pub(crate) fn claims(&mut self, parts: &[Part]) -> Vec<Claimed> {
        let claim = |part: &Part| {
            let Some(open) = self.open.get_mut(&part.lease.epoch) else {
                return self.nobodys.get(&part.lease.epoch).cloned().map_or(Claimed::Nothing, Claimed::Position);
            };
            open.committed = part.committed;
            let handled = open.position.handled.with(open.start, part.committed);
            let PositionClaim { id, source, .. } = open.position;
            Claimed::Position(PositionClaim { id, source, handled })
        };
        parts.iter().map(claim).collect()
    }

    /// A record is committed.
    pub(crate) fn count(&mut self, epoch: Epoch, note: &Note) {
        let Some(open) = self.open.get_mut(&epoch) else { return };
        let counts = self.counts.entry(open.route.source_id()).or_default();
        counts.records += 1;
        counts.rejected += u64::from(matches!(note.verdict, EventVerdict::Rejected(_)));
        counts.skipped += u64::from(matches!(note.verdict, EventVerdict::Skipped(_)));
        // It goes on, unless this was planned before the one that fails.
        open.failing.take_if(|failing| note.record.offset >= failing.offset);
    }
}

// === impl SourcesIntake: routes ===

impl SourcesIntake {
    /// Waits for newer routes, or for an answer about a schema. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.newest.changed() => self.is_changed = true,
            () = self.schemas.answered() => {}
            // Who follows them has ended, and with it the process.
            else => std::future::pending::<()>().await,
        }
    }

    /// Whether there is something to follow that came while records were planned.
    pub(crate) fn has_news(&self) -> bool {
        self.schemas.has_news()
    }

    /// Tells how the sources are doing.
    pub(crate) fn tell(&self, queue: &Queue, measured: &Measured, now: Now) -> IntakeTold {
        let health = health::of(self, queue, measured);
        self.health.send_if_modified(|told| {
            let is_news = **told != health;
            *told = Arc::new(health);
            is_news
        });
        let waiting = self.want_again(now);
        let failing = self.held.len() + self.open.values().filter(|open| open.failing.is_some()).count();
        IntakeTold { failing, waiting, registries_up: self.schemas.registries_up() }
    }

    /// How many partitions are ours, and how many topics are read by anybody.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.open.len() + self.held.len(), self.subscribed.len())
    }
}

#[cfg(test)]
mod tests;
