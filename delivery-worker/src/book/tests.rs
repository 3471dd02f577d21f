//! Progress and outputs always stand in the same transaction.

use std::sync::Arc;

use bytes::Bytes;
use kafka::Epoch;
use schemas::record::{Headers, TopicPartition};

use super::*;

fn lease(partition: i32) -> Lease {
    Lease { partition: TopicPartition::new("deliveries", partition), epoch: Epoch(1) }
}

fn book(records: usize, bytes: usize) -> Book {
    Book::new(BatchLimits { records, bytes })
}

fn open(book: &mut Book, partition: i32) -> LeaseKey {
    book.open(lease(partition), Window::restore(0, 0, Vec::new()))
}

fn entry(lease: LeaseKey, offset: i64, outputs: usize) -> Entry {
    let record = OutRecord {
        topic: Arc::from("attempts"),
        partition: None,
        key: None,
        value: Some(Bytes::from_static(b"0123456789")),
        headers: Headers::default(),
    };
    Entry { lease, offset, size: 100, outputs: vec![record; outputs], boot_ms: offset }
}

#[test]
fn a_batch_closes_at_its_limits_and_marks_only_what_it_holds_as_done() {
    let mut book = book(3, 1_000);
    let key = open(&mut book, 0);
    for offset in 0..4 {
        assert!(book.admit(key, offset));
    }
    for offset in [0, 2, 3] {
        book.resolve(entry(key, offset, 2));
    }
    assert!(book.is_full());
    // Two outputs each: only one entry fits three.
    let batch = book.cut(9).unwrap();
    assert_eq!((batch.transaction.outputs.len(), batch.oldest_boot_ms), (2, 0));
    let progress = &batch.transaction.progress[0];
    assert_eq!((progress.committed, progress.read_up_to, &progress.not_done[..]), (1, 4, &[1, 2, 3][..]));
    assert_eq!(batch.credits, [(key, 1, 100)]);
    assert!(book.cut(9).is_some() && book.cut(9).is_some());
    assert!(book.is_clean());
    assert_eq!(book.progress(key).unwrap(), (1, 4, vec![1]));
    assert!(book.cut(9).is_none());
}

#[test]
fn one_entry_beyond_the_limits_goes_alone() {
    let mut book = book(10, 15);
    let key = open(&mut book, 0);
    book.admit(key, 0);
    book.resolve(entry(key, 0, 3));
    assert_eq!(book.cut(0).unwrap().transaction.outputs.len(), 3);
}

#[test]
fn outputs_point_at_the_progress_of_their_lease() {
    let mut book = book(100, 10_000);
    let keys = [open(&mut book, 0), open(&mut book, 1), open(&mut book, 2)];
    for key in keys {
        book.admit(key, 5);
    }
    for key in [keys[2], keys[0]] {
        book.resolve(entry(key, 5, 1));
    }
    let batch = book.cut(0).unwrap();
    let partitions: Vec<i32> = batch
        .transaction
        .outputs
        .iter()
        .map(|output| batch.transaction.progress[output.lease].lease.partition.partition)
        .collect();
    assert_eq!(partitions, [2, 0]);
    assert_eq!(batch.transaction.progress.len(), 2);
    assert_eq!(batch.sources, [(keys[2], 5), (keys[0], 5)]);
}

#[test]
fn a_lease_that_is_over_takes_its_outcomes_along() {
    let mut book = book(100, 10_000);
    let (gone, stays) = (open(&mut book, 0), open(&mut book, 1));
    for key in [gone, stays] {
        book.admit(key, 0);
        book.resolve(entry(key, 0, 1));
    }
    book.close(gone);
    book.resolve(entry(gone, 1, 1));
    assert!(!book.has_pending(&[gone]) && book.has_pending(&[stays]));
    let batch = book.cut(0).unwrap();
    assert_eq!((batch.transaction.outputs.len(), batch.transaction.progress.len()), (1, 1));
    assert_eq!(book.key(&lease(0)), None);
    assert!(!book.admit(gone, 2));
}

#[test]
fn a_proof_touches_every_lease_without_any_outcome() {
    let mut book = book(100, 10_000);
    let keys = [open(&mut book, 0), open(&mut book, 1)];
    assert!(book.is_clean());
    book.touch_all();
    assert!(book.has_pending(&keys));
    let batch = book.cut(7).unwrap();
    assert_eq!((batch.transaction.outputs.len(), batch.transaction.progress.len()), (0, 2));
    assert_eq!(batch.oldest_boot_ms, 7);
    assert!(book.is_clean());
}

#[test]
fn what_was_done_before_is_not_admitted_again() {
    let mut book = book(100, 10_000);
    let key = book.open(lease(0), Window::restore(3, 10, vec![3, 6]));
    let admitted: Vec<i64> = (3..12).filter(|offset| book.admit(key, *offset)).collect();
    assert_eq!(admitted, [3, 6, 10, 11]);
}
