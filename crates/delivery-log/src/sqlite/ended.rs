//! How many deliveries of a generation have ended on a day, as its file has them.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};
use schemas::ids::SubscriptionId;
use uuid::Uuid;

use super::failed;
use super::names::Names;
use super::pool::DayReader;
use crate::day::Day;
use crate::ended::{EndedOnDay, EndedQuery};
use crate::query::ListOrder;
use crate::store::StoreError;

/// Adds what has ended with new rows.
pub(super) fn write(ended: &BTreeMap<(Uuid, i64), (i64, i64)>, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut add = transaction
        .prepare_cached("INSERT INTO ended VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET count = count + ?4")?;
    for ((generation, subscription), (application, count)) in ended {
        add.execute(params![generation.as_bytes(), subscription, application, count])?;
    }
    Ok(())
}

/// How many have ended.
pub(super) fn ask(reader: &mut DayReader, query: &EndedQuery) -> Result<Vec<EndedOnDay>, StoreError> {
    let mut found = Vec::new();
    for day in reader.days(ListOrder::Ascending).into_iter().filter(|day| *day >= query.since) {
        let Some(connection) = reader.day(day)? else { continue };
        let ended = on_day(connection, day, query).map_err(failed)?;
        found.extend(Some(ended).filter(|ended| ended.all > 0));
    }
    Ok(found)
}

fn on_day(connection: &Connection, day: Day, query: &EndedQuery) -> rusqlite::Result<EndedOnDay> {
    let (names, mut ended) = (Names::new(connection), EndedOnDay::new(day));
    let Some(application) = names.number(query.application.0)? else { return Ok(ended) };
    let mut statement = connection.prepare_cached(
        "SELECT ids.uuid, count FROM ended JOIN ids ON ids.id = ended.subscription WHERE generation = ?1 AND application = ?2",
    )?;
    let mut rows = statement.query(params![query.generation.as_bytes(), application])?;
    while let Some(row) = rows.next()? {
        let subscription = SubscriptionId(Uuid::from_bytes(row.get(0)?));
        ended.add(subscription, row.get(1)?, query.subscriptions.contains(&subscription));
    }
    Ok(ended)
}
