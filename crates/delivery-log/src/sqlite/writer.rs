//! The one thread that writes: it holds all files, and does one thing after the other.

mod checkpoints;
mod damage;
mod removals;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use schemas::ids::ApplicationId;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};
use uuid::Uuid;

use super::day_file::{self, DayFile};
use super::open_file::{FileFailure, OpenFile};
use super::{SharedFiles, failed, schema};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::fact::LogChunk;
use crate::split::{self, DayPart};
use crate::store::{Forgotten, Projected, StoreError};

/// What a connection that is rarely used keeps of its file.
const COLD_BYTES: u64 = 256 * 1024;

/// What the thread is asked for.
pub(super) enum WriterCommand {
    Bind(String, Reply<bool>),
    Project(Vec<LogChunk>, Reply<Projected>),
    Coverage(Reply<Coverage>),
    Retain(Day, Reply<Vec<Day>>),
    Cut(BTreeMap<i32, i64>, Reply<Vec<Day>>),
    Erase(Uuid, Reply<()>),
    Forget(Vec<(ApplicationId, i64)>, Reply<Forgotten>),
    GiveUpAll(Reply<Vec<Day>>),
    /// A reader met a damaged page.
    Damaged(AskedFile),
}

/// A file as a reader has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AskedFile {
    /// The day whose file it is; `None`: the file of what is open.
    pub(super) day: Option<Day>,
    /// Its number: a file that was made again has another.
    pub(super) id: u64,
}

/// Whoever does not wait for an answer does not want it.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// See the module.
pub(super) struct StoreWriter {
    days: BTreeMap<Day, DayFile>,
    open: OpenFile,
    topic: Option<String>,
    /// Days before it are given up.
    oldest: Day,
    /// What was open before this day is forgotten.
    open_from: Day,
    /// The day that was written last.
    hot: Option<Day>,
    hot_bytes: u64,
    /// A write-ahead log beyond it is brought into its file between two batches, bytes.
    wal_bytes: u64,
    /// The same, while somebody reads for so long that it could not be: it is not waited for that after each batch.
    held_bytes: u64,
    /// How often each day's file failed since it last did not, though it is not damaged.
    failures: BTreeMap<Day, u32>,
    /// What this build keeps.
    kept: Arc<str>,
    /// Erased events of which some file may still have content.
    fresh: HashSet<Uuid>,
    /// Days out of which something was removed that may still stand beside their files.
    unsettled: BTreeSet<Day>,
    /// The last to go: when the folder is free, its files are closed.
    shared: Arc<SharedFiles>,
}

// === impl StoreWriter ===

impl StoreWriter {
    /// Opens all files of the folder; `kept` is what this build keeps.
    pub(super) fn open(shared: Arc<SharedFiles>, hot_bytes: u64, kept: Arc<str>) -> Result<Self, StoreError> {
        let unopened = |error: &dyn std::fmt::Display| StoreError::Unopened {
            place: shared.folder.display().to_string(),
            reason: error.to_string(),
        };
        let mut open = OpenFile::open(&shared.folder).map_err(|error| unopened(&error))?;
        let mut days = BTreeMap::new();
        for entry in std::fs::read_dir(&shared.folder).map_err(|error| unopened(&error))? {
            let path = entry.map_err(|error| unopened(&error))?.path();
            if let Some(day) = schema::day_of(&path) {
                let named = |error: rusqlite::Error| unopened(&format!("{}: {error}", path.display()));
                let file = day_file::open(&shared.folder, day, &kept).map_err(named)?;
                schema::set_cache(&file.connection, COLD_BYTES).map_err(|error| unopened(&error))?;
                shared.appeared(day, file.rows);
                days.insert(day, file);
            }
        }
        if days.values().any(|file| file.is_read_again) {
            info!(
                "another build filled the delivery log, and passed over records that this one keeps: they are read again"
            );
            // What is open has to be asked of their rows, too.
            open = OpenFile::renew(&shared.folder).map_err(|error| unopened(&error))?;
        }
        let (all, fresh) = Self::known_erasures(&days).map_err(|error| unopened(&error))?;
        *shared.erased.write() = all;
        // What was removed before this process began may not be overwritten yet.
        let unsettled = days.keys().copied().collect();
        let (wal_bytes, held_bytes, failures) = (schema::WAL_BYTES, 0, BTreeMap::new());
        let (topic, oldest, open_from, hot) = (None, Day::of(0), Day::of(0), None);
        Ok(Self {
            days,
            open,
            topic,
            oldest,
            open_from,
            hot,
            hot_bytes,
            wal_bytes,
            held_bytes,
            failures,
            kept,
            fresh,
            unsettled,
            shared,
        })
    }

