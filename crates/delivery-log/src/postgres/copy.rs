//! Rows of a day as they are copied into its tables, in PostgreSQL's binary form.

use std::pin::pin;

use tokio_postgres::Transaction;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::failure::PgResult;
use super::names::NewNumbers;
use crate::day::Day;
use crate::fact::{Fact, LoggedEvent, LoggedTarget};

const FACT: [Type; 24] = [
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT2,
    Type::UUID,
    Type::UUID,
    Type::UUID,
    Type::TEXT,
];
const EVENT: [Type; 22] = [
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::UUID,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::BYTEA,
];
const TARGET: [Type; 5] = [Type::INT8, Type::INT8, Type::INT4, Type::INT4, Type::TEXT];

/// Copies facts, each with its place.
pub(super) async fn facts(
    transaction: &Transaction<'_>,
    (day, tables): (Day, &str),
    numbers: &NewNumbers,
    facts: &[(i64, Fact)],
) -> PgResult<()> {
    if facts.is_empty() {
        return Ok(());
    }
    let sink = transaction.copy_in(&format!("COPY facts_{tables} FROM STDIN BINARY")).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &FACT));
    for (place, fact) in facts {
        let stored = fact.stored_ms;
        let relative = |ms: i64| ms.saturating_sub(stored);
        let exchange = fact.exchange.as_ref();
        let row: [&(dyn ToSql + Sync); 24] = [
            place,
            &relative(fact.at_ms),
            &fact.accepted_ms.map(relative),
            &fact.due_ms.map(relative),
            &exchange.map(|it| relative(it.started_ms)),
            &exchange.map(|it| it.elapsed_ms),
            &exchange.and_then(|it| it.first_byte_ms),
            &fact.record.map(|it| it.offset),
            &fact.attempt.map(i64::from),
            &time_of(day, stored),
            &numbers.id(fact.application.map(|it| it.0))?,
            &numbers.word(fact.event_type.as_deref())?,
            &numbers.id(fact.subscription.map(|it| it.0))?,
            &numbers.word(fact.made_by.as_deref())?,
            &exchange.and_then(|it| it.status).map(i32::from),
            &numbers.word(exchange.and_then(|it| it.error.as_deref()))?,
            &numbers.word(fact.reason.as_deref())?,
            &numbers.word(exchange.and_then(|it| it.to.as_deref()))?,
            &fact.record.map(|it| it.partition),
            &i16::from(fact.kind as u8),
            &fact.event,
            &fact.delivery.map(|it| it.0),
            &fact.generation,
            &fact.detail,
        ];
        writer.as_mut().write(&row).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// Copies events, each with its place.
pub(super) async fn events(
    transaction: &Transaction<'_>,
    (day, tables): (Day, &str),
    numbers: &NewNumbers,
    events: &[(i64, LoggedEvent)],
) -> PgResult<()> {
    if events.is_empty() {
        return Ok(());
    }
    let sink = transaction.copy_in(&format!("COPY events_{tables} FROM STDIN BINARY")).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &EVENT));
    for (place, event) in events {
        let origin = event.origin.as_ref();
        let row: [&(dyn ToSql + Sync); 22] = [
            place,
            &event.accepted_ms.saturating_sub(day.start_ms()),
            &event.stored_ms.saturating_sub(day.start_ms()),
            &event.at_ms.saturating_sub(event.stored_ms),
            &origin.map(|it| it.offset),
            &i64::from(event.matched),
            &i64::try_from(event.payload_bytes).unwrap_or(i64::MAX),
            &event.control_offset,
            &numbers.id(Some(event.application.0))?,
            &numbers.word(Some(&event.event_type))?,
            &numbers.word(origin.map(|it| it.topic.as_str()))?,
            &origin.map(|it| it.partition),
            &numbers.word(event.content_type.as_deref())?,
            &event.uuid,
            &event.id,
            &event.source,
            &event.occurred_at,
            &event.labels,
            &event.metadata,
            &event.ip,
            &event.detail,
            &event.subscriptions,
        ];
        writer.as_mut().write(&row).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// Copies what attempts have in common, each with its place.
pub(super) async fn targets(
    transaction: &Transaction<'_>,
    tables: &str,
    numbers: &NewNumbers,
    targets: &[(i64, LoggedTarget)],
) -> PgResult<()> {
    if targets.is_empty() {
        return Ok(());
    }
    let sink = transaction.copy_in(&format!("COPY targets_{tables} FROM STDIN BINARY")).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &TARGET));
    for (place, target) in targets {
        let owners: [Option<Uuid>; 2] = [Some(target.application.0), Some(target.subscription.0)];
        let row: [&(dyn ToSql + Sync); 5] =
            [place, &target.offset, &numbers.id(owners[0])?, &numbers.id(owners[1])?, &target.facts];
        writer.as_mut().write(&row).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// A record's time within its day, ms. Beyond the days that dates can name it is the last that fits.
fn time_of(day: Day, stored_ms: i64) -> i32 {
    let time = stored_ms.saturating_sub(day.start_ms());
    i32::try_from(time).unwrap_or(if time < 0 { i32::MIN } else { i32::MAX })
}
