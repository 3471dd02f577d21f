//! The threads that read: each has connections of its own, read-only, and a question's time is bounded inside SQLite.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chassis::clock;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::writer::{AskedFile, WriterCommand};
use super::{SharedFiles, failed, schema};
use crate::day::Day;
use crate::query::ListOrder;
use crate::store::{StoreAnswer, StoreError};

/// Questions that wait; beyond them there is no answer at once.
const QUEUE: usize = 64;
/// How long one question may be looked for, seconds.
pub(super) const SECONDS: u64 = 2;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

type ReaderQuestion = Box<dyn FnOnce(&mut DayReader) + Send>;

/// Asks the threads; they end with it.
#[derive(Clone)]
pub(super) struct ReaderPool(mpsc::Sender<ReaderQuestion>);

/// One thread's connections.
pub(super) struct DayReader {
    days: HashMap<Day, (u64, Connection)>,
    open: Option<(u64, Connection)>,
    cache_bytes: u64,
    /// When the question under way has taken too long, on the clock that counts suspension, ms.
    deadline_ms: Arc<AtomicI64>,
    /// The file that was asked last.
    asked: Option<AskedFile>,
    writer: mpsc::Sender<WriterCommand>,
    /// The last to go: when the folder is free, its files are closed.
    shared: Arc<SharedFiles>,
}

// === impl ReaderPool ===

impl ReaderPool {
    /// Starts so many threads. Each keeps so many bytes of each file, and tells the writer of damage.
    pub(super) fn start(
        shared: &Arc<SharedFiles>,
        writer: &mpsc::Sender<WriterCommand>,
        (readers, cache_bytes): (usize, u64),
    ) -> Result<Self, StoreError> {
        let (questions, queue) = mpsc::channel::<ReaderQuestion>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..readers {
            let mut reader = DayReader::new(Arc::clone(shared), writer.clone(), cache_bytes);
            let queue = Arc::clone(&queue);
            let run = move || {
                // The one who waits holds the lock; the others wait for it.
                while let Some(question) = { queue.lock().blocking_recv() } {
                    question(&mut reader);
                }
            };
            let spawned = std::thread::Builder::new().name("log-reader".into()).spawn(run);
            spawned.map_err(|error| StoreError::Failed { reason: error.to_string() })?;
        }
        Ok(Self(questions))
    }

    /// Asks.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut DayReader) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreAnswer<'static, T> {
        let (reply, answer) = oneshot::channel();
        let asked = self.0.try_send(Box::new(move |reader| {
            if !reply.is_closed() {
                reader.begin();
                let mut answer = question(reader);
                if let Err(StoreError::Damaged { file }) = &mut answer {
                    *file = reader.tell_damage();
                }
                // Whoever does not wait for the answer does not want it.
                drop(reply.send(answer));
            }
        }));
        Box::pin(async move {
            asked.map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
            })?;
            answer.await.map_err(|_gone| StoreError::Stopped)?
        })
    }
}

// === impl DayReader ===

impl DayReader {
    fn new(shared: Arc<SharedFiles>, writer: mpsc::Sender<WriterCommand>, cache_bytes: u64) -> Self {
        let deadline_ms = Arc::new(AtomicI64::new(i64::MAX));
        Self { days: HashMap::new(), open: None, cache_bytes, deadline_ms, asked: None, writer, shared }
    }

    /// Has the file given up that was asked last, and names it.
    fn tell_damage(&self) -> String {
        let Some(asked) = self.asked else { return "a file".to_owned() };
        // A writer that has too much to do is told by the next reader.
        drop(self.writer.try_send(WriterCommand::Damaged(asked)));
        asked.path(&self.shared.folder).file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A question begins: its time counts from here, and connections to days that are gone are closed.
    fn begin(&mut self) {
        let allowed = i64::try_from(SECONDS * 1_000).unwrap_or(i64::MAX);
        self.deadline_ms.store(clock::boot_ms() + allowed, Ordering::Relaxed);
        let there = self.shared.days();
        self.days.retain(|day, (id, _)| there.get(day) == Some(id));
    }

    /// The days that are there, in this order.
    pub(super) fn days(&self, order: ListOrder) -> Vec<Day> {
        let mut days: Vec<Day> = self.shared.days().into_keys().collect();
        if order == ListOrder::Descending {
            days.reverse();
        }
        days
    }

    /// A day's connection; `None`: the day is gone.
    pub(super) fn day(&mut self, day: Day) -> Result<Option<&Connection>, StoreError> {
        let known = self.days.get(&day).map(|(id, _)| *id);
        let Some(id) = known.or_else(|| self.shared.days().get(&day).copied()) else { return Ok(None) };
        self.asked = Some(AskedFile { day: Some(day), id });
        if known.is_none() {
            match self.connect(&schema::day_path(&self.shared.folder, day)) {
                Ok(connection) => self.days.insert(day, (id, connection)),
                Err(_gone) if !self.shared.days().contains_key(&day) => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
        }
        Ok(self.days.get(&day).map(|(_, connection)| connection))
    }

    /// The connection to what is open.
    pub(super) fn open(&mut self) -> Result<Option<&Connection>, StoreError> {
        let id = self.shared.open_id();
        self.asked = Some(AskedFile { day: None, id });
        if self.open.as_ref().is_none_or(|(known, _)| *known != id) {
            let connection = self.connect(&schema::open_path(&self.shared.folder)).map_err(failed)?;
            self.open = Some((id, connection));
        }
        Ok(self.open.as_ref().map(|(_, connection)| connection))
    }

    fn connect(&self, path: &std::path::Path) -> rusqlite::Result<Connection> {
        let mut connection = schema::open_to_read(path, self.cache_bytes)?;
        let deadline = Arc::clone(&self.deadline_ms);
        let is_over = move || clock::boot_ms() > deadline.load(Ordering::Relaxed);
        connection.progress_handler(STEPS, Some(is_over))?;
        Ok(connection)
    }
}
