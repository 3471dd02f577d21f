//! Events as they stand in a day's tables, and the questions about them.

use std::ops::Range;

use schemas::delivery::Origin;
use schemas::ids::ApplicationId;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::facts::narrow;
use super::failure::{PgFailure, PgResult};
use super::list::{self, DayQuestion};
use super::reader::{AskedDay, PgReader};
use crate::day::Day;
use crate::fact::LoggedEvent;
use crate::place;
use crate::position::RowPosition;
use crate::query::{EventName, EventQuery, ListOrder, LogPage};

/// What the question for one event is answered with besides: the ids of subscriptions may be 200 KB.
const ALL: &str = "f.subscriptions, f.control_offset";
/// In a list's place of it.
const LISTED: &str = "NULL::bytea, NULL::int8";

/// What every question is answered with, of a row `f`.
fn columns(tables: &str, besides: &str) -> String {
    let word = |column: &str| format!("(SELECT word FROM words_{tables} WHERE id = f.{column})");
    format!(
        "f.place, f.time, f.stored, (SELECT uuid FROM ids_{tables} WHERE id = f.application), f.uuid, f.id, f.source, {}, f.at, {},
            f.origin_partition, f.origin_offset, f.matched, f.payload_bytes, {}, f.occurred_at, f.labels, f.metadata, f.ip, f.detail,
            {besides}",
        word("type"),
        word("origin_topic"),
        word("content_type"),
    )
}

/// A page of events.
pub(super) async fn page(reader: &PgReader, query: &EventQuery) -> PgResult<LogPage<LoggedEvent>> {
    let ask = |AskedDay { tables, .. }: &AskedDay| {
        let from = format!("events_{tables} WHERE application = (SELECT id FROM ids_{tables} WHERE uuid = $5)");
        DayQuestion { columns: columns(tables, LISTED), from, key: (&query.application.0, Type::UUID) }
    };
    list::page(reader, (query.page, query.times), ask, |day, row| {
        let event = read(row, day.day)?;
        let position = RowPosition { day: day.day, ms: event.accepted_ms, coordinates: event.coordinates };
        Ok((position, Some(event).filter(|event| query.matches(event))))
    })
    .await
}

/// The newest event with a name.
pub(super) async fn find(
    reader: &PgReader,
    application: ApplicationId,
    name: &EventName,
) -> PgResult<Option<LoggedEvent>> {
    for AskedDay { day, tables } in reader.days(ListOrder::Descending).await? {
        let columns = columns(&tables, ALL);
        let rows = match name {
            EventName::Uuid(uuid) => {
                let sql = format!("SELECT {columns} FROM events_{tables} f WHERE uuid = $1 ORDER BY place DESC");
                reader.of_day(&sql, &[(uuid, Type::UUID)]).await?
            }
            EventName::Id(id) => {
                let sql = format!(
                    "SELECT {columns} FROM events_{tables} f WHERE application = (SELECT id FROM ids_{tables} WHERE uuid = $1)
                        AND md5(id) = md5($2) AND id = $2 AND source IS NOT NULL ORDER BY time DESC, place DESC"
                );
                reader.of_day(&sql, &[(&application.0, Type::UUID), (id, Type::TEXT)]).await?
            }
        };
        if let Some(event) = first_of(&rows, day, application)? {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// Events by the UUIDs of their identities, where they were stored first.
pub(super) async fn of(
    reader: &PgReader,
    application: ApplicationId,
    events: &[(Uuid, Day)],
) -> PgResult<Vec<LoggedEvent>> {
    let (mut wanted, mut found) = (events.to_vec(), Vec::new());
    for AskedDay { day, tables } in reader.days(ListOrder::Ascending).await? {
        let asked: Vec<Uuid> = wanted.iter().filter(|(_, since)| day >= *since).map(|(uuid, _)| *uuid).collect();
        if asked.is_empty() {
            continue;
        }
        let columns = columns(&tables, LISTED);
        let sql = format!("SELECT {columns} FROM events_{tables} f WHERE uuid = ANY($1) ORDER BY place DESC");
        let rows = reader.of_day(&sql, &[(&asked, Type::UUID_ARRAY)]).await?;
        let here = rows.iter().map(|row| read(row, day)).collect::<PgResult<Vec<_>>>()?;
        for uuid in asked {
            if let Some(event) = here.iter().find(|it| it.uuid == uuid && it.application == application) {
                found.push(event.clone());
                wanted.retain(|(it, _)| *it != uuid);
            }
        }
    }
    Ok(found)
}

/// The events at these places of a day, in their order.
pub(super) async fn between(reader: &PgReader, day: &AskedDay, places: &Range<i64>) -> PgResult<Vec<LoggedEvent>> {
    let tables = &day.tables;
    let sql = format!(
        "SELECT {} FROM events_{tables} f WHERE place >= $1 AND place < $2 ORDER BY place",
        columns(tables, ALL)
    );
    let rows = reader.rows(&sql, &[(&places.start, Type::INT8), (&places.end, Type::INT8)]).await?;
    rows.iter().map(|row| read(row, day.day)).collect()
}

fn first_of(rows: &[Row], day: Day, application: ApplicationId) -> PgResult<Option<LoggedEvent>> {
    for row in rows {
        let event = read(row, day)?;
        if event.application == application {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// The event of a row.
fn read(row: &Row, day: Day) -> PgResult<LoggedEvent> {
    let missing = |what| move || PgFailure::Unreadable(what);
    let stored_ms = day.start_ms().saturating_add(row.try_get(2)?);
    let origin: (Option<String>, Option<i32>, Option<i64>) = (row.try_get(9)?, row.try_get(10)?, row.try_get(11)?);
    let origin = match origin {
        (Some(topic), Some(partition), Some(offset)) => Some(Origin { topic, partition, offset }),
        _ => None,
    };
    let application: Option<Uuid> = row.try_get(3)?;
    let event_type: Option<String> = row.try_get(7)?;
    let matched = narrow(row.try_get::<_, Option<i64>>(12)?, "a number of subscriptions that is none")?;
    Ok(LoggedEvent {
        coordinates: place::coordinates(row.try_get(0)?),
        stored_ms,
        at_ms: stored_ms.saturating_add(row.try_get(8)?),
        application: ApplicationId(application.ok_or_else(missing("no application"))?),
        uuid: row.try_get(4)?,
        id: row.try_get(5)?,
        source: row.try_get(6)?,
        event_type: event_type.ok_or_else(missing("no type"))?,
        accepted_ms: day.start_ms().saturating_add(row.try_get(1)?),
        origin,
        matched: matched.unwrap_or(0),
        payload_bytes: row.try_get::<_, i64>(13)?.unsigned_abs(),
        content_type: row.try_get(14)?,
        occurred_at: row.try_get(15)?,
        labels: row.try_get(16)?,
        metadata: row.try_get(17)?,
        ip: row.try_get(18)?,
        detail: row.try_get(19)?,
        subscriptions: row.try_get(20)?,
        control_offset: row.try_get(21)?,
    })
}
