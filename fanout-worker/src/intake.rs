//! The intake of sources: which partitions of them are read, by whose rules, from where, and how they are doing. Pure but for
//! [`follow`] and [`tell`].
//!
//! ```text
//! catalog + topics of the cluster --follow.rs--> SourceRoutes: topic -> source          SchemaCache (crates/schema-registry)
//!                                                  |
//!   assigned --------> begins (place.rs) --------> OpenPartition --SourceTurn--> plan.rs
//!                        |                             |  seal: the claim of its commits   ^ a record awaits a schema:
//!                        |                             |                                   + waiting.rs
//!                        +--cannot be read--> held     +--moved, gone: restart, forget
//!                                                      +--paused, failing, waiting for long: standing.rs
//!                                                      +--health.rs--> tell.rs --> status
//! ```

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
use stage::{Measured, Now, Part, Turn};
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
    /// One of them is to begin elsewhere, once that is done.
    is_move_put_off: bool,
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
            is_move_put_off: false,
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
        let again = route.begins(&lease.partition, topic_id).again.then_some(position.id);
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
        Some(SourceTurn { route: &open.route, handled: &open.position.handled, again: open.again, schemas })
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

    /// These leases have an event that is written in part: before that is done they begin nowhere else.
    pub(crate) fn note_slices(&mut self, leases: impl Iterator<Item = Epoch>) {
        self.sliced.clear();
        self.sliced.extend(leases);
    }

    /// Whether there is something to follow that came while records were planned.
    pub(crate) fn has_news(&self) -> bool {
        self.schemas.has_news()
    }

    /// Does what newer routes ask for. Whether there were such: what is being planned begins anew then.
    pub(crate) fn follow<N>(&mut self, turn: &mut Turn<'_, N>, queue: &mut Queue) -> bool {
        let is_changed = std::mem::take(&mut self.is_changed);
        if is_changed || self.is_move_put_off {
            self.follow_routes(turn, queue);
        }
        self.follow_schemas(turn.now, queue);
        self.settle(turn, queue);
        is_changed
    }

    fn follow_routes<N>(&mut self, turn: &mut Turn<'_, N>, queue: &mut Queue) {
        self.routes = Arc::clone(&self.newest.borrow_and_update());
        let topics = self.routes.names();
        if topics != self.subscribed {
            turn.subscribe(topics.clone());
            self.subscribed = topics;
        }
        self.is_move_put_off = false;
        for open in self.open.values_mut() {
            if self.sliced.contains(&open.lease.epoch) && !open.is_over && open.is_moved(&self.routes) {
                self.is_move_put_off = true;
                continue;
            }
            open.follow(&self.routes, turn, queue);
        }
        // What is held for what its source was is tried at once with what it is.
        for held in self.held.values_mut() {
            let route = self.routes.of(&held.lease.partition.topic);
            let is_same = match (&held.route, route) {
                (Some(was), Some(is)) => Arc::ptr_eq(was, is),
                (was, is) => was.is_none() == is.is_none(),
            };
            if !is_same {
                held.route = route.cloned();
                turn.restart(held.lease.clone());
            }
        }
        self.counts.retain(|source, _| self.routes.has(*source));
        self.standing.retain(|partition, it| self.routes.of(&partition.topic).is_some_and(|is| it.is_of(is)));
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

// === impl OpenPartition ===

impl OpenPartition {
    /// Whether it is to begin elsewhere.
    fn is_moved(&self, routes: &SourceRoutes) -> bool {
        let route = routes.of(&self.lease.partition.topic);
        let begins = route.map(|route| route.begins(&self.lease.partition, self.topic_id).position_id);
        !self.is_gone && begins.is_some_and(|position_id| position_id.0 != self.position.id)
    }

    fn follow<N>(&mut self, routes: &SourceRoutes, turn: &mut Turn<'_, N>, queue: &mut Queue) {
        if self.is_over {
            return;
        }
        let Some(route) = routes.of(&self.lease.partition.topic) else {
            // Deleted: what was planned is committed, what was only read is not.
            self.is_gone = true;
            queue.forget(&self.lease);
            queue.hold(&self.lease);
            return;
        };
        if self.is_gone || self.is_moved(routes) {
            self.is_over = true;
            turn.restart(self.lease.clone());
            return;
        }
        if !Arc::ptr_eq(&self.route, route) {
            self.route = Arc::clone(route);
            // What failed is tried at once with what the source is now, and that may need another schema, or none.
            self.failing = None;
            self.stop_waiting(queue);
        }
        if self.is_paused != route.is_paused() {
            self.is_paused = route.is_paused();
            self.since_ms = turn.now.wall_ms;
        }
    }
}

#[cfg(test)]
mod tests;
