//! A folder's rows beside the process that has it: read only, for whoever compares them with the topic.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::{about, counts, events, facts, failed, schema, targets};
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
}
