//! What is open: deliveries that were tried and have not ended, and dead letters nobody has decided about. It outlives days, and is
//! written in the transaction of the rows that open or close it.

use std::collections::{BTreeMap, HashMap};

use schemas::ids::ApplicationId;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::failure::{PgFailure, PgResult};
use super::session::{DaySet, day_of};
use crate::day::Day;
use crate::fact::{Fact, FactKind, Kinds};

/// Rows that are looked at at once where all is asked of the days again.
const ROWS: i64 = 5_000;
/// Kinds that open or close something.
const KINDS: &str = "(4, 6, 7, 8, 13, 14, 15)";

/// A row of a day that opens or closes a delivery, or a dead letter.
#[derive(Clone, Debug)]
pub(super) struct OpeningStep {
    day: Day,
    place: i64,
    kind: FactKind,
    delivery: Uuid,
    attempt: i64,
    application: Option<Uuid>,
    subscription: Option<Uuid>,
    stored_ms: i64,
    at_ms: i64,
    due_ms: Option<i64>,
}

/// What days know of a delivery: the day, and what was said there.
struct KnownStep {
    day: Day,
    kind: FactKind,
    attempt: i64,
}

// === impl OpeningStep ===

impl OpeningStep {
    /// What a fact opens or closes; `None`: nothing.
    pub(super) fn of(day: Day, place: i64, fact: &Fact) -> Option<Self> {
        let is_step = Kinds::ATTEMPTS.has(fact.kind) || Kinds::SETTLED.has(fact.kind);
        Some(Self {
            day,
            place,
            kind: fact.kind,
            delivery: fact.delivery.filter(|_| is_step)?.0,
            attempt: i64::from(fact.attempt.unwrap_or(0)),
            application: fact.application.map(|it| it.0),
            subscription: fact.subscription.map(|it| it.0),
            stored_ms: fact.stored_ms,
            at_ms: fact.at_ms,
            due_ms: fact.due_ms,
        })
    }

    /// Whether something that came after it is known: of the same or a younger day, or of the day before, whose last records may
    /// have been written by a broker with a slower clock.
    fn is_behind(&self, known: &HashMap<Uuid, Vec<KnownStep>>) -> bool {
        let is_after = |it: &KnownStep| {
            if self.kind == FactKind::DeadLettered {
                return Kinds::SETTLED.has(it.kind);
            }
            it.kind.is_terminal() || it.kind == FactKind::Attempted && it.attempt > self.attempt
        };
        let known = known.get(&self.delivery).into_iter().flatten();
        known.filter(|it| it.day >= self.day.minus(1)).any(is_after)
    }
}

/// Opens and closes what these rows say, which are in their days already.
pub(super) async fn apply(
    transaction: &Transaction<'_>,
    days: &BTreeMap<Day, DaySet>,
    steps: &[OpeningStep],
) -> PgResult<()> {
    let of = |is: fn(&OpeningStep) -> bool| steps.iter().filter(move |it| is(it));
    let ended: Vec<Uuid> = of(|it| it.kind.is_terminal()).map(|it| it.delivery).collect();
    let settled: Vec<Uuid> = of(|it| Kinds::SETTLED.has(it.kind)).map(|it| it.delivery).collect();
    for (sql, deliveries) in [
        ("DELETE FROM open_deliveries WHERE delivery = ANY($1)", ended),
        ("DELETE FROM open_letters WHERE delivery = ANY($1)", settled),
    ] {
        if !deliveries.is_empty() {
            transaction.execute_typed(sql, &[(&deliveries, Type::UUID_ARRAY)]).await?;
        }
    }
    let opens = |it: &&OpeningStep| matches!(it.kind, FactKind::Attempted | FactKind::DeadLettered);
    let known = known(transaction, days, &steps.iter().filter(opens).collect::<Vec<_>>()).await?;
    // The last of those that say the same of a delivery.
    let (mut deliveries, mut letters) = (BTreeMap::new(), BTreeMap::new());
    for step in steps.iter().filter(opens).filter(|it| !it.is_behind(&known)) {
        let into = if step.kind == FactKind::Attempted { &mut deliveries } else { &mut letters };
        into.insert(step.delivery, step);
    }
    write_deliveries(transaction, &deliveries.into_values().collect::<Vec<_>>()).await?;
    write_letters(transaction, &letters.into_values().collect::<Vec<_>>()).await
}

async fn write_deliveries(transaction: &Transaction<'_>, open: &[&OpeningStep]) -> PgResult<()> {
    if open.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO open_deliveries
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int8[], $5::int8[], $6::int8[], $7::int8[])
        ON CONFLICT (delivery) DO UPDATE SET application = excluded.application, subscription = excluded.subscription,
        attempt = excluded.attempt, since = excluded.since, due = excluded.due, place = excluded.place";
    let rows: [(&(dyn ToSql + Sync), Type); 7] = [
        (&column(open, |it| it.delivery), Type::UUID_ARRAY),
        (&column(open, |it| it.application), Type::UUID_ARRAY),
        (&column(open, |it| it.subscription), Type::UUID_ARRAY),
        (&column(open, |it| it.attempt), Type::INT8_ARRAY),
        (&column(open, |it| it.at_ms), Type::INT8_ARRAY),
        (&column(open, |it| it.due_ms), Type::INT8_ARRAY),
        (&column(open, |it| it.place), Type::INT8_ARRAY),
    ];
    transaction.execute_typed(insert, &rows).await?;
    Ok(())
}

