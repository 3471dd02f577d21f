//! A folder's rows beside the process that has it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::{about, counts, erased, events, facts, forgotten, schema, targets};
use crate::day::Day;
use crate::fact::{LogRow, RowContent};
use crate::place;
use crate::position::Coordinates;
use crate::store::{StoreAnswer, StoreError};
use crate::stored::{LogCopy, RemovedContent, StoredDay, merged};

/// What a connection keeps of its file.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct LogFolder {
    folder: PathBuf,
    /// The day that was asked for last: one asks at a time.
    opened: Mutex<Option<(Day, Connection)>>,
}

// === impl LogFolder ===

impl LogFolder {
    /// Over a folder; nothing is opened yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, opened: Mutex::default() }
    }

    /// Asks a day's file, which stays as it was when it was opened though it is given up.
    fn ask<T: Send + 'static>(
        &self,
        day: Day,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> StoreAnswer<'_, T> {
        let mut opened = self.opened.lock();
        let answer = if opened.as_ref().is_some_and(|(of, _)| *of == day) {
            Ok(())
        } else {
            let path = schema::day_path(&self.folder, day);
            schema::open_to_read(&path, CACHE_BYTES).map(|connection| *opened = Some((day, connection)))
        };
        let answer = answer.and_then(|()| match opened.as_ref() {
            Some((_, connection)) => question(connection),
            None => Err(rusqlite::Error::InvalidQuery),
        });
        drop(opened);
        let answer = answer.map_err(|error| StoreError::Failed { reason: format!("{day}: {error}") });
        Box::pin(std::future::ready(answer))
    }
}

impl LogCopy for LogFolder {
    fn days(&self) -> StoreAnswer<'_, Vec<Day>> {
        let days = counts::days(&self.folder, &BTreeMap::new());
        let days = days.map(|days| days.into_iter().map(|summary| summary.day).collect());
        Box::pin(std::future::ready(days))
    }

    fn day(&self, day: Day) -> StoreAnswer<'_, StoredDay> {
        // As it stands now, whatever was opened before.
        *self.opened.lock() = None;
        self.ask(day, |connection| {
            Ok(StoredDay { covered: about::read_covered(connection)?, topic: about::read_topic(connection)? })
        })
    }

    fn rows(&self, day: Day, partition: i32, offsets: Range<i64>) -> StoreAnswer<'_, Vec<LogRow>> {
        let place = |offset| place::of(Coordinates { partition, offset }).unwrap_or(i64::MAX);
        let places = place(offsets.start)..place(offsets.end);
        self.ask(day, move |connection| {
            let row = |offset, stored_ms, content| LogRow { offset, stored_ms, content };
            let facts = facts::between(connection, day, &places)?.into_iter();
            let facts = facts.map(|it| row(it.coordinates.offset, it.stored_ms, RowContent::Fact(Box::new(it))));
            let events = events::between(connection, day, &places)?.into_iter();
            let events = events.map(|it| row(it.coordinates.offset, it.stored_ms, RowContent::Event(Box::new(it))));
            let targets = targets::between(connection, &places)?.into_iter();
            let targets = targets.map(|it| row(it.coordinates.offset, 0, RowContent::Target(Box::new(it))));
            Ok(merged([facts.collect(), events.collect(), targets.collect()]))
        })
    }

    fn removed(&self, day: Day) -> StoreAnswer<'_, RemovedContent> {
        self.ask(day, |connection| {
            let erased = erased::marks(connection)?.into_iter().map(|(event, _)| event).collect();
            let forgotten = forgotten::marks(connection)?.into_iter();
            let forgotten = forgotten.map(|(application, ms)| (application, ms.saturating_add(day.start_ms())));
            Ok(RemovedContent { erased, forgotten: forgotten.collect(), is_without_nul: false })
        })
    }
}
