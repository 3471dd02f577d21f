//! Over random orders, refusals and losses: every record is committed once, with its outputs, and nothing is kept that is over.

mod beside;
mod leases;

use std::sync::Arc;

use bytes::Bytes;
use kafka::{Epoch, Ownership, ReadingWatch, Restored};
use proptest::prelude::*;
use schemas::record::{Headers, Record, TopicPartition};

use super::*;
use crate::error::{StageError, WorkError};
use crate::status::Measured;
use crate::work::{NextTurn, Now, Refusal, Refused, Restoring, Turn, Waiting, Work};

/// Replaces what is refused by one record of one byte, or by half of it, and remembers why.
#[derive(Default)]
struct Scripted {
    halves: bool,
    refusals: Vec<(i64, Vec<Refusal>)>,
    /// Entries of each batch that was taken back.
    unsealed: Vec<usize>,
}

impl Work for Scripted {
    const ROLE: &'static str = "scripted";
    type State = ();
    type Note = u64;

    fn restore(&self, _found: Vec<(Restored, i64)>, _ownership: Ownership, _watch: ReadingWatch) -> Restoring<()> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    fn opened(&mut self, _lease: &Lease, _state: (), _now: Now) {}
    fn records(&mut self, _lease: &Lease, _records: Vec<Record>, _now: Now) -> Result<(), WorkError> {
        Ok(())
    }
    fn turn(&mut self, _turn: &mut Turn<'_, u64>) -> Result<NextTurn, WorkError> {
        Ok(NextTurn::OnInput)
    }
    fn replace(&mut self, refused: Refused<'_, u64>, _now: Now) -> Result<Vec<OutRecord>, WorkError> {
        self.refusals.push((refused.offset, refused.refusals.to_vec()));
        if self.halves {
            let half = (refused.outputs.len() / 2).max(1);
            return Ok(refused.outputs.into_iter().take(half).collect());
        }
        Ok(vec![output(1)])
    }
    fn unsealed(&mut self, batch: &Batch<u64>) {
        self.unsealed.push(batch.entries().len());
    }
    fn committed<'a>(&mut self, _entries: impl Iterator<Item = &'a Entry<u64>>, _now: Now) {}
    fn revoking(&mut self, _leases: &[Lease]) {}
    fn closed(&mut self, _lease: &Lease) {}
    fn waiting(&self, _now: Now) -> Option<Waiting> {
        None
    }
    fn facts(&mut self, _measured: &Measured, _now: Now) -> chassis::status::Facts {
        chassis::status::Facts::default()
    }
}

const LIMITS: BatchLimits = BatchLimits { records: 100, bytes: 1_000_000 };

fn lease(partition: i32) -> Lease {
    let epoch = u64::try_from(partition).unwrap() + 1;
    Lease { partition: TopicPartition::new("events", partition), epoch: Epoch(epoch) }
}

fn output(bytes: usize) -> OutRecord {
    let value = Some(Bytes::from(vec![0; bytes]));
    OutRecord { topic: Arc::from("out"), partition: None, key: None, value, headers: Headers::default() }
}

fn outbox(order: Order, leases: i32) -> Outbox<u64> {
    let mut outbox = Outbox::new(LIMITS, order);
    for partition in 0..leases {
        outbox.open(&lease(partition), Window::restore(0, 0, Vec::new()), 0);
    }
    outbox
}

/// Reads and resolves one record with outputs of these sizes.
fn resolve(outbox: &mut Outbox<u64>, lease: &Lease, offset: i64, outputs: &[usize]) {
    assert!(outbox.admit(lease.epoch, offset));
    finish(outbox, lease, offset, outputs);
}

fn finish(outbox: &mut Outbox<u64>, lease: &Lease, offset: i64, outputs: &[usize]) {
    let mut records = outputs.iter().map(|bytes| output(*bytes)).collect();
    outbox.resolve(Entry::new(lease.epoch, (offset, offset), 10, offset, 0), &mut records);
    assert!(records.is_empty());
}

fn now() -> Now {
    Now { wall_ms: 0, boot_ms: 0, instant: chassis::clock::instant() }
}

