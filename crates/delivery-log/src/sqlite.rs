//! The embedded store: a SQLite file for each day, and one for what is open, in a folder that belongs to one process.
//!
//! ```text
//! project --> writer thread --one transaction a day--> 2026-11-29.db, 2026-11-28.db ... --> open.db catches up
//! questions --> bounded queue --> reader threads, read-only connections, 2 s each
//! ```
//!
//! No transaction spans two files: over files in WAL mode it would not be atomic. A day is given up by removing its file.

mod about;
mod counts;
mod day_file;
mod ended;
mod erased;
mod events;
mod facts;
mod folder;
mod forgotten;
mod list;
mod names;
mod open_file;
mod pool;
mod schema;
mod tally;
mod targets;
#[cfg(test)]
mod tests;
mod texts;
mod writer;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::RwLock;
use rusqlite::ErrorCode;
use rustix::fs::{FlockOperation, flock};
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub use self::folder::LogFolder;
use self::pool::ReaderPool;
use self::writer::{Reply, StoreWriter, WriterCommand};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::decode::kept_kinds;
use crate::ended::{EndedOnDay, EndedQuery};
use crate::fact::{Fact, LogChunk, LoggedEvent, OpenDelivery};
use crate::minute::{BucketQuery, MinuteBucket};
use crate::query::{DaySummary, EventName, EventQuery, FactQuery, LogPage};
use crate::store::{AcceptedCounts, DeliveryStore, Forgotten, Projected, StoreAnswer, StoreError};

#[cfg(test)]
pub(crate) use self::tests::numbers::{plain as plain_fact, print as print_numbers};

/// Writes that wait for the one under way.
const QUEUE: usize = 16;
/// Days that the memory is shared among.
const DAYS: u64 = 31;
/// Deliveries of one question about their histories.
const AT_ONCE: usize = 100;

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

/// How many rows each day has, as its writer knows: nobody reads a file to count them.
type DayRows = Arc<RwLock<BTreeMap<Day, u64>>>;
/// Erased events of all days, as their files remember them: a few dozen bytes of each.
type ErasedEvents = Arc<RwLock<HashSet<Uuid>>>;

/// See the module. Clones are the same one.
#[derive(Clone)]
pub struct SqliteStore {
    commands: mpsc::Sender<WriterCommand>,
    readers: ReaderPool,
    /// The threads' own: the folder is free when they have ended.
    given_up: watch::Receiver<u64>,
    edition: Arc<AtomicI64>,
    rows: DayRows,
    erased: ErasedEvents,
    folder: PathBuf,
}

