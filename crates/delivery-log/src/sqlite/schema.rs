//! The shape of the files: one for each day, and one for what is open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::clock;
use rusqlite::{Connection, OpenFlags};

use crate::day::Day;
use crate::fact::{FactKind, Kinds};

/// What a file holds. One with another shape is thrown away and made again.
pub(super) struct FileShape {
    number: i64,
    tables: &'static str,
}

/// A write-ahead log that has grown beyond this is brought into its file and cut, bytes.
pub(super) const WAL_BYTES: u64 = 64 * 1024 * 1024;
/// How long a connection waits for a lock; none is held for long.
const BUSY: Duration = Duration::from_secs(2);

/// Tables of a day. Times of a row are relative: `time` to the day's beginning, all others to the record's own time, so that they
/// take few bytes. Words, ids and texts are numbers of the day. Minutes are counted for each subscription, and for its application; what has
/// ended, for each generation and subscription. Of which of its events the content was erased, and up to when rows of an application were forgotten, says the day itself.
pub(super) const DAY: FileShape = FileShape { number: 9, tables: DAY_TABLES };
const DAY_TABLES: &str = "
    CREATE TABLE about(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE covered(partition INTEGER, start INTEGER, stop INTEGER NOT NULL, PRIMARY KEY(partition, start)) WITHOUT ROWID;
    CREATE TABLE words(id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
    CREATE TABLE ids(id INTEGER PRIMARY KEY, uuid BLOB NOT NULL UNIQUE);
    CREATE TABLE texts(
        number INTEGER PRIMARY KEY, occurred_at TEXT, labels TEXT, metadata TEXT, ip TEXT, detail TEXT);
    CREATE TABLE facts(
        place INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind INTEGER NOT NULL, application INTEGER, event BLOB, type INTEGER,
        subscription INTEGER, delivery BLOB, generation BLOB, made_by INTEGER, attempt INTEGER, at INTEGER NOT NULL,
        accepted INTEGER, due INTEGER, started INTEGER, elapsed INTEGER, first_byte INTEGER, status INTEGER, error INTEGER,
        reason INTEGER, dialled INTEGER, record_partition INTEGER, record_offset INTEGER, text INTEGER);
    CREATE INDEX facts_by_application ON facts(application, time);
    CREATE INDEX facts_by_subscription ON facts(subscription, time) WHERE subscription IS NOT NULL;
    CREATE INDEX facts_by_event ON facts(event, time) WHERE event IS NOT NULL;
    CREATE INDEX facts_by_delivery ON facts(delivery) WHERE delivery IS NOT NULL;
    CREATE INDEX facts_failed ON facts(application, time) WHERE kind IN (4, 7, 8, 13);
    CREATE TABLE events(
        place INTEGER PRIMARY KEY, time INTEGER NOT NULL, stored INTEGER NOT NULL, application INTEGER NOT NULL,
        uuid BLOB NOT NULL, id TEXT NOT NULL, source TEXT, type INTEGER NOT NULL, at INTEGER NOT NULL, origin_topic INTEGER,
        origin_partition INTEGER, origin_offset INTEGER, matched INTEGER NOT NULL, payload_bytes INTEGER NOT NULL,
        content_type INTEGER, text INTEGER, subscriptions BLOB, control_offset INTEGER);
    CREATE INDEX events_by_application ON events(application, time);
    CREATE INDEX events_by_uuid ON events(uuid);
    CREATE INDEX events_by_id ON events(application, id) WHERE source IS NOT NULL;
    CREATE TABLE targets(
        place INTEGER PRIMARY KEY, application INTEGER NOT NULL, subscription INTEGER NOT NULL, offset INTEGER NOT NULL,
        facts TEXT NOT NULL);
    CREATE INDEX targets_by_subscription ON targets(subscription, offset);
    CREATE TABLE buckets(
        owner INTEGER, minute INTEGER, application INTEGER NOT NULL, delivered INTEGER NOT NULL, retried INTEGER NOT NULL,
        dead_lettered INTEGER NOT NULL, cancelled INTEGER NOT NULL, settled INTEGER NOT NULL, latency BLOB NOT NULL,
        PRIMARY KEY(owner, minute)) WITHOUT ROWID;
    CREATE TABLE ended(
        generation BLOB, subscription INTEGER, application INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY(generation, subscription)) WITHOUT ROWID;
    CREATE TABLE accepted(application INTEGER PRIMARY KEY, events INTEGER NOT NULL);
    CREATE TABLE erased(event BLOB PRIMARY KEY, is_applied INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE forgotten(application INTEGER PRIMARY KEY, before INTEGER NOT NULL);
";

/// Tables of the file of what is open: deliveries that wait for their next attempt, and dead letters nobody has decided about.
pub(super) const OPEN: FileShape = FileShape { number: 7, tables: OPEN_TABLES };
const OPEN_TABLES: &str = "
    CREATE TABLE about(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE covered(partition INTEGER, start INTEGER, stop INTEGER NOT NULL, PRIMARY KEY(partition, start)) WITHOUT ROWID;
    CREATE TABLE open(
        delivery BLOB PRIMARY KEY, application BLOB, subscription BLOB, attempt INTEGER NOT NULL, since INTEGER NOT NULL,
        due INTEGER, place INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX open_by_since ON open(since);
    CREATE TABLE letters(
        delivery BLOB PRIMARY KEY, application BLOB, subscription BLOB, stored INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX letters_by_subscription ON letters(subscription, application);
    CREATE INDEX letters_by_stored ON letters(stored);
";

// The partial index of the tables above names these numbers, and so do questions about what is open.
const _: () = {
    assert!(FactKind::Attempted as u8 == 4 && FactKind::DeadLettered as u8 == 7);
    assert!(FactKind::Cancelled as u8 == 8 && FactKind::TriedOnce as u8 == 13);
    assert!(FactKind::Delivered as u8 == 6 && FactKind::Redriven as u8 == 14 && FactKind::Discarded as u8 == 15);
};

/// Whether the index of failures answers for these kinds.
pub(super) fn are_failures(kinds: Kinds) -> bool {
    kinds.within(Kinds::FAILED)
}

/// Name of a day's file.
pub(super) fn day_path(folder: &Path, day: Day) -> PathBuf {
    folder.join(format!("{day}.db"))
}

/// Name of the file of what is open.
pub(super) fn open_path(folder: &Path) -> PathBuf {
    folder.join("open.db")
}

/// The day of a file, by its name.
pub(super) fn day_of(path: &Path) -> Option<Day> {
    path.file_name()?.to_str()?.strip_suffix(".db")?.parse().ok()
}

/// A file and the two that SQLite keeps beside it, itself the last.
fn with_companions(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", ""].map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    })
}

/// Removes a file with those beside it.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    for path in with_companions(path) {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether nobody could open it, whatever else goes wrong at the moment: it is no file, or none that may be read.
pub(super) fn is_unusable(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {
            std::fs::File::open(path).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
        }
        Ok(_directory) => true,
        Err(_) => false,
    }
}

/// Has a place be free for another file: what cannot be removed like one is renamed.
pub(super) fn set_aside(path: &Path) -> std::io::Result<()> {
    if !path.is_dir() {
        return remove(path);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".unusable-{}", clock::now_ms()));
    std::fs::rename(path, name)
}

/// Bytes of a file and those beside it; what is not there has none.
pub(super) fn bytes(path: &Path) -> std::io::Result<u64> {
    with_companions(path).iter().map(|path| bytes_of(path)).sum()
}

/// Bytes of a file's write-ahead log; where there is none, none.
pub(super) fn wal_bytes(path: &Path) -> std::io::Result<u64> {
    let [wal, _, _] = with_companions(path);
    bytes_of(&wal)
}

fn bytes_of(path: &Path) -> std::io::Result<u64> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Opens a file to write, with its tables. `None`: it is of another shape.
pub(super) fn open_to_write(path: &Path, of: &FileShape) -> rusqlite::Result<Option<Connection>> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // Overwrites what is deleted. What may be erased is never deleted nor moved (texts.rs).
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", i64::try_from(WAL_BYTES).unwrap_or(i64::MAX))?;
    connection.set_prepared_statement_cache_capacity(32);
    let shape: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let is_new = connection.query_row("SELECT count(*) = 0 FROM sqlite_master", [], |row| row.get::<_, bool>(0))?;
    if !is_new {
        return Ok((shape == of.number).then_some(connection));
    }
    let FileShape { number, tables } = of;
    connection.execute_batch(&format!("BEGIN; {tables} PRAGMA user_version = {number}; COMMIT"))?;
    Ok(Some(connection))
}

/// Brings the write-ahead log into its file and cuts it. SQLite by itself does so only at a moment at which nobody reads: where
/// somebody always does, the log grows for ever. False: somebody has read for longer than a connection waits.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Opens a file to read.
pub(super) fn open_to_read(path: &Path, cache_bytes: u64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    set_cache(&connection, cache_bytes)?;
    Ok(connection)
}

/// Bounds the pages that a connection keeps.
pub(super) fn set_cache(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let kibibytes = i64::try_from((bytes / 1_024).max(64)).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kibibytes)
}