    /// Until nobody asks any more.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<WriterCommand>) {
        while let Some(command) = commands.blocking_recv() {
            match command {
                WriterCommand::Bind(topic, reply) => drop(reply.send(self.bind(topic))),
                WriterCommand::Project(chunks, reply) => drop(reply.send(self.project(chunks))),
                WriterCommand::Coverage(reply) => drop(reply.send(Ok(self.coverage()))),
                WriterCommand::Retain(oldest, reply) => {
                    drop(reply.send(self.retain(oldest)));
                    self.settle_cool_days();
                }
                WriterCommand::Cut(ends, reply) => drop(reply.send(self.cut(&ends))),
                WriterCommand::Erase(event, reply) => drop(reply.send(self.erase(event))),
                WriterCommand::Forget(before, reply) => drop(reply.send(self.forget(&before))),
                WriterCommand::GiveUpAll(reply) => drop(reply.send(self.give_up_all())),
                WriterCommand::Damaged(file) => self.mend(file),
            }
        }
    }

    fn bind(&mut self, topic: String) -> Result<bool, StoreError> {
        let is_other = |of: &Option<String>| of.as_ref().is_some_and(|of| *of != topic);
        let others: Vec<Day> =
            self.days.iter().filter(|(_, file)| is_other(&file.topic)).map(|(day, _)| *day).collect();
        if !others.is_empty() {
            self.shared.begin_edition();
        }
        for day in &others {
            self.give_up(*day)?;
        }
        let is_open_other = is_other(&self.open.topic);
        if is_open_other {
            self.renew_open()?;
        }
        self.topic = Some(topic);
        self.carry_out_erasures()?;
        self.catch_up()?;
        Ok(is_open_other || !others.is_empty())
    }

    fn project(&mut self, chunks: Vec<LogChunk>) -> Result<Projected, StoreError> {
        let mut projected = Projected::default();
        self.hear_of_erasures(&chunks);
        for (day, part) in split::by_day(chunks) {
            if day < self.oldest {
                projected.too_old += part.rows.len() as u64;
                continue;
            }
            let taken = self.take(day, part)?;
            projected.new += taken.new;
            projected.known += taken.known;
        }
        if !self.fresh.is_empty() {
            self.carry_out_erasures()?;
        }
        // What fails here is caught up with next time: the days are ahead, and that is all.
        self.catch_up()?;
        self.checkpoint(None)?;
        Ok(projected)
    }

    /// Brings the file of what is open to where the days are. A damaged file is given up, whichever it is, and the failure told all
    /// the same: whoever fills the log looks again at what is covered, and reads what is missing.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let Err(FileFailure { day, error }) = self.open.catch_up(&self.days, self.topic.as_deref()) else {
            return Ok(());
        };
        if let Some(day) = day {
            return Err(self.failed_in(day, &error));
        }
        let path = schema::open_path(&self.shared.folder);
        if day_file::is_damaged(&error) {
            warn!(path = %path.display(), %error, "a file of the delivery log is damaged; it is made again");
            self.renew_open()?;
        }
        Err(failed_at(&path, &error))
    }

    /// Makes the file of what is open again, with nothing in it.
    fn renew_open(&mut self) -> Result<(), StoreError> {
        let path = schema::open_path(&self.shared.folder);
        self.open = OpenFile::renew(&self.shared.folder).map_err(|error| failed_at(&path, &error))?;
        self.shared.open_renewed();
        Ok(())
    }

    fn take(&mut self, day: Day, part: DayPart) -> Result<Projected, StoreError> {
        self.open_day(day)?;
        self.heat(day).map_err(failed)?;
        match self.take_into(day, part) {
            Ok(taken) => {
                self.failures.remove(&day);
                self.checkpoint(Some(day))?;
                Ok(taken)
            }
            Err(error) => Err(self.failed_in(day, &error)),
        }
    }

    /// Opens the file of a day, or makes it, where it is not open.
    fn open_day(&mut self, day: Day) -> Result<(), StoreError> {
        if !self.days.contains_key(&day) {
            let path = schema::day_path(&self.shared.folder, day);
            let file =
                day_file::open(&self.shared.folder, day, &self.kept).map_err(|error| failed_at(&path, &error))?;
            self.shared.appeared(day, file.rows);
            self.days.insert(day, file);
        }
        Ok(())
    }

    /// Gives the cache to the day that is written.
    fn heat(&mut self, day: Day) -> rusqlite::Result<()> {
        if self.hot == Some(day) {
            return Ok(());
        }
        if let Some(file) = self.hot.and_then(|hot| self.days.get_mut(&hot)) {
            file.forget_names();
            cool(&file.connection)?;
        }
        if let Some(file) = self.days.get(&day) {
            schema::set_cache(&file.connection, self.hot_bytes)?;
        }
        self.hot = Some(day);
        Ok(())
    }

    fn coverage(&self) -> Coverage {
        let mut all = Coverage::default();
        self.days.values().for_each(|file| all.merge(&file.covered));
        all
    }

    fn retain(&mut self, oldest: Day) -> Result<Vec<Day>, StoreError> {
        // One day less is a clock that was set right around midnight: nothing new is lost by it.
        if oldest < self.oldest.minus(1) {
            warn!(was = %self.oldest, is = %oldest, "the clock was set back: days that were given up are read again");
            self.oldest = oldest;
            // What was open in those days was forgotten with them.
            self.renew_open()?;
            self.catch_up()?;
            self.look_again();
        }
        self.oldest = self.oldest.max(oldest);
        let gone: Vec<Day> = self.days.range(..self.oldest).map(|(day, _)| *day).collect();
        for day in &gone {
            self.give_up(*day)?;
            info!(%day, "a day of the delivery log is given up");
        }
        if self.open_from != self.oldest {
            // Also where its days went before, and the process with them.
            self.open.forget_before(self.oldest.start_ms()).map_err(failed)?;
            self.open_from = self.oldest;
        }
        if !gone.is_empty() {
            self.forget_erasures()?;
        }
        self.settle();
        Ok(gone)
    }

    /// Gives up the days of offsets that the topic has lost.
    fn cut(&mut self, ends: &BTreeMap<i32, i64>) -> Result<Vec<Day>, StoreError> {
        let is_cut = |(_, file): &(&Day, &DayFile)| file.covered.reaches_beyond(ends);
        let gone: Vec<Day> = self.days.iter().filter(is_cut).map(|(day, _)| *day).collect();
        if !gone.is_empty() {
            self.shared.begin_edition();
        }
        let is_open_cut = self.open.covers_from(ends);
        if is_open_cut {
            // First, for whoever is killed in the middle finds by the days alone that there is something to cut.
            self.renew_open()?;
        }
        for day in &gone {
            self.give_up(*day)?;
        }
        self.keep_erasures(&gone)?;
        if is_open_cut {
            self.catch_up()?;
        }
        Ok(gone)
    }

    /// Days go that are to be read again. Whoever fills the store is told so first: what they ask this thread comes behind it, and
    /// whoever asks rows knows by it that some may be missing.
    fn days_go(&self) {
        self.shared.begin_edition();
        self.look_again();
    }

    fn look_again(&self) {
        self.shared.given_up.send_modify(|count| *count += 1);
    }

    /// Removes a day's file. Whoever reads it reads on: its pages are there until the last reader closes it.
    fn give_up(&mut self, day: Day) -> Result<(), StoreError> {
        self.days.remove(&day);
        self.failures.remove(&day);
        // A file that is made again gets its cache like every other.
        self.hot = self.hot.filter(|hot| *hot != day);
        self.shared.vanished(day);
        let path = schema::day_path(&self.shared.folder, day);
        schema::remove(&path).map_err(|error| failed_at(&path, &error))
    }
}

