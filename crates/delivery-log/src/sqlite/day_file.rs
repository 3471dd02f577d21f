//! A day's file as its writer sees it: rows, the minutes they count in, and which offsets they are of, in one transaction.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use uuid::Uuid;

use super::schema::{self, place};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::fact::{Fact, FactKind, LogRow, LoggedEvent, RowContent};
use crate::histogram::Histogram;
use crate::position::Coordinates;
use crate::split::DayPart;
use crate::store::Projected;

/// Names that are remembered; beyond it all are looked up again.
const MAX_NAMES: usize = 100_000;
/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

/// See the module.
#[derive(Debug)]
pub(super) struct DayFile {
    pub(super) connection: Connection,
    pub(super) covered: Coverage,
    pub(super) topic: Option<String>,
    day: Day,
    names: NewNames,
}

/// Numbers of the day's words and ids.
#[derive(Debug, Default)]
struct NewNames {
    words: HashMap<String, i64>,
    ids: HashMap<Uuid, i64>,
}

/// What new rows add to the minutes of subscriptions and to the events of applications.
#[derive(Default)]
struct NewCounts {
    minutes: BTreeMap<(i64, i64), Minute>,
    events: BTreeMap<i64, i64>,
}

#[derive(Default)]
struct Minute {
    delivered: i64,
    retried: i64,
    dead_lettered: i64,
    cancelled: i64,
    latency: Histogram,
}

// === impl DayFile ===

impl DayFile {
    pub(super) fn new(day: Day, connection: Connection) -> rusqlite::Result<Self> {
        let covered = read_covered(&connection)?;
        let topic = read_topic(&connection)?;
        Ok(Self { connection, covered, topic, day, names: NewNames::default() })
    }