#[test]
fn an_entry_and_its_progress_stand_in_one_transaction_and_never_in_two() {
    let mut outbox = outbox(Order::AnyOrder, 2);
    resolve(&mut outbox, &lease(0), 0, &[3, 4]);
    assert!(outbox.admit(lease(0).epoch, 1));
    resolve(&mut outbox, &lease(0), 2, &[5]);
    resolve(&mut outbox, &lease(1), 7, &[]);
    let (batch, transaction) = outbox.cut(9).unwrap();
    assert_eq!(transaction.outputs.iter().map(|output| output.lease).collect::<Vec<_>>(), [0, 0, 0]);
    let progress = |part: usize| {
        let progress = &transaction.progress[part];
        (progress.committed, progress.read_up_to, progress.not_done.clone())
    };
    assert_eq!((progress(0), progress(1)), ((1, 3, vec![1]), (8, 8, vec![])));
    assert_eq!((batch.parts()[0].records, batch.parts()[0].bytes, batch.oldest_boot_ms), (2, 20, 0));
    assert!(outbox.is_empty() && outbox.cut(9).is_none());
}

#[test]
fn in_order_roles_commit_one_offset_and_list_nothing() {
    let mut outbox = outbox(Order::InOrder, 1);
    for offset in 0..50 {
        assert!(outbox.admit(lease(0).epoch, offset));
    }
    finish(&mut outbox, &lease(0), 0, &[1]);
    let (_, transaction) = outbox.cut(0).unwrap();
    let progress = &transaction.progress[0];
    assert_eq!((progress.committed, progress.read_up_to, progress.not_done.len()), (1, 1, 0));
}

/// A fan-out stood still for ever once: bytes of what was revoked went on filling a batch without entries.
#[test]
fn what_is_closed_fills_no_batch_any_more() {
    let mut outbox = Outbox::new(BatchLimits { records: 100, bytes: 1_000 }, Order::InOrder);
    for partition in 0..2 {
        outbox.open(&lease(partition), Window::restore(0, 0, Vec::new()), 0);
    }
    resolve(&mut outbox, &lease(0), 0, &[900, 200]);
    resolve(&mut outbox, &lease(1), 0, &[30]);
    assert!(outbox.is_full());
    outbox.close(lease(0).epoch);
    assert!(!outbox.is_full());
    let (batch, transaction) = outbox.cut(0).unwrap();
    assert_eq!((transaction.outputs.len(), transaction.outputs[0].record.size()), (1, 30));
    assert_eq!(batch.parts()[0].lease, lease(1));
    assert!(!outbox.is_full());
}

#[test]
fn a_batch_closes_between_entries_and_one_entry_always_goes() {
    let mut outbox = outbox(Order::InOrder, 1);
    resolve(&mut outbox, &lease(0), 0, &[2_000_000]);
    resolve(&mut outbox, &lease(0), 1, &[600_000]);
    resolve(&mut outbox, &lease(0), 2, &[600_000]);
    let committed = |outbox: &mut Outbox<u64>| outbox.cut(0).map(|(_, transaction)| transaction.progress[0].committed);
    assert_eq!([committed(&mut outbox), committed(&mut outbox), committed(&mut outbox)], [Some(1), Some(2), Some(3)]);
    assert_eq!(committed(&mut outbox), None);
}

/// One busy partition filled its look-ahead with what was done, and stood still until the pace let its batch begin: a quarter of
/// the speed of many.
#[test]
fn what_half_fills_a_partitions_look_ahead_waits_no_longer() {
    let mut outbox = outbox(Order::AnyOrder, 2).within(20, 400);
    for offset in 0..9 {
        resolve(&mut outbox, &lease(0), offset, &[1]);
        resolve(&mut outbox, &lease(1), offset, &[1]);
    }
    assert!(!outbox.is_urgent(), "each has room for as much again");
    resolve(&mut outbox, &lease(0), 9, &[1]);
    assert!(outbox.is_urgent() && !outbox.is_full());
    let (batch, transaction) = outbox.cut(0).unwrap();
    assert!(!outbox.is_urgent(), "it is in a batch");
    outbox.put_back_refused(batch, transaction, &[], &mut Scripted::default(), now()).unwrap();
    drop(outbox.cut(0).unwrap());
    assert!(!outbox.is_urgent());
    assert!(outbox.admit(lease(1).epoch, 9));
    outbox.resolve(Entry::new(lease(1).epoch, (9, 9), 200, 0, 0), &mut Vec::new());
    assert!(outbox.is_urgent(), "by its bytes");
    outbox.close(lease(1).epoch);
    (0..30).for_each(|_| outbox.resolve(Entry::beside(lease(0).epoch, (0, 0), 0, 0), &mut Vec::new()));
    assert!(!outbox.is_urgent(), "what is beside the window holds nothing of it");
    (0..10).for_each(|_| outbox.resolve(Entry::beside(lease(0).epoch, (0, 0), 0, 0).weighing(), &mut Vec::new()));
    assert!(outbox.is_urgent(), "but what is waited for as a record of it is");
    let (batch, transaction) = outbox.cut(0).unwrap();
    assert_eq!(batch.parts().iter().map(|part| part.records).sum::<usize>(), 0, "it gives no credit back");
    outbox.put_back_refused(batch, transaction, &[], &mut Scripted::default(), now()).unwrap();
    drop(outbox.cut(0).unwrap());
    assert!(!outbox.is_urgent());
}

