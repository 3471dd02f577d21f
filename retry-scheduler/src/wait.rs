//! The lines: per partition what was read and waits, by when it is ready. Pure.
//!
//! A partition's records become ready nearly in order (one delay, the broker's time). What is due a moment earlier or later than its
//! neighbours moves when it is due: within the look-ahead nothing waits for what stands before it. A late move may have led to a tier
//! that is longer than what remained ([`promote`](crate::promote)), so what lies behind the look-ahead is due sooner than its head by as
//! much: while a partition is not fetched, that is reckoned with.

use std::collections::BTreeMap;

use kafka::{Epoch, Lease};
use schemas::record::{Record, TopicPartition};
use stage::Fetching;

use crate::config::{PAUSE_OVER_MS, RESUME_BEFORE_MS};
use crate::due::Waiting;
use crate::promote::soonest_ms;

/// The lines of all partitions that this worker owns.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: BTreeMap<TopicPartition, Line>,
}

/// The line of one partition.
#[derive(Debug)]
struct Line {
    epoch: Epoch,
    delay_ms: i64,
    /// What remains below it is waited out here.
    rest_ms: i64,
    /// Its tier is so long that it is not fetched while its head waits.
    is_long: bool,
    is_paused: bool,
    /// When the newest record that was read was written, Unix ms: what lies behind it came later.
    newest_ms: i64,
    /// By when they are ready, then by offset.
    records: BTreeMap<(i64, i64), Waiting>,
}

// === impl Lines ===

impl Lines {
    /// Begins the line of a partition of a tier with this delay, after which what remains below `rest_ms` is waited out.
    pub(crate) fn open(&mut self, lease: &Lease, (delay_ms, rest_ms): (i64, i64), is_long: bool) {
        let records = BTreeMap::new();
        let line =
            Line { epoch: lease.epoch, delay_ms, rest_ms, is_long, is_paused: false, newest_ms: i64::MIN, records };
        self.lines.insert(lease.partition.clone(), line);
    }

    /// Drops the line of a lease that is over.
    pub(crate) fn close(&mut self, lease: &Lease) {
        if self.line(lease).is_some() {
            self.lines.remove(&lease.partition);
        }
    }

    /// Adds what was read, in order. Returns false if the lease is over.
    pub(crate) fn push(&mut self, lease: &Lease, records: Vec<Record>) -> bool {
        let Some(line) = self.line(lease) else { return false };
        let (delay_ms, rest_ms) = (line.delay_ms, line.rest_ms);
        line.newest_ms = records.iter().map(|record| record.timestamp_ms).fold(line.newest_ms, i64::max);
        let waiting = records.into_iter().map(|record| Waiting::new(record, delay_ms, rest_ms));
        line.records.extend(waiting.map(|waiting| ((waiting.ready_ms, waiting.record.offset), waiting)));
        true
    }

    /// Takes what is ready longest.
    pub(crate) fn take(&mut self, now_ms: i64) -> Option<(Lease, Waiting)> {
        loop {
            let heads = self.lines.iter_mut().filter_map(|(partition, line)| {
                let ready_ms = line.first()?.ready_ms;
                (ready_ms <= now_ms).then_some((ready_ms, partition, line))
            });
            let (_, partition, line) = heads.min_by_key(|(ready_ms, ..)| *ready_ms)?;
            let (_, mut waiting) = line.records.pop_first()?;
            if let Some(due_ms) = waiting.rest_until(now_ms, line.rest_ms) {
                // Its tier ended while the transaction before was under way, and what remains is below every tier that may follow by now.
                waiting.ready_ms = due_ms;
                line.records.insert((due_ms, waiting.record.offset), waiting);
                continue;
            }
            return Some((Lease { partition: partition.clone(), epoch: line.epoch }, waiting));
        }
    }

    /// What is ready first, and its partition.
    pub(crate) fn first_ready(&self) -> Option<(&TopicPartition, &Waiting)> {
        let heads = self.lines.iter().filter_map(|(partition, line)| Some((partition, line.first()?)));
        heads.min_by_key(|(_, head)| head.ready_ms)
    }

    /// Returns which partitions to pause and which to resume, and remembers that this was done.
    pub(crate) fn fetching(&mut self, now_ms: i64) -> Vec<(Lease, Fetching)> {
        let mut changes = Vec::new();
        for (partition, line) in self.lines.iter_mut().filter(|(_, line)| line.is_long) {
            let wait_ms = line.next_ms().map_or(0, |next_ms| next_ms.saturating_sub(now_ms));
            let should = if line.is_paused { wait_ms > RESUME_BEFORE_MS } else { wait_ms > PAUSE_OVER_MS };
            if should != line.is_paused {
                line.is_paused = should;
                let lease = Lease { partition: partition.clone(), epoch: line.epoch };
                changes.push((lease, if should { Fetching::Paused } else { Fetching::Flowing }));
            }
        }
        changes
    }

    /// Records that wait in memory, and their bytes.
    pub(crate) fn in_memory(&self) -> (usize, usize) {
        let all = || self.lines.values().flat_map(|line| line.records.values());
        (all().count(), all().map(|waiting| waiting.record.size()).sum())
    }

    fn line(&mut self, lease: &Lease) -> Option<&mut Line> {
        self.lines.get_mut(&lease.partition).filter(|line| line.epoch == lease.epoch)
    }
}

// === impl Line ===

