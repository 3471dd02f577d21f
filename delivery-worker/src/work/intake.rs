//! Deliveries that came before the snapshot is where their matcher's was. Pure.
//!
//! A delivery names the last control record that its matcher had applied. Until the snapshot has reached it, "its subscription
//! does not exist" may mean "not yet", so the delivery waits, and what its partition brings after it waits behind it.
//!
//! ```text
//! push --> stalled --snapshot reaches its position------------------------> reached
//!             |                                                               ^
//!             +--ask: where does `control` end? --answered, end is reached----+
//! ```
//!
//! A position beyond the end of `control` does not exist, and would be waited for in vain: such a delivery is taken as it is.
//! An answer says that of the batches that came before its question, and of no later one: what they name may have been
//! written since.

use std::collections::VecDeque;

use kafka::{Epoch, Lease};
use schemas::delivery::{Delivery, DeliveryError, RecordPlace};
use schemas::record::Record;
use stage::Waiting;

/// Records of one lease that came together, decoded.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) lease: Lease,
    pub(super) records: Vec<(Record, Result<Delivery, DeliveryError>)>,
    /// The snapshot has to reach this position of `control`.
    pub(super) position: i64,
    /// They were read back: each is wanted once, by whoever asked.
    pub(super) is_read_back: bool,
}

/// The batches that wait for the snapshot, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Intake {
    stalled: VecDeque<Stalled>,
    /// Number of the next batch that has to wait.
    next: u64,
    /// The question under way is answered for batches below this number.
    asked: Option<u64>,
    /// Batches below this number wait for nothing any more.
    covered: u64,
    /// When a question failed last, on the clock that counts suspension, ms.
    failed_boot_ms: i64,
}

#[derive(Debug)]
struct Stalled {
    number: u64,
    batch: Batch,
    /// When it came, on the clock that counts suspension, ms.
    since_boot_ms: i64,
}

// === impl Batch ===

impl Batch {
    /// Decodes records.
    pub(super) fn decode(lease: &Lease, records: Vec<Record>) -> Self {
        let mut position = 0;
        let partition = lease.partition.partition;
        let decode = |record: Record| {
            let mut delivery = Delivery::decode(&record);
            if let Ok(delivery) = &mut delivery {
                delivery.record = Some(RecordPlace { partition, offset: record.offset });
                position = position.max(delivery.control_offset.saturating_add(1));
            }
            (record, delivery)
        };
        let records = records.into_iter().map(decode).collect();
        Self { lease: lease.clone(), records, position, is_read_back: false }
    }
}

// === impl Intake ===

impl Intake {
    /// Whether anything waits.
    pub(super) fn is_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// Whether something of this lease waits: what comes after it has to wait, too.
    pub(super) fn has(&self, epoch: Epoch) -> bool {
        self.stalled.iter().any(|stalled| stalled.batch.lease.epoch == epoch)
    }

    /// Adds a batch that has to wait.
    pub(super) fn push(&mut self, batch: Batch, boot_ms: i64) {
        self.stalled.push_back(Stalled { number: self.next, batch, since_boot_ms: boot_ms });
        self.next += 1;
    }

    /// Whether the end of `control` has to be asked for now. If so, the question covers everything that waits.
    pub(super) fn ask(&mut self) -> bool {
        let needed = self.asked.is_none() && self.stalled.back().is_some_and(|last| last.number >= self.covered);
        if needed {
            self.asked = Some(self.next);
        }
        needed
    }

    /// The snapshot has reached the end that `control` had after the question was asked.
    pub(super) fn answered(&mut self) {
        self.covered = self.asked.take().unwrap_or(self.covered);
    }

    /// The question was not answered.
    pub(super) fn failed(&mut self, boot_ms: i64) {
        self.asked = None;
        self.failed_boot_ms = boot_ms;
    }

    /// Takes the batches that need not wait any more, with the snapshot at this position.
    pub(super) fn take_reached(&mut self, position: i64) -> Vec<Batch> {
        let covered = self.covered;
        let is_reached = |stalled: &Stalled| stalled.number < covered || stalled.batch.position <= position;
        if !self.stalled.iter().any(is_reached) {
            return Vec::new();
        }
        let (mut reached, mut waiting) = (Vec::new(), Vec::new());
        for stalled in std::mem::take(&mut self.stalled) {
            let epoch = stalled.batch.lease.epoch;
            if is_reached(&stalled) && !waiting.contains(&epoch) {
                reached.push(stalled.batch);
            } else {
                waiting.push(epoch);
                self.stalled.push_back(stalled);
            }
        }
        reached
    }

