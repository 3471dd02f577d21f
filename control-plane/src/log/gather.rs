//! What was read and is not in the log yet, by partition. Pure.

use std::collections::BTreeMap;

use delivery_log::{LogChunk, LogRow};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gather {
    partitions: BTreeMap<i32, Gathered>,
    rows: usize,
}

#[derive(Debug)]
struct Gathered {
    start: i64,
    next: i64,
    rows: Vec<LogRow>,
}

// === impl Gather ===

impl Gather {
    /// Reading begins at these offsets.
    pub(super) fn starting(starts: impl IntoIterator<Item = (i32, i64)>) -> Self {
        let gathered = |(partition, start)| (partition, Gathered { start, next: start, rows: Vec::new() });
        Self { partitions: starts.into_iter().map(gathered).collect(), rows: 0 }
    }

    /// A record.
    pub(super) fn row(&mut self, partition: i32, row: LogRow) {
        let Some(gathered) = self.partitions.get_mut(&partition) else { return };
        gathered.next = row.offset + 1;
        gathered.rows.push(row);
        self.rows += 1;
    }

    /// Everything below this offset was passed.
    pub(super) fn passed(&mut self, partition: i32, position: i64) {
        if let Some(gathered) = self.partitions.get_mut(&partition) {
            gathered.next = gathered.next.max(position);
        }
    }

    /// Rows that wait.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The Kafka timestamp of the newest row that waits of each partition, Unix ms.
    pub(super) fn times(&self) -> Vec<(i32, i64)> {
        let newest = |(partition, gathered): (&i32, &Gathered)| Some((*partition, gathered.rows.last()?.stored_ms));
        self.partitions.iter().filter_map(newest).collect()
    }

    /// Takes all that waits. Offsets that were passed behind the last row go with it; where there is no row they wait for one.
    pub(super) fn take(&mut self) -> Vec<LogChunk> {
        self.rows = 0;
        let mut chunks = Vec::new();
        for (partition, gathered) in &mut self.partitions {
            if gathered.rows.is_empty() {
                continue;
            }
            let (offsets, rows) = (gathered.start..gathered.next, std::mem::take(&mut gathered.rows));
            gathered.start = gathered.next;
            chunks.push(LogChunk { partition: *partition, offsets, rows });
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use delivery_log::RowContent;

    use super::*;

    fn row(offset: i64) -> LogRow {
        LogRow { offset, stored_ms: offset * 10, content: RowContent::Nothing }
    }

    #[test]
    fn chunks_follow_each_other_without_a_gap() {
        let mut gather = Gather::starting([(0, 5), (1, 0)]);
        assert!(gather.take().is_empty());
        gather.passed(0, 7);
        assert!(gather.take().is_empty(), "markers alone wait for a row");
        gather.row(0, row(8));
        gather.row(0, row(9));
        gather.passed(0, 11);
        gather.passed(0, 4);
        gather.row(2, row(1));
        assert_eq!((gather.rows(), gather.times()), (2, vec![(0, 90)]));
        let first = gather.take();
        gather.row(0, row(11));
        gather.row(1, row(0));
        let second = gather.take();
        let offsets =
            |chunks: &[LogChunk]| chunks.iter().map(|it| (it.partition, it.offsets.clone())).collect::<Vec<_>>();
        assert_eq!(offsets(&first), [(0, 5..11)]);
        assert_eq!(offsets(&second), [(0, 11..12), (1, 0..1)]);
        assert_eq!(gather.rows(), 0);
    }
}
