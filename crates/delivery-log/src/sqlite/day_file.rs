//! A day's file as its writer sees it: rows, the minutes they count in, and which offsets they are of, in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};
use schemas::ids::ApplicationId;
use uuid::Uuid;

use super::about::{self, PASSED, ROWS};
use super::erased;
use super::forgotten::{self, RemovedRows};
use super::schema;
use super::texts::RowTexts;
use super::{tally, targets};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::erasure;
use crate::fact::{Fact, LogRow, LoggedEvent, RowContent};
use crate::place;
use crate::position::Coordinates;
use crate::split::DayPart;
use crate::store::Projected;
use crate::tally::NewCounts;

/// Names that are remembered; beyond it all are looked up again.
const MAX_NAMES: usize = 100_000;
/// How often a file is tried that the disk does not give.
const TRIES: u32 = 3;
/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

/// See the module.
#[derive(Debug)]
pub(super) struct DayFile {
    pub(super) connection: Connection,
    pub(super) covered: Coverage,
    pub(super) topic: Option<String>,
    day: Day,
    /// What this build keeps.
    kept: Arc<str>,
    /// It holds rows that this build passed over, and says so.
    has_passed: bool,
    /// Rows that it has.
    pub(super) rows: u64,
    /// Another build had passed over rows of it that this one may keep: it covers nothing any more, until it is read again.
    pub(super) is_read_again: bool,
    /// Up to when, ms of the day, nothing of an application is left, as was found since rows last came.
    gone: HashMap<ApplicationId, i64>,
    names: NewNames,
}

/// What a store knows of erased events.
pub(super) struct ErasedInStore<'e> {
    /// All of them.
    pub(super) all: &'e HashSet<Uuid>,
    /// Those of which other files may still have content.
    pub(super) fresh: &'e HashSet<Uuid>,
}

/// Numbers of the day's words and ids.
#[derive(Debug, Default)]
struct NewNames {
    words: HashMap<String, i64>,
    ids: HashMap<Uuid, i64>,
}

// === impl DayFile ===

impl DayFile {
    /// Over an open file; `kept` is what this build keeps.
    pub(super) fn new(day: Day, mut connection: Connection, kept: Arc<str>) -> rusqlite::Result<Self> {
        let passed = about::read_about(&connection, PASSED)?;
        let is_read_again = passed.as_deref().is_some_and(|passed| *passed != *kept);
        if is_read_again {
            about::forget_covered(&mut connection)?;
        }
        let covered = about::read_covered(&connection)?;
        let topic = about::read_topic(&connection)?;
        let rows = about::read_about(&connection, ROWS)?.and_then(|rows| rows.parse().ok()).unwrap_or(0);
        let (has_passed, names) = (passed.is_some() && !is_read_again, NewNames::default());
        let gone = HashMap::new();
        Ok(Self { connection, covered, topic, day, kept, has_passed, rows, is_read_again, gone, names })
    }

    /// Forgets the numbers of words and ids, which take the more memory the more there are: they are looked up again.
    pub(super) fn forget_names(&mut self) {
        self.names = NewNames::default();
    }

    /// Numbers that it remembers.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        self.names.words.len() + self.names.ids.len()
    }

    /// Remembers that events are erased; of those that are fresh other files may still have content.
    pub(super) fn remember(&mut self, events: &[Uuid], fresh: &HashSet<Uuid>) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        events.iter().try_for_each(|event| erased::mark(&transaction, *event, !fresh.contains(event)))?;
        transaction.commit()
    }

    /// Removes so many rows of these applications that are older than the time beside each, Unix ms.
    pub(super) fn forget(&mut self, before: &[(ApplicationId, i64)], most: usize) -> rusqlite::Result<RemovedRows> {
        let of_day = |(application, ms): &(ApplicationId, i64)| {
            let before = forgotten::of_day(self.day, *ms)?;
            let is_left = self.gone.get(application).is_none_or(|gone| *gone < before);
            is_left.then_some((*application, before))
        };
        let left: Vec<(ApplicationId, i64)> = before.iter().filter_map(of_day).collect();
        if left.is_empty() {
            return Ok(RemovedRows::default());
        }
        let removed = forgotten::remove(&mut self.connection, self.rows, &left, most)?;
        self.rows = self.rows.saturating_sub(u64::try_from(removed.rows).unwrap_or(u64::MAX));
        self.gone.extend(left.into_iter().take(removed.done));
        Ok(removed)
    }

    /// Takes rows and covers their offsets; those of erased events come without content.
    pub(super) fn take(
        &mut self,
        work: DayPart,
        topic: Option<&str>,
        erased: &ErasedInStore<'_>,
    ) -> rusqlite::Result<Projected> {
        let mut covered = self.covered.clone();
        work.covered.iter().for_each(|(partition, offsets)| covered.add(*partition, offsets.clone()));
        if self.names.words.len() + self.names.ids.len() > MAX_NAMES {
            self.names = NewNames::default();
        }
        let passes = work.rows.iter().any(|(_, row)| matches!(row.content, RowContent::Nothing));
        let passed = (passes && !self.has_passed).then_some(&*self.kept);
        let transaction = self.connection.transaction()?;
        let taken = take_rows(&transaction, (self.day, erased), &mut self.names, work.rows).and_then(|projected| {
            about::write_covered(&transaction, &covered, &work.covered)?;
            about::write_topic(&transaction, topic)?;
            about::write_about(&transaction, PASSED, passed)?;
            about::write_about(&transaction, ROWS, Some(&(self.rows + projected.new).to_string()))?;
            transaction.commit()?;
            Ok(projected)
        });
        match taken {
            Ok(projected) => {
                self.covered = covered;
                self.rows += projected.new;
                if projected.new > 0 {
                    self.gone.clear();
                }
                self.has_passed |= passes;
                self.topic = topic.map(str::to_owned);
                Ok(projected)
            }
            Err(error) => {
                // Numbers that were given in the transaction are not in the file.
                self.names = NewNames::default();
                Err(error)
            }
        }
    }
}

