//! Facts as they stand in a day's file, and the questions about them.

use std::collections::HashMap;
use std::ops::Range;

use rusqlite::{Connection, Row, ToSql, params};
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use uuid::Uuid;

use super::list;
use super::names::Names;
use super::pool::DayReader;
use super::{failed, schema};
use crate::day::Day;
use crate::fact::{Fact, FactKind, Kinds, LoggedExchange};
use crate::growing::GoOn;
use crate::place;
use crate::position::{Coordinates, RowPosition};
use crate::query::{FactQuery, ListOrder, LogPage, Subject};
use crate::store::StoreError;

/// Facts of one delivery that are given: more than twice as many as the longest schedule has attempts.
const HISTORY: usize = 250;

const COLUMNS: &str =
    "place, time, kind, application, event, type, subscription, delivery, generation, made_by, attempt, at,
    accepted, due, started, elapsed, first_byte, status, error, reason, dialled, record_partition, record_offset,
    (SELECT detail FROM texts WHERE number = facts.text)";

/// What of a row is looked at before anything is made of it.
struct IndexEntry {
    place: i64,
    time: i64,
    kind: Option<FactKind>,
    application: Option<i64>,
    event_type: Option<i64>,
    subscription: Option<i64>,
    status: Option<u16>,
}

/// A page of facts.
pub(super) fn page(reader: &mut DayReader, query: &FactQuery) -> Result<LogPage<Fact>, StoreError> {
    list::page(reader, (query.page, query.times), |connection, day, walk| {
        let names = Names::new(connection);
        let Some(application) = names.number(query.application.0)? else { return Ok(GoOn::Row) };
        let Some((condition, subject)) = access(&names, query, application)? else { return Ok(GoOn::Row) };
        let subscription = query.subscription.map(|id| names.number(id.0)).transpose()?;
        // The day knows nothing of the one that is asked for.
        if subscription == Some(None) {
            return Ok(GoOn::Row);
        }
        let owners = (application, subscription.flatten());
        let mut types: HashMap<Option<i64>, bool> = HashMap::new();
        walk.rows(connection, &format!("SELECT {COLUMNS} FROM facts {condition}"), &*subject, |row| {
            let entry = IndexEntry::of(row)?;
            let may_be = entry.may_be(query, owners) && is_wanted(&names, query, entry.event_type, &mut types)?;
            let fact = if may_be { Some(read(row, day, &names)?).filter(|fact| query.matches(fact)) } else { None };
            let ms = day.start_ms() + entry.time;
            Ok((RowPosition { day, ms, coordinates: place::coordinates(entry.place) }, fact))
        })
    })
}

/// The index that leads to the rows, and its key. `None`: the day has none of them.
fn access(
    names: &Names<'_>,
    query: &FactQuery,
    application: i64,
) -> rusqlite::Result<Option<(&'static str, Box<dyn ToSql>)>> {
    Ok(match query.subject {
        Subject::All if schema::are_failures(query.kinds) => {
            Some(("INDEXED BY facts_failed WHERE application = ?5 AND kind IN (4, 7, 8, 13)", Box::new(application)))
        }
        Subject::All => Some(("INDEXED BY facts_by_application WHERE application = ?5", Box::new(application))),
        Subject::Subscription(id) => names.number(id.0)?.map(|id| {
            let key: Box<dyn ToSql> = Box::new(id);
            ("INDEXED BY facts_by_subscription WHERE subscription = ?5", key)
        }),
        Subject::Event(id) => Some(("INDEXED BY facts_by_event WHERE event = ?5", Box::new(id.into_bytes()))),
        Subject::Delivery(id) => {
            Some(("INDEXED BY facts_by_delivery WHERE delivery = ?5", Box::new(id.0.into_bytes())))
        }
    })
}

fn is_wanted(
    names: &Names<'_>,
    query: &FactQuery,
    event_type: Option<i64>,
    known: &mut HashMap<Option<i64>, bool>,
) -> rusqlite::Result<bool> {
    if query.types.is_empty() {
        return Ok(true);
    }
    if let Some(is_wanted) = known.get(&event_type) {
        return Ok(*is_wanted);
    }
    let name = names.word(event_type)?;
    let is_wanted = name.is_some_and(|name| query.types.iter().any(|pattern| pattern.matches(&name)));
    known.insert(event_type, is_wanted);
    Ok(is_wanted)
}

/// All facts of deliveries, the oldest first.
pub(super) fn histories(
    reader: &mut DayReader,
    application: ApplicationId,
    deliveries: &[(DeliveryId, Day)],
) -> Result<Vec<Fact>, StoreError> {
    let mut found: HashMap<DeliveryId, Vec<Fact>> = HashMap::new();
    for day in reader.days(ListOrder::Ascending) {
        let wanted: Vec<[u8; 16]> =
            deliveries.iter().filter(|(_, since)| day >= *since).map(|(id, _)| id.0.into_bytes()).collect();
        let Some(connection) = reader.day(day)?.filter(|_| !wanted.is_empty()) else { continue };
        let facts = wanted.iter().map(|id| of_delivery(connection, day, application, (id, id)));
        for fact in facts.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?.into_iter().flatten() {
            let Some(delivery) = fact.delivery else { continue };
            let of = found.entry(delivery).or_default();
            if of.len() < HISTORY {
                of.push(fact);
            }
        }
    }
    Ok(deliveries.iter().filter_map(|(id, _)| found.remove(id)).flatten().collect())
}

