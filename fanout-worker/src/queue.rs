//! Records that wait to be planned, and how far the read-index covers them. Pure.
//!
//! ```text
//! events/0  [ chunk 1 | chunk 4 ]      turn:  0, 2     chunks below `covered` may be planned, one of each line in turn
//! events/1  [ chunk 6 ]                later: 1        what came after the question was asked waits for the next
//! events/2  [ chunk 2 ]                                a line that is held is in neither, and nobody waits for it
//! ```
//!
//! A record may be planned once the snapshot has passed an end of `control` that was asked for after the record was read:
//! then a subscription created before the event was accepted is in it. Chunks are numbered as they come; one question covers
//! everything that was there when it was asked.

use std::collections::{BTreeMap, VecDeque};

use kafka::{Epoch, Lease};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::Record;

/// A line per partition. Bounded by the poller's credit: what is not released is not refilled.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: BTreeMap<Epoch, QueueLine>,
    /// Lines whose first chunk may be planned, in turn.
    turn: VecDeque<Epoch>,
    /// Lines whose first chunk came too late.
    later: VecDeque<Epoch>,
    /// The record that was taken last and put back.
    aside: Option<(Lease, Record)>,
    /// Number of the next chunk.
    next: u64,
    /// Chunks below this are covered by the question under way.
    asked: u64,
    /// Chunks below this may be planned.
    covered: u64,
}

/// What waits of one partition.
#[derive(Debug)]
struct QueueLine {
    lease: Lease,
    chunks: VecDeque<Chunk>,
    is_held: bool,
}

#[derive(Debug)]
struct Chunk {
    number: u64,
    records: std::vec::IntoIter<Record>,
}

// === impl Queue ===

impl Queue {
    /// Adds what the poller handed out.
    pub(crate) fn push(&mut self, lease: Lease, records: Vec<Record>) {
        let (number, epoch) = (self.next, lease.epoch);
        self.next += 1;
        let line = self.lines.entry(epoch).or_insert_with(|| QueueLine::new(lease));
        let was_empty = line.chunks.is_empty();
        line.chunks.push_back(Chunk { number, records: records.into_iter() });
        if was_empty && !line.is_held {
            self.later.push_back(epoch);
        }
    }

    /// Returns whether a question is needed before the next record may be planned; if so, that question covers everything here.
    pub(crate) fn ask(&mut self) -> bool {
        if is_planted(PlantedBug::ReadIndexSkipped) {
            self.asked = self.next;
            self.answered();
        }
        let needed = self.turn.is_empty() && !self.later.is_empty();
        if needed {
            self.asked = self.next;
        }
        needed
    }

    /// Notes that the question was answered and the snapshot is there.
    pub(crate) fn answered(&mut self) {
        self.covered = self.asked;
        for _ in 0..self.later.len() {
            let Some(epoch) = self.later.pop_front() else { break };
            self.line_up(epoch);
        }
    }

    /// Puts back the record that was taken last: it comes again before any other.
    pub(crate) fn put_back(&mut self, lease: Lease, record: Record) {
        self.aside = Some((lease, record));
    }

    /// The record that was taken last stands first in its line again, and its line behind all others, those that wait for the next answer
    /// among them.
    pub(crate) fn step_back(&mut self, lease: &Lease, record: Record) {
        let line = self.lines.entry(lease.epoch).or_insert_with(|| QueueLine::new(lease.clone()));
        // Its own chunk is covered, and has not been left: so is this one.
        line.chunks.push_front(Chunk { number: 0, records: vec![record].into_iter() });
        let is_held = line.is_held;
        self.leave(lease.epoch);
        if is_held {
            return;
        }
        let is_alone = self.turn.is_empty() && self.later.is_empty();
        let behind = if is_alone { &mut self.turn } else { &mut self.later };
        behind.push_back(lease.epoch);
    }

    /// The next record that may be planned.
    pub(crate) fn pop(&mut self) -> Option<(Lease, Record)> {
        if let Some(aside) = self.aside.take() {
            return Some(aside);
        }
        while let Some(&epoch) = self.turn.front() {
            let taken = self.lines.get_mut(&epoch).and_then(|line| {
                let record = line.chunks.front_mut()?.records.next()?;
                Some((line.lease.clone(), record))
            });
            if taken.is_some() {
                return taken;
            }
            // A chunk is done: the next line has its turn.
            self.turn.pop_front();
            if let Some(line) = self.lines.get_mut(&epoch) {
                line.chunks.pop_front();
                self.line_up(epoch);
            }
        }
        None
    }

    /// The record that was taken last stands first in its line again, which is held: nothing of it is planned until
    /// [`Queue::release`].
    pub(crate) fn hold_with(&mut self, lease: &Lease, record: Record) {
        let line = self.lines.entry(lease.epoch).or_insert_with(|| QueueLine::new(lease.clone()));
        // Its own chunk is covered, and has not been left: so is this one.
        line.chunks.push_front(Chunk { number: 0, records: vec![record].into_iter() });
        self.hold(lease);
    }

    /// Nothing of this lease is planned until [`Queue::release`], and nobody waits for it. A record that was put back is planned
    /// once more first.
    pub(crate) fn hold(&mut self, lease: &Lease) {
        let line = self.lines.entry(lease.epoch).or_insert_with(|| QueueLine::new(lease.clone()));
        line.is_held = true;
        self.leave(lease.epoch);
    }

    /// This lease's records are planned again.
    pub(crate) fn release(&mut self, lease: &Lease) {
        self.release_epoch(lease.epoch);
    }

    /// As [`Queue::release`], of the lease with this epoch.
    pub(crate) fn release_epoch(&mut self, epoch: Epoch) {
        let Some(line) = self.lines.get_mut(&epoch).filter(|line| line.is_held) else { return };
        line.is_held = false;
        self.line_up(epoch);
    }

