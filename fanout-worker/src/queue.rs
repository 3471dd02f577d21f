//! Records that wait to be planned, and how far the read-index covers them. Pure.
//!
//! A record may be planned once the snapshot has passed an end of `control` that was asked for after the record was read:
//! then a subscription created before the event was accepted is in it. Chunks are numbered as they come; one question covers
//! everything that was there when it was asked.

use std::collections::VecDeque;

use kafka::Lease;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::Record;

/// Chunks in order of arrival. Bounded by the poller's credit: what is not released is not refilled.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Chunk>,
    /// The record that was taken last and put back.
    aside: Option<(Lease, Record)>,
    /// Number of the next chunk.
    next: u64,
    /// Chunks below this are covered by the question under way.
    asked: u64,
    /// Chunks below this may be planned.
    covered: u64,
}

#[derive(Debug)]
struct Chunk {
    number: u64,
    lease: Lease,
    records: std::vec::IntoIter<Record>,
}

// === impl Queue ===

impl Queue {
    /// Adds what the poller handed out.
    pub(crate) fn push(&mut self, lease: Lease, records: Vec<Record>) {
        self.chunks.push_back(Chunk { number: self.next, lease, records: records.into_iter() });
        self.next += 1;
    }

    /// Returns whether a question is needed before the next record may be planned; if so, that question covers everything here.
    pub(crate) fn ask(&mut self) -> bool {
        if is_planted(PlantedBug::ReadIndexSkipped) {
            self.covered = self.next;
        }
        let needed = self.chunks.front().is_some_and(|chunk| chunk.number >= self.covered);
        if needed {
            self.asked = self.next;
        }
        needed
    }

    /// Notes that the question was answered and the snapshot is there.
    pub(crate) fn answered(&mut self) {
        self.covered = self.asked;
    }

    /// Puts back the record that was taken last: it comes again before any other.
    pub(crate) fn put_back(&mut self, lease: Lease, record: Record) {
        self.aside = Some((lease, record));
    }

    /// The next record that may be planned.
    pub(crate) fn pop(&mut self) -> Option<(Lease, Record)> {
        if let Some(aside) = self.aside.take() {
            return Some(aside);
        }
        loop {
            let chunk = self.chunks.front_mut().filter(|chunk| chunk.number < self.covered)?;
            if let Some(record) = chunk.records.next() {
                return Some((chunk.lease.clone(), record));
            }
            self.chunks.pop_front();
        }
    }

    /// The lease and offset of the record that is planned next, covered or not.
    pub(crate) fn front(&self) -> Option<(&Lease, i64)> {
        if let Some((lease, record)) = &self.aside {
            return Some((lease, record.offset));
        }
        let heads = self.chunks.iter().map(|chunk| (&chunk.lease, chunk.records.as_slice().first()));
        heads.filter_map(|(lease, head)| head.map(|record| (lease, record.offset))).next()
    }

    /// Drops what waits of a lease that is over. Returns whether the record that was put back was among it.
    pub(crate) fn forget(&mut self, lease: &Lease) -> bool {
        self.chunks.retain(|chunk| chunk.lease != *lease);
        self.aside.take_if(|(aside, _)| aside == lease).is_some()
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.aside = None;
    }

    /// How many records wait.
    pub(crate) fn len(&self) -> usize {
        let waiting: usize = self.chunks.iter().map(|chunk| chunk.records.as_slice().len()).sum();
        waiting + usize::from(self.aside.is_some())
    }

    /// Kafka's time of the record that waits longest.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        let heads = self.chunks.iter().filter_map(|chunk| chunk.records.as_slice().first());
        heads.chain(self.aside.as_ref().map(|(_, record)| record)).map(|record| record.timestamp_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use kafka::Epoch;
    use schemas::record::{Headers, TopicPartition};

    use super::*;

    fn lease(partition: i32) -> Lease {
        Lease { partition: TopicPartition::new("events", partition), epoch: Epoch(1) }
    }

    fn record(offset: i64) -> Record {
        Record { offset, timestamp_ms: offset, key: None, value: None, headers: Headers::default() }
    }

    #[test]
    fn only_what_was_there_when_the_question_was_asked_may_be_planned() {
        let mut queue = Queue::default();
        assert!(!queue.ask());
        queue.push(lease(0), vec![record(1), record(2)]);
        assert!(queue.pop().is_none());
        assert!(queue.ask());
        queue.push(lease(1), vec![record(7)]);
        queue.answered();
        let offsets: Vec<i64> = std::iter::from_fn(|| queue.pop()).map(|(_, record)| record.offset).collect();
        assert_eq!(offsets, [1, 2]);
        assert!(queue.ask(), "the later chunk needs another question");
        queue.answered();
        assert_eq!(queue.pop().map(|(lease, _)| lease), Some(lease(1)));
        assert!(!queue.ask());
    }

    #[test]
    fn what_is_put_back_comes_first_and_goes_with_its_lease() {
        let mut queue = Queue::default();
        queue.push(lease(0), vec![record(1), record(2)]);
        queue.push(lease(1), vec![record(7)]);
        assert!(queue.ask());
        queue.answered();
        let (whose, first) = queue.pop().unwrap();
        queue.put_back(whose, first);
        assert_eq!((queue.len(), queue.oldest_ms()), (3, Some(1)));
        let (whose, first) = queue.pop().unwrap();
        assert_eq!(first.offset, 1);
        queue.put_back(whose, first);
        queue.forget(&lease(1));
        assert_eq!(queue.len(), 2);
        queue.forget(&lease(0));
        assert_eq!((queue.len(), queue.oldest_ms()), (0, None));
        assert!(queue.pop().is_none());
    }

    #[test]
    fn a_lease_that_is_over_leaves_nothing_behind() {
        let mut queue = Queue::default();
        queue.push(lease(0), vec![record(1)]);
        queue.push(lease(1), vec![record(7)]);
        assert_eq!(queue.oldest_ms(), Some(1));
        queue.forget(&lease(0));
        assert_eq!(queue.oldest_ms(), Some(7));
        assert!(queue.ask());
        queue.answered();
        assert_eq!(queue.pop().map(|(lease, _)| lease), Some(lease(1)));
        assert!(queue.pop().is_none());
    }
}
