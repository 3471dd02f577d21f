//! One page over all days: from day to day in the list's order, until it is full, or has looked at too much.

use chassis::clock;
use rusqlite::{Connection, Row, ToSql, params};

use super::failed;
use super::pool::DayReader;
use crate::day::Day;
use crate::position::RowPosition;
use crate::query::{ListOrder, LogPage, PAGE_ENTRIES, PAGE_MS, PageOf, Times};
use crate::store::StoreError;

/// Entries between two looks at the clock.
const LOOK: usize = 64;

/// A page as it grows.
struct Growing<T> {
    page: PageOf,
    rows: Vec<(RowPosition, T)>,
    looked: usize,
    last: Option<RowPosition>,
    until_ms: i64,
}

/// The part of a day that is asked for: times relative to its beginning, both included, and the place at the edge.
struct DayBounds {
    from: i64,
    to: i64,
    /// The row that the page comes behind: its time and its place.
    after: Option<(i64, i64)>,
}

/// A day as a page goes through it.
pub(super) struct DayWalk<'g, T> {
    order: ListOrder,
    bounds: DayBounds,
    growing: &'g mut Growing<T>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoOn {
    Row,
    Nothing,
}

// === impl Growing ===

impl<T> Growing<T> {
    fn new(page: PageOf) -> Self {
        let allowed = i64::try_from(PAGE_MS).unwrap_or(i64::MAX);
        Self { page, rows: Vec::new(), looked: 0, last: None, until_ms: clock::boot_ms() + allowed }
    }

    /// An entry was looked at, and is a row of the page or not.
    fn look(&mut self, position: RowPosition, row: Option<T>) -> GoOn {
        if let Some(row) = row {
            self.rows.push((position, row));
            if self.rows.len() > self.page.limit {
                return GoOn::Nothing;
            }
        }
        self.last = Some(position);
        self.looked += 1;
        if self.is_spent() { GoOn::Nothing } else { GoOn::Row }
    }

    fn is_spent(&self) -> bool {
        self.looked >= PAGE_ENTRIES || self.looked.is_multiple_of(LOOK) && clock::boot_ms() > self.until_ms
    }

    /// All days were gone through, or it was told to stop.
    fn page(mut self, is_whole: bool) -> LogPage<T> {
        if self.rows.len() > self.page.limit {
            self.rows.truncate(self.page.limit);
            let next = self.rows.last().map(|(position, _)| *position);
            return LogPage { rows: self.rows.into_iter().map(|(_, row)| row).collect(), next };
        }
        let next = if is_whole { None } else { self.last };
        LogPage { rows: self.rows.into_iter().map(|(_, row)| row).collect(), next }
    }
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

/// What of a day a page may hold; `None`: nothing.
fn bounds(day: Day, page: &PageOf, times: &Times) -> Option<DayBounds> {
    let after = match (page.after, page.order) {
        (Some(after), ListOrder::Descending) if day > after.day => return None,
        (Some(after), ListOrder::Ascending) if day < after.day => return None,
        (Some(after), _) if day == after.day => Some(after),
        _ => None,
    };
    let relative = |ms: i64| ms.saturating_sub(day.start_ms());
    Some(DayBounds {
        from: times.from_ms.map_or(i64::MIN, relative),
        to: times.to_ms.map_or(i64::MAX, relative),
        after: after.map(|it| (relative(it.ms), super::schema::place(it.coordinates).unwrap_or(0))),
    })
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

// === impl DayBounds ===

impl DayBounds {
    /// The parameters of [`clause`].
    fn parameters(&self, order: ListOrder) -> [i64; 4] {
        match (order, self.after) {
            (ListOrder::Descending, Some((time, place))) => [self.from, self.to.min(time), time, place],
            (ListOrder::Descending, None) => [self.from, self.to, i64::MAX, i64::MAX],
            (ListOrder::Ascending, Some((time, place))) => [self.from.max(time), self.to, time, place],
            (ListOrder::Ascending, None) => [self.from, self.to, i64::MIN, i64::MIN],
        }
    }
}
