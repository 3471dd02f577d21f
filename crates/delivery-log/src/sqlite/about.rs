//! What a file says about itself: which offsets it covers, the topic that it is of, and what was passed over in it.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::coverage::Coverage;

/// The topic that the file is of.
const TOPIC: &str = "topic";
/// How many rows the file has.
pub(super) const ROWS: &str = "rows";
/// What the build keeps that passed over rows of the file.
pub(super) const PASSED: &str = "passed";

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
pub(super) fn write_covered(
    transaction: &Transaction<'_>,
    covered: &Coverage,
    changed: &[(i32, Range<i64>)],
) -> rusqlite::Result<()> {
    let mut partitions: Vec<i32> = changed.iter().map(|(partition, _)| *partition).collect();
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
    read_about(connection, TOPIC)
}

/// Says which topic a file is of.
pub(super) fn write_topic(transaction: &Transaction<'_>, topic: Option<&str>) -> rusqlite::Result<()> {
    write_about(transaction, TOPIC, topic)
}

pub(super) fn read_about(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM about WHERE key = ?1", [key], |row| row.get(0)).optional()
}

pub(super) fn write_about(transaction: &Transaction<'_>, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
    let Some(value) = value else { return Ok(()) };
    transaction.prepare_cached("INSERT OR REPLACE INTO about VALUES(?1, ?2)")?.execute([key, value])?;
    Ok(())
}

/// Nothing of the file is covered any more. Its rows stay: what is read again is known then.
pub(super) fn forget_covered(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM covered", [])?;
    transaction.execute("DELETE FROM about WHERE key = ?1", [PASSED])?;
    transaction.commit()
}
