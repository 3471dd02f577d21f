//! One page over all days: from day to day in the list's order, until it is full, or has looked at too much.

use chassis::clock;

use super::pool::Reader;
use crate::day::Day;
use crate::position::Position;
use crate::query::{Order, PAGE_ENTRIES, PAGE_MS, Page, PageOf, Times};
use crate::store::StoreError;

/// Entries between two looks at the clock.
const LOOK: usize = 64;

/// A page as it grows.
pub(super) struct Growing<T> {
    page: PageOf,
    rows: Vec<(Position, T)>,
    looked: usize,
    last: Option<Position>,
    until_ms: i64,
}

/// The part of a day that is asked for: times relative to its beginning, both included, and the place at the edge.
pub(super) struct Bounds {
    pub(super) from: i64,
    pub(super) to: i64,
    /// The row that the page comes behind: its time and its place.
    pub(super) after: Option<(i64, i64)>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
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
    pub(super) fn look(&mut self, position: Position, row: Option<T>) -> Next {
        if let Some(row) = row {
            self.rows.push((position, row));
            if self.rows.len() > self.page.limit {
                return Next::Nothing;
            }
        }
        self.last = Some(position);
        self.looked += 1;
        if self.is_spent() { Next::Nothing } else { Next::Row }
    }

    fn is_spent(&self) -> bool {
        self.looked >= PAGE_ENTRIES || self.looked.is_multiple_of(LOOK) && clock::boot_ms() > self.until_ms
    }

    /// All days were gone through, or it was told to stop.
    fn page(mut self, is_whole: bool) -> Page<T> {
        if self.rows.len() > self.page.limit {
            self.rows.truncate(self.page.limit);
            let next = self.rows.last().map(|(position, _)| *position);
            return Page { rows: self.rows.into_iter().map(|(_, row)| row).collect(), next };
        }
        let next = if is_whole { None } else { self.last };
        Page { rows: self.rows.into_iter().map(|(_, row)| row).collect(), next }
    }
}

/// Goes through the days.
pub(super) fn page<T>(
    reader: &mut Reader,
    (page, times): (PageOf, Times),
    mut look_into: impl FnMut(&mut Reader, Day, &Bounds, &mut Growing<T>) -> Result<Next, StoreError>,
) -> Result<Page<T>, StoreError> {
    let mut growing = Growing::new(page);
    for day in reader.days(page.order) {
        let Some(bounds) = bounds(day, &page, &times) else { continue };
        if look_into(reader, day, &bounds, &mut growing)? == Next::Nothing {
            return Ok(growing.page(false));
        }
    }
    Ok(growing.page(true))
}

/// What of a day a page may hold; `None`: nothing.
fn bounds(day: Day, page: &PageOf, times: &Times) -> Option<Bounds> {
    let after = match (page.after, page.order) {
        (Some(after), Order::Descending) if day > after.day => return None,
        (Some(after), Order::Ascending) if day < after.day => return None,
        (Some(after), _) if day == after.day => Some(after),
        _ => None,
    };
    let relative = |ms: i64| ms.saturating_sub(day.start_ms());
    Some(Bounds {
        from: times.from_ms.map_or(i64::MIN, relative),
        to: times.to_ms.map_or(i64::MAX, relative),
        after: after.map(|it| (relative(it.ms), super::schema::place(it.coordinates).unwrap_or(0))),
    })
}

/// The condition and the order of a page inside a day; parameters 1 to 4 are its bounds.
pub(super) fn clause(order: Order) -> &'static str {
    match order {
        Order::Descending => {
            "time >= ?1 AND time <= ?2 AND (time < ?3 OR time = ?3 AND place < ?4)
             ORDER BY time DESC, place DESC"
        }
        Order::Ascending => {
            "time >= ?1 AND time <= ?2 AND (time > ?3 OR time = ?3 AND place > ?4)
             ORDER BY time, place"
        }
    }
}

// === impl Bounds ===

impl Bounds {
    /// The parameters of [`clause`].
    pub(super) fn parameters(&self, order: Order) -> [i64; 4] {
        match (order, self.after) {
            (Order::Descending, Some((time, place))) => [self.from, self.to.min(time), time, place],
            (Order::Descending, None) => [self.from, self.to, i64::MAX, i64::MAX],
            (Order::Ascending, Some((time, place))) => [self.from.max(time), self.to, time, place],
            (Order::Ascending, None) => [self.from, self.to, i64::MIN, i64::MIN],
        }
    }
}