    /// Takes rows and covers their offsets.
    pub(super) fn take(&mut self, work: &DayPart, topic: Option<&str>) -> rusqlite::Result<Projected> {
        let mut covered = self.covered.clone();
        work.covered.iter().for_each(|(partition, offsets)| covered.add(*partition, offsets.clone()));
        if self.names.words.len() + self.names.ids.len() > MAX_NAMES {
            self.names = NewNames::default();
        }
        let transaction = self.connection.transaction()?;
        let taken = take_rows(&transaction, self.day, &mut self.names, &work.rows)
            .and_then(|projected| write_covered(&transaction, &covered, work).map(|()| projected))
            .and_then(|projected| write_topic(&transaction, topic).map(|()| projected))
            .and_then(|projected| transaction.commit().map(|()| projected));
        match taken {
            Ok(projected) => {
                self.covered = covered;
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
    day: Day,
    names: &mut NewNames,
    rows: &[(i32, LogRow)],
) -> rusqlite::Result<Projected> {
    let (mut projected, mut counted) = (Projected::default(), NewCounts::default());
    for (partition, row) in rows {
        let Some(place) = place(Coordinates { partition: *partition, offset: row.offset }) else { continue };
        let is_new = match &row.content {
            RowContent::Fact(fact) => insert_fact(transaction, day, place, names, fact, &mut counted)?,
            RowContent::Event(event) => insert_event(transaction, day, place, names, event, &mut counted)?,
            RowContent::Nothing => continue,
        };
        if is_new {
            projected.new += 1;
        } else {
            projected.known += 1;
        }
    }
    counted.write(transaction)?;
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
        fact.detail,
    ])?;
    if inserted > 0
        && let Some(subscription) = subscription
    {
        counted.fact(subscription, (stored - day.start_ms()) / MINUTE, fact);
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
    let application = names.id(transaction, Some(event.application.0))?;
    let event_type = names.word(transaction, Some(&event.event_type))?;
    let content_type = names.word(transaction, event.content_type.as_deref())?;
    let origin = event.origin.as_ref();
    let topic = names.word(transaction, origin.map(|it| it.topic.as_str()))?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO events VALUES(
            ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
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
        event.occurred_at,
        event.labels,
        event.metadata,
        event.ip,
        event.detail,
        event.subscriptions,
        event.control_offset,
    ])?;
    if inserted > 0
        && let Some(application) = application
    {
        *counted.events.entry(application).or_default() += 1;
    }
    Ok(inserted > 0)
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

// === impl NewCounts ===

impl NewCounts {
    fn fact(&mut self, subscription: i64, minute: i64, fact: &Fact) {
        let mut count = |add: fn(&mut Minute) -> &mut i64| {
            *add(self.minutes.entry((subscription, minute)).or_default()) += 1;
        };
        match fact.kind {
            FactKind::Delivered => count(|it| &mut it.delivered),
            FactKind::Attempted => count(|it| &mut it.retried),
            FactKind::DeadLettered => count(|it| &mut it.dead_lettered),
            FactKind::Cancelled => count(|it| &mut it.cancelled),
            // Somebody asked for an attempt, which says how long its endpoint takes and nothing about what it misses.
            FactKind::TriedOnce => {}
            FactKind::Repeat
            | FactKind::Rejected
            | FactKind::FilterFailed
            | FactKind::Parked
            | FactKind::EndpointGone
            | FactKind::Failing
            | FactKind::Recovered
            | FactKind::Undeclared
            | FactKind::Redriven
            | FactKind::Discarded => return,
        }
        if let Some(exchange) = &fact.exchange {
            self.minutes.entry((subscription, minute)).or_default().latency.record(exchange.elapsed_ms);
        }
    }

    fn write(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut find =
            transaction.prepare_cached("SELECT latency FROM buckets WHERE subscription = ?1 AND minute = ?2")?;
        let mut add = transaction.prepare_cached(
            "INSERT INTO buckets VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
                delivered = delivered + ?3, retried = retried + ?4, dead_lettered = dead_lettered + ?5,
                cancelled = cancelled + ?6, latency = ?7",
        )?;
        for ((subscription, minute), mut new) in self.minutes {
            let known: Option<Vec<u8>> = find.query_row([subscription, minute], |row| row.get(0)).optional()?;
            if let Some(known) = known.as_deref().and_then(Histogram::decode) {
                new.latency.merge(&known);
            }
            let counts = (new.delivered, new.retried, new.dead_lettered, new.cancelled);
            let latency = new.latency.encode();
            add.execute(params![subscription, minute, counts.0, counts.1, counts.2, counts.3, latency])?;
        }
        let mut add = transaction
            .prepare_cached("INSERT INTO accepted VALUES(?1, ?2) ON CONFLICT DO UPDATE SET events = events + ?2")?;
        for (application, events) in self.events {
            add.execute([application, events])?;
        }
        Ok(())
    }
}

/// The intervals that a file says it covers.
pub(super) fn read_covered(connection: &Connection) -> rusqlite::Result<Coverage> {
    let mut covered = Coverage::default();
    let mut statement = connection.prepare("SELECT partition, start, stop FROM covered")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        covered.add(row.get(0)?, row.get(1)?..row.get(2)?);
    }
    Ok(covered)
}

/// Writes anew what is covered of the partitions that have changed.
fn write_covered(transaction: &Transaction<'_>, covered: &Coverage, work: &DayPart) -> rusqlite::Result<()> {
    let mut partitions: Vec<i32> = work.covered.iter().map(|(partition, _)| *partition).collect();
    partitions.dedup();
    partitions.into_iter().try_for_each(|partition| replace_covered(transaction, covered, partition))
}

/// Writes anew what is covered of a partition.
pub(super) fn replace_covered(
    transaction: &Transaction<'_>,
    covered: &Coverage,
    partition: i32,
) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM covered WHERE partition = ?1")?.execute([partition])?;
    let mut insert = transaction.prepare_cached("INSERT INTO covered VALUES(?1, ?2, ?3)")?;
    for interval in covered.of(partition) {
        insert.execute(params![partition, interval.start, interval.end])?;
    }
    Ok(())
}

/// Which topic a file is of.
pub(super) fn read_topic(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM about WHERE key = 'topic'", [], |row| row.get(0)).optional()
}

/// Says which topic a file is of.
pub(super) fn write_topic(transaction: &Transaction<'_>, topic: Option<&str>) -> rusqlite::Result<()> {
    let Some(topic) = topic else { return Ok(()) };
    transaction.prepare_cached("INSERT OR REPLACE INTO about VALUES('topic', ?1)")?.execute([topic])?;
    Ok(())
}

/// Opens a day's file to write; one that is damaged or of another shape is made anew.
pub(super) fn open(folder: &std::path::Path, day: Day) -> rusqlite::Result<DayFile> {
    let path = schema::day_path(folder, day);
    let opened = schema::open_to_write(&path, schema::DAY)
        .and_then(|connection| connection.map(|it| DayFile::new(day, it)).transpose());
    match opened {
        Ok(Some(file)) => return Ok(file),
        Ok(None) => {
            tracing::warn!(%day, "the file of this day of the delivery log has another shape; it is made again");
        }
        Err(error) if is_damaged(&error) => {
            tracing::warn!(%day, %error, "the file of this day of the delivery log is damaged; it is made again");
        }
        Err(error) => return Err(error),
    }
    schema::remove(&path).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let connection = schema::open_to_write(&path, schema::DAY)?.ok_or(rusqlite::Error::InvalidQuery)?;
    DayFile::new(day, connection)
}

/// Whether a file is no database any more.
pub(super) fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}