fn take_rows(
    transaction: &Transaction<'_>,
    (day, erased): (Day, &ErasedInStore<'_>),
    names: &mut NewNames,
    rows: Vec<(i32, LogRow)>,
) -> rusqlite::Result<Projected> {
    let (mut projected, mut counted) = (Projected::default(), NewCounts::default());
    for (partition, row) in rows {
        let Some(place) = place::of(Coordinates { partition, offset: row.offset }) else { continue };
        let (row, event) = erasure::without_content(row, erased.all);
        if let Some(event) = event {
            // Also the row that says so comes here: what it asks for is carried out in the other files behind it.
            erased::mark(transaction, event, !erased.fresh.contains(&event))?;
        }
        let is_new = match &row.content {
            RowContent::Fact(fact) => insert_fact(transaction, day, place, names, fact, &mut counted)?,
            RowContent::Event(event) => insert_event(transaction, day, place, names, event, &mut counted)?,
            RowContent::Target(target) => {
                let application = names.id(transaction, Some(target.application.0))?;
                let subscription = names.id(transaction, Some(target.subscription.0))?;
                targets::insert(transaction, place, (application, subscription), target)?
            }
            RowContent::Nothing => continue,
        };
        if is_new {
            projected.new += 1;
        } else {
            projected.known += 1;
        }
    }
    tally::write(counted, transaction)?;
    Ok(projected)
}

fn insert_fact(
    transaction: &Transaction<'_>,
    day: Day,
    place: i64,
    names: &mut NewNames,
    fact: &Fact,
    counted: &mut NewCounts,
) -> rusqlite::Result<bool> {
    let texts = RowTexts::of_fact(fact);
    if !texts.is_empty() && is_there(transaction, "facts", place)? {
        return Ok(false);
    }
    let text = texts.append(transaction)?;
    let stored = fact.stored_ms;
    let exchange = fact.exchange.as_ref();
    let application = names.id(transaction, fact.application.map(|id| id.0))?;
    let subscription = names.id(transaction, fact.subscription.map(|id| id.0))?;
    let event_type = names.word(transaction, fact.event_type.as_deref())?;
    let made_by = names.word(transaction, fact.made_by.as_deref())?;
    let error = names.word(transaction, exchange.and_then(|it| it.error.as_deref()))?;
    let reason = names.word(transaction, fact.reason.as_deref())?;
    let dialled = names.word(transaction, exchange.and_then(|it| it.to.as_deref()))?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO facts VALUES(
            ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
    )?;
    let inserted = insert.execute(params![
        place,
        stored - day.start_ms(),
        fact.kind as u8,
        application,
        fact.event.as_ref().map(Uuid::as_bytes),
        event_type,
        subscription,
        fact.delivery.as_ref().map(|id| id.0.as_bytes()),
        fact.generation.as_ref().map(Uuid::as_bytes),
        made_by,
        fact.attempt,
        fact.at_ms.saturating_sub(stored),
        fact.accepted_ms.map(|ms| ms.saturating_sub(stored)),
        fact.due_ms.map(|ms| ms.saturating_sub(stored)),
        exchange.map(|it| it.started_ms.saturating_sub(stored)),
        exchange.map(|it| it.elapsed_ms),
        exchange.and_then(|it| it.first_byte_ms),
        exchange.and_then(|it| it.status),
        error,
        reason,
        dialled,
        fact.record.map(|it| it.partition),
        fact.record.map(|it| it.offset),
        text,
    ])?;
    if inserted > 0
        && let Some(owners) = subscription.zip(application)
    {
        counted.fact(owners, (stored - day.start_ms()) / MINUTE, fact);
    }
    Ok(inserted > 0)
}

fn insert_event(
    transaction: &Transaction<'_>,
    day: Day,
    place: i64,
    names: &mut NewNames,
    event: &LoggedEvent,
    counted: &mut NewCounts,
) -> rusqlite::Result<bool> {
    let texts = RowTexts::of_event(event);
    if !texts.is_empty() && is_there(transaction, "events", place)? {
        return Ok(false);
    }
    let text = texts.append(transaction)?;
    let application = names.id(transaction, Some(event.application.0))?;
    let event_type = names.word(transaction, Some(&event.event_type))?;
    let content_type = names.word(transaction, event.content_type.as_deref())?;
    let origin = event.origin.as_ref();
    let topic = names.word(transaction, origin.map(|it| it.topic.as_str()))?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO events VALUES(
            ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?;
    let inserted = insert.execute(params![
        place,
        event.accepted_ms.saturating_sub(day.start_ms()),
        event.stored_ms - day.start_ms(),
        application,
        event.uuid.as_bytes(),
        event.id,
        event.source,
        event_type,
        event.at_ms.saturating_sub(event.stored_ms),
        topic,
        origin.map(|it| it.partition),
        origin.map(|it| it.offset),
        event.matched,
        i64::try_from(event.payload_bytes).unwrap_or(i64::MAX),
        content_type,
        text,
        event.subscriptions,
        event.control_offset,
    ])?;
    if inserted > 0
        && let Some(application) = application
    {
        counted.event(application);
    }
    Ok(inserted > 0)
}

/// Whether a table has a row of this place: its texts are there, too.
fn is_there(transaction: &Transaction<'_>, table: &str, place: i64) -> rusqlite::Result<bool> {
    let sql = format!("SELECT EXISTS(SELECT 1 FROM {table} WHERE place = ?1)");
    transaction.prepare_cached(&sql)?.query_row([place], |row| row.get(0))
}

// === impl NewNames ===

impl NewNames {
    fn word(&mut self, transaction: &Transaction<'_>, word: Option<&str>) -> rusqlite::Result<Option<i64>> {
        let Some(word) = word else { return Ok(None) };
        if let Some(number) = self.words.get(word) {
            return Ok(Some(*number));
        }
        transaction.prepare_cached("INSERT OR IGNORE INTO words(word) VALUES(?1)")?.execute([word])?;
        let mut find = transaction.prepare_cached("SELECT id FROM words WHERE word = ?1")?;
        let number = find.query_row([word], |row| row.get(0))?;
        self.words.insert(word.to_owned(), number);
        Ok(Some(number))
    }

    fn id(&mut self, transaction: &Transaction<'_>, id: Option<Uuid>) -> rusqlite::Result<Option<i64>> {
        let Some(id) = id else { return Ok(None) };
        if let Some(number) = self.ids.get(&id) {
            return Ok(Some(*number));
        }
        transaction.prepare_cached("INSERT OR IGNORE INTO ids(uuid) VALUES(?1)")?.execute([id.as_bytes()])?;
        let mut find = transaction.prepare_cached("SELECT id FROM ids WHERE uuid = ?1")?;
        let number = find.query_row([id.as_bytes()], |row| row.get(0))?;
        self.ids.insert(id, number);
        Ok(Some(number))
    }
}

/// Opens a day's file to write; one that is damaged, of another shape or not to be used is made anew: one day of many is no reason to have
/// none. `kept` is what this build keeps.
pub(super) fn open(folder: &std::path::Path, day: Day, kept: &Arc<str>) -> rusqlite::Result<DayFile> {
    let path = schema::day_path(folder, day);
    let try_it = || {
        schema::open_to_write(&path, &schema::DAY)
            .and_then(|connection| connection.map(|it| DayFile::new(day, it, Arc::clone(kept))).transpose())
    };
    let mut opened = try_it();
    for _ in 1..TRIES {
        if opened.as_ref().is_err_and(is_broken) {
            opened = try_it();
        }
    }
    match opened {
        Ok(Some(file)) => return Ok(file),
        Ok(None) => {
            tracing::warn!(%day, "the file of this day of the delivery log has another shape; it is made again");
        }
        Err(error) if is_damaged(&error) => {
            tracing::warn!(%day, %error, "the file of this day of the delivery log is damaged; it is made again");
        }
        Err(error) if is_broken(&error) || schema::is_unusable(&path) => {
            tracing::warn!(path = %path.display(), %error, "this file of the delivery log cannot be used; its day is made again");
        }
        Err(error) => return Err(error),
    }
    schema::set_aside(&path).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let connection = schema::open_to_write(&path, &schema::DAY)?.ok_or(rusqlite::Error::InvalidQuery)?;
    DayFile::new(day, connection, Arc::clone(kept))
}

/// Whether the disk does not give what a file has.
fn is_broken(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure)
}

/// Whether a file is no database any more.
pub(super) fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}
