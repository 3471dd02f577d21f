//! What a batch adds to `seen`. Pure.

use std::collections::BTreeMap;

use kafka::Output;
use schemas::record::TopicPartition;
use schemas::seen::Hash;
use stage::Batch;

use crate::expand::Expander;
use crate::plan::Note;

/// Adds one record on `seen` per partition that accepted something.
pub(crate) fn add_seen(expander: &Expander, seen_partitions: i32, batch: &Batch<Note>, outputs: &mut Vec<Output>) {
    for (index, part) in batch.parts().iter().enumerate() {
        let own = batch.entries().iter().filter(|entry| entry.epoch == part.lease.epoch);
        let own: Vec<&Note> = own.map(|entry| &entry.note).collect();
        let accepted: Vec<_> = own.iter().filter_map(|note| note.id).collect();
        let Some(newest_ms) = accepted.iter().map(|(_, at_ms)| *at_ms).max() else { continue };
        let from = &part.lease.partition;
        let partition = schemas::seen::partition(from, seen_partitions);
        outputs.push(Output { lease: index, record: expander.seen(from, partition, &accepted, newest_ms) });
        add_stood((expander, seen_partitions), index, &own, outputs);
    }
}

/// Adds one record on `seen` per partition where something of a part stood that was retried: should that be read again there, because
/// its source is moved back, it is a repeat.
fn add_stood((expander, seen_partitions): (&Expander, i32), index: usize, own: &[&Note], outputs: &mut Vec<Output>) {
    let mut stood: BTreeMap<&TopicPartition, Vec<(Hash, i64)>> = BTreeMap::new();
    for note in own {
        if let (Some((id, _)), Some((from, at_ms))) = (note.id, &note.stood) {
            stood.entry(from).or_default().push((id, *at_ms));
        }
    }
    for (from, ids) in stood {
        let newest_ms = ids.iter().map(|(_, at_ms)| *at_ms).max().unwrap_or_default();
        let partition = schemas::seen::partition(from, seen_partitions);
        outputs.push(Output { lease: index, record: expander.seen(from, partition, &ids, newest_ms) });
    }
}
