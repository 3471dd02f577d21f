//! Partitions whose next record needs a schema that is not here. Pure.
//!
//! ```text
//! a record awaits a schema --> its line is held, the schema is wanted
//!    it is here, or known not to be --> the line goes on
//!    its registry gives no answer ----> the lease is given up, and what was read with it: the credit is for others
//!                                         it is here, or known not to be --> the partition is taken over at once
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::{Epoch, KafkaError};
use schema_registry::{SchemaCache, SchemasAt};
use schemas::ids::SchemaRegistryId;
use schemas::record::TopicPartition;
use schemas::status::SourceFailure;
use sources::schema::{SchemaKey, SchemaLookup as _, SchemaState};
use stage::{Now, Turn};
use tokio::sync::watch;

use super::SourcesIntake;
use super::health::failure;
use crate::queue::Queue;

/// What a partition does not begin for; see [`KafkaError::Invalid`].
pub(super) const AWAITED_SCHEMA: &str = "start without a schema";
/// A partition that was given up is taken over again within this, if it is still ours.
const OURS_FOR: Duration = Duration::from_secs(120);
/// The word of the source's status.
pub(super) const REGISTRY_UNAVAILABLE: &str = "registry_unavailable";

/// The schemas, and the partitions that wait for one without being read.
#[derive(Debug)]
pub(super) struct SchemaWaits {
    cache: SchemaCache,
    answers: watch::Receiver<u64>,
    /// An answer came, or a partition waits, since that was followed.
    is_answered: bool,
    /// They do not begin before their schemas are here, or known not to be.
    unread: BTreeMap<TopicPartition, UnreadPartition>,
}

/// A partition that is not read while it waits.
#[derive(Debug)]
struct UnreadPartition {
    key: SchemaKey,
    /// When it was surely ours.
    ours: Instant,
}

// === impl SchemaWaits ===

impl SchemaWaits {
    pub(super) fn new(cache: SchemaCache) -> Self {
        Self { answers: cache.answers(), cache, is_answered: false, unread: BTreeMap::new() }
    }

    pub(super) fn at(&self, now: Instant) -> SchemasAt<'_> {
        self.cache.at(now)
    }

    /// The schema that a partition waits for without being read.
    pub(super) fn awaited_by(&self, partition: &TopicPartition) -> Option<SchemaKey> {
        self.unread.get(partition).map(|unread| unread.key)
    }

    /// A partition waits for nothing any more: it is not ours, or its source is another one.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.unread.remove(partition);
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

    /// Whether a partition may begin.
    ///
    /// # Errors
    /// It waits for a schema.
    pub(super) fn may_begin(&self, partition: &TopicPartition) -> Result<(), KafkaError> {
        let Some(unread) = self.unread.get(partition) else { return Ok(()) };
        Err(KafkaError::Invalid { what: AWAITED_SCHEMA, reason: self.told(&unread.key).detail })
    }

    /// What is told of a partition that waits for a schema.
    pub(super) fn told(&self, key: &SchemaKey) -> SourceFailure {
        let why = self.cache.why(key).unwrap_or_else(|| Arc::from("it is being asked for"));
        let detail = format!("records need {} of schema registry {}: {why}", key.id, key.registry);
        failure(REGISTRY_UNAVAILABLE, &detail)
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
            open.awaits = Some(key);
            open.since_ms = now.wall_ms;
            // Its registry may be known to give no answer: then no answer comes soon.
            self.schemas.is_answered = true;
        }
    }

    /// Does what answers about schemas ask for.
    pub(super) fn follow_schemas<N>(&mut self, turn: &mut Turn<'_, N>, queue: &mut Queue) {
        if !std::mem::take(&mut self.schemas.is_answered) {
            return;
        }
        let now = turn.now;
        for open in self.open.values_mut() {
            let Some(key) = open.awaits else { continue };
            let stands_still = open.is_over || open.is_gone || open.is_paused;
            if self.schemas.is_settled(&key, now.instant) {
                open.awaits = None;
                if !stands_still {
                    open.since_ms = now.wall_ms;
                    queue.release(&open.lease);
                }
            } else if self.schemas.cache.is_unavailable(&key) && !stands_still {
                open.is_over = true;
                let unread = UnreadPartition { key, ours: now.instant };
                self.schemas.unread.insert(open.lease.partition.clone(), unread);
                turn.restart(open.lease.clone());
            }
        }
        let settled = |(partition, unread): (&TopicPartition, &UnreadPartition)| {
            self.schemas.is_settled(&unread.key, now.instant).then(|| partition.clone())
        };
        let settled: Vec<TopicPartition> = self.schemas.unread.iter().filter_map(settled).collect();
        for partition in settled {
            self.begin(&partition, turn);
        }
    }

    /// A partition need not wait for its schema any more: it is taken over at once, if it is held for that.
    pub(super) fn begin<N>(&mut self, partition: &TopicPartition, turn: &mut Turn<'_, N>) {
        if self.schemas.unread.remove(partition).is_some()
            && let Some(held) = self.held.get(partition)
        {
            turn.restart(held.lease.clone());
        }
    }

    /// Says again what is waited for, lest it is forgotten. Returns how many partitions wait.
    pub(super) fn want_again(&mut self, now: Now) -> usize {
        let SchemaWaits { cache, unread, .. } = &mut self.schemas;
        for (_, unread) in unread.iter_mut().filter(|(partition, _)| self.held.contains_key(*partition)) {
            unread.ours = now.instant;
        }
        // It may have gone to another worker just when it was given up.
        unread.retain(|_, unread| now.instant.saturating_duration_since(unread.ours) < OURS_FOR);
        let open = self.open.values().filter(|open| !open.is_over).filter_map(|open| open.awaits);
        let all = open.chain(unread.values().map(|unread| unread.key));
        all.map(|key| cache.want(key, now.instant)).count()
    }
}