impl Line {
    fn first(&self) -> Option<&Waiting> {
        self.records.first_key_value().map(|(_, waiting)| waiting)
    }

    /// When something of it may be ready first, read or not, Unix ms; `None`: nothing that was read waits.
    fn next_ms(&self) -> Option<i64> {
        let behind_ms = self.newest_ms.saturating_add(soonest_ms(self.delay_ms));
        self.first().map(|head| head.ready_ms.min(behind_ms))
    }
}

#[cfg(test)]
mod tests {
    use schemas::header;
    use schemas::record::Headers;

    use super::*;

    fn lease(topic: &str, epoch: u64) -> Lease {
        Lease { partition: TopicPartition::new(topic, 0), epoch: Epoch(epoch) }
    }

    fn record(offset: i64, written_ms: i64, due_ms: i64) -> Record {
        let mut headers = Headers::builder(2, 100);
        headers.push(header::SUBSCRIPTION, b"00000000-0000-0000-0000-000000000002").push_i64(header::DUE, due_ms);
        let value = Some(bytes::Bytes::new());
        Record { offset, timestamp_ms: written_ms, key: None, value, headers: headers.build() }
    }

    #[test]
    fn heads_come_out_when_they_are_ready_the_longest_ready_first() {
        let (fast, slow) = (lease("retry.5s", 1), lease("retry.20s", 1));
        let mut lines = Lines::default();
        lines.open(&fast, (5_000, 1_000), false);
        lines.open(&slow, (20_000, 1_000), false);
        assert!(lines.push(&fast, vec![record(0, 10_000, 60_000), record(1, 16_000, 60_000)]));
        assert!(lines.push(&slow, vec![record(7, 0, 60_000)]));
        let first_ready_ms = |lines: &Lines| lines.first_ready().map(|(_, head)| head.ready_ms);
        assert_eq!(first_ready_ms(&lines), Some(15_000));
        assert!(lines.take(14_999).is_none());
        let order: Vec<i64> = std::iter::from_fn(|| lines.take(20_000)).map(|(_, it)| it.record.offset).collect();
        assert_eq!(order, [0, 7]);
        assert_eq!(first_ready_ms(&lines), Some(21_000));
    }

    #[test]
    fn what_is_due_earlier_does_not_wait_for_what_was_written_before() {
        let fast = lease("retry.5s", 1);
        let mut lines = Lines::default();
        lines.open(&fast, (5_000, 1_000), false);
        assert!(lines.push(&fast, vec![record(0, 10_000, 15_900), record(1, 10_100, 12_000)]));
        assert_eq!(lines.take(12_000).map(|(_, it)| it.record.offset), Some(1));
        assert!(lines.take(15_899).is_none());
        assert_eq!(lines.take(15_900).map(|(_, it)| it.record.offset), Some(0));
    }

    #[test]
    fn an_older_epoch_neither_adds_nor_closes() {
        let (old, new) = (lease("retry.5s", 1), lease("retry.5s", 2));
        let mut lines = Lines::default();
        lines.open(&new, (5_000, 1_000), false);
        assert!(!lines.push(&old, vec![record(0, 0, 0)]));
        lines.close(&old);
        assert!(lines.push(&new, vec![record(0, 0, 0)]));
        assert_eq!(lines.in_memory().0, 1);
        lines.close(&new);
        assert!(!lines.push(&new, vec![record(1, 0, 0)]));
        assert_eq!(lines.in_memory(), (0, 0));
    }

    #[test]
    fn long_tiers_are_not_fetched_while_their_head_waits_long() {
        let long = lease("retry.10m", 1);
        let mut lines = Lines::default();
        lines.open(&long, (600_000, 1_000), true);
        assert!(lines.fetching(0).is_empty());
        lines.push(&long, vec![record(0, 0, 9_000_000)]);
        assert_eq!(lines.fetching(1_000), [(long.clone(), Fetching::Paused)]);
        assert!(lines.fetching(540_000).is_empty());
        assert_eq!(lines.fetching(545_000), [(long, Fetching::Flowing)]);
        assert!(lines.take(600_000).is_some());
        assert!(lines.fetching(600_000).is_empty());
    }

    #[test]
    fn a_late_move_into_a_long_tier_does_not_wait_for_a_head_that_is_ready_later() {
        let long = lease("retry.10m", 1);
        let mut lines = Lines::default();
        lines.open(&long, (600_000, 5_000), true);
        lines.push(&long, vec![record(0, 0, 9_000_000), record(2, 60_000, 9_000_000)]);
        assert_eq!(lines.fetching(61_000), [(long.clone(), Fetching::Paused)]);
        // Behind them comes one with 546 s left, which was a minute late: it is due before the second of them.
        assert!(lines.fetching(590_000).is_empty(), "the first of them moves in a while");
        assert_eq!(lines.fetching(599_000), [(long.clone(), Fetching::Flowing)]);
        assert!(lines.take(600_000).is_some());
        assert!(lines.fetching(600_000).is_empty(), "what lies behind may be ready in a moment");
        lines.push(&long, vec![record(4, 61_000, 607_000)]);
        assert_eq!(lines.take(607_000).map(|(_, it)| it.record.offset), Some(4));
        // What was read last was written later: nothing behind it is ready so soon.
        lines.push(&long, vec![record(6, 300_000, 9_000_000)]);
        assert_eq!(lines.fetching(608_000), [(long, Fetching::Paused)]);
    }
}
