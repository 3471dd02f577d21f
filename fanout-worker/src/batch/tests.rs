//! What a batch does when an output or a lease goes away.

use std::sync::Arc;

use kafka::Epoch;
use schemas::record::{Headers, TopicPartition};
use schemas::topics::TopicSettings;

use super::*;

const NOW_MS: i64 = 1_790_000_000_000;

fn lease(partition: i32) -> Lease {
    Lease { partition: TopicPartition::new("events", partition), epoch: Epoch(1) }
}

fn expander() -> Expander {
    Expander::new(TopicSettings::default().topics(), std::time::Duration::from_secs(60))
}

fn out(topic: &str) -> OutRecord {
    let value = Some(bytes::Bytes::from_static(&[b'x'; 100]));
    OutRecord { topic: Arc::from(topic), partition: None, key: None, value, headers: Headers::default() }
}

/// Adds an event with this many deliveries.
fn add(batch: &mut Batch, partition: i32, offset: i64, deliveries: usize) {
    let record = Record {
        offset,
        timestamp_ms: NOW_MS + offset,
        key: None,
        value: Some(bytes::Bytes::from_static(b"{}")),
        headers: Headers::default(),
    };
    let mut outputs = vec![out("deliveries"); deliveries];
    outputs.push(out("attempts"));
    let slot = batch.slot(&lease(partition));
    let byte = u8::try_from(offset).unwrap();
    batch.add(slot, record, Verdict::Matched(deliveries), Some(([byte; 16], NOW_MS)), &mut outputs);
}

fn topics(transaction: &Transaction) -> Vec<(usize, String)> {
    transaction.outputs.iter().map(|output| (output.lease, output.record.topic.to_string())).collect()
}

fn ids(transaction: &Transaction) -> Vec<usize> {
    let seen = transaction.outputs.iter().filter(|output| &*output.record.topic == "hookbus.seen");
    seen.map(|output| seen::decode(output.record.value.as_ref().unwrap()).unwrap().count()).collect()
}

#[test]
fn it_is_full_between_events_only() {
    let limits = BatchLimits { records: 4, bytes: 1_000_000 };
    let mut batch = Batch::default();
    add(&mut batch, 0, 0, 2);
    assert!(!batch.is_full(limits));
    add(&mut batch, 0, 1, 9);
    assert!(batch.is_full(limits));
    assert_eq!((batch.len(), batch.oldest_ms()), (13, Some(NOW_MS)));
    assert!(batch.is_full(BatchLimits { records: 100, bytes: 1 }));
}

#[test]
fn a_refused_output_takes_its_whole_event_to_rejected_and_its_identity_away() {
    let mut batch = Batch::default();
    add(&mut batch, 0, 5, 1);
    add(&mut batch, 0, 6, 2);
    add(&mut batch, 1, 7, 1);
    let transaction = batch.transaction(&expander(), 16);
    assert_eq!((transaction.outputs.len(), ids(&transaction)), (9, vec![2, 1]));
    let refused = batch.refuse(transaction, 3, "too large", &expander(), NOW_MS).unwrap();
    assert_eq!(refused, Some((lease(0), [6; 16])));
    let transaction = batch.transaction(&expander(), 16);
    let names = ["deliveries", "attempts", "hookbus.rejected", "hookbus.attempts", "deliveries", "attempts"];
    assert_eq!(
        topics(&transaction)[..6],
        std::array::from_fn::<_, 6, _>(|at| (usize::from(at > 3), names[at].to_owned()))
    );
    assert_eq!(ids(&transaction), [1, 1]);
    let committed: Vec<i64> = transaction.progress.iter().map(|progress| progress.committed).collect();
    assert_eq!(committed, [7, 8]);
    assert_eq!(batch.entries()[1].verdict, Verdict::Rejected(RejectReason::Unwritable));
    // Even that: nothing but the coordinates; even those: the role ends.
    assert_eq!(batch.refuse(transaction, 2, "too large", &expander(), NOW_MS).unwrap(), None);
    let transaction = batch.transaction(&expander(), 16);
    assert_eq!(transaction.outputs[2].record.value, None);
    let error = batch.refuse(transaction, 2, "too large", &expander(), NOW_MS).unwrap_err();
    assert_eq!(error.to_string(), "record 6 of events/0 can neither be used nor rejected: too large");
}

#[test]
fn a_lease_that_is_over_is_taken_out_and_the_others_keep_their_outputs() {
    let mut batch = Batch::default();
    add(&mut batch, 0, 5, 1);
    add(&mut batch, 1, 6, 2);
    add(&mut batch, 2, 7, 0);
    batch.forget(&lease(1));
    batch.forget(&lease(9));
    let transaction = batch.transaction(&expander(), 16);
    let partitions: Vec<i32> = transaction.progress.iter().map(|progress| progress.lease.partition.partition).collect();
    assert_eq!(partitions, [0, 2]);
    let leases: Vec<usize> = transaction.outputs.iter().map(|output| output.lease).collect();
    assert_eq!(leases, [0, 0, 1, 0, 1]);
    assert_eq!(batch.entries().len(), 2);
    assert_eq!(batch.refuse(transaction, 2, "no", &expander(), NOW_MS).unwrap(), Some((lease(2), [7; 16])));
}

#[test]
fn a_refused_changelog_record_ends_the_role() {
    let mut batch = Batch::default();
    add(&mut batch, 0, 5, 0);
    let transaction = batch.transaction(&expander(), 16);
    assert!(batch.refuse(transaction, 1, "no", &expander(), NOW_MS).is_err());
}

/// A batch that was full by bytes, lost its lease and kept the bytes would be full and empty at once: the fan-out stood still.
#[test]
fn what_is_taken_out_takes_its_bytes_along() {
    let limits = BatchLimits { records: 100, bytes: 500 };
    let mut batch = Batch::default();
    add(&mut batch, 0, 0, 4);
    add(&mut batch, 1, 0, 1);
    assert!(batch.is_full(limits));
    batch.forget(&lease(0));
    assert!(!batch.is_full(limits) && batch.is_full(BatchLimits { records: 100, bytes: 200 }));
    batch.forget(&lease(1));
    assert!(batch.is_empty() && !batch.is_full(BatchLimits { records: 100, bytes: 1 }));
}
