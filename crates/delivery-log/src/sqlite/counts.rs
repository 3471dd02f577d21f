//! Questions about counts, and about what is open.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use uuid::Uuid;

use super::names::Names;
use super::pool::DayReader;
use super::{failed, schema};
use crate::day::Day;
use crate::fact::OpenDelivery;
use crate::histogram::Histogram;
use crate::minute::{BucketQuery, MINUTE, MinuteBucket};
use crate::place;
use crate::query::{DaySummary, ListOrder};
use crate::store::{AcceptedCounts, StoreError};

/// How deliveries went.
pub(super) fn buckets(reader: &mut DayReader, query: &BucketQuery) -> Result<Vec<MinuteBucket>, StoreError> {
    let (mut found, times) = (Vec::new(), query.times);
    for day in reader.days(ListOrder::Ascending) {
        let is_before = times.from_ms.is_some_and(|from| day.next().start_ms() <= from);
        let is_behind = times.to_ms.is_some_and(|to| day.start_ms() > to);
        if is_before || is_behind {
            continue;
        }
        let Some(connection) = reader.day(day)? else { continue };
        minutes(connection, day, query, &mut found).map_err(failed)?;
    }
    Ok(found)
}

fn minutes(
    connection: &Connection,
    day: Day,
    query: &BucketQuery,
    found: &mut Vec<MinuteBucket>,
) -> rusqlite::Result<()> {
    let names = Names::new(connection);
    let owner = names.number(query.subscription.map_or(query.application.0, |id| id.0))?;
    let Some((owner, application)) = owner.zip(names.number(query.application.0)?) else { return Ok(()) };
    let mut statement = connection.prepare_cached(
        "SELECT minute, delivered, retried, dead_lettered, cancelled, settled, latency FROM buckets
            WHERE owner = ?1 AND application = ?2 AND minute >= ?3 AND minute <= ?4 ORDER BY minute",
    )?;
    let minute = |ms: i64| ms.saturating_sub(day.start_ms()).div_euclid(MINUTE);
    let first = query.times.from_ms.map_or(0, minute);
    let last = query.times.to_ms.map_or(i64::MAX, minute);
    let buckets = statement.query_map([owner, application, first, last], |row| {
        let latency = Histogram::decode(&row.get::<_, Vec<u8>>(6)?).unwrap_or_default();
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(MinuteBucket {
            from_ms: day.start_ms() + row.get::<_, i64>(0)? * MINUTE,
            delivered: count(1)?,
            retried: count(2)?,
            dead_lettered: count(3)?,
            cancelled: count(4)?,
            settled: count(5)?,
            attempts: latency.count(),
            latency,
        })
    })?;
    for bucket in buckets {
        query.take(&bucket?, found);
    }
    Ok(())
}

/// Events that were accepted.
pub(super) fn accepted(
    reader: &mut DayReader,
    applications: &[ApplicationId],
    (from, to): (Day, Day),
) -> Result<AcceptedCounts, StoreError> {
    let mut counts = BTreeMap::new();
    for day in reader.days(ListOrder::Ascending).into_iter().filter(|day| (from..=to).contains(day)) {
        let Some(connection) = reader.day(day)? else { continue };
        for application in applications {
            let mut statement = connection
                .prepare_cached(
                    "SELECT events FROM accepted JOIN ids ON ids.id = accepted.application WHERE ids.uuid = ?1",
                )
                .map_err(failed)?;
            let count: Option<i64> =
                statement.query_row([application.0.as_bytes()], |row| row.get(0)).optional().map_err(failed)?;
            if let Some(count) = count {
                counts.insert((day, *application), count.unsigned_abs());
            }
        }
    }
    Ok(counts)
}

/// How many dead letters of a subscription of the application nobody has decided about, of those that died since a time.
pub(super) fn open_letters(
    reader: &mut DayReader,
    application: ApplicationId,
    (subscription, since_ms): (SubscriptionId, i64),
) -> Result<u64, StoreError> {
    let Some(connection) = reader.open()? else { return Ok(0) };
    let count = || {
        let sql = "SELECT count(*) FROM letters WHERE subscription = ?1 AND application = ?2 AND stored >= ?3";
        let mut statement = connection.prepare_cached(sql)?;
        let whose = params![subscription.0.as_bytes(), application.0.as_bytes(), since_ms];
        statement.query_row(whose, |row| row.get::<_, i64>(0))
    };
    count().map(i64::unsigned_abs).map_err(failed)
}

/// How many dead letters nobody has decided about.
pub(super) fn undecided_letters(reader: &mut DayReader) -> Result<u64, StoreError> {
    let Some(connection) = reader.open()? else { return Ok(0) };
    let count = || {
        let mut statement = connection.prepare_cached("SELECT count(*) FROM letters")?;
        statement.query_row([], |row| row.get::<_, i64>(0))
    };
    count().map(i64::unsigned_abs).map_err(failed)
}

/// Those of these deliveries that are open.
pub(super) fn open(reader: &mut DayReader, deliveries: &[DeliveryId]) -> Result<Vec<OpenDelivery>, StoreError> {
    let Some(connection) = reader.open()? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for delivery in deliveries {
        found.extend(open_one(connection, *delivery).map_err(failed)?);
    }
    Ok(found)
}

fn open_one(connection: &Connection, delivery: DeliveryId) -> rusqlite::Result<Option<OpenDelivery>> {
    let mut statement = connection
        .prepare_cached("SELECT application, subscription, attempt, since, due, place FROM open WHERE delivery = ?1")?;
    let uuid = |bytes: Option<[u8; 16]>| bytes.map(Uuid::from_bytes);
    let found = statement.query_row(params![delivery.0.as_bytes()], |row| {
        Ok(OpenDelivery {
            delivery,
            application: uuid(row.get(0)?).map(ApplicationId),
            subscription: uuid(row.get(1)?).map(SubscriptionId),
            attempt: row.get(2)?,
            since_ms: row.get(3)?,
            due_ms: row.get(4)?,
            coordinates: place::coordinates(row.get(5)?),
        })
    });
    found.optional()
}

/// The days that are there, the newest first. Their files are looked at from outside: it costs the same however many rows there
/// are, and no thread that reads is needed for it.
pub(super) fn days(folder: &Path, rows: &BTreeMap<Day, u64>) -> Result<Vec<DaySummary>, StoreError> {
    let unlisted = |error: std::io::Error| StoreError::Failed { reason: format!("{}: {error}", folder.display()) };
    let mut days = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unlisted)? {
        let path = entry.map_err(unlisted)?.path();
        if let Some(day) = schema::day_of(&path) {
            let rows = rows.get(&day).copied().unwrap_or(0);
            days.push(DaySummary { day, rows, bytes: schema::bytes(&path).map_err(unlisted)? });
        }
    }
    days.sort_unstable_by_key(|summary| Reverse(summary.day));
    Ok(days)
}
