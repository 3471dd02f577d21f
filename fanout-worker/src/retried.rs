//! Records that were rejected and are planned again: by the rules of `events`, or by the mapping that their source has now. Pure.
//!
//! ```text
//! [retried] --RetriedRecord--> where it stood --events--> as a record of `events`
//!                                             --a source reads that topic now, of the same organization--> as its mapping says
//!                                             --none does--> rejected again, `unmapped`
//!    it needs a schema: its line is held until it is here, or for a while; without an answer it is rejected again
//! ```
//!
//! It has the identity that it would have had: topic, partition, offset and time are those it was rejected with. What fails again is
//! rejected again and counted; nothing of it holds `events` up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, source_of_topic};
use kafka::{Epoch, Lease, SliceCursor};
use schema_registry::SchemaCache;
use schemas::ids::{OrganizationId, SchemaRegistryId, SourceId};
use schemas::record::Record;
use schemas::rejected::RejectReason;
use schemas::retried::RetriedRecord;
use sources::Rejection;
use sources::schema::{SchemaKey, SchemaLookup as _, SchemaState};
use tokio::sync::watch;

use crate::expand::Place;
use crate::intake::{SourceRoute, SourceTurn};
use crate::queue::Queue;

/// How long a record waits for a schema whose registry gives no answer; then it is rejected again, and others of its partition go on.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits for one that is being asked for: longer than a registry is asked.
const LONGEST: Duration = Duration::from_secs(90);

/// How long a registry is known to give no answer after a record waited for it in vain: until then no other record waits for it.
const KNOWN_SILENT: Duration = Duration::from_secs(60);

/// What the intake of `events` knows for records that are retried.
#[derive(Debug)]
pub(crate) struct RetriedIntake {
    topic: Arc<str>,
    events: Arc<str>,
    catalog: Catalog,
    /// Most bytes that a record is decoded to.
    decoded_limit: usize,
    /// The sources as they are now, as far as they were needed.
    routes: BTreeMap<SourceId, Arc<SourceRoute>>,
    schemas: SchemaCache,
    answers: watch::Receiver<u64>,
    waits: BTreeMap<Epoch, RetriedWait>,
    /// By whose rules the record of a lease was looked at last, and its offset: what is written in part goes on by the same.
    begun_by: BTreeMap<Epoch, (i64, Arc<SourceRoute>)>,
    /// Registries that were waited for in vain, and when: what needs them is rejected at once, lest each record of one organization
    /// holds those of all others in its partition.
    silent: BTreeMap<SchemaRegistryId, Instant>,
}

/// A line that is held for a schema.
#[derive(Debug)]
struct RetriedWait {
    lease: Lease,
    key: SchemaKey,
    since: Instant,
    /// It is waited for no longer: what needs it is rejected.
    is_over: bool,
}

/// A record that is planned again.
#[derive(Debug)]
pub(crate) struct RetriedTurn {
    of: RetriedRecord,
    /// What its source makes of it; none: it is of `events`.
    route: Option<Arc<SourceRoute>>,
    /// Why nobody can tell what it is.
    refusal: Option<(RejectReason, String)>,
    /// When it was retried, Unix ms.
    at_ms: i64,
    /// A schema that was waited for in vain.
    without: Option<SchemaKey>,
}

// === impl RetriedIntake ===

impl RetriedIntake {
    pub(crate) fn new(
        (topic, events): (Arc<str>, Arc<str>),
        catalog: Catalog,
        schemas: SchemaCache,
        decoded_limit: usize,
    ) -> Self {
        Self {
            topic,
            events,
            catalog,
            decoded_limit,
            routes: BTreeMap::new(),
            answers: schemas.answers(),
            schemas,
            waits: BTreeMap::new(),
            begun_by: BTreeMap::new(),
            silent: BTreeMap::new(),
        }
    }

    /// What a record of a lease is, if it is one that is retried. One that `is_begun`, because a part of its event is written, stays what
    /// it was then.
    pub(crate) fn read(&mut self, lease: &Lease, record: &Record, is_begun: bool) -> Option<RetriedTurn> {
        if lease.partition.topic != self.topic {
            return None;
        }
        let without = self.waits.get(&lease.epoch).filter(|wait| wait.is_over).map(|wait| wait.key);
        let (at_ms, bare) = (record.timestamp_ms, RetriedTurn::bare);
        let Ok(of) = RetriedRecord::decode(record) else {
            let (from, organization, written) = (lease.partition.clone(), None, None);
            let of = RetriedRecord { record: record.clone(), from, organization, retries: 0, written };
            let why = "it does not say where the record stood that is to be planned again";
            return Some(bare(of, at_ms, (RejectReason::Undecodable, why.to_owned())));
        };
        if of.from.topic == self.events {
            return Some(RetriedTurn { of, route: None, refusal: None, at_ms, without });
        }
        let begun_by = self.begun_by.get(&lease.epoch).filter(|(offset, _)| is_begun && *offset == record.offset);
        let route = match begun_by {
            Some((_, route)) => Ok(Arc::clone(route)),
            None => self.route(&of),
        };
        if let Ok(route) = &route {
            self.begun_by.insert(lease.epoch, (record.offset, Arc::clone(route)));
        }
        match route {
            Ok(route) => Some(RetriedTurn { of, route: Some(route), refusal: None, at_ms, without }),
            Err(why) => Some(bare(of, at_ms, (RejectReason::Unmapped, why))),
        }
    }

