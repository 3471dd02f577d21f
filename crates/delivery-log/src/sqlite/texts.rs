//! What strangers wrote of an event, or others said about it: apart from the rows that name it, so that nothing of it is left where
//! it is erased.
//!
//! A row stands where its partition and offset say, often in the middle of its tree, and SQLite overwrites what it deletes, but not the
//! copies that a page keeps in its gaps once rows of it were moved to another one. So a text has a number that only grows and none is
//! ever deleted: nothing is moved. What is to go is overwritten where it stands, by as many bytes. The room of it goes with the day's
//! file, as that of all rows does.

use rusqlite::{Connection, Transaction, params};

use crate::fact::{Fact, LoggedEvent};

/// Each column of it overwritten by as many bytes.
const OVERWRITE: &str = "UPDATE texts SET
    occurred_at = iif(occurred_at IS NULL, NULL, CAST(zeroblob(length(CAST(occurred_at AS BLOB))) AS TEXT)),
    labels = iif(labels IS NULL, NULL, CAST(zeroblob(length(CAST(labels AS BLOB))) AS TEXT)),
    metadata = iif(metadata IS NULL, NULL, CAST(zeroblob(length(CAST(metadata AS BLOB))) AS TEXT)),
    ip = iif(ip IS NULL, NULL, CAST(zeroblob(length(CAST(ip AS BLOB))) AS TEXT)),
    detail = iif(detail IS NULL, NULL, CAST(zeroblob(length(CAST(detail AS BLOB))) AS TEXT))
    WHERE number IN";

/// The texts of a row.
#[derive(Clone, Copy, Default)]
pub(super) struct RowTexts<'r> {
    occurred_at: Option<&'r str>,
    labels: Option<&'r str>,
    metadata: Option<&'r str>,
    ip: Option<&'r str>,
    detail: Option<&'r str>,
}

/// Overwrites the texts whose numbers a question finds, with these parameters. Who named them names them no more afterwards.
pub(super) fn overwrite(
    connection: &Connection,
    numbers: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<usize> {
    connection.prepare_cached(&format!("{OVERWRITE} ({numbers})"))?.execute(parameters)
}

// === impl RowTexts ===

impl<'r> RowTexts<'r> {
    pub(super) fn of_fact(fact: &'r Fact) -> Self {
        Self { detail: fact.detail.as_deref(), ..Self::default() }
    }

    pub(super) fn of_event(event: &'r LoggedEvent) -> Self {
        Self {
            occurred_at: event.occurred_at.as_deref(),
            labels: event.labels.as_deref(),
            metadata: event.metadata.as_deref(),
            ip: event.ip.as_deref(),
            detail: event.detail.as_deref(),
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        [self.occurred_at, self.labels, self.metadata, self.ip, self.detail].iter().all(Option::is_none)
    }

    /// Appends them, and returns the number that they are named by; none where there are none.
    pub(super) fn append(&self, transaction: &Transaction<'_>) -> rusqlite::Result<Option<i64>> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut insert = transaction.prepare_cached(
            "INSERT INTO texts(occurred_at, labels, metadata, ip, detail) VALUES(?1, ?2, ?3, ?4, ?5)",
        )?;
        insert.execute(params![self.occurred_at, self.labels, self.metadata, self.ip, self.detail])?;
        Ok(Some(transaction.last_insert_rowid()))
    }
}
