//! Offsets in portions that the brokers can store. Pure.
//!
//! Kafka writes the offsets of one transactional commit as one batch, whose bound is the largest message of the topic of all
//! groups' offsets: 1 MiB by default. One partition with a full window takes 4 KiB of it.

use super::Progress;
use crate::metadata;

/// Leases of one portion.
pub const MAX_LEASES: usize = 64;
/// Characters of their metadata.
const MAX_CHARACTERS: usize = 256 * 1024;

/// Portions of a transaction that has no outputs, in order. Each can be committed by itself: offsets of different partitions
/// do not depend on each other.
pub(super) fn portions(progress: Vec<Progress>) -> Vec<Vec<Progress>> {
    let mut portions: Vec<Vec<Progress>> = Vec::new();
    let mut characters = 0;
    for progress in progress {
        let length = metadata::length(progress.committed, &progress.not_done);
        match portions.last_mut() {
            Some(last) if last.len() < MAX_LEASES && characters + length <= MAX_CHARACTERS => {
                characters += length;
                last.push(progress);
            }
            Some(_) | None => {
                characters = length;
                portions.push(vec![progress]);
            }
        }
    }
    portions
}

#[cfg(test)]
mod tests {
    use schemas::record::TopicPartition;

    use super::*;
    use crate::lease::{Epoch, Lease};
    use crate::writer::Claimed;

    fn progress(partition: i32, not_done: i64) -> Progress {
        let lease = Lease { partition: TopicPartition::new("t", partition), epoch: Epoch(1) };
        let (committed, read_up_to, claim) = (0, 30_000_000, Claimed::Nothing);
        Progress { lease, committed, read_up_to, not_done: (0..not_done).map(|i| i * 20_000).collect(), claim }
    }

    fn sizes(count: i32, not_done: i64) -> Vec<usize> {
        let portions = portions((0..count).map(|partition| progress(partition, not_done)).collect());
        let order: Vec<i32> = portions.iter().flatten().map(|progress| progress.lease.partition.partition).collect();
        assert_eq!(order, (0..count).collect::<Vec<_>>());
        portions.iter().map(Vec::len).collect()
    }

    #[test]
    fn portions_hold_64_leases_or_256_kib_of_metadata() {
        assert_eq!(sizes(0, 0), Vec::<usize>::new());
        assert_eq!(sizes(64, 0), [64]);
        assert_eq!(sizes(130, 0), [64, 64, 2]);
        let full = sizes(130, 980);
        assert!(full.iter().all(|size| (60..=64).contains(size) || *size < 60) && full[0] >= 60, "{full:?}");
    }
}
