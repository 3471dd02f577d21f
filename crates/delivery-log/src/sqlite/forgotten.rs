//! Rows of applications that keep their log for a shorter time than the store does: removed bit by bit, and the day says up to when.
//!
//! Rows are found by their application and time. Counts go with the day's last minute, for minutes are kept by subscription, and
//! to look for those of one application is to look at all of them.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use schemas::ids::ApplicationId;

use super::texts;
use crate::day::Day;

/// Rows that are removed at once: the writer does nothing else meanwhile.
pub(super) const ROWS: usize = 2_000;
/// Milliseconds of a day: all of its rows.
const WHOLE: i64 = 86_400_000;
/// What stands for it once the counts are gone, too.
const COUNTS_TOO: i64 = WHOLE + 1;

/// What was removed of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RemovedRows {
    /// Rows.
    pub(super) rows: usize,
    /// There are more.
    pub(super) is_more: bool,
    /// Of so many applications, the first ones, nothing is left.
    pub(super) done: usize,
}

/// What rows are kept in.
#[derive(Clone, Copy)]
enum RowTable {
    Facts,
    Events,
}

/// Up to when rows of an application were forgotten, ms of the day.
pub(super) fn marks(connection: &Connection) -> rusqlite::Result<Vec<(ApplicationId, i64)>> {
    let sql = "SELECT ids.uuid, before FROM forgotten JOIN ids ON ids.id = forgotten.application";
    let mut statement = connection.prepare_cached(sql)?;
    let marks = statement.query_map([], |row| Ok((ApplicationId(uuid::Uuid::from_bytes(row.get(0)?)), row.get(1)?)))?;
    marks.collect()
}

/// A time, Unix ms, as one of a day, before which rows of it are removed; `None`: all of them are younger.
pub(super) fn of_day(day: Day, ms: i64) -> Option<i64> {
    Some(ms.saturating_sub(day.start_ms()).min(WHOLE)).filter(|before| *before > 0)
}

/// Removes rows of these applications that are older than the time beside each, ms of the day: `most` of them, in one transaction.
/// `rows` is how many the file says that it has.
pub(super) fn remove(
    connection: &mut Connection,
    rows: u64,
    before: &[(ApplicationId, i64)],
    most: usize,
) -> rusqlite::Result<RemovedRows> {
    let transaction = connection.transaction()?;
    let mut removed = RemovedRows::default();
    for (application, before) in before {
        let Some(number) = number(&transaction, *application)? else {
            removed.done += 1;
            continue;
        };
        let before = *before;
        remember(&transaction, (number, before))?;
        for table in [RowTable::Facts, RowTable::Events] {
            removed.rows += table.remove(&transaction, (number, before), most - removed.rows)?;
        }
        if removed.rows >= most {
            removed.is_more = true;
            break;
        }
        removed.done += 1;
    }
    // Also of those that an earlier look was done with.
    if !removed.is_more {
        remove_counts(&transaction)?;
    }
    if removed.rows > 0 {
        let left = rows.saturating_sub(u64::try_from(removed.rows).unwrap_or(u64::MAX));
        super::about::write_about(&transaction, super::about::ROWS, Some(&left.to_string()))?;
    }
    transaction.commit()?;
    Ok(removed)
}

/// Removes what is open of these applications and older than the time beside each.
pub(super) fn remove_open(connection: &Connection, before: &[(ApplicationId, i64)]) -> rusqlite::Result<()> {
    let whose = "SELECT DISTINCT application FROM letters UNION SELECT DISTINCT application FROM open";
    let mut statement = connection.prepare_cached(whose)?;
    let whose = statement.query_map([], |row| row.get::<_, Option<[u8; 16]>>(0))?;
    let whose: HashSet<Option<[u8; 16]>> = whose.collect::<rusqlite::Result<_>>()?;
    for (application, before_ms) in before.iter().filter(|(id, _)| whose.contains(&Some(id.0.into_bytes()))) {
        for sql in [
            "DELETE FROM letters WHERE stored < ?2 AND application = ?1",
            "DELETE FROM open WHERE since < ?2 AND application = ?1",
        ] {
            connection.prepare_cached(sql)?.execute(params![application.0.as_bytes(), before_ms])?;
        }
    }
    Ok(())
}

/// Says up to when rows of an application are forgotten: never earlier than what was said before.
fn remember(transaction: &Transaction<'_>, (application, before): (i64, i64)) -> rusqlite::Result<()> {
    let known: Option<i64> = transaction
        .prepare_cached("SELECT before FROM forgotten WHERE application = ?1")?
        .query_row([application], |row| row.get(0))
        .optional()?;
    match known {
        Some(known) if known >= before => Ok(()),
        Some(_) | None => {
            let mut write = transaction.prepare_cached("INSERT OR REPLACE INTO forgotten VALUES(?1, ?2)")?;
            write.execute([application, before]).map(drop)
        }
    }
}

fn remove_counts(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let whole = format!("SELECT application FROM forgotten WHERE before = {WHOLE}");
    for table in ["buckets", "accepted"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE application IN ({whole})"), [])?;
    }
    transaction.execute("UPDATE forgotten SET before = ?1 WHERE before = ?2", [COUNTS_TOO, WHOLE]).map(drop)
}

fn number(transaction: &Transaction<'_>, ApplicationId(id): ApplicationId) -> rusqlite::Result<Option<i64>> {
    let mut find = transaction.prepare_cached("SELECT id FROM ids WHERE uuid = ?1")?;
    find.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

// === impl RowTable ===

impl RowTable {
    fn remove(
        self,
        transaction: &Transaction<'_>,
        (application, before): (i64, i64),
        most: usize,
    ) -> rusqlite::Result<usize> {
        let table = match self {
            Self::Facts => "facts",
            Self::Events => "events",
        };
        // The same ones both times: the first of the index.
        let first = format!(
            "FROM {table} INDEXED BY {table}_by_application WHERE application = ?1 AND time < ?2 ORDER BY time, place LIMIT ?3"
        );
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let of: &[&dyn rusqlite::ToSql] = &[&application, &before, &most];
        texts::overwrite(transaction, &format!("SELECT text {first}"), of)?;
        transaction.prepare_cached(&format!("DELETE FROM {table} WHERE place IN (SELECT place {first})"))?.execute(of)
    }
}
