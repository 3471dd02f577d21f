//! What was read and is not in the log yet, by partition. Pure.

use std::collections::BTreeMap;

use delivery_log::{Fact, LogChunk, LogRow, LoggedEvent, LoggedTarget, RowContent};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gather {
    partitions: BTreeMap<i32, Gathered>,
    rows: usize,
    bytes: usize,
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
        Self { partitions: starts.into_iter().map(gathered).collect(), rows: 0, bytes: 0 }
    }

    /// A record.
    pub(super) fn row(&mut self, partition: i32, row: LogRow) {
        let Some(gathered) = self.partitions.get_mut(&partition) else { return };
        gathered.next = row.offset + 1;
        self.rows += 1;
        self.bytes += bytes_of(&row);
        gathered.rows.push(row);
    }

    /// Everything below this offset was passed.
    pub(super) fn passed(&mut self, partition: i32, position: i64) {
        if let Some(gathered) = self.partitions.get_mut(&partition) {
            gathered.next = gathered.next.max(position);
        }
    }

    /// Where each partition goes on: what is before is taken, or waits.
    pub(super) fn positions(&self) -> impl Iterator<Item = (i32, i64)> {
        self.partitions.iter().map(|(partition, gathered)| (*partition, gathered.next))
    }

    /// Rows that wait.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that they take in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The Kafka timestamp of the newest row that waits of each partition, Unix ms.
    pub(super) fn times(&self) -> Vec<(i32, i64)> {
        let newest = |(partition, gathered): (&i32, &Gathered)| Some((*partition, gathered.rows.last()?.stored_ms));
        self.partitions.iter().filter_map(newest).collect()
    }

    /// Takes all that waits. Offsets that were passed behind the last row go with it; where there is no row they wait for one.
    pub(super) fn take(&mut self) -> Vec<LogChunk> {
        (self.rows, self.bytes) = (0, 0);
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

/// Bytes that a row takes in memory, about: itself and its texts.
fn bytes_of(row: &LogRow) -> usize {
    let all = |texts: &[Option<&str>]| texts.iter().flatten().map(|text| text.len()).sum::<usize>();
    let content = match &row.content {
        RowContent::Nothing => 0,
        RowContent::Fact(fact) => {
            let exchange = fact.exchange.as_ref();
            let texts = [
                fact.event_type.as_deref(),
                fact.made_by.as_deref(),
                fact.reason.as_deref(),
                fact.detail.as_deref(),
                exchange.and_then(|it| it.error.as_deref()),
                exchange.and_then(|it| it.to.as_deref()),
            ];
            size_of::<Fact>() + all(&texts)
        }
        RowContent::Target(target) => size_of::<LoggedTarget>() + target.facts.len(),
        RowContent::Event(event) => {
            let texts = [
                Some(event.id.as_str()),
                event.source.as_deref(),
                Some(event.event_type.as_str()),
                event.origin.as_ref().map(|it| it.topic.as_str()),
                event.content_type.as_deref(),
                event.occurred_at.as_deref(),
                event.labels.as_deref(),
                event.metadata.as_deref(),
                event.ip.as_deref(),
                event.detail.as_deref(),
            ];
            size_of::<LoggedEvent>() + all(&texts) + event.subscriptions.as_ref().map_or(0, Vec::len)
        }
    };
    size_of::<LogRow>() + content
}

#[cfg(test)]
mod tests {
    use schemas::ids::ApplicationId;
    use uuid::Uuid;

    use super::*;
    use crate::log::made;

    fn row(offset: i64) -> LogRow {
        LogRow { offset, stored_ms: offset * 10, content: RowContent::Nothing }
    }

    #[test]
    fn what_waits_is_counted_in_bytes_until_it_is_taken() {
        let event = |subscriptions| LoggedEvent { subscriptions, ..made::event(ApplicationId(Uuid::nil())) };
        let mut gather = Gather::starting([(0, 0), (1, 0)]);
        let mut take = |partition, subscriptions| {
            let content = RowContent::Event(Box::new(event(subscriptions)));
            gather.row(partition, LogRow { offset: 0, stored_ms: 0, content });
            gather.bytes()
        };
        let small = take(0, None);
        assert!((100..1_000).contains(&small), "{small}");
        assert_eq!(take(1, Some(vec![7; 200_000])), 2 * small + 200_000);
        gather.row(2, row(0));
        assert_eq!(gather.bytes(), 2 * small + 200_000, "a partition that is not read holds nothing");
        assert_eq!(gather.take().len(), 2);
        assert_eq!(gather.bytes(), 0);
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
