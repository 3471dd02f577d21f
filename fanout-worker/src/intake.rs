//! The intake of sources: which partitions of them are read, by whose rules, from where, and how they are doing. Pure but for
//! [`follow`] and [`tell`].
//!
//! ```text
//! catalog + topics of the cluster --follow.rs--> SourceRoutes: topic -> source          SchemaCache (crates/schema-registry)
//!                                                  |
//!   assigned --> start, begins_anew (place.rs) --> OpenPartition --SourceTurn--> plan.rs
//!                        |                             |  seal: the claim of its commits   ^ a record awaits a schema:
//!                        |                             |                                   + waiting.rs
//!                        +--cannot be read--> held     +--moved, paused, gone: restart, hold, forget
//!                                                      +--health.rs--> tell.rs --> status
//! ```

mod follow;
mod health;
mod place;
mod route;
mod source_turn;
mod tell;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use kafka::{Claimed, Epoch, KafkaError, Lease, PositionClaim, Restored};
use schema_registry::SchemaCache;
use schemas::ids::{SchemaRegistryId, SourceId};
use schemas::record::TopicPartition;
use schemas::status::{SourceFailure, SourcesHealth};
use sources::schema::SchemaKey;
use stage::{Fetching, Measured, Now, Part, Turn};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use self::follow::SourcesFollower;
pub(crate) use self::health::failure;
pub(crate) use self::place::SourcePlace;
pub(crate) use self::route::{RouteLimits, SourceReading, SourceRoute, SourceRoutes};
pub(crate) use self::source_turn::SourceTurn;
pub(crate) use self::tell::SourcesTeller;
use self::waiting::SchemaWaits;
use crate::config::HELD_FOR;
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
    counts: BTreeMap<SourceId, Counts>,
    began_ms: i64,
    health: watch::Sender<Arc<SourcesHealth>>,
    schemas: SchemaWaits,
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
    /// Nothing of it can be planned, and when it is tried again.
    failing: Option<(SourceFailure, Instant)>,
    /// Its next record needs this schema.
    awaits: Option<SchemaKey>,
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
            counts: BTreeMap::new(),
            began_ms,
            health,
            schemas: SchemaWaits::new(schemas),
        }
    }

    /// Where reading begins.
    pub(crate) fn start(&self, found: &Restored) -> Result<i64, KafkaError> {
        self.schemas.may_begin(&found.lease.partition)?;
        place::start(self.newest.borrow().of(&found.lease.partition.topic), found)
    }

    /// Whether that is elsewhere than was committed, and what its commits say then.
    pub(crate) fn begins_anew(&self, found: &Restored) -> Option<PositionClaim> {
        place::begins_anew(self.newest.borrow().of(&found.lease.partition.topic)?, found)
    }

    /// A partition begins; its records follow.
    pub(crate) fn opened(&mut self, lease: &Lease, place: SourcePlace, queue: &mut Queue, now: Now) {
        self.held.remove(&lease.partition);
        let route = self.newest.borrow().of(&lease.partition.topic).cloned();
        let Some(route) = route else {
            // Its source was deleted since it was taken over: it goes with the next assignment.
            queue.hold(lease);
            self.hold(lease, &place::nobodys(&lease.partition), now);
            return;
        };
        let SourcePlace { position, start, topic_id } = place;
        let again = route.begins(&lease.partition, topic_id).again.then_some(position.id);
        let partition = OpenPartition {
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
            since_ms: now.wall_ms,
        };
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
        let is_given_up = self.open.remove(&lease.epoch).is_some_and(|open| open.is_over);
        if !is_given_up {
            self.schemas.forget(&lease.partition);
        }
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

    /// Nothing of a partition can be planned, whatever its records say: it waits, and is tried again.
    pub(crate) fn fail(&mut self, epoch: Epoch, failure: SourceFailure, now: Now) {
        if let Some(open) = self.open.get_mut(&epoch) {
            tracing::warn!(
                partition = %open.lease.partition, code = failure.code, detail = failure.detail,
                "a source cannot be planned: its partition waits and is tried again"
            );
            if open.failing.is_none() {
                open.since_ms = now.wall_ms;
            }
            open.failing = Some((failure, now.instant + HELD_FOR));
        }
    }

    /// A batch is cut: what its commits say of each part.
    pub(crate) fn claims(&mut self, parts: &[Part]) -> Vec<Claimed> {
        let claim = |part: &Part| {
            let Some(open) = self.open.get_mut(&part.lease.epoch) else { return Claimed::Nothing };
            open.committed = part.committed;
            let handled = open.position.handled.with(open.start, part.committed);
            Claimed::Position(PositionClaim { handled, ..open.position })
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
        // It goes on.
        open.failing = None;
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

    /// Does what newer routes ask for. Whether there were such: what is being planned begins anew then.
    pub(crate) fn follow<N>(&mut self, turn: &mut Turn<'_, N>, queue: &mut Queue) -> bool {
        self.try_again(queue, turn.now);
        self.follow_schemas(turn, queue);
        if !std::mem::take(&mut self.is_changed) {
            return false;
        }
        self.routes = Arc::clone(&self.newest.borrow_and_update());
        let topics = self.routes.names();
        if topics != self.subscribed {
            turn.subscribe(topics.clone());
            self.subscribed = topics;
        }
        for open in self.open.values_mut() {
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
                self.schemas.forget(&held.lease.partition);
                turn.restart(held.lease.clone());
            }
        }
        self.counts.retain(|source, _| self.routes.has(*source));
        true
    }

    fn try_again(&mut self, queue: &mut Queue, now: Now) {
        for open in self.open.values_mut() {
            if let Some((_, until)) = &mut open.failing
                && *until <= now.instant
                && !(open.is_paused || open.is_over || open.is_gone)
            {
                *until = now.instant + HELD_FOR;
                queue.release(&open.lease);
            }
        }
    }

    /// Tells how the sources are doing.
    pub(crate) fn tell(&mut self, queue: &Queue, measured: &Measured, now: Now) -> IntakeTold {
        let health = health::of(self, queue, measured);
        self.health.send_if_modified(|told| {
            let is_news = **told != health;
            *told = Arc::new(health);
            is_news
        });
        let waiting = self.want_again(now);
        let held = self.held.keys().filter(|partition| self.schemas.awaited_by(partition).is_none()).count();
        let failing = held + self.open.values().filter(|open| open.failing.is_some()).count();
        IntakeTold { failing, waiting, registries_up: self.schemas.registries_up() }
    }

    /// How many partitions are ours, and how many topics are read by anybody.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.open.len() + self.held.len(), self.subscribed.len())
    }
}

// === impl OpenPartition ===

impl OpenPartition {
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
        let begins = route.begins(&self.lease.partition, self.topic_id);
        if self.is_gone || begins.position_id.0 != self.position.id {
            self.is_over = true;
            turn.restart(self.lease.clone());
            return;
        }
        if !Arc::ptr_eq(&self.route, route) {
            self.route = Arc::clone(route);
            // Another definition may need another schema, or none.
            let stood_still = self.failing.take().is_some() | self.awaits.take().is_some();
            if stood_still && !self.is_paused {
                queue.release(&self.lease);
            }
        }
        if self.is_paused != route.is_paused() {
            self.is_paused = route.is_paused();
            self.since_ms = turn.now.wall_ms;
            if self.is_paused {
                queue.hold(&self.lease);
                turn.fetch(self.lease.clone(), Fetching::Paused);
            } else {
                self.awaits = None;
                queue.release(&self.lease);
                turn.fetch(self.lease.clone(), Fetching::Flowing);
            }
        }
    }
}

#[cfg(test)]
mod tests;