    /// By whose rules it is planned.
    pub(crate) fn source<'a>(&'a self, turn: &'a RetriedTurn, now: Instant) -> Option<SourceTurn<'a>> {
        turn.route.as_ref().map(|route| SourceTurn::retried(route, self.schemas.at(now)))
    }

    /// The next record of a lease needs a schema that is not here. Its line is held.
    pub(crate) fn awaits(&mut self, lease: &Lease, key: SchemaKey, now: Instant) {
        self.schemas.want(key, now);
        let wait = RetriedWait { lease: lease.clone(), key, since: now, is_over: false };
        self.waits.insert(lease.epoch, wait);
        // It may have come since it was looked for.
        self.answers.mark_changed();
    }

    /// Waits for an answer about a schema. Cancel safe.
    pub(crate) async fn answered(&mut self) {
        if self.waits.values().all(|wait| wait.is_over) || self.answers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets go on what waits no longer.
    pub(crate) fn follow(&mut self, now: Instant, queue: &mut Queue) {
        self.answers.mark_unchanged();
        let up = if self.silent.is_empty() { BTreeMap::new() } else { self.schemas.registries_up() };
        self.silent.retain(|registry, since| {
            now.saturating_duration_since(*since) < KNOWN_SILENT && up.get(registry) == Some(&false)
        });
        self.waits.retain(|_, wait| {
            if wait.is_over {
                return true;
            }
            let waited = now.saturating_duration_since(wait.since);
            let is_unavailable = self.schemas.is_unavailable(&wait.key);
            let is_silent = is_unavailable && self.silent.contains_key(&wait.key.registry);
            let longest = if is_unavailable { PATIENCE } else { LONGEST };
            let is_here = !matches!(self.schemas.at(now).schema(&wait.key), SchemaState::Wanted);
            wait.is_over = is_silent || waited >= longest;
            if is_unavailable && wait.is_over && !is_here {
                self.silent.entry(wait.key.registry).or_insert(now);
            }
            if is_here || wait.is_over {
                queue.release(&wait.lease);
                return !is_here;
            }
            self.schemas.want(wait.key, now);
            true
        });
    }

    /// A record of this lease was planned, or the lease is over.
    pub(crate) fn passed(&mut self, epoch: Epoch) {
        self.waits.remove(&epoch);
        self.begun_by.remove(&epoch);
    }

    /// The source that reads its topic now, if it is still of the organization that it was rejected of.
    fn route(&mut self, of: &RetriedRecord) -> Result<Arc<SourceRoute>, String> {
        let (sources, topic) = (self.catalog.sources(), &of.from.topic);
        let Some(source) = source_of_topic(&sources, topic) else { return Err(format!("no source reads {topic} now")) };
        if of.organization.is_some_and(|of| of != source.organization_id) {
            return Err(format!("a source of another organization reads {topic} now"));
        }
        self.routes.retain(|id, _| sources.contains_key(id));
        if let Some(known) = self.routes.get(&source.source_id).filter(|known| known.is_of(source)) {
            return Ok(Arc::clone(known));
        }
        let route = Arc::new(SourceRoute::new(Arc::clone(source), self.decoded_limit));
        self.routes.insert(source.source_id, Arc::clone(&route));
        Ok(route)
    }
}

// === impl RetriedTurn ===

impl RetriedTurn {
    /// One that becomes nothing.
    fn bare(of: RetriedRecord, at_ms: i64, refusal: (RejectReason, String)) -> Self {
        Self { of, route: None, refusal: Some(refusal), at_ms, without: None }
    }

    /// Where it stood, and what it was there.
    pub(crate) fn place(&self, now_ms: i64) -> Place<'_> {
        let RetriedRecord { record, from, retries, .. } = &self.of;
        Place { record, partition: from, now_ms, retries: *retries }
    }

    /// When it was retried, Unix ms: by that its identity is remembered.
    pub(crate) fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// How far its event was written before it was rejected.
    pub(crate) fn written(&self) -> Option<SliceCursor> {
        self.of.written
    }

    /// By whose rules it is planned, and rejected.
    pub(crate) fn route(&self) -> Option<&SourceRoute> {
        self.route.as_deref()
    }

    /// The organization that it was rejected of.
    pub(crate) fn organization(&self) -> Option<OrganizationId> {
        self.of.organization
    }

    /// Whether nobody can tell what it is, and so whose.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Why it is nothing, if nobody can tell.
    pub(crate) fn refusal(&self) -> Option<Rejection> {
        self.refusal.as_ref().map(|(reason, why)| Rejection::new(*reason, why.clone()))
    }

    /// Why it is nothing without a schema, if that was waited for long enough.
    pub(crate) fn without(&self, key: &SchemaKey) -> Option<Rejection> {
        let why = || {
            format!(
                "it needs {} of schema registry {}, which gives no answer: retry it when it does",
                key.id, key.registry
            )
        };
        self.without.filter(|without| without == key).map(|_| Rejection::new(RejectReason::SchemaNotFound, why()))
    }
}
