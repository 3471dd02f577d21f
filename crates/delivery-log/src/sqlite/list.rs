//! One page over all days: from day to day in the list's order, until it is full, or has looked at too much.

use rusqlite::{Connection, Row, ToSql, params};

use super::failed;
use super::pool::DayReader;
use crate::day::Day;
use crate::growing::{DayBounds, GoOn, Growing, bounds};
use crate::position::RowPosition;
use crate::query::{ListOrder, LogPage, PageOf, Times};
use crate::store::StoreError;

/// A day as a page goes through it.
pub(super) struct DayWalk<'g, T> {
    order: ListOrder,
    bounds: DayBounds,
    growing: &'g mut Growing<T>,
}

/// Goes through the days; `look_into` takes the rows of one.
pub(super) fn page<T>(
    reader: &mut DayReader,
    (page, times): (PageOf, Times),
    mut look_into: impl FnMut(&Connection, Day, &mut DayWalk<'_, T>) -> rusqlite::Result<GoOn>,
) -> Result<LogPage<T>, StoreError> {
    let mut growing = Growing::new(page);
    for day in reader.days(page.order) {
        let Some(bounds) = bounds(day, &page, &times) else { continue };
        let Some(connection) = reader.day(day)? else { continue };
        let mut walk = DayWalk { order: page.order, bounds, growing: &mut growing };
        if look_into(connection, day, &mut walk).map_err(failed)? == GoOn::Nothing {
            return Ok(growing.page(false));
        }
    }
    Ok(growing.page(true))
}

/// The condition and the order of a page inside a day; parameters 1 to 4 are its bounds.
pub(super) fn clause(order: ListOrder) -> &'static str {
    match order {
        ListOrder::Descending => {
            "time >= ?1 AND time <= ?2 AND (time < ?3 OR time = ?3 AND place < ?4)
             ORDER BY time DESC, place DESC"
        }
        ListOrder::Ascending => {
            "time >= ?1 AND time <= ?2 AND (time > ?3 OR time = ?3 AND place > ?4)
             ORDER BY time, place"
        }
    }
}

// === impl DayWalk ===

impl<T> DayWalk<'_, T> {
    /// Looks at the entries of an index in the list's order. `from` is a `SELECT` up to its condition on the index, whose key is
    /// parameter 5; `read` says where an entry stands, and gives its row where that is one of the page.
    pub(super) fn rows(
        &mut self,
        connection: &Connection,
        from: &str,
        key: &dyn ToSql,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<(RowPosition, Option<T>)>,
    ) -> rusqlite::Result<GoOn> {
        let mut statement = connection.prepare_cached(&format!("{from} AND {}", clause(self.order)))?;
        let [one, two, three, four] = self.bounds.parameters(self.order);
        let mut rows = statement.query(params![one, two, three, four, key])?;
        while let Some(row) = rows.next()? {
            let (position, found) = read(row)?;
            if self.growing.look(position, found) == GoOn::Nothing {
                return Ok(GoOn::Nothing);
            }
        }
        Ok(GoOn::Row)
    }
}
