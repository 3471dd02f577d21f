//! Partitions whose next record needs a schema that is not here. Pure.
//!
//! ```text
//! a record awaits a schema --> its line is held, the schema is wanted
//!    it is here, or known not to be --> the line goes on
//!    its registry gives no answer ----> it stands still, and gives back what was read (standing.rs); if its source was moved it goes on
//!                                         it is here, or known not to be --> it flows again, at once
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use kafka::Epoch;
use schema_registry::{SchemaCache, SchemasAt};
use schemas::ids::SchemaRegistryId;
use schemas::status::SourceFailure;
use sources::schema::{SchemaKey, SchemaLookup as _, SchemaState};
use stage::Now;
use tokio::sync::watch;

use super::health::failure;
use super::{OpenPartition, SourcesIntake};
use crate::queue::Queue;

/// The schemas, and what is heard of them.
#[derive(Debug)]
pub(super) struct SchemaWaits {
    cache: SchemaCache,
    answers: watch::Receiver<u64>,
    /// An answer came, or a partition began to wait, since that was followed.
    is_answered: bool,
}

/// A schema that a partition waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct AwaitedSchema {
    pub(super) key: SchemaKey,
    /// Its registry was asked in vain.
    pub(super) is_for_long: bool,
}

// === impl SchemaWaits ===

impl SchemaWaits {
    pub(super) fn new(cache: SchemaCache) -> Self {
        Self { answers: cache.answers(), cache, is_answered: false }
    }

    pub(super) fn at(&self, now: Instant) -> SchemasAt<'_> {
        self.cache.at(now)
    }

    /// What is told of a partition that waits for a schema.
    pub(super) fn told(&self, key: &SchemaKey) -> SourceFailure {
        let why = self.cache.why(key).unwrap_or_else(|| Arc::from("it is being asked for"));
        let detail = format!("records need {} of schema registry {}: {why}", key.id, key.registry);
        failure("registry_unavailable", &detail)
    }

    pub(super) fn registries_up(&self) -> BTreeMap<SchemaRegistryId, bool> {
        self.cache.registries_up()
    }

    /// Waits for an answer about a schema. Cancel safe.
    pub(super) async fn answered(&mut self) {
        if self.answers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.is_answered = true;
    }

    /// Takes note of what came, as [`SchemaWaits::answered`] does, without waiting.
    #[cfg(test)]
    pub(super) fn note_answers(&mut self) {
        self.is_answered |= self.answers.has_changed().unwrap_or_default();
        self.answers.mark_unchanged();
    }

    /// Whether there is something to follow.
    pub(super) fn has_news(&self) -> bool {
        self.is_answered
    }

    /// A partition that waits begins: what it waits for may have come meanwhile.
    pub(super) fn look_again(&mut self) {
        self.is_answered = true;
    }

    fn is_settled(&self, key: &SchemaKey, now: Instant) -> bool {
        !matches!(self.cache.at(now).schema(key), SchemaState::Wanted)
    }
}

// === impl SourcesIntake ===

impl SourcesIntake {
    /// The next record of a partition needs a schema that is not here. Its line is held.
    pub(crate) fn awaits(&mut self, epoch: Epoch, key: SchemaKey, now: Now) {
        self.schemas.cache.want(key, now.instant);
        if let Some(open) = self.open.get_mut(&epoch) {
            open.awaits = Some(AwaitedSchema { key, is_for_long: false });
            open.since_ms = now.wall_ms;
            // Its registry may be known to give no answer: then none comes soon.
            self.schemas.look_again();
        }
    }

    /// Does what answers about schemas ask for.
    pub(super) fn follow_schemas(&mut self, now: Now, queue: &mut Queue) {
        if !std::mem::take(&mut self.schemas.is_answered) {
            return;
        }
        for open in self.open.values_mut() {
            let Some(awaited) = open.awaits.as_mut() else { continue };
            let is_given_up = open.is_leaving && self.schemas.cache.is_unavailable(&awaited.key);
            if is_given_up || self.schemas.is_settled(&awaited.key, now.instant) {
                open.since_ms = now.wall_ms;
                open.stop_waiting(queue);
            } else {
                awaited.is_for_long |= self.schemas.cache.is_unavailable(&awaited.key);
            }
        }
    }

    /// Says again what is waited for, lest it is forgotten. Returns how many partitions wait.
    pub(super) fn want_again(&self, now: Now) -> usize {
        let awaited = self.open.values().filter_map(|open| open.awaits);
        awaited.map(|awaited| self.schemas.cache.want(awaited.key, now.instant)).count()
    }
}

// === impl OpenPartition ===

impl OpenPartition {
    /// Its next record is looked at again. What stands still for other reasons goes on doing so.
    pub(super) fn stop_waiting(&mut self, queue: &mut Queue) {
        let was_held = self.awaits.take().is_some_and(|awaited| !awaited.is_for_long);
        if was_held && !(self.is_still || self.is_over || self.is_gone) {
            queue.release(&self.lease);
        }
    }
}
