//! The cache as everybody holds it: who plans records looks into it, who waits is told, who fetches fills it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use schemas::ids::SchemaRegistryId;
use sources::schema::{CompiledSchema, SchemaKey, SchemaLookup, SchemaState};
use tokio::sync::{Notify, watch};

use crate::answer::RegistryAnswer;
use crate::table::{CacheLimits, SchemaQuestion, SchemaTable};

/// Compiled schemas by registry and id. Clones are the same cache.
#[derive(Clone, Debug)]
pub struct SchemaCache {
    inner: Arc<CacheInner>,
}

#[derive(Debug)]
struct CacheInner {
    table: Mutex<SchemaTable>,
    /// Answers that came.
    answers: watch::Sender<u64>,
    wanted: Notify,
}

/// The cache as it is at one time.
#[derive(Clone, Copy, Debug)]
pub struct SchemasAt<'c> {
    cache: &'c SchemaCache,
    now: Instant,
}

// === impl SchemaCache ===

impl SchemaCache {
    /// An empty one. Nothing comes into it before a [`crate::SchemaFetcher`] runs.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        let table = Mutex::new(SchemaTable::new(limits));
        Self { inner: Arc::new(CacheInner { table, answers: watch::Sender::new(0), wanted: Notify::new() }) }
    }

    /// What is known now.
    #[must_use]
    pub fn at(&self, now: Instant) -> SchemasAt<'_> {
        SchemasAt { cache: self, now }
    }

    /// Says that a record waits for a schema; it is asked for until it is there, or known not to be. To be said again from time to
    /// time while the record waits: after two minutes without a word it is forgotten.
    pub fn want(&self, key: SchemaKey, now: Instant) {
        self.inner.table.lock().want(key, now);
        self.inner.wanted.notify_one();
    }

    /// Says when an answer came: a number that grows. What one waits for may be among it.
    #[must_use]
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.inner.answers.subscribe()
    }

    /// Why a schema that is waited for is not there, if that is known: URL, status, what the registry says.
    #[must_use]
    pub fn why(&self, key: &SchemaKey) -> Option<Arc<str>> {
        self.inner.table.lock().why(key)
    }

    /// Whether a schema that is waited for was asked for in vain, or is of a registry that gave no answer last: the wait may be long.
    #[must_use]
    pub fn is_unavailable(&self, key: &SchemaKey) -> bool {
        self.inner.table.lock().is_unavailable(key)
    }

    /// The registries that were asked, and whether each gave its last answer.
    #[must_use]
    pub fn registries_up(&self) -> BTreeMap<SchemaRegistryId, bool> {
        self.inner.table.lock().up().clone()
    }

    /// Takes what a registry said of a schema without asking it, for tests of other crates.
    pub fn plant(&self, key: SchemaKey, answer: RegistryAnswer<Arc<CompiledSchema>>, now: Instant) {
        let question = self.inner.table.lock().question(key, now);
        if let Some(question) = question {
            self.end(question, answer, (now, 0.0));
        }
    }

    /// Waits until something is wanted. Cancel safe.
    pub(crate) async fn wanted(&self) {
        self.inner.wanted.notified().await;
    }

    pub(crate) fn ask(&self, now: Instant) -> (Vec<SchemaQuestion>, Option<Instant>) {
        let mut table = self.inner.table.lock();
        (table.ask(now), table.next(now))
    }

    pub(crate) fn end(
        &self,
        question: SchemaQuestion,
        answer: RegistryAnswer<Arc<CompiledSchema>>,
        by: (Instant, f64),
    ) {
        // Its lock is let go of before anybody is woken.
        let is_news = self.inner.table.lock().end(question, answer, by);
        if is_news {
            self.inner.answers.send_modify(|answers| *answers += 1);
        }
    }

    pub(crate) fn renew(&self, registry: SchemaRegistryId) {
        self.inner.table.lock().renew(registry);
    }

    pub(crate) fn forget(&self, registry: SchemaRegistryId, is_gone: bool) {
        self.inner.table.lock().forget(registry, is_gone);
    }
}

impl SchemasAt<'_> {
    /// As [`SchemaCache::is_unavailable`].
    #[must_use]
    pub fn is_unavailable(&self, key: &SchemaKey) -> bool {
        self.cache.is_unavailable(key)
    }
}

impl SchemaLookup for SchemasAt<'_> {
    fn schema(&self, key: &SchemaKey) -> SchemaState {
        self.cache.inner.table.lock().state(key, self.now)
    }
}
