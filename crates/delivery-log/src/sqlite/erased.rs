//! Erased events: their content leaves the rows of every day, and each day remembers which of its events they are, so that an
//! erasure outlives the day of its record. What is taken later of such an event comes without content.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::texts;

/// Events that a file knows to be erased, and whether that was carried out in all files.
pub(super) fn marks(connection: &Connection) -> rusqlite::Result<Vec<(Uuid, bool)>> {
    let mut statement = connection.prepare_cached("SELECT event, is_applied FROM erased")?;
    let marks = statement.query_map([], |row| Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?)))?;
    marks.collect()
}

/// Remembers that an event is erased. `is_applied`: no other file has content of it.
pub(super) fn mark(connection: &Connection, event: Uuid, is_applied: bool) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO erased VALUES(?1, ?2)")?;
    insert.execute(params![event.as_bytes(), is_applied])?;
    Ok(())
}

/// No file has content of the events any more that this one remembers.
pub(super) fn all_applied(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE erased SET is_applied = 1 WHERE is_applied = 0", []).map(drop)
}

/// Takes the content of an event out of a file. Returns whether the file has rows of it: then it remembers the event, as one of which
/// other files may still have content, until [`all_applied`].
pub(super) fn clear(connection: &mut Connection, event: Uuid) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let of_event: &[&dyn rusqlite::ToSql] = &[event.as_bytes()];
    texts::overwrite(&transaction, "SELECT text FROM events INDEXED BY events_by_uuid WHERE uuid = ?1", of_event)?;
    texts::overwrite(&transaction, "SELECT text FROM facts INDEXED BY facts_by_event WHERE event = ?1", of_event)?;
    let events = transaction
        .prepare_cached("UPDATE events INDEXED BY events_by_uuid SET text = NULL WHERE uuid = ?1")?
        .execute(of_event)?;
    let facts = transaction
        .prepare_cached("UPDATE facts INDEXED BY facts_by_event SET text = NULL WHERE event = ?1")?
        .execute(of_event)?;
    let is_here = events + facts > 0;
    if is_here {
        mark(&transaction, event, false)?;
    }
    transaction.commit()?;
    Ok(is_here)
}