    /// The lease and offset of the record that is planned next, covered or not.
    pub(crate) fn front(&self) -> Option<(&Lease, i64)> {
        if let Some((lease, record)) = &self.aside {
            return Some((lease, record.offset));
        }
        let lines = self.turn.iter().chain(&self.later).filter_map(|epoch| self.lines.get(epoch));
        lines.filter_map(|line| Some((&line.lease, line.first()?.offset))).next()
    }

    /// Drops what waits of a lease that is over. Returns whether the record that was put back was among it.
    pub(crate) fn forget(&mut self, lease: &Lease) -> bool {
        if self.lines.remove(&lease.epoch).is_some() {
            self.leave(lease.epoch);
        }
        self.aside.take_if(|(aside, _)| aside == lease).is_some()
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.turn.clear();
        self.later.clear();
        self.aside = None;
    }

    /// How many records wait, those of lines that are held among them.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let waiting: usize = self.lines.values().map(QueueLine::len).sum();
        waiting + usize::from(self.aside.is_some())
    }

    /// Kafka's time of the record that waits longest and is not held.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        let heads = self.lines.values().filter(|line| !line.is_held).filter_map(QueueLine::first);
        heads.chain(self.aside.as_ref().map(|(_, record)| record)).map(|record| record.timestamp_ms).min()
    }

    /// Kafka's time of the record of this lease that waits longest.
    pub(crate) fn oldest_of(&self, epoch: Epoch) -> Option<i64> {
        self.lines.get(&epoch)?.first().map(|record| record.timestamp_ms)
    }

    /// A line has its turn where its first chunk may be planned, or waits for the next answer.
    fn line_up(&mut self, epoch: Epoch) {
        let Some(line) = self.lines.get(&epoch).filter(|line| !line.is_held) else { return };
        match line.chunks.front() {
            Some(chunk) if chunk.number < self.covered => self.turn.push_back(epoch),
            Some(_) => self.later.push_back(epoch),
            None => {}
        }
    }

    fn leave(&mut self, epoch: Epoch) {
        self.turn.retain(|other| *other != epoch);
        self.later.retain(|other| *other != epoch);
    }
}

// === impl QueueLine ===

impl QueueLine {
    fn new(lease: Lease) -> Self {
        Self { lease, chunks: VecDeque::new(), is_held: false }
    }

    fn first(&self) -> Option<&Record> {
        self.chunks.iter().find_map(|chunk| chunk.records.as_slice().first())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.records.as_slice().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use schemas::record::{Headers, TopicPartition};

    use super::*;

    fn lease(partition: i32) -> Lease {
        Lease { partition: TopicPartition::new("events", partition), epoch: Epoch(u64::from(partition.unsigned_abs())) }
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

    fn offsets(queue: &mut Queue) -> Vec<i64> {
        std::iter::from_fn(|| queue.pop()).map(|(_, record)| record.offset).collect()
    }

    #[test]
    fn partitions_are_served_in_turn_a_chunk_at_a_time() {
        let mut queue = Queue::default();
        for (partition, offset) in [(0, 1), (0, 2), (0, 3), (1, 11), (2, 21)] {
            queue.push(lease(partition), vec![record(offset)]);
        }
        assert!(queue.ask());
        queue.push(lease(1), vec![record(12)]);
        queue.answered();
        assert_eq!(offsets(&mut queue), [1, 11, 21, 2, 3], "12 came after the question");
        assert!(queue.ask());
        queue.answered();
        assert_eq!(offsets(&mut queue), [12]);
    }

    #[test]
    fn a_record_that_steps_back_lets_those_pass_that_came_after_the_question() {
        let mut queue = Queue::default();
        queue.push(lease(0), vec![record(1), record(2)]);
        queue.push(lease(1), vec![record(11)]);
        assert!(queue.ask());
        queue.answered();
        queue.push(lease(2), vec![record(21)]);
        let (whose, first) = queue.pop().unwrap();
        queue.step_back(&whose, first);
        assert_eq!((offsets(&mut queue), queue.front()), (vec![11], Some((&lease(2), 21))));
        assert!(queue.ask(), "the next answer is for all");
        queue.answered();
        assert_eq!(offsets(&mut queue), [21, 1, 2]);
        let (whose, alone) = (lease(0), record(3));
        queue.step_back(&whose, alone);
        assert_eq!((queue.ask(), offsets(&mut queue)), (false, vec![3]), "nobody else waits");
    }

    #[test]
    fn a_line_that_is_held_makes_no_other_wait_and_goes_on_where_it_stood() {
        let mut queue = Queue::default();
        queue.push(lease(0), vec![record(1), record(2)]);
        queue.push(lease(1), vec![record(11)]);
        assert!(queue.ask());
        queue.answered();
        let (whose, first) = queue.pop().unwrap();
        queue.hold_with(&whose, first);
        assert_eq!((offsets(&mut queue), queue.front()), (vec![11], None));
        queue.push(lease(0), vec![record(3)]);
        assert_eq!((queue.ask(), queue.len(), queue.oldest_ms()), (false, 3, None), "nobody waits for what is held");
        queue.release(&lease(0));
        assert_eq!(offsets(&mut queue), [1, 2], "3 is not covered");
        assert!(queue.ask());
        queue.answered();
        assert_eq!(offsets(&mut queue), [3]);
        queue.hold(&lease(2));
        queue.push(lease(2), vec![record(21)]);
        assert!(!queue.ask());
        queue.forget(&lease(2));
        queue.release(&lease(2));
        assert_eq!(queue.len(), 0);
    }
}
