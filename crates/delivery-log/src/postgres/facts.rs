//! Facts as they stand in a day's tables, and the questions about them.

use std::collections::HashMap;
use std::ops::Range;

use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::failure::{PgFailure, PgResult};
use super::list::{self, DayQuestion};
use super::open;
use super::reader::{AskedDay, PgReader};
use super::schema;
use crate::day::Day;
use crate::fact::{Fact, LoggedExchange};
use crate::place;
use crate::position::{Coordinates, RowPosition};
use crate::query::{FactQuery, ListOrder, LogPage, Subject};

/// Facts of one delivery that are given: more than twice as many as the longest schedule has attempts.
const HISTORY: usize = 250;

/// What every question is answered with, of a row `f`.
fn columns(tables: &str) -> String {
    let word = |column: &str| format!("(SELECT word FROM words_{tables} WHERE id = f.{column})");
    let id = |column: &str| format!("(SELECT uuid FROM ids_{tables} WHERE id = f.{column})");
    format!(
        "f.place, f.time, f.kind, {}, f.event, {}, {}, f.delivery, f.generation, {}, f.attempt, f.at, f.accepted, f.due, f.started,
            f.elapsed, f.first_byte, f.status, {}, {}, {}, f.record_partition, f.record_offset, f.detail",
        id("application"),
        word("type"),
        id("subscription"),
        word("made_by"),
        word("error"),
        word("reason"),
        word("dialled"),
    )
}

/// A page of facts.
pub(super) async fn page(reader: &PgReader, query: &FactQuery) -> PgResult<LogPage<Fact>> {
    let key = match &query.subject {
        Subject::All => &query.application.0,
        Subject::Subscription(id) => &id.0,
        Subject::Event(id) => id,
        Subject::Delivery(id) => &id.0,
    };
    let ask = |AskedDay { tables, .. }: &AskedDay| {
        let id = format!("(SELECT id FROM ids_{tables} WHERE uuid = $5)");
        let condition = match query.subject {
            Subject::All if schema::are_failures(query.kinds) => {
                format!("application = {id} AND kind IN (4, 7, 8, 13)")
            }
            Subject::All => format!("application = {id}"),
            Subject::Subscription(_) => format!("subscription = {id}"),
            Subject::Event(_) => "event = $5".to_owned(),
            Subject::Delivery(_) => "delivery = $5".to_owned(),
        };
        let from = format!("facts_{tables} WHERE {condition}");
        DayQuestion { columns: columns(tables), from, key: (key, Type::UUID) }
    };
    list::page(reader, (query.page, query.times), ask, |day, row| {
        let fact = read(row, day.day)?;
        let position = RowPosition { day: day.day, ms: fact.stored_ms, coordinates: fact.coordinates };
        Ok((position, Some(fact).filter(|fact| query.matches(fact))))
    })
    .await
}

/// All facts of deliveries, the oldest first.
pub(super) async fn histories(
    reader: &PgReader,
    application: ApplicationId,
    deliveries: &[(DeliveryId, Day)],
) -> PgResult<Vec<Fact>> {
    let mut found: HashMap<DeliveryId, Vec<Fact>> = HashMap::new();
    for AskedDay { day, tables } in reader.days(ListOrder::Ascending).await? {
        let wanted: Vec<Uuid> = deliveries.iter().filter(|(_, since)| day >= *since).map(|(id, _)| id.0).collect();
        if wanted.is_empty() {
            continue;
        }
        let sql =
            format!("SELECT {} FROM facts_{tables} f WHERE delivery = ANY($1) ORDER BY time, place", columns(&tables));
        for row in reader.of_day(&sql, &[(&wanted, Type::UUID_ARRAY)]).await? {
            let fact = read(&row, day)?;
            let Some(delivery) = fact.delivery.filter(|_| fact.application == Some(application)) else { continue };
            let of = found.entry(delivery).or_default();
            if of.len() < HISTORY {
                of.push(fact);
            }
        }
    }
    Ok(deliveries.iter().filter_map(|(id, _)| found.remove(id)).flatten().collect())
}

