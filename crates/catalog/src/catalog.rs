//! The handle every role holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::tasks::{self, Tasks};
use kafka::{Connection, Offsets};
use parking_lot::{RwLock, RwLockReadGuard};
use schemas::control::ControlObject;
use schemas::record::{OutRecord, Record, TopicPartition};
use schemas::topics::Topics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vault::Vault;

use crate::change::{Change, ChangeKind};
use crate::error::CatalogError;
use crate::metrics::CatalogMetrics;
use crate::reader::Reader;
use crate::rehearsal::Rehearsal;
use crate::snapshot::{RegistryMap, Snapshot, SourceMap};
use crate::usage::TokenUse;

/// A read lock on one consistent state. Keep it short, and never across an await.
pub type SnapshotGuard<'a> = RwLockReadGuard<'a, Snapshot>;

/// What the catalog stands on.
#[derive(Clone, Debug)]
pub struct CatalogDeps {
    /// Where Kafka is.
    pub connection: Connection,
    /// Names of the topics.
    pub topics: Topics,
    /// Opens secrets and hashes tokens.
    pub vault: Arc<Vault>,
    /// Runs the reader; its failure stops the process.
    pub tasks: Tasks,
    /// Gets a latch `catalog`, released at the first catch-up.
    pub health: Health,
    /// Gets the catalog's metrics.
    pub registry: Registry,
    /// Whether this process answers repeats of writes, so that it holds the answers that are kept.
    pub keeps_answers: bool,
}

/// The catalog. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
    abandoned: Arc<Abandoned>,
}

/// Ends the reader when the last handle is dropped.
#[derive(Debug)]
struct Abandoned {
    token: CancellationToken,
}

#[derive(Debug)]
pub(crate) struct Inner {
    snapshot: RwLock<Snapshot>,
    position: watch::Sender<i64>,
    /// Changes of sources that were applied.
    source_changes: watch::Sender<u64>,
    /// Changes of schema registries that were applied.
    registry_changes: watch::Sender<u64>,
    /// End of `control` when the reader started was reached.
    ready: watch::Sender<bool>,
    closed: AtomicBool,
    vault: Arc<Vault>,
    used: Arc<TokenUse>,
    source: Option<Source>,
}

/// Where the end of `control` is asked for. None in a catalog made of given objects.
#[derive(Debug)]
struct Source {
    offsets: Offsets,
    partition: TopicPartition,
}

// === impl Catalog ===

impl Catalog {
    /// Starts the reader and returns at once; see [`Catalog::caught_up`].
    ///
    /// # Errors
    /// Kafka cannot be reached at all, or a metric's name is taken.
    pub fn start(deps: CatalogDeps) -> Result<Self, CatalogError> {
        let partition = TopicPartition::new(Arc::clone(&deps.topics.control), 0);
        let failed = |source| CatalogError::Kafka { topic: partition.topic.to_string(), source };
        let offsets = Offsets::start(&deps.connection).map_err(failed)?;
        let metrics = CatalogMetrics::new(&deps.registry)?;
        let latch = deps.health.latch("catalog");
        let source = Source { offsets: offsets.clone(), partition: partition.clone() };
        let snapshot = if deps.keeps_answers { Snapshot::default() } else { Snapshot::without_answers() };
        let catalog = Self::new(Inner::new(snapshot, deps.vault, Some(source)));
        let abandoned = catalog.abandoned.token.clone();
        let reader = Reader::new(Arc::clone(&catalog.inner), deps.connection, offsets, partition, metrics);
        let reader = tasks::spawn("catalog-reader", reader.run(latch, abandoned));
        let shutdown = deps.tasks.shutdown().clone();
        // The reader outlives the request to stop, because roles that drain still read; only its failure is everybody's.
        deps.tasks.spawn("catalog", async move {
            tokio::select! {
                // A join error is the reader's panic.
                ended = reader => ended.unwrap_or(Some(CatalogError::Closed)).map_or(Ok(()), Err),
                () = shutdown.requested() => Ok(()),
            }
        });
        Ok(catalog)
    }

    /// A catalog of these objects without Kafka behind it, for tests of other crates: always current, never changing.
    #[must_use]
    pub fn of(objects: impl IntoIterator<Item = ControlObject>, vault: Arc<Vault>) -> Self {
        let inner = Inner::new(Snapshot::default(), vault, None);
        let changes = (0..).zip(objects).map(|(offset, object)| Change::of(object, offset, &inner.vault)).collect();
        inner.apply(changes, None);
        inner.ready.send_replace(true);
        Self::new(inner)
    }

    /// Applies records to a catalog made by [`Catalog::of`], as if they stood next on `control`. For tests.
    pub fn feed(&self, records: impl IntoIterator<Item = OutRecord>) {
        let next = self.position();
        let record = |(offset, it): (i64, OutRecord)| Record {
            offset,
            timestamp_ms: 0,
            key: it.key,
            value: it.value,
            headers: it.headers,
        };
        let changes =
            (next..).zip(records).map(record).map(|record| Change::decode(&record, &self.inner.vault)).collect();
        self.inner.apply(changes, None);
    }

    fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), abandoned: Arc::new(Abandoned { token: CancellationToken::new() }) }
    }

    /// Next offset of `control`: everything below it is applied.
    #[must_use]
    pub fn position(&self) -> i64 {
        *self.inner.position.borrow()
    }

    /// Waits until everything below this offset is applied. Waits for ever when the reader has ended: the process stops then.
    pub async fn wait_for(&self, offset: i64) {
        if self.reach(offset).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the snapshot has reached the end that `control` had when the catalog started.
    pub async fn caught_up(&self) {
        let mut ready = self.inner.ready.subscribe();
        if ready.wait_for(|ready| *ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Asks Kafka for the end of `control` and waits until the snapshot is there: what was written before the call is seen
    /// after it. Concurrent calls share one question. Returns the end.
    ///
    /// # Errors
    /// Kafka does not answer, or the reader has ended.
    pub async fn read_index(&self) -> Result<i64, CatalogError> {
        let end = self.end().await?;
        self.reach(end).await?;
        Ok(end)
    }

    /// Asks Kafka for the end of `control`. Concurrent calls share one question.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn end(&self) -> Result<i64, CatalogError> {
        let Some(source) = &self.inner.source else { return Ok(self.position()) };
        let failed = |error| CatalogError::Kafka { topic: source.partition.topic.to_string(), source: error };
        source.offsets.end(&source.partition).await.map_err(failed)
    }

    /// The snapshot, locked for reading.
    pub fn read(&self) -> SnapshotGuard<'_> {
        self.inner.snapshot.read()
    }

    /// Tries changes out on the snapshot, which is locked meanwhile and the same again afterwards.
    pub fn rehearse<T>(&self, play: impl FnOnce(&mut Rehearsal<'_>) -> T) -> T {
        let mut snapshot = self.inner.snapshot.write();
        play(&mut Rehearsal::new(&mut snapshot, &self.inner.vault))
    }

    /// Whether every process could read an object from the topic.
    ///
    /// # Errors
    /// Why not.
    pub fn check_readable(&self, object: &ControlObject) -> Result<(), String> {
        match Change::of(object.clone(), 0, &self.inner.vault).kind {
            ChangeKind::Undecodable { reason, .. } => Err(reason),
            ChangeKind::Put(..) | ChangeKind::Remove(_) | ChangeKind::Unknown => Ok(()),
        }
    }

    /// Says when the snapshot has changed: the position after each batch of changes.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<i64> {
        self.inner.position.subscribe()
    }

    /// All sources as they are now. Take it after the notice of [`Catalog::sources_changed`], and keep it as long as wanted.
    #[must_use]
    pub fn sources(&self) -> SourceMap {
        Arc::clone(self.read().sources())
    }

    /// Says when a source was written or removed: a number that grows. A notice may come without a change.
    #[must_use]
    pub fn sources_changed(&self) -> watch::Receiver<u64> {
        self.inner.source_changes.subscribe()
    }

    /// All schema registries as they are now. Take it after the notice of [`Catalog::schema_registries_changed`].
    #[must_use]
    pub fn schema_registries(&self) -> RegistryMap {
        Arc::clone(self.read().schema_registries())
    }

    /// Says when a schema registry was written or removed: a number that grows. A notice may come without a change.
    #[must_use]
    pub fn schema_registries_changed(&self) -> watch::Receiver<u64> {
        self.inner.registry_changes.subscribe()
    }

    /// What opens secrets and hashes tokens.
    #[must_use]
    pub fn vault(&self) -> &Arc<Vault> {
        &self.inner.vault
    }

    /// When tokens were last used. Roles touch it; [`crate::usage::share_use`] tells the others.
    #[must_use]
    pub fn used(&self) -> &Arc<TokenUse> {
        &self.inner.used
    }

    async fn reach(&self, offset: i64) -> Result<(), CatalogError> {
        let mut position = self.inner.position.subscribe();
        loop {
            if *position.borrow_and_update() >= offset {
                return Ok(());
            }
            if self.inner.closed.load(Ordering::Acquire) || position.changed().await.is_err() {
                return Err(CatalogError::Closed);
            }
        }
    }
}

// === impl Abandoned ===

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

// === impl Inner ===

impl Inner {
    fn new(snapshot: Snapshot, vault: Arc<Vault>, source: Option<Source>) -> Self {
        Self {
            snapshot: RwLock::new(snapshot),
            position: watch::Sender::new(0),
            source_changes: watch::Sender::new(0),
            registry_changes: watch::Sender::new(0),
            ready: watch::Sender::new(false),
            closed: AtomicBool::new(false),
            vault,
            used: Arc::default(),
            source,
        }
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Applies a batch under one lock, then wakes who waits. `end`: the end was seen there after the batch.
    pub(crate) fn apply(&self, changes: Vec<Change>, end: Option<i64>) {
        let (position, source_changes, registry_changes) = {
            let mut snapshot = self.snapshot.write();
            for change in changes {
                snapshot.apply(change);
            }
            if let Some(end) = end {
                snapshot.pass(end);
            }
            (snapshot.position(), snapshot.source_changes(), snapshot.registry_changes())
        };
        self.position.send_if_modified(|current| {
            let moved = position > *current;
            *current = position.max(*current);
            moved
        });
        self.source_changes.send_if_modified(|known| std::mem::replace(known, source_changes) != source_changes);
        self.registry_changes.send_if_modified(|known| std::mem::replace(known, registry_changes) != registry_changes);
    }

    pub(crate) fn position(&self) -> i64 {
        *self.position.borrow()
    }

    /// Number of subscriptions, and the digest.
    pub(crate) fn figures(&self) -> (usize, u64) {
        let snapshot = self.snapshot.read();
        (snapshot.subscriptions_total(), snapshot.digest())
    }

    pub(crate) fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// The reader has ended: who waits is told.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.position.send_modify(|_same| {});
    }
}
