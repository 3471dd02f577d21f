//! The file of what is open: deliveries that were tried and have not ended, and dead letters nobody has decided about. It outlives
//! days, so it has offsets of its own, and catches up from the rows of the days; nothing is in two files that must agree.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Transaction, params};
use schemas::ids::ApplicationId;

use super::day_file::{self, DayFile};
use super::{about, forgotten, schema};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::fact::FactKind;
use crate::place;
use crate::position::Coordinates;

/// Rows of one transaction.
const ROWS: usize = 5_000;

/// See the module.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) connection: Connection,
    covered: Coverage,
    pub(super) topic: Option<String>,
}

/// Which file failed, and how.
#[derive(Debug)]
pub(super) struct FileFailure {
    /// The day whose file it is; `None`: the file of what is open.
    pub(super) day: Option<Day>,
    pub(super) error: rusqlite::Error,
}

/// A row of a day that opens or closes a delivery, or a dead letter.
struct OpenStep {
    place: i64,
    stored_ms: i64,
    kind: u8,
    delivery: Vec<u8>,
    attempt: u32,
    application: Option<Vec<u8>>,
    subscription: Option<Vec<u8>>,
    at: i64,
    due: Option<i64>,
}

// === impl OpenFile ===

impl OpenFile {
    /// Makes the file again, with nothing in it: then the days are asked for all of it.
    pub(super) fn renew(folder: &Path) -> rusqlite::Result<Self> {
        let removed = schema::remove(&schema::open_path(folder));
        removed.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Self::open(folder)
    }

    /// Opens the file; one that is damaged or of another shape is made anew.
    pub(super) fn open(folder: &Path) -> rusqlite::Result<Self> {
        let path = schema::open_path(folder);
        let connection = match schema::open_to_write(&path, &schema::OPEN) {
            Ok(Some(connection)) => connection,
            Err(error) if !day_file::is_damaged(&error) => return Err(error),
            Ok(None) | Err(_) => {
                tracing::warn!("the delivery log's file of open deliveries cannot be read; it is made again");
                schema::remove(&path).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
                schema::open_to_write(&path, &schema::OPEN)?.ok_or(rusqlite::Error::InvalidQuery)?
            }
        };
        let covered = about::read_covered(&connection)?;
        let topic = about::read_topic(&connection)?;
        Ok(Self { connection, covered, topic })
    }

    /// Takes from the days what it has not seen of them.
    pub(super) fn catch_up(&mut self, days: &BTreeMap<Day, DayFile>, topic: Option<&str>) -> Result<(), FileFailure> {
        for (day, file) in days.iter().rev() {
            let missing: Vec<_> = file
                .covered
                .iter()
                .flat_map(|(partition, interval)| {
                    self.covered.missing(partition, interval.clone()).into_iter().map(move |it| (partition, it))
                })
                .collect();
            for (partition, interval) in missing {
                let mut next = interval.start;
                while next < interval.end {
                    next = self.take(days, *day, (partition, next, interval.end), topic)?;
                }
            }
        }
        Ok(())
    }

    /// Forgets what was open before this time: its days are gone.
    pub(super) fn forget_before(&self, ms: i64) -> rusqlite::Result<usize> {
        let letters = self.connection.execute("DELETE FROM letters WHERE stored < ?1", [ms])?;
        Ok(letters + self.connection.execute("DELETE FROM open WHERE since < ?1", [ms])?)
    }

    /// Forgets what was open of these applications before the time beside each, Unix ms.
    pub(super) fn forget_of(&self, before: &[(ApplicationId, i64)]) -> rusqlite::Result<()> {
        forgotten::remove_open(&self.connection, before)
    }

    /// Whether it was asked of offsets from these on.
    pub(super) fn covers_from(&self, ends: &BTreeMap<i32, i64>) -> bool {
        self.covered.reaches_beyond(ends)
    }

    /// Takes some rows of an interval of a day. Returns where to go on.
    fn take(
        &mut self,
        days: &BTreeMap<Day, DayFile>,
        day: Day,
        (partition, start, stop): (i32, i64, i64),
        topic: Option<&str>,
    ) -> Result<i64, FileFailure> {
        let Some(file) = days.get(&day) else { return Ok(stop) };
        let steps = steps(&file.connection, day, (partition, start, stop)).map_err(FileFailure::of(day))?;
        let next = match steps.last() {
            Some(last) if steps.len() == ROWS => place::coordinates(last.place).offset + 1,
            _ => stop,
        };
        let mut covered = self.covered.clone();
        covered.add(partition, start..next);
        let transaction = self.connection.transaction()?;
        for step in &steps {
            apply(&transaction, days, day, step)?;
        }
        about::replace_covered(&transaction, &covered, partition)?;
        about::write_topic(&transaction, topic)?;
        transaction.commit()?;
        self.covered = covered;
        self.topic = topic.map(str::to_owned);
        Ok(next)
    }
}

