//! The one who fills the store: it has an advisory lock, and what it writes goes through only while nobody else has written since.
//!
//! The lock decides who it is; it goes with the connection, of which a process may not have heard yet. So each transaction moves
//! `state.turn` on from the number that this session has seen last: whoever has the lock next moves it first, and then what an older
//! session writes finds another number, and nothing of it is there.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chassis::limited::Limited;
use schemas::ids::ApplicationId;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use tracing::info;

use super::connect::{PgConnection, PgConnector};
use super::failure::{PgFailure, PgResult};
use super::names::NewNumbers;
use super::schema::{self, LOCK_CLASS};
use crate::coverage::Coverage;
use crate::day::Day;

/// What a connection is set to that writes. What a server that crashes has lost of its last moments is lost with its offsets, and read
/// again. A process that stands still in the middle of a transaction, or altogether, is given up.
const SETTINGS: &str = "-c lock_timeout=10000 -c statement_timeout=120000 -c idle_in_transaction_session_timeout=30000 \
    -c synchronous_commit=off";
/// Servers from 14 on give up a session that says nothing for so long, ms: whoever fills the store says something every second.
const IDLE_MS: &str = "30000";
/// Between two looks whether the lock is free.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// One line about the same trouble per that.
const LINE: Duration = Duration::from_secs(600);

/// A connection that has the lock, and what it knows of the store.
pub(super) struct PgSession {
    pub(super) client: PgConnection,
    /// The number that the store has, unless somebody else has written.
    pub(super) turn: i64,
    pub(super) topic: Option<String>,
    pub(super) days: BTreeMap<Day, DaySet>,
    /// Tables that are there and of no day, or a day that the views do not show.
    pub(super) is_untidy: bool,
    /// Lines about them.
    pub(super) untidy: Limited<()>,
}

/// The tables of a day.
#[derive(Debug, Default)]
pub(super) struct DaySet {
    /// What their names end in.
    pub(super) tables: String,
    pub(super) covered: Coverage,
    /// It holds rows that this build passed over, and says so.
    pub(super) has_passed: bool,
    /// Up to when, ms of the day, nothing of an application is left, as was found since rows last came.
    pub(super) gone: HashMap<ApplicationId, i64>,
    pub(super) numbers: NewNumbers,
}

// === impl PgSession ===

impl PgSession {
    /// Takes the lock and reads what is there. `None`: another process has it. `kept` is what this build keeps.
    pub(super) async fn take(connector: &PgConnector, kept: &str) -> PgResult<Option<Self>> {
        let mut client = connector.connect(SETTINGS).await?;
        let number = schema::lock_number(&connector.schema);
        let lock = "SELECT pg_try_advisory_lock($1, $2)";
        let taken = client.query_typed_one(lock, &[(&LOCK_CLASS, Type::INT4), (&number, Type::INT4)]).await?;
        if !taken.try_get::<_, bool>(0)? {
            return Ok(None);
        }
        let idle = "SELECT set_config('idle_session_timeout', $1, false)
            WHERE current_setting('server_version_num')::int4 >= 140000";
        client.query_typed(idle, &[(&IDLE_MS, Type::TEXT)]).await?;
        let transaction = client.transaction().await?;
        let begin = "UPDATE state SET turn = turn + 1 RETURNING turn, topic";
        let state = transaction.query_typed_one(begin, &[]).await?;
        let (turn, topic): (i64, Option<String>) = (state.try_get(0)?, state.try_get(1)?);
        read_again(&transaction, kept).await?;
        let days = read_days(&transaction).await?;
        transaction.commit().await?;
        info!(days = days.len(), "this process fills the delivery log");
        Ok(Some(Self { client, turn, topic, days, is_untidy: true, untidy: Limited::new(LINE) }))
    }
}

/// Moves the store's number on: from here to the end of the transaction nobody else writes.
pub(super) async fn move_on(transaction: &Transaction<'_>, turn: &mut i64) -> PgResult<()> {
    let on = "UPDATE state SET turn = turn + 1 WHERE turn = $1";
    if transaction.execute_typed(on, &[(turn, Type::INT8)]).await? == 0 {
        return Err(PgFailure::Overtaken);
    }
    // Where the transaction does not go through, the session ends, and its number with it.
    *turn += 1;
    Ok(())
}

/// Of days in which another build passed over rows that this one may keep nothing is covered any more.
async fn read_again(transaction: &Transaction<'_>, kept: &str) -> PgResult<()> {
    let passed = "UPDATE days SET passed = NULL WHERE passed <> $1 RETURNING day";
    let found = transaction.query_typed(passed, &[(&kept, Type::TEXT)]).await?;
    let days: Vec<i32> = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    if !days.is_empty() {
        info!(
            days = days.len(),
            "another build filled the delivery log, and passed over records that this one keeps: they are read again"
        );
        let covered = "DELETE FROM covered WHERE day = ANY($1)";
        transaction.execute_typed(covered, &[(&days, Type::INT4_ARRAY)]).await?;
    }
    Ok(())
}

async fn read_days(transaction: &Transaction<'_>) -> PgResult<BTreeMap<Day, DaySet>> {
    let mut days = BTreeMap::new();
    for row in transaction.query_typed("SELECT day, tables, passed IS NOT NULL FROM days", &[]).await? {
        let set = DaySet { tables: row.try_get(1)?, has_passed: row.try_get(2)?, ..DaySet::default() };
        days.insert(day_of(row.try_get(0)?)?, set);
    }
    for row in transaction.query_typed("SELECT day, part, start, stop FROM covered", &[]).await? {
        if let Some(set) = days.get_mut(&day_of(row.try_get(0)?)?) {
            set.covered.add(row.try_get(1)?, row.try_get(2)?..row.try_get(3)?);
        }
    }
    Ok(days)
}

/// The day with a number.
pub(super) fn day_of(number: i32) -> PgResult<Day> {
    Day::numbered(number).ok_or(PgFailure::Unreadable("a day that is none"))
}
