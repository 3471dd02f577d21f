//! What is read of the topic, taken in: the rows of all days, what they count, what they open and close, and which offsets they are
//! of, in one transaction.

use std::collections::{BTreeMap, HashSet};

use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::failure::PgResult;
use super::names::NewNumbers;
use super::open::{self, OpeningStep};
use super::session::{DaySet, PgSession, move_on};
use super::{copy, ended, erasures, schema};
use crate::day::Day;
use crate::erasure;
use crate::fact::{LogChunk, LogRow, RowContent};
use crate::histogram::Histogram;
use crate::minute::MINUTE;
use crate::place;
use crate::plain_text;
use crate::position::Coordinates;
use crate::split::{self, DayPart};
use crate::store::Projected;
use crate::tally::NewCounts;

/// Rows that are new, by kind.
#[derive(Default)]
struct NewRows {
    facts: Vec<(i64, crate::fact::Fact)>,
    events: Vec<(i64, crate::fact::LoggedEvent)>,
    targets: Vec<(i64, crate::fact::LoggedTarget)>,
}

/// What a transaction knows besides its rows.
struct Filling<'f> {
    topic_kept: &'f str,
    erased: HashSet<Uuid>,
}

// === impl PgSession ===

impl PgSession {
    /// Takes what was read; rows of days before `oldest` are left out. `kept` is what this build keeps.
    pub(super) async fn project(&mut self, chunks: Vec<LogChunk>, oldest: Day, kept: &str) -> PgResult<Projected> {
        let mut projected = Projected::default();
        let mut parts = split::by_day(chunks);
        let younger = parts.split_off(&oldest);
        projected.too_old = parts.into_values().map(|part| part.rows.len() as u64).sum();
        let transaction = self.client.transaction().await?;
        move_on(&transaction, &mut self.turn).await?;
        for day in younger.keys() {
            if !self.days.contains_key(day) {
                let set = make_day(&transaction, *day, self.turn).await?;
                self.days.insert(*day, set);
                self.is_untidy = true;
            }
        }
        let erased = erasures::hear(&transaction, &self.days, &younger).await?;
        let filling = Filling { topic_kept: kept, erased };
        let mut steps = Vec::new();
        for (day, part) in younger {
            let Some(set) = self.days.get_mut(&day) else { continue };
            let taken = filling.take(&transaction, (day, set), part, &mut steps).await?;
            projected.new += taken.new;
            projected.known += taken.known;
        }
        open::apply(&transaction, &self.days, &steps).await?;
        transaction.commit().await?;
        Ok(projected)
    }
}

// === impl NewRows ===

impl NewRows {
    /// Takes what stands at a place, and counts it. Returns what it opens or closes.
    fn take(
        &mut self,
        (day, place): (Day, i64),
        content: RowContent,
        numbers: &NewNumbers,
        counted: &mut NewCounts,
    ) -> PgResult<Option<OpeningStep>> {
        match content {
            RowContent::Fact(fact) => {
                let step = OpeningStep::of(day, place, &fact);
                let subscription = numbers.id(fact.subscription.map(|it| it.0))?;
                let application = numbers.id(fact.application.map(|it| it.0))?;
                if let Some((subscription, application)) = subscription.zip(application) {
                    let owners = (i64::from(subscription), i64::from(application));
                    counted.fact(owners, (fact.stored_ms - day.start_ms()) / MINUTE, &fact);
                }
                self.facts.push((place, *fact));
                return Ok(step);
            }
            RowContent::Event(event) => {
                if let Some(application) = numbers.id(Some(event.application.0))? {
                    counted.event(i64::from(application));
                }
                self.events.push((place, *event));
            }
            RowContent::Target(target) => self.targets.push((place, *target)),
            RowContent::Nothing => {}
        }
        Ok(None)
    }
}

// === impl Filling ===

