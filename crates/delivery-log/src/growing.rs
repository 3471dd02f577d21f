//! A page as it grows, from day to day in the list's order, until it is full, or has looked at too much. Pure but for the clock.

use chassis::clock;

use crate::day::Day;
use crate::place;
use crate::position::RowPosition;
use crate::query::{ListOrder, LogPage, PAGE_ENTRIES, PAGE_MS, PageOf, Times};

/// Entries between two looks at the clock.
const LOOK: usize = 64;

/// A page as it grows.
pub(crate) struct Growing<T> {
    page: PageOf,
    rows: Vec<(RowPosition, T)>,
    looked: usize,
    last: Option<RowPosition>,
    until_ms: i64,
}

/// The part of a day that is asked for: times relative to its beginning, both included, and the place at the edge.
pub(crate) struct DayBounds {
    from: i64,
    to: i64,
    /// The row that the page comes behind: its time and its place.
    after: Option<(i64, i64)>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoOn {
    Row,
    Nothing,
}

// === impl Growing ===

impl<T> Growing<T> {
    pub(crate) fn new(page: PageOf) -> Self {
        let allowed = i64::try_from(PAGE_MS).unwrap_or(i64::MAX);
        Self { page, rows: Vec::new(), looked: 0, last: None, until_ms: clock::boot_ms() + allowed }
    }

    /// An entry was looked at, and is a row of the page or not.
    pub(crate) fn look(&mut self, position: RowPosition, row: Option<T>) -> GoOn {
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
    pub(crate) fn page(mut self, is_whole: bool) -> LogPage<T> {
        if self.rows.len() > self.page.limit {
            self.rows.truncate(self.page.limit);
            let next = self.rows.last().map(|(position, _)| *position);
            return LogPage { rows: self.rows.into_iter().map(|(_, row)| row).collect(), next };
        }
        let next = if is_whole { None } else { self.last };
        LogPage { rows: self.rows.into_iter().map(|(_, row)| row).collect(), next }
    }
}

/// What of a day a page may hold; `None`: nothing.
pub(crate) fn bounds(day: Day, page: &PageOf, times: &Times) -> Option<DayBounds> {
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
        after: after.map(|it| (relative(it.ms), place::of(it.coordinates).unwrap_or(0))),
    })
}

// === impl DayBounds ===

impl DayBounds {
    /// Goes on behind this row of the day.
    pub(crate) fn go_on(&mut self, day: Day, last: RowPosition) {
        self.after = Some((last.ms.saturating_sub(day.start_ms()), place::of(last.coordinates).unwrap_or(0)));
    }

    /// From, to, and the time and place of the row that the page comes behind, which is beyond all rows where there is none: the
    /// parameters of a condition on time and place.
    pub(crate) fn parameters(&self, order: ListOrder) -> [i64; 4] {
        match (order, self.after) {
            (ListOrder::Descending, Some((time, place))) => [self.from, self.to.min(time), time, place],
            (ListOrder::Descending, None) => [self.from, self.to, i64::MAX, i64::MAX],
            (ListOrder::Ascending, Some((time, place))) => [self.from.max(time), self.to, time, place],
            (ListOrder::Ascending, None) => [self.from, self.to, i64::MIN, i64::MIN],
        }
    }
}
