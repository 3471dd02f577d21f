//! Questions: each has a connection of its own out of a bounded pool, and a bounded time.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::{self, PgConnector};
use super::failure::{PgFailure, PgResult};
use super::session::day_of;
use crate::day::Day;
use crate::query::ListOrder;
use crate::store::StoreError;

/// Questions that wait; beyond them there is no answer at once.
const QUEUE: usize = 64;
/// What a connection is set to that reads. Plans are short ones, and an index leads to all that is looked for.
const SETTINGS: &str = "-c default_transaction_read_only=on -c jit=off -c enable_seqscan=off";
/// The same for what is asked beside questions: it is little, and waits for whoever writes.
const BESIDE: &str = "-c statement_timeout=30000 -c lock_timeout=20000 -c jit=off";
/// Connections beside those of questions.
const BESIDES: usize = 2;

/// A value and its type.
pub(super) type PgParameter<'p> = (&'p (dyn ToSql + Sync), Type);

/// Connections for whoever asks.
#[derive(Clone)]
pub(super) struct PgReaders {
    questions: Pool,
    beside: Pool,
    size: usize,
    /// How long one may be looked for.
    seconds: u64,
}

/// One question's connection.
pub(super) struct PgReader {
    connection: LentConnection,
}

/// A connection out of a pool. Whoever lets go of it in the middle of a question closes it: what is still to come of it, if anything
/// is, would be in the way of whoever has it next.
pub(super) struct LentConnection {
    connection: Option<Object>,
    is_asking: AtomicBool,
}

/// A day, and what the names of its tables end in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AskedDay {
    pub(super) day: Day,
    pub(super) tables: String,
}

// === impl PgReaders ===

impl PgReaders {
    /// So many questions at once, each for so long; no connection is made yet.
    pub(super) fn new(connector: &PgConnector, size: usize, seconds: u64) -> Result<Self, StoreError> {
        let (size, settings) = (size.max(1), format!("-c statement_timeout={seconds}s {SETTINGS}"));
        let (questions, beside) = (connector.pool(size, &settings)?, connector.pool(BESIDES, BESIDE)?);
        Ok(Self { questions, beside, size, seconds })
    }

    /// Asks. What takes too long is ended, here and there.
    pub(super) async fn ask<T, F: Future<Output = PgResult<T>> + Send>(
        &self,
        question: impl FnOnce(PgReader) -> F + Send,
    ) -> Result<T, StoreError> {
        if self.questions.status().waiting >= QUEUE + self.size {
            return Err(StoreError::Overloaded);
        }
        let connection = self.questions.get().await.map_err(|error| connect::refused(&error))?;
        let reader = PgReader { connection: LentConnection::of(connection, false) };
        // What is cut off here the server ends by itself in as long.
        let answer = tokio::time::timeout(Duration::from_secs(self.seconds), question(reader)).await;
        let answer = answer.map_err(|_over| StoreError::TooSlow { seconds: self.seconds })?;
        answer.map_err(|error| error.told(self.seconds))
    }

    /// A connection that does not wait with the questions, and may write.
    pub(super) async fn beside(&self) -> Result<LentConnection, StoreError> {
        let connection = self.beside.get().await.map_err(|error| connect::refused(&error))?;
        Ok(LentConnection::of(connection, true))
    }
}

// === impl PgReader ===

impl PgReader {
    /// The days that are there, in this order.
    pub(super) async fn days(&self, order: ListOrder) -> PgResult<Vec<AskedDay>> {
        let rows = self.rows("SELECT day, tables FROM days ORDER BY day", &[]).await?;
        let day = |row: &Row| Ok(AskedDay { day: day_of(row.try_get(0)?)?, tables: row.try_get(1)? });
        let mut days = rows.iter().map(day).collect::<PgResult<Vec<_>>>()?;
        if order == ListOrder::Descending {
            days.reverse();
        }
        Ok(days)
    }

    /// Rows of a day; none where it was given up meanwhile.
    pub(super) async fn of_day(&self, sql: &str, parameters: &[PgParameter<'_>]) -> PgResult<Vec<Row>> {
        match self.rows(sql, parameters).await {
            Err(error) if error.is_gone() => Ok(Vec::new()),
            rows => rows,
        }
    }

    /// Rows.
    pub(super) async fn rows(&self, sql: &str, parameters: &[PgParameter<'_>]) -> PgResult<Vec<Row>> {
        self.connection.is_asking.store(true, Ordering::Relaxed);
        let rows = self.connection.query_typed(sql, parameters).await;
        self.connection.is_asking.store(false, Ordering::Relaxed);
        rows.map_err(PgFailure::from)
    }
}

// === impl LentConnection ===

impl LentConnection {
    fn of(connection: Object, is_asking: bool) -> Self {
        Self { connection: Some(connection), is_asking: AtomicBool::new(is_asking) }
    }

    /// All that was asked is answered.
    pub(super) fn answered(self) {
        self.is_asking.store(false, Ordering::Relaxed);
    }
}

impl Deref for LentConnection {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.connection.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for LentConnection {
    fn deref_mut(&mut self) -> &mut Object {
        self.connection.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for LentConnection {
    fn drop(&mut self) {
        let connection = self.connection.take();
        if self.is_asking.load(Ordering::Relaxed) {
            drop(connection.map(Object::take));
        }
    }
}