#[test]
fn what_was_refused_is_replaced_in_its_place_and_the_rest_goes_on_as_it_was() {
    let (mut outbox, mut work) = (outbox(Order::AnyOrder, 1), Scripted::default());
    for offset in 0..3 {
        resolve(&mut outbox, &lease(0), offset, &[10, 20]);
    }
    let (batch, transaction) = outbox.cut(0).unwrap();
    resolve(&mut outbox, &lease(0), 3, &[30]);
    let refused = [(2, "too large".to_owned()), (3, "too large".to_owned())];
    outbox.put_back_refused(batch, transaction, &refused, &mut work, now()).unwrap();
    let unwritable = |index| Refusal::Unwritable { index, reason: "too large".to_owned() };
    assert_eq!(work.refusals, [(1, vec![unwritable(0), unwritable(1)])]);
    assert_eq!(work.unsealed, [3]);
    assert!(outbox.is_urgent());
    let (batch, transaction) = outbox.cut(0).unwrap();
    let sizes: Vec<usize> = transaction.outputs.iter().map(|output| output.record.size()).collect();
    assert_eq!(sizes, [10, 20, 1, 10, 20, 30]);
    assert_eq!((batch.entries().len(), transaction.progress[0].committed), (4, 4));
    assert!(!outbox.is_urgent());
}

#[test]
fn what_cannot_even_be_rejected_ends_the_role_with_its_place() {
    let (mut outbox, mut work) = (outbox(Order::InOrder, 1), Scripted::default());
    resolve(&mut outbox, &lease(0), 5, &[10]);
    for _ in 0..2 {
        let (batch, transaction) = outbox.cut(0).unwrap();
        outbox.put_back_refused(batch, transaction, &[(0, "no".to_owned())], &mut work, now()).unwrap();
    }
    let (batch, transaction) = outbox.cut(0).unwrap();
    let error = outbox.put_back_refused(batch, transaction, &[(0, "no".to_owned())], &mut work, now()).unwrap_err();
    assert!(matches!(error, StageError::Unwritable { offset: 5, .. }), "{error}");
}

#[test]
fn a_slow_cluster_gets_smaller_batches_until_it_takes_them() {
    let (mut outbox, mut work) = (outbox(Order::InOrder, 1), Scripted::default());
    for offset in 0..8 {
        resolve(&mut outbox, &lease(0), offset, &[100_000]);
    }
    let slow = Slow { written: 500_000, reason: "slow", give_up_bytes: Some(1) };
    let (batch, transaction) = outbox.cut(0).unwrap();
    assert_eq!(batch.entries().len(), 8);
    outbox.put_back_slow(batch, transaction, slow, &mut work, now()).unwrap();
    let mut sizes = Vec::new();
    while let Some((batch, _)) = outbox.cut(0) {
        sizes.push(batch.entries().len());
        outbox.committed(&batch, |_| false);
    }
    assert_eq!(sizes, [2, 5, 1], "half of what was written, then doubled with success");
    assert!(work.refusals.is_empty());
    assert_eq!(work.unsealed, [8], "only what did not get through is taken back");
}