    /// Drops what waits of these leases: they are over.
    pub(super) fn close(&mut self, epochs: &[Epoch]) {
        self.stalled.retain(|stalled| !epochs.contains(&stalled.batch.lease.epoch));
    }

    /// Kafka's time of the oldest record that waits, Unix ms.
    pub(super) fn oldest_timestamp_ms(&self) -> Option<i64> {
        let records = self.stalled.iter().flat_map(|stalled| &stalled.batch.records);
        records.map(|(record, _)| record.timestamp_ms).min()
    }

    /// The first record of the batch that waits longest. While `control` cannot be asked, nothing can move.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let Stalled { batch, since_boot_ms, .. } = self.stalled.front()?;
        Some(Waiting {
            reason: "the snapshot to reach its control offset",
            partition: batch.lease.partition.clone(),
            offset: batch.records.first().map_or(-1, |(record, _)| record.offset),
            since_boot_ms: self.failed_boot_ms.max(*since_boot_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use schemas::record::TopicPartition;

    use super::*;
    use crate::testing;

    fn lease(partition: i32) -> Lease {
        let epoch = Epoch(u64::try_from(partition).unwrap() + 1);
        Lease { partition: TopicPartition::new("deliveries", partition), epoch }
    }

    /// A batch of one record at this offset that waits for this position.
    fn batch(partition: i32, offset: i64, position: i64) -> Batch {
        let record = Record { offset, timestamp_ms: offset, ..testing::record("evt", 1, i64::MAX) };
        Batch { position, ..Batch::decode(&lease(partition), vec![record]) }
    }

    fn reached(intake: &mut Intake, position: i64) -> Vec<i64> {
        intake.take_reached(position).iter().map(|batch| batch.records[0].0.offset).collect()
    }

    #[test]
    fn a_batch_names_the_newest_position_of_its_deliveries() {
        let batch = Batch::decode(&lease(0), vec![testing::record("evt", 1, i64::MAX)]);
        assert_eq!(batch.position, 6, "behind the control record at offset 5");
        let no_delivery = Record { value: None, ..testing::record("evt", 1, i64::MAX) };
        assert_eq!(Batch::decode(&lease(0), vec![no_delivery]).position, 0);
    }

    #[test]
    fn what_the_snapshot_reaches_goes_on_and_nothing_overtakes_within_a_lease() {
        let mut intake = Intake::default();
        for it in [batch(0, 1, 9), batch(1, 2, 7), batch(0, 3, 7)] {
            intake.push(it, 0);
        }
        assert!(reached(&mut intake, 6).is_empty());
        assert!(intake.has(lease(0).epoch) && intake.has(lease(1).epoch));
        assert_eq!(reached(&mut intake, 8), [2]);
        assert!(!intake.has(lease(1).epoch));
        assert_eq!(reached(&mut intake, 9), [1, 3]);
        assert!(!intake.is_stalled() && intake.waiting().is_none());
    }

    /// A delivery of a subscription that was created after the question was asked is not taken for one that was deleted.
    #[test]
    fn an_answer_is_none_for_what_came_after_its_question() {
        let mut intake = Intake::default();
        intake.push(batch(0, 1, 1_000), 0);
        assert!(intake.ask());
        assert!(!intake.ask(), "one question at a time");
        intake.push(batch(1, 2, 101), 0);
        intake.push(batch(0, 3, 101), 0);
        intake.answered();
        assert_eq!(reached(&mut intake, 100), [1], "its position does not exist");
        assert!(intake.ask(), "the others need a question of their own");
        assert_eq!(reached(&mut intake, 101), [2, 3]);
        intake.answered();
        assert!(!intake.ask());
    }

    #[test]
    fn a_question_that_failed_is_asked_again_and_what_waits_does_not_count_as_stuck() {
        let mut intake = Intake::default();
        intake.push(batch(0, 4, 9), 50);
        assert!(intake.ask());
        assert_eq!(intake.waiting().map(|it| (it.offset, it.since_boot_ms)), Some((4, 50)));
        intake.failed(7_000);
        assert_eq!(intake.waiting().map(|it| it.since_boot_ms), Some(7_000));
        assert!(reached(&mut intake, 8).is_empty() && intake.ask());
        assert_eq!(intake.oldest_timestamp_ms(), Some(4));
    }

    #[test]
    fn what_waits_of_a_lease_goes_with_it() {
        let mut intake = Intake::default();
        intake.push(batch(0, 1, 9), 0);
        intake.push(batch(1, 2, 9), 0);
        intake.close(&[lease(0).epoch]);
        assert_eq!(reached(&mut intake, 9), [2]);
    }
}
