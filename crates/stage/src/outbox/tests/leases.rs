//! What one lease and its neighbours are told apart by, for roles that resolve records in any order.

use super::*;

#[test]
fn a_batch_closes_at_its_limit_of_outputs_and_marks_only_what_it_holds_as_done() {
    let mut outbox = Outbox::new(BatchLimits { records: 3, bytes: 1_000_000 }, Order::AnyOrder);
    outbox.open(&lease(0), Window::restore(0, 0, Vec::new()), 0);
    for offset in 0..4 {
        assert!(outbox.admit(lease(0).epoch, offset));
    }
    for offset in [0, 2, 3] {
        finish(&mut outbox, &lease(0), offset, &[10, 10]);
    }
    assert!(outbox.is_full());
    // Two outputs each: only one entry fits into three.
    let (batch, transaction) = outbox.cut(9).unwrap();
    assert_eq!((transaction.outputs.len(), batch.oldest_boot_ms), (2, 0));
    let progress = &transaction.progress[0];
    assert_eq!((progress.committed, progress.read_up_to, &progress.not_done[..]), (1, 4, &[1, 2, 3][..]));
    assert!(outbox.cut(9).is_some() && outbox.cut(9).is_some() && outbox.cut(9).is_none());
    let progress = outbox.progress(lease(0).epoch).unwrap();
    assert_eq!((progress.committed, progress.read_up_to, progress.not_done), (1, 4, vec![1]));
}

#[test]
fn outputs_point_at_the_progress_of_their_lease() {
    let mut outbox = outbox(Order::AnyOrder, 3);
    for partition in [2, 0] {
        resolve(&mut outbox, &lease(partition), 5, &[1]);
    }
    let (batch, transaction) = outbox.cut(0).unwrap();
    let partition_of = |lease: usize| transaction.progress[lease].lease.partition.partition;
    let partitions: Vec<i32> = transaction.outputs.iter().map(|output| partition_of(output.lease)).collect();
    assert_eq!((partitions, batch.parts().len()), (vec![2, 0], 2));
}

#[test]
fn a_lease_that_is_over_takes_what_it_had_pending_along() {
    let mut outbox = outbox(Order::AnyOrder, 2);
    let (gone, stays) = (lease(0), lease(1));
    for lease in [&gone, &stays] {
        resolve(&mut outbox, lease, 0, &[1]);
    }
    outbox.close(gone.epoch);
    finish(&mut outbox, &gone, 1, &[1]);
    assert!(!outbox.has_pending(std::slice::from_ref(&gone)) && outbox.has_pending(&[stays]));
    let (_, transaction) = outbox.cut(0).unwrap();
    assert_eq!((transaction.outputs.len(), transaction.progress.len()), (1, 1));
    assert!(!outbox.is_open(gone.epoch) && !outbox.admit(gone.epoch, 2));
}

#[test]
fn a_proof_is_a_batch_of_its_own_where_nothing_was_resolved() {
    let mut outbox = outbox(Order::AnyOrder, 2);
    assert!(outbox.is_empty() && outbox.is_proved());
    outbox.ask_for_proof();
    assert!(outbox.has_pending(&[lease(0)]) && outbox.has_pending(&[lease(1)]));
    let (batch, transaction) = outbox.cut(7).unwrap();
    assert_eq!((transaction.outputs.len(), transaction.progress.len(), batch.oldest_boot_ms), (0, 2, 7));
    assert!(outbox.is_empty());
}

#[test]
fn what_was_done_before_is_not_admitted_again() {
    let mut outbox = outbox(Order::AnyOrder, 0);
    outbox.open(&lease(0), Window::restore(3, 10, vec![3, 6]), 3);
    let admitted: Vec<i64> = (3..12).filter(|offset| outbox.admit(lease(0).epoch, *offset)).collect();
    assert_eq!(admitted, [3, 6, 10, 11]);
}
