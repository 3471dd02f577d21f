//! One page over all days: from day to day in the list's order, until it is full, or has looked at too much.

use chassis::clock;

use super::pool::DayReader;
use crate::day::Day;
use crate::position::RowPosition;
use crate::query::{ListOrder, LogPage, PAGE_ENTRIES, PAGE_MS, PageOf, Times};
use crate::store::StoreError;

/// Entries between two looks at the clock.
const LOOK: usize = 64;

/// A page as it grows.
pub(super) struct Growing<T> {
    page: PageOf,
    rows: Vec<(RowPosition, T)>,
    looked: usize,
    last: Option<RowPosition>,
    until_ms: i64,
}

/// The part of a day that is asked for: times relative to its beginning, both included, and the place at the edge.
pub(super) struct DayBounds {
    pub(super) from: i64,
    pub(super) to: i64,
    /// The row that the page comes behind: its time and its place.
    pub(super) after: Option<(i64, i64)>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoOn {
    Row,
    Nothing,
}

// === impl Growing ===

impl<T> Growing<T> {
    pub(super) fn new(page: PageOf) -> Self {
        let allowed = i64::try_from(PAGE_MS).unwrap_or(i64::MAX);
        Self { page, rows: Vec::new(), looked: 0, last: None, until_ms: clock::boot_ms() + allowed }
    }

    /// An entry was looked at, and is a row of the page or not.
    pub(super) fn look(&mut self, position: RowPosition, row: Option<T>) -> GoOn {
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

/// Goes through the days.
pub(super) fn page<T>(
    reader: &mut DayReader,
    (page, times): (PageOf, Times),
    mut look_into: impl FnMut(&mut DayReader, Day, &DayBounds, &mut Growing<T>) -> Result<GoOn, StoreError>,
) -> Result<LogPage<T>, StoreError> {
    let mut growing = Growing::new(page);
    for day in reader.days(page.order) {
        let Some(bounds) = bounds(day, &page, &times) else { continue };
        if look_into(reader, day, &bounds, &mut growing)? == GoOn::Nothing {
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

// === impl DayBounds ===

impl DayBounds {
    /// The parameters of [`clause`].
    pub(super) fn parameters(&self, order: ListOrder) -> [i64; 4] {
        match (order, self.after) {
            (ListOrder::Descending, Some((time, place))) => [self.from, self.to.min(time), time, place],
            (ListOrder::Descending, None) => [self.from, self.to, i64::MAX, i64::MAX],
            (ListOrder::Ascending, Some((time, place))) => [self.from.max(time), self.to, time, place],
            (ListOrder::Ascending, None) => [self.from, self.to, i64::MIN, i64::MIN],
        }
    }
}