/// What the writer and the readers know of each other: which files there are.
#[derive(Debug)]
struct SharedFiles {
    folder: PathBuf,
    /// Days, each with a number that no other file had.
    days: RwLock<BTreeMap<Day, u64>>,
    rows: DayRows,
    next_id: AtomicU64,
    open_id: AtomicU64,
    /// How often days were given up that may be read again.
    given_up: watch::Sender<u64>,
    /// Another one from before the first day goes that is given up though it is kept.
    edition: Arc<AtomicI64>,
    erased: ErasedEvents,
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
        Self::open_keeping(options, &kept_kinds())
    }

    /// As a build opens it that keeps these kinds.
    fn open_keeping(options: &SqliteOptions, kept: &str) -> Result<Self, StoreError> {
        let lock = lock(&options.folder)?;
        let shared = Arc::new(SharedFiles {
            folder: options.folder.clone(),
            days: RwLock::default(),
            rows: DayRows::default(),
            next_id: AtomicU64::new(1),
            open_id: AtomicU64::new(0),
            given_up: watch::Sender::new(0),
            edition: Arc::default(),
            erased: ErasedEvents::default(),
            _lock: lock,
        });
        let (half, given_up) = (options.memory_bytes / 2, shared.given_up.subscribe());
        let (rows, erased) = (Arc::clone(&shared.rows), Arc::clone(&shared.erased));
        let edition = Arc::clone(&shared.edition);
        let readers = options.readers.max(1);
        let writer = StoreWriter::open(Arc::clone(&shared), half, Arc::from(kept))?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let spawned = std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run(queue));
        spawned.map_err(|error| StoreError::Failed { reason: error.to_string() })?;
        let of_each = half / (u64::try_from(readers).unwrap_or(u64::MAX).saturating_mul(DAYS));
        let readers = ReaderPool::start(&shared, &commands, (readers, of_each))?;
        Ok(Self { commands, readers, given_up, edition, rows, erased, folder: options.folder.clone() })
    }

    fn command<T: Send + 'static>(&self, command: impl FnOnce(Reply<T>) -> WriterCommand) -> StoreAnswer<'_, T> {
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

impl DeliveryStore for SqliteStore {
    fn bind(&self, topic: String) -> StoreAnswer<'_, bool> {
        self.command(|reply| WriterCommand::Bind(topic, reply))
    }

    fn turn(&self) -> StoreAnswer<'_, ()> {
        // The folder is locked.
        Box::pin(std::future::ready(Ok(())))
    }

    fn tell(&self, _progress: String) -> StoreAnswer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn told(&self) -> StoreAnswer<'_, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn project(&self, chunks: Vec<LogChunk>) -> StoreAnswer<'_, Projected> {
        self.command(|reply| WriterCommand::Project(chunks, reply))
    }

    fn coverage(&self) -> StoreAnswer<'_, Coverage> {
        self.command(WriterCommand::Coverage)
    }

    fn retain(&self, oldest: Day) -> StoreAnswer<'_, Vec<Day>> {
        self.command(|reply| WriterCommand::Retain(oldest, reply))
    }

    fn cut(&self, ends: BTreeMap<i32, i64>) -> StoreAnswer<'_, Vec<Day>> {
        self.command(|reply| WriterCommand::Cut(ends, reply))
    }

    fn given_up(&self) -> watch::Receiver<u64> {
        self.given_up.clone()
    }

    fn edition(&self) -> StoreAnswer<'_, i64> {
        Box::pin(std::future::ready(Ok(self.edition.load(Ordering::SeqCst))))
    }

    fn give_up_all(&self) -> StoreAnswer<'_, Vec<Day>> {
        self.command(WriterCommand::GiveUpAll)
    }

    fn erase(&self, event: Uuid) -> StoreAnswer<'_, ()> {
        self.command(move |reply| WriterCommand::Erase(event, reply))
    }

    fn erased(&self, events: Vec<Uuid>) -> StoreAnswer<'_, Vec<Uuid>> {
        let known = self.erased.read();
        let erased = events.into_iter().filter(|event| known.contains(event)).collect();
        drop(known);
        Box::pin(std::future::ready(Ok(erased)))
    }

    fn forget(&self, before: Vec<(ApplicationId, i64)>) -> StoreAnswer<'_, Forgotten> {
        self.command(|reply| WriterCommand::Forget(before, reply))
    }

    fn days(&self) -> StoreAnswer<'_, Vec<DaySummary>> {
        let (folder, rows) = (self.folder.clone(), self.rows.read().clone());
        Box::pin(async move {
            let looked = tokio::task::spawn_blocking(move || counts::days(&folder, &rows)).await;
            looked.map_err(|error| StoreError::Failed { reason: error.to_string() })?
        })
    }

    fn facts(&self, query: FactQuery) -> StoreAnswer<'_, LogPage<Fact>> {
        self.readers.ask(move |reader| facts::page(reader, &query))
    }

    fn events(&self, query: EventQuery) -> StoreAnswer<'_, LogPage<LoggedEvent>> {
        self.readers.ask(move |reader| events::page(reader, &query))
    }

    fn event(&self, application: ApplicationId, name: EventName) -> StoreAnswer<'_, Option<LoggedEvent>> {
        self.readers.ask(move |reader| events::find(reader, application, &name))
    }

    fn events_of(&self, application: ApplicationId, events: Vec<(Uuid, Day)>) -> StoreAnswer<'_, Vec<LoggedEvent>> {
        self.readers.ask(move |reader| events::of(reader, application, &events))
    }

    fn histories(&self, application: ApplicationId, deliveries: Vec<(DeliveryId, Day)>) -> StoreAnswer<'_, Vec<Fact>> {
        // A question has its own time: a thousand that start at the oldest day are looked for in each of them.
        Box::pin(async move {
            let mut all = Vec::new();
            for few in deliveries.chunks(AT_ONCE) {
                let few = few.to_vec();
                all.extend(self.readers.ask(move |reader| facts::histories(reader, application, &few)).await?);
            }
            Ok(all)
        })
    }

    fn history_of(&self, application: ApplicationId, prefix: [u8; 14]) -> StoreAnswer<'_, Vec<Fact>> {
        self.readers.ask(move |reader| facts::history_of(reader, application, prefix))
    }

    fn target(&self, application: ApplicationId, of: (SubscriptionId, i64)) -> StoreAnswer<'_, Option<String>> {
        self.readers.ask(move |reader| targets::find(reader, application, of))
    }

    fn open_deliveries(&self, deliveries: Vec<DeliveryId>) -> StoreAnswer<'_, Vec<OpenDelivery>> {
        self.readers.ask(move |reader| counts::open(reader, &deliveries))
    }

    fn open_letters(
        &self,
        application: ApplicationId,
        subscription: SubscriptionId,
        since_ms: i64,
    ) -> StoreAnswer<'_, u64> {
        self.readers.ask(move |reader| counts::open_letters(reader, application, (subscription, since_ms)))
    }

    fn undecided_letters(&self) -> StoreAnswer<'_, u64> {
        self.readers.ask(counts::undecided_letters)
    }

    fn buckets(&self, query: BucketQuery) -> StoreAnswer<'_, Vec<MinuteBucket>> {
        self.readers.ask(move |reader| counts::buckets(reader, &query))
    }

    fn ended(&self, query: EndedQuery) -> StoreAnswer<'_, Vec<EndedOnDay>> {
        self.readers.ask(move |reader| ended::ask(reader, &query))
    }

    fn accepted(&self, applications: Vec<ApplicationId>, from: Day, to: Day) -> StoreAnswer<'_, AcceptedCounts> {
        self.readers.ask(move |reader| counts::accepted(reader, &applications, (from, to)))
    }
}

// === impl SharedFiles ===

impl SharedFiles {
    fn days(&self) -> BTreeMap<Day, u64> {
        self.days.read().clone()
    }

    fn appeared(&self, day: Day, rows: u64) {
        self.rows.write().insert(day, rows);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.days.write().insert(day, id);
    }

    fn vanished(&self, day: Day) {
        self.rows.write().remove(&day);
        self.days.write().remove(&day);
    }

    /// Days go that are kept: what is asked from here on may be answered without them.
    fn begin_edition(&self) {
        self.edition.fetch_add(1, Ordering::SeqCst);
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
        // Which one, knows who has asked it.
        _ if day_file::is_damaged(&error) => StoreError::Damaged { file: "a file".to_owned() },
        _ => StoreError::Failed { reason: error.to_string() },
    }
}
