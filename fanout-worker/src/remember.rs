//! What a batch adds to `seen`. Pure.

use std::collections::BTreeMap;

use kafka::{Epoch, Output};
use schemas::record::TopicPartition;
use schemas::seen::Hash;
use stage::Batch;

use crate::expand::Expander;
use crate::plan::Note;

/// What a batch accepted of one part, with the time of each, Unix ms.
#[derive(Default)]
struct AcceptedOfPart<'a> {
    ids: Vec<(Hash, i64)>,
    /// Those that were retried among them, by where they stood.
    stood: BTreeMap<&'a TopicPartition, Vec<(Hash, i64)>>,
}

/// Adds one record on `seen` per partition that accepted something.
pub(crate) fn add_seen(expander: &Expander, seen_partitions: i32, batch: &Batch<Note>, outputs: &mut Vec<Output>) {
    let by_part = batch.parts().iter().zip(accepted(batch)).enumerate();
    for (index, (part, accepted)) in by_part.filter(|(_, (_, accepted))| !accepted.ids.is_empty()) {
        let mut add = |from: &TopicPartition, ids: &[(Hash, i64)]| {
            let newest_ms = ids.iter().map(|(_, at_ms)| *at_ms).max().unwrap_or_default();
            let partition = schemas::seen::partition(from, seen_partitions);
            outputs.push(Output { lease: index, record: expander.seen(from, partition, ids, newest_ms) });
        };
        add(&part.lease.partition, &accepted.ids);
        // Should what was retried be read again where it stood, because its source is moved back, it is a repeat.
        for (from, ids) in accepted.stood {
            add(from, &ids);
        }
    }
}

/// In the order of the parts. Each entry is looked at once: a batch does not fit the processor's caches.
fn accepted(batch: &Batch<Note>) -> Vec<AcceptedOfPart<'_>> {
    let parts = batch.parts();
    let mut accepted: Vec<AcceptedOfPart<'_>> = parts.iter().map(|_| AcceptedOfPart::default()).collect();
    let index: BTreeMap<Epoch, usize> =
        parts.iter().enumerate().map(|(index, part)| (part.lease.epoch, index)).collect();
    for entry in batch.entries() {
        let (Some((id, at_ms)), Some(index)) = (entry.note.id, index.get(&entry.epoch)) else { continue };
        let of = &mut accepted[*index];
        of.ids.push((id, at_ms));
        if let Some((from, at_ms)) = &entry.note.stood {
            of.stood.entry(from).or_default().push((id, *at_ms));
        }
    }
    accepted
}
