//! Words and ids of a day, as a question needs them: looked up once each.

use std::cell::RefCell;
use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

/// See the module.
pub(super) struct Names<'c> {
    connection: &'c Connection,
    words: RefCell<HashMap<i64, Option<String>>>,
    ids: RefCell<HashMap<i64, Option<Uuid>>>,
}

// === impl Names ===

impl<'c> Names<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, words: RefCell::default(), ids: RefCell::default() }
    }

    /// The word with a number.
    pub(super) fn word(&self, number: Option<i64>) -> rusqlite::Result<Option<String>> {
        let Some(number) = number else { return Ok(None) };
        if let Some(known) = self.words.borrow().get(&number) {
            return Ok(known.clone());
        }
        let mut find = self.connection.prepare_cached("SELECT word FROM words WHERE id = ?1")?;
        let word: Option<String> = find.query_row([number], |row| row.get(0)).optional()?;
        self.words.borrow_mut().insert(number, word.clone());
        Ok(word)
    }

    /// The id with a number.
    pub(super) fn id(&self, number: Option<i64>) -> rusqlite::Result<Option<Uuid>> {
        let Some(number) = number else { return Ok(None) };
        if let Some(known) = self.ids.borrow().get(&number) {
            return Ok(*known);
        }
        let mut find = self.connection.prepare_cached("SELECT uuid FROM ids WHERE id = ?1")?;
        let id: Option<[u8; 16]> = find.query_row([number], |row| row.get(0)).optional()?;
        let id = id.map(Uuid::from_bytes);
        self.ids.borrow_mut().insert(number, id);
        Ok(id)
    }

    /// The number of an id; `None`: nothing of the day is about it.
    pub(super) fn number(&self, id: Uuid) -> rusqlite::Result<Option<i64>> {
        let mut find = self.connection.prepare_cached("SELECT id FROM ids WHERE uuid = ?1")?;
        find.query_row([id.as_bytes()], |row| row.get(0)).optional()
    }
}