/// All facts of the delivery whose id begins so, the oldest first.
pub(super) async fn history_of(reader: &PgReader, application: ApplicationId, prefix: [u8; 14]) -> PgResult<Vec<Fact>> {
    let edge = |filling: u8| {
        let mut id = [filling; 16];
        id[..14].copy_from_slice(&prefix);
        Uuid::from_bytes(id)
    };
    let mut facts = Vec::new();
    for AskedDay { day, tables } in reader.days(ListOrder::Ascending).await? {
        let sql = format!(
            "SELECT {} FROM facts_{tables} f WHERE delivery >= $1 AND delivery <= $2 ORDER BY time, place LIMIT {HISTORY}",
            columns(&tables)
        );
        for row in reader.of_day(&sql, &[(&edge(0), Type::UUID), (&edge(0xff), Type::UUID)]).await? {
            facts.push(read(&row, day)?);
        }
    }
    facts.retain(|fact| fact.application == Some(application));
    facts.truncate(HISTORY);
    Ok(facts)
}

/// The facts at these places of a day, in their order.
pub(super) async fn between(reader: &PgReader, day: &AskedDay, places: &Range<i64>) -> PgResult<Vec<Fact>> {
    let tables = &day.tables;
    let sql =
        format!("SELECT {} FROM facts_{tables} f WHERE place >= $1 AND place < $2 ORDER BY place", columns(tables));
    let rows = reader.rows(&sql, &[(&places.start, Type::INT8), (&places.end, Type::INT8)]).await?;
    rows.iter().map(|row| read(row, day.day)).collect()
}

/// The fact of a row.
fn read(row: &Row, day: Day) -> PgResult<Fact> {
    let stored_ms = day.start_ms() + i64::from(row.try_get::<_, i32>(1)?);
    let absolute = |column: usize| -> PgResult<Option<i64>> {
        Ok(row.try_get::<_, Option<i64>>(column)?.map(|ms| stored_ms.saturating_add(ms)))
    };
    let exchange = match absolute(14)? {
        None => None,
        Some(started_ms) => Some(LoggedExchange {
            started_ms,
            elapsed_ms: row.try_get::<_, Option<i64>>(15)?.unwrap_or(0),
            first_byte_ms: row.try_get(16)?,
            status: narrow(row.try_get::<_, Option<i32>>(17)?, "a status that is none")?,
            error: row.try_get(18)?,
            to: row.try_get(20)?,
        }),
    };
    let record: (Option<i32>, Option<i64>) = (row.try_get(21)?, row.try_get(22)?);
    Ok(Fact {
        coordinates: place::coordinates(row.try_get(0)?),
        stored_ms,
        kind: open::kind(row.try_get(2)?)?,
        at_ms: stored_ms.saturating_add(row.try_get(11)?),
        application: row.try_get::<_, Option<Uuid>>(3)?.map(ApplicationId),
        event: row.try_get(4)?,
        event_type: row.try_get(5)?,
        accepted_ms: absolute(12)?,
        subscription: row.try_get::<_, Option<Uuid>>(6)?.map(SubscriptionId),
        delivery: row.try_get::<_, Option<Uuid>>(7)?.map(DeliveryId),
        generation: row.try_get(8)?,
        made_by: row.try_get(9)?,
        attempt: narrow(row.try_get::<_, Option<i64>>(10)?, "a number of attempts that is none")?,
        due_ms: absolute(13)?,
        reason: row.try_get(19)?,
        detail: row.try_get(23)?,
        exchange,
        record: record.0.zip(record.1).map(|(partition, offset)| Coordinates { partition, offset }),
    })
}

/// A number as it was before PostgreSQL, which has none without a sign.
pub(super) fn narrow<N, T: TryFrom<N>>(number: Option<N>, what: &'static str) -> PgResult<Option<T>> {
    number.map(|number| T::try_from(number).map_err(|_wrong| PgFailure::Unreadable(what))).transpose()
}
