//! Chunks by day: a day's part of a chunk is the runs of its rows, with the offsets between them, so that the parts of all days
//! cover the chunk and none covers what is another's. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::day::Day;
use crate::fact::{LogChunk, LogRow};

/// What chunks bring to one day.
#[derive(Debug, Default)]
pub(crate) struct DayPart {
    /// Partition and row.
    pub(crate) rows: Vec<(i32, LogRow)>,
    /// Partition and offsets.
    pub(crate) covered: Vec<(i32, Range<i64>)>,
}

/// Splits chunks. Offsets without a row, such as transaction markers, go with the row before them, at the front with the one
/// behind; a chunk without rows is in no day, and read again one day.
pub(crate) fn by_day(chunks: Vec<LogChunk>) -> BTreeMap<Day, DayPart> {
    let mut days: BTreeMap<Day, DayPart> = BTreeMap::new();
    for LogChunk { partition, offsets, rows } in chunks {
        let mut start = offsets.start;
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            let day = Day::of(row.stored_ms);
            let next = rows.peek().map(|next| (Day::of(next.stored_ms), next.offset));
            let end = next.map_or(offsets.end, |(_, offset)| offset);
            let part = days.entry(day).or_default();
            part.rows.push((partition, row));
            if next.is_none_or(|(next, _)| next != day) {
                part.covered.push((partition, start..end));
                start = end;
            }
        }
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::RowContent;

    const DAY: i64 = 86_400_000;

    fn chunk(offsets: Range<i64>, rows: &[(i64, i64)]) -> LogChunk {
        let row =
            |(offset, day): &(i64, i64)| LogRow { offset: *offset, stored_ms: day * DAY, content: RowContent::Nothing };
        LogChunk { partition: 2, offsets, rows: rows.iter().map(row).collect() }
    }

    fn covered(chunk: LogChunk) -> Vec<(i32, Range<i64>)> {
        let days = by_day(vec![chunk]).into_iter();
        days.flat_map(|(day, part)| part.covered.into_iter().map(move |(_, it)| (day.number(), it))).collect()
    }

    #[test]
    fn the_days_of_a_chunk_cover_all_of_it_and_nothing_twice() {
        assert_eq!(covered(chunk(3..20, &[(4, 1), (7, 1)])), [(1, 3..20)]);
        assert_eq!(covered(chunk(3..20, &[(4, 1), (7, 2), (8, 2)])), [(1, 3..7), (2, 7..20)]);
        // A broker's clock was set back.
        assert_eq!(covered(chunk(0..9, &[(0, 1), (2, 2), (4, 1)])), [(1, 0..2), (1, 4..9), (2, 2..4)]);
        assert_eq!(covered(chunk(0..9, &[])), []);
    }
}
