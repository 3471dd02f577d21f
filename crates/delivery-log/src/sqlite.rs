//! The embedded store: a SQLite file for each day, and one for what is open, in a folder that belongs to one process.
//!
//! ```text
//! project --> writer thread --one transaction a day--> 2026-11-29.db, 2026-11-28.db ... --> open.db catches up
//! questions --> bounded queue --> reader threads, read-only connections, 2 s each
//! ```
//!
//! No transaction spans two files: over files in WAL mode it would not be atomic. A day is given up by removing its file.

mod counts;
mod day_file;
mod events;
mod facts;
mod list;
mod names;
mod open_file;
mod pool;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use rusqlite::ErrorCode;
use rustix::fs::{FlockOperation, flock};
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::pool::Pool;
use self::writer::{Command, Reply, Writer};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::fact::{Chunk, Event, Fact, OpenDelivery};
use crate::query::{Bucket, DaySummary, EventName, EventQuery, FactQuery, Page, Times};
use crate::store::{Accepted, Answer, Projected, Store, StoreError};

/// Writes that wait for the one under way.
const QUEUE: usize = 16;
/// Days that the memory is shared among.
const DAYS: u64 = 31;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Its folder; it is made if it is not there.
    pub folder: PathBuf,
    /// Threads that read.
    pub readers: usize,
    /// Pages of files that all connections keep in memory, bytes: half of it for the day that is written.
    pub memory_bytes: u64,
}

/// See the module. Clones are the same one.
#[derive(Clone)]
pub struct SqliteStore {
    commands: mpsc::Sender<Command>,
    readers: Pool,
    folder: PathBuf,
}

/// What the writer and the readers know of each other: which files there are.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// Days, each with a number that no other file had.
    days: RwLock<BTreeMap<Day, u64>>,
    next_id: AtomicU64,
    open_id: AtomicU64,
    /// Locked while the process has the folder.
    _lock: File,
}

// === impl SqliteStore ===

impl SqliteStore {
    /// Opens the folder's files and starts the threads.
    ///
    /// # Errors
    /// The folder cannot be used, or another process has it.
    pub fn open(options: &SqliteOptions) -> Result<Self, StoreError> {
        let lock = lock(&options.folder)?;
        let shared = Arc::new(Shared {
            folder: options.folder.clone(),
            days: RwLock::default(),
            next_id: AtomicU64::new(1),
            open_id: AtomicU64::new(0),
            _lock: lock,
        });
        let half = options.memory_bytes / 2;
        let readers = options.readers.max(1);
        let writer = Writer::open(Arc::clone(&shared), half)?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let spawned = std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run(queue));
        spawned.map_err(|error| StoreError::Failed { reason: error.to_string() })?;
        let of_each = half / (u64::try_from(readers).unwrap_or(u64::MAX).saturating_mul(DAYS));
        let readers = Pool::start(&shared, readers, of_each)?;
        Ok(Self { commands, readers, folder: options.folder.clone() })
    }

    fn tell<T: Send + 'static>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<'_, T> {
        let (reply, answer) = oneshot::channel();
        let command = command(reply);
        Box::pin(async move {
            self.commands.send(command).await.map_err(|_gone| StoreError::Stopped)?;
            answer.await.map_err(|_gone| StoreError::Stopped)?
        })
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn bind(&self, topic: String) -> Answer<'_, bool> {
        self.tell(|reply| Command::Bind(topic, reply))
    }

    fn project(&self, chunks: Vec<Chunk>) -> Answer<'_, Projected> {
        self.tell(|reply| Command::Project(chunks, reply))
    }

    fn coverage(&self) -> Answer<'_, Coverage> {
        self.tell(Command::Coverage)
    }

    fn retain(&self, oldest: Day) -> Answer<'_, Vec<Day>> {
        self.tell(|reply| Command::Retain(oldest, reply))
    }

    fn days(&self) -> Answer<'_, Vec<DaySummary>> {
        self.readers.ask(counts::days)
    }

    fn facts(&self, query: FactQuery) -> Answer<'_, Page<Fact>> {
        self.readers.ask(move |reader| facts::page(reader, &query))
    }

    fn events(&self, query: EventQuery) -> Answer<'_, Page<Event>> {
        self.readers.ask(move |reader| events::page(reader, &query))
    }

    fn event(&self, application: ApplicationId, name: EventName) -> Answer<'_, Option<Event>> {
        self.readers.ask(move |reader| events::find(reader, application, &name))
    }

    fn events_of(&self, application: ApplicationId, events: Vec<(Uuid, Day)>) -> Answer<'_, Vec<Event>> {
        self.readers.ask(move |reader| events::of(reader, application, &events))
    }

    fn histories(&self, application: ApplicationId, deliveries: Vec<(DeliveryId, Day)>) -> Answer<'_, Vec<Fact>> {
        self.readers.ask(move |reader| facts::histories(reader, application, &deliveries))
    }

    fn history_of(&self, application: ApplicationId, prefix: [u8; 14]) -> Answer<'_, Vec<Fact>> {
        self.readers.ask(move |reader| facts::history_of(reader, application, prefix))
    }

    fn open_deliveries(&self, deliveries: Vec<DeliveryId>) -> Answer<'_, Vec<OpenDelivery>> {
        self.readers.ask(move |reader| counts::open(reader, &deliveries))
    }

    fn buckets(&self, subscription: SubscriptionId, times: Times) -> Answer<'_, Vec<Bucket>> {
        self.readers.ask(move |reader| counts::buckets(reader, subscription, times))
    }

    fn accepted(&self, applications: Vec<ApplicationId>, from: Day, to: Day) -> Answer<'_, Accepted> {
        self.readers.ask(move |reader| counts::accepted(reader, &applications, (from, to)))
    }
}

// === impl Shared ===

impl Shared {
    fn days(&self) -> BTreeMap<Day, u64> {
        self.days.read().clone()
    }

    fn appeared(&self, day: Day) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.days.write().insert(day, id);
    }

    fn vanished(&self, day: Day) {
        self.days.write().remove(&day);
    }

    fn open_id(&self) -> u64 {
        self.open_id.load(Ordering::Acquire)
    }

    fn open_renewed(&self) {
        self.open_id.fetch_add(1, Ordering::AcqRel);
    }
}

/// Makes the folder and takes it for this process, until it ends.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let unopened = |reason: String| StoreError::Unopened { place: folder.display().to_string(), reason };
    std::fs::create_dir_all(folder).map_err(|error| unopened(error.to_string()))?;
    let file = File::create(folder.join("lock")).map_err(|error| unopened(error.to_string()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(unopened("another process has it; each control plane needs a folder of its own".to_owned()))
        }
        Err(error) => Err(unopened(error.to_string())),
    }
}

/// As a failure of the store.
fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow { seconds: pool::SECONDS },
        _ => StoreError::Failed { reason: error.to_string() },
    }
}
