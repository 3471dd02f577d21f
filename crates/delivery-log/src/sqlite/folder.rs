//! A folder's rows beside the process that has it: read only, for whoever compares them with the topic.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::Connection;
use schemas::ids::ApplicationId;
use uuid::Uuid;

use super::{about, counts, erased, events, facts, failed, forgotten, schema, targets};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::fact::{LogRow, RowContent};
use crate::position::Coordinates;
use crate::store::StoreError;

/// What a connection keeps of its file.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct LogFolder(PathBuf);

/// A day as it stood when it was opened: what it covers then is not written again.
#[derive(Debug)]
pub struct StoredDay {
    day: Day,
    /// One asks at a time.
    connection: Mutex<Connection>,
    covered: Coverage,
    topic: Option<String>,
}

// === impl LogFolder ===

impl LogFolder {
    /// Over a folder; nothing is opened yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The days that are there, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn days(&self) -> Result<Vec<Day>, StoreError> {
        Ok(counts::days(&self.0, &BTreeMap::new())?.into_iter().map(|summary| summary.day).collect())
    }

    /// Opens a day.
    ///
    /// # Errors
    /// It is gone, or cannot be read.
    pub fn day(&self, day: Day) -> Result<StoredDay, StoreError> {
        let open = || {
            let connection = schema::open_to_read(&schema::day_path(&self.0, day), CACHE_BYTES)?;
            let (covered, topic) = (about::read_covered(&connection)?, about::read_topic(&connection)?);
            Ok(StoredDay { day, connection: Mutex::new(connection), covered, topic })
        };
        open().map_err(|error: rusqlite::Error| StoreError::Failed { reason: format!("{day}: {error}") })
    }
}

// === impl StoredDay ===

impl StoredDay {
    /// Which offsets were read into it.
    #[must_use]
    pub fn covered(&self) -> &Coverage {
        &self.covered
    }

    /// The topic that it is of, as [`crate::DeliveryStore::bind`] was told.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// Its rows of these offsets of a partition, in order, without those that say nothing. A target's time is not kept.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rows(&self, partition: i32, offsets: Range<i64>) -> Result<Vec<LogRow>, StoreError> {
        let place = |offset| schema::place(Coordinates { partition, offset }).unwrap_or(i64::MAX);
        let places = place(offsets.start)..place(offsets.end);
        let connection = self.connection.lock();
        let facts = facts::between(&connection, self.day, &places).map_err(failed)?;
        let events = events::between(&connection, self.day, &places).map_err(failed)?;
        let targets = targets::between(&connection, &places).map_err(failed)?;
        drop(connection);
        let row = |offset, stored_ms, content| LogRow { offset, stored_ms, content };
        let facts =
            facts.into_iter().map(|it| row(it.coordinates.offset, it.stored_ms, RowContent::Fact(Box::new(it))));
        let events =
            events.into_iter().map(|it| row(it.coordinates.offset, it.stored_ms, RowContent::Event(Box::new(it))));
        let targets = targets.into_iter().map(|it| row(it.coordinates.offset, 0, RowContent::Target(Box::new(it))));
        let mut rows: Vec<LogRow> = facts.chain(events).chain(targets).collect();
        rows.sort_unstable_by_key(|row| row.offset);
        Ok(rows)
    }

    /// Rows without those that the day says are forgotten, and without the content of events that it says are erased. Asked behind
    /// [`Self::rows`], and of the topic's rows too, it makes both the same: what is gone does not come back.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn without_removed(&self, rows: Vec<LogRow>) -> Result<Vec<LogRow>, StoreError> {
        let connection = self.connection.lock();
        let erased: HashSet<Uuid> =
            erased::marks(&connection).map_err(failed)?.into_iter().map(|(event, _)| event).collect();
        let forgotten: HashMap<ApplicationId, i64> =
            forgotten::marks(&connection).map_err(failed)?.into_iter().collect();
        drop(connection);
        let is_kept = |row: &LogRow| {
            let of = whose(row).and_then(|(application, ms)| Some((ms, forgotten.get(&application)?)));
            of.is_none_or(|(ms, before)| ms.saturating_sub(self.day.start_ms()) >= *before)
        };
        let rows = rows.into_iter().filter(is_kept);
        Ok(rows.map(|row| erased::without_content(row, &erased).0).collect())
    }
}

/// The application that a row is forgotten with, and the time that decides when.
fn whose(row: &LogRow) -> Option<(ApplicationId, i64)> {
    match &row.content {
        RowContent::Fact(fact) => Some((fact.application?, row.stored_ms)),
        RowContent::Event(event) => Some((event.application, event.accepted_ms)),
        RowContent::Target(_) | RowContent::Nothing => None,
    }
}
