//! What the attempts of a subscription have in common: written once for many of them, and asked for by one.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use schemas::ids::{ApplicationId, SubscriptionId};

use super::failed;
use super::names::Names;
use super::pool::DayReader;
use crate::fact::LoggedTarget;
use crate::place;
use crate::query::ListOrder;
use crate::store::StoreError;

/// Takes one in. Returns whether it is new.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    place: i64,
    (application, subscription): (Option<i64>, Option<i64>),
    target: &LoggedTarget,
) -> rusqlite::Result<bool> {
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO targets VALUES(?1, ?2, ?3, ?4, ?5)")?;
    let inserted = insert.execute(params![place, application, subscription, target.offset, target.facts])?;
    Ok(inserted > 0)
}

/// What was told at these places, in their order.
pub(super) fn between(connection: &Connection, places: &Range<i64>) -> rusqlite::Result<Vec<LoggedTarget>> {
    let names = Names::new(connection);
    let mut statement = connection.prepare_cached(
        "SELECT place, application, subscription, offset, facts FROM targets WHERE place >= ?1 AND place < ?2 ORDER BY place",
    )?;
    let missing = |column: usize| rusqlite::Error::IntegralValueOutOfRange(column, 0);
    let targets = statement.query_map([places.start, places.end], |row| {
        Ok(LoggedTarget {
            coordinates: place::coordinates(row.get(0)?),
            application: names.id(row.get(1)?)?.map(ApplicationId).ok_or_else(|| missing(1))?,
            subscription: names.id(row.get(2)?)?.map(SubscriptionId).ok_or_else(|| missing(2))?,
            offset: row.get(3)?,
            facts: row.get(4)?,
        })
    })?;
    targets.collect()
}

/// The newest that was told of a subscription as it stood at an offset of `control`.
pub(super) fn find(
    reader: &mut DayReader,
    application: ApplicationId,
    (subscription, offset): (SubscriptionId, i64),
) -> Result<Option<String>, StoreError> {
    for day in reader.days(ListOrder::Descending) {
        let Some(connection) = reader.day(day)? else { continue };
        let names = Names::new(connection);
        let of = |id| names.number(id).map_err(failed);
        let Some((application, subscription)) = of(application.0)?.zip(of(subscription.0)?) else { continue };
        let mut statement = connection
            .prepare_cached(
                "SELECT facts FROM targets INDEXED BY targets_by_subscription
                    WHERE subscription = ?1 AND offset = ?2 AND application = ?3 ORDER BY place DESC LIMIT 1",
            )
            .map_err(failed)?;
        let found = statement.query_row([subscription, offset, application], |row| row.get(0)).optional();
        if let Some(facts) = found.map_err(failed)? {
            return Ok(Some(facts));
        }
    }
    Ok(None)
}