fn steps(
    connection: &Connection,
    day: Day,
    (partition, start, stop): (i32, i64, i64),
) -> rusqlite::Result<Vec<OpenStep>> {
    let place = |offset| place::of(Coordinates { partition, offset }).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT place, time, kind, delivery, attempt, a.uuid, s.uuid, at, due FROM facts
            LEFT JOIN ids a ON a.id = application LEFT JOIN ids s ON s.id = subscription
            WHERE place >= ?1 AND place < ?2 AND delivery IS NOT NULL AND kind IN (4, 6, 7, 8, 13, 14, 15) ORDER BY place LIMIT ?3",
    )?;
    let rows =
        statement.query_map(params![place(start), place(stop), i64::try_from(ROWS).unwrap_or(i64::MAX)], |row| {
            Ok(OpenStep {
                place: row.get(0)?,
                stored_ms: row.get::<_, i64>(1)? + day.start_ms(),
                kind: row.get(2)?,
                delivery: row.get(3)?,
                attempt: row.get::<_, Option<u32>>(4)?.unwrap_or(0),
                application: row.get(5)?,
                subscription: row.get(6)?,
                at: row.get(7)?,
                due: row.get(8)?,
            })
        })?;
    rows.collect()
}

fn apply(
    transaction: &Transaction<'_>,
    days: &BTreeMap<Day, DayFile>,
    day: Day,
    step: &OpenStep,
) -> Result<(), FileFailure> {
    if step.is(FactKind::Redriven) || step.is(FactKind::Discarded) {
        transaction.prepare_cached("DELETE FROM letters WHERE delivery = ?1")?.execute([&step.delivery])?;
        return Ok(());
    }
    if !step.is(FactKind::Attempted) {
        transaction.prepare_cached("DELETE FROM open WHERE delivery = ?1")?.execute([&step.delivery])?;
    }
    if step.is(FactKind::DeadLettered) && !is_known(days, day, step, is_settled)? {
        let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO letters VALUES(?1, ?2, ?3, ?4)")?;
        insert.execute(params![step.delivery, step.application, step.subscription, step.stored_ms])?;
    }
    if !step.is(FactKind::Attempted) || is_known(days, day, step, has_higher)? {
        return Ok(());
    }
    let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO open VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    insert.execute(params![
        step.delivery,
        step.application,
        step.subscription,
        step.attempt,
        step.stored_ms + step.at,
        step.due.map(|due| step.stored_ms + due),
        step.place,
    ])?;
    Ok(())
}

/// Whether something that came after it is known: of the same or a younger day, or of the day before, whose last records may have
/// been written by a broker with a slower clock.
fn is_known(
    days: &BTreeMap<Day, DayFile>,
    day: Day,
    step: &OpenStep,
    is_in: impl Fn(&Connection, &OpenStep) -> rusqlite::Result<bool>,
) -> Result<bool, FileFailure> {
    for (day, file) in days.range(day.minus(1)..) {
        if is_in(&file.connection, step).map_err(FileFailure::of(*day))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a day has a higher fact of the delivery.
fn has_higher(connection: &Connection, step: &OpenStep) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM facts INDEXED BY facts_by_delivery
            WHERE delivery = ?1 AND (kind IN (6, 7, 8, 13) OR kind = 4 AND attempt > ?2))",
    )?;
    statement.query_row(params![step.delivery, step.attempt], |row| row.get(0))
}

/// Whether a day has what was decided about the dead letter.
fn is_settled(connection: &Connection, step: &OpenStep) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM facts INDEXED BY facts_by_delivery WHERE delivery = ?1 AND kind IN (14, 15))",
    )?;
    statement.query_row([&step.delivery], |row| row.get(0))
}

// === impl OpenStep ===

impl OpenStep {
    fn is(&self, kind: FactKind) -> bool {
        self.kind == kind as u8
    }
}

// === impl FileFailure ===

impl FileFailure {
    /// Says of an error that it is of this day's file.
    fn of(day: Day) -> impl Fn(rusqlite::Error) -> Self {
        move |error| Self { day: Some(day), error }
    }
}

impl From<rusqlite::Error> for FileFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self { day: None, error }
    }
}