#[test]
fn an_entry_that_is_too_slow_alone_is_given_up_the_second_time_if_it_is_large() {
    let (mut outbox, mut work) = (outbox(Order::InOrder, 1), Scripted::default());
    let slow = |give_up_bytes| Slow { written: 500_000, reason: "slow", give_up_bytes };
    resolve(&mut outbox, &lease(0), 0, &[800_000]);
    for give_up_bytes in [None, None, None, Some(900_000), Some(800_000)] {
        assert!(work.refusals.is_empty());
        let (batch, transaction) = outbox.cut(0).unwrap();
        outbox.put_back_slow(batch, transaction, slow(give_up_bytes), &mut work, now()).unwrap();
    }
    assert_eq!(work.refusals, [(0, vec![Refusal::TooSlow { reason: "slow".to_owned() }])]);
    let (_, transaction) = outbox.cut(0).unwrap();
    assert_eq!((transaction.outputs.len(), transaction.progress[0].committed), (1, 1));
}

#[test]
fn only_a_batch_that_is_cut_after_the_doubt_proves_a_lease() {
    let mut outbox = outbox(Order::AnyOrder, 2);
    resolve(&mut outbox, &lease(0), 0, &[1]);
    let (early, _) = outbox.cut(0).unwrap();
    outbox.ask_for_proof();
    outbox.committed(&early, |_| false);
    assert!(!outbox.is_proved());
    let (batch, transaction) = outbox.cut(0).unwrap();
    assert_eq!((batch.parts().len(), transaction.progress.len()), (2, 2));
    outbox.committed(&batch, |lease| lease.partition.partition == 1);
    assert!(!outbox.is_proved(), "one lease was dropped");
    outbox.close(lease(1).epoch);
    assert!(outbox.is_proved());
}

#[test]
fn a_transaction_with_outputs_carries_a_bounded_number_of_leases() {
    let mut outbox = outbox(Order::InOrder, 100);
    for partition in 0..100 {
        resolve(&mut outbox, &lease(partition), 0, &[1]);
    }
    let (first, _) = outbox.cut(0).unwrap();
    let (second, _) = outbox.cut(0).unwrap();
    assert_eq!((first.parts().len(), second.parts().len()), (MAX_PARTS, 100 - MAX_PARTS));
}

proptest! {
    /// Whatever is resolved, refused, closed and cut: every entry of an open lease is committed exactly once, with its outputs.
    #[test]
    fn nothing_is_lost_or_doubled(steps in prop::collection::vec((0..6_u8, 0..3_i32, 0..3_usize), 1..60)) {
        let (mut outbox, mut work) = (outbox(Order::AnyOrder, 3), Scripted::default());
        let (mut next, mut resolved, mut written) = ([0_i64; 3], [0_usize; 3], [0_usize; 3]);
        let mut is_closed = [false; 3];
        for (step, partition, outputs) in steps {
            let at = usize::try_from(partition).unwrap();
            match step {
                0..=3 if !is_closed[at] => {
                    resolve(&mut outbox, &lease(partition), next[at], &vec![10; outputs]);
                    next[at] += 1;
                    resolved[at] += 1;
                }
                4 => if let Some((batch, transaction)) = outbox.cut(0) {
                    if outputs == 0 && batch.outputs() > 0 {
                        outbox.put_back_refused(batch, transaction, &[], &mut work, now()).unwrap();
                    } else {
                        prop_assert_eq!(batch.outputs(), transaction.outputs.len());
                        for entry in batch.entries() {
                            written[usize::try_from(entry.epoch.0 - 1).unwrap()] += 1;
                        }
                        outbox.committed(&batch, |_| false);
                    }
                },
                5 => {
                    outbox.close(lease(partition).epoch);
                    is_closed[at] = true;
                }
                _ => {}
            }
        }
        while let Some((batch, _)) = outbox.cut(0) {
            for entry in batch.entries() {
                written[usize::try_from(entry.epoch.0 - 1).unwrap()] += 1;
            }
        }
        for at in (0..3).filter(|at| !is_closed[*at]) {
            prop_assert_eq!(written[at], resolved[at]);
            prop_assert_eq!(outbox.progress(Epoch(at as u64 + 1)).unwrap().committed, next[at]);
        }
        prop_assert!(outbox.output_bytes == 0 && outbox.outputs.is_empty());
    }
}
