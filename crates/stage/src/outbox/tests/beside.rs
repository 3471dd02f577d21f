//! Entries beside the window: outputs and progress of a lease without a record that is read.

use super::*;

/// Puts something beside the window of a lease with outputs of these sizes.
fn beside(outbox: &mut Outbox<u64>, lease: &Lease, offset: i64, outputs: &[usize]) {
    let mut records = outputs.iter().map(|bytes| output(*bytes)).collect();
    outbox.resolve(Entry::beside(lease.epoch, (offset, 1), 7, 0), &mut records);
}

#[test]
fn what_is_beside_the_window_carries_progress_and_resolves_nothing() {
    let mut outbox = outbox(Order::AnyOrder, 2);
    assert!(outbox.admit(lease(0).epoch, 4));
    beside(&mut outbox, &lease(0), 4, &[3]);
    assert!(!outbox.is_empty() && outbox.has_pending(&[lease(0)]));
    assert_eq!((outbox.oldest_timestamp_ms(), outbox.oldest_boot_ms()), (None, Some(7)));
    let (batch, transaction) = outbox.cut(9).unwrap();
    let progress = &transaction.progress[0];
    assert_eq!((progress.committed, progress.read_up_to, &progress.not_done[..]), (4, 5, &[4][..]));
    assert_eq!((transaction.outputs.len(), transaction.progress.len()), (1, 1));
    let part = &batch.parts()[0];
    assert_eq!((part.records, part.bytes, batch.entries().len(), batch.records()), (0, 0, 1, 0));
    assert_eq!((outbox.live(), batch.oldest_timestamp_ms()), (1, None));
}

#[test]
fn progress_alone_is_an_entry_without_outputs() {
    let mut outbox = outbox(Order::AnyOrder, 2);
    beside(&mut outbox, &lease(1), 0, &[]);
    let (batch, transaction) = outbox.cut(9).unwrap();
    assert_eq!((transaction.outputs.len(), &batch.parts()[0].lease), (0, &lease(1)));
    assert!(outbox.is_empty());
}

#[test]
fn what_comes_back_reopens_no_record_and_keeps_its_place() {
    let (mut outbox, mut work) = (outbox(Order::AnyOrder, 1), Scripted::default());
    resolve(&mut outbox, &lease(0), 3, &[10]);
    let (batch, _) = outbox.cut(0).unwrap();
    outbox.committed(&batch, |_| false);
    // Its record was done long ago, in the window and before it.
    for offset in [3, -1] {
        beside(&mut outbox, &lease(0), offset, &[20]);
    }
    let (batch, transaction) = outbox.cut(0).unwrap();
    outbox.put_back_refused(batch, transaction, &[(1, "no".to_owned())], &mut work, now()).unwrap();
    assert_eq!(work.refusals.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [-1]);
    let (batch, transaction) = outbox.cut(0).unwrap();
    let sizes: Vec<usize> = transaction.outputs.iter().map(|output| output.record.size()).collect();
    assert_eq!((sizes, batch.entries().len()), (vec![20, 1], 2));
    assert_eq!((transaction.progress[0].committed, outbox.live(), work.unsealed.len()), (4, 0, 1));
}

/// A part of a record whose other parts are written cannot be given up for the whole of it: it becomes smaller until it gets through.
#[test]
fn what_is_beside_the_window_and_too_slow_is_made_smaller_as_often_as_it_takes() {
    let (mut outbox, mut work) = (outbox(Order::InOrder, 1), Scripted { halves: true, ..Scripted::default() });
    beside(&mut outbox, &lease(0), 4, &[100_000; 8]);
    let mut outputs = Vec::new();
    for _ in 0..6 {
        let (batch, transaction) = outbox.cut(0).unwrap();
        outputs.push(transaction.outputs.len());
        let slow = Slow { written: 50_000, reason: "slow", give_up_bytes: Some(1_000_000) };
        outbox.put_back_slow(batch, transaction, slow, &mut work, now()).unwrap();
    }
    assert_eq!(outputs, [8, 8, 4, 2, 1, 1], "from the second time on, and one is left");
    let told = (4, vec![Refusal::TooSlow { reason: "slow".to_owned() }]);
    assert_eq!(work.refusals, vec![told; 5]);
    let small = Slow { written: 0, reason: "away", give_up_bytes: None };
    let (batch, transaction) = outbox.cut(0).unwrap();
    outbox.put_back_slow(batch, transaction, small, &mut work, now()).unwrap();
    assert_eq!(work.refusals.len(), 5, "where nothing is given up nothing is made smaller");
}

/// Below what a batch has at least the cluster is away, and what is small waits for it.
#[test]
fn what_is_beside_the_window_and_small_waits_as_it_is() {
    let (mut outbox, mut work) = (outbox(Order::InOrder, 1), Scripted { halves: true, ..Scripted::default() });
    beside(&mut outbox, &lease(0), 4, &[10_000; 4]);
    for _ in 0..300 {
        let (batch, transaction) = outbox.cut(0).unwrap();
        assert_eq!(transaction.outputs.len(), 4);
        let slow = Slow { written: 0, reason: "away", give_up_bytes: Some(1_000_000) };
        outbox.put_back_slow(batch, transaction, slow, &mut work, now()).unwrap();
    }
    assert!(work.refusals.is_empty());
}

/// A record may take several transactions: its parts stand beside the window, and its offset stays until it is resolved.
#[test]
fn a_record_in_parts_keeps_its_offset_until_the_last() {
    let mut outbox = outbox(Order::InOrder, 1);
    resolve(&mut outbox, &lease(0), 3, &[10]);
    assert!(outbox.admit(lease(0).epoch, 4) && outbox.admit(lease(0).epoch, 5));
    let mut committed = Vec::new();
    for _ in 0..3 {
        beside(&mut outbox, &lease(0), 4, &[20, 20]);
        committed.push(outbox.cut(0).unwrap().1.progress[0].committed);
    }
    let entry = Entry::new(lease(0).epoch, (4, 1), 9, 7, 0);
    outbox.resolve(entry, &mut vec![output(1)]);
    committed.push(outbox.cut(0).unwrap().1.progress[0].committed);
    assert_eq!(committed, [4, 4, 4, 5]);
}

#[test]
fn what_belongs_to_a_lease_that_is_over_is_forgotten() {
    let mut outbox = outbox(Order::AnyOrder, 1);
    beside(&mut outbox, &lease(0), 0, &[1]);
    outbox.close(lease(0).epoch);
    beside(&mut outbox, &lease(0), 0, &[1]);
    assert!(outbox.is_empty() && outbox.cut(0).is_none());
}

/// A role may add outputs to a batch with entries, and then it is one transaction, which holds so many leases.
#[test]
fn a_batch_with_entries_has_a_bounded_number_of_parts_though_none_has_an_output_yet() {
    let mut outbox = outbox(Order::AnyOrder, 100);
    outbox.ask_for_proof();
    beside(&mut outbox, &lease(99), 0, &[]);
    let parts: Vec<usize> = std::iter::from_fn(|| outbox.cut(0)).map(|(batch, _)| batch.parts().len()).collect();
    assert_eq!(parts, [MAX_PARTS, 100 - MAX_PARTS]);
}