impl Filling<'_> {
    async fn take(
        &self,
        transaction: &Transaction<'_>,
        (day, set): (Day, &mut DaySet),
        part: DayPart,
        steps: &mut Vec<OpeningStep>,
    ) -> PgResult<Projected> {
        let passes = part.rows.iter().any(|(_, row)| matches!(row.content, RowContent::Nothing));
        let mut projected = Projected::default();
        let (rows, marks) = self.rows(part.rows);
        let known = known(transaction, &set.tables, &rows).await?;
        let (rows, old): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(place, _)| !known.contains(place));
        projected.known = old.len() as u64;
        projected.new = rows.len() as u64;
        if projected.new > 0 {
            set.gone.clear();
        }
        set.numbers.learn(transaction, &set.tables, &rows).await?;
        let (mut new, mut counted) = (NewRows::default(), NewCounts::default());
        for (place, row) in rows {
            steps.extend(new.take((day, place), row.content, &set.numbers, &mut counted)?);
        }
        let of = (day, set.tables.as_str());
        copy::facts(transaction, of, &set.numbers, &new.facts).await?;
        copy::events(transaction, of, &set.numbers, &new.events).await?;
        copy::targets(transaction, &set.tables, &set.numbers, &new.targets).await?;
        ended::add(transaction, &set.tables, &counted.ended).await?;
        count(transaction, of, counted).await?;
        erasures::mark(transaction, day, &marks).await?;
        part.covered.iter().for_each(|(partition, offsets)| set.covered.add(*partition, offsets.clone()));
        cover(transaction, (day, set), part.covered.iter().map(|(partition, _)| *partition).collect()).await?;
        let passed = (passes && !set.has_passed).then_some(self.topic_kept);
        set.has_passed |= passes;
        let told = "UPDATE days SET rows = rows + $2, passed = coalesce($3, passed) WHERE day = $1";
        let new = i64::try_from(projected.new).unwrap_or(i64::MAX);
        let told_of = [(&day.number() as &(dyn ToSql + Sync), Type::INT4), (&new, Type::INT8), (&passed, Type::TEXT)];
        transaction.execute_typed(told, &told_of).await?;
        Ok(projected)
    }

    /// Rows with their places, as they can be kept, and which of them are of events that are erased.
    fn rows(&self, rows: Vec<(i32, LogRow)>) -> (Vec<(i64, LogRow)>, HashSet<Uuid>) {
        let (mut placed, mut seen, mut marks) = (Vec::with_capacity(rows.len()), HashSet::new(), HashSet::new());
        for (partition, row) in rows {
            let Some(place) = place::of(Coordinates { partition, offset: row.offset }) else { continue };
            let (mut row, event) = erasure::without_content(row, &self.erased);
            marks.extend(event);
            if !matches!(row.content, RowContent::Nothing) && seen.insert(place) {
                plain_text::without_nul(&mut row);
                placed.push((place, row));
            }
        }
        (placed, marks)
    }
}

/// Makes the tables of a day.
async fn make_day(transaction: &Transaction<'_>, day: Day, turn: i64) -> PgResult<DaySet> {
    let tables = schema::tables_of(day, turn);
    transaction.batch_execute(&schema::day_sql(&tables)).await?;
    let insert = "INSERT INTO days(day, tables, rows) VALUES($1, $2, 0)";
    transaction.execute_typed(insert, &[(&day.number(), Type::INT4), (&tables, Type::TEXT)]).await?;
    Ok(DaySet { tables, ..DaySet::default() })
}

