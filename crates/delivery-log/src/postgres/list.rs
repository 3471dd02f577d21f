//! One page over all days: from day to day in the list's order, until it is full, or has looked at too much.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::PgResult;
use super::reader::{AskedDay, PgParameter, PgReader};
use crate::growing::{DayBounds, GoOn, Growing, bounds};
use crate::position::RowPosition;
use crate::query::{ListOrder, LogPage, PageOf, Times};

/// Most entries that are asked for at once: where few fit, more and more are.
const MOST: usize = 2_000;

/// What is asked of a day: a `SELECT` up to its table, the condition that leads to an index, whose key is parameter 5, and that key.
pub(super) struct DayQuestion<'q> {
    pub(super) columns: String,
    pub(super) from: String,
    pub(super) key: PgParameter<'q>,
}

/// Goes through the days; `ask` says what is asked of one, and `read` where an entry stands, and its row where that is one of the page.
pub(super) async fn page<'q, T>(
    reader: &PgReader,
    (page, times): (PageOf, Times),
    ask: impl Fn(&AskedDay) -> DayQuestion<'q> + Send,
    mut read: impl FnMut(&AskedDay, &Row) -> PgResult<(RowPosition, Option<T>)> + Send,
) -> PgResult<LogPage<T>>
where
    T: Send,
{
    let mut growing = Growing::new(page);
    for day in reader.days(page.order).await? {
        let Some(mut bounds) = bounds(day.day, &page, &times) else { continue };
        let (question, mut size) = (ask(&day), page.limit + 1);
        loop {
            let sql = sql(&question, page.order, size);
            let rows = of_day(reader, &sql, &bounds, page.order, &question).await?;
            let mut last = None;
            for row in &rows {
                let (position, found) = read(&day, row)?;
                if growing.look(position, found) == GoOn::Nothing {
                    return Ok(growing.page(false));
                }
                last = Some(position);
            }
            match last {
                Some(last) if rows.len() == size => bounds.go_on(day.day, last),
                _ => break,
            }
            size = (size * 4).min(MOST).max(size);
        }
    }
    Ok(growing.page(true))
}

async fn of_day(
    reader: &PgReader,
    sql: &str,
    bounds: &DayBounds,
    order: ListOrder,
    question: &DayQuestion<'_>,
) -> PgResult<Vec<Row>> {
    let [from, to, time, place] = bounds.parameters(order);
    let parameters: [PgParameter<'_>; 5] =
        [(&from, Type::INT8), (&to, Type::INT8), (&time, Type::INT8), (&place, Type::INT8), question.key.clone()];
    reader.of_day(sql, &parameters).await
}

/// Entries of an index in the list's order; what they name is looked up of those alone.
fn sql(question: &DayQuestion<'_>, order: ListOrder, size: usize) -> String {
    let (comparison, direction) = match order {
        ListOrder::Descending => ("<", "DESC"),
        ListOrder::Ascending => (">", "ASC"),
    };
    let DayQuestion { columns, from, .. } = question;
    format!(
        "SELECT {columns} FROM (SELECT * FROM {from} AND time >= $1 AND time <= $2
            AND (time {comparison} $3 OR time = $3 AND place {comparison} $4)
            ORDER BY time {direction}, place {direction} LIMIT {size}) f ORDER BY time {direction}, place {direction}"
    )
}