// === impl AskedFile ===

impl AskedFile {
    /// Where it is.
    pub(super) fn path(self, folder: &Path) -> PathBuf {
        self.day.map_or_else(|| schema::open_path(folder), |day| schema::day_path(folder, day))
    }
}

fn cool(connection: &Connection) -> rusqlite::Result<()> {
    schema::set_cache(connection, COLD_BYTES)?;
    connection.execute_batch("PRAGMA shrink_memory")
}

fn failed_at(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Failed { reason: format!("{}: {error}", path.display()) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use parking_lot::RwLock;
    use schemas::ids::ApplicationId;
    use tokio::sync::watch;
    use uuid::Uuid;

    use super::damage::FAILURES;
    use super::*;
    use crate::fact::{Fact, FactKind, LogRow, RowContent};
    use crate::position::Coordinates;
    use crate::sqlite::tests::numbers::plain;
    use crate::sqlite::{DayRows, ErasedEvents, lock};

    /// A writer over a folder.
    pub(super) fn writer(folder: &Path) -> StoreWriter {
        let shared = Arc::new(SharedFiles {
            folder: folder.to_owned(),
            days: RwLock::default(),
            rows: DayRows::default(),
            next_id: AtomicU64::new(1),
            open_id: AtomicU64::new(0),
            given_up: watch::Sender::new(0),
            edition: Arc::default(),
            erased: ErasedEvents::default(),
            _lock: lock(folder).unwrap(),
        });
        StoreWriter::open(shared, 1 << 20, Arc::from("all")).unwrap()
    }

    /// So many facts from an offset on, all of one time.
    pub(super) fn facts(offsets: std::ops::Range<i64>, stored_ms: i64) -> LogChunk {
        let application = Some(ApplicationId(Uuid::from_u128(1)));
        let row = |offset| {
            let fact = plain(FactKind::Repeat, Coordinates { partition: 0, offset }, stored_ms);
            let detail = Some("d".repeat(1_000));
            LogRow { offset, stored_ms, content: RowContent::Fact(Box::new(Fact { application, detail, ..fact })) }
        };
        LogChunk { partition: 0, offsets: offsets.clone(), rows: offsets.map(row).collect() }
    }

    #[test]
    fn a_day_whose_file_cannot_be_used_is_made_again_after_some_failures_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        let days = [Day::of(0), Day::of(0).next()];
        writer.project(vec![facts(0..1, 0), facts(1..2, days[1].start_ms())]).unwrap();
        let failed = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let (broken, full) = (failed(rusqlite::ffi::SQLITE_IOERR), failed(rusqlite::ffi::SQLITE_FULL));
        for _ in 0..3 * FAILURES {
            writer.failed_day(days[0], &full).unwrap();
        }
        assert_eq!(writer.days.len(), 2, "a full disk is no file's fault");
        for _ in 1..FAILURES {
            writer.failed_day(days[0], &broken).unwrap();
        }
        writer.project(vec![facts(2..3, 0)]).unwrap();
        for _ in 1..FAILURES {
            writer.failed_day(days[0], &broken).unwrap();
        }
        assert_eq!((writer.days.len(), *writer.shared.given_up.borrow()), (2, 0), "it answered in between");
        writer.failed_day(days[0], &broken).unwrap();
        assert_eq!(writer.days.keys().copied().collect::<Vec<_>>(), [days[1]]);
        assert_eq!(*writer.shared.given_up.borrow(), 1, "it is to be read again");
        writer.project(vec![facts(0..1, 0)]).unwrap();
        assert_eq!(writer.days.len(), 2);
    }

    #[test]
    fn names_are_remembered_of_the_day_alone_that_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        for number in 0..3 {
            let (offset, stored_ms) = (number, number * 86_400_000);
            let application = Some(ApplicationId(Uuid::from_u128(1)));
            let fact = plain(FactKind::Repeat, Coordinates { partition: 0, offset }, stored_ms);
            let content = RowContent::Fact(Box::new(Fact { application, ..fact }));
            let rows = vec![LogRow { offset, stored_ms, content }];
            writer.project(vec![LogChunk { partition: 0, offsets: offset..offset + 1, rows }]).unwrap();
        }
        assert_eq!(writer.days.values().map(DayFile::names).collect::<Vec<_>>(), [0, 0, 1]);
    }
}
