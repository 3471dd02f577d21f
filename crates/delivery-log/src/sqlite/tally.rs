//! What new rows of a day add to its counts, as its file has them.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::ended;
use crate::histogram::Histogram;
use crate::tally::{NewCounts, NewMinute};

/// Adds all of it to what the file has.
pub(super) fn write(counted: NewCounts, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut find = transaction.prepare_cached("SELECT latency FROM buckets WHERE owner = ?1 AND minute = ?2")?;
    let mut add = transaction.prepare_cached(
        "INSERT INTO buckets VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET
            delivered = delivered + ?4, retried = retried + ?5, dead_lettered = dead_lettered + ?6,
            cancelled = cancelled + ?7, settled = settled + ?8, latency = ?9",
    )?;
    for ((owner, minute), mut new) in counted.minutes {
        let known: Option<Vec<u8>> = find.query_row([owner, minute], |row| row.get(0)).optional()?;
        if let Some(known) = known.as_deref().and_then(Histogram::decode) {
            new.latency.merge(&known);
        }
        let NewMinute { application, delivered, retried, dead_lettered, cancelled, settled, latency } = new;
        let counts = params![
            owner,
            minute,
            application,
            delivered,
            retried,
            dead_lettered,
            cancelled,
            settled,
            latency.encode()
        ];
        add.execute(counts)?;
    }
    ended::write(&counted.ended, transaction)?;
    let mut add = transaction
        .prepare_cached("INSERT INTO accepted VALUES(?1, ?2) ON CONFLICT DO UPDATE SET events = events + ?2")?;
    for (application, events) in counted.events {
        add.execute([application, events])?;
    }
    Ok(())
}
