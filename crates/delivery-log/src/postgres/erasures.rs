//! Erased events: their content leaves the rows of every day, and each day remembers which of its events they are, so that an
//! erasure outlives the day of its record. What is taken later of such an event comes without content.

use std::collections::{BTreeMap, HashSet};

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::failure::PgResult;
use super::session::{DaySet, day_of};
use crate::day::Day;
use crate::erasure;
use crate::split::DayPart;

/// Which events of what is to be taken are erased. Those of which that is new leave the rows that are there.
pub(super) async fn hear(
    transaction: &Transaction<'_>,
    days: &BTreeMap<Day, DaySet>,
    parts: &BTreeMap<Day, DayPart>,
) -> PgResult<HashSet<Uuid>> {
    let rows = || parts.values().flat_map(|part| &part.rows).map(|(_, row)| &row.content);
    let named: HashSet<Uuid> = rows().filter_map(crate::fact::RowContent::event).collect();
    let mut erased = known(transaction, &named.into_iter().collect::<Vec<_>>()).await?;
    let said: HashSet<Uuid> = rows().filter_map(erasure::erasure).filter(|event| !erased.contains(event)).collect();
    if !said.is_empty() {
        let days: Vec<(Day, &str)> = days.iter().map(|(day, set)| (*day, set.tables.as_str())).collect();
        clear(transaction, &days, &said.iter().copied().collect::<Vec<_>>()).await?;
        erased.extend(said);
    }
    Ok(erased)
}

/// Those of these events that some day remembers as erased.
pub(super) async fn known(transaction: &Transaction<'_>, events: &[Uuid]) -> PgResult<HashSet<Uuid>> {
    if events.is_empty() {
        return Ok(HashSet::new());
    }
    let find = "SELECT DISTINCT event FROM erased WHERE event = ANY($1)";
    let found = transaction.query_typed(find, &[(&events, Type::UUID_ARRAY)]).await?;
    Ok(found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Takes the content of events out of days; those that have rows of them remember it.
async fn clear(transaction: &Transaction<'_>, days: &[(Day, &str)], events: &[Uuid]) -> PgResult<()> {
    for (day, tables) in days {
        let sql = format!(
            "WITH e AS (UPDATE events_{tables} SET occurred_at = NULL, labels = NULL, metadata = NULL, ip = NULL, detail = NULL
                WHERE uuid = ANY($1) RETURNING uuid),
            f AS (UPDATE facts_{tables} SET detail = NULL WHERE event = ANY($1) RETURNING event)
            SELECT uuid FROM e UNION SELECT event FROM f"
        );
        let found = transaction.query_typed(&sql, &[(&events, Type::UUID_ARRAY)]).await?;
        let here: HashSet<Uuid> = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        mark(transaction, *day, &here).await?;
    }
    Ok(())
}

/// A day remembers that events are erased.
pub(super) async fn mark(transaction: &Transaction<'_>, day: Day, events: &HashSet<Uuid>) -> PgResult<()> {
    if events.is_empty() {
        return Ok(());
    }
    let events: Vec<Uuid> = events.iter().copied().collect();
    let insert = "INSERT INTO erased SELECT unnest($2::uuid[]), $1 ON CONFLICT DO NOTHING";
    transaction.execute_typed(insert, &[(&day.number(), Type::INT4), (&events, Type::UUID_ARRAY)]).await?;
    Ok(())
}

/// Takes the content of an event out of all days, whoever fills them: what is under way there is waited for. `today` remembers it
/// whether a day has rows of it or not: they may be yet to come.
pub(super) async fn erase(transaction: &Transaction<'_>, event: Uuid, today: Day) -> PgResult<()> {
    transaction.query_typed_one("SELECT turn FROM state FOR UPDATE", &[]).await?;
    let mut days = Vec::new();
    for row in transaction.query_typed("SELECT day, tables FROM days", &[]).await? {
        days.push((day_of(row.try_get(0)?)?, row.try_get::<_, String>(1)?));
    }
    let days: Vec<(Day, &str)> = days.iter().map(|(day, tables)| (*day, tables.as_str())).collect();
    clear(transaction, &days, &[event]).await?;
    mark(transaction, today, &HashSet::from([event])).await
}
