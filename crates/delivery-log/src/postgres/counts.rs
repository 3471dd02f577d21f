//! Questions about counts, about what is open, and about what attempts have in common.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use deadpool_postgres::Object;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::facts::narrow;
use super::failure::{PgFailure, PgResult};
use super::reader::{AskedDay, PgParameter, PgReader};
use super::session::day_of;
use crate::coverage::Coverage;
use crate::day::Day;
use crate::fact::{LoggedTarget, OpenDelivery};
use crate::histogram::Histogram;
use crate::minute::{BucketQuery, MINUTE, MinuteBucket};
use crate::place;
use crate::query::{DaySummary, ListOrder};
use crate::store::AcceptedCounts;

/// How deliveries went.
pub(super) async fn buckets(reader: &PgReader, query: &BucketQuery) -> PgResult<Vec<MinuteBucket>> {
    let (mut found, times) = (Vec::new(), query.times);
    let owner = query.subscription.map_or(query.application.0, |id| id.0);
    for AskedDay { day, tables } in reader.days(ListOrder::Ascending).await? {
        let is_before = times.from_ms.is_some_and(|from| day.next().start_ms() <= from);
        let is_behind = times.to_ms.is_some_and(|to| day.start_ms() > to);
        if is_before || is_behind {
            continue;
        }
        let sql = format!(
            "SELECT minute, delivered, retried, dead_lettered, cancelled, settled, latency FROM buckets_{tables}
                WHERE owner = (SELECT id FROM ids_{tables} WHERE uuid = $1)
                AND application = (SELECT id FROM ids_{tables} WHERE uuid = $2) AND minute >= $3 AND minute <= $4 ORDER BY minute"
        );
        let minute = |ms: i64| ms.saturating_sub(day.start_ms()).div_euclid(MINUTE);
        let (first, last) = (times.from_ms.map_or(0, minute), times.to_ms.map_or(i64::MAX, minute));
        let of: [PgParameter<'_>; 4] =
            [(&owner, Type::UUID), (&query.application.0, Type::UUID), (&first, Type::INT8), (&last, Type::INT8)];
        for row in reader.of_day(&sql, &of).await? {
            let latency = Histogram::decode(row.try_get(6)?).unwrap_or_default();
            let count = |column: usize| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
            let bucket = MinuteBucket {
                from_ms: day.start_ms() + i64::from(row.try_get::<_, i32>(0)?) * MINUTE,
                delivered: count(1)?,
                retried: count(2)?,
                dead_lettered: count(3)?,
                cancelled: count(4)?,
                settled: count(5)?,
                attempts: latency.count(),
                latency,
            };
            query.take(&bucket, &mut found);
        }
    }
    Ok(found)
}

/// Events that were accepted.
pub(super) async fn accepted(
    reader: &PgReader,
    applications: &[ApplicationId],
    (from, to): (Day, Day),
) -> PgResult<AcceptedCounts> {
    let of: Vec<Uuid> = applications.iter().map(|it| it.0).collect();
    let sql = "SELECT day, application, events FROM accepted WHERE day >= $1 AND day <= $2 AND application = ANY($3)";
    let asked: [PgParameter<'_>; 3] =
        [(&from.number(), Type::INT4), (&to.number(), Type::INT4), (&of, Type::UUID_ARRAY)];
    let mut counts = BTreeMap::new();
    for row in reader.rows(sql, &asked).await? {
        let events: i64 = row.try_get(2)?;
        counts.insert((day_of(row.try_get(0)?)?, ApplicationId(row.try_get(1)?)), events.unsigned_abs());
    }
    Ok(counts)
}

/// How many dead letters of a subscription of the application nobody has decided about, of those that died since a time.
pub(super) async fn open_letters(
    reader: &PgReader,
    application: ApplicationId,
    (subscription, since_ms): (SubscriptionId, i64),
) -> PgResult<u64> {
    let sql = "SELECT count(*) FROM open_letters WHERE subscription = $1 AND application = $2 AND stored >= $3";
    let whose: [(&(dyn ToSql + Sync), Type); 3] =
        [(&subscription.0, Type::UUID), (&application.0, Type::UUID), (&since_ms, Type::INT8)];
    one_count(reader, sql, &whose).await
}

/// How many dead letters nobody has decided about.
pub(super) async fn undecided_letters(reader: &PgReader) -> PgResult<u64> {
    one_count(reader, "SELECT count(*) FROM open_letters", &[]).await
}

async fn one_count(reader: &PgReader, sql: &str, of: &[PgParameter<'_>]) -> PgResult<u64> {
    let rows = reader.rows(sql, of).await?;
    let count: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(count.unwrap_or(0).unsigned_abs())
}

/// Those of these deliveries that are open, in their order.
pub(super) async fn open(reader: &PgReader, deliveries: &[DeliveryId]) -> PgResult<Vec<OpenDelivery>> {
    let of: Vec<Uuid> = deliveries.iter().map(|it| it.0).collect();
    let sql = "SELECT delivery, application, subscription, attempt, since, due, place FROM open_deliveries WHERE delivery = ANY($1)";
    let mut found = HashMap::new();
    for row in reader.rows(sql, &[(&of, Type::UUID_ARRAY)]).await? {
        let delivery = DeliveryId(row.try_get(0)?);
        let open = OpenDelivery {
            delivery,
            application: row.try_get::<_, Option<Uuid>>(1)?.map(ApplicationId),
            subscription: row.try_get::<_, Option<Uuid>>(2)?.map(SubscriptionId),
            attempt: narrow(row.try_get::<_, Option<i64>>(3)?, "a number of attempts that is none")?.unwrap_or(0),
            since_ms: row.try_get(4)?,
            due_ms: row.try_get(5)?,
            coordinates: place::coordinates(row.try_get(6)?),
        };
        found.insert(delivery, open);
    }
    Ok(deliveries.iter().filter_map(|delivery| found.get(delivery).cloned()).collect())
}

/// The newest that was told of a subscription as it stood at an offset of `control`.
pub(super) async fn target(
    reader: &PgReader,
    application: ApplicationId,
    (subscription, offset): (SubscriptionId, i64),
) -> PgResult<Option<String>> {
    for AskedDay { tables, .. } in reader.days(ListOrder::Descending).await? {
        let sql = format!(
            "SELECT facts FROM targets_{tables} WHERE subscription = (SELECT id FROM ids_{tables} WHERE uuid = $1) AND control = $2
                AND application = (SELECT id FROM ids_{tables} WHERE uuid = $3) ORDER BY place DESC LIMIT 1"
        );
        let of: [PgParameter<'_>; 3] =
            [(&subscription.0, Type::UUID), (&offset, Type::INT8), (&application.0, Type::UUID)];
        if let Some(row) = reader.of_day(&sql, &of).await?.first() {
            return Ok(Some(row.try_get(0)?));
        }
    }
    Ok(None)
}

/// What was told at these places of a day, in their order.
pub(super) async fn targets_between(
    reader: &PgReader,
    AskedDay { tables, .. }: &AskedDay,
    places: &Range<i64>,
) -> PgResult<Vec<LoggedTarget>> {
    let sql = format!(
        "SELECT place, (SELECT uuid FROM ids_{tables} WHERE id = application), (SELECT uuid FROM ids_{tables} WHERE id = subscription),
            control, facts FROM targets_{tables} WHERE place >= $1 AND place < $2 ORDER BY place"
    );
    let rows = reader.rows(&sql, &[(&places.start, Type::INT8), (&places.end, Type::INT8)]).await?;
    let missing = || PgFailure::Unreadable("no owner");
    let target = |row: &tokio_postgres::Row| {
        Ok(LoggedTarget {
            coordinates: place::coordinates(row.try_get(0)?),
            application: ApplicationId(row.try_get::<_, Option<Uuid>>(1)?.ok_or_else(missing)?),
            subscription: SubscriptionId(row.try_get::<_, Option<Uuid>>(2)?.ok_or_else(missing)?),
            offset: row.try_get(3)?,
            facts: row.try_get(4)?,
        })
    };
    rows.iter().map(target).collect()
}

/// The days that are there, the newest first, and what their tables take with all that stands beside them.
pub(super) async fn days(connection: &Object) -> PgResult<Vec<DaySummary>> {
    let sql = "SELECT day, rows, (SELECT coalesce(sum(pg_total_relation_size(to_regclass(kind || '_' || tables))), 0)::int8
        FROM unnest(ARRAY['facts', 'events', 'targets', 'buckets', 'ended', 'words', 'ids']) AS kind) FROM days ORDER BY day DESC";
    let rows = connection.query_typed(sql, &[]).await?;
    let day = |row: &tokio_postgres::Row| {
        let (rows, bytes): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        Ok(DaySummary { day: day_of(row.try_get(0)?)?, rows: rows.unsigned_abs(), bytes: bytes.unsigned_abs() })
    };
    rows.iter().map(day).collect()
}

/// Which offsets were read into the days that are there.
pub(super) async fn coverage(connection: &Object) -> PgResult<Coverage> {
    let mut covered = Coverage::default();
    for row in connection.query_typed("SELECT part, start, stop FROM covered", &[]).await? {
        covered.add(row.try_get(0)?, row.try_get(1)?..row.try_get(2)?);
    }
    Ok(covered)
}