/// Which of these places have a row.
async fn known(transaction: &Transaction<'_>, tables: &str, rows: &[(i64, LogRow)]) -> PgResult<HashSet<i64>> {
    let places: Vec<i64> = rows.iter().map(|(place, _)| *place).collect();
    if places.is_empty() {
        return Ok(HashSet::new());
    }
    let find = format!(
        "SELECT place FROM facts_{tables} WHERE place = ANY($1) UNION ALL
            SELECT place FROM events_{tables} WHERE place = ANY($1) UNION ALL
            SELECT place FROM targets_{tables} WHERE place = ANY($1)"
    );
    let found = transaction.query_typed(&find, &[(&places, Type::INT8_ARRAY)]).await?;
    Ok(found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Adds to the minutes of subscriptions and to the events of applications.
async fn count(transaction: &Transaction<'_>, (day, tables): (Day, &str), mut counted: NewCounts) -> PgResult<()> {
    let number = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    let keys: Vec<(i32, i32)> =
        counted.minutes.keys().map(|(owner, minute)| (number(*owner), number(*minute))).collect();
    let (owners, minutes): (Vec<i32>, Vec<i32>) = keys.into_iter().unzip();
    if !owners.is_empty() {
        let find = format!(
            "SELECT owner, minute, latency FROM buckets_{tables} JOIN unnest($1::int4[], $2::int4[]) AS k(o, m)
                ON owner = k.o AND minute = k.m"
        );
        let of = [(&owners as &(dyn ToSql + Sync), Type::INT4_ARRAY), (&minutes, Type::INT4_ARRAY)];
        for row in transaction.query_typed(&find, &of).await? {
            let (owner, minute): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
            let known = Histogram::decode(row.try_get(2)?);
            if let Some(new) = counted.minutes.get_mut(&(i64::from(owner), i64::from(minute)))
                && let Some(known) = known
            {
                new.latency.merge(&known);
            }
        }
        let add = format!(
            "INSERT INTO buckets_{tables} AS b
                SELECT * FROM unnest($1::int4[], $2::int4[], $3::int4[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::bytea[])
                ON CONFLICT (owner, minute) DO UPDATE SET delivered = b.delivered + excluded.delivered,
                retried = b.retried + excluded.retried, dead_lettered = b.dead_lettered + excluded.dead_lettered,
                cancelled = b.cancelled + excluded.cancelled, settled = b.settled + excluded.settled, latency = excluded.latency"
        );
        let all: Vec<_> = counted.minutes.into_values().collect();
        let column = |of: fn(&crate::tally::NewMinute) -> i64| all.iter().map(of).collect::<Vec<i64>>();
        let applications: Vec<i32> = all.iter().map(|it| number(it.application)).collect();
        let latencies: Vec<Vec<u8>> = all.iter().map(|it| it.latency.encode()).collect();
        let rows: [(&(dyn ToSql + Sync), Type); 9] = [
            (&owners, Type::INT4_ARRAY),
            (&minutes, Type::INT4_ARRAY),
            (&applications, Type::INT4_ARRAY),
            (&column(|it| it.delivered), Type::INT8_ARRAY),
            (&column(|it| it.retried), Type::INT8_ARRAY),
            (&column(|it| it.dead_lettered), Type::INT8_ARRAY),
            (&column(|it| it.cancelled), Type::INT8_ARRAY),
            (&column(|it| it.settled), Type::INT8_ARRAY),
            (&latencies, Type::BYTEA_ARRAY),
        ];
        transaction.execute_typed(&add, &rows).await?;
    }
    let add = format!(
        "INSERT INTO accepted AS a SELECT $1, uuid, $3 FROM ids_{tables} WHERE id = $2
            ON CONFLICT (day, application) DO UPDATE SET events = a.events + excluded.events"
    );
    let accepted: BTreeMap<i64, i64> = counted.events;
    for (application, events) in accepted {
        let of = [
            (&day.number() as &(dyn ToSql + Sync), Type::INT4),
            (&number(application), Type::INT4),
            (&events, Type::INT8),
        ];
        transaction.execute_typed(&add, &of).await?;
    }
    Ok(())
}

/// Writes anew what is covered of these partitions.
async fn cover(transaction: &Transaction<'_>, (day, set): (Day, &DaySet), mut changed: Vec<i32>) -> PgResult<()> {
    changed.sort_unstable();
    changed.dedup();
    let (mut parts, mut starts, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    for partition in &changed {
        for interval in set.covered.of(*partition) {
            parts.push(*partition);
            starts.push(interval.start);
            stops.push(interval.end);
        }
    }
    let day = day.number();
    let delete = "DELETE FROM covered WHERE day = $1 AND part = ANY($2)";
    transaction.execute_typed(delete, &[(&day, Type::INT4), (&changed, Type::INT4_ARRAY)]).await?;
    let insert = "INSERT INTO covered SELECT $1, * FROM unnest($2::int4[], $3::int8[], $4::int8[])";
    let rows: [(&(dyn ToSql + Sync), Type); 4] =
        [(&day, Type::INT4), (&parts, Type::INT4_ARRAY), (&starts, Type::INT8_ARRAY), (&stops, Type::INT8_ARRAY)];
    transaction.execute_typed(insert, &rows).await?;
    Ok(())
}