async fn write_letters(transaction: &Transaction<'_>, dead: &[&OpeningStep]) -> PgResult<()> {
    if dead.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO open_letters SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int8[])
        ON CONFLICT (delivery) DO UPDATE SET application = excluded.application, subscription = excluded.subscription,
        stored = excluded.stored";
    let rows: [(&(dyn ToSql + Sync), Type); 4] = [
        (&column(dead, |it| it.delivery), Type::UUID_ARRAY),
        (&column(dead, |it| it.application), Type::UUID_ARRAY),
        (&column(dead, |it| it.subscription), Type::UUID_ARRAY),
        (&column(dead, |it| it.stored_ms), Type::INT8_ARRAY),
    ];
    transaction.execute_typed(insert, &rows).await?;
    Ok(())
}

fn column<T>(steps: &[&OpeningStep], of: fn(&OpeningStep) -> T) -> Vec<T> {
    steps.iter().map(|step| of(step)).collect()
}

/// What the days know of the deliveries of these steps, from the day before the oldest on.
async fn known(
    transaction: &Transaction<'_>,
    days: &BTreeMap<Day, DaySet>,
    steps: &[&OpeningStep],
) -> PgResult<HashMap<Uuid, Vec<KnownStep>>> {
    let mut known: HashMap<Uuid, Vec<KnownStep>> = HashMap::new();
    let Some(oldest) = steps.iter().map(|it| it.day).min() else { return Ok(known) };
    let deliveries: Vec<Uuid> = steps.iter().map(|it| it.delivery).collect();
    let of_day = |(day, set): (&Day, &DaySet)| {
        let (number, tables) = (day.number(), &set.tables);
        format!(
            "SELECT {number}::int4, delivery, kind, attempt FROM facts_{tables} WHERE delivery = ANY($1) AND kind IN {KINDS}"
        )
    };
    let sql = days.range(oldest.minus(1)..).map(of_day).collect::<Vec<_>>().join(" UNION ALL ");
    for row in transaction.query_typed(&sql, &[(&deliveries, Type::UUID_ARRAY)]).await? {
        let attempt: Option<i64> = row.try_get(3)?;
        let step =
            KnownStep { day: day_of(row.try_get(0)?)?, kind: kind(row.try_get(2)?)?, attempt: attempt.unwrap_or(0) };
        known.entry(row.try_get(1)?).or_default().push(step);
    }
    Ok(known)
}

/// The kind of a row.
pub(super) fn kind(number: i16) -> PgResult<FactKind> {
    let kind = u8::try_from(number).ok().and_then(FactKind::numbered);
    kind.ok_or(PgFailure::Unreadable("a kind that is none"))
}

/// Asks the days for all that is open.
pub(super) async fn ask_again(transaction: &Transaction<'_>, days: &BTreeMap<Day, DaySet>) -> PgResult<()> {
    transaction.batch_execute("DELETE FROM open_deliveries; DELETE FROM open_letters").await?;
    for (day, set) in days {
        let tables = &set.tables;
        let sql = format!(
            "SELECT place, time, kind, delivery, attempt, (SELECT uuid FROM ids_{tables} WHERE id = application),
                (SELECT uuid FROM ids_{tables} WHERE id = subscription), at, due FROM facts_{tables}
                WHERE place > $1 AND delivery IS NOT NULL AND kind IN {KINDS} ORDER BY place LIMIT $2"
        );
        let mut after = -1_i64;
        loop {
            let rows = transaction.query_typed(&sql, &[(&after, Type::INT8), (&ROWS, Type::INT8)]).await?;
            let steps = rows.iter().map(|row| step_of(*day, row)).collect::<PgResult<Vec<_>>>()?;
            let Some(last) = steps.last() else { break };
            after = last.place;
            apply(transaction, days, &steps).await?;
        }
    }
    Ok(())
}

fn step_of(day: Day, row: &tokio_postgres::Row) -> PgResult<OpeningStep> {
    let stored_ms = day.start_ms() + i64::from(row.try_get::<_, i32>(1)?);
    Ok(OpeningStep {
        day,
        place: row.try_get(0)?,
        kind: kind(row.try_get(2)?)?,
        delivery: row.try_get(3)?,
        attempt: row.try_get::<_, Option<i64>>(4)?.unwrap_or(0),
        application: row.try_get(5)?,
        subscription: row.try_get(6)?,
        stored_ms,
        at_ms: stored_ms.saturating_add(row.try_get(7)?),
        due_ms: row.try_get::<_, Option<i64>>(8)?.map(|due| stored_ms.saturating_add(due)),
    })
}

/// Forgets what was open before this time, Unix ms: its days are gone.
pub(super) async fn forget_before(transaction: &Transaction<'_>, ms: i64) -> PgResult<()> {
    transaction.execute_typed("DELETE FROM open_letters WHERE stored < $1", &[(&ms, Type::INT8)]).await?;
    transaction.execute_typed("DELETE FROM open_deliveries WHERE since < $1", &[(&ms, Type::INT8)]).await?;
    Ok(())
}

/// Forgets what was open of these applications before the time beside each, Unix ms.
pub(super) async fn forget_of(transaction: &Transaction<'_>, before: &[(ApplicationId, i64)]) -> PgResult<()> {
    let (applications, times): (Vec<Uuid>, Vec<i64>) =
        before.iter().map(|(application, ms)| (application.0, *ms)).unzip();
    for (table, time) in [("open_letters", "stored"), ("open_deliveries", "since")] {
        let sql = format!(
            "DELETE FROM {table} USING unnest($1::uuid[], $2::int8[]) AS b(whose, before)
                WHERE application = whose AND {time} < before"
        );
        transaction.execute_typed(&sql, &[(&applications, Type::UUID_ARRAY), (&times, Type::INT8_ARRAY)]).await?;
    }
    Ok(())
}