/// All facts of the delivery whose id begins so, the oldest first.
pub(super) fn history_of(
    reader: &mut DayReader,
    application: ApplicationId,
    prefix: [u8; 14],
) -> Result<Vec<Fact>, StoreError> {
    let edge = |filling: u8| {
        let mut id = [filling; 16];
        id[..14].copy_from_slice(&prefix);
        id
    };
    let mut facts = Vec::new();
    for day in reader.days(ListOrder::Ascending) {
        let Some(connection) = reader.day(day)? else { continue };
        facts.extend(of_delivery(connection, day, application, (&edge(0), &edge(0xff))).map_err(failed)?);
    }
    facts.truncate(HISTORY);
    Ok(facts)
}

/// The facts at these places of a day, in their order.
pub(super) fn between(connection: &Connection, day: Day, places: &Range<i64>) -> rusqlite::Result<Vec<Fact>> {
    let names = Names::new(connection);
    let sql = format!("SELECT {COLUMNS} FROM facts WHERE place >= ?1 AND place < ?2 ORDER BY place");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([places.start, places.end], |row| read(row, day, &names))?.collect()
}

fn of_delivery(
    connection: &Connection,
    day: Day,
    application: ApplicationId,
    (first, last): (&[u8; 16], &[u8; 16]),
) -> rusqlite::Result<Vec<Fact>> {
    let names = Names::new(connection);
    let sql = format!(
        "SELECT {COLUMNS} FROM facts INDEXED BY facts_by_delivery WHERE delivery >= ?1 AND delivery <= ?2
            ORDER BY time, place LIMIT {HISTORY}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let facts = statement.query_map(params![first, last], |row| read(row, day, &names))?;
    facts.filter(|fact| fact.as_ref().is_ok_and(|it| it.application == Some(application)) || fact.is_err()).collect()
}

// === impl IndexEntry ===

impl IndexEntry {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            place: row.get(0)?,
            time: row.get(1)?,
            kind: FactKind::numbered(row.get(2)?),
            application: row.get(3)?,
            event_type: row.get(5)?,
            subscription: row.get(6)?,
            status: row.get(17)?,
        })
    }

    /// `subscription`: only those of this one.
    fn may_be(&self, query: &FactQuery, (application, subscription): (i64, Option<i64>)) -> bool {
        let is_kind = query.kinds == Kinds::ALL || self.kind.is_some_and(|kind| query.kinds.has(kind));
        let is_status = query.status.as_ref().is_none_or(|it| self.status.is_some_and(|status| it.contains(&status)));
        let is_owned = subscription.is_none() || self.subscription == subscription;
        self.application == Some(application) && is_owned && is_kind && is_status
    }
}

/// The fact of a row.
fn read(row: &Row<'_>, day: Day, names: &Names<'_>) -> rusqlite::Result<Fact> {
    let stored_ms = day.start_ms() + row.get::<_, i64>(1)?;
    let absolute = |column: usize| -> rusqlite::Result<Option<i64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(|ms| stored_ms.saturating_add(ms)))
    };
    let uuid = |column: usize| -> rusqlite::Result<Option<Uuid>> {
        Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
    };
    let kind = FactKind::numbered(row.get(2)?).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, row.get(2)?))?;
    let exchange = match absolute(14)? {
        None => None,
        Some(started_ms) => Some(LoggedExchange {
            started_ms,
            elapsed_ms: row.get::<_, Option<i64>>(15)?.unwrap_or(0),
            first_byte_ms: row.get(16)?,
            status: row.get(17)?,
            error: names.word(row.get(18)?)?,
            to: names.word(row.get(20)?)?,
        }),
    };
    let record: (Option<i32>, Option<i64>) = (row.get(21)?, row.get(22)?);
    Ok(Fact {
        coordinates: place::coordinates(row.get(0)?),
        stored_ms,
        kind,
        at_ms: stored_ms.saturating_add(row.get(11)?),
        application: names.id(row.get(3)?)?.map(ApplicationId),
        event: uuid(4)?,
        event_type: names.word(row.get(5)?)?,
        accepted_ms: absolute(12)?,
        subscription: names.id(row.get(6)?)?.map(SubscriptionId),
        delivery: uuid(7)?.map(DeliveryId),
        generation: uuid(8)?,
        made_by: names.word(row.get(9)?)?,
        attempt: row.get(10)?,
        due_ms: absolute(13)?,
        reason: names.word(row.get(19)?)?,
        detail: row.get(23)?,
        exchange,
        record: record.0.zip(record.1).map(|(partition, offset)| Coordinates { partition, offset }),
    })
}
