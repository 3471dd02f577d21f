//! Events as they stand in a day's file, and the questions about them.

use std::ops::Range;

use rusqlite::{Connection, Row, params};
use schemas::delivery::Origin;
use schemas::ids::ApplicationId;
use uuid::Uuid;

use super::failed;
use super::list;
use super::names::Names;
use super::pool::DayReader;
use crate::day::Day;
use crate::fact::LoggedEvent;
use crate::growing::GoOn;
use crate::place;
use crate::position::RowPosition;
use crate::query::{EventName, EventQuery, ListOrder, LogPage};
use crate::store::StoreError;

/// What every question is answered with.
const COLUMNS: &str =
    "place, time, stored, application, uuid, id, source, type, at, origin_topic, origin_partition, origin_offset,
    matched, payload_bytes, content_type, occurred_at, labels, metadata, ip, detail";
/// What the question for one event is answered with besides. The ids of subscriptions may be 200 KB, and what stands behind them
/// in a row is found by reading through them.
const ALL: &str = "subscriptions, control_offset";
/// In a list's place of it.
const LISTED: &str = "NULL, NULL";

/// A page of events.
pub(super) fn page(reader: &mut DayReader, query: &EventQuery) -> Result<LogPage<LoggedEvent>, StoreError> {
    const BY_APPLICATION: &str =
        "INDEXED BY events_by_application LEFT JOIN texts ON number = text WHERE application = ?5";
    list::page(reader, (query.page, query.times), |connection, day, walk| {
        let names = Names::new(connection);
        let Some(application) = names.number(query.application.0)? else { return Ok(GoOn::Row) };
        walk.rows(
            connection,
            &format!("SELECT {COLUMNS}, {LISTED} FROM events {BY_APPLICATION}"),
            &application,
            |row| {
                let event = read(row, day, &names)?;
                let position = RowPosition { day, ms: event.accepted_ms, coordinates: event.coordinates };
                Ok((position, Some(event).filter(|event| query.matches(event))))
            },
        )
    })
}

/// The newest event with a name.
pub(super) fn find(
    reader: &mut DayReader,
    application: ApplicationId,
    name: &EventName,
) -> Result<Option<LoggedEvent>, StoreError> {
    for day in reader.days(ListOrder::Descending) {
        let Some(connection) = reader.day(day)? else { continue };
        let found = match name {
            EventName::Uuid(uuid) => by_uuid(connection, day, application, *uuid, ALL),
            EventName::Id(id) => by_id(connection, day, application, id),
        };
        if let Some(event) = found.map_err(failed)? {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// Events by the UUIDs of their identities, where they were stored first.
pub(super) fn of(
    reader: &mut DayReader,
    application: ApplicationId,
    events: &[(Uuid, Day)],
) -> Result<Vec<LoggedEvent>, StoreError> {
    let (mut wanted, mut found) = (events.to_vec(), Vec::new());
    for day in reader.days(ListOrder::Ascending) {
        if !wanted.iter().any(|(_, since)| day >= *since) {
            continue;
        }
        let Some(connection) = reader.day(day)? else { continue };
        let mut missing = Vec::new();
        for (uuid, since) in wanted {
            let event = if day < since { Ok(None) } else { by_uuid(connection, day, application, uuid, LISTED) };
            match event.map_err(failed)? {
                Some(event) => found.push(event),
                None => missing.push((uuid, since)),
            }
        }
        wanted = missing;
    }
    Ok(found)
}

/// The events at these places of a day, in their order.
pub(super) fn between(connection: &Connection, day: Day, places: &Range<i64>) -> rusqlite::Result<Vec<LoggedEvent>> {
    let names = Names::new(connection);
    let sql = format!(
        "SELECT {COLUMNS}, {ALL} FROM events LEFT JOIN texts ON number = text WHERE place >= ?1 AND place < ?2 ORDER BY place"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([places.start, places.end], |row| read(row, day, &names))?.collect()
}

fn by_uuid(
    connection: &Connection,
    day: Day,
    application: ApplicationId,
    uuid: Uuid,
    besides: &str,
) -> rusqlite::Result<Option<LoggedEvent>> {
    let names = Names::new(connection);
    let sql = format!(
        "SELECT {COLUMNS}, {besides} FROM events INDEXED BY events_by_uuid LEFT JOIN texts ON number = text
            WHERE uuid = ?1 ORDER BY place DESC"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let events = statement.query_map([uuid.as_bytes()], |row| read(row, day, &names))?;
    first_of(events, application)
}

fn by_id(
    connection: &Connection,
    day: Day,
    application: ApplicationId,
    id: &str,
) -> rusqlite::Result<Option<LoggedEvent>> {
    let names = Names::new(connection);
    let Some(number) = names.number(application.0)? else { return Ok(None) };
    let sql = format!(
        "SELECT {COLUMNS}, {ALL} FROM events INDEXED BY events_by_id LEFT JOIN texts ON number = text
            WHERE application = ?1 AND id = ?2 AND source IS NOT NULL ORDER BY time DESC, place DESC"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let events = statement.query_map(params![number, id], |row| read(row, day, &names))?;
    first_of(events, application)
}

fn first_of(
    mut events: impl Iterator<Item = rusqlite::Result<LoggedEvent>>,
    application: ApplicationId,
) -> rusqlite::Result<Option<LoggedEvent>> {
    let is_own =
        |event: &rusqlite::Result<LoggedEvent>| event.as_ref().map_or(true, |it| it.application == application);
    events.find(is_own).transpose()
}

/// The event of a row.
fn read(row: &Row<'_>, day: Day, names: &Names<'_>) -> rusqlite::Result<LoggedEvent> {
    let stored_ms = day.start_ms() + row.get::<_, i64>(2)?;
    let missing = |column: usize| rusqlite::Error::IntegralValueOutOfRange(column, 0);
    let origin: (Option<String>, Option<i32>, Option<i64>) = (names.word(row.get(9)?)?, row.get(10)?, row.get(11)?);
    let origin = match origin {
        (Some(topic), Some(partition), Some(offset)) => Some(Origin { topic, partition, offset }),
        _ => None,
    };
    Ok(LoggedEvent {
        coordinates: place::coordinates(row.get(0)?),
        stored_ms,
        at_ms: stored_ms.saturating_add(row.get(8)?),
        application: names.id(row.get(3)?)?.map(ApplicationId).ok_or_else(|| missing(3))?,
        uuid: Uuid::from_bytes(row.get(4)?),
        id: row.get(5)?,
        source: row.get(6)?,
        event_type: names.word(row.get(7)?)?.ok_or_else(|| missing(7))?,
        accepted_ms: day.start_ms().saturating_add(row.get(1)?),
        origin,
        matched: row.get(12)?,
        payload_bytes: row.get::<_, i64>(13)?.unsigned_abs(),
        content_type: names.word(row.get(14)?)?,
        occurred_at: row.get(15)?,
        labels: row.get(16)?,
        metadata: row.get(17)?,
        ip: row.get(18)?,
        detail: row.get(19)?,
        subscriptions: row.get(20)?,
        control_offset: row.get(21)?,
    })
}
